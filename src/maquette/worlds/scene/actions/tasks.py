"""When a task is done, and how it failed: read from the state of a table, never from what a robot meant.

Thresholds are the words' (`lexicon`), on their clear side: what counts as done here is also said to be done there.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from maquette.core.errors import UserError, did_you_mean
from maquette.worlds.scene.actions.embodiments import BASE, LINKS, Embodiment
from maquette.worlds.scene.actions.table import HANDLE, Table
from maquette.worlds.scene.geometry import HAND
from maquette.worlds.scene.state import Scene, Zone
from maquette.worlds.scene.vocabulary import Colour
from maquette.worlds.scene.words.goals import Goal, OpenDrawer, PushTo, Reach, Referent, StackIn, Then
from maquette.worlds.scene.words.lexicon import AJAR, INSIDE, MOVED, NEAR

Task = Literal["reach", "push-to", "sort-by-colour", "stack-in-zone", "open-drawer", "two-step"]
TASKS: tuple[Task, ...] = get_args(Task)

Failure = Literal["", "timeout", "wrong order", "wrong thing", "out of reach", "dropped"]
FAILURES: tuple[Failure, ...] = get_args(Failure)
"""Empty while nothing has failed. wrong order: a later step was done before an earlier one, which ends the episode. The
others are what a robot's time ran out on, the first that holds: a thing of the task lies where the robot cannot work on
it, was let go outside its place, or moved less than one that it should leave alone; else timeout."""

TOUCHING = 0.01
"""Widths between a closed hand and a thing that it touches."""


def checked_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UserError: there is none.
    """
    for known in TASKS:
        if known == name:
            return known
    raise UserError(f"task = {name!r} is not a task of the table; {did_you_mean(str(name), TASKS)}")


def index_of(scene: Scene, referent: Referent) -> int:
    """The number of the one thing that has the properties.

    Raises:
        UserError: none has, or several.
    """
    wanted = {name: value for name, value in vars(referent).items() if value}
    found = [
        i
        for i, thing in enumerate(scene.things)
        if all(getattr(thing, name) == value for name, value in wanted.items())
    ]
    if len(found) != 1:
        raise UserError(f"{referent} names {len(found)} of the scene's things; it must name exactly one.")
    return found[0]


def zone_of(scene: Scene, colour: Colour) -> Zone:
    """The one zone of a colour.

    Raises:
        UserError: there is none, or several.
    """
    found = [part for part in scene.scenery if isinstance(part, Zone) and part.colour == colour]
    if len(found) != 1:
        raise UserError(f"zone = {colour!r} names {len(found)} of the scene's zones; it must name exactly one.")
    return found[0]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One goal, its words resolved to numbers."""

    kind: Literal["reach", "place", "stack", "open"]
    """place: each thing lies in its zone. stack: all lie in one zone, together."""
    things: tuple[int, ...] = ()
    zones: tuple[Zone, ...] = ()
    """One a thing."""


def steps_of(goal: Goal, scene: Scene) -> tuple[Step, ...]:
    """A goal as steps in their order.

    Raises:
        UserError: it names what the scene does not have.
    """
    if isinstance(goal, Then):
        return steps_of(goal.first, scene) + steps_of(goal.second, scene)
    if isinstance(goal, Reach):
        return (Step(kind="reach", things=(index_of(scene, goal.thing),)),)
    if isinstance(goal, PushTo):
        return (Step(kind="place", things=(index_of(scene, goal.thing),), zones=(zone_of(scene, goal.zone),)),)
    if isinstance(goal, StackIn):
        things = tuple(index_of(scene, thing) for thing in goal.things)
        return (Step(kind="stack", things=things, zones=(zone_of(scene, goal.zone),) * len(things)),)
    if isinstance(goal, OpenDrawer):
        return (Step(kind="open"),)
    zones = {part.colour: part for part in scene.scenery if isinstance(part, Zone)}
    wanted = [
        i
        for i, thing in enumerate(scene.things)
        if thing.colour in zones and (goal.shape is None or thing.shape == goal.shape)
    ]
    return (Step(kind="place", things=tuple(wanted), zones=tuple(zones[scene.things[i].colour] for i in wanted)),)


def lies_in(table: Table, i: int, zone: Zone) -> bool:
    """Whether thing `i` is clearly in the zone and not in the robot's hold."""
    x, y = table.position[i].tolist()
    depth = zone.half - max(abs(x - zone.centre[0]), abs(y - zone.centre[1]))
    return depth >= INSIDE.yes and table.held != i


