"""What `tiny-chat` learns and is asked: conversations about scenes that are told, and the interpreter's judgement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import AddedToken, Tokenizer, normalizers
from torch import Tensor, nn

from maquette.core.seeds import numpy_generator
from maquette.language.answered import Answered, by_kind
from maquette.language.chat import PLAIN, ChatTemplate, shortened
from maquette.language.engine.engine import Engine
from maquette.language.interface import Message, Sampling
from maquette.language.tokenizers import END, end_id, train_bpe
from maquette.language.weighted import count_weights, weighted_loss
from maquette.train.drawing import Drawn
from maquette.train.judging import mean_loss
from maquette.worlds.scene.words.conversations import (
    GREETINGS,
    OFFER,
    Conversation,
    Turn,
    draw_conversation,
    is_right,
)
from maquette.worlds.scene.words.facts import pick
from maquette.worlds.text.documents import Document

TEMPLATE = ChatTemplate(source=PLAIN, tokens={"eos_token": END})
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
WAYS = {
    "alone": 0.2,
    "by the system": 0.25,
    "with a question": 0.25,
    "in two parts": 0.15,
    "after a greeting": 0.15,
}
"""How a scene is told, and how often in training: in a message of its own or two, in the system's message, together
with the first question, or after a greeting."""
TURNS = 18
"""Of a training conversation, mostly more than fit: what is beyond the context is cut off."""
SAID = 0.3
"""What a target that is no reply's counts: questions name things too, and so teach sooner to look a name up."""
SAMPLE = 500
"""Conversations that the vocabulary is learned from."""
EXAMINED = 10
"""The seed of the scenes that a recipe is examined on; settings are chosen by others, of seeds 1 to 9 so far."""
ANSWER = 64
"""The most tokens of a reply."""


