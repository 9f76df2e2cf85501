"""Goals: read from instructions, judged by the state, and served by plans."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.geometry import HAND
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.vocabulary import Colour
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.goals import Goal, OpenDrawer, PushTo, Reach, Referent, SortByColour, StackIn, Then
from maquette.worlds.scene.words.interpreter.meaning import Command, Instruction, Noun
from maquette.worlds.scene.words.interpreter.truth import Talk, candidates, the_one
from maquette.worlds.scene.words.interpreter.world import Entity, World

PROPERTIES = ("shape", "colour", "size", "material")


def goal(talk: Talk, instruction: Instruction) -> Goal:
    """What an instruction wants, in the scene that it is given in."""
    return one_after_the_other([_goal(talk, command) for command in instruction.commands])


def one_after_the_other(goals: list[Goal]) -> Goal:
    """All of them, in order."""
    *others, last = goals
    for earlier in reversed(others):
        last = Then(first=earlier, second=last)
    return last


def thing_of(world: World, referent: Referent) -> int:
    """The number of the thing that a referent names.

    Raises:
        UserError: there is none, or more than one.
    """
    said = [(name, getattr(referent, name)) for name in PROPERTIES if getattr(referent, name)]
    found = [i for i in world.visible if all(getattr(world.things[i], name) == value for name, value in said)]
    if len(found) != 1:
        words = " ".join(value for _, value in reversed(said))
        raise UserError(f"{len(found)} things here are {words!r}; name a thing that is the only one of its kind.")
    return found[0]


def is_achieved(world: World, goal: Goal) -> bool:
    """Whether a goal is reached in a scene, or at the end of a clip."""
    match goal:
        case Reach(thing=referent):
            i = thing_of(world, referent)
            robot = world.robot("end")
            if robot is None:
                raise UserError("There is no robot here that could reach anything; give a scene with one.")
            return world.gap(robot.joints[-1], i) - HAND < lexicon.REACHED.middle
        case PushTo(thing=referent, zone=colour):
            return _lies_in(world, thing_of(world, referent), colour)
        case SortByColour():
            return all(_lies_in(world, i, world.things[i].colour) for i in to_sort(world, goal))
        case StackIn(things=referents, zone=colour):
            numbers = [thing_of(world, referent) for referent in referents]
            return all(_lies_in(world, i, colour) for i in numbers) and all(
                any(world.related("next to", Entity("thing", i), Entity("thing", j), "end") for j in numbers if j != i)
                for i in numbers
            )
        case OpenDrawer():
            if not world.of("drawer"):
                raise UserError("There is no drawer here; ask for something else.")
            return world.opening("end") > lexicon.AJAR.middle
        case Then(first=first, second=second):
            return is_achieved(world, second) and _came_first(world, first, second)


def _came_first(world: World, first: Goal, second: Goal) -> bool:
    """Whether the first was reached by the time that the second came to be so; if that was so all along, ever."""
    if world.clip is None:
        return isinstance(first, Reach) or is_achieved(world, first)
    frames = [World(world.clip.scene(k)) for k in range(len(world.clip))]
    done = [is_achieved(frame, second) for frame in frames]
    until = len(frames) if done[0] else done.index(True) + 1
    return any(is_achieved(frame, first) for frame in frames[:until])


def to_sort(world: World, goal: SortByColour) -> list[int]:
    """The things that have a zone of their colour."""
    zones = {zone.colour for zone in world.of("zone")}
    found = [i for i in sorted(_alike(world, goal)) if world.things[i].colour in zones]
    if not found:
        raise UserError("No thing here has a zone of its colour to be sorted into; ask for something else.")
    return found


def _alike(world: World, goal: SortByColour) -> set[int]:
    """The things of its shape."""
    return {i for i in world.visible if goal.shape in (None, world.things[i].shape)}


def _zone(world: World, colour: str) -> Entity:
    found = [zone for zone in world.entities["zone"] if world.value(zone, "colour") == colour]
    if len(found) != 1:
        raise UserError(f"{len(found)} zones here are {colour!r}; name the colour of one that is there once.")
    return found[0]


def _lies_in(world: World, i: int, colour: str) -> bool:
    return world.within(Entity("thing", i), _zone(world, colour), "end")


# ---- from commands ----


def _goal(talk: Talk, command: Command) -> Goal:
    world = talk.world
    if command.verb == "open":
        if not world.of("drawer"):
            raise UserError("There is no drawer here to open; ask for something else.")
        return OpenDrawer()
    if command.verb == "sort":
        (noun,) = command.nouns
        head = noun.head if noun.head != "thing" else None
        sort = SortByColour(shape=head)  # pyrefly: ignore
        homeless = _alike(world, sort) - {*to_sort(world, sort)}
        if command.without_exception and homeless:
            colours = sorted({world.things[i].colour for i in homeless})
            raise UserError(
                f"{noun.text!r} cannot all be sorted: there is no zone for what is {' or '.join(colours)}; "
                "leave out 'all' or 'every'."
            )
        return sort
    referents = tuple(_referent(talk, entity, noun) for noun in command.nouns for entity in _meant(talk, noun))
    if command.verb == "reach":
        return Reach(thing=_single(referents))
    assert command.zone is not None
    zones = candidates(talk, command.zone)
    if len(zones) != 1:
        raise UserError(f"{command.zone.text!r} could be {len(zones)} zones here; say the colour of one of them.")
    colour = world.of("zone")[zones[0].number].colour
    if command.verb == "push":
        return PushTo(thing=_single(referents), zone=colour)
    return StackIn(things=referents, zone=colour)


def _single(referents: tuple[Referent, ...]) -> Referent:
    if len(referents) != 1:
        raise UserError(f"That takes one thing, not {len(referents)}; name one.")
    return referents[0]


def _meant(talk: Talk, noun: Noun) -> list[Entity]:
    """The thing that a noun names, or all of "the boxes"."""
    if noun.determiner in ("every", "it"):
        found = candidates(talk, noun)
        if noun.determiner == "it" and len(found) != 1:
            raise UserError(f"'it' could be {len(found)} things here; name it.")
    else:
        one = the_one(talk, noun)
        found = [one] if one else []
    if not found:
        raise UserError(f"There is no such thing as {noun.text!r} here; name one that is there.")
    if any(entity.kind != "thing" for entity in found):
        raise UserError(f"{noun.text!r} cannot be taken; name a thing.")
    talk.it = found
    return found


def _referent(talk: Talk, entity: Entity, noun: Noun) -> Referent:
    """As the noun has it where that is enough, else every property."""
    thing = talk.world.things[entity.number]
    said = {name: getattr(noun, name) for name in PROPERTIES[1:] if getattr(noun, name)}
    if noun.head in lexicon.NOUNS and noun.head != "thing":
        said["shape"] = noun.head
    if said:
        referent = Referent(**said)
        same = [t for t in talk.world.things if all(getattr(t, name) == value for name, value in said.items())]
        if len(same) == 1:
            return referent
    referent = Referent(shape=thing.shape, colour=thing.colour, size=thing.size, material=thing.material)
    thing_of(talk.world, referent)
    return referent


# ---- plans ----


@dataclass
class _Table:
    """What a plan has brought about so far."""

    zones: dict[int, set[Colour]]
    """Thing → the zones that it lies in; they may overlap."""
    reached: set[int] = field(default_factory=set)
    opened: bool = False


def serves(world: World, steps: list[Goal], goal: Goal) -> bool:
    """Whether a goal is reached once every step is, and in the order that it wants."""
    now = _Table(
        zones={i: {zone.colour for zone in world.of("zone") if _lies_in(world, i, zone.colour)} for i in world.visible},
        opened=bool(world.of("drawer")) and world.opening("end") > lexicon.AJAR.middle,
    )
    wanted = list(_in_order(goal))
    from_the_start = [_holds(world, now, one) for one in wanted]
    done = 0
    for step in [None, *steps]:
        if step is not None:
            _take(world, now, step)
        while done < len(wanted) and _holds(world, now, wanted[done]):
            done += 1
        later = zip(wanted[done + 1 :], from_the_start[done + 1 :], strict=True)
        if any(_holds(world, now, one) for one, held in later if not held and not isinstance(one, Reach)):
            return False  # a touch that comes too early can come again; what was moved has been moved
    return done == len(wanted) and (isinstance(wanted[-1], Reach) or _holds(world, now, wanted[-1]))


def _in_order(goal: Goal) -> Iterator[Goal]:
    if isinstance(goal, Then):
        yield from _in_order(goal.first)
        yield from _in_order(goal.second)
    else:
        yield goal


def _take(world: World, now: _Table, step: Goal) -> None:
    match step:
        case Reach(thing=referent):
            now.reached = {thing_of(world, referent)}
        case PushTo(thing=referent, zone=colour):
            now.zones[thing_of(world, referent)] = {colour}
            now.reached = {thing_of(world, referent)}  # a hand that pushes is at what it pushes
        case StackIn(things=referents, zone=colour):
            now.zones.update({thing_of(world, referent): {colour} for referent in referents})
            now.reached = {thing_of(world, referents[-1])}
        case SortByColour():
            now.zones.update({i: {world.things[i].colour} for i in to_sort(world, step)})
            now.reached = set()  # which was the last is left open
        case OpenDrawer():
            now.opened, now.reached = True, set()
        case Then():
            _take(world, now, step.first)
            _take(world, now, step.second)


def _holds(world: World, now: _Table, goal: Goal) -> bool:
    match goal:
        case Reach(thing=referent):
            return thing_of(world, referent) in now.reached
        case PushTo(thing=referent, zone=colour):
            return colour in now.zones[thing_of(world, referent)]
        case StackIn(things=referents, zone=colour):
            return all(colour in now.zones[thing_of(world, referent)] for referent in referents)
        case SortByColour():
            return all(world.things[i].colour in now.zones[i] for i in to_sort(world, goal))
        case OpenDrawer():
            return now.opened
    return False


def table_of(state: Scene | Clip) -> World:
    """The world of a scene of the table top.

    Raises:
        UserError: it is one of the side view.
    """
    checks.kind("state", state, Scene, Clip)
    if state.view != "top":
        raise UserError(f"view = {state.view!r}: instructions are for the table top; give a scene seen from the top.")
    return World(state)
