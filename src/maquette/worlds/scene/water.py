"""Water: it carries a thing by the weight of what the thing displaces, and brakes it."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pymunk

from maquette.worlds.scene.geometry import area, outline
from maquette.worlds.scene.state import Point, Thing
from maquette.worlds.scene.vocabulary import Shape

DRAG = 3.0
"""Per second: water slows what is in it by this times the mass of the water that it displaces."""


@dataclass(frozen=True, kw_only=True)
class Afloat:
    """A body in a scene with water: what it is, the surface's height, gravity, and the body's units to a width."""

    body: pymunk.Body
    thing: Thing
    level: float
    gravity: float
    scale: float

    def push(self) -> None:
        """For the next step, lift by the weight of the water displaced, in its centre, and slow down."""
        body = self.body
        wet, offset = self._displaced(body.position.y / self.scale)
        if wet:
            (u, v), drag, lift = body.velocity, DRAG * wet, wet * self.gravity * self.scale
            body.force = -drag * u, lift - drag * v
            if body.moment < math.inf:
                body.torque = lift * offset * self.scale - drag * body.angular_velocity * body.moment / body.mass

    def _displaced(self, y: float) -> tuple[float, float]:
        """Area under water, in widths², and how far to the right of the body's centre that area's is, in widths."""
        depth, radius = self.level - y, self.thing.radius
        if self.thing.shape == "ball":
            sunk = min(max(depth / radius, -1.0), 1.0)
            return radius**2 * (math.acos(-sunk) + sunk * math.sqrt(1 - sunk**2)), 0.0
        if abs(depth) >= self.thing.reach:
            return area(self.thing.shape) * radius**2 if depth > 0 else 0.0, 0.0
        cos, sin = radius * math.cos(self.body.angle), radius * math.sin(self.body.angle)
        corners = [(cos * a - sin * b, sin * a + cos * b) for a, b in _corners(self.thing.shape)]
        wet, moment_of_x = area_below(corners, depth)
        return wet, moment_of_x / wet if wet else 0.0


@functools.cache
def _corners(shape: Shape) -> list[Point]:
    return outline(shape).tolist()


def area_below(corners: Sequence[Point], level: float) -> tuple[float, float]:
    """The area of the part of a polygon below a level, and the integral of x over that part.

    The polygon is cut along the level and summed up by Green's theorem; it need not be convex.
    """
    double = sixfold = 0.0
    part: list[Point] = []
    x0, y0 = corners[-1]
    for x, y in corners:
        if (y < level) != (y0 < level):
            part.append((x0 + (x - x0) * (level - y0) / (y - y0), level))
        if y < level:
            part.append((x, y))
        x0, y0 = x, y
    if not part:
        return 0.0, 0.0
    x0, y0 = part[-1]
    for x, y in part:
        cross = x0 * y - x * y0
        double += cross
        sixfold += (x0 + x) * cross
        x0, y0 = x, y
    return double / 2, sixfold / 6
