"""Language models around language models: kept answers, a budget, new tries, and a script for tests.

Each is a `LanguageModel` itself, so that they nest.
"""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from maquette.core.errors import UserError
from maquette.core.files import fingerprint, read_json, write_json
from maquette.language.interface import (
    Capability,
    Completion,
    LanguageModel,
    Message,
    Prefix,
    Prompt,
    Sampling,
    Score,
    Unsupported,
    Usage,
    refuse_unsupported,
)

T = TypeVar("T")
AT_ONCE = 64
"""Requests that a `Cached` sends before it writes."""


@dataclass(frozen=True, kw_only=True)
class Cached:
    """Keeps every answer in a folder, one file a request, and asks for each but once: what was stopped goes on.

    Without a model it replays: an answer that is not there is refused. Samples without a seed are kept too, so that a
    second call gives the first one's.
    """

    directory: Path
    model: LanguageModel | None = None

    @property
    def name(self) -> str:
        """That of the model, or of the folder."""
        return self.model.name if self.model else f"the recording in {self.directory}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the model; a replay takes whatever was recorded, but no prefixes."""
        return self.model.capabilities if self.model else frozenset(get_args(Capability)) - {"fork"}

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """See `LanguageModel.sample`."""
        refuse_unsupported(self, prompts, sampling)
        if self.model and any(isinstance(prompt, Prefix) for prompt in prompts):
            return self.model.sample(prompts, sampling, n)
        return self._through(
            [{"prompt": _plain(prompt), "sampling": asdict(sampling), "n": n} for prompt in prompts],
            lambda wanted, model: model.sample([prompts[i] for i in wanted], sampling, n),
            lambda found: [_packed(one) for one in found],
            lambda kept: [_completion(one) for one in kept],
        )

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """See `LanguageModel.score`."""
        return self._through(
            [{"prompt": _plain(prompt), "text": text} for prompt, text in pairs],
            lambda wanted, model: model.score([pairs[i] for i in wanted]),
            asdict,
            _score,
        )

    def prefix(self, prompt: Prompt) -> Prefix:
        """See `LanguageModel.prefix`; what is sampled from it is not kept."""
        if self.model is None:
            raise Unsupported(self.name, "fork")
        return self.model.prefix(prompt)

    def _through(
        self,
        requests: Sequence[Mapping[str, Any]],
        ask: Callable[[list[int], LanguageModel], list[T]],
        pack: Callable[[T], Any],
        unpack: Callable[[Any], T],
    ) -> list[T]:
        """The answers by file; those that are missing are asked for `AT_ONCE` at a time and written as they come."""
        paths = [self.directory / f"{fingerprint(request, 32)}.json" for request in requests]
        missing = {path: i for i, path in enumerate(paths) if not path.exists()}
        if missing and self.model is None:
            prompt = str(requests[next(iter(missing.values()))]["prompt"])
            raise UserError(f"{self.directory} holds no answer to {prompt[:60]!r}; record it with a model.")
        wanted = list(missing.values())
        for begin in range(0, len(wanted), AT_ONCE):
            some = wanted[begin : begin + AT_ONCE]
            assert self.model is not None
            for i, answer in zip(some, ask(some, self.model), strict=True):
                write_json(paths[i], {"model": self.name, "request": requests[i], "answer": pack(answer)})
        return [unpack(_answer(path)) for path in paths]


class Budget:
    """Refuses the next request once so much has been spent; a request that runs is not stopped."""

    def __init__(self, model: LanguageModel, *, tokens: float = math.inf, flops: float = math.inf) -> None:
        """`tokens` are those of prompts that were not cached, and of completions."""
        self.model, self.tokens, self.flops = model, tokens, flops
        self.name, self.capabilities = model.name, model.capabilities
        self.spent = Usage()

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """See `LanguageModel.sample`.

        Raises:
            UserError: the budget is spent.
        """
        self._refuse()
        found = self.model.sample(prompts, sampling, n)
        self.spent = sum((one.usage for some in found for one in some), self.spent)
        return found

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """See `LanguageModel.score`.

        Raises:
            UserError: the budget is spent.
        """
        self._refuse()
        found = self.model.score(pairs)
        self.spent = sum((one.usage for one in found), self.spent)
        return found

    def prefix(self, prompt: Prompt) -> Prefix:
        """See `LanguageModel.prefix`."""
        return self.model.prefix(prompt)

    def _refuse(self) -> None:
        used = self.spent.prompt - self.spent.cached + self.spent.generated
        if used >= self.tokens or self.spent.flops >= self.flops:
            raise UserError(
                f"The budget of {self.name} is spent: {used} tokens, {self.spent.flops:.3g} FLOPs; allow more to go on."
            )


