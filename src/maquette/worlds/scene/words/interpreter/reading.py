"""From letters to noun phrases and places: the tokenizer and the lower half of a recursive-descent grammar."""

import difflib
import functools
import re
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.meaning import Noun, Place

Table = dict[str, list[tuple[list[str], str]]]
"""First word → phrases that begin with it, the longest first, and what they mean."""

Meaning = TypeVar("Meaning")


def table(surfaces: Iterable[tuple[str, str]]) -> Table:
    """From pairs of a phrase and its meaning."""
    found: Table = {}
    for phrase, meaning in surfaces:
        found.setdefault(phrase.split()[0], []).append((phrase.split(), meaning))
    for phrases in found.values():
        phrases.sort(key=lambda entry: -len(entry[0]))
    return found


def said_as(surfaces: lexicon.Surfaces) -> Table:
    """The table of a part of the lexicon."""
    return table((phrase, meaning) for meaning, phrases in surfaces.items() for phrase in phrases)


_NOUNS = {**lexicon.NOUNS, **lexicon.FIXTURES}
SINGULAR = table((one, head) for head, forms in _NOUNS.items() for one, _ in forms)
PLURAL = table((many, head) for head, forms in _NOUNS.items() for _, many in forms)
ADJECTIVES = {
    word: (name, value)
    for name, surfaces in lexicon.PROPERTIES.items()
    for value, words in surfaces.items()
    for word in words
}
"""Word → the property that it names, and its value."""
SUBSTANCES = table(
    (f"{of} {phrase}", material)
    for material, phrases in lexicon.SUBSTANCES.items()
    for phrase in phrases
    for of in ("of", "made of")
)
EXTREMES = said_as(lexicon.EXTREMES)
REGIONS = said_as(lexicon.REGIONS)
RELATIONS = said_as({**lexicon.RELATIONS, **{k: v for k, v in lexicon.WITHIN.items() if k != "on"}})
COUNTS = {word: n for words in (lexicon.NUMBERS, lexicon.DIGITS) for n, word in enumerate(words)} | {"no": 0, "none": 0}
DETERMINERS = table(
    [
        *(
            ("the", "the"),
            ("a", "a"),
            ("an", "a"),
            ("every", "every"),
            ("each", "every"),
            ("all", "all"),
            ("all the", "all"),
        ),
        *((word, word) for word in COUNTS),
    ]
)


_TOKEN = re.compile(r"[a-z]+|\d+|[.,?]")
_STRANGE = re.compile(r"[^A-Za-z\d\s.,?]")
_split = functools.cache(str.split)
LONGEST = 200
"""Words of a sentence: one that repeats itself for ever is none of the grammar's."""


def tokens(text: str) -> list[str]:
    """Words, numbers, full stops, commas and question marks.

    Raises:
        UserError: there is something else in the text, or it is none.
    """
    checks.kind("text", text, str)
    strange = _STRANGE.search(text)
    if strange:
        raise UserError(
            f"{strange.group()!r} in {text!r} is no letter, digit, full stop, comma or question mark; leave it out."
        )
    return _TOKEN.findall(text.lower())


def split(text: str) -> list[tuple[tuple[str, ...], bool]]:
    """The sentences of a text without their full stops, and whether each ends in a question mark.

    Raises:
        UserError: there is no sentence, or one of no words or of more than `LONGEST`.
    """
    found: list[tuple[tuple[str, ...], bool]] = []
    words: list[str] = []
    for word in tokens(text):
        if word in ".?":
            found.append((tuple(words), word == "?"))
            words = []
        else:
            words.append(word)
    if words:
        found.append((tuple(words), False))
    if not found or not all(words for words, _ in found):
        raise UserError(f"{text!r} has a sentence of no words; write one, and leave out doubled full stops.")
    if (longest := max(len(words) for words, _ in found)) > LONGEST:
        raise UserError(f"A sentence of {longest} words is too long to be read; write at most {LONGEST}.")
    return found


class Unreadable(Exception):
    """The grammar cannot go on."""


class Reader:
    """A sentence and how far it is read."""

    def __init__(self, words: list[str], *, listening: bool = False) -> None:
        self.words = words
        self.at = 0
        self.furthest = 0
        self.wanted: set[str] = set()
        """Words that could have stood at the furthest place; noted only when listening."""
        self.listening = listening

    @property
    def done(self) -> bool:
        """Whether every word is read."""
        return self.at == len(self.words)

    def accept(self, phrase: str) -> bool:
        """Go past these words if they come next."""
        want = _split(phrase)
        if self.at < len(self.words) and self.words[self.at] == want[0]:
            end = self.at + len(want)
            if self.words[self.at : end] == want:
                self.at = end
                return True
        if self.listening:
            self._note(want[0])
        return False

    def expect(self, *phrases: str) -> None:
        """Go past one of the phrases, or give up."""
        if not any(self.accept(phrase) for phrase in phrases):
            self.give_up()

    def one_of(self, phrases: Table) -> str | None:
        """Go past the longest phrase of the table that comes next; its meaning."""
        if self.at < len(self.words):
            for want, meaning in phrases.get(self.words[self.at], ()):
                if len(want) == 1 or self.words[self.at : self.at + len(want)] == want:
                    self.at += len(want)
                    return meaning
        self.miss(phrases)
        return None

    def miss(self, words: Iterable[str]) -> None:
        """Note, when listening, words that could have come next."""
        if self.listening:
            self._note(*words)

    def attempt(self, part: Callable[["Reader"], Meaning | None]) -> Meaning | None:
        """What the part of grammar reads; where it cannot, None and nothing read."""
        start = self.at
        try:
            found = part(self)
        except Unreadable:
            found = None
        if found is None:
            self.furthest = max(self.furthest, self.at)
            self.at = start
        return found

    def must(self, part: Callable[["Reader"], Meaning | None]) -> Meaning:
        """What the part of grammar reads, or give up."""
        found = part(self)
        if found is None:
            self.give_up()
        return found

    def give_up(self) -> NoReturn:
        """Raise `Unreadable`."""
        self.furthest = max(self.furthest, self.at)
        raise Unreadable

    def _note(self, *words: str) -> None:
        if self.at > self.furthest:
            self.furthest, self.wanted = self.at, set()
        if self.at == self.furthest:
            self.wanted.update(words)


