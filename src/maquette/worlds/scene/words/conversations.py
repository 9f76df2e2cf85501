"""Conversations about a table top that only words show: it is told, then asked about, and what is said wrong put right.

A question is asked only if its answer follows from what was told: it is the same in other scenes of which the same is
told. Replies are the generator's own; `is_right` leaves the judging of anyone's replies to the interpreter.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from maquette.core.english import listed
from maquette.core.errors import UserError
from maquette.worlds.scene.state import Scene, Thing
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, SIZES, is_held_out
from maquette.worlds.scene.words import interpreter, lexicon, phrases
from maquette.worlds.scene.words.asking import Asker, Question
from maquette.worlds.scene.words.facts import pick
from maquette.worlds.scene.words.tellings import Telling, draw_telling, scene_of, tell

PROPERTIES: dict[str, tuple[str, ...]] = {"colour": COLOURS, "size": SIZES, "material": MATERIALS, "shape": SHAPES}
OTHERS = 15
"""Scenes of which the same is told that have to agree on an answer."""
PLACED = re.compile(
    r"\b(where|between|leftmost|rightmost|"
    + "|".join(words for table in (lexicon.RELATIONS, lexicon.WITHIN) for group in table.values() for words in group)
    + r")\b"
)
"""What a question holds that is about places; in all else scenes of which the same is told are alike."""
TRIES = 8
"""Questions of a kind that are drawn for one that will do."""
YES_OR_NO = {"scenery": "drawer", "in_zone": "related", "between": "related"} | {
    kind: kind for kind in ("exists", "related", "compared")
}
"""Kinds of turns by who asks for yes or no."""
GREETINGS = ("hello", "hi", "good morning")
OFFER = "hello. tell me what is on the table."
TALK = (
    ("thank you.", "you are welcome."),
    ("thanks.", "you are welcome."),
    ("good bye.", "good bye."),
    ("who are you?", "a small model. tell me what is on a table, then ask me about it."),
    ("what can you do?", "tell me what is on a table, then ask me about it."),
)
"""What may be said at any time, with its reply."""
SO = ", so "
"""Between what a reply remembers first and what follows from it."""
UNMARKED = 0.2
"""Share of what is said that lacks the mark at its end, as much does that people type."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What the person says, and what is to be said back."""

    said: str
    reply: str
    kind: str
    """exists, has, colour, shape, size, material, related, compared, count, where, which, drawer, it, about,
    listing, claim, absent, telling or talk."""
    check: str = ""
    """The question, complete in itself, that the reply has to answer; empty for talk, which nothing can judge."""
    answer: str = ""
    """What the reply comes down to: "yes" or "small"; to tell which answer is the commonest."""

    @property
    def is_new(self) -> bool:
        """Whether a combination that training never shows is named in it."""
        return not all(_is_usual(text) for text in (self.check, *self.reply.split(SO)) if text)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A scene, what is told of it, and turns about it."""

    scene: Scene
    told: tuple[str, ...]
    """What is told with each thing."""
    retold: tuple[str, ...]
    """What is said back of each thing: the same, always in one form."""
    order: tuple[int, ...]
    """In which things are told back: not as they were told, so that each has to be found by its name."""
    turns: tuple[Turn, ...]

    @property
    def telling(self) -> str:
        """All that is told of the scene."""
        return " ".join(self.told)

    @property
    def opening(self) -> Turn:
        """The telling, and in reply what was understood."""
        return self._understood(0, len(self.told))

    def opened(self, things: int) -> tuple[Turn, Turn]:
        """The telling in two parts, so many things in the first; each is said back."""
        return self._understood(0, things), self._understood(things, len(self.told))

    def _understood(self, first: int, end: int) -> Turn:
        """What is told of some of the things, and said back."""
        retold = [self.retold[i] for i in self.order if first <= i < end]
        return Turn(said=" ".join(self.told[first:end]), reply=" ".join(retold), kind="telling")


def draw_conversation(rng: np.random.Generator, turns: int, *, held_out: bool) -> Conversation:
    """So many turns about a scene.

    With `held_out` some thing in it is a combination that training never sees; without, no sentence holds one.
    """
    while True:
        telling = draw_telling(rng, held_out=held_out)
        told = tell(telling, rng)
        if (held_out or _is_usual(" ".join(told))) and (scenes := _scenes(telling, rng)):
            break
    speaker = _Speaker(telling, scenes, rng, held_out)
    said: list[Turn] = []
    while len(said) < turns:
        said += [replace(one, said=one.said[:-1]) if rng.random() < UNMARKED else one for one in speaker.some()]
    retold = tuple(speaker.retold(i) for i in range(len(scenes[0].things)))
    order = tuple(int(i) for i in rng.permutation(len(retold)))
    return Conversation(scene=scenes[0], told=told, retold=retold, order=order, turns=tuple(said[:turns]))


def _scenes(telling: Telling, rng: np.random.Generator) -> list[Scene]:
    """Scenes of which just this is told; none where one could not be found."""
    found: list[Scene] = []
    while len(found) <= OTHERS:
        scene = scene_of(telling, rng)
        if scene is None:
            return []
        found.append(scene)
    return found


def deciding(region: str, question: str) -> str:
    """As much of a corner's name as a question depends on: its height, its side, or both."""
    height, _, side = region.partition(" ")
    for word, relations in ((height, ("above", "below")), (side, ("left of", "right of"))):
        if side and any(words in question for name in relations for words in lexicon.RELATIONS[name]):
            return word
    return region


