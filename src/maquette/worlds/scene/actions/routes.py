"""Short ways for a point among discs, on either side of one of them."""

import functools
import heapq
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from maquette.worlds.scene.geometry import BAR, FRONT, HAND, STEM, outline
from maquette.worlds.scene.state import Drawer, Point
from maquette.worlds.scene.vocabulary import Shape

CORNERS = 16
"""Of the polygon around a disc on whose corners a way may bend."""
_DIRECTIONS = np.stack(
    [np.cos(2 * math.pi * np.arange(CORNERS) / CORNERS), np.sin(2 * math.pi * np.arange(CORNERS) / CORNERS)], axis=1
)
_OUT = 1.02 / math.cos(math.pi / CORNERS)
"""A corner's distance from the middle, in radii, so that the polygon's sides keep clear of the disc."""

Points = Float[np.ndarray, "points 2"]


def _anywhere(points: Points) -> Bool[np.ndarray, " points"]:
    return np.ones(len(points), bool)


def route(
    start: Point,
    goal: Point,
    discs: Float[np.ndarray, "discs 3"],
    *,
    margin: float,
    may_be: Callable[[Points], Bool[np.ndarray, " points"]] = _anywhere,
    barrier: tuple[Point, Point] | None = None,
) -> list[Point] | None:
    """The shortest polygonal way that bends at the discs' corners (A* on their visibility graph).

    Args:
        start: where it begins; a disc around it counts as smaller.
        goal: where it ends; likewise.
        discs: x, y and radius of each, kept clear of.
        margin: how far from the table's edges it keeps.
        may_be: which points it may bend at.
        barrier: two points whose connection is not crossed.

    Returns:
        Its points after the start, or None where there is no way.
    """
    ends = np.array([start, goal])
    if len(discs):
        depth = np.linalg.norm(discs[:, None, :2] - ends, axis=2).min(axis=1)
        discs = np.column_stack([discs[:, :2], np.minimum(discs[:, 2], depth - 1e-6)])
    corners = np.clip((discs[:, None, :2] + discs[:, None, 2:] * _OUT * _DIRECTIONS).reshape(-1, 2), margin, 1 - margin)
    points = np.concatenate([ends, corners[may_be(corners)]])
    ahead = np.linalg.norm(points - goal, axis=1)
    best, before, queue, closed = {0: 0.0}, {}, [(float(ahead[0]), 0)], set()
    while queue:
        _, here = heapq.heappop(queue)
        if here == 1:
            return _traced(points, before)
        if here in closed:
            continue
        closed.add(here)
        free = _is_free(points[here], points, discs, barrier)
        lengths = np.linalg.norm(points - points[here], axis=1)
        for there in np.flatnonzero(free).tolist():
            length = best[here] + float(lengths[there])
            if there not in closed and length < best.get(there, math.inf):
                best[there], before[there] = length, here
                heapq.heappush(queue, (length + float(ahead[there]), there))
    return None


def length(start: Point, way: list[Point] | None) -> float:
    """Of a way; infinite where there is none."""
    return math.inf if way is None else sum(math.dist(a, b) for a, b in zip([start, *way], way, strict=False))


def is_free(start: Point, goal: Point, discs: Float[np.ndarray, "discs 3"]) -> bool:
    """Whether the straight way keeps clear of every disc."""
    return bool(_is_free(np.array(start), np.array([goal]), discs, None)[0])


def _traced(points: Points, before: dict[int, int]) -> list[Point]:
    way, here = [], 1
    while here != 0:
        way.append(tuple(points[here].tolist()))
        here = before[here]
    return way[::-1]


def _is_free(
    start: Float[np.ndarray, " 2"],
    ends: Points,
    discs: Float[np.ndarray, "discs 3"],
    barrier: tuple[Point, Point] | None,
) -> Bool[np.ndarray, " points"]:
    """Which of the straight ways keep clear of every disc and do not cross the barrier."""
    way = ends - start
    square = np.maximum((way**2).sum(axis=1), 1e-12)
    to = discs[:, None, :2] - start
    share = np.clip((to * way).sum(axis=2) / square, 0, 1)
    away = np.linalg.norm(to - share[..., None] * way, axis=2)
    free = (away >= discs[:, 2:]).all(axis=0)
    if barrier:
        a, b = np.array(barrier)
        sides = _cross(b - a, start - a) * _cross(b - a, ends - a)
        across = _cross(way, a - start) * _cross(way, b - start)
        free &= ~((sides <= 0) & (across < 0))  # nor bend on it
    return free


def _cross(a: Float[np.ndarray, "*n 2"], b: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@functools.cache
def _rim(shape: Shape) -> Float[np.ndarray, "points 2"]:
    """Points along the outline of the shape of radius 1, near to one another."""
    corners = outline(shape)
    share = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    return (corners * (1 - share) + np.roll(corners, -1, axis=0) * share).reshape(-1, 2)


def touching(shape: Shape, radius: float, direction: float) -> float:
    """How far from a shape's centre a hand touches it that comes from a direction, in radians from the shape's own."""
    if shape == "ball":
        return radius + HAND
    x, y = (
        radius * _rim(shape) @ [[math.cos(direction), -math.sin(direction)], [math.sin(direction), math.cos(direction)]]
    ).T
    hit = np.abs(y) < HAND
    return float((x[hit] + np.sqrt(HAND**2 - y[hit] ** 2)).max())


def discs_of(drawer: Drawer, opening: float, handle: Point) -> list[tuple[float, float, float]]:
    """Discs along the bar, the stem, the front and the sides of a drawer: x, y and radius."""
    (x, y), front = handle, 1 - opening - FRONT / 2
    bar = [(x + share * BAR[0], y, BAR[1] / 2) for share in (-1, 0, 1)]
    stem = [(x, y + (BAR[1] + STEM[1]) / 2, STEM[1] / 4)]
    panel = [(x + share * drawer.half, front, FRONT / 2) for share in (-1, -0.5, 0, 0.5, 1)]
    sides = [
        (x + side * drawer.half, far, FRONT / 2)
        for far in np.arange(front + 0.08, 1, 0.08).tolist()
        for side in (-1, 1)
    ]
    return bar + stem + panel + sides