def read(words: list[str], part: Callable[[Reader], Meaning | None]) -> Meaning:
    """What the part of grammar makes of all the words.

    Raises:
        UserError: a word cannot be read; names the first.
    """
    for listening in (False, True):
        reader = Reader(words, listening=listening)
        try:
            found = part(reader)
            if found is not None and reader.done:
                return found
        except Unreadable:
            pass
    place = max(reader.furthest, reader.at)
    whole = " ".join(words)
    if place >= len(words):
        raise UserError(f"{whole!r} ends too early; next could come {_some(reader.wanted)}.")
    word = words[place]
    if word in lexicon.WORDS:
        raise UserError(
            f"{word!r}, word {place + 1} of {whole!r}, cannot stand there; "
            f"{'next could come ' + _some(reader.wanted) if reader.wanted else 'end the sentence before it'}."
        )
    near = difflib.get_close_matches(word, reader.wanted, n=1, cutoff=0.65)
    colours = (
        f"the colours are {', '.join(lexicon.COLOURS)}"
        if "red" in reader.wanted
        else f"next could come {_some(reader.wanted)}"
    )
    raise UserError(
        f"{word!r}, word {place + 1} of {whole!r}, is not a word I know; "
        f"{f'did you mean {near[0]!r}?' if near else f'{colours}.'}"
    )


def _some(wanted: set[str]) -> str:
    words = sorted(wanted)
    return ", ".join(words[:12]) + (", …" if len(words) > 12 else "") if words else "nothing"


def noun(reader: Reader) -> Noun | None:
    """A noun phrase with the places that follow it."""
    return _noun(reader, places=True)


def bare_noun(reader: Reader) -> Noun | None:
    """A noun phrase up to its noun."""
    return _noun(reader, places=False)


def nouns(reader: Reader) -> tuple[Noun, ...] | None:
    """ "a ball, two boxes and a star"."""
    first = noun(reader)
    if first is None:
        return None
    found = [first]
    while True:
        start = reader.at
        if not (reader.accept(", and") or reader.accept(",") or reader.accept("and")):
            return tuple(found)
        more = reader.attempt(noun)
        if more is None:
            reader.at = start
            return tuple(found)
        found.append(more)


def unknown(reader: Reader) -> Noun | None:
    """ "red ball", after "which" or "how many"."""
    return _noun(reader, places=False, determiner="which")


def place(reader: Reader) -> Place | None:
    """ "on the left", "left of the box", "between the box and the star", "in the water"."""
    if region := reader.one_of(REGIONS):
        return Place(relation="region", region=region)
    if reader.accept("between"):
        one = reader.must(bare_noun)
        reader.expect("and")
        return Place(relation="between", nouns=(one, reader.must(bare_noun)))
    relation = reader.one_of(RELATIONS)
    return Place(relation=relation, nouns=(reader.must(noun),)) if relation else None


def properties(reader: Reader) -> dict[str, str]:
    """Colours, sizes and materials as adjectives, in any order."""
    said: dict[str, str] = {}
    while reader.at < len(reader.words) and (found := ADJECTIVES.get(reader.words[reader.at])):
        name, value = found
        if name in said:
            raise UserError(f"A thing has one {name}, not both {said[name]!r} and {value!r}; leave one out.")
        said[name] = value
        reader.at += 1
    reader.miss(ADJECTIVES)
    return said


def _noun(reader: Reader, *, places: bool, determiner: str | int | None = None) -> Noun | None:
    start = reader.at
    if determiner is None:
        if reader.accept("it"):
            return Noun(head="it", determiner="it", text="it")
        determiner = reader.one_of(DETERMINERS)
    if determiner in COUNTS:
        determiner = COUNTS[determiner]
    extreme = reader.one_of(EXTREMES)
    said = properties(reader)
    head = reader.one_of(SINGULAR) if determiner not in (None, "all") else None
    if head is None and determiner not in ("a", "every", 1):
        head = reader.one_of(PLURAL)
        determiner = "every" if head and determiner in ("the", "all", None) else determiner
    if head is None:
        if reader.at > start:
            reader.give_up()
        return None
    substance = reader.one_of(SUBSTANCES) if places else None
    if substance:
        if "material" in said:
            raise UserError(
                f"A thing has one material, not both {said['material']!r} and {substance!r}; leave one out."
            )
        said["material"] = substance
    text = " ".join(reader.words[start : reader.at])
    where: list[Place] = []
    while places and (found := reader.attempt(place)):
        where.append(found)
    return Noun(
        head=head,
        determiner="every" if determiner is None else determiner,
        text=text,
        extreme=extreme,
        places=tuple(where),
        colour=said.get("colour"),
        size=said.get("size"),
        material=said.get("material"),
    )
