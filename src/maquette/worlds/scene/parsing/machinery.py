"""The robot of the table top: which it is, and where its joints are in each frame."""

import functools
import itertools
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from scipy import ndimage
from torch import Tensor

from maquette.worlds.scene.actions.embodiments import BASE, JOINT_LIMITS, LINKS, Embodiment
from maquette.worlds.scene.drawing import robots
from maquette.worlds.scene.geometry import HAND
from maquette.worlds.scene.parsing.backdrop import scene_of
from maquette.worlds.scene.parsing.least_squares import Drawing, Numbers, Picture, fit
from maquette.worlds.scene.parsing.palette import FIXTURE
from maquette.worlds.scene.raster import paint_boxes
from maquette.worlds.scene.state import Robot

SOME, MUCH = 0.3 * np.pi * HAND**2, 0.018
"""Areas from which on something dark is a robot, and is an arm."""
POOR = 5.0
"""Square of the difference left, on the average of a frame's pixels, from which on a hand may be an arm's."""
STEPS = {"pusher": (0.1, 0.1), "gripper": (0.1, 0.1, 0.6), "arm": (0.3, 0.3, 0.3, 0.6)}
"""Over which derivatives are differences, in pixels: of what moves by so much."""
GRIPS, FINER_GRIPS = (0.1, 0.5, 0.9), np.linspace(0.1, 1.0, 10)
"""Tried at a place that is guessed, and at one that was found: jaws are found from half their width away."""
BY_LINK = np.linspace(0.1, 1.0, 7)
"""Places on each link where an arm is looked for."""
TRIED, FINER = 24, (0.09, 0.03)
"""Angles of each joint, and turns in radians tried about the best."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A robot in each frame."""

    kind: Embodiment
    numbers: Numbers
    """x and y, with a gripper's grip, or an arm's angles and grip."""

    @property
    def steps(self) -> tuple[float, ...]:
        """Over which to take derivatives, in pixels or in what moves by so much."""
        return STEPS[self.kind]

    @property
    def hand(self) -> Float[np.ndarray, "frames 2"]:
        """Where its hand is."""
        return _joints(self.kind, self.numbers)[0][:, -1]

    def over(
        self, behind: Float32[Tensor, "frames pixels 3"], numbers: Numbers | None = None
    ) -> Float32[Tensor, "frames pixels 3"]:
        """It, or another of its kind, drawn over what is behind it."""
        return _over(behind, self.kind, self.numbers if numbers is None else numbers)

    def cover(self, size: int) -> Float32[Tensor, "frames pixels"]:
        """The share of each pixel that it covers."""
        plain = torch.zeros(len(self.numbers), size * size, 3)
        return 1 - (self.over(plain + 255) - self.over(plain)).mean(2) / 255

    def robots(self) -> tuple[Robot, ...]:
        """One a frame."""
        joints, grip = _joints(self.kind, self.numbers)
        return tuple(
            Robot(embodiment=self.kind, joints=tuple((x, y) for x, y in points), grip=one)
            for points, one in zip(joints.tolist(), grip.tolist(), strict=True)
        )


def machine_of(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Float32[Tensor, "frames pixels 3"],
    label: Int[np.ndarray, "frames pixels"],
    share: Float32[np.ndarray, "frames pixels"],
    *,
    doubt: bool = True,
    last: Machine | None = None,
) -> Machine | None:
    """The robot, if there is one.

    Args:
        seen: the frames.
        behind: all that is behind the robot.
        label: the families of the paints over that (`palette.unmix`).
        share: how much of each pixel they cover.
        doubt: leave out pixels that show things, because these are not in `behind`.
        last: what it was taken for so far; it is looked for there too.
    """
    size = round(seen.shape[1] ** 0.5)
    dark = np.where(label == FIXTURE, share, 0)
    area = float(np.median(dark.sum(1))) / size**2
    if area < SOME:
        return None
    counts = torch.from_numpy((label == FIXTURE) | (label < 0) | (not doubt)).float()
    weight = counts[:, :, None].expand(-1, -1, 3).flatten(1)
    spots = dark.reshape(-1, size, size)
    kinds: list[Embodiment] = ["arm"] if area > MUCH else ["pusher", "gripper"]
    fits = {kind: _fitted(kind, seen, behind, weight, spots, last) for kind in kinds}
    if min(float(np.median(loss)) for _, loss in fits.values()) > POOR * size**2 and "arm" not in fits:
        fits["arm"] = _fitted("arm", seen, behind, weight, spots, last)  # most of which is outside the frame
    kind = min(fits, key=lambda one: float(fits[one][1].sum()))
    return Machine(kind=kind, numbers=_gripping(kind, *fits[kind], seen, behind, weight))


def _fitted(
    kind: Embodiment,
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Float32[Tensor, "frames pixels 3"],
    weight: Float32[Tensor, "frames values"],
    dark: Float[np.ndarray, "frames size size"],
    last: Machine | None,
) -> tuple[Numbers, Float[np.ndarray, " frames"]]:
    """The numbers that the robot is drawn from in each frame, and what its drawing leaves."""
    size = dark.shape[1]
    place = _arms(dark) if kind == "arm" else _middles(dark)
    starts = [np.column_stack([place, *([np.full(len(dark), grip)] if kind != "pusher" else [])]) for grip in GRIPS]

    def draw(numbers: Numbers) -> Tensor:
        return _over(behind, kind, numbers).flatten(1)

    target, step = seen.flatten(1), np.array(STEPS[kind]) / size
    best, loss = _from_best(draw, starts, target, weight, step=step, rounds=6)
    known = [last.numbers] if last and last.kind == kind else []
    beside = (np.roll(best, side, axis=0) for side in (1, -1))  # each taken when its turn comes
    for start in itertools.chain(known, beside):  # what went wrong in a frame may be right in the one before or after
        again, left = fit(draw, start, target, weight, step=step, rounds=4)
        better = left < loss
        best[better], loss[better] = again[better], left[better]
    return best, loss


