"""What stands still in a clip of the side view, read from the median of its frames."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene import drawing
from maquette.worlds.scene.drawing import ICE, PANEL, ROD, SKY, SOIL, WATER
from maquette.worlds.scene.parsing.least_squares import fit
from maquette.worlds.scene.parsing.palette import nearest
from maquette.worlds.scene.raster import paint_boxes
from maquette.worlds.scene.state import Ground, Pendulum, Ramp, Scene, Scenery, Screen, Water
from maquette.worlds.scene.vocabulary import View

PAINTS = np.array([SKY, SOIL, ICE, WATER, PANEL, ROD], float)
SKY_, SOIL_, ICE_, WATER_, PANEL_, ROD_ = range(len(PAINTS))
WITHIN = 22.0
"""How far, of 255, a pixel may be from a paint to count as it."""
OUTLIER = 30.0
"""How far, of 255, a pixel may be from what is drawn about it; else something stands before the scenery."""
DRY = 0.1
"""Share of a row's pixels that may be sky where there is water."""
ROUNDS = 3
STILL = 0.3
"""Share of a row's or a column's pixels that make it one of the ground, the water or a screen."""


class Unexplained(Exception):
    """Nothing that could be read; the message says why."""


def still(view: View, scenery: Sequence[Scenery], size: int) -> Float[Tensor, "pixels 3"]:
    """A picture of the scenery without things, rods and drawers."""
    canvas = drawing.backdrop(view, scenery, size)[None].clone()
    if any(isinstance(part, Screen) for part in scenery):
        paint_boxes(canvas, [*drawing.screens([scene_of(view, scenery)], np.zeros(1, int))], size)
    return canvas[0].T


def scene_of(view: View, scenery: Sequence[Scenery]) -> Scene:
    """A scene without things."""
    nothing = np.zeros(0)
    return Scene(
        view=view,
        things=(),
        position=np.zeros((0, 2)),
        angle=nothing,
        velocity=np.zeros((0, 2)),
        spin=nothing,
        scenery=tuple(scenery),
    )


def side_scenery(frames: Float[np.ndarray, "frames size size 3"]) -> tuple[Scenery, ...]:
    """Ground, ramp, water, screen and pendulum of a clip of the side view.

    Raises:
        Unexplained: there is no ground.
    """
    median = np.median(frames, axis=0)
    seen = torch.from_numpy(median).float()
    fits = [_refined(seen, found) for found in _first_looks(median, frames)]
    return min(fits, key=lambda fitted: fitted[0])[1]


def _refined(seen: Float32[Tensor, "size size 3"], found: Sequence[Scenery]) -> tuple[float, tuple[Scenery, ...]]:
    """Scenery to a fraction of a pixel, and how unlike what is seen it is."""
    size = len(seen)
    numbers, rebuild = _as_numbers(found)

    def draw(rows: Float[np.ndarray, "rows numbers"]) -> Tensor:
        return torch.stack([still("side", rebuild(row), size).reshape(-1) for row in rows])

    start, target = np.array([numbers]), seen.reshape(1, -1)
    for step in (0.5, 0.15):
        weight = plausible(seen, draw(start).view(size, size, 3)).view(1, -1, 1).expand(-1, -1, 3).reshape(1, -1)
        start, _ = fit(draw, start, target, weight, step=np.full(start.shape[1], step / size), rounds=ROUNDS)
    return float((draw(start) - target).abs_().clamp_(max=OUTLIER).sum()), rebuild(start[0])


def plausible(
    seen: Float32[Tensor, "size size 3"], drawn: Float32[Tensor, "size size 3"]
) -> Float32[Tensor, "size size"]:
    """1 where a pixel may be what is drawn there or a pixel further, 0 where something stands before it, or beside."""
    planes = drawn.permute(2, 0, 1)[None]
    high, low = (sign * F.max_pool2d(sign * planes, 3, stride=1, padding=1)[0].permute(1, 2, 0) for sign in (1, -1))
    hidden = ((seen > high + OUTLIER) | (seen < low - OUTLIER)).any(2).float()
    return 1 - F.max_pool2d(hidden[None], 3, stride=1, padding=1)[0]


def _first_looks(
    median: Float[np.ndarray, "size size 3"], frames: Float[np.ndarray, "frames size size 3"]
) -> list[list[Scenery]]:
    """To within a pixel or two; twice where one cannot tell how far a ramp goes on behind what stands there."""
    size, kind = len(median), nearest(median, PAINTS, WITHIN)
    bottom = np.bincount(kind[-1] + 1, minlength=len(PAINTS) + 1)[1:]
    earth = SOIL_ if bottom[SOIL_] >= bottom[ICE_] else ICE_
    if bottom[earth] < STILL * size:
        raise Unexplained("the lowest row of pixels is no ground")
    wet = ((kind == WATER_).mean(1) > STILL) & ((kind == SKY_).mean(1) < DRY)
    heights = _heights(median, kind, earth, WATER_ if wet.any() else SKY_)
    if not np.isfinite(heights).any():
        raise Unexplained("no surface of the ground is to be seen")
    height = float(np.nanpercentile(heights, 10))
    found: list[Scenery] = [Ground(height=height / size, friction=float(earth == SOIL_))]
    ramps = _ramps(heights, height, size) if earth == SOIL_ else []
    if wet.any():
        found.append(Water(level=1 - float(wet.argmax()) / size))
    panel = kind == PANEL_
    columns = np.flatnonzero(panel.mean(0) > STILL / 2)
    if len(columns) > 1:
        rows = np.flatnonzero(panel[:, columns].mean(1) > 0.5)
        if len(rows):
            found.append(Screen(left=columns[0] / size, right=(columns[-1] + 1) / size, top=1 - rows[0] / size))
    if pivot := _pivot(frames, size):
        found.append(Pendulum(pivot=pivot))
    return [[*found, ramp] for ramp in ramps] or [found]


