"""What a request asks of the engine, and the pieces in which its answer comes, streamed or not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tokenizers import Tokenizer

from maquette.core.errors import UserError
from maquette.language.engine.engine import Engine
from maquette.language.engine.request import Request
from maquette.language.interface import Completion, Finish, Prompt, Sampling, Score, Usage
from maquette.serve.spelling import Places
from maquette.serve.worker import Worker

Likeliest = dict[int | str, float]


@dataclass(kw_only=True)
class Piece:
    """What one choice has grown by."""

    index: int
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    likeliest: list[Likeliest] = field(default_factory=list)
    generated: list[int] = field(default_factory=list)
    """The tokens without those of an echoed prompt, whether or not anything of probabilities is told."""
    places: list[int] = field(default_factory=list)
    """The character of the choice's text at which each token begins, where that is told."""
    finish: Finish | None = None
    stopped_by: str | None = None
    usage: Usage = field(default_factory=Usage)
    """Of the whole choice, with its last piece."""

    def grow(self, more: "Piece") -> None:
        """Take in the next piece of the same choice."""
        self.text += more.text
        for name in ("tokens", "logprobs", "likeliest", "generated", "places"):
            getattr(self, name).extend(getattr(more, name))
        self.finish, self.stopped_by, self.usage = more.finish, more.stopped_by, more.usage


@dataclass(frozen=True, kw_only=True)
class Job:
    """Choices for some prompts: those of one prompt are neighbours."""

    tokenizer: Tokenizer
    prompts: Sequence[Sequence[int]]
    n: int
    requests: Sequence[Request]
    """One for each choice, in their order; none where nothing is to be generated."""
    echo: Sequence[str] | None = None
    """The prompts' texts, where answers begin with them."""
    logprobs: int | None = None
    """How many of the likeliest tokens to tell at each place; None: nothing of probabilities, nor of tokens."""

    @property
    def choices(self) -> int:
        """How many there are."""
        return len(self.prompts) * self.n


def prepare(
    engine: Engine, prompts: Sequence[Prompt], sampling: Sampling | None, n: int, *, echo: bool, logprobs: int | None
) -> Job:
    """Read the prompts.

    Raises:
        UserError: a prompt is empty or too long, a token unknown, or the sampling cannot be.
    """
    tokens = [engine.tokens(prompt) for prompt in prompts]
    for one in tokens:
        if not 0 < len(one) <= engine.context:
            raise UserError(f"A prompt of {len(one)} tokens: give 1 to {engine.context}.")
    requests = [engine.requests(one, sampling, n) for one in tokens] if sampling else []
    texts = None
    if echo:
        texts = [
            one if isinstance(one, str) else engine.tokenizer.decode(ids)
            for one, ids in zip(prompts, tokens, strict=True)
        ]
    return Job(
        tokenizer=engine.tokenizer,
        prompts=tokens,
        n=n,
        requests=[request for group in requests for request, _ in group],
        echo=texts,
        logprobs=logprobs,
    )


async def pieces(job: Job, worker: Worker, held: contextlib.ExitStack, *, stream: bool) -> AsyncIterator[Piece]:
    """The answer, piece by piece as it grows, or each choice's continuation in one.

    Closing `held` drops what has not ended.

    Raises:
        ApiError: the engine failed.
    """
    if job.echo is not None:
        scores = await _scores(job, worker, held)
        for index in range(job.choices):
            yield _echoed(index, job, scores[index // job.n])
    if not job.requests:
        for index in range(job.choices):
            yield Piece(index=index, finish="length")
        return
    news: asyncio.Queue[Piece | tuple[_Growing, asyncio.Future[Completion]]] = asyncio.Queue()
    choices = [_Growing(index, job, news if stream else None) for index in range(job.choices)]
    for growing, end in zip(choices, worker.sample([one.request for one in choices]), strict=True):
        held.callback(end.cancel)
        end.add_done_callback(lambda end, growing=growing: news.put_nowait((growing, end)))
    left = job.choices
    while left:
        what = await news.get()
        if isinstance(what, Piece):
            yield what
        else:
            growing, end = what
            left -= 1
            yield growing.last(end.result())


async def _scores(job: Job, worker: Worker, held: contextlib.ExitStack) -> list[Score | None]:
    """Of every prompt, where they are told; None for those of one token, before which nothing stands."""
    asked = [
        worker.score(tokens, job.logprobs) if job.logprobs is not None and len(tokens) > 1 else None
        for tokens in job.prompts
    ]
    for one in asked:
        if one is not None:
            held.callback(one.cancel)
    return [None if one is None else await one for one in asked]


def _echoed(index: int, job: Job, score: Score | None) -> Piece:
    """The prompt at the beginning of a choice."""
    assert job.echo is not None
    tokens, text = job.prompts[index // job.n], job.echo[index // job.n]
    if job.logprobs is None:
        return Piece(index=index, text=text)
    logprobs = score.logprobs if score else ()
    likeliest = score.likeliest if score and score.likeliest else [{}] * len(logprobs)
    return Piece(
        index=index,
        text=text,
        tokens=list(tokens),
        logprobs=[None, *logprobs],
        likeliest=[{}, *likeliest],
        places=Places(job.tokenizer).of(tokens),
    )


class _Growing:
    """A choice under way, and how much of it has been told."""

    def __init__(self, index: int, job: Job, news: asyncio.Queue | None) -> None:
        """What it grows by is put among the news, from the engine's thread."""
        self.index, self.request = index, job.requests[index]
        self.told = self.tokens = 0  # characters, tokens
        before = len(job.echo[index // job.n]) if job.echo else 0
        self.places = None if job.logprobs is None else Places(job.tokenizer, before)
        if news is not None:
            loop = asyncio.get_running_loop()

            def grown(text: str) -> None:
                loop.call_soon_threadsafe(news.put_nowait, self._grown(text))

            self.request = replace(self.request, on_text=grown)

    def last(self, completion: Completion) -> Piece:
        """What has not been told of it, and how it ended."""
        piece = self._grown(completion.text[self.told :])
        piece.finish, piece.stopped_by, piece.usage = completion.finish, completion.stopped_by, completion.usage
        return piece

    def _grown(self, text: str) -> Piece:
        piece = Piece(index=self.index, text=text)
        self.told += len(text)
        new = slice(self.tokens, len(self.request.tokens))
        self.tokens = new.stop
        piece.generated = self.request.tokens[new]
        if self.places is not None:
            piece.tokens = piece.generated
            piece.logprobs = list[float | None](self.request.logprobs[new])
            piece.likeliest = self.request.likeliest[new] or [{}] * len(piece.tokens)
            piece.places = self.places.of(piece.tokens)
        return piece


def whole(answer: Iterable[Piece], choices: int) -> list[Piece]:
    """The choices, each with its pieces put together."""
    found = [Piece(index=index) for index in range(choices)]
    for piece in answer:
        found[piece.index].grow(piece)
    return found
