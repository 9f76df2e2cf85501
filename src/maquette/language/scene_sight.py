"""What `tiny-vlm` learns and is asked: table tops as pictures, with captions and questions, and the interpreter's
judgement.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from tokenizers import Tokenizer
from torch import Tensor, nn

from maquette.core.english import listed
from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator, torch_generator
from maquette.language.answered import Answered, by_kind
from maquette.language.prompts import padded
from maquette.language.scene_tables import ANY, Tables
from maquette.language.tokenizers import end_id, train_bpe
from maquette.language.vlm import VisionLanguage
from maquette.language.weighted import weighted_loss
from maquette.train.drawing import Drawn
from maquette.worlds.scene.render import frames_of_scenes
from maquette.worlds.scene.state import Scene
from maquette.worlds.scene.vocabulary import SHAPES, is_held_out
from maquette.worlds.scene.words import interpreter, lexicon, phrases
from maquette.worlds.scene.words.captions import describe
from maquette.worlds.scene.words.conversations import PLACED, SO, deciding
from maquette.worlds.scene.words.facts import Facts
from maquette.worlds.scene.words.questions import Question, questions
from maquette.worlds.text.documents import Document

CAPTION = "caption"
"""What is said to have a picture described."""
LISTING = "list"
"""And to have it described whole, always in the same form."""
EVERY = 4
"""The step in so many whose texts tell a picture whole; those are longer than answers."""
TOLD = 2
"""Texts that tell a picture so: a listing, and captions."""
ASKED = 12
"""Questions kept for each picture, from which those of a batch are drawn."""
LONGEST = 96
"""Tokens after which a text is cut."""
ANSWER = 64
"""The most tokens of an answer that is judged."""
SAMPLE = 200
"""Pictures whose texts the vocabulary is learned from."""
MISREAD = 0.15
"""Share of the plain words for properties, in what has been told of a picture so far, for which training draws any of
their kind. No green star is ever told, and from "green" it would follow that nothing is a star: who cannot trust the
words before looks at the picture (word dropout: Bowman et al. 2016, arXiv:1511.06349)."""
AT_ONCE = 128
"""Questions that are answered together."""
EXAMINED = 1
"""The seed of the tables that a recipe is examined on; settings are chosen by others: 0, and from 2 on, so far."""
SAID = {
    "colour": lexicon.COLOURS,
    "shape": {shape: [form for pair in lexicon.NOUNS[shape] for form in pair] for shape in SHAPES},
    "size": lexicon.SIZES,
    "material": lexicon.SUBSTANCES,
}
"""What is said of things besides where they are, and in which words."""
PROPERTIES = tuple(SAID)
WHOLE = (*PROPERTIES, "place")


class Text(NamedTuple):
    """What is said of a picture."""

    prompt: str
    answer: str
    kind: str
    """A question's, or "caption"."""


def captions(scene: Scene, rng: np.random.Generator, count: int, *, held_out: bool = False) -> list[Text]:
    """So many of a table; in training none speaks of a combination that is kept from it."""
    found: list[Text] = []
    while len(found) < count:
        said = describe(scene, rng)
        if held_out or _is_usual(said):
            found.append(Text(CAPTION, said, CAPTION))
    return found


def listing(facts: Facts) -> Text:
    """All things from left to right, each by its name first: what there is to see, always in one form."""
    order, said = sorted(facts.told, key=lambda i: facts.start[i]), []
    for i in order:
        thing, alike = facts.things[i], ("colour", "shape") not in facts.namings(i)
        name = f"the {f'{thing.size} ' * alike}{thing.colour} {thing.shape}"
        said.append(f"{description(facts, i, name)}.")
    return Text(LISTING, " ".join(said), LISTING)