def _heights(
    median: Float[np.ndarray, "size size 3"], kind: Int[np.ndarray, "size size"], earth: int, over: int
) -> Float[np.ndarray, " size"]:
    """Of the ground or ramp in each column, in pixels and their shares; NaN where something touches it."""
    solid = (kind == earth)[::-1]
    whole = np.where(solid.all(0), len(solid) - 1, solid.argmin(0))
    pixel = median[::-1][whole, np.arange(len(solid))]
    change, paint = pixel - PAINTS[over], PAINTS[earth] - PAINTS[over]
    share = np.clip(change @ paint / (paint @ paint), 0, 1)
    mixed = np.abs(change - share[:, None] * paint).max(1) < WITHIN
    return np.where(mixed, whole + share, np.nan)


def _ramps(heights: Float[np.ndarray, " size"], floor: float, size: int) -> list[Ramp]:
    """The line that the heights above the floor lie on, if they do, to the last that is seen and as far as can be."""
    level = np.flatnonzero(heights < floor + 0.1)
    gaps = np.split(np.arange(size), level)
    run = max(gaps, key=len)
    run = run[~np.isin(run, level)]
    columns = run[np.isfinite(heights[run])]
    for _ in range(3):
        if len(columns) < 0.1 * size:
            return []
        slope, height = np.polyfit(columns + 0.5, heights[columns], 1)
        columns = columns[np.abs(heights[columns] - height - slope * (columns + 0.5)) < 0.7]
    if abs(slope) < 0.02:
        return []
    foot = min(max((floor - height) / slope, 0), size) / size
    # One that ends within the outermost column is begun with half of it: beside a whole one no sky is plausible.
    tops = {columns[0], max(run[0], 0.5)} if slope < 0 else {columns[-1] + 1, min(run[-1] + 1, size - 0.5)}
    return [Ramp(start=(top / size, (height + slope * top) / size), end=(foot, floor / size)) for top in sorted(tops)]


def _pivot(frames: Float[np.ndarray, "frames size size 3"], size: int) -> tuple[float, float] | None:
    """The place in the upper part where something as dark as a rod is always to be seen."""
    top = frames[:, : max(2, math.ceil(0.12 * size))]
    sky, rod = np.array(SKY, float), np.array(ROD, float)
    change, paint = top - sky, rod - sky
    share = np.clip(change @ paint / (paint @ paint), 0, 1)
    off = np.abs(change - share[..., None] * paint).max(-1)
    share = np.median(np.where(off < WITHIN, share, 0), axis=0)
    if share.max() < 0.3:
        return None
    row, column = np.unravel_index(share.argmax(), share.shape)
    near = np.zeros_like(share)
    near[max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 3] = 1
    share = share * near * (share > 0.1)
    rows, columns = np.indices(share.shape) + 0.5
    return float((share * columns).sum() / share.sum() / size), float(1 - (share * rows).sum() / share.sum() / size)


def _as_numbers(
    found: Sequence[Scenery],
) -> tuple[list[float], Callable[[Float[np.ndarray, " numbers"]], tuple[Scenery, ...]]]:
    """The numbers that scenery is drawn from, and the way back."""
    numbers: list[float] = []
    for part in found:
        match part:
            case Ground():
                numbers.append(part.height)
            case Ramp():
                numbers += [*part.start, part.end[0]]
            case Water():
                numbers.append(part.level)
            case Screen():
                numbers += [part.left, part.right, part.top]
            case Pendulum():
                numbers += part.pivot

    def rebuild(values: Float[np.ndarray, " numbers"]) -> tuple[Scenery, ...]:
        left = iter(values.tolist())
        built: list[Scenery] = []
        floor = 0.0
        for part in found:
            match part:
                case Ground():
                    floor = next(left)
                    built.append(Ground(height=floor, friction=part.friction))
                case Ramp():
                    built.append(Ramp(start=(next(left), next(left)), end=(next(left), floor)))
                case Water():
                    built.append(Water(level=next(left)))
                case Screen():
                    built.append(Screen(left=next(left), right=next(left), top=next(left)))
                case Pendulum():
                    built.append(Pendulum(pivot=(next(left), next(left))))
        return tuple(built)

    return numbers, rebuild
