"""Whether what a sentence means is so."""

from collections.abc import Callable
from dataclasses import dataclass, field

from maquette.core.errors import UserError
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter import deeds, meeting
from maquette.worlds.scene.words.interpreter.meaning import (
    At,
    Clause,
    Compared,
    Does,
    Exists,
    Has,
    Not,
    Noun,
    Ordered,
    Place,
    Predicate,
    Statement,
    When,
)
from maquette.worlds.scene.words.interpreter.motion import Motion
from maquette.worlds.scene.words.interpreter.world import Entity, World

Time = float | None
"""Of the first occurrence in seconds; None of what is not so."""


@dataclass
class Talk:
    """What has been said so far."""

    world: World
    it: list[Entity] | None = None
    """What "it" can stand for: all that made the last sentence true."""
    last: float = 0.0
    """When what was said last happened."""
    found: dict[tuple[Noun, tuple[Entity, ...]], list[Entity]] = field(default_factory=dict)
    """What each noun can stand for, while "it" stands for these: a noun within a noun is asked for again and again."""
    _motion: Motion | None = None

    @classmethod
    def about(cls, state: Scene | Clip | World) -> "Talk":
        """A talk that begins."""
        return cls(world=state if isinstance(state, World) else World(state))

    @property
    def motion(self) -> Motion:
        """What happens.

        Raises:
            UserError: the state is a still scene.
        """
        if self._motion is None:
            if self.world.clip is None or len(self.world.clip) < 4:
                raise UserError("A still scene does not show what happens; give a clip of at least four frames.")
            self._motion = Motion(self.world.clip)
        return self._motion


# ---- nouns ----


def candidates(talk: Talk, noun: Noun) -> list[Entity]:
    """Everything that a noun can stand for."""
    key = noun, tuple(talk.it or ())
    if key not in talk.found:
        talk.found[key] = _candidates(talk, noun)
    return talk.found[key]


def _candidates(talk: Talk, noun: Noun) -> list[Entity]:
    world = talk.world
    if noun.head == "it":
        if talk.it is None:
            raise UserError("'it' stands for nothing that was named before; name it.")
        return talk.it
    found = world.entities.get(noun.head)
    if found is None:
        found = [Entity("thing", i) for i in world.visible]
    found = [entity for entity in found if world.fits(entity, noun)]
    for place in noun.places:
        found = [entity for entity in found if is_at(talk, entity, place, "start")]
    return world.extreme(found, noun.extreme) if noun.extreme else found


def the_one(talk: Talk, noun: Noun) -> Entity | None:
    """What a definite noun stands for, or None if there is no such thing.

    Raises:
        UserError: there are several.
    """
    found = candidates(talk, noun)
    if len(found) > 1:
        raise UserError(f"{noun.text!r} could be {len(found)} things here; say its colour, shape or size too.")
    return found[0] if found else None


def quantified(talk: Talk, noun: Noun, test: Callable[[Entity], Time], *, remember: bool = False) -> Time:
    """When the test first comes true of as many as the noun says; None if it does not."""
    if noun.determiner == "the":
        one = the_one(talk, noun)
        found = [] if one is None else [one]
        if remember and found:
            talk.it = found
    else:
        found = candidates(talk, noun)
    so = [(entity, time) for entity in found if (time := test(entity)) is not None]
    if noun.determiner == "every":
        holds = 0 < len(so) == len(found)
    elif isinstance(noun.determiner, int):
        holds = len(so) == noun.determiner
    else:
        holds = bool(so)
    if remember and holds and so:
        talk.it = [entity for entity, _ in so]
    return min((time for _, time in so), default=0.0) if holds else None


# ---- predicates ----


def is_at(talk: Talk, entity: Entity, place: Place, when: When) -> bool:
    """Whether an entity is in a place at the start or the end."""
    world = talk.world
    if place.relation == "region":
        return world.in_region(entity, place.region, when)
    if place.relation == "between":
        one, other = place.nouns
        return any(
            world.between(entity, left, right, when)
            for left in candidates(talk, one)
            for right in candidates(talk, other)
            if left != right
        )
    return (
        quantified(
            talk, place.nouns[0], lambda other: 0.0 if world.related(place.relation, entity, other, when) else None
        )
        is not None
    )


def time_of(talk: Talk, entity: Entity, predicate: Predicate) -> Time:
    """When a predicate comes true of an entity."""
    if isinstance(predicate, Not):
        return 0.0 if time_of(talk, entity, predicate.predicate) is None else None
    if isinstance(predicate, At):
        return 0.0 if is_at(talk, entity, predicate.place, predicate.when) else None
    if isinstance(predicate, Has):
        return 0.0 if all(_has(talk, entity, name, value) for name, value in predicate.properties) else None
    if isinstance(predicate, Compared):
        return quantified(talk, predicate.noun, lambda other: _compares(talk, predicate.how, entity, other))
    if predicate.noun is None:
        return _does(talk, entity, predicate) if _goals_hold(talk, entity, predicate) else None
    return quantified(talk, predicate.noun, lambda other: _does_to(talk, entity, other, predicate))


