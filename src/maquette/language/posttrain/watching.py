"""What a run of reinforcement learning says of itself: running means, and sentences for what is often misread."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maquette.train.distributed import World

WINDOW = 20
"""Logged rows that a trend is read from."""


class Meter:
    """Means of named numbers, each over its own count, over all processes, since they were last read."""

    def __init__(self, world: World, device: torch.device) -> None:
        self.world, self.device = world, device
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, total: Tensor | float, count: Tensor | float) -> None:
        """Add `total` over `count` things; every process has to name the same things in the same order."""
        pair = torch.stack([torch.as_tensor(one).detach().double().cpu() for one in (total, count)])
        self.sums[name] = self.sums[name] + pair if name in self.sums else pair

    def read(self) -> dict[str, float]:
        """The means, without those of nothing; begins anew."""
        if not self.sums:
            return {}
        names, pairs = list(self.sums), self.world.sum(torch.stack(list(self.sums.values())).to(self.device))
        self.sums = {}
        return {name: float(total / count) for name, (total, count) in zip(names, pairs, strict=True) if count > 0}


class Narrator:
    """A sink that says a sentence when it begins to hold."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.rows: list[dict[str, Any]] = []
        self.holding: set[str] = set()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take in a row; see `maquette.train.metrics.Sink`."""
        if "reward" not in values:
            return
        self.rows = [*self.rows[-4 * WINDOW :], {"step": step, **values}]
        found = told(self.rows)
        for kind in found.keys() - self.holding:
            self.say(found[kind])
        self.holding = set(found)


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the rows of metrics.jsonl so far call for: one sentence for each thing that a reader would stumble over."""
    return list(told(rows).values())


def told(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The same by what each is about."""
    rows = [row for row in rows if "reward" in row]
    if not rows:
        return {}
    found = {about: say(rows) for about, say in SAYINGS.items()}
    return {about: sentence for about, sentence in found.items() if sentence}


def _recent(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(row[name]) for row in rows[-WINDOW:] if name in row]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _of_the_loss(rows: Sequence[Mapping[str, Any]]) -> str:
    losses, norms = _recent(rows, "loss"), _recent(rows, "gradient_norm")
    if not losses or max(map(abs, losses)) > 1e-5 or max(norms) < 1e-8:
        return ""
    return (
        "The loss is 0 and should be: with one update on each batch the ratio to the sampling policy is 1 and the "
        f"advantages of a group add up to 0; its gradient is not 0 (norm {norms[-1]:.2g}). Watch the reward."
    )


def _of_groups(rows: Sequence[Mapping[str, Any]]) -> str:
    share = _mean(_recent(rows, "zero_variance"))
    if not share > 0.8:
        return ""
    right = _mean(_recent(rows, "pass@1"))
    why, mend = "some prompts are too easy and the others too hard", "prompts between, or more samples a group"
    if right > 0.9:
        why, mend = "the prompts are too easy", "harder prompts"
    if right < 0.1:
        why = "the prompts are too hard, or no reply can be rewarded"
        mend = "easier prompts, more samples a group, or fine-tuning first"
    return (
        f"In {share:.0%} of the groups all samples have the same reward, and such groups teach nothing: {why} "
        f"(pass@1 {right:.0%}); try {mend}."
    )


def _of_the_reward(rows: Sequence[Mapping[str, Any]]) -> str:
    rewards = _recent(rows, "reward")
    if len(rewards) < WINDOW or _of_groups(rows):  # where groups teach nothing, no rate helps
        return ""
    half = WINDOW // 2
    before, after = rewards[:half], rewards[half:]
    noise = math.sqrt((_variance(before) + _variance(after)) / half)
    if abs(_mean(after) - _mean(before)) > 2 * noise or (noise == 0 and _mean(after) != _mean(before)):
        return ""
    ceiling = _mean(_recent(rows, "pass@1"))
    if ceiling > 0.95:
        return f"The reward no longer rises because there is little left to win: pass@1 is {ceiling:.0%}."
    held = _mean(_recent(rows, "clip_rate"))
    hint = "a higher learning rate, more prompts an iteration, or more iterations"
    if held > 0.3:
        hint = f"wider clipping or a lower rate: {held:.0%} of the tokens are held back by the clip"
    return (
        f"The reward has been flat over {WINDOW} rows: {_mean(before):.3f}, then {_mean(after):.3f}, a difference "
        f"within two standard errors ({2 * noise:.3f}); try {hint}."
    )


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((one - mean) ** 2 for one in values) / max(1, len(values) - 1)


def _of_entropy(rows: Sequence[Mapping[str, Any]]) -> str:
    entropies = [float(row["entropy"]) for row in rows if "entropy" in row]
    if len(entropies) < 3 or entropies[-1] > 0.2 * entropies[0]:
        return ""
    return (
        f"The entropy fell from {entropies[0]:.3f} to {entropies[-1]:.3f} nats a token: samples of a group become the "
        "same and exploration ends; raise clip_high (DAPO), add kl, raise the temperature or lower the rate."
    )


def _of_length(rows: Sequence[Mapping[str, Any]]) -> str:
    share = _mean(_recent(rows, "truncated"))
    if not share > 0.25:
        return ""
    return (
        f"{share:.0%} of the replies are cut at max_tokens before they end; allow more tokens, or, where that is not "
        "on yet, shape or mask what is overlong."
    )


def _of_form(rows: Sequence[Mapping[str, Any]]) -> str:
    form, right = _recent(rows, "reward/format"), _recent(rows, "pass@1")
    if len(form) < WINDOW or _mean(form[-5:]) <= 1.5 * _mean(form[:5]) or _mean(right[-5:]) > _mean(right[:5]):
        return ""
    return (
        f"The reward for form rises ({_mean(form[:5]):.3f} to {_mean(form[-5:]):.3f}) while right answers do not: the "
        "model learns what the reward pays for; pay less for form."
    )


def _of_samplers(rows: Sequence[Mapping[str, Any]]) -> str:
    gaps = _recent(rows, "sampler_gap")
    if not gaps or _mean(gaps) < 0.02:
        return ""
    return (
        f"The sampler's log-probabilities differ from the trainer's by {_mean(gaps):.3f} nats a token on average, so "
        "the samples are not quite the policy's own; train in the precision that samples are drawn in."
    )


SAYINGS: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    "loss": _of_the_loss,
    "groups": _of_groups,
    "reward": _of_the_reward,
    "entropy": _of_entropy,
    "length": _of_length,
    "form": _of_form,
    "samplers": _of_samplers,
}
