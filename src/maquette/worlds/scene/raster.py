"""Outlines to pixels: the share of each pixel that an outline covers, blended into many frames at once.

A canvas holds a red, a green and a blue plane of pixels from 0 to 255 for each frame; its rows run from the top of the
world (y = 1) to the bottom. All frames go through the same elementwise operations whatever is drawn beside them, so
that a frame has the same bits alone and in a batch. Lengths are widths of the frame, angles radians; what belongs to a
whole outline is computed by NumPy in double precision, what belongs to a pixel by PyTorch in single.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from maquette.worlds.scene.geometry import ARM, BOX, CROSS, STAR, TRIANGLE, WAIST, reach
from maquette.worlds.scene.vocabulary import SHAPES, Shape

Canvas = Float32[Tensor, "frames 3 pixels"]
Line = tuple[float, float, float]
"""(a, b, c), a² + b² = 1: inside is where a·u + b·v < c, for a shape of radius 1."""

EVERYWHERE: Line = (0.0, 0.0, 1e4)
NOWHERE: Line = (0.0, 0.0, -1e4)
MARGIN = 1.0
"""Pixels beyond an outline that it may still tint."""
STRIPE = 0.2
"""Half the width of a ball's stripe, in radii."""
SHADE = 0.6
"""Factor on the colours under it."""


@dataclass(frozen=True, kw_only=True)
class Sector:
    """An outline with its symmetric parts folded onto one another, between the angles 0 and π / turns.

    There it is `edge` ∩ (`beside` ∪ `across`): `edge` and `beside` meet in a corner that points outwards, `beside` and
    `across`, its image in the mirror at π / turns, in one that points inwards.
    """

    turns: int
    edge: Line
    beside: Line = EVERYWHERE
    across: Line = NOWHERE
    phase: float = 0.0
    """The direction in the shape at which the sector begins."""


def _through(start: tuple[float, float], end: tuple[float, float]) -> Line:
    a, b = end[1] - start[1], start[0] - end[0]
    c = a * start[0] + b * start[1]
    length = math.copysign(math.hypot(a, b), c)  # with the origin inside
    return a / length, b / length, c / length


def _mirrored(line: Line, angle: float) -> Line:
    """Its image in the mirror through the origin at `angle`."""
    cos, sin = math.cos(2 * angle), math.sin(2 * angle)
    return cos * line[0] + sin * line[1], sin * line[0] - cos * line[1], line[2]


_SIDE = (1.0, 0.0, TRIANGLE / 2)
_SPIKE = _through((STAR, 0.0), (WAIST * math.cos(math.pi / 5), WAIST * math.sin(math.pi / 5)))
SECTORS: dict[Shape, Sector] = {
    "ball": Sector(turns=4, edge=(1.0, 0.0, 1.0)),  # u is the distance from the centre
    "box": Sector(turns=4, edge=(1.0, 0.0, BOX), beside=(0.0, 1.0, BOX)),
    "triangle": Sector(turns=3, edge=_SIDE, beside=_mirrored(_SIDE, math.pi / 3), phase=-math.pi / 2),
    "cross": Sector(turns=4, edge=(1.0, 0.0, CROSS), beside=(0.0, 1.0, ARM), across=(1.0, 0.0, ARM)),
    "star": Sector(
        turns=5,
        edge=_mirrored(_SPIKE, 0.0),
        beside=_SPIKE,
        across=_mirrored(_SPIKE, math.pi / 5),
        phase=math.pi / 2,
    ),
}
assert tuple(SECTORS) == SHAPES
_LINES = np.array([(s.edge, s.beside, s.across) for s in SECTORS.values()])
_JOINT = 1 + (_LINES[:, 0, :2] * _LINES[:, 1, :2]).sum(1)
_MIRRORS = np.array(
    [
        [(-math.sin(angle), math.cos(angle)) for angle in (2 * math.pi / s.turns, math.pi / s.turns)]
        for s in SECTORS.values()
    ]
) * math.sqrt(2)
"""Normals n of the mirrors that fold the plane, made √2 long: p - max(n·p, 0) n is mirrored where n·p > 0."""
_PHASE = np.array([s.phase for s in SECTORS.values()])
_REACH = np.array([reach(shape) for shape in SHAPES])


@dataclass(frozen=True, kw_only=True)
class Ink:
    """How things are painted: a fill, within `inset` of the outline a rim, and along a ball's axis a darker stripe."""

    shape: Int[np.ndarray, "frames things"]
    """Place in `SHAPES`."""
    radius: Float[np.ndarray, "frames things"]
    inset: Float[np.ndarray, "frames things"]
    """Width of the rim, in radii."""
    rim: Float32[Tensor, "frames things 3"]
    fill: Float32[Tensor, "frames things 3"]

    def __getitem__(self, frames: slice) -> "Ink":
        return Ink(
            shape=self.shape[frames],
            radius=self.radius[frames],
            inset=self.inset[frames],
            rim=self.rim[frames],
            fill=self.fill[frames],
        )


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """One rectangle a frame, its corners rounded. All but the centre may be one for all frames."""

    centre: Float[np.ndarray, "frames 2"]
    """NaN where a frame has none."""
    half: ArrayLike
    """Half its width and height (frames 2); neither is drawn thinner than a pixel."""
    rgb: ArrayLike
    """(frames 3)."""
    angle: ArrayLike = 0.0
    rounding: ArrayLike = 0.0
    """Radius of the corners, at most the smaller `half`."""


