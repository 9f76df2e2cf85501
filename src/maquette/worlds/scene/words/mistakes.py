"""Orders, plans, answers and dialogues with one thing wrong in them by construction; no reader is asked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, SIZES
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.asking import Question
from maquette.worlds.scene.words.facts import Facts, pick
from maquette.worlds.scene.words.goals import Goal, OpenDrawer, PushTo, Reach, Referent, StackIn, Then
from maquette.worlds.scene.words.instructions import plan, referent_of
from maquette.worlds.scene.words.phrases import the

VALUES: dict[str, Sequence[str]] = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "material": MATERIALS}


# ---- goals ----


def other_goals(goal: Goal, scene: Scene, rng: np.random.Generator) -> list[Goal]:
    """Goals that ask for something else: another thing or another zone that is there, or the same in another order."""
    facts = Facts(scene)
    match goal:
        case Then(first=first, second=second):
            others: list[Goal] = [Then(first=other, second=second) for other in other_goals(first, scene, rng)]
            return [*others, *(Then(first=first, second=other) for other in other_goals(second, scene, rng))]
        case Reach(thing=thing):
            return [Reach(thing=other) for other in _other_things(thing, facts, rng)]
        case PushTo(thing=thing, zone=zone):
            elsewhere = [PushTo(thing=thing, zone=one.colour) for one in facts.zones if one.colour != zone]
            return [*elsewhere, *(PushTo(thing=other, zone=zone) for other in _other_things(thing, facts, rng))]
        case StackIn(things=things, zone=zone):
            named = {one for thing in things for one in _fitting(thing, facts)}
            spare = [referent_of(facts, i, rng) for i in facts.named if i not in named]
            elsewhere = [replace(goal, zone=one.colour) for one in facts.zones if one.colour != zone]
            return [*elsewhere, *(replace(goal, things=(*things[:-1], other)) for other in spare)]
    return []


def _fitting(thing: Referent, facts: Facts) -> list[int]:
    """The things that a referent names."""
    return facts.having(shape=thing.shape, colour=thing.colour, size=thing.size, material=thing.material)


def _other_things(thing: Referent, facts: Facts, rng: np.random.Generator) -> list[Referent]:
    """Names of the things that a referent does not name."""
    named = _fitting(thing, facts)
    return [referent_of(facts, i, rng) for i in facts.named if i not in named]


def missed(goal: Goal, clip: Clip) -> bool | None:
    """Whether a goal is clearly not reached at the end of a clip; None where that is not plain to see."""
    facts = Facts(clip)
    match goal:
        case PushTo(thing=thing, zone=colour):
            places = [(i, zone) for i in _fitting(thing, facts) for zone in facts.zones if zone.colour == colour]
            return _no(facts.in_zone(i, zone, end=True) for i, zone in places)
        case StackIn(things=things, zone=colour):
            found = [missed(PushTo(thing=thing, zone=colour), clip) for thing in things]
            return True if True in found else None
        case Then(second=second):  # the first may have been reached and left again
            return missed(second, clip)
    return None


def _no(answers: Iterator[bool | None]) -> bool | None:
    found = list(answers)
    return True if found and all(so is False for so in found) else None


# ---- plans ----


def bad_plans(goal: Goal, scene: Scene, rng: np.random.Generator) -> Iterator[str]:
    """Plans that do not reach a goal: for something else, without their last step, or in the wrong order."""
    one_thing = isinstance(goal, Then) and _same_thing(goal, scene)  # who pushes it has reached it
    others = [] if one_thing else other_goals(goal, scene, rng)
    if others:
        yield plan(pick(rng, others), scene, rng)
    steps = plan(goal, scene, rng).split(". ")
    if len(steps) > 2 and not isinstance(_last(goal), Reach):  # "1", "go to the box", "2", …
        yield ". ".join(steps[:-2]) + "."
    if isinstance(goal, Then) and isinstance(goal.first, PushTo | OpenDrawer) and not one_thing:
        yield plan(Then(first=goal.second, second=goal.first), scene, rng)


def _last(goal: Goal) -> Goal:
    return _last(goal.second) if isinstance(goal, Then) else goal


def _same_thing(goal: Then, scene: Scene) -> bool:
    """Whether both steps are about one thing, in whatever words."""
    facts = Facts(scene)
    things = [_fitting(one.thing, facts) for one in (goal.first, goal.second) if isinstance(one, PushTo | Reach)]
    return len(things) == 2 and things[0] == things[1]


# ---- answers ----


def wrong_answers(question: Question, state: Scene | Clip, rng: np.random.Generator) -> Iterator[str]:
    """Answers of the same kind that are not so; of what is there, where they can be."""
    facts = Facts(state)
    answer = question.answer
    if question.kind == "yes/no":
        yield "no" if answer == "yes" else "yes"
    elif question.kind in VALUES:
        there = [
            value for value in VALUES[question.kind] if any(_is(facts, i, question.kind, value) for i in facts.told)
        ]
        others = [value for value in there if value != answer] or [v for v in VALUES[question.kind] if v != answer]
        yield pick(rng, others)
    elif question.kind == "count":
        number = lexicon.NUMBERS.index(answer)
        yield lexicon.NUMBERS[number + 1 if number == 0 or rng.random() < 0.5 else number - 1]
    elif question.kind == "where":
        yield lexicon.REGIONS[pick(rng, [region for region in lexicon.REGIONS if _elsewhere(answer, region)])][0]
    elif question.kind == "way":
        pairs = {"right": "left", "left": "right", "up": "down", "down": "up"}
        yield next(lexicon.DIRECTIONS[b][0] for a, b in pairs.items() if lexicon.DIRECTIONS[a][0] == answer)
    elif question.kind == "which":
        others = [i for i in facts.named if not _may_name(answer, facts, i)]
        if others:
            yield the(rng, facts, pick(rng, others))


def _is(facts: Facts, i: int, name: str, value: str) -> bool:
    return getattr(facts.things[i], name) == value


def _elsewhere(answer: str, region: str) -> bool:
    """Whether a region is not where a plain answer to "where is it?" says, which tells side and height."""
    where = next(name for name, surfaces in lexicon.REGIONS.items() if surfaces[0] == answer)
    side = next((part for part in ("left", "right") if part in where), "middle")
    height = next((part for part in ("top", "bottom") if part in where), "")
    return not {*region.split()} <= {side, height}


def _may_name(answer: str, facts: Facts, i: int) -> bool:
    """Whether all that a name says is true of a thing."""
    thing, words = facts.things[i], answer.split()[1:]
    said = [*lexicon.SIZES[thing.size], *lexicon.COLOURS[thing.colour], *lexicon.MATERIALS[thing.material]]
    said += [form for noun in (thing.shape, "thing") for forms in lexicon.NOUNS[noun] for form in forms]
    return all(word in said for word in words)


# ---- dialogues ----


def wrong_dialogue(turns: Sequence[str], state: Scene | Clip, rng: np.random.Generator) -> tuple[str, ...] | None:
    """The same with one answer or correction that is not so, the last one where that can be; None if there is none."""
    for n in range(len(turns) - 1, 0, -1):
        is_corrected = n + 1 < len(turns) and turns[n + 1].startswith("no, ")
        is_claim = n % 2 == 0 and not turns[n].startswith("no, ")
        other = None if is_corrected or is_claim or turns[n].startswith("ok") else _otherwise(turns[n], state, rng)
        if other is not None:
            return (*turns[:n], other, *turns[n + 1 :])
    return None


def _otherwise(turn: str, state: Scene | Clip, rng: np.random.Generator) -> str | None:
    """A turn whose last word is another of its kind."""
    *before, last = turn.rstrip(".").split()
    if last in ("yes", "no") and not before:
        return "no." if last == "yes" else "yes."
    facts = Facts(state)
    for name in ("colour", "size", "material"):
        table = lexicon.SUBSTANCES if name == "material" else lexicon.PROPERTIES[name]
        own = next((value for value, words in table.items() if last in words), None)
        if own and (not before or before[-1] in ("is", "of")):
            there = [value for value in table if value != own and any(_is(facts, i, name, value) for i in facts.told)]
            value = pick(rng, there or [value for value in table if value != own])
            return " ".join([*before, table[value][0]]) + "."
    if not before and last in SHAPES:
        return f"{SHAPES[(SHAPES.index(last) + 1) % len(SHAPES)]}."
    if not before and last in lexicon.NUMBERS:
        number = lexicon.NUMBERS.index(last)
        return f"{lexicon.NUMBERS[number + 1 if number == 0 else number - 1]}."
    return None
