"""Tables to act on: a scene, what to do there, and the words for it, drawn from a seed."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.worlds.scene import checks
from maquette.worlds.scene.actions.embodiments import (
    BASE,
    JOINT_LIMITS,
    POSTURE,
    Embodiment,
    checked_embodiment,
    joint_velocities,
    points_of,
)
from maquette.worlds.scene.actions.layout import Layout, Order, draw_order, one_of
from maquette.worlds.scene.actions.tasks import Step, Task, checked_task, steps_of
from maquette.worlds.scene.geometry import BAR, FRONT, HAND, STEM
from maquette.worlds.scene.state import Drawer, Point, Robot, Scene, Thing, Zone
from maquette.worlds.scene.words.goals import Goal
from maquette.worlds.scene.words.instructions import instruction

ATTEMPTS, PLACES = 60, 40
"""Scenes tried for a seed, and places tried for a part of one."""
HALF = Zone(colour="red", centre=(0.5, 0.5)).half
"""Of a zone's side."""
APART, INWARDS = 0.05, 0.1
"""Widths at least between two zones, and between a zone and the table's edge: nobody pushes a thing off a wall."""
OUTSIDE = 0.05
"""Widths by which a thing's centre is outside every zone at the start."""
FROM_EDGES = 0.2
"""Widths from the table's edges at which an arm's hand starts."""
TO_REACH = 0.2
"""Widths at least between a hand and the thing that it is to reach."""
AHEAD = (0.1, 0.35)
"""Widths from the middle of a thing at which a hand starts in its way, or behind it."""
REACH = (0.4, 0.9)
"""Distances from the base of an arm at which it has room to work, in widths."""


