"""What is told of a table top, and the scenes that it may stand for: words leave open where exactly things are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maquette.worlds.scene.state import Drawer, Point, Scene, Thing, Zone
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, SIZES, Colour, is_held_out
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.facts import pick

CELLS: dict[str, tuple[int, int]] = {
    "top left": (-1, 1),
    "top": (0, 1),
    "top right": (1, 1),
    "left": (-1, 0),
    "middle": (0, 0),
    "right": (1, 0),
    "bottom left": (-1, -1),
    "bottom": (0, -1),
    "bottom right": (1, -1),
}
"""Side and height of each part of the table; "left", said alone, is half way up."""
ALONE = 0.1
"""Share of tellings of a single thing."""
FIRST = 0.5
"""Share of zones and drawers that are told before all things whatever chance says."""
EDGE = 0.08
"""Nothing's centre is nearer to the rim."""
DRAWN = 30
"""Places tried for all things together before a telling counts as one that cannot be."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a thing is said to be: in a part of the table, in a zone, or beside or on a thing told before."""

    relation: Literal["region", "in", "next to", "on"]
    region: str = ""
    other: int = 0
    """The number of the zone or thing."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """All that is told: every thing with all its properties and one place, every zone, the drawer if there is one."""

    things: tuple[Thing, ...]
    """No two of the same colour and shape."""
    places: tuple[Place, ...]
    zones: tuple[tuple[Colour, str], ...]
    """Colour and region."""
    drawer: bool | None
    """Whether it is open."""


def draw_telling(rng: np.random.Generator, *, held_out: bool) -> Telling:
    """One to four things; with `held_out` one of them at least is a combination that training never sees, else none."""
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    usual = [kind for kind in kinds if not is_held_out(*kind)]
    count = 1 if rng.random() < ALONE else 2 + int(3 * rng.random())
    chosen = [usual[i] for i in rng.permutation(len(usual))[:count]]
    if held_out:
        chosen[int(len(chosen) * rng.random())] = pick(rng, [kind for kind in kinds if is_held_out(*kind)])
    things = tuple(
        Thing(colour=colour, shape=shape, size=pick(rng, SIZES), material=pick(rng, MATERIALS))
        for colour, shape in chosen
    )
    colours = [COLOURS[i] for i in rng.permutation(len(COLOURS))[: int(3 * rng.random())]]
    zones = tuple((colour, pick(rng, list(CELLS))) for colour in colours)
    drawer = rng.random() < 0.5 if rng.random() < 0.3 else None
    return Telling(things=things, places=tuple(_places(rng, len(things), len(zones))), zones=zones, drawer=drawer)


def _places(rng: np.random.Generator, things: int, zones: int) -> list[Place]:
    found: list[Place] = []
    for i in range(things):
        regions = [j for j, place in enumerate(found) if place.relation in ("region", "in")]
        chance = rng.random()
        if zones and chance < 0.3:
            found.append(Place(relation="in", other=int(zones * rng.random())))
        elif i and regions and chance > 0.8:
            found.append(Place(relation="next to" if chance < 0.92 else "on", other=pick(rng, regions)))
        else:
            found.append(Place(relation="region", region=pick(rng, list(CELLS))))
    return found


def tell(telling: Telling, rng: np.random.Generator) -> tuple[str, ...]:
    """The telling as sentences: what is told with each thing, in this order.

    Zones and the drawer come first or between things, or last; a zone comes before the things in it.
    """
    found: list[list[str]] = [[] for _ in telling.things]
    for number, (colour, region) in enumerate(telling.zones):
        zone = phrases.a(f"{colour} {phrases.fixture(rng, 'zone')}")
        inside = [i for i, place in enumerate(telling.places) if (place.relation, place.other) == ("in", number)]
        found[_when(rng, min(inside, default=len(found) - 1))].append(f"there is {zone} {phrases.region(rng, region)}")
    last = []
    if telling.drawer is not None:
        when = _when(rng, len(found))
        (found[when] if when < len(found) else last).append(f"the drawer is {'open' if telling.drawer else 'closed'}")
    for told, thing, place in zip(found, telling.things, telling.places, strict=True):
        words = phrases.a(phrases.nominal(rng, thing, phrases.FULL))
        if place.relation == "region":
            where = phrases.region(rng, place.region)
        elif place.relation == "in":
            zone = f"{telling.zones[place.other][0]} {phrases.fixture(rng, 'zone')}"
            where = f"{pick(rng, lexicon.WITHIN['in'])} the {zone}"
        else:
            other = phrases.nominal(rng, telling.things[place.other], ("colour", "shape"))
            where = f"{phrases.relation(rng, place.relation)} the {other}"
        told.append(pick(rng, (f"there is {words} {where}", f"{words} is {where}")))
    found[-1] += last
    return tuple(" ".join(f"{sentence}." for sentence in told) for told in found)


def _when(rng: np.random.Generator, latest: int) -> int:
    """Before which thing something is told: mostly before all."""
    return 0 if rng.random() < FIRST else int((latest + 1) * rng.random())


def scene_of(telling: Telling, rng: np.random.Generator) -> Scene | None:
    """A scene of which just this is told; None where none was found."""
    for _ in range(DRAWN):
        zones = [Zone(colour=colour, centre=_within(rng, region, 0.14)) for colour, region in telling.zones]
        if any(_overlap(a, b) for n, a in enumerate(zones) for b in zones[:n]):
            continue
        points: list[Point] = []
        for i in range(len(telling.places)):
            point = _point(telling, i, points, zones, rng)
            if not _fits(telling, i, point, points, zones):
                break
            points.append(point)
        if len(points) == len(telling.things):
            return _scene(telling, points, zones)
    return None


def _within(rng: np.random.Generator, region: str, edge: float) -> Point:
    """Anywhere in a part of the table, as far from the others as it takes to be sure."""
    far, near = lexicon.THIRD.yes, lexicon.THIRD.no
    ways = {-1: (edge, 0.5 - far), 0: (0.5 - near, 0.5 + near), 1: (0.5 + far, 1 - edge)}
    (x0, x1), (y0, y1) = (ways[side] for side in CELLS[region])
    return x0 + (x1 - x0) * rng.random(), y0 + (y1 - y0) * rng.random()


def _point(telling: Telling, i: int, points: Sequence[Point], zones: Sequence[Zone], rng: np.random.Generator) -> Point:
    place = telling.places[i]
    if place.relation == "region":
        return _within(rng, place.region, EDGE)
    if place.relation == "in":
        (x, y), half = zones[place.other].centre, zones[place.other].half - lexicon.INSIDE.yes
        return x + half * (2 * rng.random() - 1), y + half * (2 * rng.random() - 1)
    (x, y), angle, lower = points[place.other], 2 * np.pi * rng.random(), telling.things[place.other].radius
    gap = lexicon.NEAR.yes * (0.1 + 0.8 * rng.random()) + telling.things[i].radius + lower
    away = gap if place.relation == "next to" else 0.9 * lexicon.ABREAST.yes * lower * rng.random()
    return x + away * float(np.cos(angle)), y + away * float(np.sin(angle))


def _fits(telling: Telling, i: int, point: Point, points: Sequence[Point], zones: Sequence[Zone]) -> bool:
    """Whether the thing is on the table, in its zone and in no other, and on nothing but what it is to lie on."""
    place, (x, y) = telling.places[i], point
    if not EDGE <= min(x, y) <= max(x, y) <= 1 - EDGE:
        return False
    inside = [zone.half - max(abs(x - zone.centre[0]), abs(y - zone.centre[1])) for zone in zones]
    for number, depth in enumerate(inside):
        if depth > lexicon.INSIDE.no and not (place.relation == "in" and place.other == number):
            return False
    for j, (u, v) in enumerate(points):
        rests = place.relation == "on" and place.other == j
        if not rests and np.hypot(x - u, y - v) < telling.things[i].radius + telling.things[j].radius:
            return False
    return True


def _overlap(one: Zone, other: Zone) -> bool:
    apart = max(abs(one.centre[0] - other.centre[0]), abs(one.centre[1] - other.centre[1]))
    return apart < one.half + other.half


def _scene(telling: Telling, points: Sequence[Point], zones: Sequence[Zone]) -> Scene:
    count = len(points)
    drawer = Drawer(centre=0.5)
    opened = () if telling.drawer is None else (Drawer(centre=0.5, opening=drawer.travel * telling.drawer),)
    return Scene(
        view="top",
        things=telling.things,
        position=np.array(points),
        angle=np.zeros(count),
        velocity=np.zeros((count, 2)),
        spin=np.zeros(count),
        scenery=(*zones, *opened),
        layers=np.array([int(place.relation == "on") for place in telling.places]),
    )
