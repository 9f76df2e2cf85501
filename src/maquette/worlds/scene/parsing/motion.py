"""Which law does a motion obey? Trajectories against the closed form of each law.

A residual is the root mean square deviation of what moves from the law's best fit, over the root mean square distance
from its mean place: 0 for motion just as the law has it, near 1 for motion that has nothing of it, and 1 where the law
cannot apply at all: buoyancy without water, a collision of one thing. A deviation counts at most as much as the motion
itself, so one wild frame cannot drown the others. Gravity, masses and drag are those of `physics`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from maquette.worlds.scene.geometry import outline
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.parsing.shooting import shoot
from maquette.worlds.scene.physics import DRAG, GRAVITY, area_below, mass
from maquette.worlds.scene.state import Ground, Pendulum, Ramp, Scenery, Screen, Thing, Water
from maquette.worlds.scene.vocabulary import Law

LAWFUL = 0.1
"""A motion obeys a law up to this residual: half a pixel of 32 in a motion of five. docs/scene.md has the errors."""
MOVES = 0.04
"""Diagonal of the box about all places, in widths, above which a thing moves: more than a pixel of 32."""
TOUCHES = 0.025
"""Gap, in widths, up to which two things touch: what reading both edges may be off by."""
ELASTIC = 0.5
"""Restitution from which on a collision is elastic: half way between the two kinds."""
REBOUND = 0.25
"""A landing is a bounce if this share of the speed is left; the least that physics has is 0.48."""
BOUNCES = 0.03
"""How high, in widths, what bounces must get again: a pixel of 32."""
KEPT_SPEEDS = np.linspace(0.2, 1.0, 33)
STOPS = 1.25
"""Friction stops a thing before this many lengths of the clip."""
KEPT = 0.15
"""Share of the momentum exchanged that may be missing: what reading two velocities may be off by."""

Deviations = list[Float[np.ndarray, " seen"]] | None
"""Of each mover at each time, in widths, from the law's best fit; None where the law cannot apply."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One thing that moves: where it is at each time at which it is seen."""

    thing: Thing
    time: Float[np.ndarray, " seen"]
    x: Float[np.ndarray, " seen"]
    y: Float[np.ndarray, " seen"]
    angle: Float[np.ndarray, " seen"]
    floor: float
    """Height of the ground."""

    @cached_property
    def low(self) -> Float[np.ndarray, " seen"]:
        """Height of the lowest point over the ground."""
        return self.y - drop(self.thing, self.angle) - self.floor


