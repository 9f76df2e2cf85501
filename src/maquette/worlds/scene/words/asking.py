"""Questions about how things are, each with its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maquette.worlds.scene.state import Clip, Scene, Thing
from maquette.worlds.scene.vocabulary import COLOURS, SHAPES
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.facts import Facts, pick


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one state."""

    text: str
    answer: str
    """In the lexicon's plain words, without a full stop."""
    kind: str
    """yes/no, colour, shape, size, material, count, where, which, way or happens."""
    about: tuple[tuple[int, str], ...] = ()
    """Of questions about how things are: the things that it names, or that are counted, each with what it calls it;
    what it asks for comes last."""

    def plainly_answered(self, things: Sequence[Thing]) -> "Question":
        """The same, where what it asks for is called by colour and shape, as one calls what nobody has named yet, if no
        other thing is called so."""
        if self.kind != "which" or self.answer in self.text:
            return self
        *beside, (i, _) = self.about
        called = [(one.colour, one.shape) for one in things]
        if called.count(called[i]) > 1:
            return self
        name = f"the {things[i].colour} {things[i].shape}"
        return replace(self, answer=name, about=(*beside, (i, name)))


class Asker:
    """Asks how things are, at the start of a clip."""

    def __init__(self, state: Scene | Clip, rng: np.random.Generator) -> None:
        self.facts, self.rng = Facts(state), rng
        self.kinds: tuple[Callable[[], Question | None], ...] = (
            *(self.exists, self.has, self.value, self.value, self.related, self.compared, self.count, self.where),
            *(self.which, self.which_of_two, self.between, self.scenery),
        )

    def the(self, i: int) -> str:
        """The thing's name."""
        return phrases.the(self.rng, self.facts, i)

    def some(self, among: Sequence[int] | None = None) -> int | None:
        """One of the things that have names."""
        named = self.facts.named if among is None else [i for i in self.facts.named if i in among]
        return pick(self.rng, named) if named else None

    def two(self) -> tuple[int, int] | None:
        """Two of the things that have names."""
        named = self.facts.named
        if len(named) < 2:
            return None
        i = pick(self.rng, named)
        return i, pick(self.rng, [j for j in named if j != i])

    @staticmethod
    def whether(text: str, holds: bool, *about: tuple[int, str]) -> Question:
        """A question to be answered with yes or no."""
        return Question(text=f"{text}?", answer="yes" if holds else "no", kind="yes/no", about=about)

    # ---- how things are ----

    def exists(self) -> Question | None:
        """Is there such a thing?"""
        facts, rng = self.facts, self.rng
        if rng.random() < 0.5 and facts.told:
            thing = facts.things[pick(rng, facts.told)]
            names = pick(rng, (("shape",), ("colour", "shape"), ("size", "shape"), ("size", "colour", "shape")))
            words, holds = phrases.nominal(rng, thing, names), True
        else:
            colour, shape = pick(rng, COLOURS), pick(rng, SHAPES)
            holds = any(thing.colour == colour and thing.shape == shape for thing in facts.things)
            if holds or facts.doubtful:
                return None
            words = f"{colour} {phrases.noun(rng, shape)}"
        return self.whether(f"{pick(rng, ('is there', 'is there', 'can you see'))} {phrases.a(words)}", holds)

    def unnamed(self, name: str) -> tuple[int, str] | None:
        """A thing, named without one of its properties."""
        i = self.some()
        if i is None:
            return None
        extremes = [] if self.facts.doubtful else self.facts.extremes(self.facts.told).items()
        superlatives = [which for which, one in extremes if one == i and (name != "size" or "most" in which)]
        if superlatives and self.rng.random() < 0.3:
            which = pick(self.rng, lexicon.EXTREMES[pick(self.rng, superlatives)])
            return i, f"the {which} {phrases.noun(self.rng, 'thing')}"
        fitting = [names for names in self.facts.namings(i) if name not in names]
        if not fitting:
            return None
        return i, "the " + phrases.nominal(self.rng, self.facts.things[i], pick(self.rng, fitting[:2]))

    def value(self) -> Question | None:
        """What colour, shape, size or material is it?"""
        kind = pick(self.rng, ("colour", "shape", "size", "material"))
        found = self.unnamed(kind)
        if found is None:
            return None
        i, one = found
        ways = [f"what {kind} is {one}", f"what is the {kind} of {one}"]
        if kind == "size":
            ways += [f"how big is {one}", f"how large is {one}"]
        if kind == "material":
            ways = [f"what is {one} made of", f"which material is {one}"]
        answer = getattr(self.facts.things[i], kind)
        return Question(text=f"{pick(self.rng, ways)}?", answer=answer, kind=kind, about=((i, one),))

    def has(self) -> Question | None:
        """Is it red?"""
        kind = pick(self.rng, ("colour", "shape", "size", "material"))
        found = self.unnamed(kind)
        if found is None:
            return None
        i, one = found
        table = {"colour": lexicon.COLOURS, "size": lexicon.SIZES, "material": lexicon.SUBSTANCES}
        value = getattr(self.facts.things[i], kind)
        asked = value if self.rng.random() < 0.5 else pick(self.rng, SHAPES if kind == "shape" else list(table[kind]))
        if kind == "shape":
            words = phrases.a(phrases.noun(self.rng, asked))
        else:
            words = ("made of " if kind == "material" else "") + pick(self.rng, table[kind][asked])
        return self.whether(f"is {one} {words}", asked == value, (i, one))

    def related(self) -> Question | None:
        """Is it left of the box, or in the zone?"""
        pair = self.two()
        if pair is None or (self.facts.zones and self.rng.random() < 0.5):
            return self.in_zone()
        relations = self.facts.relations(*pair)
        if not relations:
            return None
        wanted = self.rng.random() < 0.5
        names = [name for name, holds in relations.items() if holds == wanted] or list(relations)
        name = pick(self.rng, names)
        one, words, other = self.the(pair[0]), phrases.relation(self.rng, name), self.the(pair[1])
        return self.whether(f"is {one} {words} {other}", relations[name], (pair[0], one), (pair[1], other))

    def in_zone(self) -> Question | None:
        """Is it in the zone?"""
        i = self.some()
        if i is None or not self.facts.zones:
            return None
        mine = self.facts.zone_of(i)
        zone = mine if mine and self.rng.random() < 0.5 else pick(self.rng, self.facts.zones)
        holds = self.facts.in_zone(i, zone)
        if holds is None:
            return None
        name = self.the(i)
        return self.whether(f"is {name} in the {zone.colour} zone", holds, (i, name))

    def compared(self) -> Question | None:
        """Is it larger than the box?"""
        pair = self.two()
        if pair is None:
            return None
        how, holds = pick(self.rng, list(self.facts.compared(*pair).items()))
        words = pick(self.rng, lexicon.COMPARISONS[how])
        one, other = (self.the(i) for i in pair)
        return self.whether(f"is {one} {words} {other}", holds, (pair[0], one), (pair[1], other))

    def count(self) -> Question | None:
        """How many are there?"""
        facts, rng = self.facts, self.rng
        if not facts.counts:
            return None
        like = facts.things[pick(rng, facts.told)] if facts.told else None
        shape = pick(rng, (like.shape, pick(rng, SHAPES), None)) if like else None
        words = phrases.noun(rng, shape or "thing", plural=True)
        matching = facts.having(shape=shape)
        if facts.zones and rng.random() < 0.3:
            zone = pick(rng, facts.zones)
            inside = {i: facts.in_zone(i, zone) for i in matching}
            text = f"how many {words} are {pick(rng, lexicon.WITHIN['in'])} the {zone.colour} zone?"
            return None if None in inside.values() else self.number(text, [i for i in inside if inside[i]])
        if shape is None and like and rng.random() < 0.6:
            kind = pick(rng, ("colour", "size"))
            value = getattr(like, kind)
            matching = facts.having(**{kind: value})
            adjective = pick(rng, (lexicon.COLOURS if kind == "colour" else lexicon.SIZES)[value])
            text = pick(rng, (f"how many {adjective} {words} are there?", f"how many {words} are {adjective}?"))
            return self.number(text, matching)
        return self.number(f"how many {words} {pick(rng, ('are there', 'can you see'))}?", matching)

    def number(self, text: str, counted: Sequence[int]) -> Question:
        """A question to be answered with a number."""
        about = tuple((i, f"{self.facts.things[i].colour} {self.facts.things[i].shape}") for i in counted)
        return Question(text=text, answer=lexicon.NUMBERS[len(counted)], kind="count", about=about)

    def where(self) -> Question | None:
        """Where is it?"""
        i = self.some()
        if i is None:
            return None
        end = self.facts.is_clip and self.rng.random() < 0.5
        region = self.facts.region(*(self.facts.end if end else self.facts.start)[i])
        if region is None:
            return None
        name = self.the(i)
        asked = f"where is {name}{' at the end' if end else ''}?"
        return Question(text=asked, answer=lexicon.REGIONS[region][0], kind="where", about=((i, name),))

    def which(self) -> Question | None:
        """Which thing is left of the box?"""
        facts, j = self.facts, self.some()
        if j is None or facts.doubtful:
            return None
        if facts.zones and self.rng.random() < 0.4:
            zone = pick(self.rng, facts.zones)
            where, beside = f"in the {zone.colour} zone", ()
            holds = {i: facts.in_zone(i, zone) for i in facts.told}
        else:
            name = pick(self.rng, ("left of", "right of", "above", "below", "next to", "on"))
            other = self.the(j)
            where, beside = f"{phrases.relation(self.rng, name)} {other}", ((j, other),)
            holds = {i: facts.relations(i, j).get(name) for i in facts.told if i != j}
        fitting = [i for i, so in holds.items() if so]
        if len(fitting) != 1 or None in holds.values():
            return None
        return self.thing_asked(f"which {phrases.noun(self.rng, 'thing')} is {where}?", fitting[0], *beside)

    def thing_asked(self, text: str, i: int, *beside: tuple[int, str]) -> Question | None:
        """A question to be answered with the name of a thing; `beside` are others that the question names."""
        if not self.facts.namings(i):
            return None
        answer = self.the(i)
        return Question(text=text, answer=answer, kind="which", about=(*beside, (i, answer)))

    def which_of_two(self) -> Question | None:
        """Which is larger, this or that?"""
        pair = self.two()
        if pair is None:
            return None
        how = pick(self.rng, ("larger", "smaller"))
        larger = self.facts.compared(*pair)
        if not (larger["larger"] or larger["smaller"]):
            return None
        words = pick(self.rng, lexicon.COMPARISONS[how]).removesuffix(" than")
        one, other = (self.the(i) for i in pair)
        chosen = one if larger[how] else other
        about = ((pair[0], one), (pair[1], other))
        return Question(text=f"which is {words}, {one} or {other}?", answer=chosen, kind="which", about=about)

    def between(self) -> Question | None:
        """Is it between the box and the star?"""
        named = self.facts.named
        if len(named) < 3:
            return None
        i, j, k = (named[n] for n in self.rng.permutation(len(named))[:3])
        holds = self.facts.between(i, j, k)
        if holds is None:
            return None
        return self.whether(f"is {self.the(i)} between {self.the(j)} and {self.the(k)}", holds)

    def scenery(self) -> Question | None:
        """Is there a ramp, is the drawer open?"""
        if self.facts.state.view == "top":
            ajar = self.facts.ajar()
            if ajar is None:
                return None
            asked = pick(self.rng, ("open", "closed"))
            return self.whether(f"is the drawer {asked}", ajar == (asked == "open"))
        kind = pick(self.rng, ("ramp", "screen", "water"))
        holds = any(type(part).__name__.lower() == kind for part in self.facts.state.scenery)
        return self.whether(f"is there {'' if kind == 'water' else 'a '}{phrases.fixture(self.rng, kind)}", holds)
