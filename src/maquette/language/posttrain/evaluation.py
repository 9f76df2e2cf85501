"""How often a policy is right on held-out prompts, while it trains."""

from collections.abc import Callable, Sequence

from torch import nn

from maquette.core.seeds import child_seed
from maquette.language.interface import Completion, Sampling
from maquette.language.posttrain.examples import Row, prompt_of
from maquette.language.posttrain.experience import Reward, sample_groups, worth
from maquette.language.posttrain.policy import Policy


def sampled(policy: Policy, rows: Sequence[Row], sampling: Sampling, *, n: int, seed: int) -> list[list[Completion]]:
    """`n` replies to every row's prompt, by the weights as they are."""
    prompts = [policy.ask(prompt_of(row)) for row in rows]
    engine = policy.engine(rows=min(128, len(rows) * n), context=max(map(len, prompts)) + sampling.max_tokens)
    seeds = [child_seed(seed, "evaluation", number) for number in range(len(rows))]
    return sample_groups(engine, prompts, seeds, sampling, n)


def right(
    policy: Policy, rows: Sequence[Row], reward: Reward, sampling: Sampling, *, n: int, seed: int
) -> list[list[bool]]:
    """Whether each of `n` replies to every prompt is right: by its part `correct`, else by a reward of 1 or more."""
    found = []
    for row, replies in zip(rows, sampled(policy, rows, sampling, n=n, seed=seed), strict=True):
        parts = [worth(reward, one.text, row) for one in replies]
        found.append([bool(one["correct"]) if "correct" in one else sum(one.values()) >= 1 for one in parts])
    return found


def held_out(
    policy: Policy, rows: Sequence[Row], reward: Reward, *, max_tokens: int, n: int = 1, seed: int = 0
) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation for the loop: pass@1 on rows that are not trained on."""

    def evaluate(_: nn.Module) -> dict[str, float]:
        found = right(policy, rows, reward, Sampling(max_tokens=max_tokens), n=n, seed=seed)
        return {"validation_pass@1": sum(map(sum, found)) / (len(found) * n)}

    return evaluate
