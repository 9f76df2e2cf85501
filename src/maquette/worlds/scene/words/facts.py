"""What can be said of how things are: the generator's own look at a state, silent wherever a margin is not cleared."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from maquette.worlds.scene.geometry import HAND, outline
from maquette.worlds.scene.state import Clip, Drawer, Robot, Scene, Screen, Thing, Water, Zone
from maquette.worlds.scene.vocabulary import SIZES
from maquette.worlds.scene.words import lexicon

Option = TypeVar("Option")
Properties = tuple[str, ...]
"""Names of properties: shape, colour, size, material."""

NAMINGS: tuple[Properties, ...] = (
    ("colour", "shape"),
    ("shape",),
    ("size", "shape"),
    ("colour",),
    ("material", "shape"),
    ("size", "colour", "shape"),
    ("colour", "material", "shape"),
    ("size", "colour", "material", "shape"),
)
"""Ways to name a thing, the most usual first."""
PLACES = {names: tuple(("shape", "colour", "size", "material").index(name) for name in names) for names in NAMINGS}
UNTILTED = 0.02
"""Sine of the angle up to which a thing can carry another without doubt."""


def pick(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """One of them; far cheaper than `rng.choice`."""
    return options[int(rng.random() * len(options))]


def clearly(value: float, margin: lexicon.Margin) -> bool | None:
    """Yes, no, or nothing that could be said."""
    if margin.yes > margin.no:
        return True if value >= margin.yes else False if value <= margin.no else None
    return True if value <= margin.yes else False if value >= margin.no else None


class Facts:
    """How things are at the start (or, of places, at the end) of a state."""

    def __init__(self, state: Scene | Clip) -> None:
        self.state = state
        self.things = state.things
        self.is_clip = isinstance(state, Clip)
        self.start = (state.position[0] if isinstance(state, Clip) else state.position).tolist()
        self.end = state.position[-1].tolist() if isinstance(state, Clip) else self.start
        self.angle = (state.angle[0] if isinstance(state, Clip) else state.angle).tolist()
        self.zones = [part for part in state.scenery if isinstance(part, Zone)]
        self.drawer = next((part for part in state.scenery if isinstance(part, Drawer)), None)
        self.screen = next((part for part in state.scenery if isinstance(part, Screen)), None)
        self.told, self.doubtful = self._seen()
        self._names: dict[int, list[Properties]] = {}

    def _seen(self) -> tuple[list[int], list[int]]:
        """Things of which all or nearly all is seen at some time, and those of which one sees a part at most."""
        if self.screen is None:
            return list(range(len(self.things))), []
        told, doubtful = [], []
        where = self.state.position.reshape(-1, len(self.things), 2)
        for i, thing in enumerate(self.things):
            x, y, reach, most = where[:, i, 0], where[:, i, 1], thing.reach, 0.8 * thing.radius
            over = (x + most > self.screen.left) & (x - most < self.screen.right) & (y - most < self.screen.top)
            inside = (x - reach > self.screen.left + 0.01) & (x + reach < self.screen.right - 0.01)
            if not over.all():
                told.append(i)
            elif not (inside & (y + reach < self.screen.top - 0.01)).all():
                doubtful.append(i)
        return told, doubtful

    @property
    def robot(self) -> Robot | None:
        """The robot at the start."""
        if isinstance(self.state, Clip):
            return self.state.robots[0] if self.state.robots else None
        return self.state.robot

    @property
    def counts(self) -> bool:
        """Whether things may be counted: none is half hidden."""
        return not self.doubtful

    # ---- names ----

    def namings(self, i: int) -> list[Properties]:
        """The ways to name a thing that fit no other."""
        if not self._names:
            looks = [(thing.shape, thing.colour, thing.size, thing.material) for thing in self.things]
            for names, places in PLACES.items():
                said = {n: tuple([looks[n][place] for place in places]) for n in (*self.told, *self.doubtful)}
                times = Counter(said.values())
                for n, words in said.items():
                    self._names.setdefault(n, []).extend([names] if times[words] == 1 else [])
        return self._names[i]

    @property
    def named(self) -> list[int]:
        """The things that have a name of their own."""
        return [i for i in self.told if self.namings(i)]

    def having(self, **properties: str | None) -> list[int]:
        """The things with these properties; None leaves one open."""
        return [
            i
            for i in self.told
            if all(value is None or getattr(self.things[i], name) == value for name, value in properties.items())
        ]

    # ---- places ----

    def side(self, x: float) -> str | None:
        """left, middle or right."""
        off = x - 0.5
        far = clearly(abs(off), lexicon.THIRD)
        return None if far is None else ("right" if off > 0 else "left") if far else "middle"

    def height(self, y: float) -> str | None:
        """bottom, "" or top."""
        off = y - 0.5
        far = clearly(abs(off), lexicon.THIRD)
        return None if far is None else ("top" if off > 0 else "bottom") if far else ""

    def region(self, x: float, y: float) -> str | None:
        """The part of the table that holds the point, where that is beyond doubt."""
        side, height = self.side(x), self.height(y)
        if side is None or height is None:
            return None
        return side if not height else height if side == "middle" else f"{height} {side}"

    def regions(self, x: float, y: float) -> list[str]:
        """Every region that holds the point."""
        side, height = self.side(x), self.height(y)
        found = [side] if side else []
        if height:
            found.append(height)
            if side in ("left", "right"):
                found.append(f"{height} {side}")
        return found

    def relations(self, i: int, j: int) -> dict[str, bool]:
        """How one thing stands to another at the start: what is so, and what is not."""
        a, b = self.things[i], self.things[j]
        found = self.directions(self.start[i], self.start[j])
        gap = math.dist(self.start[i], self.start[j])
        for relation, holds in (
            ("next to", clearly(gap - a.radius - b.radius, lexicon.NEAR)),
            ("far from", clearly(gap, lexicon.FAR)),
            ("on", self.rests_on(i, j)),
        ):
            if holds is not None:
                found[relation] = holds
        return found

    def directions(self, one: Sequence[float], other: Sequence[float]) -> dict[str, bool]:
        """Left, right, above and below, between two points."""
        found = {}
        dx, dy = other[0] - one[0], other[1] - one[1]
        for relation, way in (("left of", dx), ("right of", -dx), ("above", -dy), ("below", dy)):
            holds = clearly(way, lexicon.SIDE)
            if holds is not None:
                found[relation] = holds
        return found

    def rests_on(self, i: int, j: int) -> bool | None:
        """Whether a thing lies on top of another; None where that is not clear."""
        (x, y), (u, v) = self.start[i], self.start[j]
        low, high = self.things[j], self.things[i]
        if self.state.view == "top":
            return self._piled(i, j)
        if y < v or abs(x - u) > 1.05 * low.radius:
            return False
        if abs(math.sin(4 * self.angle[i])) > UNTILTED or abs(math.sin(4 * self.angle[j])) > UNTILTED:
            return None
        air = (y - self.extent(high, self.angle[i], -1)) - (v + self.extent(low, self.angle[j], 1))
        so, above = clearly(abs(air), lexicon.RESTS_ON), clearly(abs(x - u) / low.radius, lexicon.ABREAST)
        return False if so is False or above is False else True if so and above else None

    def _piled(self, i: int, j: int) -> bool | None:
        """Whether a thing lies on another one on the table top."""
        layers = self.state.layers[0] if self.is_clip and len(self.state.layers) else self.state.layers
        above = int(layers[i] - layers[j]) if layers.size else 0
        aside = clearly(math.dist(self.start[i], self.start[j]) / self.things[j].radius, lexicon.ABREAST)
        return False if above < 1 or aside is False else True if above == 1 and aside else None

    def extent(self, thing: Thing, angle: float, sign: int) -> float:
        """From a thing's centre to its highest (+1) or lowest (-1) point."""
        if thing.shape == "ball":
            return thing.radius
        x, y = outline(thing.shape).T
        return thing.radius * float((sign * (math.sin(angle) * x + math.cos(angle) * y)).max())

    def between(self, i: int, j: int, k: int) -> bool | None:
        """Whether a thing lies between two others."""
        p, q, r = (np.array(self.start[n]) for n in (i, j, k))
        line = r - q
        length = float(np.hypot(*line))
        if length < 2 * lexicon.SIDE.yes:
            return None
        along = float((p - q) @ line) / length
        aside = abs(float(line[0] * (p - q)[1] - line[1] * (p - q)[0])) / length
        so = [
            clearly(along, lexicon.SIDE),
            clearly(length - along, lexicon.SIDE),
            clearly(aside, lexicon.ALIGNED),
        ]
        return False if False in so else None if None in so else True

    def in_zone(self, i: int, zone: Zone, *, end: bool = False) -> bool | None:
        """Whether a thing's centre lies in a zone."""
        x, y = (self.end if end else self.start)[i]
        return clearly(min(zone.half - abs(x - zone.centre[0]), zone.half - abs(y - zone.centre[1])), lexicon.INSIDE)

    def zone_of(self, i: int, *, end: bool = False) -> Zone | None:
        """The zone in which a thing clearly lies."""
        return next((zone for zone in self.zones if self.in_zone(i, zone, end=end)), None)

    def wet(self, i: int) -> bool | None:
        """Whether a thing's centre is under water, or all of it above."""
        water = next((part for part in self.state.scenery if isinstance(part, Water)), None)
        if water is None:
            return None
        depth = water.level - self.start[i][1]
        return True if depth > lexicon.SUBMERGED.yes else False if depth < -self.things[i].reach else None

    def ajar(self) -> bool | None:
        """Whether the drawer is open at the start."""
        if self.drawer is None:
            return None
        now = self.drawer.opening
        if isinstance(self.state, Clip) and len(self.state.openings):
            now = float(self.state.openings[0])
        return clearly(now / self.drawer.travel, lexicon.AJAR)

    def reached(self, i: int) -> bool | None:
        """Whether the robot's tip is at a thing."""
        if self.robot is None:
            return None
        gap = math.dist(self.robot.joints[-1], self.start[i])
        return clearly(gap - self.things[i].radius - HAND, lexicon.NEAR)

    # ---- comparisons ----

    def compared(self, i: int, j: int) -> dict[str, bool]:
        """Sizes and what two things share."""
        a, b = self.things[i], self.things[j]
        difference = SIZES.index(a.size) - SIZES.index(b.size)
        return {
            "larger": difference > 0,
            "smaller": difference < 0,
            "same colour": a.colour == b.colour,
            "same shape": a.shape == b.shape,
            "same size": a.size == b.size,
        }

    def extremes(self, among: Sequence[int]) -> dict[str, int]:
        """The one that is largest, smallest, leftmost or rightmost, where there is just one."""
        found = {}
        if len(among) > 1:
            sizes = sorted(among, key=lambda i: SIZES.index(self.things[i].size))
            xs = sorted(among, key=lambda i: self.start[i][0])
            if self.things[sizes[-1]].size != self.things[sizes[-2]].size:
                found["largest"] = sizes[-1]
            if self.things[sizes[0]].size != self.things[sizes[1]].size:
                found["smallest"] = sizes[0]
            if self.start[xs[1]][0] - self.start[xs[0]][0] >= lexicon.SIDE.yes:
                found["leftmost"] = xs[0]
            if self.start[xs[-1]][0] - self.start[xs[-2]][0] >= lexicon.SIDE.yes:
                found["rightmost"] = xs[-1]
        return found