def chat_tokenizer(vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most so many tokens, learned from conversations; it reads capitals as small letters."""
    conversations = (
        draw_conversation(numpy_generator(0, "vocabulary", i), TURNS, held_out=False) for i in range(SAMPLE)
    )
    documents = [Document(path=str(i), text=_plain_text(one)) for i, one in enumerate(conversations)]
    tokenizer = train_bpe(documents, vocabulary - len(ROLES))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens([AddedToken(role, special=True, normalized=False) for role in ROLES])
    return tokenizer


def _plain_text(conversation: Conversation) -> str:
    lines = [
        conversation.telling,
        conversation.opening.reply,
        *(line for turn in conversation.turns for line in (turn.said, turn.reply)),
    ]
    return "\n".join(lines)


def begun(conversation: Conversation, way: str, greeting: str = GREETINGS[0]) -> tuple[list[Message], list[Turn]]:
    """What stands before the first turn, and the turns, by which of `WAYS` the scene is told."""
    first, *others = turns = list(conversation.turns)
    if way == "by the system":
        return [Message(role="system", content=conversation.telling)], turns
    if way == "with a question":
        return [], [replace(first, said=f"{conversation.telling} {first.said}"), *others]
    if way == "in two parts" and len(conversation.told) > 1:
        return [], [*conversation.opened(1), *turns]
    offer = [Turn(said=f"{greeting}.", reply=OFFER, kind="talk")] if way == "after a greeting" else []
    return [], [*offer, conversation.opening, *turns]


def drawn_way(rng: np.random.Generator) -> tuple[str, str]:
    """One of `WAYS`, as often as is said there, and a greeting."""
    way = int(np.searchsorted(np.cumsum([*WAYS.values()]), rng.random()))
    return [*WAYS][way], pick(rng, GREETINGS)


def _exchange(turn: Turn) -> tuple[Message, Message]:
    return Message(role="user", content=turn.said), Message(role="assistant", content=turn.reply)


@dataclass(frozen=True, kw_only=True)
class SceneConversations:
    """Training batches: a conversation a row, cut at the row's length."""

    tokenizer: Tokenizer
    stages: Sequence[tuple[int, int, int]]
    """One after the other: steps, and the rows and their length in each of them; the last has no end."""
    seed: int
    conversations: int = 6144
    """So many are drawn."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """The global batch of a step: tokens and targets, (rows, length) int64, and what each target counts, float32.

        A reply's count 1, all others' behind the first message `SAID`. Every time that a conversation is read, other
        turns may follow its opening.
        """
        ends = accumulate(steps for steps, _, _ in self.stages)
        now = (stage for stage, end in zip(self.stages, ends, strict=True) if step < end)
        _, rows, length = next(now, self.stages[-1])
        rng = numpy_generator(self.seed, "turns", step)
        read = self.examples.batch(step, rows, self.seed, "order of conversations")
        return _batch([row.shortened(length + 1, rng) for row in read], length, end_id(self.tokenizer))

    @cached_property
    def examples(self) -> Drawn["Row"]:
        """Conversations as they are learned."""
        draw = partial(conversation_row, self.tokenizer, self.seed, held_out=False)
        return Drawn(draw=draw, count=self.conversations)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A conversation as it is learned."""

    ids: list[int]
    counts: list[float]
    """What each token counts as a target."""
    turns: list[int]
    """Where the turns begin that may follow the opening, the first first: those that hang on none before them."""

    def shortened(self, length: int, rng: np.random.Generator) -> tuple[list[int], list[float]]:
        """The opening and what is said from one of the turns on that leave enough to fill so many tokens.

        So a model reads all turns in rows that hold a few, and histories that have lost some, as `chat.shortened` does.
        """
        opening = self.turns[0]
        enough = [turn for turn in self.turns if opening + len(self.ids) - turn >= length]
        turn = pick(rng, enough or [opening])
        return self.ids[:opening] + self.ids[turn:], self.counts[:opening] + self.counts[turn:]


def conversation_row(tokenizer: Tokenizer, seed: int, number: int, *, held_out: bool) -> Row:
    """A conversation that training reads, or a held-out one, in which nothing but replies counts."""
    rng = numpy_generator(seed, "held out" if held_out else "conversation", number)
    conversation = draw_conversation(rng, TURNS, held_out=held_out)
    before, turns = begun(conversation, *drawn_way(rng))
    text = TEMPLATE.render_closed([*before, *(message for turn in turns for message in _exchange(turn))])
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assistant, end = tokenizer.token_to_id(ROLES[-1]), end_id(tokenizer)
    ends = [i + 1 for i, token in enumerate(ids) if token == end]
    counts, speaks = [0.0] * ends[0] + [0.0 if held_out else SAID] * (len(ids) - ends[0]), False
    for i, token in enumerate(ids):
        counts[i] = 1.0 if speaks else counts[i]
        speaks = token == assistant or (speaks and token != end)
    begins = [0, *ends][len(before) : -1 : 2]
    opening = len(turns) - len(conversation.turns) or 1 - len(before)  # at least what tells of the scene
    free = [begin for begin, turn in zip(begins[opening + 1 :], turns[opening + 1 :], strict=True) if turn.kind != "it"]
    return Row(ids=ids, counts=counts, turns=[begins[opening], *free])


def _batch(found: Sequence[tuple[list[int], list[float]]], length: int, end: int) -> dict[str, Tensor]:
    tokens, weights = torch.full((len(found), length + 1), end), torch.zeros(len(found), length + 1)
    for row, (ids, counts) in enumerate(found):
        kept = min(len(ids), length + 1)
        tokens[row, :kept], weights[row, :kept] = torch.tensor(ids[:kept]), torch.tensor(counts[:kept])
    return {"tokens": tokens[:, :-1].contiguous(), "targets": tokens[:, 1:].contiguous(), "weights": weights[:, 1:]}


def conversation_loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over the targets by what each counts."""
    return weighted_loss(model(batch["tokens"]), batch)


def held_out_loss(
    tokenizer: Tokenizer, *, length: int, conversations: int, rows: int = 8
) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation: nats a token of the replies in conversations about scenes that training never sees."""
    read = [conversation_row(tokenizer, 0, number, held_out=True) for number in range(conversations)]
    found = [(row.ids, row.counts) for row in read]
    held = [_batch(found[i : i + rows], length, end_id(tokenizer)) for i in range(0, conversations, rows)]

    return lambda model: {"validation_loss": mean_loss(model, conversation_loss, count_weights, held)}


def examine(model: Engine, conversations: Sequence[Conversation]) -> list[Answered]:
    """Hold the conversations with the model, its own answers in the history, and have the interpreter judge each.

    Scenes are told in each of the ways in turn. What the model's context has no room for is left out as
    `chat.shortened` does. What is said back to a telling is not counted.

    Returns:
        One a kind of question, by name; one a way of telling; one of what names a combination that training never
        shows; and at the end one of all together.
    """
    ways = [[*WAYS][number % len(WAYS)] for number in range(len(conversations))]
    begins = [
        begun(*pair, GREETINGS[i % len(GREETINGS)]) for i, pair in enumerate(zip(conversations, ways, strict=True))
    ]
    histories, said = [list(before) for before, _ in begins], [turns for _, turns in begins]
    judged: list[tuple[int, Turn, str]] = []
    for number in range(max(map(len, said))):
        going = [i for i, turns in enumerate(said) if number < len(turns)]
        for i in going:
            asked = [*histories[i], Message(role="user", content=said[i][number].said)]
            histories[i] = shortened(asked, lambda one: len(model.tokens(one)) + ANSWER <= model.context) or asked
        completions = model.sample([histories[i] for i in going], Sampling(max_tokens=ANSWER, temperature=0))
        for i, (completion,) in zip(going, completions, strict=True):
            histories[i].append(Message(role="assistant", content=completion.text))
            judged.append((i, said[i][number], completion.text))
    counted = [one for one in judged if one[1].kind not in ("talk", "telling")]

    def told(name: str, among: Callable[[int, Turn], bool]) -> list[Answered]:
        some = [(turn, reply, conversations[i]) for i, turn, reply in counted if among(i, turn)]
        return [replace(tally(some)[-1], kind=name)] if some else []

    *kinds, everything = tally([(turn, reply, conversations[i]) for i, turn, reply in counted])
    by_way = [row for way in WAYS for row in told(f"told {way}", lambda i, _, way=way: ways[i] == way)]
    return [*kinds, *by_way, *told("of what is new", lambda _, turn: turn.is_new), everything]


def tally(said: Sequence[tuple[Turn, str, Conversation]]) -> list[Answered]:
    """Turns, the replies to them and what they are about, counted by kind."""
    right = [is_right(turn, reply, about.scene) for turn, reply, about in said]
    placed = [(turn, about.scene) for turn, _, about in said if turn.kind == "where"]
    always = (
        sum(is_right(turn, f"{place}.", scene) for turn, scene in placed) for place in {t.answer for t, _ in placed}
    )
    return by_kind(
        [turn.kind for turn, _, _ in said],
        [turn.answer for turn, _, _ in said],
        right,
        {"where": max(always, default=0)},  # what is at the top left is at the top too
    )


def examination(scenes: int, turns: int, seed: int = EXAMINED) -> list[Conversation]:
    """Conversations about scenes that hold a combination of colour and shape kept from training."""
    return [draw_conversation(numpy_generator(seed, "examination", i), turns, held_out=True) for i in range(scenes)]
