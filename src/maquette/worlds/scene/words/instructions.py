"""Instructions for the table top, and plans: a goal in words, and the numbered steps that lead to it."""

from collections.abc import Sequence

import numpy as np

from maquette.core.english import listed
from maquette.core.errors import UserError
from maquette.worlds.scene.state import Clip, Scene, Thing
from maquette.worlds.scene.vocabulary import Colour, Shape
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.facts import Facts, pick
from maquette.worlds.scene.words.goals import Goal, OpenDrawer, PushTo, Reach, Referent, SortByColour, StackIn, Then


def instruction(goal: Goal, rng: np.random.Generator, scene: Scene | Clip | None = None) -> str:
    """A goal as an order.

    Args:
        goal: what is wanted.
        rng: chooses the words.
        scene: the table top; without it no order is to sort all things or every one, since some may have no zone.
    """
    match goal:
        case Then():
            first, second = order(goal.first, rng, scene), order(goal.second, rng, scene)
            ways = [f"first {first}, then {second}", f"{first}, then {second}", f"{first} and then {second}"]
            if not isinstance(goal.second, Then):
                ways.append(f"first, {first}. then, {second}")
            return f"{pick(rng, ways)}."
        case _:
            said = order(goal, rng, scene)
            return f"can you {said}?" if rng.random() < 0.1 else f"{said}."


def order(goal: Goal, rng: np.random.Generator, scene: Scene | Clip | None = None) -> str:
    """A goal in the imperative, without a full stop."""
    match goal:
        case Reach(thing=thing):
            return f"{pick(rng, lexicon.COMMANDS['reach'])} the {named(thing, rng)}"
        case PushTo(thing=thing, zone=zone):
            return push(f"the {named(thing, rng)}", zone, rng)
        case SortByColour(shape=shape):
            one, all_of_them = (phrases.noun(rng, shape or "thing", plural=many) for many in (False, True))
            into = f"{pick(rng, ('push', 'bring'))} every {one} to the zone of its colour"
            ways = (f"sort the {all_of_them} by colour", f"sort all the {all_of_them} by colour", into)
            return pick(rng, ways if scene and _all_have_zones(goal, scene) else ways[:1])
        case StackIn(things=things, zone=zone):
            stack = pick(rng, lexicon.COMMANDS["stack"])
            return f"{stack} {listed([f'the {named(thing, rng)}' for thing in things])} in {the(zone, rng)}"
        case OpenDrawer():
            return f"{pick(rng, lexicon.COMMANDS['open'])} the drawer"
        case Then(first=first, second=second):
            return f"{order(first, rng, scene)}, then {order(second, rng, scene)}"


def _all_have_zones(goal: SortByColour, scene: Scene | Clip) -> bool:
    facts = Facts(scene)
    colours = {zone.colour for zone in facts.zones}
    return all(facts.things[i].colour in colours for i in facts.having(shape=goal.shape))


def push(thing: str, zone: Colour, rng: np.random.Generator) -> str:
    """ "push the red box to the blue zone"."""
    verb = pick(rng, lexicon.COMMANDS["push"])
    into = pick(rng, ("in", "inside") if verb == "put" else ("to", "to", "into"))
    return f"{verb} {thing} {into} {the(zone, rng)}"


def the(zone: Colour, rng: np.random.Generator) -> str:
    """ "the blue zone"."""
    return f"the {zone} {phrases.fixture(rng, 'zone')}"


def named(thing: Referent, rng: np.random.Generator) -> str:
    """A referent's properties as a noun phrase without article."""
    names = tuple(name for name in phrases.FULL if getattr(thing, name))
    shown = Thing(
        shape=thing.shape or "box",
        colour=thing.colour or "red",
        size=thing.size or "medium",
        material=thing.material or "rubber",
    )
    return phrases.nominal(rng, shown, names)


def referent_of(facts: Facts, i: int, rng: np.random.Generator) -> Referent:
    """A description that fits this thing alone.

    Raises:
        UserError: another thing looks the same.
    """
    namings = facts.namings(i)
    if not namings:
        thing = facts.things[i]
        raise UserError(f"Thing {i} is not the only {thing.size} {thing.colour} {thing.shape}; name another one.")
    names = namings[0] if rng.random() < 0.6 else pick(rng, namings)
    return Referent(**{name: getattr(facts.things[i], name) for name in names})


