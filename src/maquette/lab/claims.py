"""Claims: each an effect measured once a seed, and the region in which it must lie."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from maquette.core.errors import UserError, did_you_mean

Measures = Mapping[str, float]
Trials = Mapping[str, Measures]
"""The measures of one seed, by arm."""
BySeed = Mapping[int, Trials]


@dataclass(frozen=True)
class Ratio:
    """A smallest effect worth having as a factor: `by=Ratio(0.5)` is at most half, or at least twice with 2."""

    factor: float


@dataclass(frozen=True)
class Claim(ABC):
    """A statement about one effect, measured once a seed: it holds when the effect lies inside `region`.

    `control` names arms that take `arm`'s place in the same test and must fail it. `paper` is the paper's own number;
    `contested` says who doubts the claim and why. `checks` are claims that must hold if this one is to be believed: an
    A/A pair that ties, a planted handicap that is found.
    """

    measure: str
    arm: str
    _: KW_ONLY
    text: str
    control: str | tuple[str, ...]
    paper: str = ""
    contested: str | None = None
    checks: tuple["Claim", ...] = ()

    @property
    def controls(self) -> tuple[str, ...]:
        """The control arms."""
        return (self.control,) if isinstance(self.control, str) else self.control

    @property
    @abstractmethod
    def others(self) -> tuple[str, ...]:
        """The arms that `arm` is compared with."""

    @property
    @abstractmethod
    def region(self) -> tuple[float, float]:
        """The effects for which the claim holds."""

    @abstractmethod
    def effect(self, trials: Trials, arm: str) -> float:
        """The effect in one seed, with `arm` on trial.

        Raises:
            UserError: the arm or the measure is not there.
        """

    def value(self, trials: Trials, arm: str) -> float:
        """The claim's measure of one arm."""
        if arm not in trials:
            raise UserError(f"The claim {self.text!r} names the arm {arm!r}; {did_you_mean(arm, trials)}")
        if self.measure not in trials[arm]:
            hint = did_you_mean(self.measure, trials[arm])
            raise UserError(f"The claim {self.text!r} names the measure {self.measure!r} of {arm!r}; {hint}")
        return trials[arm][self.measure]


@dataclass(frozen=True)
class Better(Claim):
    """`arm` beats `than` by at least `by`, the smallest effect worth having; a `Ratio` compares the quotient."""

    _: KW_ONLY
    than: str
    by: float | Ratio
    direction: Literal["higher", "lower"] = "higher"

    @property
    def others(self) -> tuple[str, ...]:
        """The arm to beat."""
        return (self.than,)

    @property
    def region(self) -> tuple[float, float]:
        """Above the smallest effect worth having; for a ratio that should be low, below it."""
        if isinstance(self.by, Ratio):
            return (self.by.factor, math.inf) if self.direction == "higher" else (-math.inf, self.by.factor)
        return (self.by, math.inf)

    def effect(self, trials: Trials, arm: str) -> float:
        """By how much `arm` is better; for a ratio, the quotient of the two."""
        if isinstance(self.by, Ratio):
            value, base = self.value(trials, arm), self.value(trials, self.than)
            if value < 0 or base <= 0:
                name, found = (self.than, base) if base <= 0 else (arm, value)
                raise UserError(
                    f"The claim {self.text!r} is about a ratio, but {self.measure} of {name!r} is {found:g}; "
                    "claim a difference, by=0.1 say."
                )
            return value / base
        gain = self.value(trials, arm) - self.value(trials, self.than)
        return gain if self.direction == "higher" else -gain


@dataclass(frozen=True)
class Tie(Claim):
    """`arm` and `other` differ by less than `within`."""

    other: str
    _: KW_ONLY
    within: float

    @property
    def others(self) -> tuple[str, ...]:
        """The arm to equal."""
        return (self.other,)

    @property
    def region(self) -> tuple[float, float]:
        """Inside the margin."""
        return (-self.within, self.within)

    def effect(self, trials: Trials, arm: str) -> float:
        """The difference."""
        return self.value(trials, arm) - self.value(trials, self.other)


@dataclass(frozen=True)
class InRange(Claim):
    """The measure of `arm` lies between `low` and `high`; infinite bounds are allowed."""

    _: KW_ONLY
    low: float
    high: float

    @property
    def others(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def region(self) -> tuple[float, float]:
        """The range."""
        return (self.low, self.high)

    def effect(self, trials: Trials, arm: str) -> float:
        """The measure itself."""
        return self.value(trials, arm)