def _gripping(
    kind: Embodiment,
    numbers: Numbers,
    loss: Float[np.ndarray, " frames"],
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Float32[Tensor, "frames pixels 3"],
    weight: Float32[Tensor, "frames values"],
) -> Numbers:
    """The numbers, in poor frames fitted again from the grip that is best at the place found."""
    poor = np.flatnonzero(loss > POOR * seen.shape[1])
    if kind == "pusher" or not len(poor):
        return numbers
    starts = [np.column_stack([numbers[poor, :-1], np.full(len(poor), grip)]) for grip in FINER_GRIPS]
    step = np.array(STEPS[kind]) / round(seen.shape[1] ** 0.5)

    def draw(numbers: Numbers) -> Tensor:
        return _over(behind[poor], kind, numbers).flatten(1)

    again, left = _from_best(draw, starts, seen[poor].flatten(1), weight[poor], step=step, rounds=6)
    better, found = left < loss[poor], numbers.copy()
    found[poor[better]] = again[better]
    return found


def _from_best(
    draw: Drawing,
    starts: list[Numbers],
    target: Picture,
    weight: Picture,
    *,
    step: Float[np.ndarray, " numbers"],
    rounds: int,
) -> tuple[Numbers, Float[np.ndarray, " frames"]]:
    """Fitted from the start whose drawing leaves least, in each frame."""
    losses = [((draw(one) - target).square_() * weight).sum(1).numpy() for one in starts]
    start = np.array(starts)[np.argmin(losses, axis=0), np.arange(len(target))]
    return fit(draw, start, target, weight, step=step, rounds=rounds)


def _over(
    behind: Float32[Tensor, "frames pixels 3"], kind: Embodiment, numbers: Numbers
) -> Float32[Tensor, "frames pixels 3"]:
    joints, grip = _joints(kind, numbers)
    scene = replace(scene_of("top", ()), robot=Robot(embodiment=kind, joints=()))
    canvas = behind.transpose(1, 2).contiguous().clone()
    boxes = [*robots([scene], np.zeros(len(numbers), int), joints, grip)]
    paint_boxes(canvas, boxes, round(canvas.shape[2] ** 0.5))
    return canvas.transpose(1, 2)


def _joints(
    kind: Embodiment, numbers: Numbers
) -> tuple[Float[np.ndarray, "rows joints 2"], Float[np.ndarray, " rows"]]:
    """Of its drawing, with grips as far as they go."""
    if kind == "arm":
        return _points(numbers[:, :3]), np.clip(numbers[:, 3], 0, 1)
    return numbers[:, None, :2], np.clip(numbers[:, 2], 0, 1) if kind == "gripper" else np.ones(len(numbers))


def _points(angles: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, "rows 4 2"]:
    """`embodiments.points_of` for many arms."""
    headings = np.cumsum(angles, axis=1)
    ways = np.stack([np.cos(headings), np.sin(headings)], axis=2) * np.array(LINKS)[:, None]
    return np.concatenate([np.zeros((len(angles), 1, 2)), np.cumsum(ways, axis=1)], axis=1) + BASE


def _middles(dark: Float[np.ndarray, "frames size size"]) -> Float[np.ndarray, "frames 2"]:
    size = dark.shape[1]
    rows, columns = np.indices(dark.shape[1:]) + 0.5
    total = np.maximum(dark.sum((1, 2)), 1e-6)
    return np.stack([(dark * columns).sum((1, 2)) / total / size, 1 - (dark * rows).sum((1, 2)) / total / size], axis=1)


@functools.cache
def _postures(size: int) -> tuple[Float[np.ndarray, "postures 3"], Int[np.ndarray, "postures places"]]:
    """Postures tried first, and the pixels under them."""
    angles = np.array(list(itertools.product(*(np.linspace(low, high, TRIED) for low, high in JOINT_LIMITS))))
    return angles, _pixels(angles, size)


def _pixels(angles: Float[np.ndarray, "rows 3"], size: int) -> Int[np.ndarray, "rows places"]:
    """The pixels under some places on an arm's links, by their numbers; size² for all that are outside."""
    points = _points(angles)
    start, end = points[:, :-1, None], points[:, 1:, None]
    places = (start + BY_LINK[:, None] * (end - start)).reshape(len(angles), -1, 2)
    column = np.floor(places[:, :, 0] * size).astype(int)
    row = np.floor((1 - places[:, :, 1]) * size).astype(int)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    return np.where(inside, row * size + column, size * size)


def _arms(dark: Float[np.ndarray, "frames size size"]) -> Float[np.ndarray, "frames 3"]:
    """The postures whose links lie best on what is dark."""
    size = dark.shape[1]
    angles, pixels = _postures(size)
    found = np.zeros((len(dark), 3))
    for i, picture in enumerate(dark):
        best = angles[np.argsort(-_on(ndimage.maximum_filter(picture, 3), pixels))[:20]]
        for turn in FINER:
            near = turn * np.array(list(itertools.product((-1, 0, 1), repeat=3)))
            tried = (best[:, None] + near).reshape(-1, 3)
            best = tried[np.argsort(-_on(picture, _pixels(tried, size)))[:20]]
        found[i] = best[0]
    return found


def _on(picture: Float[np.ndarray, "size size"], pixels: Int[np.ndarray, "rows places"]) -> Float[np.ndarray, " rows"]:
    """How much of an arm lies on what is dark, less what does not; what is outside the frame is neither."""
    return np.append(2.0 * picture - 1.0, 0.0)[pixels].sum(1)