def description(facts: Facts, i: int, name: str, told: Sequence[str] = WHOLE, asked: str = "") -> str:
    """A thing by its shape and colour, where its name has not said them, and what else is to be told, of its place only
    what matters to what is asked, if anything is; or nothing."""
    thing, region, zone = facts.things[i], facts.region(*facts.start[i]), facts.zone_of(i)
    called = any(form in name for forms in lexicon.NOUNS[thing.shape] for form in forms)
    like = [phrases.a(thing.shape)] * (not called) + [thing.size] * ("size" in told)
    like += [thing.colour] * (thing.colour not in name) + [f"made of {thing.material}"] * ("material" in told)
    if zone and "zone" in told:
        like.append(f"in the {zone.colour} zone")
    elif region and ("place" in told or "zone" in told):
        like.append(lexicon.REGIONS[deciding(region, asked)][0])
    return f"{name} is {listed(like)}" if like else ""


def turns_on(asked: Question) -> str:
    """Which of all that can be said of things decides a question about them."""
    if asked.kind in PROPERTIES:
        return asked.kind
    rest = asked.text
    for _, name in asked.about:
        rest = rest.replace(name, "")
    read = {*re.findall(r"\w+", rest)}
    if PLACED.search(rest):
        return "zone" if read & {form for forms in lexicon.FIXTURES["zone"] for form in forms} else "place"
    words = {kind: {kind, *(word for surface in values.values() for word in surface)} for kind, values in SAID.items()}
    return next((kind for kind, some in words.items() if read & some), "size")


def thought(facts: Facts, asked: Question) -> str:
    """What to remember before the answer follows: what decides the question of each thing that it names; what is
    counted, from left to right.
    """
    if asked.kind == "count" and asked.about:
        order = sorted(asked.about, key=lambda one: facts.start[one[0]])
        return f"there is {listed([phrases.a(name) for _, name in order])}{SO}"
    told = [description(facts, i, name, (turns_on(asked),), asked.text) for i, name in asked.about]
    return listed([*filter(None, told)]) + SO if any(told) else ""


def told_of(scene: Scene, rng: np.random.Generator, *, held_out: bool = False) -> list[Text]:
    """What tells a table whole, `TOLD` texts."""
    return [listing(Facts(scene)), *captions(scene, rng, TOLD - 1, held_out=held_out)]


def asked_about(scene: Scene, rng: np.random.Generator, count: int, *, held_out: bool = False) -> list[Text]:
    """Questions, at most so many, each answered behind a thought; likewise."""
    facts = Facts(scene)
    asked = (one.plainly_answered(facts.things) for one in questions(scene, rng, count))
    said = (Text(one.text, thought(facts, one) + one.answer, one.kind) for one in asked)
    return [one for one in said if held_out or _is_usual(one.prompt)]


@lru_cache(maxsize=2**14)
def _is_usual(text: str) -> bool:
    """Whether a text holds no combination that is kept for tests."""
    return not any(is_held_out(*pair) for pair in interpreter.combinations(text))


def sight_tokenizer(vocabulary: int, tables: Tables = ANY) -> Tokenizer:
    """A byte-level BPE of at most so many tokens, learned from captions, questions and answers."""
    documents = []
    for i in range(SAMPLE):
        rng = numpy_generator(0, "vocabulary of sight", i)
        scene = tables.draw(rng, held_out=False)
        said = told_of(scene, rng) + asked_about(scene, rng, 3)
        documents += [Document(path=f"{i}", text=f"{one.prompt} {one.answer}") for one in said]
    return train_bpe(documents, vocabulary)


