"""False sentences about a state, each beside the true one from which it differs by a word or two.

False by construction: what is said instead contradicts the state as the generator's own look at it has it, from
velocities, contacts and the law that a clip shows. No reader of sentences is asked. Words are taken from what is there
where they can be: the colour is another thing's, the path is that of another deed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from maquette.worlds.scene.state import Clip, Scene, Thing
from maquette.worlds.scene.vocabulary import Law
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.captions import EVENTS, GOING
from maquette.worlds.scene.words.facts import Facts, Properties, pick
from maquette.worlds.scene.words.happenings import CREEPING, ROBOT, Deed, Happenings

Kind = Literal[
    "colour",
    "shape",
    "size",
    "material",
    "number",
    "place",
    "relation",
    "comparison",
    "verb",
    "path",
    "manner",
    "direction",
    "subject",
    "object",
    "order",
    "zone",
]
"""What is false about it."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_ON_ICE = ("roll", "fly", "fall", "rise", "bounce", "swing", "float", "sink")
NEVER: dict[Law, tuple[str, ...]] = {
    "inertia": (*_ON_ICE, "start", "stop", "rest"),
    "occlusion": (*_ON_ICE, "start", "stop", "rest"),
    "friction": (*_ON_ICE, "start", "rest", "speed up"),
    "elastic collision": _ON_ICE,
    "inelastic collision": _ON_ICE,
    "rolling": ("slide", "fly", "fall", "rise", "bounce", "swing", "float", "sink", "rest"),
    "parabola": ("bounce", "swing", "float", "sink", "start", "rest"),
    "bounce": ("roll", "swing", "float", "sink", "start", "rest"),
    "pendulum": ("roll", "slide", "fly", "fall", "bounce", "float", "sink", "rest"),
    "buoyancy": ("fly", "bounce", "swing", "rest"),
}
"""What those things never do that a law moves."""
CONTRADICTS: dict[str, tuple[str, ...]] = {
    "roll": ("through the air", "off the ground", "into the water", "to the surface", "on a rod"),
    "slide": ("through the air", "off the ground", "into the water", "to the surface", "on a rod"),
    "fly": ("along the ground", "down the ramp", "up the ramp", "in the water", "to the surface", "on a rod"),
    "fall": ("along the ground", "up the ramp", "off the ground", "to the surface", "on a rod"),
    "rise": ("along the ground", "to the ground", "down the ramp", "into the water", "on a rod"),
    "bounce": ("in the water", "to the surface", "on a rod"),
    "swing": ("along the ground", "down the ramp", "into the water", "to the surface"),
    "float": ("along the ground", "to the ground", "off the ground", "through the air", "on a rod"),
    "sink": ("along the ground", "through the air", "off the ground", "to the surface", "on a rod"),
}
"""Paths that a verb cannot take, whatever else the thing does."""
OPPOSITE = {"right": "left", "left": "right", "up": "down", "down": "up"}


@dataclass(frozen=True, kw_only=True)
class Falsehood:
    """Two sentences."""

    kind: Kind
    true: str
    false: str


def falsehoods(state: Scene | Clip, rng: np.random.Generator) -> Iterator[Falsehood]:
    """Every kind that a state allows, once or a few times each.

    Args:
        state: a still scene, or a clip, of which one also says what happens.
        rng: chooses things and words.
    """
    liar = Liar(state, rng)
    for lie in liar.lies:
        yield from lie()