def random_goal(scene: Scene, rng: np.random.Generator, *, two_steps: bool = True) -> Goal | None:
    """Something to ask for on a table top that is clearly not so yet; None if there is nothing."""
    facts = Facts(scene)
    found: list[Goal] = []
    for i in facts.named:
        if facts.reached(i) is False:
            found.append(Reach(thing=referent_of(facts, i, rng)))
        found += [
            PushTo(thing=referent_of(facts, i, rng), zone=zone.colour)
            for zone in facts.zones
            if facts.in_zone(i, zone) is False
        ]
    found += _sorts(facts) + _stacks(facts, rng)
    if facts.ajar() is False:
        found.append(OpenDrawer())
    if not found:
        return None
    # One of each kind first, so that the many pushes do not crowd out the rest.
    kinds = sorted({type(goal).__name__ for goal in found})
    kind = pick(rng, kinds)
    goal = pick(rng, [goal for goal in found if type(goal).__name__ == kind])
    others = [other for other in found if _independent(goal, other)]
    if two_steps and others and rng.random() < 0.3:
        return Then(first=goal, second=pick(rng, others))
    return goal


def _sorts(facts: Facts) -> list[Goal]:
    colours = [zone.colour for zone in facts.zones]
    found: list[Goal] = []
    shapes: list[Shape | None] = [None, *sorted({thing.shape for thing in facts.things})]
    for shape in shapes:
        to_sort = [i for i in facts.having(shape=shape) if facts.things[i].colour in colours]
        at_home = [facts.in_zone(i, facts.zones[colours.index(facts.things[i].colour)]) for i in to_sort]
        if False in at_home and None not in at_home and all(facts.namings(i) for i in to_sort):
            found.append(SortByColour(shape=shape))
    return found


def _stacks(facts: Facts, rng: np.random.Generator) -> list[Goal]:
    found: list[Goal] = []
    named = facts.named
    if len(named) > 1:
        for zone in facts.zones:
            chosen = [named[n] for n in rng.permutation(len(named))[: 2 + int(rng.random() < 0.3)]]
            if False in [facts.in_zone(i, zone) for i in chosen]:
                things = tuple(referent_of(facts, i, rng) for i in chosen)
                found.append(StackIn(things=things, zone=zone.colour))
    return found


def _independent(goal: Goal, other: Goal) -> bool:
    """Whether doing the second does not undo or repeat the first."""
    simple = (Reach, PushTo, OpenDrawer)
    return isinstance(goal, simple) and isinstance(other, simple) and goal != other and not _same_thing(goal, other)


def _same_thing(goal: Goal, other: Goal) -> bool:
    return isinstance(goal, PushTo) and isinstance(other, PushTo) and goal.thing == other.thing


# ---- plans ----


def plan(goal: Goal, scene: Scene, rng: np.random.Generator) -> str:
    """The steps to a goal: "1. go to the red box. 2. push it to the blue zone."

    Args:
        goal: what is wanted.
        scene: the table top.
        rng: chooses order and words.

    Things that cannot be told apart by name are sorted in one step.
    """
    return " ".join(f"{number}. {said}." for number, said in enumerate(_steps(goal, Facts(scene), rng), start=1))


def _steps(goal: Goal, facts: Facts, rng: np.random.Generator) -> list[str]:
    match goal:
        case Then(first=first, second=second):
            return _steps(first, facts, rng) + _steps(second, facts, rng)
        case PushTo(thing=thing, zone=zone):
            return _fetch(f"the {named(thing, rng)}", zone, rng)
        case StackIn(things=things, zone=zone):
            return [step for thing in things for step in _fetch(f"the {named(thing, rng)}", zone, rng)]
        case SortByColour():
            strays = _strays(goal, facts, rng)
            if not all(facts.namings(i) for i in strays):
                return [order(goal, rng, facts.state)]
            return [step for i in strays for step in _bring_home(i, facts, rng)]
        case _:
            return [order(goal, rng, facts.state)]


def _fetch(thing: str, zone: Colour, rng: np.random.Generator) -> list[str]:
    """One step, or going there first."""
    if rng.random() < 0.5:
        return [push(thing, zone, rng)]
    return [f"{pick(rng, lexicon.COMMANDS['reach'])} {thing}", push("it", zone, rng)]


def _strays(goal: SortByColour, facts: Facts, rng: np.random.Generator) -> Sequence[int]:
    """The things that are not in the zone of their colour, in some order."""
    zones = {zone.colour: zone for zone in facts.zones}
    strays = [
        i
        for i in facts.having(shape=goal.shape)
        if (zone := zones.get(facts.things[i].colour)) and not facts.in_zone(i, zone)
    ]
    return [strays[n] for n in rng.permutation(len(strays))]


def _bring_home(i: int, facts: Facts, rng: np.random.Generator) -> list[str]:
    thing = named(referent_of(facts, i, rng), rng)
    return _fetch(f"the {thing}", facts.things[i].colour, rng)