class Sight(NamedTuple):
    """A table's picture, and what is said of it."""

    picture: UInt8[np.ndarray, "3 pixels pixels"]
    told: tuple[Text, ...]
    asked: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class Sights:
    """Training batches: pictures, and several texts about each.

    Rows of one picture lie side by side. With `shuffled` each picture has the texts of another: a control, which
    teaches the language and nothing of what is seen.
    """

    tokenizer: Tokenizer
    pixels: int
    pictures: int
    """In a batch of questions; a batch that tells pictures whole holds more, so that both have as many rows."""
    asked: int
    """Questions about each."""
    seed: int
    telling: int = 0
    """The first so many steps only tell, a picture a row: that is where it learns to see."""
    shuffled: bool = False
    drawn: int
    """Different pictures."""
    tables: Tables = ANY
    """What they show."""

    def batch(self, step: int, *, held_out: bool = False) -> dict[str, Tensor]:
        """images (rows, 1, 3, pixels, pixels) uint8; prompt and written (rows, p); tokens, targets, weights (rows, a).

        An answer begins with the token that ends texts; weights are 1 up to its end, and 0 behind.
        """
        first = step < self.telling
        telling = first or step % EVERY == EVERY - 1
        each = 1 if first else TOLD if telling else self.asked
        count = self.pictures * self.asked // each
        if held_out:
            seen = [self._draw(step * count + i, held_out=True) for i in range(count)]
        else:
            seen = self.examples.batch(step, count, self.seed, "order of sights", each)
        rng = numpy_generator(self.seed, "questions of a batch", step)
        said = [text for one in seen for text in (one.told[:each] if telling else _some(one, each, rng))]
        images = torch.from_numpy(np.stack([one.picture for one in seen])[:, None])
        images = (images.roll(1, dims=0) if self.shuffled else images).repeat_interleave(each, dim=0)
        prompt, written = padded(self.tokenizer, [one.prompt for one in said])
        found = {"images": images, "prompt": prompt, "written": written} | self._answers(said)
        if telling and not held_out:
            found["tokens"] = self._misread(found["tokens"], torch_generator(self.seed, "misread", step))
        return found

    @cached_property
    def examples(self) -> Drawn[Sight]:
        """Pictures with their texts."""
        return Drawn(draw=partial(self._draw, held_out=False), count=self.drawn)

    @property
    def _draw(self) -> Callable[..., Sight]:
        return partial(draw_sight, self.tables, self.pixels, self.seed)

    @cached_property
    def _kinds(self) -> list[Int[Tensor, " words"]]:
        """The plain words for properties that are one token inside of a sentence, kind by kind."""
        tokens = ([self.tokenizer.encode(f" {word}").ids for word in words] for words in SAID.values())
        return [torch.tensor([one[0] for one in kind if len(one) == 1]) for kind in tokens]

    def _misread(self, tokens: Int[Tensor, "rows a"], generator: torch.Generator) -> Int[Tensor, "rows a"]:
        """A telling as the model reads it back: some words for properties are drawn anew."""
        for words in filter(len, self._kinds):
            hit = torch.isin(tokens, words) & (torch.rand(tokens.shape, generator=generator) < MISREAD)
            tokens = torch.where(hit, words[torch.randint(len(words), tokens.shape, generator=generator)], tokens)
        return tokens

    def _answers(self, said: Sequence[Text]) -> dict[str, Tensor]:
        end = end_id(self.tokenizer)
        ids, there = padded(self.tokenizer, [f" {one.answer}" for one in said])  # tokens as inside of a sentence
        ids, there = ids[:, :LONGEST], there[:, :LONGEST]
        ids = torch.where(there, ids, end)
        edge = torch.full_like(ids[:, :1], end)
        learned = torch.cat((torch.ones_like(there[:, :1]), there), dim=1)  # an answer's end is learned too
        return {
            "tokens": torch.cat((edge, ids), dim=1),
            "targets": torch.cat((ids, edge), dim=1),
            "weights": learned.float(),
        }


def draw_sight(tables: Tables, pixels: int, seed: int, number: int, *, held_out: bool) -> Sight:
    """A picture that training sees, or a held-out one."""
    rng = numpy_generator(seed, "held out" if held_out else "sight", number)
    scene = tables.draw(rng, held_out=held_out)
    told = told_of(scene, rng, held_out=held_out)
    asked = asked_about(scene, rng, ASKED, held_out=held_out)
    return Sight(pictures_of([scene], pixels)[0, 0].numpy(), tuple(told), tuple(asked))


def _some(one: Sight, count: int, rng: np.random.Generator) -> list[Text]:
    """Questions about a picture, so many; its telling stands in where there are fewer."""
    order = rng.permutation(len(one.asked))[:count]
    return [one.asked[i] for i in order] + [one.told[0]] * (count - len(order))


