"""From pieces to the bodies of the two APIs."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from maquette.language.interface import Finish
from maquette.serve.jobs import Job, Piece
from maquette.serve.protocol import (
    CachedTokens,
    ChatBody,
    ChatChoice,
    ChatChunk,
    ChatLogprobs,
    ChunkChoice,
    CompletionBody,
    CompletionChoice,
    CompletionLogprobs,
    Reason,
    Said,
    TokenLogprob,
    TopLogprob,
    UsageBody,
)
from maquette.serve.spelling import Spelling

REASONS: dict[Finish, Reason] = {"end": "stop", "stop": "stop", "length": "length"}


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What the chunks of one answer share."""

    model: str
    prefix: str
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def fields(self) -> dict[str, Any]:
        """As every body has them."""
        return {"id": f"{self.prefix}-{self.id}", "created": self.created, "model": self.model}


def usage(job: Job, ended: Iterable[Piece]) -> UsageBody:
    """A prompt counts once, however many choices it has; it is cached where none of them computed it."""
    prompt = sum(map(len, job.prompts))
    generated = 0
    cached = [len(one) for one in job.prompts]
    for piece in ended:
        generated += piece.usage.generated
        at = piece.index // job.n
        cached[at] = min(cached[at], piece.usage.cached)
    return UsageBody(
        prompt_tokens=prompt,
        completion_tokens=generated,
        total_tokens=prompt + generated,
        prompt_tokens_details=CachedTokens(cached_tokens=sum(cached)),
    )


@dataclass(frozen=True, kw_only=True)
class Completions:
    """Of `/v1/completions`."""

    heading: Heading
    spelling: Spelling
    logprobs: int | None
    """How many of the likeliest tokens are told; None: nothing of probabilities."""
    ids: bool
    """Whether the generated tokens' ids are told."""

    def body(self, choices: Iterable[Piece], told: UsageBody | None) -> CompletionBody:
        """The answer."""
        return CompletionBody(**self.heading.fields(), choices=[self._choice(one) for one in choices], usage=told)

    chunk = body
    """A chunk of a stream has the shape of the whole."""

    def openings(self, choices: int) -> list[CompletionBody]:
        """Nothing goes before the first piece."""
        return []

    def _choice(self, piece: Piece) -> CompletionChoice:
        return CompletionChoice(
            index=piece.index,
            text=piece.text,
            finish_reason=piece.finish and REASONS[piece.finish],
            stop_reason=piece.stopped_by,
            token_ids=piece.generated if self.ids else None,
            logprobs=None if self.logprobs is None else self._logprobs(piece, self.logprobs),
        )

    def _logprobs(self, piece: Piece, most: int) -> CompletionLogprobs:
        tokens = [self.spelling.text_of(token) for token in piece.tokens]
        tops: list[dict[str, float] | None] = []
        for token, logprob, likeliest in zip(tokens, piece.logprobs, piece.likeliest, strict=True):
            if logprob is None:
                tops.append(None)
                continue
            top: dict[str, float] = {}
            for other, value in list(likeliest.items())[:most]:
                top.setdefault(self.spelling.text_of(int(other)), value)  # of two that look alike, the likelier
            top.setdefault(token, logprob)
            tops.append(top)
        return CompletionLogprobs(
            tokens=tokens, token_logprobs=piece.logprobs, top_logprobs=tops, text_offset=piece.places
        )


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Of `/v1/chat/completions`."""

    heading: Heading
    spelling: Spelling
    logprobs: int | None
    ids: bool

    def body(self, choices: Iterable[Piece], told: UsageBody) -> ChatBody:
        """The answer."""
        found = [
            ChatChoice(
                index=piece.index,
                message=Said(content=piece.text),
                finish_reason=REASONS[piece.finish or "end"],
                stop_reason=piece.stopped_by,
                token_ids=piece.generated if self.ids else None,
                logprobs=self._logprobs(piece),
            )
            for piece in choices
        ]
        return ChatBody(**self.heading.fields(), choices=found, usage=told)

    def openings(self, choices: int) -> list[ChatChunk]:
        """First of all who speaks, for each choice."""
        delta: dict[Literal["role", "content"], str] = {"role": "assistant", "content": ""}
        return [self._chunk([ChunkChoice(index=index, delta=delta)], None) for index in range(choices)]

    def chunk(self, grown: Iterable[Piece], told: UsageBody | None) -> ChatChunk:
        """A chunk of a stream."""
        choices = [
            ChunkChoice(
                index=piece.index,
                delta={"content": piece.text} if piece.text else {},
                finish_reason=piece.finish and REASONS[piece.finish],
                stop_reason=piece.stopped_by,
                token_ids=piece.generated if self.ids else None,
                logprobs=self._logprobs(piece) if piece.tokens else None,
            )
            for piece in grown
        ]
        return self._chunk(choices, told)

    def _chunk(self, choices: list[ChunkChoice], told: UsageBody | None) -> ChatChunk:
        return ChatChunk(**self.heading.fields(), choices=choices, usage=told)

    def _logprobs(self, piece: Piece) -> ChatLogprobs | None:
        if self.logprobs is None:
            return None
        content = []
        for token, logprob, likeliest in zip(piece.tokens, piece.logprobs, piece.likeliest, strict=True):
            top = [self._told(int(other), value) for other, value in list(likeliest.items())[: self.logprobs]]
            content.append(TokenLogprob(**self._told(token, logprob or 0.0).model_dump(), top_logprobs=top))
        return ChatLogprobs(content=content)

    def _told(self, token: int, logprob: float) -> TopLogprob:
        return TopLogprob(
            token=self.spelling.text_of(token), logprob=logprob, bytes=list(self.spelling.bytes_of(token))
        )