def is_right(turn: Turn, reply: str, scene: Scene) -> bool:
    """Whether the interpreter finds that a reply answers what was said; what it cannot read is wrong.

    Who asks whether, or claims, that a thing has a property is to hear which one it has, so yes or no; a listing, all
    about a thing, and what is said back to a telling must leave nothing out. What a reply says on the way to its answer
    has to be true too, and with counts to the point.
    """
    thought, so, answer = reply.rpartition(SO)
    if so and not _is_so(thought, scene):
        return False
    if turn.kind in ("has", "claim"):
        return answer == f"{turn.answer.partition(',')[0]}." and _answers(turn.check, thought, scene)
    if turn.kind == "listing":
        return _lists(reply, len(scene.things), turn.reply) and _is_so(reply, scene)
    if turn.kind == "telling":
        said = [f"{sentence}." for sentence in reply.removesuffix(".").split(". ")]
        names = [f"the {one.colour} {one.shape}" for one in scene.things]
        told = [any(_describes(one, name, "where is {}?", scene) for one in said) for name in names]
        return all(told) and len(said) == len(names) and _is_so(reply, scene)
    if turn.kind == "about":
        name = _subject(turn.check)
        return _describes(reply, name, "what colour is {}?", scene)
    if turn.kind == "count" and so:
        count = lexicon.NUMBERS.index(turn.answer)
        return _lists(thought, count, turn.reply.rpartition(SO)[0]) and _answers(turn.check, answer, scene)
    return _answers(turn.check, answer, scene)


def _is_so(text: str, scene: Scene) -> bool:
    try:
        return interpreter.is_true(text, scene)
    except UserError:
        return False


def _lists(text: str, count: int, like: str) -> bool:
    """Whether a text names so many things, and the same by colour and shape as another does."""
    try:
        same = interpreter.combinations(text) == interpreter.combinations(like)
    except UserError:
        return False
    return same and len(re.split(r", | and |\. ", text)) == count


def _describes(text: str, name: str, other: str, scene: Scene) -> bool:
    """Whether a sentence says of a thing how large it is, of what, and what another question asks."""
    checks = ("what size is {}?", "what is {} made of?", other)
    return all(_answers(check.format(name), text, scene) for check in checks)


def _answers(question: str, reply: str, scene: Scene) -> bool:
    try:
        return interpreter.is_answer(question, reply, scene)
    except UserError:
        return False


@functools.lru_cache(maxsize=2**14)
def _is_usual(text: str) -> bool:
    """Whether a text holds no combination that is kept for tests."""
    return not any(is_held_out(*pair) for pair in interpreter.combinations(text))


def _subject(question: str) -> str:
    """The thing that a question about one thing names."""
    return question[question.rindex("the ") :].removesuffix("?").removesuffix(" made of")