class Liar:
    """Says of one state what is not so."""

    def __init__(self, state: Scene | Clip, rng: np.random.Generator) -> None:
        self.facts, self.rng, self.state = Facts(state), rng, state
        self.lies: list[Callable[[], Iterator[Falsehood]]] = [
            *(self.properties, self.numbers, self.places, self.relations, self.comparisons)
        ]
        if isinstance(state, Clip):
            self.happenings = Happenings(state)
            self.tracks = self.happenings.tracks
            self.law = state.law
            self.lies += [self.verbs, self.paths, self.manners, self.directions, self.subjects, self.objects]
            self.lies += [self.orders, self.zones]

    def the(self, i: int) -> str:
        """The name of a thing or the robot."""
        return f"the {phrases.fixture(self.rng, 'robot')}" if i == ROBOT else phrases.the(self.rng, self.facts, i)

    def pairs(self) -> list[tuple[int, int]]:
        """Two things with names, in any order."""
        named = self.facts.named
        return [(i, j) for i in named for j in named if i != j]

    # ---- how things are ----

    def properties(self) -> Iterator[Falsehood]:
        """A thing as another one is: its colour, shape, size or material."""
        for name in ("colour", "shape", "size", "material"):
            options = [(i, value) for i in self.facts.told for value in self._elsewhere(i, name)]
            if options:
                i, value = pick(self.rng, options)
                yield from self._there_is(i, name, value)
                yield from self._it_is(i, name, value)

    def _elsewhere(self, i: int, name: str) -> list[str]:
        """What other things have, and this one has not."""
        own = getattr(self.facts.things[i], name)
        return sorted({getattr(thing, name) for thing in self.facts.things} - {own})

    def _there_is(self, i: int, name: str, value: str) -> Iterator[Falsehood]:
        """There is such a thing."""
        things = self.facts.things
        changed = replace(things[i], **{name: value})  # pyrefly: ignore
        ways: list[Properties] = [("colour", "shape"), ("size", "colour", "shape"), ("colour", "material", "shape")]
        ways = [
            names
            for names in (*ways, phrases.FULL)
            if name in names and not _exists(things, {one: getattr(changed, one) for one in names})
        ]
        if ways:
            names = pick(self.rng, ways)
            one, other = (phrases.a(phrases.nominal(self.rng, thing, names)) for thing in (things[i], changed))
            yield self._pair(name, f"there is {one}", f"there is {other}")

    def _it_is(self, i: int, name: str, value: str) -> Iterator[Falsehood]:
        """The thing, named without it, has that property."""
        fitting = [names for names in self.facts.namings(i) if name not in names]
        if fitting:
            thing = self.facts.things[i]
            one = "the " + phrases.nominal(self.rng, thing, pick(self.rng, fitting))
            own, other = (self._said(name, each) for each in (getattr(thing, name), value))
            yield self._pair(name, f"{one} is {own}", f"{one} is {other}")

    def _said(self, name: str, value: str) -> str:
        if name == "shape":
            return phrases.a(phrases.noun(self.rng, value))
        table = {"colour": lexicon.COLOURS, "size": lexicon.SIZES, "material": lexicon.SUBSTANCES}[name]
        return ("made of " if name == "material" else "") + pick(self.rng, table[value])

    @staticmethod
    def _pair(kind: str, true: str, false: str) -> Falsehood:
        return Falsehood(kind=kind, true=f"{true}.", false=f"{false}.")  # pyrefly: ignore

    def numbers(self) -> Iterator[Falsehood]:
        """One more or one less than there are."""
        if not self.facts.counts or not self.facts.told:
            return
        shape = self.facts.things[pick(self.rng, self.facts.told)].shape
        for head, number in (("thing", len(self.facts.told)), (shape, len(self.facts.having(shape=shape)))):
            other = number + 1 if number == 1 or self.rng.random() < 0.5 else number - 1
            one, more = (
                f"there {'is' if n == 1 else 'are'} {phrases.counted(self.rng, n, pick(self.rng, lexicon.NOUNS[head]))}"
                for n in (number, other)
            )
            yield self._pair("number", one, more)

    def places(self) -> Iterator[Falsehood]:
        """A thing where it is not, at the start or at the end."""
        for end in (False, True) if self.facts.is_clip else (False,):
            where = self.facts.end if end else self.facts.start
            for i in self.facts.named[:2]:
                true = self.facts.regions(*where[i])
                false = [region for region in lexicon.REGIONS if self._is_elsewhere(where[i], region)]
                others = {region for j in self.facts.told if j != i for region in self.facts.regions(*where[j])}
                if true and false:
                    one, there = self.the(i), [region for region in false if region in others] or false
                    say = f"{one} ends" if end else f"{one} is"
                    words = (phrases.region(self.rng, pick(self.rng, regions)) for regions in (true, there))
                    yield self._pair("place", *(f"{say} {region}" for region in words))

    def _is_elsewhere(self, point: Sequence[float], region: str) -> bool:
        """Whether a point is clearly outside a region."""
        side, height = self.facts.side(point[0]), self.facts.height(point[1])
        return any(
            side not in (part, None) if part in ("left", "middle", "right") else height not in (part, None)
            for part in region.split()
        )

    def relations(self) -> Iterator[Falsehood]:
        """A thing stands otherwise to another one."""
        for i, j in self._some(self.pairs(), 3):
            found = self.facts.relations(i, j)
            true, false = ([name for name, so in found.items() if so == wanted] for wanted in (True, False))
            if true and false:
                one, other = self.the(i), self.the(j)
                words = (phrases.relation(self.rng, pick(self.rng, names)) for names in (true, false))
                yield self._pair("relation", *(f"{one} is {relation} {other}" for relation in words))

    def comparisons(self) -> Iterator[Falsehood]:
        """A thing is larger, or has the same colour, where that is not so."""
        for i, j in self._some(self.pairs(), 2):
            found = self.facts.compared(i, j)
            true, false = ([how for how, so in found.items() if so == wanted] for wanted in (True, False))
            if true and false:
                one, other = self.the(i), self.the(j)
                words = (pick(self.rng, lexicon.COMPARISONS[pick(self.rng, names)]) for names in (true, false))
                yield self._pair("comparison", *(f"{one} is {how} {other}" for how in words))

    def _some(self, pairs: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
        return [pairs[n] for n in self.rng.permutation(len(pairs))[:most]]

    # ---- what happens ----

    def deeds(self) -> list[Deed]:
        """What things with names and the robot do."""
        named = {*self.facts.named, ROBOT}
        return [deed for deed in self.happenings.deeds if deed.thing in named and deed.other in (*named, None)]

    def never(self, i: int) -> list[str]:
        """Verbs that are not true of a thing: of one that moves by its clip's law, otherwise by its track."""
        found = self.tracks.never(i)
        if self.tracks.moves(i) and self.law:
            done = {deed.verb for deed in self.happenings.of(i)}
            found = [*NEVER[self.law]]
            found += [verb for verb, other in (("float", "sink"), ("rise", "sink"), ("sink", "float")) if other in done]
        return sorted({*found})

    def act(self, deed: Deed, *, path: bool = False, manner: str | None = None, direction: bool = True) -> str:
        """A deed in words, with the names of who takes part in it."""
        if deed.verb == "open":
            return f"{self.the(deed.thing)} {phrases.verb(self.rng, 'open')} the drawer"
        other = self.the(deed.other) if deed.other is not None else ""
        said = phrases.doing(self.rng, deed, other, path=path, manner=manner, direction=direction)
        return f"{self.the(deed.thing)} {said}"

    def verbs(self) -> Iterator[Falsehood]:
        """A thing does what it does not do; if it can be, what another one does."""
        everybody = {deed.verb for deed in self.happenings.deeds}
        for deed in self.deeds():
            if deed.other is not None or deed.thing == ROBOT:
                continue
            never = self.never(deed.thing)
            for some in (never, [verb for verb in never if verb in everybody]):
                if some:
                    false = replace(deed, verb=pick(self.rng, some), path=None)
                    yield self._pair("verb", self.act(deed), self.act(false))

    def paths(self) -> Iterator[Falsehood]:
        """A thing does what it does, but elsewhere than that is done."""
        everywhere = {deed.path for deed in self.happenings.deeds}
        for deed in self.deeds():
            wrong = CONTRADICTS.get(deed.verb, ())
            for some in (wrong, [path for path in wrong if path in everywhere]):
                if some:
                    false = replace(deed, path=pick(self.rng, some))
                    true = self.act(deed, path=True, direction=False)
                    yield self._pair("path", true, self.act(false, path=True, direction=False))

    def manners(self) -> Iterator[Falsehood]:
        """Quickly what is done slowly."""
        for deed in self.deeds():
            how = self.tracks.pace(deed.thing, deed.steps) if deed.verb in GOING else None
            if how:
                other = "slowly" if how == "quickly" else "quickly"
                yield self._pair("manner", self.act(deed, manner=how), self.act(deed, manner=other))

    def directions(self) -> Iterator[Falsehood]:
        """The other way."""
        for deed in self.deeds():
            moved = deed.other if deed.thing == ROBOT else deed.thing
            other = OPPOSITE.get(deed.direction or "")
            if other and moved is not None and self.tracks.goes(moved, other) is False:
                yield self._pair("direction", self.act(deed), self.act(replace(deed, direction=other)))

    def subjects(self) -> Iterator[Falsehood]:
        """Another thing does it, or the one that it is done to does it to the doer."""
        for deed in self.deeds():
            others = [i for i in self.facts.named if i not in (deed.thing, deed.other)]
            if deed.other is None:
                others = [i for i in others if deed.verb in self.never(i)]
            else:
                others = [i for i in others if self._stands_still(i)]
                others += [deed.other] if self._only_suffers(deed) else []
            if others:
                i = pick(self.rng, others)
                false = replace(deed, thing=i, other=deed.thing if i == deed.other else deed.other, zone=None)
                yield self._pair("subject", self.act(deed), self.act(false))

    def _stands_still(self, i: int) -> bool:
        return self.tracks.moves(i) is False

    def _only_suffers(self, deed: Deed) -> bool:
        """Whether what something is done to does nothing of that kind itself."""
        i = deed.other
        if deed.verb == "push":
            return True
        until = round(deed.time / self.tracks.dt) + 1
        return deed.verb == "hit" and i is not None and bool(np.abs(self.tracks.velocity[:until, i]).max() <= CREEPING)

    def objects(self) -> Iterator[Falsehood]:
        """It is done to another thing, which nothing touches."""
        for deed in self.deeds():
            if deed.other is not None:
                others = [i for i in self.facts.named if i not in (deed.thing, deed.other) and self._stands_still(i)]
                if others:
                    false = replace(deed, other=pick(self.rng, others), zone=None)
                    yield self._pair("object", self.act(deed), self.act(false))

    def orders(self) -> Iterator[Falsehood]:
        """What happens later happens first."""
        deeds = [deed for deed in self.deeds() if deed.verb in EVENTS]
        for first in deeds:
            for second in deeds:
                if second.time - first.time >= lexicon.AFTER.yes:
                    one, other = self.act(first), self.act(second)
                    way = pick(self.rng, ("{1} after {0}", "after {0}, {1}", "{0} before {1}"))
                    yield self._pair("order", way.format(one, other), way.format(other, one))

    def zones(self) -> Iterator[Falsehood]:
        """It is brought to another zone."""
        for deed in self.deeds():
            if deed.zone and deed.other is not None:
                others = [zone for zone in self.facts.zones if self.facts.in_zone(deed.other, zone, end=True) is False]
                if others:
                    false = replace(deed, zone=pick(self.rng, others).colour)
                    yield self._pair("zone", self.act(deed), self.act(false))


# ---- in sentences that are there already ----

_HEADS = {form: (head, n) for head, forms in lexicon.NOUNS.items() for pair in forms for n, form in enumerate(pair)}
_ADJECTIVES = {
    word: (name, value)
    for name, table in lexicon.PROPERTIES.items()
    for value, words in table.items()
    for word in words
}
DENIALS = {"no", "not", "none", "zero"}
"""In their scope the false may be true."""


def misdescribed(sentence: str, state: Scene | Clip, rng: np.random.Generator) -> Iterator[Falsehood]:
    """A true sentence with one property of a thing changed to another's, so that it names what is not there."""
    words = sentence.rstrip(".").split()
    if DENIALS & {word.rstrip(",") for word in words}:
        return
    for place, marked in enumerate(words):
        noun = marked.rstrip(",")
        if noun not in _HEADS:
            continue
        head, plural = _HEADS[noun]
        first = place
        while first and words[first - 1] in _ADJECTIVES:
            first -= 1
        said = {_ADJECTIVES[words[n]][0]: (n, _ADJECTIVES[words[n]][1]) for n in range(first, place)}
        said |= {"shape": (place, head)} if head != "thing" else {}
        for name, (at, own) in said.items():
            true_of = {other: value for other, (_, value) in said.items()}
            false = [v for v in sorted({getattr(thing, name) for thing in state.things}) if v != own]
            false = [value for value in false if not _exists(state.things, true_of | {name: value})]
            if false:
                value = pick(rng, false)
                new = lexicon.NOUNS[value][0][plural] if name == "shape" else lexicon.PROPERTIES[name][value][0]
                changed = [*words[:at], new + ("," if words[at].endswith(",") else ""), *words[at + 1 :]]
                if first and changed[first - 1] in ("a", "an"):
                    changed[first - 1] = phrases.a(changed[first]).split()[0]
                yield Falsehood(kind=name, true=sentence, false=" ".join(changed) + ".")  # pyrefly: ignore


def _exists(things: Sequence[Thing], properties: dict[str, str]) -> bool:
    return any(all(getattr(thing, name) == value for name, value in properties.items()) for thing in things)
