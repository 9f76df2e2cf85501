"""A study: a question, its arms, and what would count as an answer, written before it is run."""

import dataclasses
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.core.errors import UserError, did_you_mean
from maquette.lab.claims import Better, BySeed, Claim, InRange, Measures, Tie, Trials
from maquette.lab.figures import Figure, Series
from maquette.lab.run import Run

__all__ = [
    "PREDICTION",
    "SCALES",
    "Better",
    "BySeed",
    "Claim",
    "Figure",
    "InRange",
    "Measures",
    "Paper",
    "Plan",
    "Run",
    "Scale",
    "Scales",
    "Series",
    "Study",
    "Tie",
    "Trials",
    "load_study",
]

PREDICTION = "prediction"
"""The arm under which `analyse`, claims and figures find what `foretell` said."""
SCALES = ("smoke", "tour", "laptop", "gpu")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What is reproduced, and the number it reports."""

    title: str
    authors: str
    year: int
    venue: str
    url: str
    reports: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """From a pilot that was thrown away: the spread seen, seeds needed, effect detectable, the whole study's cost."""

    text: str
    seeds: int
    spread: Mapping[str, float]
    detects: float
    flops: float
    hours: float
    tokens: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large: at most `seeds` seeds, `changes` made to the arms' fields of these names, all arms or the named ones.

    `verdict`: whether this scale decides. `limits` says what an answer at this scale does not show.
    """

    seeds: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] | None = None
    verdict: bool = False
    limits: str = ""


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Smoke is a test of seconds, tour a story with one seed; laptop and gpu may decide."""

    smoke: Scale
    tour: Scale
    laptop: Scale
    gpu: Scale | None = None

    def __iter__(self) -> Iterator[tuple[str, Scale]]:
        """The scales there are, by name."""
        return ((name, scale) for name in SCALES if (scale := getattr(self, name)) is not None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """See the design, *A study*. The first claim is the primary one: its verdict is the study's.

    - `trial(config, seed, run)`: pure in config and seed, so that it can be cached, resumed, and run in any process.
    - `analyse(trials of one seed)`: derived arms with their measures, a fitted law say; claims may name them.
    - `foretell(trials of one seed)`: for a seed, the arms in `foretold` start only after all others are done and this
      prediction is on disk; `analyse` and claims find it under the arm "prediction".
    - `figures(measures by seed and arm)`: what the report shows.
    - `picture(trials of one seed so far)`: a figure worth showing while the study runs, or None for not yet.

    Raises:
        ValueError: a claim without control, an unknown arm or field, a scale that cannot decide what it should.
    """

    name: str
    question: str
    family: Literal["language", "video", "robotics"]
    paper: Paper
    trial: Callable[[Any, int, Run], Measures]
    arms: Mapping[str, Any]
    claims: Sequence[Claim]
    plan: Plan
    scales: Scales
    analyse: Callable[[Trials], Trials] | None = None
    foretell: Callable[[Trials], Measures] | None = None
    foretold: tuple[str, ...] = ()
    figures: Callable[[BySeed], Sequence[Figure]] | None = None
    picture: Callable[[Trials], Figure | None] | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"The study {self.name!r}: {problem}")

    def scale(self, name: str) -> Scale:
        """A scale by name.

        Raises:
            UserError: there is none.
        """
        known = dict(self.scales)
        if name not in known:
            raise UserError(f"{self.name!r} has no scale {name!r}; {did_you_mean(name, known)}")
        return known[name]

    def configs(self, scale: Scale) -> dict[str, Any]:
        """The arms' configs at a scale."""
        return {arm: _changed(self.arms[arm], scale.changes) for arm in scale.arms or self.arms}

    def trials_of(self, trials: Trials) -> Trials:
        """One seed's trials together with the derived arms.

        Raises:
            UserError: `analyse` gave a measure that is not a finite number.
        """
        derived = self.analyse(trials) if self.analyse else {}
        for arm, measures in derived.items():
            for measure, value in measures.items():
                if not math.isfinite(value):
                    raise UserError(
                        f"analyse of {self.name!r} gave {measure} = {value} for {arm!r}; mend it and report again."
                    )
        return {**trials, **derived}

    def _problems(self) -> Iterator[str]:
        if not self.name.isidentifier():
            yield "its name must be a Python identifier."
        if not self.claims:
            yield "it makes no claim."
        if PREDICTION in self.arms:
            yield f"{PREDICTION!r} is the name of what is foretold; no arm may bear it."
        if bool(self.foretell) != bool(self.foretold):
            yield "foretell and foretold go together."
        for arm in self.foretold:
            if arm not in self.arms:
                yield f"foretold names the arm {arm!r}; {did_you_mean(arm, self.arms)}"
        for claim in self.claims:
            if not claim.controls:
                yield f"the claim {claim.text!r} has no control; name an arm that must fail the same test."
            named = (claim.arm, *claim.others, *claim.controls)
            if unknown := [arm for arm in named if arm not in self.arms and arm != PREDICTION and not self.analyse]:
                yield f"the claim {claim.text!r} names the arm {unknown[0]!r}; {did_you_mean(unknown[0], self.arms)}"
        for name, scale in self.scales:
            yield from self._problems_of(name, scale)

    def _problems_of(self, name: str, scale: Scale) -> Iterator[str]:
        if scale.seeds < 1:
            yield f"{name} has {scale.seeds} seeds; it needs at least 1."
        if (name in ("smoke", "tour") and scale.verdict) or (name == "tour" and scale.seeds != 1):
            yield f"{name} decides nothing: verdict=False" + (", and one seed." if name == "tour" else ".")
        if unknown := [arm for arm in scale.arms or () if arm not in self.arms]:
            yield f"{name} names the arm {unknown[0]!r}; {did_you_mean(unknown[0], self.arms)}"
        fields = {one.name for config in self.arms.values() for one in dataclasses.fields(config)}
        if unknown := [change for change in scale.changes if change not in fields]:
            yield f"{name} changes the field {unknown[0]!r}; {did_you_mean(unknown[0], fields)}"


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    names = {one.name for one in dataclasses.fields(config)}
    return dataclasses.replace(config, **{name: value for name, value in changes.items() if name in names})


def load_study(reference: str) -> Study:
    """The `STUDY` of a module (`maquette.studies.…`) or of a `.py` file.

    Raises:
        UserError: there is no such file, it cannot be imported, or it defines no study.
    """
    try:
        module = _import_file(Path(reference)) if reference.endswith(".py") else importlib.import_module(reference)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{reference} cannot be imported: {type(error).__name__}: {error}") from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise UserError(f"{reference} defines no STUDY; end it with STUDY = Study(name=..., ...).")
    return study


def _import_file(path: Path) -> Any:
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    spec = importlib.util.spec_from_file_location(f"maquette_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file.")
    if str(path.parent) not in sys.path:  # its neighbours can be imported, as from a script
        sys.path.insert(0, str(path.parent))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
