"""What was read from a clip: its state, or the reason why it was rejected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Self, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from maquette.worlds.scene.state import Clip, Robot, Scenery, Thing
from maquette.worlds.scene.vocabulary import Law, View

Direction = Literal["left", "right", "up", "down", "still"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

STILL = 0.05
"""A net displacement below this, in widths of the frame, is no direction."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The state of a clip as read from its frames, in the units of `Clip`.

    A rejected clip holds nothing but the reason, so that no score can count any of it.
    """

    view: View | None = None
    things: tuple[Thing, ...] = ()
    position: Float[np.ndarray, "frames things 2"] = field(default_factory=lambda: np.zeros((0, 0, 2)))
    """NaN while a thing is hidden."""
    angle: Float[np.ndarray, "frames things"] = field(default_factory=lambda: np.zeros((0, 0)))
    """Continuous from frame to frame; as a whole known up to the turns of `geometry.symmetry`. NaN while hidden."""
    velocity: Float[np.ndarray, "frames things 2"] = field(default_factory=lambda: np.zeros((0, 0, 2)))
    fps: float = 8.0
    scenery: tuple[Scenery, ...] = ()
    robots: tuple[Robot, ...] = ()
    openings: Float[np.ndarray, " frames"] = field(default_factory=lambda: np.zeros(0))
    layers: Int[np.ndarray, "frames things"] = field(default_factory=lambda: np.zeros((0, 0), int))
    """What lies on what, as in `Scene`, or empty."""
    law: Law | None = None
    """The law that the motion obeys, if it obeys one."""
    law_residuals: Mapping[Law, float] = field(default_factory=lambda: MappingProxyType({}))
    """0 for motion just as each law has it, 1 for motion that has nothing of it (`parsing.motion`)."""
    residual_peak: float = float("nan")
    """The largest and the mean difference between the frames and the drawing of what was read, of 255."""
    residual_mean: float = float("nan")
    rejected: str | None = None
    """Why nothing was read; None for what was."""

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """The perfect reading of a clip whose state is known."""
        return cls(
            view=clip.view,
            things=clip.things,
            position=clip.position,
            angle=clip.angle,
            velocity=clip.velocity,
            fps=clip.fps,
            scenery=clip.scenery,
            robots=clip.robots,
            openings=clip.openings,
            layers=clip.layers,
            law=clip.law,
            residual_peak=0.0,
            residual_mean=0.0,
        )

    def clip(self) -> Clip:
        """The state that was read, for who judges states; what was hidden went straight from where it was last seen.

        Raises:
            ValueError: the clip was rejected, or a thing is hidden throughout.
        """
        if self.rejected is not None or self.view is None or not self.visible.any(axis=0).all():
            raise ValueError("A clip that was not read has no state.")
        return Clip(
            view=self.view,
            things=self.things,
            position=_filled(self.position),
            angle=_filled(self.angle[..., None])[..., 0],
            velocity=_filled(self.velocity),
            spin=np.zeros(self.angle.shape),
            fps=self.fps,
            scenery=self.scenery,
            robots=self.robots,
            openings=self.openings,
            layers=self.layers,
        )

    def __len__(self) -> int:
        return len(self.position)

    @property
    def visible(self) -> Bool[np.ndarray, "frames things"]:
        """Where a thing could be seen."""
        return np.isfinite(self.position[:, :, 0])

    def direction(self, thing: int) -> Direction:
        """Where a thing went between the first and the last frame in which it is seen."""
        seen = self.position[self.visible[:, thing], thing]
        x, y = seen[-1] - seen[0] if len(seen) else (0.0, 0.0)
        if max(abs(x), abs(y)) < STILL:
            return "still"
        if abs(x) >= abs(y):
            return "right" if x > 0 else "left"
        return "up" if y > 0 else "down"


def _filled(values: Float[np.ndarray, "frames things numbers"]) -> Float[np.ndarray, "frames things numbers"]:
    """NaN replaced along the frames by straight lines between what is known."""
    filled, frames = values.copy(), np.arange(len(values))
    for thing, number in np.ndindex(values.shape[1:]):
        known = np.isfinite(values[:, thing, number])
        if known.any():
            filled[:, thing, number] = np.interp(frames, frames[known], values[known, thing, number])
    return filled