def paint_boxes(canvas: Canvas, boxes: Sequence[Boxes], size: int) -> None:
    """Blend boxes into frames of `size`² pixels, in place, later over earlier."""
    shape = len(boxes), canvas.shape[0]
    centre, half, rgb = (np.empty((*shape, width)) for width in (2, 2, 3))
    angle, rounding = np.empty(shape), np.empty(shape)
    for i, box in enumerate(boxes):
        centre[i], half[i], rgb[i], angle[i], rounding[i] = box.centre, box.half, box.rgb, box.angle, box.rounding
    absent = np.isnan(centre[:, :, 0])
    if absent.all():
        return
    centre[absent], angle[absent] = 0.0, 0.0
    half = np.maximum(half * size, 0.5)
    half[absent] = 0.5
    rounding = np.minimum(np.maximum(rounding * size, 0.5), half.min(2))
    edge = np.where(absent, -1e4, rounding + 0.5)
    reaches = np.where(angle != 0, np.hypot(half[:, :, 0], half[:, :, 1]), half.max(2)).max(1)
    # Small ones apart from large ones, because all that are drawn together have patches of one width.
    for _, run in itertools.groupby(range(len(boxes)), lambda i: bool(reaches[i] > size / 10)):
        those = [*run]
        index, x, y = patches(centre[those].reshape(-1, 2), float(reaches[those].max()), size)
        turned, inner = angle[those].ravel(), (half[those] - rounding[those, :, None]).reshape(-1, 2)
        cos, sin, wide, high, limit = _columns([np.cos(turned), np.sin(turned), *inner.T, edge[those].ravel()])
        u, v = _turned(x, y, cos, sin)
        u = u.abs_().sub_(wide).clamp_(min=0)
        v = v.abs_().sub_(high).clamp_(min=0)
        cover = u.mul_(u).add_(v.mul_(v)).sqrt_().neg_().add_(limit).clamp_(0, 1)
        index, cover = (one.view(len(those), shape[1], -1) for one in (index, cover))
        colours = torch.from_numpy(rgb[those].astype(np.float32))
        for places, share, colour in zip(index.unbind(), cover.unbind(), colours.unbind(), strict=True):
            _blend(canvas, places, share, [(share, colour)])


def paint_below(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], rgb: ArrayLike, size: int
) -> None:
    """Blend into every frame what lies below the line between two points, in place."""
    (left, first), (right, last) = np.multiply(sorted((start, end)), size)
    column = np.arange(size)
    across = np.clip(np.minimum(column + 1, right) - np.maximum(column, left), 0, 1)
    slope = (last - first) / max(right - left, 1e-9)
    above = (size - column[:, None] - 0.5 - first - slope * (column + 0.5 - left)) / math.hypot(1, slope)
    cover = torch.from_numpy(np.clip(0.5 - above, 0, 1) * across).float().view(1, -1)
    colour = torch.from_numpy(np.asarray(rgb, np.float32)).expand(len(canvas), 3)
    _blend(canvas, torch.arange(size * size).expand(len(canvas), -1), cover, [(cover, colour)])


def paint_things(
    canvas: Canvas,
    ink: Ink,
    position: Float[np.ndarray, "frames things 2"],
    angle: Float[np.ndarray, "frames things"],
    size: int,
) -> None:
    """Blend things into frames of `size`² pixels, in place, later over earlier; where a position is NaN, nothing."""
    present = np.isfinite(position[:, :, 0])
    if not present.any():
        return
    width = float((ink.radius * _REACH[ink.shape])[present].max()) * size
    index, x, y = patches(np.nan_to_num(position).reshape(-1, 2), width, size)
    cover, inner, tone = shares(ink, present, x, y, np.nan_to_num(angle), size)
    rim, fill = (cover - inner).mul_(tone), inner.mul_(tone)
    cover, rim, fill, index = (one.view(*present.shape, -1) for one in (cover, rim, fill, index))
    for i in range(present.shape[1]):
        _blend(canvas, index[:, i], cover[:, i], [(rim[:, i], ink.rim[:, i]), (fill[:, i], ink.fill[:, i])])


