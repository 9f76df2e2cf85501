"""What a text means and whether it is so: a reader of its own, that shares nothing with the generator but the lexicon.

It decides from what can be seen: where things are in each frame, never from a clip's law, velocities or contacts.
"""

import functools
from collections.abc import Sequence
from dataclasses import fields, is_dataclass

from maquette.core.errors import UserError
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.words.goals import Goal, Referent
from maquette.worlds.scene.words.interpreter import aims, answers, conversation, orders, sentences
from maquette.worlds.scene.words.interpreter.meaning import (
    At,
    Clause,
    Command,
    Does,
    Not,
    Noun,
    Place,
    Predicate,
    Question,
)
from maquette.worlds.scene.words.interpreter.reading import split
from maquette.worlds.scene.words.interpreter.truth import Talk, statement_holds
from maquette.worlds.scene.words.interpreter.world import World
from maquette.worlds.scene.words.lexicon import NOUNS

__all__ = [
    "World",
    "achieved",
    "answer",
    "combinations",
    "goal_of",
    "is_answer",
    "is_true",
    "is_true_dialogue",
    "plan_of",
    "serves",
    "thing_of",
]


def is_true(text: str, state: Scene | Clip) -> bool:
    """Whether every sentence of a text is so.

    Of a clip, what things are at is told of its first frame unless the text says "at the end".

    Raises:
        UserError: a sentence cannot be read, contradicts itself, or names a thing that could be several.
    """
    talk = Talk.about(state)
    for words, asks in split(text):
        if asks:
            raise UserError(f"{' '.join(words)!r} is a question, neither true nor false; `answer` answers it.")
        for statement in sentences.statements(words):
            if not statement_holds(talk, statement):
                return False
    return True


def answer(question: str, state: Scene | Clip | World) -> str:
    """The plainest right answer to a question; who asks much about one state gives its `World`.

    Raises:
        UserError: the question cannot be read, or it asks about what is not there.
    """
    return answers.answer_to(Talk.about(state), _asked(question))


def is_answer(question: str, answer: str, state: Scene | Clip) -> bool:
    """Whether an answer is right, in whatever words.

    Raises:
        UserError: question or answer cannot be read, or they speak of what is not there.
    """
    sentence = split(answer)
    if len(sentence) != 1:
        raise UserError(f"{answer!r} is {len(sentence)} sentences; answer in one.")
    return answers.answers(Talk.about(state), _asked(question), sentences.reply(sentence[0][0]))


@functools.lru_cache(maxsize=2**10)
def _asked(question: str) -> Question:
    sentence = split(question)
    if len(sentence) != 1 or not sentence[0][1]:
        raise UserError(f"{question!r} is not one question; end it with its only question mark.")
    return sentences.question(sentence[0][0])


def goal_of(text: str, scene: Scene | Clip) -> Goal:
    """What an instruction wants.

    Raises:
        UserError: it cannot be read, or names what is not in the scene or could be several things.
    """
    talk, goals = Talk(world=aims.table_of(scene)), []
    for words, _ in split(text):
        goals.append(aims.goal(talk, orders.instruction(words)))
    return aims.one_after_the_other(goals)


def achieved(goal: Goal | str, state: Scene | Clip) -> bool:
    """Whether a goal, or what an instruction wants, is reached: in a scene, or at the end of a clip.

    Of "first this, then that" the first must still be so in a scene (where it is a place, not a touch); in a clip it
    must have been so in some frame.

    Raises:
        UserError: the goal names what is not there.
    """
    if isinstance(goal, str):
        goal = goal_of(goal, state)
    return aims.is_achieved(aims.table_of(state), goal)


def thing_of(referent: Referent, scene: Scene | Clip) -> int:
    """The number of the thing that a referent names.

    Raises:
        UserError: there is none, or more than one.
    """
    return aims.thing_of(World(scene), referent)


def plan_of(text: str, scene: Scene | Clip) -> list[Goal]:
    """The steps of a numbered plan, "1. go to the red box. 2. push it to the blue zone."

    Raises:
        UserError: a step cannot be read, or the numbers are not 1, 2, 3, …
    """
    talk = Talk(world=aims.table_of(scene))
    numbered = orders.steps([words for words, _ in split(text)])
    return [aims.goal(talk, orders.instruction(words)) for words in numbered]


def serves(plan: str, goal: Goal | str, scene: Scene | Clip) -> bool:
    """Whether a plan, carried out from this scene, reaches a goal.

    Raises:
        UserError: plan or goal cannot be read or names what is not there.
    """
    wanted = goal_of(goal, scene) if isinstance(goal, str) else goal
    return aims.serves(aims.table_of(scene), plan_of(plan, scene), wanted)


def is_true_dialogue(turns: Sequence[str], state: Scene | Clip) -> bool:
    """Whether a dialogue is right in the end: every question answered, everything false put right in the next turn.

    Raises:
        UserError: a turn cannot be read, or speaks of what is not there.
    """
    return conversation.is_true(turns, state)


def combinations(text: str) -> set[tuple[str, ...]]:
    """The combinations that a text uses, in the lexicon's plain words, for `vocabulary.is_held_out`.

    (colour, shape) of a thing, (colour, relation) and (shape, verb) of what a clause is about, and (colour, zone) of a
    thing and the colour of the zone that it is to go to.

    Raises:
        UserError: a sentence cannot be read.
    """
    found: set[tuple[str, ...]] = set()
    for words, asks in split(text):
        if len(words) == 1 and words[0].isdigit():
            continue
        if orders.is_order(words):
            _collect(orders.instruction(words), found)
        elif asks:
            _collect(sentences.question(words), found)
        else:
            _collect(sentences.reply(words), found)
    return found


def _collect(meaning: object, found: set[tuple[str, ...]]) -> None:
    if isinstance(meaning, tuple):
        for part in meaning:
            _collect(part, found)
    if not is_dataclass(meaning):
        return
    if isinstance(meaning, Noun):
        found |= _pairs(meaning.colour, meaning.head if meaning.head in NOUNS else None)
        for place in meaning.places:
            found |= _pairs(meaning.colour, _relation(place))
    if isinstance(meaning, Clause):
        for noun in meaning.subjects:
            for predicate in meaning.predicates:
                found |= _of_subject(noun, predicate)
    if isinstance(meaning, Question) and meaning.noun and meaning.predicate:
        found |= _of_subject(meaning.noun, meaning.predicate)
    if isinstance(meaning, Command):
        for noun in meaning.nouns:
            found |= _pairs(noun.colour, f"{meaning.zone.colour} zone" if meaning.zone else None)
    for part in fields(meaning):
        _collect(getattr(meaning, part.name), found)


def _of_subject(noun: Noun, predicate: Predicate) -> set[tuple[str, ...]]:
    if isinstance(predicate, Not):
        return _of_subject(noun, predicate.predicate)
    if isinstance(predicate, At):
        return _pairs(noun.colour, _relation(predicate.place))
    return _pairs(noun.head if noun.head in NOUNS else None, predicate.verb if isinstance(predicate, Does) else None)


def _relation(place: Place) -> str | None:
    return None if place.relation == "region" else place.relation


def _pairs(one: str | None, other: str | None) -> set[tuple[str, ...]]:
    return {(one, other)} if one and other and "thing" not in (one, other) else set()
