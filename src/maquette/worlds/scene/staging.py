"""How each law is staged: where things start, and how fast, so that the law is seen to act within the clip.

Every stage is set so that its first thing starts towards the right; `laws` mirrors it for the left. Lengths are widths
of the frame; a thing that stands has its angle 0.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from maquette.worlds.scene.geometry import outline
from maquette.worlds.scene.physics import FRICTION, GRAVITY, GROUND_RESTITUTION, RESTITUTION, TOUCH, mass
from maquette.worlds.scene.state import Ground, Pendulum, Point, Ramp, Scenery, Screen, Thing, Water
from maquette.worlds.scene.vocabulary import Law, Shape

GROUND = 0.1
"""Height of the ground."""
CEILING = 0.98
"""Nothing goes higher."""
MOTION = 0.15
"""The least way that shows a law: five pixels of 32."""
GAP = 0.03
"""The least distance between things that are not to meet."""
ICE = Ground(height=GROUND, friction=0.0)
MUD = Ground(height=GROUND, friction=0.05)
"""Under water: so slippery that what settles hardly walks sideways."""


class Unfit(Exception):
    """No stage can be set like this; the message is a clause that says why."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A thing's state at the start."""

    position: Point
    velocity: Point = (0.0, 0.0)
    angle: float = 0.0
    spin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How a clip starts, and what physics is told beside it."""

    start: tuple[Placed, ...]
    scenery: tuple[Scenery, ...] = (ICE,)
    upright: bool = True
    restitution: float = 0.0
    """Of the ground."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where and how long a law may act, and the chance that decides how."""

    left: float
    right: float
    seconds: float
    fps: float
    speed: float
    """Factor on every velocity at the start."""
    rng: np.random.Generator

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    def between(self, low: float, high: float, otherwise: str) -> float:
        """A number drawn uniformly, or Unfit with a reason."""
        if high < low:
            raise Unfit(otherwise)
        return low + (high - low) * self.rng.random()


@functools.cache
def _span(shape: Shape) -> tuple[float, float, float, float, float]:
    """Of the shape of radius 1, standing: half its width; down, up from its centre; its side's lowest, highest point.

    Both heights of the side are over the ground.
    """
    if shape == "ball":
        return 1.0, 1.0, 1.0, 1.0, 1.0
    corners = outline(shape)
    half, bottom, top = corners[:, 0].max(), corners[:, 1].min(), corners[:, 1].max()
    side = corners[corners[:, 0] > half - 1e-9, 1] - bottom
    return float(half), float(-bottom), float(top), float(side.min()), float(side.max())


def half_width(thing: Thing) -> float:
    """Of a thing that stands."""
    return thing.radius * _span(thing.shape)[0]


def standing(thing: Thing) -> float:
    """The height of its centre where it stands on the ground."""
    return GROUND + thing.radius * _span(thing.shape)[1] - TOUCH


def height(thing: Thing) -> float:
    """From its foot to its top, where it stands."""
    return thing.radius * (_span(thing.shape)[1] + _span(thing.shape)[2])


def way_of(room: Room, thing: Thing) -> float:
    """How far a thing that stands can move within the room, or Unfit."""
    way = room.width - 2 * half_width(thing)
    if way <= 0:
        raise Unfit("it is wider than the room")
    return way


def glide(room: Room, thing: Thing, speeds: tuple[float, float], least: float = MOTION) -> tuple[float, float]:
    """x and velocity of a thing that crosses at least so much of the room at constant speed, and stays in it."""
    half, way = half_width(thing), way_of(room, thing)
    low, high = (room.speed * speed for speed in speeds)
    velocity = room.between(
        max(low, least / room.seconds), min(high, way / room.seconds), "it would leave the frame, or hardly move"
    )
    x = room.between(room.left + half, room.right - half - velocity * room.seconds, "it is too wide")
    return x, velocity


