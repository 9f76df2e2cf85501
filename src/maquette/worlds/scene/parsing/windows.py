"""Things drawn into the few pixels about them: what hypotheses about shape, size, colour and pose are weighed by."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.parsing.least_squares import Numbers, Picture, fit
from maquette.worlds.scene.raster import patches, shares
from maquette.worlds.scene.state import Thing

CERTAIN = 4.0
"""Error of a pixel, of 255, that its weight against what is expected of a pose is reckoned from."""
ROWS = 2**17
"""Pixels fitted at a time, few enough for the processor's cache."""


class Windows:
    """The pixels about a place in each of some frames.

    Args:
        seen: frames, values from 0 to 255.
        behind: the same without the things.
        weight: of each row's pixels in its frame.
        frame: which frame each row looks at.
        centre: where, in widths.
        reach: how far, in widths.
    """

    def __init__(
        self,
        seen: Float32[Tensor, "frames pixels 3"],
        behind: Float32[Tensor, "frames pixels 3"],
        weight: Float32[Tensor, "rows pixels"],
        frame: Int[np.ndarray, " rows"],
        centre: Float[np.ndarray, "rows 2"],
        reach: float,
    ) -> None:
        self.size = round(seen.shape[1] ** 0.5)
        self.centre = centre
        index, self._x, self._y = patches(centre, reach * self.size, self.size)
        rows = torch.from_numpy(frame)[:, None]
        self.seen, self._behind = seen[rows, index], behind[rows, index]
        self.weight = weight.gather(1, index)

    def part(self, rows: Int[np.ndarray, " some"] | slice) -> "Windows":
        """Some rows."""
        other = object.__new__(Windows)
        other.size, other.centre = self.size, self.centre[rows]
        for name in ("_x", "_y", "seen", "_behind", "weight"):
            setattr(other, name, getattr(self, name)[rows])
        return other

    def draw(self, looks: Looks, pose: Numbers) -> Picture:
        """One thing a row, at x, y and angle."""
        ink = looks.ink()
        shift = torch.from_numpy(((pose[:, :2] - self.centre) * self.size).astype(np.float32))
        present = np.ones((len(pose), 1), bool)
        cover, inner, tone = shares(
            ink, present, self._x - shift[:, :1], self._y - shift[:, 1:], pose[:, 2:3], self.size
        )
        rim, fill = (cover - inner).mul_(tone), inner.mul_(tone)
        drawn = self._behind * (1 - cover)[:, :, None]
        drawn += rim[:, :, None] * ink.rim + fill[:, :, None] * ink.fill
        return drawn.flatten(1)

    def cover(self, looks: Looks, pose: Numbers) -> Float32[Tensor, "rows pixels"]:
        """The share of each pixel that each row's thing covers."""
        shift = torch.from_numpy(((pose[:, :2] - self.centre) * self.size).astype(np.float32))
        x, y = self._x - shift[:, :1], self._y - shift[:, 1:]
        return shares(looks.ink(), np.ones((len(pose), 1), bool), x, y, pose[:, 2:3], self.size)[0]

    def bare(self) -> Float[np.ndarray, " rows"]:
        """The weighted sum of squares that nothing but what is behind leaves."""
        return self._left(self._behind)

    def loss(self, looks: Looks, pose: Numbers) -> Float[np.ndarray, " rows"]:
        """The weighted sum of squares that each row's thing leaves."""
        return self._left(self.draw(looks, pose).view(*self.seen.shape))

    def _left(self, picture: Float32[Tensor, "rows pixels 3"]) -> Float[np.ndarray, " rows"]:
        return ((picture - self.seen).square_().sum(2) * self.weight).sum(1).double().numpy()

    def fit(
        self, looks: Looks, pose: Numbers, rounds: int, stiffness: Numbers | None = None
    ) -> tuple[Numbers, Float[np.ndarray, " rows"]]:
        """The best poses near some, and the weighted sum of squares they leave."""
        poses, losses = pose.copy(), np.zeros(len(pose))
        at_once = max(1, ROWS // max(1, self.seen.shape[1]))
        for first in range(0, len(pose), at_once):
            rows = slice(first, first + at_once)
            there, looked = self.part(rows), looks_at(looks, rows)
            poses[rows], losses[rows] = fit(
                lambda numbers, there=there, looked=looked: there.draw(looked, numbers),
                pose[rows],
                there.seen.flatten(1),
                there.weight[:, :, None].expand(-1, -1, 3).flatten(1),
                step=np.array([0.1 / self.size, 0.1 / self.size, 0.05]),
                rounds=rounds,
                stiffness=None if stiffness is None else stiffness[rows],
            )
        return poses, losses


def looks_in_rows(things: Sequence[Thing]) -> Looks:
    """One thing a row."""
    return looks_at(Looks.of(things), np.arange(len(things))[:, None])


def looks_at(looks: Looks, rows: Int[np.ndarray, " some"] | slice) -> Looks:
    """The looks of some rows."""
    return Looks(
        shape=looks.shape[rows], colour=looks.colour[rows], size=looks.size[rows], material=looks.material[rows]
    )
