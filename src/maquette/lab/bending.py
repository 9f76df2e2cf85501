"""What a study offers to its critics and improvers: axes along which the world is bent, and what may be tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from maquette.lab.scales import Scale

Value = float | int | str | bool
SEARCH_SEEDS = 10_000
"""Where the seeds of searches begin, and beyond them those of pilots: far from those that judge."""


@dataclass(frozen=True, kw_only=True)
class Bend:
    """One place on an axis: what is changed in `arms`, or in all that have the field; and arms that are left out."""

    label: Value
    """The place's coordinate where it is a number, else its name."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A direction in which a claim may break, in order; `objection` says who would look there, and why."""

    name: str
    bends: Sequence[Bend]
    objection: str
    log: bool = False
    """Whether numbers are drawn on a logarithmic scale."""

    @classmethod
    def over(
        cls,
        field: str,
        values: Sequence[Value],
        *,
        objection: str,
        name: str = "",
        log: bool = False,
        arms: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
    ) -> "Axis":
        """The axis along one field of the arms' configs, of `arms` alone where they are named; see `Bend`."""
        bends = [Bend(label=value, changes={field: value}, arms=arms, without=without) for value in values]
        return cls(name=name or field.replace("_", " "), bends=bends, objection=objection, log=log)


@dataclass(frozen=True, kw_only=True)
class Critique:
    """The axes, and what a point on one costs: so many seeds, with `changes` on top of the laptop scale's."""

    axes: Sequence[Axis]
    seeds: int = 5
    changes: Mapping[str, Any] = field(default_factory=dict)

    def scale(self, laptop: Scale, arms: Sequence[str], bend: Bend | None = None) -> Scale:
        """The scale at which a point is run; without a bend the unbent one, which all axes share."""
        kept = tuple(arm for arm in laptop.arms or arms if not bend or arm not in bend.without)
        changed = laptop.changed(self.changes)
        if bend:
            changed = changed.changed(bend.changes, bend.arms)
        return replace(changed, seeds=self.seeds, arms=kept, verdict=False)


@dataclass(frozen=True, kw_only=True)
class Between:
    """A number to be tuned, drawn between `low` and `high`, evenly in its logarithm with `log`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Among:
    """A choice to be tuned."""

    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What may be tuned, in order to improve `measure` of `arm` by at least `by`, at equal cost.

    The arms named in `tuned` (all, if none is named) take the tuned fields. The search runs on seeds of its own, at the
    laptop scale with `changes` on top; what it finds is judged at the laptop scale, or with `judged` on top where that
    is too dear, on the first `judges` of the seeds that judge the study, against the study as it stands. A candidate
    whose tuned arms cost more than `dearer` times the FLOPs that they cost in the study is no candidate.
    """

    arm: str
    measure: str
    direction: Literal["higher", "lower"]
    by: float
    over: Mapping[str, Between | Among]
    question: str
    tuned: tuple[str, ...] = ()
    seeds: int = 2
    judges: int = 5
    changes: Mapping[str, Any] = field(default_factory=dict)
    judged: Mapping[str, Any] = field(default_factory=dict)
    dearer: float = 1.02
