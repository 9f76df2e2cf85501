"""The outlines of the five shapes: one definition for collisions, for drawing and for reading frames back."""

import functools
import math

import numpy as np
from jaxtyping import Float

from maquette.worlds.scene.vocabulary import Shape

Polygon = Float[np.ndarray, "corners 2"]
"""Its corners counterclockwise; convex unless said otherwise."""

BOX, TRIANGLE = 0.9, 1.3
CROSS, ARM = 1.15, 0.42
STAR, WAIST = 1.4, 0.62

HAND = 0.04
"""Radius, in widths of the frame, of the disc that a pusher is, and of a gripper's or an arm's closed hand."""
SPREAD = 0.13
"""From the middle of a hand to each jaw where its grip is 1; the jaws stand beside the middle in x, for an arm across
its last link."""
FRONT = 0.05
"""Depth of a drawer's front panel, whose far side is at y = 1 - opening."""
STEM, BAR = (0.012, 0.1), (0.09, 0.025)
"""Half widths and depths of a drawer's handle, a T: a stem from the front towards the viewer, and a bar across its end.
A hand fits behind the bar from either side."""


@functools.cache
def pieces(shape: Shape) -> tuple[Polygon, ...]:
    """The convex polygons whose union a shape of radius 1 is, about its centre of mass; none for a ball."""
    if shape == "ball":
        return ()
    if shape == "box":
        return (_rectangle(BOX, BOX),)
    if shape == "triangle":
        return (_ring(3, TRIANGLE),)
    if shape == "cross":
        return (_rectangle(CROSS, ARM), _rectangle(ARM, CROSS))
    tips, waist = _ring(5, STAR), _ring(5, WAIST, turn=math.pi / 5)
    spikes = (np.stack([tips[i], waist[i], waist[i - 1]]) for i in range(5))
    return (waist, *spikes)


@functools.cache
def outline(shape: Shape) -> Polygon:
    """The whole outline of a shape of radius 1, counterclockwise and not always convex; empty for a ball."""
    if shape == "cross":
        quarter = np.array([[CROSS, -ARM], [CROSS, ARM], [ARM, ARM]])
        turns = (np.array([[1, 0], [0, 1]]), np.array([[0, 1], [-1, 0]]))
        return np.concatenate([sign * quarter @ turn for sign in (1, -1) for turn in turns])
    if shape == "star":
        return np.stack([_ring(5, STAR), _ring(5, WAIST, turn=math.pi / 5)], axis=1).reshape(10, 2)
    return pieces(shape)[0] if pieces(shape) else np.zeros((0, 2))


@functools.cache
def area(shape: Shape) -> float:
    """Of the shape of radius 1."""
    if shape == "ball":
        return math.pi
    (x, y), (x1, y1) = outline(shape).T, np.roll(outline(shape), -1, axis=0).T
    return float((x * y1 - x1 * y).sum() / 2)


@functools.cache
def reach(shape: Shape) -> float:
    """The largest distance of a point of the shape of radius 1 from its centre."""
    return max((float(np.linalg.norm(piece, axis=1).max()) for piece in pieces(shape)), default=1.0)


@functools.cache
def symmetry(shape: Shape) -> int:
    """How many turns within a full one leave the outline as it is; a ball's stripe comes round twice."""
    return {"ball": 2, "box": 4, "triangle": 3, "cross": 4, "star": 5}[shape]


def _ring(corners: int, radius: float, turn: float = 0.0) -> Polygon:
    """A regular polygon, its first corner straight up before it is turned."""
    angles = math.pi / 2 + turn + 2 * math.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rectangle(half_width: float, half_height: float) -> Polygon:
    return np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * (half_width, half_height)
