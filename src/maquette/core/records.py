"""Records: what a trial was, what it gave, what it cost, where it ran. The files say so when they were damaged."""

import dataclasses
import datetime
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from maquette.core.errors import UserError
from maquette.core.files import fingerprint, read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Cost:
    """FLOPs and tokens as counted by the trial; seconds as measured, restarts included."""

    flops: float = 0.0
    tokens: float = 0.0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{name: value + getattr(other, name) for name, value in dataclasses.asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was made at what cost, where and when: times are UTC, ISO 8601."""

    cost: Cost
    threads: int
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    started: str
    finished: str

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From parsed JSON."""
        parsed: dict[str, Any] = {**values, "cost": Cost(**values["cost"])}
        return cls(**parsed)


@dataclass(frozen=True, kw_only=True)
class Record(Made):
    """One finished trial. `key` fingerprints everything its measures depend on.

    `cost` is the trial's own, without that of `stages`, by their keys, which other trials may have too.
    """

    study: str
    scale: str
    arm: str
    seed: int
    key: str
    config: dict[str, Any]
    measures: dict[str, float]
    prediction: str | None = None
    stages: dict[str, Made] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From parsed JSON."""
        stages = {key: Made.of(stage) for key, stage in values.get("stages", {}).items()}
        return super().of({**values, "stages": stages})

    @property
    def whole_cost(self) -> Cost:
        """What the trial would have cost alone."""
        return sum((stage.cost for stage in self.stages.values()), self.cost)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was foretold for one seed, and from which trials, before the foretold trials started."""

    study: str
    scale: str
    seed: int
    key: str
    basis: dict[str, str]
    measures: dict[str, float]
    made: str

    @property
    def digest(self) -> str:
        """Fingerprint of what was said and of the trials it was said from."""
        return fingerprint({"seed": self.seed, "basis": self.basis, "measures": self.measures})

    def says_the_same_as(self, other: "Prediction") -> bool:
        """Whether both are from the same trials and agree to 1e-6: a fit ends where the machine's rounding lets it."""
        return (self.basis, self.measures.keys()) == (other.basis, other.measures.keys()) and all(
            math.isclose(value, other.measures[name], rel_tol=1e-6) for name, value in self.measures.items()
        )

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From parsed JSON."""
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a study's trials measured at smoke scale when its records were made; `key` as in `Record`, of all of them.

    While today's code gives the same trace, it is held to give the same records. `registered` is what would count as an
    answer before any of them ran, by claim and field; None in a trace that was taken before traces held it, or beside
    records that were there already.
    """

    study: str
    key: str
    measures: dict[str, dict[str, float]]
    threads: int
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    registered: dict[str, dict[str, str]] | None = None

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From parsed JSON."""
        return cls(**values)


R = TypeVar("R", Record, Prediction, Trace)


def write_record(path: Path, record: Record | Prediction | Trace) -> None:
    """Write a record atomically, with a checksum of its content."""
    write_checked(path, dataclasses.asdict(record))


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record back.

    Raises:
        UserError: the file is unreadable, is no such record, or was changed after it was written.
    """
    values, name = read_json(path), kind.__name__.lower()
    try:
        record = kind.of({field: value for field, value in values.items() if field != "checksum"})
    except (AttributeError, KeyError, TypeError) as error:
        raise _not_whole(path, name) from error
    _check(path, values, name)
    return record


def write_checked(path: Path, values: dict[str, Any]) -> None:
    """Write JSON atomically, with a checksum of its content."""
    write_json(path, {**values, "checksum": fingerprint(values)})


def read_checked(path: Path, name: str) -> dict[str, Any]:
    """Read back what was so written; `name` says what it is.

    Raises:
        UserError: the file is unreadable, has no checksum, or was changed after it was written.
    """
    values = read_json(path)
    _check(path, values, name)
    return {field: value for field, value in values.items() if field != "checksum"}


def _check(path: Path, values: Any, name: str) -> None:
    """Hold a file's content, as it was written, against its checksum: a field that came later is not in it."""
    if not isinstance(values, dict) or "checksum" not in values:
        raise _not_whole(path, name)
    if fingerprint({field: value for field, value in values.items() if field != "checksum"}) != values["checksum"]:
        raise UserError(f"{path} was changed after it was written; delete it and run again to remake it.")


def _not_whole(path: Path, name: str) -> UserError:
    return UserError(f"{path} is not a whole {name}; delete it and run again to remake it.")


def now() -> str:
    """The time, UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