def is_done(step: Step, table: Table, embodiment: Embodiment) -> bool:
    """Whether a step's goal holds now.

    reach: a closed hand touches the thing, an open one holds it or is over its middle. stack: with jaws, each thing but
    one lies on another of them; a pusher gathers them, each next to another.
    """
    if step.kind == "open":
        return table.drawer is not None and table.opening >= AJAR.yes * table.drawer.travel
    if step.kind == "reach":
        return _touches(table, step.things[0])
    if not all(lies_in(table, i, zone) for i, zone in zip(step.things, step.zones, strict=True)):
        return False
    if step.kind == "place":
        return True
    if embodiment == "pusher":
        return all(any(_is_near(table, i, j) for j in step.things if j != i) for i in step.things)
    return sum(table.rests_on(i) in step.things for i in step.things) == len(step.things) - 1


def _touches(table: Table, i: int) -> bool:
    x, y = (table.position[i] - table.hand).tolist()
    away, thing = (x * x + y * y) ** 0.5, table.things[i]
    if table.held == i or (not table.is_closed and away <= thing.radius):
        return True
    return table.is_closed and away <= thing.reach + HAND + TOUCHING and table.gap(i) <= TOUCHING


def _is_near(table: Table, i: int, j: int) -> bool:
    away = np.linalg.norm(table.position[i] - table.position[j])
    return bool(away - table.things[i].radius - table.things[j].radius <= NEAR.yes)


class Progress:
    """How far a task is: call `note` after every action.

    Args:
        steps: of the task.
        table: where it is done.
        embodiment: by what.
    """

    def __init__(self, steps: tuple[Step, ...], table: Table, embodiment: Embodiment) -> None:
        self.steps = steps
        self.current = 0
        """The number of the first step that is not done yet."""
        self.wrong_order = False
        """Whether a later step was done before an earlier one."""
        self._table, self._embodiment = table, embodiment
        self._start, self._held, self._dropped = table.position, table.held, False

    @property
    def success(self) -> bool:
        """Whether every step has been done in turn, and what should last does."""
        return self.current == len(self.steps) and all(self._done(step) for step in self.steps if step.kind != "reach")

    def note(self) -> None:
        """Take in the table's state."""
        while self.current < len(self.steps) and self._done(self.steps[self.current]):
            self.current += 1
        self.wrong_order = self.wrong_order or any(self._done(step) for step in self.steps[self.current + 1 :])
        let_go, self._held = self._held, self._table.held
        if self._held is not None:
            self._dropped = False
        elif let_go is not None and let_go != HANDLE:
            self._dropped = any(
                i == let_go and not lies_in(self._table, i, zone)
                for step in self.steps
                for i, zone in zip(step.things, step.zones, strict=False)
            )

    def failure(self) -> Failure:
        """Why it is not done, were the episode to end now; empty where it is."""
        if self.success:
            return ""
        if self.wrong_order:
            return "wrong order"
        if any(self._is_out_of_reach(step) for step in self.steps[self.current :]):
            return "out of reach"
        if self._dropped:
            return "dropped"
        moved, meant, others = self._moved()
        if others > max([MOVED.yes, *(moved[i] for i in meant)]):
            return "wrong thing"
        return "timeout"

    @property
    def is_clean(self) -> bool:
        """Whether nothing lies elsewhere but what the task speaks of."""
        return self._moved()[2] < MOVED.yes

    def _moved(self) -> tuple[np.ndarray, set[int], float]:
        """Widths that each thing was moved, the things of the task, and the most that another was moved."""
        moved = np.linalg.norm(self._table.position - self._start, axis=1)
        meant = {i for step in self.steps for i in step.things}
        return moved, meant, max((float(moved[i]) for i in range(len(moved)) if i not in meant), default=0.0)

    def _done(self, step: Step) -> bool:
        return is_done(step, self._table, self._embodiment)

    def _is_out_of_reach(self, step: Step) -> bool:
        """Whether the hand cannot get to a thing, or a pusher behind it as seen from its zone."""
        for number, i in enumerate(step.things):
            place = self._table.position[i]
            if step.zones and self._embodiment == "pusher":
                zone = step.zones[number]
                if lies_in(self._table, i, zone):
                    continue
                way = place - zone.centre
                place = place + way / np.linalg.norm(way) * (self._table.things[i].radius + HAND)
                if place.min() < HAND / 2 or place.max() > 1 - HAND / 2:
                    return True
            elif self._embodiment == "arm" and np.linalg.norm(place - BASE) > sum(LINKS):
                return True
        return False