class _Speaker:
    """Draws what a person says about a telling, and the replies."""

    def __init__(self, telling: Telling, scenes: list[Scene], rng: np.random.Generator, held_out: bool) -> None:
        self.telling, self.scene, self.rng, self.held_out = telling, scenes[0], rng, held_out
        self.world, *self.others = [interpreter.World(scene) for scene in scenes]
        self.asker = ask = Asker(scenes[0], rng)
        asks = (ask.exists, ask.related, ask.related, ask.compared, ask.count, ask.count, ask.where, ask.which)
        asks = (*asks, ask.which_of_two, ask.between, ask.value, ask.value, ask.value)
        drawer = (ask.scenery,) if telling.drawer is not None else ()
        asks = (*asks, *drawer)
        if not held_out:  # what is learned last is asked more often in training, and not in examinations
            asks = (*asks, *drawer, *drawer, ask.exists, ask.which, ask.which, ask.related, ask.related, ask.related)
            asks = (*asks, ask.value, ask.value)
        self.kinds: tuple[Callable[[], list[Turn]], ...] = (
            *((lambda one=one: self.asked(one)) for one in asks),
            *(self.about, self.about, self.about, self.follow_up, self.follow_up),
            *(self.whether, self.whether, self.whether, self.absent, self.listing),
        )

    def some(self) -> list[Turn]:
        """A turn, or two that belong together; none where the draw fails."""
        if self.rng.random() < 0.02:
            said, reply = pick(self.rng, TALK)
            return [Turn(said=said, reply=reply, kind="talk")]
        turns = pick(self.rng, self.kinds)()
        fine = self.held_out or all(_is_usual(turn.check) for turn in turns)
        return turns if fine and all(self.is_settled(turn.check) for turn in turns) else []

    def is_settled(self, question: str) -> bool:
        """Whether every scene of which the same is told gives the same answer."""
        others = self.others if PLACED.search(question) else []
        try:
            answer = interpreter.answer(question, self.world)
            return all(interpreter.answer(question, other) == answer for other in others)
        except UserError:
            return False

    def asked(self, ask: Callable[[], Question | None]) -> list[Turn]:
        """A question of the asker's; "yes" and "no" come equally often where both can be."""
        wanted = "yes" if self.rng.random() < 0.5 else "no"
        for _ in range(TRIES):
            question = ask()
            if question is None or (question.kind == "yes/no" and question.answer != wanted):
                continue
            question = question.plainly_answered(self.scene.things)
            kind, answer = question.kind, question.answer
            if kind == "yes/no":
                kind = YES_OR_NO[ask.__name__]
            whole = kind in (*PROPERTIES, "where")
            reply = self.of(_subject(question.text), kind, answer) if whole else f"{self.thought(question)}{answer}."
            return [Turn(said=question.text, reply=reply, kind=kind, check=question.text, answer=answer)]
        return []

    def thought(self, question: Question) -> str:
        """What to remember of the things before the answer follows from it, as "let's think step by step" has models do
        (Kojima et al. 2022, arXiv:2205.11916): what is compared, where they are, what is counted; else nothing. Of a
        place it tells what decides: its height where the question is about above and below.
        """
        if self.telling.drawer is not None and "drawer" in question.text:
            return f"the drawer is {'open' if self.telling.drawer else 'closed'}{SO}"
        if not question.about:
            return ""
        if question.kind == "count":
            return f"there is {listed([phrases.a(name) for _, name in question.about])}{SO}"
        placed = bool(PLACED.search(question.text))
        kind = next((kind for kind in ("colour", "shape") if kind in question.text), "size")
        things = self.scene.things
        remembered = [
            f"{name} is {self.place(i, question.text)}"
            if placed
            else self.of(name, kind, getattr(things[i], kind)).removesuffix(".")
            for i, name in question.about
        ]
        return f"{listed(remembered)}{SO}"

    def place(self, i: int, asked: str = "") -> str:
        """Where a thing was said to be, as far as it matters to what is asked, if anything is."""
        place = self.telling.places[i]
        if place.relation == "region":
            return lexicon.REGIONS[deciding(place.region, asked)][0]
        if place.relation == "in":
            return f"in the {self.telling.zones[place.other][0]} zone"
        other = self.telling.things[place.other]
        return f"{lexicon.RELATIONS[place.relation][0]} the {other.colour} {other.shape}"

    def retold(self, i: int) -> str:
        """All that was told of a thing, from its name to its place."""
        thing = self.scene.things[i]
        like = listed([thing.size, f"made of {thing.material}", self.place(i)])
        return f"the {thing.colour} {thing.shape} is {like}."

    @staticmethod
    def of(name: str, kind: str, value: str) -> str:
        """A sentence on a property or place; it names the thing again, so that a reader sees what was understood."""
        value = phrases.a(value) if kind == "shape" else f"made of {value}" if kind == "material" else value
        return f"{name} is {value}."

    def one(self) -> tuple[str, Thing]:
        """A thing and a name for it."""
        i = int(len(self.scene.things) * self.rng.random())
        return self.asker.the(i), self.scene.things[i]

    def follow_up(self) -> list[Turn]:
        """Where a thing is, or what it is like; then more of "it"."""
        name, thing = self.one()
        first, second = (pick(self.rng, ("where", "colour", "size", "material", "shape")) for _ in range(2))
        if first == second or any(getattr(thing, kind, "?") in name for kind in (first, second)):
            return []
        turns = []
        for kind, one in ((first, name), (second, "it")):
            opener = {"where": "where is", "material": "what is"}.get(kind, f"what {kind} is")
            ending = " made of?" if kind == "material" else "?"
            check = f"{opener} {name}{ending}"
            try:
                answer = interpreter.answer(check, self.scene)
            except UserError:
                return []
            reply = self.of(name, kind, answer)
            kind = "it" if one == "it" else kind
            turns.append(Turn(said=f"{opener} {one}{ending}", reply=reply, kind=kind, check=check, answer=answer))
        return turns

    def listing(self) -> list[Turn]:
        """All that there is."""
        said = pick(self.rng, ("what is there?", "what is on the table?"))
        names = [phrases.a(f"{one.colour} {one.shape}") for one in self.scene.things]
        listing = f"there is {listed(names)}."
        return [Turn(said=said, reply=listing, kind="listing", check="how many things are there?", answer=listing)]

    def about(self) -> list[Turn]:
        """All that a thing is."""
        name, thing = self.one()
        said = pick(self.rng, (f"what is {name} like?", f"tell me about {name}."))
        answer = f"{thing.size}, {thing.colour} and made of {thing.material}"
        check = f"what size is {name}?"
        return [Turn(said=said, reply=f"{name} is {answer}.", kind="about", check=check, answer=answer)]

    def whether(self) -> list[Turn]:
        """A property that a thing has or has not, asked after or claimed."""
        kind = pick(self.rng, list(PROPERTIES))
        found = self.asker.unnamed(kind)
        if found is None:
            return []
        i, name = found
        value = said = getattr(self.scene.things[i], kind)
        word = "yes" if self.rng.random() < 0.5 else "no"
        if word == "no":
            said = pick(self.rng, [one for one in PROPERTIES[kind] if one != value])
        supposed = replace(self.scene.things[i], **{kind: said})
        if not self.held_out and is_held_out(supposed.colour, supposed.shape):
            return []
        claim = self.of(name, kind, said)
        asked = f"is {name} {claim.removeprefix(f'{name} is ').removesuffix('.')}?"
        check = f"what is {name} made of?" if kind == "material" else f"what {kind} is {name}?"
        reply = f"{self.of(name, kind, value).removesuffix('.')}{SO}{word}."
        answer = word if word == "yes" else f"{word}, {value}"
        if self.rng.random() < 0.5:
            return [Turn(said=claim, reply=reply, kind="claim", check=check, answer=answer)]
        return [Turn(said=asked, reply=reply, kind="has", check=check, answer=answer)]

    def absent(self) -> list[Turn]:
        """A question about what is not there, or could be several things: the reply says how many there are."""
        shape = pick(self.rng, SHAPES)
        count = sum(thing.shape == shape for thing in self.scene.things)
        if count == 1:
            return []
        noun, nouns = lexicon.NOUNS[shape][0]
        said = pick(self.rng, (f"what colour is the {noun}?", f"where is the {noun}?", f"what size is the {noun}?"))
        reply = f"there are {lexicon.NUMBERS[count]} {nouns}." if count else f"there is no {noun}."
        return [Turn(said=said, reply=reply, kind="absent", check=f"how many {nouns} are there?", answer=str(count))]