class Unavailable(UserError):
    """A model could not answer now; a later try may succeed. `wait` is how many seconds it asks for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a request is tried, and the pauses between: doubled each time, cut at random by up to half."""

    times: int = 5
    first: float = 0.5
    """Seconds."""
    longest: float = 30.0

    def __call__(self, request: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
        """What the request gives, in the end.

        Raises:
            Unavailable: it failed `times` times.
        """
        for attempt in range(self.times):
            try:
                return request()
            except Unavailable as error:
                if attempt == self.times - 1:
                    raise
                pause = min(self.longest, self.first * 2**attempt) * random.uniform(0.5, 1.0)
                sleep(max(pause, min(error.wait, self.longest)))
        raise UserError(f"times = {self.times} of a Retry: give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Retrying:
    """Asks again where a model was `Unavailable`."""

    model: LanguageModel
    retry: Retry = field(default_factory=Retry)

    @property
    def name(self) -> str:
        """That of the model."""
        return self.model.name

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the model."""
        return self.model.capabilities

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """See `LanguageModel.sample`."""
        return self.retry(lambda: self.model.sample(prompts, sampling, n))

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """See `LanguageModel.score`."""
        return self.retry(lambda: self.model.score(pairs))

    def prefix(self, prompt: Prompt) -> Prefix:
        """See `LanguageModel.prefix`."""
        return self.retry(lambda: self.model.prefix(prompt))


class Scripted:
    """Says what it was told to, for tests: one text after another, or what a function makes of each prompt."""

    name = "scripted"
    capabilities: frozenset[Capability] = frozenset(("text", "chat", "seed", "choices", "top_k", "min_p", "keep_stop"))

    def __init__(self, script: Sequence[str] | Callable[[Prompt], str]) -> None:
        self.script = script
        self.asked: list[tuple[Prompt, Sampling]] = []
        """Every prompt it was given, in order."""

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """See `LanguageModel.sample`; stop strings and choices are heeded.

        Raises:
            UserError: the script is at its end, or says what is none of the choices.
        """
        refuse_unsupported(self, prompts, sampling)
        return [[self._say(prompt, sampling) for _ in range(n)] for prompt in prompts]

    def _say(self, prompt: Prompt, sampling: Sampling) -> Completion:
        number = len(self.asked)
        self.asked.append((prompt, sampling))
        if not callable(self.script) and number >= len(self.script):
            raise UserError(f"The script has {len(self.script)} texts, and one more was asked for.")
        text = self.script(prompt) if callable(self.script) else self.script[number]
        if sampling.choices and text not in sampling.choices:
            raise UserError(f"The script says {text!r}, which is none of {sampling.choices}.")
        found = min(((place, one) for one in sampling.stop if (place := text.find(one)) >= 0), default=None)
        if found is None:
            return Completion(text=text, finish="end", seed=sampling.seed)
        place, one = found
        text = text[: place + (len(one) if sampling.keep_stop else 0)]
        return Completion(text=text, finish="stop", stopped_by=one, seed=sampling.seed)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """It has no score."""
        raise Unsupported(self.name, "score")

    def prefix(self, prompt: Prompt) -> Prefix:
        """It keeps none."""
        raise Unsupported(self.name, "fork")


def _plain(prompt: Prompt) -> Any:
    """A prompt as JSON has it."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Prefix):
        raise Unsupported("a recording", "fork", "give the whole prompt")
    return [asdict(part) if isinstance(part, Message) else part for part in prompt]


def _answer(path: Path) -> Any:
    kept = read_json(path)
    if not isinstance(kept, dict) or "answer" not in kept:
        raise UserError(f"{path} holds no answer; delete it and ask again.")
    return kept["answer"]


def _packed(completion: Completion) -> dict[str, Any]:
    """As JSON has it; a token's id stays a number, which no key of JSON is."""
    likeliest = completion.likeliest
    pairs = None if likeliest is None else [list(one.items()) for one in likeliest]
    return {**asdict(completion), "likeliest": pairs}


def _completion(packed: dict[str, Any]) -> Completion:
    found: dict[str, Any] = {**packed, "usage": Usage(**packed["usage"])}
    for name in ("tokens", "logprobs"):
        found[name] = None if packed[name] is None else tuple(packed[name])
    if packed["likeliest"] is not None:
        found["likeliest"] = tuple(dict(map(tuple, one)) for one in packed["likeliest"])
    return Completion(**found)


def _score(packed: dict[str, Any]) -> Score:
    found: dict[str, Any] = {**packed, "usage": Usage(**packed["usage"]), "logprobs": tuple(packed["logprobs"])}
    found["tokens"] = None if packed["tokens"] is None else tuple(packed["tokens"])
    return Score(**found)
