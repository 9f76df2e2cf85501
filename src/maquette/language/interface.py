"""How everything here speaks to a language model, be it trained here, a checkpoint folder or somebody's endpoint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.seeds import child_seed

Role = Literal["system", "user", "assistant"]
Finish = Literal["end", "stop", "length"]
Capability = Literal[
    "text",
    "tokens",
    "chat",
    "score",
    "logprobs",
    "seed",
    "fork",
    "choices",
    "thinking",
    "top_k",
    "min_p",
    "min_tokens",
    "keep_stop",
]
"""`text`: goes on from any text. `tokens`: takes and gives token ids. `seed`: the same seed gives the same text.
`keep_stop`: tells which stop string ended a text, and so can keep it."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation; a last one by the assistant is gone on from."""

    role: Role
    content: str


@runtime_checkable
class Prefix(Protocol):
    """A text that several continuations share."""

    def extend(self, text: str) -> "Prefix":
        """The prefix with more text behind it; this one stays as it is."""

    def fork(self, count: int) -> "list[Prefix]":
        """So many prefixes of the same text, to be extended apart."""

    def close(self) -> None:
        """Give back what it holds."""


Prompt = str | Sequence[Message] | Sequence[int] | Prefix
"""Text to go on from, a conversation to answer, token ids, or a prefix that the model gave."""


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """Budget forcing (Muennighoff et al. 2025, arXiv:2501.19393): thought that is cut short or made to go on.

    `most` tokens after the prompt, `end` is put in the model's mouth; while it has been longer than that for fewer than
    `again` times, an `end` of its own is replaced by `more`.
    """

    most: int
    end: str = "</think>"
    again: int = 0
    more: str = "Wait"

    def __post_init__(self) -> None:
        if self.most < 0 or self.again < 0 or not self.end:
            raise UserError(f"{self}: most and again must be 0 or more, and end some text.")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to go on from a prompt."""

    max_tokens: int = 256
    min_tokens: int = 0
    """Neither the end nor a stop string counts before so many."""
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 means all."""
    min_p: float = 0.0
    """Tokens less likely than this share of the likeliest one are left out (Nguyen et al. 2024, arXiv:2407.01082)."""
    stop: tuple[str, ...] = ()
    keep_stop: bool = False
    """Whether the text holds the stop string that ended it."""
    seed: int | None = None
    """None draws one, which the completion tells."""
    logprobs: int = 0
    """How many of the likeliest tokens are told at each place, beside the one taken."""
    thinking: Thinking | None = None
    choices: tuple[str, ...] = ()
    """Where given, the completion is one of these texts."""

    def __post_init__(self) -> None:
        for name, low in (("max_tokens", 1), ("min_tokens", 0), ("top_k", 0), ("temperature", 0), ("logprobs", 0)):
            value, kinds = getattr(self, name), (int, float) if name == "temperature" else int
            if not isinstance(value, kinds) or not low <= value < math.inf:
                number = "finite" if name == "temperature" else "whole"
                raise UserError(f"{name} = {value!r}: give a {number} number, {low} or more.")
        if self.min_tokens > self.max_tokens:
            raise UserError(f"min_tokens = {self.min_tokens}: give at most max_tokens = {self.max_tokens}.")
        for name in ("stop", "choices"):
            if isinstance(getattr(self, name), str):
                raise UserError(f"{name} = {getattr(self, name)!r}: give a tuple of texts, even of one.")
        for name in ("top_p", "min_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} = {getattr(self, name)}: give 0 to 1.")
        if self.top_p == 0:
            raise UserError("top_p = 0: give more than 0; temperature = 0 takes the likeliest token.")
        if any(not text for text in (*self.stop, *self.choices)):
            raise UserError("stop and choices: every one must be some text.")
        if self.thinking and self.thinking.most >= self.max_tokens:
            raise UserError(f"thinking.most = {self.thinking.most}: give less than max_tokens = {self.max_tokens}.")
        if self.choices and (self.thinking or self.stop):
            raise UserError("choices go with neither thinking nor stop; leave one out.")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a completion or a score took."""

    prompt: int = 0
    cached: int = 0
    """Of the prompt's tokens, those that had been computed for another request."""
    generated: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    """From the request to its end, whatever ran beside it."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            generated=self.generated + other.generated,
            flops=self.flops + other.flops,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One continuation of a prompt."""

    text: str
    finish: Finish
    stopped_by: str | None = None
    """The stop string that ended it."""
    tokens: tuple[int, ...] | None = None
    """The generated ids, that of the end included; None where the model tells none."""
    logprobs: tuple[float, ...] | None = None
    """Natural log of each generated token's probability at temperature 1, before anything was cut off."""
    likeliest: tuple[dict[int | str, float], ...] | None = None
    """At each place the likeliest tokens and their log-probabilities, where they were asked for."""
    usage: Usage = field(default_factory=Usage)
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """How likely a continuation is after a prompt."""

    tokens: tuple[int, ...] | None
    logprobs: tuple[float, ...]
    """Of each token of the continuation, natural."""
    greedy: bool
    """Whether the likeliest token was the continuation's everywhere."""
    likeliest: tuple[dict[int | str, float], ...] | None = None
    """At each place the likeliest tokens and their log-probabilities, where they were asked for."""
    usage: Usage = field(default_factory=Usage)

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation."""
        return math.fsum(self.logprobs)


class Unsupported(UserError):
    """A model was asked for what it does not have."""

    def __init__(self, model: str, capability: Capability, hint: str = "") -> None:
        super().__init__(f"{model} has no {capability}; {hint or HINTS[capability]}.")
        self.capability = capability


HINTS: dict[Capability, str] = {
    "text": "give messages instead of text",
    "tokens": "give text instead of token ids",
    "chat": "give text instead of messages, or a model whose folder has a chat template",
    "score": "take a checkpoint folder, or an endpoint with echo and logprobs",
    "logprobs": "ask for none",
    "seed": "leave the seed out",
    "fork": "give each prompt whole",
    "choices": "give stop strings and check the answer",
    "thinking": "leave thinking out",
    "top_k": "leave top_k at 0 and set top_p",
    "min_p": "leave min_p at 0 and set top_p",
    "min_tokens": "leave min_tokens at 0",
    "keep_stop": "leave keep_stop out",
}


@runtime_checkable
class LanguageModel(Protocol):
    """What samples and scores text."""

    @property
    def name(self) -> str:
        """What to call it in a record or a message."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do; anything else raises `Unsupported`, nothing is left out in silence."""

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """`n` continuations of each prompt.

        Sample i of a prompt has the seed `sample_seed(sampling.seed, prompt, i)`, whatever else is asked for beside it.

        Raises:
            Unsupported: the model cannot do what is asked.
            UserError: bad input, a prompt that is too long.
        """

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """Log-probabilities of each continuation after its prompt, teacher-forced.

        Raises:
            Unsupported: the model does not tell them.
            UserError: bad input, a prompt that is too long.
        """

    def prefix(self, prompt: Prompt) -> Prefix:
        """The prompt, kept so that what begins with it costs less.

        Raises:
            Unsupported: the model keeps none.
        """