def shares(
    ink: Ink,
    present: Bool[np.ndarray, "frames things"],
    x: Float32[Tensor, "rows width"],
    y: Float32[Tensor, "rows width"],
    angle: Float[np.ndarray, "frames things"],
    size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Shares of each pixel (rows × pixels): the outline's, the outline's without its rim; and the stripe's factor."""
    shape, radius = ink.shape.reshape(-1), ink.radius.reshape(-1) * size
    ball, turned = shape == SHAPES.index("ball"), angle.reshape(-1) + _PHASE[shape]
    # A share that falls linearly across the edge gives a disc π/12 pixels too many.
    radius = np.where(ball, np.sqrt(np.maximum(radius**2 - 1 / 12, 0)), radius)
    limits = _LINES[shape, :, 2] * radius[:, None] - 0.5
    limits[:, 0] = np.where(present.reshape(-1), limits[:, 0], -1e4)
    insets = (ink.inset.reshape(-1) * radius)[:, None]
    normals, mirrors = _LINES[shape, :, :2].reshape(-1, 6), _MIRRORS[shape].reshape(-1, 4)
    stripe = np.where(ball, STRIPE * radius + 0.5, -1e4)
    cos, sin, stripe, joint, *rest = _columns(
        [np.cos(turned), np.sin(turned), stripe, _JOINT[shape], *mirrors.T, *normals.T, *limits.T, *(limits - insets).T]
    )
    u, v = _turned(x, y, cos, sin)
    v.abs_()
    tone = (stripe - v).clamp_(0, 1).mul_(SHADE - 1).add_(1)
    distance = (u * u).add_(v * v).sqrt_()
    for a, b in (rest[:2], rest[2:4]):
        beyond = (u * a).add_(v * b).clamp_(min=0)
        u.sub_(beyond * a)
        v.sub_(beyond.mul_(b))
    u, v = torch.where(torch.from_numpy(ball)[:, None], distance, u), v.abs_()
    lines = [(u * a).add_(v * b) for a, b in (rest[4:6], rest[6:8], rest[8:10])]
    return _left(lines, rest[10:13], joint), _left(lines, rest[13:], joint), tone


def _left(lines: list[Tensor], limits: list[Tensor], joint: Tensor) -> Tensor:
    """The pixels' shares that are left when what lies beyond a sector's lines is cut off; half a pixel is in `limits`.

    `joint` is 1 + the product of the normals at the outward corner. Exact for parallel edges (0), where the shares cut
    off add up, and for upright ones (1), where those left multiply.
    """
    edge, beside, across = ((line - limit).clamp_(0, 1) for line, limit in zip(lines, limits, strict=True))
    beside.mul_(across)
    return (edge * beside).mul_(joint).sub_(edge).sub_(beside).add_(1).clamp_(min=0)


def patches(
    centre: Float[np.ndarray, "rows 2"], reach: float, size: int
) -> tuple[Int64[Tensor, "rows pixels"], Float32[Tensor, "rows width"], Float32[Tensor, "rows width"]]:
    """A square of pixels about each centre, all of one width and within the frame.

    The pixels' places in a plane, and how far right of and above the centre each column and row lies, in pixels.
    """
    width = min(size, math.floor(2 * (reach + MARGIN)) + 1)
    middle = np.stack([centre[:, 0], 1 - centre[:, 1]])[:, :, None] * size
    first = np.clip(np.ceil(middle - reach - MARGIN - 0.5), 0, size - width)
    columns, rows = steps = first.astype(np.int64) + np.arange(width)
    x, y = (steps + 0.5 - middle).astype(np.float32)
    index = torch.from_numpy(rows * size)[:, :, None] + torch.from_numpy(columns)[:, None, :]
    return index.flatten(1), torch.from_numpy(x), torch.from_numpy(-y)


def _turned(
    x: Float32[Tensor, "rows width"],
    y: Float32[Tensor, "rows width"],
    cos: Float32[Tensor, "rows 1"],
    sin: Float32[Tensor, "rows 1"],
) -> tuple[Float32[Tensor, "rows pixels"], Float32[Tensor, "rows pixels"]]:
    """The pixels of each patch in turned axes."""
    u = (x * cos)[:, None, :] + (y * sin)[:, :, None]
    v = (y * cos)[:, :, None] - (x * sin)[:, None, :]
    return u.flatten(1), v.flatten(1)


def _columns(values: list[Float[np.ndarray, " rows"]]) -> list[Float32[Tensor, "rows 1"]]:
    return list(torch.from_numpy(np.array(values, np.float32))[:, :, None].unbind())


def _blend(
    canvas: Canvas,
    index: Int64[Tensor, "frames pixels"],
    cover: Float32[Tensor, "#frames pixels"],
    paints: list[tuple[Float32[Tensor, "#frames pixels"], Float32[Tensor, "frames 3"]]],
) -> None:
    """Lay paints, each its shares of the pixels and its colours, over what is seen; together they `cover` it."""
    places = index[:, None].expand(-1, 3, -1)
    seen = canvas.gather(2, places).mul_(cover.neg().add_(1)[:, None])
    for share, rgb in paints:
        seen.add_(share[:, None] * rgb[:, :, None])
    canvas.scatter_(2, places, seen)
