"""The policy's own replies as rows to train on: sampled, rewarded, compared within their group, weighted.

All of it is a function of the iteration and the weights, so that a resumed run draws the same replies: a reply's seed
follows from the run's seed, the iteration, the prompt's slot and the attempt, whatever process draws it.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.devices import autocast
from maquette.core.errors import UserError
from maquette.core.files import write_text
from maquette.core.seeds import child_seed
from maquette.language.engine.engine import Engine
from maquette.language.interface import Completion, Sampling
from maquette.language.llama import Llama
from maquette.language.posttrain import objectives
from maquette.language.posttrain.examples import Row, prompt_of
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.rewarding import DRAW, Reward, is_right, worth
from maquette.language.posttrain.switches import GrpoConfig
from maquette.language.posttrain.watching import Meter
from maquette.language.reasoning.estimators import pass_at_k
from maquette.train.loop import Batch


@dataclass(kw_only=True)
class Group:
    """A prompt's replies and what they are worth."""

    row: Row
    slot: int
    prompt: list[int]
    replies: list[Completion]
    parts: list[dict[str, float]]
    correct: list[bool]
    advantages: list[float] = field(default_factory=list)

    @property
    def rewards(self) -> list[float]:
        """Sums of the parts."""
        return [math.fsum(parts.values()) for parts in self.parts]

    @property
    def flat(self) -> bool:
        """Whether all replies are worth the same, so that none is better than its group."""
        return max(self.rewards) == min(self.rewards)


