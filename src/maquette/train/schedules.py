"""Learning-rate schedules: the share of the peak rate at each step."""

import math
from dataclasses import dataclass
from typing import Literal

from maquette.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warmup, then one of three courses over the rest of the steps."""

    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    warmup: int = 100
    """Steps of linear rise from 0 to the peak."""
    cooldown: float = 0.2
    """Share of all steps in which warmup-stable-decay falls linearly to `floor`."""
    floor: float = 0.0
    """Share of the peak that the course reaches one step after the last."""

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise UserError(f"warmup = {self.warmup}: give 0 steps or more.")
        if not 0 <= self.cooldown <= 1:
            raise UserError(f"cooldown = {self.cooldown}: give a share of the steps between 0 and 1.")
        if not 0 <= self.floor <= 1:
            raise UserError(f"floor = {self.floor}: give a share of the peak rate between 0 and 1.")

    def stable_until(self, steps: int) -> int:
        """The step from which the rate follows from `steps`: with warmup-stable-decay, where the cool-down starts.

        Up to there it is the same run whatever its length: longer runs may start from its checkpoint.
        """
        if self.kind == "constant":
            return steps
        if self.kind == "cosine":
            return min(self.warmup, steps)
        return steps - round(self.cooldown * steps)

    def share(self, step: int, steps: int) -> float:
        """Share of the peak for step `step` (from 0) of `steps`; 1 at the end of warmup."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.kind == "constant":
            return 1.0
        if self.kind == "cosine":
            progress = (step - self.warmup) / max(1, steps - self.warmup)
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
        start = self.stable_until(steps)
        if step < start:
            return 1.0
        progress = (step - start + 1) / (steps - start + 1)
        return self.floor + (1 - self.floor) * (1 - progress)
