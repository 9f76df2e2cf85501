"""What a task needs on its table: things, zones, a drawer, and the goal that speaks of them; before all has a place."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.actions.tasks import Task
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, Colour, Shape, Size, is_held_out
from maquette.worlds.scene.words.goals import Goal, OpenDrawer, PushTo, Reach, Referent, SortByColour, StackIn, Then

Combinations = Literal["train", "held out", "any"]
Kind = tuple[Colour, Shape]
Item = TypeVar("Item")

MOST = 100
"""Things on a table beside those of its task; what fits is found out."""
SEQUENCES: tuple[tuple[Task, Task], ...] = (
    ("reach", "push-to"),
    ("push-to", "push-to"),
    ("open-drawer", "push-to"),
    ("push-to", "open-drawer"),
)
"""What a task of two steps asks for."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a table top holds beside what its task needs.

    Raises:
        UserError: a number is out of range, or a thing too large for zones and jaws.
    """

    distractors: int = 1
    """Things that the task does not speak of."""
    things: int | None = None
    """Things to sort (2 to 4; else 3) or to stack (2 to 4; else 2)."""
    drawer: bool = False
    """A drawer also where the task needs none."""
    zones: bool = True
    """Zones also where the task, to reach a thing, needs none; where only a drawer is to be opened there never are."""
    combinations: Combinations = "train"
    """Of colour and shape, in the things of the task: those for training (nor then of a thing's colour and its zone's
    that are kept out), those that are kept out, or any. The other things' are always those for training, or any."""
    sizes: tuple[Size, ...] = ("small", "medium")
    """Of the things, but for those to sort or stack and in tasks of two steps: these are small."""
    gap: float = 0.04
    """Least distance between things, in widths."""
    head_on: float = 0.5
    """Share of the tables on which a hand that has to push starts in the thing's way, and can go round either side."""
    in_the_way: float = 0.0
    """Share of the tables with several things on which another is straight between the hand and what it is to reach,
    and it can go round either side; a gripper's hand goes over what is there."""

    def __post_init__(self) -> None:
        checks.whole("distractors", self.distractors, 0, MOST)
        if self.things is not None:
            checks.whole("things", self.things, 2, 4, ": a zone has four places")
        checks.word("combinations", self.combinations, get_args(Combinations))
        checks.kind("sizes", self.sizes, tuple)
        if not self.sizes or not set(self.sizes) <= {"small", "medium"}:
            raise UserError(f"sizes = {self.sizes} must be small or medium: a large thing fits neither jaws nor zones.")
        checks.number("gap", self.gap, 0, 0.5)
        checks.number("head_on", self.head_on, 0, 1)
        checks.number("in_the_way", self.in_the_way, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for, and what must be there for it."""

    goal: Goal
    things: tuple[Thing, ...]
    """Those of the goal first."""
    zones: tuple[Colour, ...]
    drawer: bool


def draw_order(task: Task, layout: Layout, rng: np.random.Generator) -> Order:
    """An order of a task.

    Raises:
        UserError: so many different things do not exist.
    """
    if task == "sort-by-colour":
        return _to_sort(layout, rng)
    parts = one_of(SEQUENCES, rng) if task == "two-step" else (task,)
    meant = sum({"open-drawer": 0, "stack-in-zone": layout.things or 2}.get(part, 1) for part in parts)
    kinds = _different(meant, layout.combinations, rng)
    others = _different(layout.distractors, "any" if layout.combinations == "any" else "train", rng, but=kinds)
    sizes = ("small",) if task in ("stack-in-zone", "two-step") else layout.sizes
    things = tuple(_thing(kind, sizes, rng) for kind in (*kinds, *others))
    drawer = layout.drawer or "open-drawer" in parts
    bare = parts == ("open-drawer",) or (parts == ("reach",) and not layout.zones)
    zones = _zones(0 if bare else 1 if drawer else 2, kinds, layout.combinations, rng)
    names = [_referent(things, i, rng) for i in range(meant)]
    goals: list[Goal] = []
    for part in parts:
        if part == "reach":
            goals.append(Reach(thing=names.pop(0)))
        elif part == "push-to":
            goals.append(PushTo(thing=names.pop(0), zone=zones[len(goals) % len(zones)]))
        elif part == "stack-in-zone":
            goals.append(StackIn(things=tuple(names), zone=zones[0]))
        else:
            goals.append(OpenDrawer())
    goal = goals[0] if len(goals) == 1 else Then(first=goals[0], second=goals[1])
    return Order(goal=goal, things=things, zones=zones, drawer=drawer)


def _to_sort(layout: Layout, rng: np.random.Generator) -> Order:
    """Two zones and things of their colours, at most two of each; the other things have other colours."""
    colours = [colour for colour in COLOURS if _shapes(colour, layout.combinations)]
    zones = some_of(colours, 2, rng)
    theirs = [*zones, *some_of(zones, (layout.things or 3) - 2, rng)]
    others = [one_of([c for c in COLOURS if c not in zones], rng) for _ in range(layout.distractors)]
    usual: Combinations = "any" if layout.combinations == "any" else "train"
    kinds = [(colour, one_of(_shapes(colour, layout.combinations), rng)) for colour in theirs]
    kinds += [(colour, one_of(_shapes(colour, usual), rng)) for colour in others]
    things = tuple(_thing(kind, ("small",), rng) for kind in kinds)
    return Order(goal=SortByColour(), things=things, zones=tuple(zones), drawer=layout.drawer)


def _shapes(colour: Colour, combinations: Combinations) -> list[Shape]:
    wanted = {"train": (False,), "held out": (True,), "any": (False, True)}[combinations]
    return [shape for shape in SHAPES if is_held_out(colour, shape) in wanted]


def _different(
    count: int, combinations: Combinations, rng: np.random.Generator, but: Sequence[Kind] = ()
) -> list[Kind]:
    """Colours and shapes, no two the same."""
    free = [(colour, shape) for colour in COLOURS for shape in _shapes(colour, combinations)]
    free = [kind for kind in free if kind not in but]
    if count > len(free):
        raise UserError(
            f"{count} things are more than the {len(free)} combinations of colour and shape; ask for fewer."
        )
    return some_of(free, count, rng)


def _zones(
    count: int, kinds: Sequence[Kind], combinations: Combinations, rng: np.random.Generator
) -> tuple[Colour, ...]:
    """Colours of zones to which, in training, things of these kinds may be sent."""
    fit = [
        zone
        for zone in COLOURS
        if combinations != "train" or not any(is_held_out(colour, f"{zone} zone") for colour, _ in kinds)
    ]
    return tuple(some_of(fit, count, rng))


def _thing(kind: Kind, sizes: Sequence[Size], rng: np.random.Generator) -> Thing:
    return Thing(colour=kind[0], shape=kind[1], size=one_of(sizes, rng), material=one_of(MATERIALS, rng))


def _referent(things: Sequence[Thing], i: int, rng: np.random.Generator) -> Referent:
    """Words that tell thing `i` from the others: colour and shape half the time, else any that do."""
    names = ("colour", "shape", "size")
    enough = [
        chosen
        for chosen in itertools.chain.from_iterable(itertools.combinations(names, n) for n in (1, 2, 3))
        if sum(all(getattr(other, n) == getattr(things[i], n) for n in chosen) for other in things) == 1
    ]
    chosen = ("colour", "shape") if rng.random() < 0.5 else one_of(enough, rng)
    return Referent(**{name: getattr(things[i], name) for name in chosen})


def one_of(among: Sequence[Item], rng: np.random.Generator) -> Item:
    """Any of them."""
    return among[int(rng.integers(len(among)))]


def some_of(among: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """So many of them, in any order; all, where there are not so many."""
    return [among[i] for i in rng.permutation(len(among))[:count].tolist()]