def sample_groups(
    engine: Engine, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling, n: int
) -> list[list[Completion]]:
    """`n` replies to each prompt, each prompt with a seed of its own, all of them under way together."""
    asked = [
        engine.requests(prompt, replace(sampling, seed=seed), n) for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    for request, kept in (one for requests in asked for one in requests):
        engine.scheduler.submit(request, kept)
    while engine.scheduler.busy:
        engine.scheduler.step()
    return [[request.completion() for request, _ in requests] for requests in asked]


class Experience:
    """Turns the prompts of an iteration into rows to train on; see `maquette.train.loop.Experience`."""

    def __init__(
        self,
        *,
        policy: Policy,
        reference: Llama | None,
        rows: Sequence[Row],
        reward: Reward,
        config: GrpoConfig,
        meter: Meter,
        directory: Path | None,
    ) -> None:
        self.policy, self.reference, self.rows, self.reward = policy, reference, rows, reward
        self.config, self.meter, self.directory = config, meter, directory
        self.prompts = [policy.ask(prompt_of(row)) for row in rows]
        self.context = policy.room(self.prompts, config.max_tokens)
        self.sampling = Sampling(max_tokens=config.max_tokens, temperature=config.temperature)
        self.engine: Engine | None = None
        self.names: set[str] = set()
        self.batch: Batch = {}
        self.began = time.perf_counter()

    def __call__(self, step: int, batch: Batch) -> Batch:
        """The rows of one update; new replies where an iteration begins."""
        iteration, update = divmod(step, self.config.updates)
        if update == 0:
            began = time.perf_counter()
            self.batch = self._rows(self._groups(iteration, batch), iteration)
            now = time.perf_counter()
            self.meter.add("share_sampling", now - began, max(now - self.began, 1e-9) if iteration else 0)
            self.began = now
        part = update % self.config.minibatches
        chosen = self.batch["slot"] % self.config.minibatches == part
        return {name: value[chosen] for name, value in self.batch.items()}

    def objective(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        """The weighted sum of the rows' losses; see `Switches`."""
        c, s, weight = self.config, self.config.switches, batch["weight"]
        logits = model(batch["tokens"])
        logprobs = objectives.token_logprobs(logits, batch["targets"], c.temperature)
        gain, held = objectives.clipped_surrogate(
            logprobs, batch.get("old", logprobs.detach()), batch["advantage"], s.clip_low, s.clip_high
        )
        mask, count = batch["mask"], batch["mask"].sum()
        loss = -gain
        if "reference" in batch:
            if s.kl_in == "loss":
                loss = loss + s.kl * objectives.kl_estimate(logprobs, batch["reference"], s.estimator)
            distance = objectives.kl_estimate(logprobs.detach(), batch["reference"])
            self.meter.add("kl", (distance * mask).sum(), count)
        self.meter.add("clip_rate", (held & mask).sum(), count)
        with torch.no_grad():
            self.meter.add("entropy", objectives.token_entropy(logits[mask], c.temperature).sum(), count)
        if c.temperature == 1 and c.updates == 1:  # else the two are not of the same policy
            self.meter.add("sampler_gap", ((logprobs.detach() - batch["sampled"]).abs() * mask).sum(), count)
        return (loss * weight).sum()

    def _groups(self, iteration: int, batch: Batch) -> list[Group]:
        """Replies to this process's prompts; where they are all worth the same, to others, as often as is allowed."""
        if self.engine is None:
            c, replies = self.config, len(batch["slot"]) * self.config.group
            planned = c.train.steps * c.prompts * c.group * c.max_tokens  # on all processes, so that they step alike
            self.engine = self.policy.engine(rows=min(c.rows, replies), context=self.context, planned=planned)
        self.engine.follow()
        wanted = dict(zip(batch["slot"].tolist(), batch["row"].tolist(), strict=True))
        groups = self._sampled(wanted, iteration, 0)
        for attempt in range(1, self.config.switches.resample + 1):
            flat = [slot for slot, group in groups.items() if group.flat]
            self.meter.add("resampled", len(flat), len(groups))
            others = {slot: self._another(iteration, slot, attempt) for slot in flat}
            groups |= self._sampled(others, iteration, attempt)
        found = [groups[slot] for slot in sorted(groups)]
        self._tell(found)
        return found

    def _another(self, iteration: int, slot: int, attempt: int) -> int:
        return child_seed(self.config.train.seed, "another prompt", iteration, slot, attempt) % len(self.rows)

    def _sampled(self, wanted: Mapping[int, int], iteration: int, attempt: int) -> dict[int, Group]:
        """By slot, replies to the row that it asks."""
        if not wanted:
            return {}
        assert self.engine is not None
        seeds = [child_seed(self.config.train.seed, "replies", iteration, slot, attempt) for slot in wanted]
        prompts = [self.prompts[row] for row in wanted.values()]
        found = sample_groups(self.engine, prompts, seeds, self.sampling, self.config.group)
        return {
            slot: self._rewarded(slot, row, prompt, replies, seed)
            for (slot, row), prompt, replies, seed in zip(wanted.items(), prompts, found, seeds, strict=True)
        }

    def _rewarded(self, slot: int, row: int, prompt: list[int], replies: list[Completion], seed: int) -> Group:
        c, s = self.config, self.config.switches
        draws = ({**self.rows[row], DRAW: child_seed(seed, "reward", number)} for number in range(len(replies)))
        parts = [worth(self.reward, one.text, told) for one, told in zip(replies, draws, strict=True)]
        self.names = self.names or set(parts[0])
        if other := next((set(one) for one in parts if set(one) != self.names), None):
            raise UserError(
                f"The reward function gave the parts {sorted(self.names)}, then {sorted(other)}; keep to one."
            )
        correct = [is_right(one) for one in parts]
        if s.overlong == "shape":
            margin = s.margin or max(1, c.max_tokens // 5)
            for one, reply in zip(parts, replies, strict=True):
                one["overlong"] = objectives.overlong_penalty(len(reply.tokens or ()), c.max_tokens, margin)
        return Group(row=self.rows[row], slot=slot, prompt=prompt, replies=replies, parts=parts, correct=correct)

    def _rows(self, groups: list[Group], iteration: int) -> Batch:
        """The groups as tensors, one reply a row."""
        c, s = self.config, self.config.switches
        device = next(self.policy.model.parameters()).device
        batch = {name: value.to(device) for name, value in padded(groups).items()}
        if s.overlong == "mask":
            cut = torch.tensor([one.finish == "length" for group in groups for one in group.replies], device=device)
            batch["mask"] &= ~cut[:, None]
        if s.resample:
            flat = torch.tensor([group.flat for group in groups for _ in group.replies], device=device)
            batch["mask"] &= ~flat[:, None]
        if c.updates > 1 or (s.kl and s.kl_in == "reward"):
            batch["old"] = self._logprobs(self.policy.model, batch)
        if self.reference is not None:
            batch["reference"] = self._logprobs(self.reference.to(device), batch)
        rewards = torch.tensor([group.rewards for group in groups], device=device)
        if s.kl and s.kl_in == "reward":
            distance = objectives.kl_estimate(batch["old"], batch["reference"], s.estimator) * batch["mask"]
            rewards = rewards - s.kl * distance.sum(1).view_as(rewards)
        advantages = objectives.group_advantage(rewards, s.baseline, s.spread, s.eps)
        for group, some in zip(groups, advantages.tolist(), strict=True):
            group.advantages = some
        batch["advantage"] = advantages.flatten()[:, None].expand_as(batch["mask"]).clone()
        batch["weight"], batch["items"] = objectives.token_weights(batch["mask"], s.length, c.max_tokens)
        if c.updates == 1:
            batch.pop("old", None)
        self._write(groups, iteration)
        return batch

    @torch.no_grad()
    def _logprobs(self, model: Llama, batch: Batch) -> Float[Tensor, "r t"]:
        """What a model makes of the rows, as many at a time as an update takes."""
        tokens, targets = batch["tokens"], batch["targets"]
        size = max(1, len(tokens) // self.config.train.accumulate)
        with autocast(tokens.device, self.config.train.precision):
            found = [
                objectives.token_logprobs(model(some), these, self.config.temperature)
                for some, these in zip(tokens.split(size), targets.split(size), strict=True)
            ]
        return torch.cat(found)

    def _tell(self, groups: list[Group]) -> None:
        """Add what the replies are worth to the meter."""
        add, replies = self.meter.add, sum(len(group.replies) for group in groups)
        add("reward", sum(math.fsum(group.rewards) for group in groups), replies)
        for name in sorted({name for group in groups for parts in group.parts for name in parts}):
            add(f"reward/{name}", sum(parts.get(name, 0.0) for group in groups for parts in group.parts), replies)
        size, k = self.config.group, 1
        while k <= size:
            add(f"pass@{k}", sum(pass_at_k(size, sum(group.correct), k) for group in groups), len(groups))
            k = size if k < size < 4 * k else 4 * k
        add("zero_variance", sum(group.flat for group in groups), len(groups))
        add("length", sum(len(one.tokens or ()) for group in groups for one in group.replies), replies)
        add("truncated", sum(one.finish == "length" for group in groups for one in group.replies), replies)

    def _write(self, groups: list[Group], iteration: int) -> None:
        """Keep the first groups to be looked at; a resumed run writes the same again."""
        if self.directory is None:
            return
        lines = []
        for group in groups[: self.config.shown]:
            said = zip(group.replies, group.rewards, group.parts, group.advantages, group.correct, strict=True)
            for reply, reward, parts, advantage, correct in said:
                told: dict[str, Any] = {"slot": group.slot, "prompt": prompt_of(group.row), "reply": reply.text}
                told |= {"reward": reward, "parts": parts, "advantage": advantage, "correct": correct}
                lines.append(json.dumps({**told, "tokens": len(reply.tokens or ()), "finish": reply.finish}))
        write_text(self.directory / f"{iteration:06d}.jsonl", "\n".join(lines) + "\n")


def padded(groups: Sequence[Group]) -> Batch:
    """Prompts with their replies behind them, filled up on the right, where no token that counts looks."""
    pairs = [(group.prompt, list(one.tokens or ())) for group in groups for one in group.replies]
    width = max(len(prompt) + len(reply) for prompt, reply in pairs) - 1
    tokens = torch.zeros(len(pairs), width, dtype=torch.long)
    targets, sampled = torch.full_like(tokens, -100), torch.zeros(len(pairs), width)
    logprobs = [one.logprobs for group in groups for one in group.replies]
    for i, ((prompt, reply), chances) in enumerate(zip(pairs, logprobs, strict=True)):
        begin, end = len(prompt) - 1, len(prompt) + len(reply) - 1
        tokens[i, :end] = torch.tensor([*prompt, *reply][:-1])
        targets[i, begin:end] = torch.tensor(reply)
        sampled[i, begin:end] = torch.tensor(chances)
    slots = torch.tensor([group.slot for group in groups for _ in group.replies])
    return {"tokens": tokens, "targets": targets, "mask": targets != -100, "sampled": sampled, "slot": slots}