def needed(sampling: Sampling) -> frozenset[Capability]:
    """What a model must have to sample so."""
    asked: dict[Capability, bool] = {
        "seed": sampling.seed is not None,
        "logprobs": sampling.logprobs > 0,
        "thinking": sampling.thinking is not None,
        "choices": bool(sampling.choices),
        "top_k": sampling.top_k > 0,
        "min_p": sampling.min_p > 0,
        "min_tokens": sampling.min_tokens > 0,
        "keep_stop": sampling.keep_stop and bool(sampling.stop),
    }
    return frozenset(name for name, wanted in asked.items() if wanted)


def kind_of(prompt: Prompt) -> Capability:
    """What a model must have to take this prompt.

    Raises:
        UserError: it is no prompt.
    """
    if isinstance(prompt, str):
        return "text"
    if isinstance(prompt, Prefix):
        return "fork"
    parts = list(prompt)
    if parts and all(isinstance(part, Message) for part in parts):
        return "chat"
    if parts and all(isinstance(part, int) and not isinstance(part, bool) for part in parts):
        return "tokens"
    raise UserError(f"A prompt is text, messages or token ids, not {type(prompt).__name__} {str(prompt)[:40]!r}.")


def refuse_unsupported(model: LanguageModel, prompts: Sequence[Prompt], sampling: Sampling) -> None:
    """Before anything runs.

    Raises:
        Unsupported: the model lacks what these prompts or this sampling need.
    """
    for capability in sorted({kind_of(prompt) for prompt in prompts} | needed(sampling)):
        if capability not in model.capabilities:
            raise Unsupported(model.name, capability)


def sample_seed(seed: int, prompt: Sequence[int] | str, index: int) -> int:
    """The 63-bit seed of a prompt's sample number `index`: nothing but these three decides what is drawn."""
    return child_seed(seed, fingerprint(list(prompt) if not isinstance(prompt, str) else prompt), index)