def drop(thing: Thing, angle: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """From the centre of a thing to its lowest point."""
    if thing.shape == "ball":
        return np.full(len(angle), thing.radius)
    corners = outline(thing.shape)
    return -thing.radius * (np.outer(np.sin(angle), corners[:, 0]) + np.outer(np.cos(angle), corners[:, 1])).min(axis=1)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What moves in a clip, and the scenery around it."""

    movers: tuple[Track, ...]
    scenery: tuple[Scenery, ...]

    @classmethod
    def of(cls, reading: Reading) -> "Motion":
        """From positions; what is at rest is left out."""
        floor = next((part.height for part in reading.scenery if isinstance(part, Ground)), 0.0)
        time = np.arange(len(reading)) / reading.fps
        movers = []
        for number, thing in enumerate(reading.things):
            seen = reading.visible[:, number]
            x, y = reading.position[seen, number].T
            if len(x) > 2 and math.hypot(np.ptp(x), np.ptp(y)) > MOVES:
                angle = np.unwrap(reading.angle[seen, number])
                movers.append(Track(thing=thing, time=time[seen], x=x, y=y, angle=angle, floor=floor))
        return cls(movers=tuple(movers), scenery=reading.scenery)

    def one(self, kind: type) -> Scenery | None:
        """The part of the scenery of a kind, or None."""
        return next((part for part in self.scenery if isinstance(part, kind)), None)


def law_residuals(reading: Reading) -> dict[Law, float]:
    """How far the motion of a clip of the side view is from each law, in [0, 1]; 1 for all where nothing moves."""
    if reading.rejected is not None or reading.view != "side":
        return dict.fromkeys(DEVIATIONS, 1.0)
    motion = Motion.of(reading)
    if not motion.movers:
        return dict.fromkeys(DEVIATIONS, 1.0)
    scale = float(np.mean([np.var(track.x) + np.var(track.y) for track in motion.movers]))
    residuals: dict[Law, float] = {}
    for law, deviations_from in DEVIATIONS.items():
        deviations = deviations_from(motion)
        shares = [np.minimum(one**2 / scale, 1).mean() for one in deviations or [np.full(1, math.inf)]]
        residuals[law] = math.sqrt(float(np.mean(shares)))
    return residuals


def law_obeyed(residuals: dict[Law, float]) -> Law | None:
    """The most special law whose residual is at most `LAWFUL`, or None."""
    return next((law for law in DEVIATIONS if residuals[law] <= LAWFUL), None)


def inertia(motion: Motion) -> Deviations:
    """x and y linear in time."""
    return [np.hypot(_off_line(track.time, track.x), _off_line(track.time, track.y)) for track in motion.movers]


def occlusion(motion: Motion) -> Deviations:
    """Inertia, behind a screen."""
    screen = motion.one(Screen)
    if not isinstance(screen, Screen):
        return None
    passed = any(track.x.min() < screen.right and track.x.max() > screen.left for track in motion.movers)
    return inertia(motion) if passed else None


def friction(motion: Motion) -> Deviations:
    """x = x0 + v (t - t²/2τ) up to τ, then at rest; on the ground."""
    return [_slowing(track) for track in motion.movers]


def _slowing(track: Track) -> Float[np.ndarray, " seen"]:
    stops = np.linspace(0.1, STOPS, 60) * track.time[-1]
    # Columns: one way for each time at which it may stop.
    moving = np.minimum(track.time[:, None], stops)
    way = moving - moving**2 / (2 * stops)
    way, x = way - way.mean(axis=0), track.x - track.x.mean()
    deviations = x[:, None] - way * (way.T @ x / (way**2).sum(axis=0))
    best = int((deviations**2).sum(axis=0).argmin())
    return np.hypot(deviations[:, best], track.low)


def parabola(motion: Motion) -> Deviations:
    """x linear, y'' = -g while in the air; then on the ground."""
    flights = [flight for track in motion.movers if (flight := _flight(track)) is not None]
    return flights if len(flights) == len(motion.movers) else None


def _flight(track: Track) -> Float[np.ndarray, " seen"] | None:
    in_air = track.low > TOUCHES
    landed = len(in_air) if in_air.all() else int(np.argmin(in_air))
    if landed < 3:
        return None
    across, up = np.zeros(len(track.x)), track.low.copy()
    fallen = track.y + GRAVITY * track.time**2 / 2
    across[:landed] = _off_line(track.time[:landed], track.x[:landed])
    up[:landed] = _off_line(track.time[:landed], fallen[:landed])
    return np.hypot(across, up)


def bounce(motion: Motion) -> Deviations:
    """Flights, each beginning on the ground with no more speed than the one before ended with; x linear."""
    flights = [flight for track in motion.movers if (flight := _rebounds(track)) is not None]
    return flights if len(flights) == len(motion.movers) else None


def _rebounds(track: Track) -> Float[np.ndarray, " seen"] | None:
    """Against flights, the first fitted, whose landings each leave the same share of the speed."""
    first = _flight_ends(track)
    if first < 3 or track.low[first:].max(initial=0.0) < BOUNCES:
        return None
    up, at = np.polyfit(track.time[:first], (track.low + GRAVITY * track.time**2 / 2)[:first], 1)
    numbers = np.array([at, up, 0.0])
    tries = [_bouncing(track.time, at, up, kept) for kept in KEPT_SPEEDS]
    numbers[2] = KEPT_SPEEDS[int(np.argmin([np.sum((track.low - one) ** 2) for one in tries]))]
    for _ in range(4):
        path = _bouncing(track.time, *numbers)
        slopes = [(_bouncing(track.time, *(numbers + step)) - path) / 1e-4 for step in 1e-4 * np.eye(3)]
        better = numbers + np.linalg.lstsq(np.stack(slopes, axis=1), track.low - path, rcond=None)[0]
        if np.sum((track.low - _bouncing(track.time, *better)) ** 2) < np.sum((track.low - path) ** 2):
            numbers = better
    path = _bouncing(track.time, *numbers)
    if not REBOUND <= numbers[2] <= 1.1 or path[np.argmin(path[: first + 1]) :].max() < BOUNCES:
        return None
    return np.hypot(track.low - path, _off_line(track.time, track.x))


def _flight_ends(track: Track) -> int:
    """Frames before the first landing."""
    fallen = track.low + GRAVITY * track.time**2 / 2
    for end in range(3, len(fallen) + 1):
        if np.abs(_off_line(track.time[:end], fallen[:end])).max() > TOUCHES / 2:
            return end - 1
    return len(fallen)


def _bouncing(time: Float[np.ndarray, " n"], at: float, up: float, kept: float) -> Float[np.ndarray, " n"]:
    """Heights over the ground of what flies from a height, and keeps a share of its speed at each landing."""
    height, begin, at = (
        np.zeros(len(time)),
        float(time[0]),
        max(at + up * float(time[0]) - GRAVITY * float(time[0]) ** 2 / 2, 0.0),
    )
    up -= GRAVITY * begin
    while begin <= time[-1]:
        speed = math.sqrt(up**2 + 2 * GRAVITY * at)
        lands = begin + (up + speed) / GRAVITY
        flying = (time >= begin) & (time <= lands)
        since = time[flying] - begin
        height[flying] = at + up * since - GRAVITY * since**2 / 2
        begin, at, up = lands, 0.0, kept * speed
        if up < 0.02:
            break
    return height


def elastic_collision(motion: Motion) -> Deviations:
    """Two things change their velocities where they meet; momentum is kept, and kinetic energy too."""
    deviations, restitution = _collision(motion)
    return deviations if restitution > ELASTIC else None


def inelastic_collision(motion: Motion) -> Deviations:
    """Two things change their velocities where they meet; momentum is kept, and kinetic energy lost."""
    deviations, restitution = _collision(motion)
    return deviations if restitution <= ELASTIC else None


def _collision(motion: Motion) -> tuple[Deviations, float]:
    """Also the restitution that the best fit has."""
    if len(motion.movers) != 2 or any(len(track.time) < 5 for track in motion.movers):
        return None, 0.0
    a, b = sorted(motion.movers, key=lambda track: float(track.x.mean()))
    tries = np.arange(a.time[1], a.time[-2], (a.time[1] - a.time[0]) / 4)
    fits = [(_kinked(a, meeting), _kinked(b, meeting)) for meeting in tries]
    (x_a, u_a, v_a, off_a), (x_b, u_b, v_b, off_b) = min(
        fits, key=lambda fit: sum(float(one[3] @ one[3]) for one in fit)
    )
    closing = u_a - u_b
    gap = x_b - x_a - _half_width(a) - _half_width(b)
    if closing <= 0 or abs(gap) > 2 * TOUCHES:
        return None, 0.0
    gives, takes = mass(a.thing) * (v_a - u_a), mass(b.thing) * (v_b - u_b)
    lost = max(abs(gives + takes) / max(abs(gives) + abs(takes), 1e-9) - KEPT, 0.0) * (a.time[-1] - a.time[0]) * closing
    deviations = [np.sqrt(off**2 + (one.y - np.median(one.y)) ** 2 + lost**2) for off, one in ((off_a, a), (off_b, b))]
    return deviations, (v_b - v_a) / closing


def _kinked(track: Track, meeting: float) -> tuple[float, float, float, Float[np.ndarray, " seen"]]:
    """x at a time, the velocities before and after it, and what two lines that join there leave."""
    since = track.time - meeting
    columns = np.stack([np.ones(len(since)), np.minimum(since, 0), np.maximum(since, 0)], axis=1)
    found = np.linalg.lstsq(columns, track.x, rcond=None)[0]
    return found[0], found[1], found[2], track.x - columns @ found


def _half_width(track: Track) -> float:
    return float(np.median(drop(track.thing, track.angle + math.pi / 2)))


def rolling(motion: Motion) -> Deviations:
    """A ball turns by the way it goes over its radius, at 2/3 g sin θ down a ramp and evenly on the ground."""
    if any(track.thing.shape != "ball" for track in motion.movers):
        return None
    return [_rolls(track, motion.one(Ramp)) for track in motion.movers]


def _rolls(track: Track, ramp: Scenery | None) -> Float[np.ndarray, " seen"]:
    steps = np.hypot(np.diff(track.x), np.diff(track.y)) * np.sign(np.diff(track.x))
    way = np.concatenate([[0.0], np.cumsum(steps)])
    slip = way + track.thing.radius * (track.angle - track.angle[0])
    uneven, on_ramp, pull = np.zeros(len(way)), np.zeros(len(way), dtype=bool), 0.0
    if isinstance(ramp, Ramp):
        (x0, y0), (x1, y1) = ramp.start, ramp.end
        slope = math.atan2(abs(y1 - y0), abs(x1 - x0))
        pull = GRAVITY * math.sin(slope) * 2 / 3
        downhill = math.copysign(1.0, x1 - x0)
        # Where the ball touches the ramp and the ground at once.
        on_ramp = downhill * (track.x - x1) < -track.thing.radius * math.tan(slope / 2)
    for part, pulled in ((on_ramp, pull), (~on_ramp, 0.0)):
        uneven[part] = _off_line(track.time[part], np.abs(way[part]) - pulled * track.time[part] ** 2 / 2)
    return np.hypot(slip - slip.mean(), uneven)


def pendulum(motion: Motion) -> Deviations:
    """θ'' = -g/L sin θ about the pivot."""
    rod = motion.one(Pendulum)
    return [_swings(track, rod) for track in motion.movers] if isinstance(rod, Pendulum) else None


def _swings(track: Track, rod: Pendulum) -> Float[np.ndarray, " seen"]:
    x, y = track.x - rod.pivot[0], rod.pivot[1] - track.y
    lengths, swing = np.hypot(x, y), np.unwrap(np.arctan2(x, y))
    length = float(lengths.mean())
    path = shoot(lambda q, v: -GRAVITY / length * math.sin(q), track.time, swing)
    return np.hypot(lengths - length, length * (swing - path))


def buoyancy(motion: Motion) -> Deviations:
    """Weight, that of the water displaced, and drag in proportion to the latter and to velocity."""
    water = motion.one(Water)
    return [_floats(track, water) for track in motion.movers] if isinstance(water, Water) else None


def _floats(track: Track, water: Water) -> Float[np.ndarray, " seen"]:
    depth = np.linspace(-track.thing.reach, track.thing.reach, 25)
    share = _displaced(track.thing, float(np.median(track.angle)), depth) / mass(track.thing)

    def acceleration(y: float, v: float) -> float:
        wet = float(np.interp(water.level - y, depth, share))
        return GRAVITY * (wet - 1) - DRAG * wet * v

    floor = track.floor + float(drop(track.thing, track.angle).mean())
    path = shoot(acceleration, track.time, track.y, floor=floor)
    return np.hypot(track.y - path, track.x - np.median(track.x))


def _displaced(thing: Thing, angle: float, depth: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Area under water by the depth of the centre."""
    if thing.shape == "ball":
        sunk = np.clip(depth / thing.radius, -1, 1)
        return thing.radius**2 * (np.arccos(-sunk) + sunk * np.sqrt(1 - sunk**2))
    cos, sin = math.cos(angle), math.sin(angle)
    corners = (thing.radius * outline(thing.shape) @ np.array([[cos, sin], [-sin, cos]])).tolist()
    return np.array([area_below(corners, float(level))[0] for level in depth])


def _off_line(time: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """What the best line leaves."""
    if len(time) < 3:
        return np.zeros(len(time))
    t, v = time - time.mean(), values - values.mean()
    return v - t * (t @ v) / (t @ t)


DEVIATIONS: dict[Law, Callable[[Motion], Deviations]] = {
    "pendulum": pendulum,
    "buoyancy": buoyancy,
    "rolling": rolling,
    "occlusion": occlusion,
    "elastic collision": elastic_collision,
    "inelastic collision": inelastic_collision,
    "bounce": bounce,
    "parabola": parabola,
    "friction": friction,
    "inertia": inertia,
}
"""From the most special on: what obeys a law may obey a later one too."""
