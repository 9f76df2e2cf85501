"""Simple dialogues about a scene: a person asks, claims, corrects and finally wants something; turns alternate."""

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SIZES
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.asking import Asker
from maquette.worlds.scene.words.facts import pick
from maquette.worlds.scene.words.goals import Goal
from maquette.worlds.scene.words.instructions import instruction
from maquette.worlds.scene.words.questions import questions

PROPERTIES: dict[str, tuple[str, ...]] = {"colour": COLOURS, "size": SIZES, "material": MATERIALS}


def dialogue(state: Scene | Clip, rng: np.random.Generator, goal: Goal | None = None) -> tuple[str, ...]:
    """Some turns about a state, the person's first: questions and answers, and sometimes a mistake put right.

    Args:
        state: what they talk about.
        rng: chooses.
        goal: what the person wants in the end; without it the dialogue ends with an answer.

    Returns:
        The turns, alternating between the person and the one asked.

    Raises:
        UserError: nothing can be asked about the state.
    """
    asker = Asker(state, rng)
    turns: list[str] = []
    for _ in range(1 + int(3 * rng.random())):
        turns += (_correction(asker) if rng.random() < 0.4 else []) or _question(state, rng)
    if goal is not None:
        scene = state.scene(0) if isinstance(state, Clip) else state
        turns += [instruction(goal, rng, scene), "ok."]
    return tuple(turns)


def _question(state: Scene | Clip, rng: np.random.Generator) -> list[str]:
    """A question and its answer."""
    found = questions(state, rng, 1)
    if not found:
        raise UserError("Nothing can be asked about this state beyond doubt; take one with things that differ.")
    (question,) = found
    whole = question.kind in ("colour", "size") and rng.random() < 0.5
    return [question.text, f"it is {question.answer}." if whole else f"{question.answer}."]


def _correction(asker: Asker) -> list[str]:
    """A mistake and how it is put right: a false claim, or a false answer."""
    rng, name = asker.rng, pick(asker.rng, list(PROPERTIES))
    found = asker.unnamed(name)
    if found is None:
        return []
    i, one = found
    value = getattr(asker.facts.things[i], name)
    wrong = pick(rng, [other for other in PROPERTIES[name] if other != value])
    right_words, wrong_words = (_said(name, each, rng) for each in (value, wrong))
    if name != "material" and rng.random() < 0.4:
        asked = f"what {name} is {one}?"
        return [asked, f"{wrong_words}.", f"no, it is {right_words}.", pick(rng, ("ok.", f"ok. it is {right_words}."))]
    return [f"{one} is {wrong_words}.", f"no, it is {right_words}."]


def _said(name: str, value: str, rng: np.random.Generator) -> str:
    if name == "material":
        return f"made of {lexicon.SUBSTANCES[value][0]}"
    return pick(rng, lexicon.PROPERTIES[name][value])
