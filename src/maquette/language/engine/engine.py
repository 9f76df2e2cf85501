"""The engine: a Llama and its tokenizer behind the interface of `maquette.language.interface`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from maquette.core.devices import memory_of
from maquette.core.errors import UserError
from maquette.language.chat import ChatTemplate
from maquette.language.engine.request import Request, fresh_seed, trie_of
from maquette.language.engine.scheduler import PREFILL, Kept, Scheduler
from maquette.language.interface import (
    Capability,
    Completion,
    Message,
    Prefix,
    Prompt,
    Sampling,
    Score,
    Unsupported,
    Usage,
    refuse_unsupported,
    sample_seed,
)
from maquette.language.llama import Llama
from maquette.nn.cache import KeyValueCache, Rows

ROWS, CONTEXT = 64, 4096
WITH_CHAT: frozenset[Capability] = frozenset(get_args(Capability))


class Engine:
    """Samples and scores with a model in this process.

    The cache is taken once, at the first sample: `memory` tells its bytes before. `invariant` gives the same text for
    the same prompt and seed whatever else is sampled beside it, bit for bit, and is slower.
    """

    def __init__(
        self,
        model: Llama,
        tokenizer: Tokenizer,
        *,
        name: str = "engine",
        ends: Sequence[int] = (),
        template: ChatTemplate | None = None,
        rows: int = ROWS,
        context: int | None = None,
        invariant: bool = False,
        planned: int = 0,
    ) -> None:
        """`rows` requests run at once, of at most `context` tokens each (by default the model's, up to 4,096).

        `planned`: how many tokens will be asked for in all, by many calls, so that what pays once may be done.

        Raises:
            UserError: a number that cannot be, or a cache that no memory here holds.
        """
        most = model.config.context
        if not isinstance(rows, int) or rows < 1:
            raise UserError(f"rows = {rows!r}: give 1 or more.")
        if context is not None and not (isinstance(context, int) and 1 <= context <= most):
            raise UserError(f"context = {context!r}: give 1 to {most}, which {name} was made for.")
        self.name, self.model, self.tokenizer, self.template = name, model.eval(), tokenizer, template
        self.ends = frozenset(ends)
        self.rows, self.invariant, self.planned = rows, invariant, planned
        self.context = context or min(most, CONTEXT)
        self.capabilities: frozenset[Capability] = WITH_CHAT if template else WITH_CHAT - {"chat"}
        self._scheduler: Scheduler | None = None
        if self.memory > (there := memory_of(model.embedding.weight.device)):
            raise UserError(
                f"rows = {rows} and context = {self.context} need a cache of {self.memory / 2**30:,.1f} GiB, and there "
                f"are {there / 2**30:,.1f} GiB; give fewer rows or a smaller context."
            )

    @property
    def memory(self) -> int:
        """Bytes of the cache."""
        c, weight = self.model.config, self.model.embedding.weight
        return 2 * c.layers * self.rows * c.kv_heads * self.context * c.head_dim * weight.element_size()

    @property
    def scheduler(self) -> Scheduler:
        """What runs the requests; whoever steps it is the only one."""
        if self._scheduler is None:
            c, weight = self.model.config, self.model.embedding.weight
            cache = KeyValueCache(
                c.layers, self.rows, c.kv_heads, self.context, c.head_dim, weight.dtype, weight.device
            )
            self._scheduler = Scheduler(self.model, cache, invariant=self.invariant, planned=self.planned)
        return self._scheduler

    def follow(self) -> None:
        """Sample with the model's weights as they are now; needed after training has changed them."""
        if self._scheduler is not None:
            self._scheduler.follow()

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """See `LanguageModel.sample`."""
        if n < 1:
            raise UserError(f"n = {n}: give 1 or more.")
        refuse_unsupported(self, prompts, sampling)
        asked = [self.requests(prompt, sampling, n) for prompt in prompts]
        for request, kept in (one for requests in asked for one in requests):
            self.scheduler.submit(request, kept)
        while self.scheduler.busy:
            self.scheduler.step()
        return [[request.completion() for request, _ in requests] for requests in asked]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """One sample's text as it comes.

        Raises:
            UserError: as `sample`.
        """
        refuse_unsupported(self, (prompt,), sampling)
        ((request, kept),) = self.requests(prompt, sampling)
        pieces: list[str] = []
        request = replace(request, on_text=pieces.append)
        self.scheduler.submit(request, kept)
        try:
            while request.finish is None:
                self.scheduler.step()
                yield "".join(pieces)
                pieces.clear()
        finally:
            self.scheduler.cancel(request)  # where the reader left before the end

    def requests(self, prompt: Prompt, sampling: Sampling, n: int = 1) -> list[tuple[Request, Kept | None]]:
        """What to submit to the scheduler for `n` samples of a prompt.

        Raises:
            UserError: prompt and completion do not fit the context.
        """
        tokens, kept = self._tokens(prompt)
        if not tokens:
            raise UserError("An empty prompt: give at least one token.")
        if (needed := len(tokens) + sampling.max_tokens) > self.context:
            raise UserError(
                f"A prompt of {len(tokens)} tokens and max_tokens = {sampling.max_tokens} make {needed}, but "
                f"{self.name} holds {self.context}; shorten one of them, or give a larger context."
            )
        trie, choices = None, dict[tuple[int, ...], str]()
        if sampling.choices:
            if not self.ends:
                raise Unsupported(self.name, "choices", "its tokenizer has no token that ends a text")
            choices = {tuple(self._encode(text)): text for text in reversed(sampling.choices)}
            if (longest := max(map(len, choices))) > sampling.max_tokens:
                raise UserError(f"choices: the longest has {longest} tokens; give max_tokens = {longest} or more.")
            trie = trie_of(list(choices))
        seed = fresh_seed() if sampling.seed is None else sampling.seed
        return [
            (
                Request(
                    prompt=tokens,
                    sampling=sampling,
                    seed=sample_seed(seed, tokens, index),
                    tokenizer=self.tokenizer,
                    ends=self.ends,
                    trie=trie,
                    choices=choices,
                ),
                kept,
            )
            for index in range(n)
        ]

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """See `LanguageModel.score`. A continuation is tokenised by itself, behind the prompt's own tokens."""
        split = [(self._tokens(prompt)[0], self._encode(text)) for prompt, text in pairs]
        return self.score_tokens(split)

    @torch.inference_mode()
    def score_tokens(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, likeliest: int = 0) -> list[Score]:
        """The same for token ids, with so many of the likeliest tokens at each place."""
        for prompt, text in pairs:
            if not prompt or not text:
                raise UserError("Nothing to score: give at least one token of a prompt and of its continuation.")
            if len(prompt) + len(text) > self.model.config.context:
                raise UserError(
                    f"{len(prompt) + len(text)} tokens to score, but {self.name} was made for "
                    f"{self.model.config.context}; shorten them."
                )
        found: dict[int, Score] = {}
        for group in self._alike(pairs):
            found |= zip(group, self._score_group([pairs[i] for i in group], likeliest), strict=True)
        return [found[i] for i in range(len(pairs))]

    def _alike(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[int]]:
        """Pairs of like lengths together, as many as one pass takes."""
        groups: list[list[int]] = []
        sizes = [len(prompt) + len(text) for prompt, text in pairs]
        for i in sorted(range(len(pairs)), key=lambda i: sizes[i]):
            if groups and not self.invariant and (len(groups[-1]) + 1) * sizes[i] <= PREFILL:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _score_group(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], likeliest: int) -> list[Score]:
        longest = max(len(prompt) + len(text) for prompt, text in pairs)
        tokens = torch.zeros(len(pairs), longest, dtype=torch.long)
        for row, (prompt, text) in enumerate(pairs):
            tokens[row, : len(prompt) + len(text)] = torch.tensor([*prompt, *text])
        features = self.model.features(tokens.to(self.model.embedding.weight.device))
        scores = []
        for row, (prompt, text) in enumerate(pairs):
            begin, end = len(prompt) - 1, len(prompt) + len(text) - 1
            logprobs = self.model.head(features[row : row + 1, begin:end])[0].float().log_softmax(-1).cpu()
            target = torch.tensor(list(text))
            top = logprobs.topk(min(likeliest, logprobs.shape[1]))
            likeliest_at = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            scores.append(
                Score(
                    tokens=tuple(text),
                    logprobs=tuple(logprobs.gather(-1, target[:, None])[:, 0].tolist()),
                    likeliest=tuple(dict(zip(*at, strict=True)) for at in likeliest_at) if likeliest else None,
                    greedy=bool((logprobs.argmax(-1) == target).all()),
                    usage=Usage(
                        prompt=len(prompt) + len(text), flops=self.model.config.forward_flops(len(prompt) + len(text))
                    ),
                )
            )
        return scores

    def tokens(self, prompt: Prompt) -> list[int]:
        """A prompt's ids, as `sample` reads it.

        Raises:
            Unsupported: a conversation, and no chat template.
            UserError: a token that the model does not know, a conversation that the template refuses.
        """
        return self._tokens(prompt)[0]

    def prefix(self, prompt: Prompt) -> "EnginePrefix":
        """See `LanguageModel.prefix`: its keys and values are computed once, here."""
        tokens, kept = self._tokens(prompt)
        return EnginePrefix(self, tuple(tokens), self._keep(tokens, kept))

    @torch.inference_mode()
    def _keep(self, tokens: Sequence[int], before: Kept | None) -> Kept:
        c, weight = self.model.config, self.model.embedding.weight
        if not tokens or len(tokens) > self.context:
            raise UserError(f"A prefix of {len(tokens)} tokens: give 1 to {self.context}.")
        cache = KeyValueCache(
            c.layers, 1, c.kv_heads, len(tokens), c.head_dim, dtype=weight.dtype, device=weight.device
        )
        start = len(before.tokens) if before else 0
        if before:
            cache.keys[:, 0, :, :start], cache.values[:, 0, :, :start] = before.keys, before.values
        places: Int[Tensor, "1 new"] = torch.arange(start, len(tokens), device=weight.device)[None]
        if places.numel():
            new = torch.tensor([list(tokens[start:])], device=weight.device)
            self.model.features(new, positions=places, cache=Rows(cache, 0, places))
        return Kept(tokens=tuple(tokens), keys=cache.keys[:, 0], values=cache.values[:, 0])

    def _tokens(self, prompt: Prompt) -> tuple[list[int], Kept | None]:
        """A prompt's ids, and what is kept of its beginning: never all, because the last one's logits are needed."""
        if isinstance(prompt, str):
            return self._encode(prompt, special=True), None
        if isinstance(prompt, EnginePrefix):
            if prompt.kept is None:
                raise UserError("This prefix was closed; make it again.")
            return list(prompt.tokens), prompt.kept.short_of(len(prompt.tokens) - 1)
        if isinstance(prompt, Prefix):
            raise UserError("This prefix is another model's; make one with this model's prefix().")
        parts = list(prompt)
        if parts and isinstance(parts[0], Message):
            if self.template is None:
                raise Unsupported(self.name, "chat")
            return self._encode(self.template.render(cast("Sequence[Message]", parts))), None
        tokens = cast("list[int]", parts)
        for token in tokens:
            if not 0 <= token < self.model.config.vocabulary:
                raise UserError(f"Token {token} is not one of this model's {self.model.config.vocabulary}.")
        return tokens, None

    def _encode(self, text: str, special: bool = False) -> list[int]:
        try:
            return self.tokenizer.encode(text, add_special_tokens=special).ids
        except TypeError as error:  # a surrogate, as Python has for bytes that it could not read
            raise UserError("The text holds what is no UTF-8; convert it first.") from error


@dataclass
class EnginePrefix:
    """A prefix whose keys and values lie in memory until it is closed."""

    engine: Engine
    tokens: tuple[int, ...]
    kept: Kept | None

    def extend(self, text: str) -> "EnginePrefix":
        """See `Prefix.extend`; the text is tokenised by itself."""
        tokens = [*self.tokens, *self.engine._encode(text)]
        return EnginePrefix(self.engine, tuple(tokens), self.engine._keep(tokens, self.kept))

    def fork(self, count: int) -> "list[Prefix]":
        """See `Prefix.fork`: nothing is copied before one of them is extended."""
        return [EnginePrefix(self.engine, self.tokens, self.kept) for _ in range(count)]

    def close(self) -> None:
        """See `Prefix.close`."""
        self.kept = None
