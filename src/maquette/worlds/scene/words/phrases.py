"""Pieces of sentences that captions, questions, instructions and dialogues share."""

import numpy as np

from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.facts import Facts, Properties, pick
from maquette.worlds.scene.words.happenings import Deed

NEEDED = ("behind the screen", "into the water", "to the surface")
"""Paths that are what is worth telling."""
FULL: Properties = ("size", "colour", "material", "shape")


def nominal(rng: np.random.Generator, thing: Thing, names: Properties, *, plural: bool = False) -> str:
    """ "large red rubber ball", with the properties named; "red thing" where the shape is not."""
    words = []
    if "size" in names:
        words.append(pick(rng, lexicon.SIZES[thing.size]))
    if "colour" in names:
        words.append(lexicon.COLOURS[thing.colour][0])
    if "material" in names:
        words.append(lexicon.MATERIALS[thing.material][0])
    words.append(noun(rng, thing.shape if "shape" in names else "thing", plural=plural))
    return " ".join(words)


def noun(rng: np.random.Generator, head: str, *, plural: bool = False) -> str:
    """A noun for a shape, mostly the plain one."""
    forms = lexicon.NOUNS[head]
    return (forms[0] if rng.random() < 0.6 else pick(rng, forms))[plural]


def fixture(rng: np.random.Generator, kind: str) -> str:
    """A noun for a part of the scenery."""
    return pick(rng, lexicon.FIXTURES[kind])[0]


def a(words: str) -> str:
    """With the indefinite article."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def the(rng: np.random.Generator, facts: Facts, i: int) -> str:
    """A name that only this thing has; short ones more often."""
    namings = facts.namings(i)
    names = namings[0] if rng.random() < 0.5 else pick(rng, namings[:3]) if rng.random() < 0.8 else pick(rng, namings)
    return "the " + nominal(rng, facts.things[i], names)


def relation(rng: np.random.Generator, name: str) -> str:
    """ "left of", "beside", …"""
    return pick(rng, lexicon.RELATIONS[name])


def region(rng: np.random.Generator, name: str) -> str:
    """ "on the left", …"""
    return pick(rng, lexicon.REGIONS[name])


def counted(rng: np.random.Generator, number: int, words: tuple[str, str]) -> str:
    """ "two balls"."""
    said = lexicon.NUMBERS[number] if rng.random() < 0.8 or number < 2 else lexicon.DIGITS[number]
    return f"{said if number else 'no'} {words[number != 1]}"


def verb(rng: np.random.Generator, name: str, *, base: bool = False) -> str:
    """A verb's third person, or its base; mostly the plain one."""
    forms = lexicon.VERBS[name]
    return (forms[0] if rng.random() < 0.7 else pick(rng, forms))[base]


def doing(
    rng: np.random.Generator,
    deed: Deed,
    other: str = "",
    *,
    base: bool = False,
    direction: bool = True,
    path: bool = False,
    manner: str | None = None,
) -> str:
    """A deed in words: "rolls quickly to the right", "hits the blue box".

    Args:
        rng: chooses among synonyms.
        deed: what is done.
        other: the name of the thing that it is done to.
        base: "roll" instead of "rolls".
        direction: whether to say where to.
        path: whether to say along or through what; some paths are always said.
        manner: quickly or slowly.
    """
    words = [verb(rng, deed.verb, base=base)]
    if other:
        words.append(other)
    if manner:
        words.append(pick(rng, lexicon.MANNERS[manner]))
    if deed.path and (path or deed.path in NEEDED):
        words.append(pick(rng, lexicon.PATHS[deed.path]))
    if deed.direction and direction:
        words.append(pick(rng, lexicon.DIRECTIONS[deed.direction]))
    if deed.zone:
        words.append(f"{pick(rng, ('to', 'into'))} the {deed.zone} {fixture(rng, 'zone')}")
    return " ".join(words)