def inertia(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing glides over ice."""
    (thing,) = things
    x, velocity = glide(room, thing, (0.12, 0.4), 0.2)
    return Stage(start=(Placed(position=(x, standing(thing)), velocity=(velocity, 0.0)),))


def occlusion(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing glides behind a screen that hides it wholly, and comes out."""
    (thing,) = things
    wide = 2 * half_width(thing)
    panel = room.between(wide + 0.03, min(wide + 0.2, room.width - 2 * wide), "it does not fit beside the screen")
    # Hidden wholly for a frame at least.
    x, velocity = glide(room, thing, (0.15, min(0.5, (panel - wide) * room.fps / room.speed)), panel + wide)
    left = room.between(
        x + wide / 2, x + velocity * room.seconds - wide / 2 - panel, "the screen does not fit into its way"
    )
    top = min(GROUND + height(thing) + 0.06 + 0.2 * room.rng.random(), CEILING)
    return Stage(
        start=(Placed(position=(x, standing(thing)), velocity=(velocity, 0.0)),),
        scenery=(ICE, Screen(left=left, right=left + panel, top=top)),
    )


def parabola(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing is thrown up and sideways, lands, and stops; a ball rolls on."""
    (thing,) = things
    foot, top = standing(thing), CEILING - thing.radius * _span(thing.shape)[2]
    climb = room.between(0.12, min(0.4, top - foot - 0.1), "it is too high to be thrown")
    rise = math.sqrt(2 * GRAVITY * climb)
    y = room.between(foot + 0.08, top - climb, "it is too high to be thrown")
    flight = min(rise / GRAVITY + math.sqrt(2 * (y + climb - foot) / GRAVITY), room.seconds)
    if flight * room.fps < 5:
        raise Unfit("its flight is over within five frames")
    # A ball that rolls on has two thirds of its velocity left.
    effective = flight + (2 / 3 * (room.seconds - flight) if thing.shape == "ball" else 0)
    half = half_width(thing)
    velocity = room.between(
        max(0.2 * room.speed, 0.2 / flight),
        min(0.5 * room.speed, (room.width - 2 * half) / effective),
        "it would leave the frame",
    )
    x = room.between(room.left + half, room.right - half - velocity * effective, "it would leave the frame")
    return Stage(
        start=(Placed(position=(x, y), velocity=(velocity, rise)),),
        scenery=(Ground(height=GROUND),),
        upright=thing.shape != "ball",
    )


def bounce(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing falls onto ice and bounces along."""
    (thing,) = things
    e = RESTITUTION[thing.material] * GROUND_RESTITUTION
    foot, top = standing(thing), CEILING - thing.radius * _span(thing.shape)[2]
    # It bounces at least 0.06 high, and three frames before the clip ends.
    longest = min(0.65, top - foot, GRAVITY * max(0.0, room.seconds - 3 / room.fps) ** 2 / 2)
    drop = room.between(max(0.2, 0.06 / e**2), longest, "it has no room or no time to fall")
    x, velocity = glide(room, thing, (0.1, 0.35))
    return Stage(start=(Placed(position=(x, foot + drop), velocity=(velocity, 0.0)),), restitution=GROUND_RESTITUTION)


def collision(room: Room, things: Sequence[Thing]) -> Stage:
    """Two things meet on ice; the restitution of their materials says how they part."""
    a, b = things
    if not meet_squarely(a, b):
        raise Unfit(f"the sides of a {a.size} {a.shape} and a {b.size} {b.shape} do not meet squarely")
    e = RESTITUTION[a.material] * RESTITUTION[b.material]
    share = mass(b) / (mass(a) + mass(b))
    free = room.width - 2 * half_width(a) - 2 * half_width(b)
    longest = max(MOTION, min(0.25, 0.4 * free))
    if free < 0.16:
        raise Unfit("the two have no room to meet and part")
    for _ in range(32):
        u = room.speed * (0.12 + 0.43 * room.rng.random())
        v = -room.speed * max(0.0, -0.25 + 0.5 * room.rng.random())
        meeting = room.seconds * (0.3 + 0.3 * room.rng.random())
        after = room.seconds - meeting
        u1, v1 = u - share * (1 + e) * (u - v), v + (1 - share) * (1 + e) * (u - v)
        # Both ends of both ways, from where they meet.
        sides_a = [-2 * half_width(a) + way for way in (-u * meeting, u1 * after, 0.0)]
        sides_b = [2 * half_width(b) + way for way in (-v * meeting, v1 * after, 0.0)]
        ways = (abs(u) * meeting + abs(u1) * after, abs(v) * meeting + abs(v1) * after)
        seen = min((u - v) * meeting, abs(u1 - u) * after, abs(v1 - v) * after, *ways)
        low, high = room.left - min(sides_a), room.right - max(sides_b)
        if low <= high and seen >= 0.09 and max(ways) >= longest and min(meeting, after) * room.fps >= 2:
            x = room.between(low, high, "")
            start = (x - half_width(a) - u * meeting, u, a), (x + half_width(b) - v * meeting, v, b)
            return Stage(
                start=tuple(Placed(position=(at, standing(thing)), velocity=(w, 0.0)) for at, w, thing in start)
            )
    raise Unfit("the two have no room to meet and part")


def meet_squarely(a: Thing, b: Thing) -> bool:
    """Whether two standing things that glide into each other touch where the normal is horizontal: they only slide."""
    (low_a, high_a), (low_b, high_b) = ([thing.radius * end for end in _span(thing.shape)[3:]] for thing in (a, b))
    if a.shape == b.shape == "ball":
        return a.size == b.size
    if low_a < high_a and low_b < high_b:
        return min(high_a, high_b) - max(low_a, low_b) > 0.01
    # Of a face and a corner, or a ball, the latter meets the former well inside.
    inner, outer = ((low_a, high_a), (low_b, high_b)) if low_b < high_b else ((low_b, high_b), (low_a, high_a))
    return outer[0] + 0.01 < inner[0] and inner[1] < outer[1] - 0.01


def friction(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing slides over rough ground and stops."""
    (thing,) = things
    ground = Ground(height=GROUND, friction=0.4 + 0.6 * room.rng.random())
    slowing = FRICTION[thing.material] * ground.friction * GRAVITY
    way = way_of(room, thing)
    velocity = room.between(
        max(0.45 * room.speed, math.sqrt(2 * slowing * MOTION)),
        min(1.1 * room.speed, math.sqrt(2 * slowing * way), slowing * (room.seconds - 2 / room.fps)),
        "it does not stop within the clip and the frame",
    )
    stop = velocity**2 / (2 * slowing)
    x = room.between(
        room.left + half_width(thing), room.right - half_width(thing) - stop, "it does not stop within the frame"
    )
    return Stage(start=(Placed(position=(x, standing(thing)), velocity=(velocity, 0.0)),), scenery=(ground,))


def rolling(room: Room, things: Sequence[Thing]) -> Stage:
    """A ball rolls down a ramp without slipping, and on over the ground."""
    (thing,) = things
    r, way = thing.radius, way_of(room, thing)
    push = room.speed * 0.1 * room.rng.random()
    # sin θ from the way that is left to it: s = push t + g sin θ t² / 3.
    steepest = min(0.5, 3 * (way - push * room.seconds) / (GRAVITY * room.seconds**2))
    sine = room.between(max(0.05, 0.6 * steepest), steepest, "it would roll out of the frame")
    cosine = math.sqrt(1 - sine**2)
    fall = push * room.seconds + GRAVITY * sine * room.seconds**2 / 3
    if fall < 0.2:
        raise Unfit("it has no time to roll")
    x = room.left + r + (way - fall) * 0.3 * room.rng.random()
    touch = x - r * sine
    foot = min(touch + (0.75 + 0.35 * room.rng.random()) * fall * cosine, room.right)
    slope = sine / cosine
    y = GROUND + (foot - touch) * slope + r * cosine - TOUCH
    if y + r > CEILING:
        raise Unfit("the ramp is too high")
    return Stage(
        start=(Placed(position=(x, y), velocity=(push * cosine, -push * sine), spin=-push / r),),
        scenery=(
            Ground(height=GROUND),
            Ramp(start=(room.left, GROUND + (foot - room.left) * slope), end=(foot, GROUND)),
        ),
        upright=False,
    )


def pendulum(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing on a rod swings from rest."""
    (thing,) = things
    pivot = 0.93 + 0.03 * room.rng.random()
    longest = min(0.6, pivot - GROUND - thing.reach - GAP)
    rod = room.between(thing.reach + 0.12, longest, "it is too large to swing")
    half = room.width / 2 - thing.reach
    widest = math.asin(min(half / rod, math.sin(1.2)))
    swing = room.between(0.5, widest, "it has no room to swing")
    reach = rod * math.sin(swing) + thing.reach
    x = room.between(room.left + reach, room.right - reach, "it has no room to swing")
    start = Placed(position=(x - rod * math.sin(swing), pivot - rod * math.cos(swing)), angle=-swing)
    return Stage(start=(start,), scenery=(Ground(height=GROUND), Pendulum(pivot=(x, pivot), bob=0)))


def buoyancy(room: Room, things: Sequence[Thing]) -> Stage:
    """A thing is let go above water or in it; it sinks, or rises and floats."""
    (thing,) = things
    reach = thing.reach
    x = room.between(room.left + reach + GAP, room.right - reach - GAP, "it is too wide")
    tilt = 0.0 if thing.shape == "ball" else 0.8 * (room.rng.random() - 0.5)
    deep = GROUND + reach + 0.02
    if thing.material == "wood" and room.rng.random() < 0.6:
        level = room.between(max(0.45, deep + MOTION), 0.72, "the water is too shallow for it")
        y = room.between(deep, min(deep + 0.1, level - MOTION), "the water is too shallow for it")
    else:
        level = room.between(max(0.4, deep), min(0.68, CEILING - 2 * reach - 0.02), "it is too high for the water")
        y = room.between(
            level + reach + 0.01, min(level + reach + 0.2, CEILING - reach), "it is too high for the water"
        )
    return Stage(
        start=(Placed(position=(x, y), angle=tilt),),
        scenery=(MUD, Water(level=level)),
        upright=False,
    )


STAGES: dict[Law, Callable[[Room, Sequence[Thing]], Stage]] = {
    "inertia": inertia,
    "parabola": parabola,
    "bounce": bounce,
    "elastic collision": collision,
    "inelastic collision": collision,
    "friction": friction,
    "rolling": rolling,
    "pendulum": pendulum,
    "buoyancy": buoyancy,
    "occlusion": occlusion,
}
