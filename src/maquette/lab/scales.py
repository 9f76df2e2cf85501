"""The sizes at which a study runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from maquette.core.errors import UserError

SCALES = ("smoke", "tour", "laptop", "gpu")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large: at most `seeds` seeds, `changes` made to the arms' fields of these names, all arms or the named ones.

    `per_arm`: further changes to single arms. `verdict`: whether this scale decides. `until`: it goes on to further
    seeds until this is decided, the primary claim or every one. `limits` says what an answer at this scale does not
    show.
    """

    seeds: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    per_arm: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arms: tuple[str, ...] | None = None
    verdict: bool = False
    until: Literal["primary", "all"] = "primary"
    limits: str = ""

    def __post_init__(self) -> None:
        if self.until not in ("primary", "all"):
            raise UserError(f"until = {self.until!r} of a scale: give 'primary' or 'all'.")

    def changes_to(self, arm: str) -> dict[str, Any]:
        """All changes that reach one arm."""
        return {**self.changes, **self.per_arm.get(arm, {})}

    def changed(self, changes: Mapping[str, Any], arms: Sequence[str] = ()) -> "Scale":
        """This scale with `changes` to the named arms, all if none is named, on top of its own."""
        per_arm = {arm: {**self.per_arm.get(arm, {}), **changes} for arm in arms or self.per_arm}
        common = self.changes if arms else {**self.changes, **changes}
        return replace(self, changes=common, per_arm={**self.per_arm, **per_arm})


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
