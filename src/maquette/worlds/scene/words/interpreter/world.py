"""The interpreter's own look at a state: what there is, where it is, and how things stand to one another."""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.geometry import HAND, outline
from maquette.worlds.scene.state import Clip, Drawer, Ground, Ramp, Robot, Scene, Scenery, Screen, Water, Zone
from maquette.worlds.scene.vocabulary import SIZES
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.meaning import Noun, When

KINDS: dict[type[Scenery], str] = {
    Zone: "zone",
    Drawer: "drawer",
    Ramp: "ramp",
    Water: "water",
    Screen: "screen",
    Ground: "ground",
}


INNER = 0.55
"""Radius of a disc inside every shape of radius 1: a cross is thinnest between its arms, where it is 0.59."""


class Entity(NamedTuple):
    """Something a noun can stand for."""

    kind: str
    """ "thing" or a fixture's."""
    number: int
    """Among its kind."""


class World:
    """A scene, or a clip's first and last scenes; what a clip shows between them is for `motion`."""

    def __init__(self, state: Scene | Clip) -> None:
        checks.kind("state", state, Scene, Clip)
        self.state = state
        self.things = state.things
        self.clip = state if isinstance(state, Clip) else None
        first, last = (state.position[0], state.position[-1]) if isinstance(state, Clip) else (state.position,) * 2
        self.positions: dict[When, list[list[float]]] = {"start": first.tolist(), "end": last.tolist()}
        self._scenery: dict[str, list] = {kind: [] for kind in KINDS.values()}
        for part in state.scenery:
            self._scenery.setdefault(KINDS.get(type(part), ""), []).append(part)
        self.entities: dict[str, list[Entity]] = {
            kind: [Entity(kind, n) for n in range(len(parts))] for kind, parts in self._scenery.items()
        }
        self.entities["robot"] = [Entity("robot", 0)] if self.robot("start") else []

    def of(self, kind: str) -> list:
        """The parts of the scenery of one kind."""
        return self._scenery[kind]

    def robot(self, when: When) -> Robot | None:
        """The robot, if there is one."""
        if isinstance(self.state, Scene):
            return self.state.robot
        return self.state.robots[0 if when == "start" else -1] if self.state.robots else None

    def opening(self, when: When) -> float:
        """How far the drawer is open, as a share of its travel."""
        drawer = self.of("drawer")[0]
        now = drawer.opening
        if self.clip is not None and len(self.clip.openings):
            now = float(self.clip.openings[0 if when == "start" else -1])
        return now / drawer.travel

    def layer(self, i: int, when: When) -> int:
        """How many things a thing lies on, on the table top."""
        layers = self.state.layers
        if isinstance(self.state, Clip) and len(layers):
            layers = layers[0 if when == "start" else -1]
        return int(layers[i]) if layers.size else 0

    def holds(self, i: int) -> bool:
        """Whether the robot holds a thing; of a clip, at any time."""
        held = self.state.held
        return i in held if isinstance(held, tuple) else i == held

    @cached_property
    def visible(self) -> list[int]:
        """The things that are not wholly behind a screen all the time."""
        screens = self.of("screen")
        if not screens:
            return list(range(len(self.things)))
        where = np.asarray(self.state.position).reshape(-1, len(self.things), 2)
        seen = []
        for i, thing in enumerate(self.things):
            x, y = where[:, i, 0], where[:, i, 1]
            reach = thing.reach
            if not any(
                bool(((x - reach > s.left) & (x + reach < s.right) & (y + reach < s.top)).all()) for s in screens
            ):
                seen.append(i)
        return seen

    def position(self, entity: Entity, when: When) -> tuple[float, float]:
        """The centre; a robot's tip."""
        if entity.kind == "thing":
            x, y = self.positions[when][entity.number]
            return x, y
        if entity.kind == "robot":
            robot = self.robot(when)
            assert robot is not None
            return robot.joints[-1]
        part = self.of(entity.kind)[entity.number]
        if entity.kind == "zone":
            return part.centre
        if entity.kind == "ramp":
            return (part.start[0] + part.end[0]) / 2, (part.start[1] + part.end[1]) / 2
        if entity.kind == "screen":
            return (part.left + part.right) / 2, part.top / 2
        if entity.kind == "drawer":
            return part.centre, 1.0
        raise UserError(f"The {entity.kind} is everywhere; say where something else is.")

    def radius(self, entity: Entity) -> float:
        """Of a thing, a zone or the robot's tip."""
        if entity.kind == "thing":
            return self.things[entity.number].radius
        return self.of("zone")[entity.number].half if entity.kind == "zone" else HAND

    def outline(self, i: int, when: When) -> tuple[float, float]:
        """Heights of a thing's lowest and highest points."""
        thing, (_, y) = self.things[i], self.positions[when][i]
        angle = self.state.angle if self.clip is None else self.clip.angle[0 if when == "start" else -1]
        if thing.shape == "ball":
            return y - thing.radius, y + thing.radius
        corners = outline(thing.shape) * thing.radius
        heights = corners[:, 0] * math.sin(angle[i]) + corners[:, 1] * math.cos(angle[i])
        return y + float(heights.min()), y + float(heights.max())

    # ---- properties ----

    def value(self, entity: Entity, name: str) -> str | None:
        """A colour, shape, size, material or opening; None where there is no such property."""
        if entity.kind == "thing":
            return getattr(self.things[entity.number], name, None)
        if entity.kind == "zone" and name == "colour":
            return self.of("zone")[entity.number].colour
        return None

    def fits(self, entity: Entity, noun: Noun) -> bool:
        """Whether the properties that a noun names are the entity's; its places are not looked at."""
        if noun.head not in ("thing", entity.kind) and self.value(entity, "shape") != noun.head:
            return False
        return (
            (noun.colour is None or self.value(entity, "colour") == noun.colour)
            and (noun.size is None or self.value(entity, "size") == noun.size)
            and (noun.material is None or self.value(entity, "material") == noun.material)
        )

    def extreme(self, entities: list[Entity], which: str) -> list[Entity]:
        """Those that are largest, smallest, leftmost or rightmost; several where it cannot be said."""
        if not entities:
            return []
        if which in ("largest", "smallest"):
            sign, clear = (1 if which == "largest" else -1), 0.5
            measures = [sign * SIZES.index(self.things[e.number].size) for e in entities]
        else:
            sign, clear = (1 if which == "rightmost" else -1), lexicon.SIDE.middle
            measures = [sign * self.position(e, "start")[0] for e in entities]
        most = max(measures)
        return [e for e, measure in zip(entities, measures, strict=True) if most - measure < clear]

    # ---- places ----

    def in_region(self, entity: Entity, region: str, when: When) -> bool:
        """Whether the entity is in that part of the picture."""
        x, y = self.position(entity, when)
        third = lexicon.THIRD.middle
        parts = {
            "left": x - 0.5 < -third,
            "right": x - 0.5 > third,
            "middle": abs(x - 0.5) <= third,
            "top": y - 0.5 > third,
            "bottom": y - 0.5 < -third,
        }
        return all(parts[part] for part in region.split())

    def region(self, entity: Entity, when: When) -> str:
        """The plainest region that holds the entity."""
        side = next(part for part in ("left", "middle", "right") if self.in_region(entity, part, when))
        height = next((part for part in ("top", "bottom") if self.in_region(entity, part, when)), "")
        return side if not height else height if side == "middle" else f"{height} {side}"

    def related(self, relation: str, one: Entity, other: Entity, when: When) -> bool:
        """Whether "one is `relation` other" holds."""
        if one == other:
            return False
        if relation in ("in", "behind") or (relation == "on" and other.kind != "thing"):
            return self.within(one, other, when)
        (x, y), (u, v) = self.position(one, when), self.position(other, when)
        side = lexicon.SIDE.middle
        if relation == "left of":
            return u - x > side
        if relation == "right of":
            return x - u > side
        if relation == "above":
            return y - v > side
        if relation == "below":
            return v - y > side
        gap = math.dist((x, y), (u, v))
        if relation == "far from":
            return gap > lexicon.FAR.middle
        if relation == "next to":
            return gap - self.radius(one) - self.radius(other) < lexicon.NEAR.middle
        if one.kind != "thing":
            return False
        if self.state.view == "top":
            near = gap < lexicon.ABREAST.middle * self.radius(other)
            return near and self.layer(one.number, when) > self.layer(other.number, when)
        air = self.outline(one.number, when)[0] - self.outline(other.number, when)[1]
        abreast = abs(x - u) < lexicon.ABREAST.middle * self.radius(other)
        return abreast and abs(air) < lexicon.RESTS_ON.middle

    def within(self, one: Entity, other: Entity, when: When) -> bool:
        """Whether one is in a zone or the water, behind the screen, or on the ground or the ramp."""
        x, y = self.position(one, when)
        part = self.of(other.kind)[other.number] if other.kind in self._scenery else None
        if isinstance(part, Zone):
            depth = part.half - max(abs(x - part.centre[0]), abs(y - part.centre[1]))
            return depth > lexicon.INSIDE.middle
        if isinstance(part, Water):
            return part.level - y > lexicon.SUBMERGED.middle
        if isinstance(part, Screen):
            return part.left < x < part.right and y < part.top
        if one.kind != "thing":
            return False
        if isinstance(part, Ground):
            return abs(self.outline(one.number, when)[0] - part.height) < lexicon.TOUCHING.middle
        if isinstance(part, Ramp):
            return abs(self.clearance(one.number, part, when)) < lexicon.TOUCHING.middle
        return False

    def gap(self, point: tuple[float, float], i: int) -> float:
        """Distance of a point from a thing's outline at the end; 0 inside a thing with corners."""
        thing, (x, y) = self.things[i], self.positions["end"][i]
        dx, dy = point[0] - x, point[1] - y
        if thing.shape == "ball":
            return math.hypot(dx, dy) - thing.radius
        angle = float((self.state.angle if self.clip is None else self.clip.angle[-1])[i])
        seen = np.array([dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)])
        starts = outline(thing.shape) * thing.radius
        sides = np.roll(starts, -1, axis=0) - starts
        off = seen - starts
        along = np.clip((off * sides).sum(axis=1) / (sides**2).sum(axis=1), 0, 1)
        # The middle belongs to every shape; its concave corners' surroundings do not.
        inside = math.hypot(dx, dy) < thing.radius * INNER
        return 0.0 if inside else float(np.linalg.norm(off - along[:, None] * sides, axis=1).min())

    def clearance(self, i: int, ramp: Ramp, when: When) -> float:
        """Distance of a thing's outline from a ramp's surface; infinite beside it."""
        thing, (x, y) = self.things[i], self.positions[when][i]
        (x0, y0), (x1, y1) = sorted((ramp.start, ramp.end))
        if not x0 <= x <= x1:
            return math.inf
        length = math.hypot(x1 - x0, y1 - y0)
        normal = (-(y1 - y0) / length, (x1 - x0) / length)
        height = (x - x0) * normal[0] + (y - y0) * normal[1]
        if thing.shape == "ball":
            return height - thing.radius
        angle = float((self.state.angle if self.clip is None else self.clip.angle[0 if when == "start" else -1])[i])
        turned = (
            normal[0] * math.cos(angle) + normal[1] * math.sin(angle),
            normal[1] * math.cos(angle) - normal[0] * math.sin(angle),
        )
        return height + float((outline(thing.shape) @ turned).min()) * thing.radius

    def between(self, one: Entity, left: Entity, right: Entity, when: When) -> bool:
        """Whether one lies on the way from the left entity to the right one."""
        (x, y), (u, v), (s, t) = (self.position(e, when) for e in (one, left, right))
        length = math.dist((u, v), (s, t))
        if length < 1e-6 or one in (left, right):
            return False
        along = ((x - u) * (s - u) + (y - v) * (t - v)) / length
        aside = abs((x - u) * (t - v) - (y - v) * (s - u)) / length
        side = lexicon.SIDE.middle
        return side < along < length - side and aside < lexicon.ALIGNED.middle

    def compared(self, how: str, one: Entity, other: Entity) -> bool:
        """Whether one is larger or smaller than the other, or shares a property with it."""
        if how in ("larger", "smaller"):
            difference = SIZES.index(self.things[one.number].size) - SIZES.index(self.things[other.number].size)
            return difference > 0 if how == "larger" else difference < 0
        name = how.removeprefix("same ")
        return one != other and self.value(one, name) is not None and self.value(one, name) == self.value(other, name)
