"""What a caption asks of a clip: the things that it names, as `metrics.attribute_accuracy` takes them."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TypeVar

from maquette.core.errors import UserError
from maquette.worlds.scene.metrics import Asked, Description
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, SIZES
from maquette.worlds.scene.words.interpreter import sentences
from maquette.worlds.scene.words.interpreter.meaning import Noun
from maquette.worlds.scene.words.interpreter.reading import split
from maquette.worlds.scene.words.lexicon import NOUNS

Word = TypeVar("Word", bound=str)


def asked_for(text: str) -> Asked:
    """The things that a caption names, each with the shape, colour, size and material that are said of it.

    What they do and how they stand to one another is left to `is_true`, which judges the whole sentence.

    Raises:
        UserError: a sentence cannot be read, or is a question.
    """
    things: list[Description] = []
    for words, asks in split(text):
        if asks:
            raise UserError(f"{' '.join(words)!r} is a question, which asks nothing of a clip; say what it shall show.")
        for noun in _nouns(sentences.statements(words)):
            wish = Description(
                shape=_one_of(SHAPES, noun.head),
                colour=_one_of(COLOURS, noun.colour),
                size=_one_of(SIZES, noun.size),
                material=_one_of(MATERIALS, noun.material),
            )
            if noun.determiner == "the" and any(_may_be(wish, one) for one in things):
                continue
            things += [wish] * (noun.determiner if isinstance(noun.determiner, int) else noun.determiner != "every")
    return Asked(things=tuple(things))


def _one_of(known: tuple[Word, ...], word: str | None) -> Word | None:
    """The word, if it is one of these; "thing" is no shape."""
    return next((one for one in known if one == word), None)


def _nouns(meaning: object) -> Iterator[Noun]:
    """Those that stand for things, in the order in which they are named."""
    if isinstance(meaning, Noun) and meaning.head in NOUNS:
        yield meaning
    parts = meaning if isinstance(meaning, tuple) else ()
    if is_dataclass(meaning):
        parts = tuple(getattr(meaning, part.name) for part in fields(meaning))
    for part in parts:
        yield from _nouns(part)


def _may_be(wish: Description, named: Description) -> bool:
    """Whether "the …" can stand for a thing that was named before."""
    pairs = ((getattr(wish, one.name), getattr(named, one.name)) for one in fields(Description))
    return all(said in (None, known) or known is None for said, known in pairs)