def pictures_of(scenes: Sequence[Scene], pixels: int) -> UInt8[Tensor, "scenes 1 3 pixels pixels"]:
    """As a camera has them."""
    return torch.from_numpy(frames_of_scenes(scenes, pixels)).permute(0, 3, 1, 2)[:, None].contiguous()


def answer_loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over the answers' tokens as far as they are written."""
    return weighted_loss(model(batch["images"], batch["prompt"], batch["tokens"], batch["written"]), batch)


@torch.no_grad()
def replies(
    model: VisionLanguage,
    tokenizer: Tokenizer,
    images: UInt8[Tensor, "b cameras 3 size size"],
    asked: Sequence[str],
    longest: int = ANSWER,
) -> list[str]:
    """The likeliest answer to a question, or caption, about each picture."""
    end, found = end_id(tokenizer), list[str]()
    for start in range(0, len(asked), AT_ONCE):
        prompt, written = padded(tokenizer, asked[start : start + AT_ONCE])
        seen, device = images[start : start + AT_ONCE], model.projection.weight.device
        said = torch.full((len(prompt), 1), end)
        for _ in range(longest):
            logits = model(seen.to(device), prompt.to(device), said.to(device), written.to(device))[:, -1]
            said = torch.cat((said, logits.argmax(-1, keepdim=True).cpu()), dim=1)
            if bool((said[:, 1:] == end).any(1).all()):
                break
        rows = [row[1:] for row in said.tolist()]
        cut = [row[: row.index(end)] if end in row else row for row in rows]
        found += [one.strip() for one in tokenizer.decode_batch(cut)]
    return found


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Tables, every second with a combination kept from training, and a question about one of them in each row."""

    scenes: tuple[Scene, ...]
    asked: tuple[tuple[int, Question], ...]
    """With the number of its table."""


def examination(scenes: int, each: int, seed: int = EXAMINED, tables: Tables = ANY) -> Examination:
    """Always the same for a seed."""
    seen, asked = [], []
    for i in range(scenes):
        rng = numpy_generator(seed, "examination of sight", i)
        seen.append(tables.draw(rng, held_out=i % 2 == 1))
        asked += [(i, one) for one in questions(seen[-1], rng, each)]
    return Examination(scenes=tuple(seen), asked=tuple(asked))


def examine(model: VisionLanguage, tokenizer: Tokenizer, held: Examination) -> list[Answered]:
    """Ask, and have the interpreter judge; see `tally`."""
    pictures = pictures_of(held.scenes, model.config.vision.size)
    numbers = [number for number, _ in held.asked]
    given = replies(model, tokenizer, pictures[numbers], [one.text for _, one in held.asked])
    return tally(held, given)


def tally(held: Examination, given: Sequence[str]) -> list[Answered]:
    """Replies counted beside the answer that is commonest for the kind of question.

    Returns:
        One entry a kind, by name; one of tables that hold what training shows, and one of those that hold a combination
        which it never does; and at the end one of all together.
    """
    judged = [
        (number % 2, one, _is_right(one, reply, held.scenes[number]))
        for (number, one), reply in zip(held.asked, given, strict=True)
    ]

    def counted(some: Sequence[tuple[int, Question, bool]]) -> list[Answered]:
        return by_kind([one.kind for _, one, _ in some], [one.answer for _, one, _ in some], [so for *_, so in some])

    *kinds, everything = counted(judged)
    tables = {name: [one for one in judged if one[0] == new] for new, name in enumerate(("tables", "new tables"))}
    return [*kinds, *(replace(counted(some)[-1], kind=name) for name, some in tables.items() if some), everything]


def _is_right(asked: Question, reply: str, scene: Scene) -> bool:
    """What the interpreter cannot read is wrong."""
    thought, so, answer = reply.rpartition(SO)
    try:
        return (not so or interpreter.is_true(thought, scene)) and interpreter.is_answer(asked.text, answer, scene)
    except UserError:
        return False
