"""What an answer follows from, said before it in the words of the telling.

A small model that writes down what it goes by (Nye et al. 2021, arXiv:2112.00114) has to look up one thing at a time,
and a person sees what its answer rests on.
"""

import re
from collections.abc import Iterable, Sequence

from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.tellings import Telling

_ADJECTIVES = [
    word
    for table in (lexicon.EXTREMES, lexicon.SIZES, lexicon.COLOURS, lexicon.MATERIALS)
    for words in table.values()
    for word in words
]
_NOUNS = [form for forms in lexicon.NOUNS.values() for form, _ in forms]
NAME = re.compile(rf"\bthe (?:(?:{'|'.join(_ADJECTIVES)}) )*(?:{'|'.join(_NOUNS)})\b")
"""A thing's name in a question."""
ZONE = re.compile(r"\bthe (\w+) zone\b")


def named(name: str, things: Sequence[Thing]) -> int:
    """The number of the thing that a generator's name fits; a superlative fits nothing here.

    Raises:
        StopIteration: none.
    """
    words = {*name.split()[1:]}
    return next(i for i, thing in enumerate(things) if words <= _words(thing))


def _words(thing: Thing) -> set[str]:
    """All that a thing can be called by."""
    surfaces = (lexicon.SIZES[thing.size], lexicon.COLOURS[thing.colour], lexicon.MATERIALS[thing.material])
    nouns = (forms[0] for shape in (thing.shape, "thing") for forms in lexicon.NOUNS[shape])
    return {*nouns, *(word for words in surfaces for word in words)}


def of(name: str, kind: str, value: str) -> str:
    """A sentence on a property or place; it names the thing again, so that a reader sees what was understood."""
    value = phrases.a(value) if kind == "shape" else f"made of {value}" if kind == "material" else value
    return f"{name} is {value}."


class Told:
    """A telling, quoted from."""

    def __init__(self, telling: Telling) -> None:
        self.telling, self.things = telling, telling.things

    def name(self, i: int) -> str:
        """The thing by colour and shape, as one names what nobody has named yet."""
        return f"the {self.things[i].colour} {self.things[i].shape}"

    def place(self, i: int) -> str:
        """Where the thing was said to be."""
        place = self.telling.places[i]
        if place.relation == "region":
            return lexicon.REGIONS[place.region][0]
        if place.relation == "in":
            return f"in the {self.telling.zones[place.other][0]} zone"
        return f"{place.relation} {self.name(place.other)}"

    def whereabouts(self, i: int, name: str = "") -> list[str]:
        """Where the thing is, and where that is."""
        place, found = self.telling.places[i], [of(name or self.name(i), "where", self.place(i))]
        if place.relation == "in":
            colour, region = self.telling.zones[place.other]
            found.append(of(f"the {colour} zone", "where", lexicon.REGIONS[region][0]))
        if place.relation in ("next to", "on"):
            found += self.whereabouts(place.other)
        return found

    def before(self, question: str, kind: str) -> list[str]:
        """What is to be said before the answer to a generator's question of a kind."""
        names = NAME.findall(question)
        if kind == "drawer":
            return [f"the drawer is {'open' if self.telling.drawer else 'closed'}."]
        if kind == "count":
            return self._counted(question)
        if kind in ("compared", "related") or " or " in question:
            shared = next((one for one in ("colour", "shape") if f"same {one}" in question), "size")
            found = []
            for name in names:
                i = named(name, self.things)
                if kind == "related":
                    found += self.whereabouts(i, name)[: 1 if ZONE.search(question) else None]
                else:
                    found.append(of(name, shared, getattr(self.things[i], shared)))
            return _once(found)
        if kind == "which" and names:
            others = [i for i in range(len(self.things)) if i != named(names[0], self.things)]
            whereabouts = [*self.whereabouts(named(names[0], self.things), names[0])]
            return _once([*whereabouts, *(one for i in others for one in self.whereabouts(i))])
        return self.ranked(question)

    def ranked(self, question: str) -> list[str]:
        """What makes a thing the largest or the leftmost of all; nothing where the question has no such word."""
        words = {*question.split()}
        by = next((how for how, forms in lexicon.EXTREMES.items() if words & {*forms}), "")
        if not by:
            return []
        if by in ("largest", "smallest"):
            return [of(self.name(i), "size", one.size) for i, one in enumerate(self.things)]
        return _once([one for i in range(len(self.things)) for one in self.whereabouts(i)])

    def _counted(self, question: str) -> list[str]:
        """The things that are to be counted."""
        zone = ZONE.search(question)
        words = {*ZONE.sub("", question).removesuffix("?").split()}
        sized = any(words & {*forms} for forms in lexicon.SIZES.values())
        found = [
            i
            for i, thing in enumerate(self.things)
            if all(
                not words & wanted or words & own
                for own, wanted in (
                    (_plurals(thing.shape), _plurals(*lexicon.NOUNS) - _plurals("thing")),
                    ({*lexicon.COLOURS[thing.colour]}, {*lexicon.COLOURS}),
                    ({*lexicon.SIZES[thing.size]}, {form for forms in lexicon.SIZES.values() for form in forms}),
                )
            )
            and (not zone or self.place(i) == f"in {zone[0]}")
        ]
        if not found:
            return []
        if zone:
            verb = "is" if len(found) == 1 else "are"
            return [f"{phrases.listed([self.name(i) for i in found])} {verb} in {zone[0]}."]
        sizes = [f"{self.things[i].size} " if sized else "" for i in found]
        listed = [phrases.a(f"{size}{self.name(i)[4:]}") for size, i in zip(sizes, found, strict=True)]
        return [f"there is {phrases.listed(listed)}."]


def _plurals(*shapes: str) -> set[str]:
    return {form for shape in shapes for _, form in lexicon.NOUNS[shape]}


def _once(sentences: Iterable[str]) -> list[str]:
    return [*dict.fromkeys(sentences)]
