"""The outlines of the five shapes: one definition for collisions, for drawing and for reading frames back."""

import functools
import math

import numpy as np
from jaxtyping import Float

from maquette.worlds.scene.vocabulary import Shape

Polygon = Float[np.ndarray, "corners 2"]
"""Convex, its corners counterclockwise."""

BOX, TRIANGLE = 0.9, 1.3
CROSS, ARM = 1.15, 0.42
STAR, WAIST = 1.4, 0.62


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
