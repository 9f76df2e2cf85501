"""Continuous batching: every step goes one token on with all requests that have a row; a row that ends is refilled."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.language.engine.decoder import Decoder, fits
from maquette.language.engine.distribution import Cutoffs, choose
from maquette.language.engine.native import PAYS, Native, native
from maquette.language.engine.request import Request
from maquette.language.llama import Llama
from maquette.nn.cache import KeyValueCache, Rows

PREFILL = 4096
"""Tokens of prompts, padding included, that go through the model in one pass."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Keys and values of a prefix, kept for prompts that begin with it."""

    tokens: tuple[int, ...]
    keys: Float[Tensor, "layers heads tokens dim"]
    values: Float[Tensor, "layers heads tokens dim"]

    def short_of(self, tokens: int) -> "Kept":
        """At most so many tokens of it."""
        kept = self.tokens[:tokens]
        return Kept(tokens=kept, keys=self.keys[:, :, : len(kept)], values=self.values[:, :, : len(kept)])


class Scheduler:
    """Requests that wait, and those that have a row of the cache: always the first ones, with no gap between.

    `invariant` gives every row a pass of its own, so that the same request gives the same bits whatever runs beside it.
    Whether a step is compiled follows from what is asked for at once, or is `planned` to be asked for in all, never
    from what was done before.
    """

    def __init__(self, model: Llama, cache: KeyValueCache, *, invariant: bool = False, planned: int = 0) -> None:
        self.model, self.cache, self.invariant = model, cache, invariant
        self.rows = cache.keys.shape[1]
        self.waiting: deque[tuple[Request, Kept | None]] = deque()
        self.running: list[Request] = []
        self.device = cache.keys.device
        self._cutoffs: Cutoffs | None = None
        first, second = (model.config.forward_flops(1, past) for past in (0, 1))
        self._flops, self._flops_a_place = first, second - first
        self._always = planned >= PAYS
        self._long = self._always  # whether a compiled step pays for what is under way
        self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Take up the model's weights as they are now; prefixes kept from before are those of the old ones."""
        quick = fits(self.model) and not self.invariant
        self.decoder = Decoder(self.model, self.cache.capacity) if quick else None
        self._native: Native | None = None

    def submit(self, request: Request, prefix: Kept | None = None) -> None:
        """Take a request in; its prompt begins with the prefix."""
        self._long &= self.busy or self._always
        self.waiting.append((request, prefix))

    def cancel(self, request: Request) -> None:
        """Drop a request, wherever it is."""
        self.waiting = deque(one for one in self.waiting if one[0] is not request)
        if request in self.running:
            self._remove(self.running.index(request))

    def clear(self) -> None:
        """Drop every request, after a failure that leaves none of them to go on."""
        self.waiting.clear()
        self.running.clear()
        self._cutoffs = None

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.waiting or self.running)

    @torch.inference_mode()
    def step(self) -> list[Request]:
        """Let in what has room, go one token on; the requests that ended."""
        going = len(self.running)
        if self.waiting and not self._long:
            under_way = (*self.running, *(one for one, _ in self.waiting))
            self._long = sum(one.sampling.max_tokens for one in under_way) >= PAYS
        logits = self._admit()
        if going:
            places = [one.length - 1 for one in self.running[:going]]
            last = torch.tensor([one.tokens[-1] for one in self.running[:going]], device=self.device)
            logits = [self._decode(last, torch.tensor(places, device=self.device)), *logits]
            for one, place in zip(self.running, places, strict=False):  # those let in now have paid for their prompts
                one.flops += self._flops + self._flops_a_place * place
        if self.running:
            self._choose(torch.cat(logits))
        ended = [one for one in self.running if one.finish]
        for one in ended:
            self._remove(self.running.index(one))
        return ended

    def _decode(self, last: Int[Tensor, " n"], places: Int[Tensor, " n"]) -> Float[Tensor, "n v"]:
        if self.decoder is not None:
            if self._long and self._native is None:
                self._native = native(self.decoder)
            quick = self._native if self._long and self._native else self.decoder
            return quick(last, places, self.cache)
        alone = range(len(last)) if self.invariant else ()
        parts = [slice(i, i + 1) for i in alone] or [slice(None)]
        found = []
        for part in parts:
            rows = Rows(self.cache, part.start or 0, places[part, None])
            found.append(self.model(last[part, None], positions=places[part, None], cache=rows)[:, 0])
        return torch.cat(found)

    def _admit(self) -> list[Float[Tensor, "rows v"]]:
        """Give free rows to those who wait longest; the logits behind their prompts, in the order of their rows."""
        fresh: list[tuple[Request, Kept | None]] = []
        while self.waiting and len(self.running) + len(fresh) < self.rows:
            fresh.append(self.waiting.popleft())
        by_prompt: dict[tuple[int, ...], list[tuple[Request, Kept | None]]] = {}
        for request, kept in fresh:
            by_prompt.setdefault(tuple(request.prompt), []).append((request, kept))
        logits = []
        for group in self._grouped(list(by_prompt.values())):
            logits += self._prefill(group)
        self._cutoffs = None if fresh else self._cutoffs
        return logits

    def _grouped(
        self, prompts: list[list[tuple[Request, Kept | None]]]
    ) -> list[list[list[tuple[Request, Kept | None]]]]:
        """Prompts of like lengths together, as many as one pass takes."""

        def new(same: list[tuple[Request, Kept | None]]) -> int:
            request, kept = same[0]
            return len(request.prompt) - (len(kept.tokens) if kept else 0)

        groups: list[list[list[tuple[Request, Kept | None]]]] = []
        for same in sorted(prompts, key=new):
            if groups and not self.invariant and (len(groups[-1]) + 1) * new(same) <= PREFILL:
                groups[-1].append(same)
            else:
                groups.append([same])
        return groups

    def _prefill(self, group: Sequence[list[tuple[Request, Kept | None]]]) -> list[Float[Tensor, "rows v"]]:
        """Run a group's prompts in neighbouring rows, then copy each to the other requests for the same prompt."""
        first = len(self.running)
        starts = [len(kept.tokens) if (kept := same[0][1]) else 0 for same in group]
        new = [len(same[0][0].prompt) - start for same, start in zip(group, starts, strict=True)]
        tokens = torch.zeros(len(group), max(new), dtype=torch.long)
        for row, (same, start, count) in enumerate(zip(group, starts, new, strict=True)):
            request, kept = same[0]
            if kept:
                self.cache.keys[:, first + row, :, :start] = kept.keys
                self.cache.values[:, first + row, :, :start] = kept.values
            tokens[row, :count] = torch.tensor(request.prompt[start:])
        # Padding lies behind a row's own tokens, where nothing looks and the next token is written over it; at the
        # cache's end it would have no place, so it stays on the last one.
        places = torch.tensor(starts)[:, None] + torch.arange(max(new))
        places = places.clamp(max=self.cache.capacity - 1).to(self.device)
        features = self.model.features(tokens.to(self.device), positions=places, cache=Rows(self.cache, first, places))
        ends = torch.tensor(new, device=self.device) - 1
        logits = self.model.head(features[torch.arange(len(group), device=self.device), ends][:, None])[:, 0]
        return self._spread(group, logits, first)

    def _spread(
        self, group: Sequence[list[tuple[Request, Kept | None]]], logits: Float[Tensor, "prompts v"], first: int
    ) -> list[Float[Tensor, "rows v"]]:
        """Rows of the group's first requests are filled; the others' come behind them."""
        order = [(row, *same[0]) for row, same in enumerate(group)]
        order += [(row, *other) for row, same in enumerate(group) for other in same[1:]]
        for place, (row, request, kept) in enumerate(order):
            size = len(request.prompt)
            start = len(kept.tokens) if kept else 0
            if place >= len(group):
                self._copy(first + row, first + place, size)
                request.cached = size
            else:
                request.cached = start
                request.flops += self.model.config.forward_flops(size - start, start)
            self.running.append(request)
        return [logits[torch.tensor([row for row, _, _ in order], device=self.device)]]

    def _choose(self, logits: Float[Tensor, "n v"]) -> None:
        """Draw the next token of every running row and hand it over."""
        logits = logits.float()
        if self._cutoffs is None:
            self._cutoffs = Cutoffs([one.sampling for one in self.running], self.device)
        bound = [(row, one) for row, one in enumerate(self.running) if one.bound]
        if self._cutoffs.all_greedy:
            uniform = logits.new_zeros(len(logits))
        else:
            uniform = torch.tensor([one.next_uniform for one in self.running], device=self.device)
        chosen = choose(self._masked(logits, bound), self._cutoffs, uniform)
        for row, one in bound:
            if (token := one.forced) is not None:
                chosen[row] = token
        logprobs = logits.log_softmax(-1)
        taken = logprobs.gather(-1, chosen[:, None])[:, 0].tolist()
        for row, (one, token) in enumerate(zip(self.running, chosen.tolist(), strict=True)):
            likeliest = None
            if one.sampling.logprobs:
                top = logprobs[row].topk(min(one.sampling.logprobs, logprobs.shape[1]))
                likeliest = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            one.take(token, taken[row], likeliest)

    def _masked(self, logits: Float[Tensor, "n v"], bound: Sequence[tuple[int, Request]]) -> Float[Tensor, "n v"]:
        """The logits of what may come next in the rows that are bound, −∞ elsewhere."""
        masked = logits
        for row, one in bound:
            allowed, barred = one.allowed, one.barred
            if allowed is None and not barred:
                continue
            if masked is logits:
                masked = logits.clone()
            if allowed is not None:
                kept = masked[row, allowed]
                masked[row] = -torch.inf
                masked[row, allowed] = kept
            else:
                masked[row, list(barred)] = -torch.inf
        return masked

    def _remove(self, row: int) -> None:
        """Let a row go; the last one takes its place."""
        last = len(self.running) - 1
        if row != last:
            self._copy(last, row, self.running[last].length)
            self.running[row] = self.running[last]
        self.running.pop()
        self._cutoffs = None

    def _copy(self, source: int, target: int, length: int) -> None:
        for kept in (self.cache.keys, self.cache.values):
            kept[:, target, :, :length] = kept[:, source, :, :length]