USUAL = Layout()


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A table, a robot on it, and its task."""

    task: Task
    scene: Scene
    goal: Goal
    instruction: str
    seed: int


class _Crowded(Exception):
    """Nothing fits any more."""


def assignment(task: Task, embodiment: Embodiment, seed: int, layout: Layout = USUAL) -> Assignment:
    """A table drawn from a seed.

    Raises:
        UserError: there is no such task or robot, or so many things do not fit on the table.
    """
    checked_task(task)
    checked_embodiment(embodiment)
    checks.whole("seed", seed, 0, 2**63 - 1)
    checks.kind("layout", layout, Layout)
    rng, words = numpy_generator(seed, "table", task, embodiment), numpy_generator(seed, "words", task)
    blocked = layout.in_the_way > 0 and embodiment != "gripper"
    blocked = blocked and numpy_generator(seed, "in the way").random() < layout.in_the_way
    for _ in range(ATTEMPTS):
        order = draw_order(task, layout, rng)
        try:
            scene = _placed(order, embodiment, layout, rng, blocked=blocked)
        except _Crowded:
            continue
        return Assignment(
            task=task, scene=scene, goal=order.goal, instruction=instruction(order.goal, words, scene), seed=seed
        )
    raise UserError(
        f"distractors = {layout.distractors} beside what {task} needs do not fit on the table with gap = {layout.gap}; "
        f"ask for fewer things, small ones only{', a smaller in_the_way' * blocked} or a smaller gap."
    )


def _placed(order: Order, embodiment: Embodiment, layout: Layout, rng: np.random.Generator, *, blocked: bool) -> Scene:
    """Everything in its place: the drawer, then the zones, the things and the hand, each where there is room."""
    drawer = Drawer(centre=float(rng.uniform(0.3, 0.7))) if order.drawer else None
    room = _Room(rng, drawer, arm=embodiment == "arm")
    zones: list[Zone] = []
    for colour in order.zones:
        zones.append(Zone(colour=colour, centre=room.for_zone([zone.centre for zone in zones])))
    places: list[Point] = []
    for thing in order.things:
        places.append(room.for_thing(thing, places, order.things, zones, layout.gap))
    scene = Scene(
        view="top",
        things=tuple(order.things),
        position=np.array(places).reshape(-1, 2),
        angle=rng.uniform(0, 2 * math.pi, len(places)),
        velocity=np.zeros((len(places), 2)),
        spin=np.zeros(len(places)),
        scenery=(*zones, drawer) if drawer else tuple(zones),
    )
    steps = steps_of(order.goal, scene)
    wrong_side = embodiment != "gripper" and rng.random() < layout.head_on
    way = _first_way(steps, scene) if wrong_side else None
    blocked = blocked and steps[0].kind == "reach" and len(places) > 1
    if blocked:
        way = _behind_another(steps[0].things[0], places, rng)
    hand = room.for_hand(scene, steps[0], way, only=blocked)
    if embodiment == "arm":
        return replace(scene, robot=Robot(embodiment="arm", joints=_arm_to(hand, rng), grip=0.0))
    return replace(scene, robot=Robot(embodiment=embodiment, joints=(hand,), grip=float(embodiment == "gripper")))


def _first_way(steps: Sequence[Step], scene: Scene) -> tuple[Point, Point] | None:
    """From where to where the first thing that is to go to a zone goes."""
    for step in steps:
        if step.zones:
            return tuple(scene.position[step.things[0]].tolist()), step.zones[0].centre
    return None


def _behind_another(i: int, places: Sequence[Point], rng: np.random.Generator) -> tuple[Point, Point]:
    """From where to where a hand may be that another thing keeps from the straight way to thing `i`."""
    (a, b), (x, y) = places[one_of([j for j in range(len(places)) if j != i], rng)], places[i]
    return (a, b), (2 * a - x, 2 * b - y)


class _Room:
    """Draws places on a table until one is free."""

    def __init__(self, rng: np.random.Generator, drawer: Drawer | None, *, arm: bool) -> None:
        self._rng, self._drawer, self._arm = rng, drawer, arm

    def for_zone(self, others: Sequence[Point]) -> Point:
        """Where a zone overlaps no other."""
        for x, y in self._draw(HALF + INWARDS):
            apart = all(max(abs(x - a), abs(y - b)) >= 2 * HALF + APART for a, b in others)
            if apart and self._is_clear(x, y, HALF):
                return x, y
        raise _Crowded

    def for_thing(
        self, thing: Thing, places: Sequence[Point], things: Sequence[Thing], zones: Sequence[Zone], gap: float
    ) -> Point:
        """Where a hand fits behind it at every wall, and nothing else is."""
        for x, y in self._draw(thing.reach + 2 * HAND + 0.01):
            if (
                all(math.dist((x, y), at) >= thing.reach + o.reach + gap for at, o in zip(places, things, strict=False))
                and all(max(abs(x - z.centre[0]), abs(y - z.centre[1])) >= z.half + OUTSIDE for z in zones)
                and self._is_clear(x, y, thing.reach)
            ):
                return x, y
        raise _Crowded

    def for_hand(self, scene: Scene, first: Step, way: tuple[Point, Point] | None, *, only: bool) -> Point:
        """Where it touches nothing, nor is near what it is to reach: on a way, shortly behind its start, or if it is
        not `only` to be there and cannot, elsewhere.
        """
        margin = FROM_EDGES if self._arm else 2 * HAND
        places = self._draw(margin)
        if way:
            ahead = np.subtract(way[1], way[0]) / math.dist(*way)
            before = (tuple((way[0] + far * ahead).tolist()) for far in self._rng.uniform(*AHEAD, PLACES))
            places = before if only else itertools.chain(before, places)
        for x, y in places:
            room = [
                math.dist((x, y), at) - thing.reach
                for at, thing in zip(scene.position.tolist(), scene.things, strict=True)
            ]
            if (
                min(room, default=1.0) >= HAND + 0.02
                and (first.kind != "reach" or room[first.things[0]] >= HAND + TO_REACH)
                and margin <= min(x, y) <= max(x, y) <= 1 - margin
                and self._is_clear(x, y, HAND)
            ):
                return x, y
        raise _Crowded

    def _draw(self, margin: float) -> Iterator[Point]:
        for x, y in self._rng.uniform(margin, 1 - margin, (PLACES, 2)).tolist():
            if not self._arm or REACH[0] <= math.dist((x, y), BASE) <= REACH[1]:
                yield x, y

    def _is_clear(self, x: float, y: float, half: float) -> bool:
        """Whether the drawer does not come there, nor the hand that pulls it."""
        drawer = self._drawer
        if drawer is None:
            return True
        swept = drawer.travel + FRONT + STEM[1] + BAR[1] + 2 * HAND
        return abs(x - drawer.centre) >= drawer.half + half + 0.01 or y <= 1 - swept - half


def _arm_to(hand: Point, rng: np.random.Generator) -> tuple[Point, ...]:
    """An arm whose tip is there, leaning to either side, but with its elbows in the picture if it can."""
    found = [joints for lean in (1, -1) if (joints := _leaning(hand, lean))]
    if not found:
        raise _Crowded
    seen = [joints for joints in found if all(0 < x < 1 for x, _ in joints)]
    return one_of(seen or found, rng)


def _leaning(hand: Point, lean: int) -> tuple[Point, ...] | None:
    angles = lean * np.array(POSTURE) + (math.atan2(hand[1] - BASE[1], hand[0] - BASE[0]), 0, 0)
    for _ in range(30):
        joints = points_of(angles.tolist())
        miss = hand[0] - joints[-1][0], hand[1] - joints[-1][1]
        if math.hypot(*miss) < 1e-4:
            return joints
        angles += np.clip(joint_velocities(angles.tolist(), miss), -0.3, 0.3)
        angles = np.clip(angles, *np.transpose(JOINT_LIMITS))
    return None
