"""Rejection sampling: of many replies to each prompt, those that are good enough are kept to be learned by `sft`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maquette.core.errors import UserError
from maquette.core.seeds import child_seed
from maquette.language.interface import Sampling
from maquette.language.posttrain.examples import Row, prompt_of
from maquette.language.posttrain.experience import sample_groups
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.rewarding import Reward, total, worth


@dataclass(frozen=True, kw_only=True)
class RejectionConfig:
    """How many replies are drawn, and which are kept."""

    samples: int = 8
    """Of each prompt."""
    keep: int = 1
    """At most so many different ones of each prompt, the best first; equals in the order they were drawn."""
    least: float = 1.0
    """The reward from which a reply is good enough."""
    max_tokens: int = 128
    temperature: float = 1.0
    seed: int = 0
    rows: int = 64
    """Replies that are sampled at once."""

    def __post_init__(self) -> None:
        for name in ("samples", "keep", "max_tokens", "rows"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: give 1 or more.")
        if not math.isfinite(self.least):
            raise UserError(f"least = {self.least}: give the reward from which a reply is good enough, 1 say.")


def accepted(policy: Policy, rows: Sequence[Row], reward: Reward, config: RejectionConfig) -> list[dict[str, object]]:
    """Rows of `prompt`, `completion` and `reward`, in the order of the prompts; a reply cut short is never kept.

    Raises:
        UserError: no prompts, one that does not fit the model, or a reward that is no number.
    """
    if not rows:
        raise UserError("There are no prompts to sample from; give at least one row.")
    prompts = [policy.ask(prompt_of(row)) for row in rows]
    context = policy.room(prompts, config.max_tokens)
    engine = policy.engine(rows=min(config.rows, len(rows) * config.samples), context=context)
    sampling = Sampling(max_tokens=config.max_tokens, temperature=config.temperature)
    seeds = [child_seed(config.seed, "rejection", number) for number in range(len(rows))]
    found: list[dict[str, object]] = []
    for row, replies in zip(rows, sample_groups(engine, prompts, seeds, sampling, config.samples), strict=True):
        worths: dict[str, float] = {}
        for reply in replies:
            if reply.finish != "length":
                worths[reply.text] = total(worth(reward, reply.text, row))
        best = sorted((text for text, value in worths.items() if value >= config.least), key=lambda t: -worths[t])
        found += [
            {"prompt": prompt_of(row), "completion": text, "reward": worths[text]} for text in best[: config.keep]
        ]
    return found