def _has(talk: Talk, entity: Entity, name: str, value: str) -> bool:
    if name == "opening":
        if entity.kind != "drawer":
            raise UserError(f"A {entity.kind} is not open or closed; say that of the drawer.")
        is_open = talk.world.opening("start") > lexicon.AJAR.middle
        return is_open == (value == "open")
    return value == "thing" or talk.world.value(entity, name) == value


def _compares(talk: Talk, how: str, one: Entity, other: Entity) -> Time:
    if how in ("faster", "slower"):
        i, j = (_track(talk, entity) for entity in ((one, other) if how == "faster" else (other, one)))
        return 0.0 if i != j and talk.motion.quicker(i, j) else None
    if one.kind != "thing" or other.kind != "thing":
        return None
    return 0.0 if talk.world.compared(how, one, other) else None


def _track(talk: Talk, entity: Entity) -> int:
    if entity.kind not in ("thing", "robot"):
        raise UserError(f"The {entity.kind} does not move; say what a thing or the robot does.")
    return entity.number if entity.kind == "thing" else talk.motion.robot


def _does(talk: Talk, entity: Entity, does: Does) -> Time:
    """When an entity does what takes no object."""
    motion = talk.motion
    if does.verb == "open":
        return motion.drawer_opens() if entity.kind == "drawer" else None
    i = _track(talk, entity)
    if entity.kind == "robot" and does.verb not in ("move", "rest", "stop", "start"):
        return None
    if does.verb not in deeds.PHASES:
        raise UserError(f"{does.verb!r} wants an object; say what the thing does it to.")
    return deeds.doing(motion, i, does)


def _goals_hold(talk: Talk, entity: Entity, does: Does) -> bool:
    """Whether an entity gets where the sentence says it gets."""
    for how, noun in does.goals:

        def test(other: Entity, how: str = how) -> Time:
            world = talk.world
            if how == "to":
                relation = "in" if other.kind == "zone" else "next to"
                there = [world.related(relation, entity, other, when) for when in ("start", "end")]
                return 0.0 if there == [False, True] else None
            i, j = _track(talk, entity), _track(talk, other)
            return 0.0 if talk.motion.approach(i, j, 1.0 if how == "towards" else -1.0) else None

        if quantified(talk, noun, test) is None:
            return False
    return True


def _does_to(talk: Talk, entity: Entity, other: Entity, does: Does) -> Time:
    """When one does something to another."""
    if does.verb == "open":
        pulled = entity.kind == "robot" and other.kind == "drawer"
        return talk.motion.drawer_opens() if pulled else None
    if does.verb == "hold":
        holds = entity.kind == "robot" and other.kind == "thing" and talk.world.holds(other.number)
        return 0.0 if holds else None
    if other.kind not in ("thing", "robot") or entity == other:
        return None
    one, two = (other, entity) if does.passive else (entity, other)
    i, j = _track(talk, one), _track(talk, two)
    motion = talk.motion
    # One goes there before it hits; what is pushed goes after that.
    moved = two if does.verb in ("push", "bring") else one
    if does.verb == "bring":
        time = meeting.pushes(motion, i, j) if one.kind == "robot" else None
    else:
        time = {"hit": meeting.hits, "push": meeting.pushes, "collide": meeting.collides}[does.verb](motion, i, j)
    if time is None or not _goals_hold(talk, moved, does):
        return None
    k = round(time / motion.dt)
    steps = range(k, motion.frames - 1) if moved is two else range(k)
    phase = deeds.Phase(time, steps)
    return time if deeds.is_so_done(motion, _track(talk, moved), phase, does) else None


# ---- sentences ----


def clause_time(talk: Talk, clause: Clause) -> Time:
    """When a clause's last event happens."""
    first = clause.predicates[0]
    if len(clause.subjects) == 2 and isinstance(first, Does) and first.verb == "collide" and first.noun is None:
        one, other = clause.subjects
        return quantified(talk, one, lambda a: quantified(talk, other, lambda b: _collides(talk, a, b)))
    times = [
        quantified(talk, noun, lambda entity: _chain(talk, entity, clause), remember=True) for noun in clause.subjects
    ]
    return None if None in times else max(time for time in times if time is not None)


def _collides(talk: Talk, one: Entity, other: Entity) -> Time:
    return None if one == other else meeting.collides(talk.motion, _track(talk, one), _track(talk, other))


def _chain(talk: Talk, entity: Entity, clause: Clause) -> Time:
    """When the last of the predicates comes true, each "then" in its turn."""
    latest = time_of(talk, entity, clause.predicates[0])
    for link, predicate in zip(clause.links, clause.predicates[1:], strict=True):
        time = time_of(talk, entity, predicate)
        if latest is None or time is None or (link == "then" and time - latest < lexicon.AFTER.middle):
            return None
        latest = max(latest, time)
    return latest


def statement_holds(talk: Talk, statement: Statement) -> bool:
    """Whether a statement is true; what it names is what "it" stands for from now on."""
    said = statement.said
    if isinstance(said, Ordered):
        first, second = clause_time(talk, said.first), clause_time(talk, said.second)
        return first is not None and second is not None and second - first > lexicon.AFTER.middle
    if isinstance(said, Exists):
        return all(quantified(talk, noun, lambda entity: 0.0, remember=True) is not None for noun in said.nouns)
    time = clause_time(talk, said)
    if time is None or (statement.later and time - talk.last < lexicon.AFTER.middle):
        return False
    talk.last = time
    return True
