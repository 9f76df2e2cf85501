"""How often a policy is right on held-out prompts, while it trains and after; what many samples are worth."""

import itertools
from collections.abc import Callable, Sequence

from torch import nn

from maquette.core.seeds import child_seed
from maquette.language.interface import Completion, Sampling
from maquette.language.posttrain.examples import Row, prompt_of
from maquette.language.posttrain.experience import sample_groups
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.rewarding import Reward, is_right, worth
from maquette.language.reasoning.estimators import maj_at_k, pass_at_k
from maquette.worlds.puzzles import grading
from maquette.worlds.puzzles.expressions import Malformed
from maquette.worlds.puzzles.puzzle import Puzzle
from maquette.worlds.puzzles.rewards import by_sight

KS = (1, 4, 16, 64, 256)
VOTES = 64
"""As many samples vote in R1's cons@64."""


def sampled(policy: Policy, rows: Sequence[Row], sampling: Sampling, *, n: int, seed: int) -> list[list[Completion]]:
    """`n` replies to every row's prompt, by the weights as they are."""
    prompts = [policy.ask(prompt_of(row)) for row in rows]
    engine = policy.engine(rows=min(128, len(rows) * n), context=policy.room(prompts, sampling.max_tokens))
    seeds = [child_seed(seed, "evaluation", number) for number in range(len(rows))]
    return sample_groups(engine, prompts, seeds, sampling, n)


def right(
    policy: Policy, rows: Sequence[Row], reward: Reward, sampling: Sampling, *, n: int, seed: int
) -> list[list[bool]]:
    """Whether each of `n` replies to every prompt is right."""
    return [
        [is_right(worth(reward, one.text, row)) for one in replies]
        for row, replies in zip(rows, sampled(policy, rows, sampling, n=n, seed=seed), strict=True)
    ]


def held_out(
    policy: Policy, rows: Sequence[Row], reward: Reward, *, max_tokens: int, n: int = 1, seed: int = 0
) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation for the loop: pass@1 on rows that are not trained on."""

    def evaluate(_: nn.Module) -> dict[str, float]:
        found = right(policy, rows, reward, Sampling(max_tokens=max_tokens), n=n, seed=seed)
        return {"validation_pass@1": sum(map(sum, found)) / (len(found) * n)}

    return evaluate


def examined(policy: Policy, unseen: Sequence[Puzzle], *, max_tokens: int, n: int, seed: int) -> dict[str, float]:
    """`n` replies to each puzzle, and what any number of them is worth.

    Returns:
        pass@k and sound@k (`grading.is_sound`) for every k up to `n`; cons@64, and the same were each puzzle answered
        by the votes on another; gamed, the share that `rewards.by_sight` takes and an exact grader does not; malformed;
        thought, the mean length in characters, of right and of wrong replies that are well formed.
    """
    drawn = sampled(policy, [one.row() for one in unseen], Sampling(max_tokens=max_tokens), n=n, seed=seed)
    replies = [[reply.text for reply in some] for some in drawn]
    pairs = [*zip(unseen, replies, strict=True)]
    grades = [[grading.grade(one, text) for text in some] for one, some in pairs]
    right = [[one.correct for one in some] for some in grades]
    sound = [[grading.is_sound(one, text) for text in some] for one, some in pairs]
    loose = [[by_sight(text, one.row())["correct"] for text in some] for one, some in pairs]
    votes = [[_vote(text) for text in some] for some in replies]

    def voted(of: Sequence[Sequence[str | None]]) -> float:
        return _mean([maj_at_k(some, one.answer, min(VOTES, n)) for some, one in zip(of, unseen, strict=True)])

    def thought(correct: bool) -> float:
        said = zip(itertools.chain(*replies), itertools.chain(*grades), strict=True)
        return _mean(
            [len(text.partition(grading.ANSWER)[0]) for text, one in said if one.formatted and one.correct is correct]
        )

    found = {
        f"{name}@{k}": _mean([pass_at_k(n, sum(some), k) for some in which])
        for name, which in (("pass", right), ("sound", sound))
        for k in KS
        if k <= n
    }
    return found | {
        f"cons@{VOTES}": voted(votes),
        f"cons@{VOTES}, others": voted(votes[1:] + votes[:1]),
        "gamed": _mean([*itertools.chain(*loose)]) - _mean([*itertools.chain(*right)]),
        "malformed": 1 - _mean([one.formatted for one in itertools.chain(*grades)]),
        "thought, right": thought(correct=True),
        "thought, wrong": thought(correct=False),
    }


def _vote(reply: str) -> str | None:
    try:
        return grading.answer_in(reply)
    except Malformed:
        return None


def marked(policy: Policy, unseen: Sequence[Puzzle], max_tokens: int, *, seed: int) -> list[str]:
    """A reply to each puzzle in one line, thought → answer, and whether it is right."""
    drawn = sampled(policy, [one.row() for one in unseen], Sampling(max_tokens=max_tokens), n=1, seed=seed)
    texts = [said.text for (said,) in drawn]
    right = [grading.grade(one, text).correct for one, text in zip(unseen, texts, strict=True)]
    lines = [text.removeprefix(grading.THINK).replace(grading.ANSWER, " → ") for text in texts]
    return [f"{line} {'✗✓'[one]}" for line, one in zip(lines, right, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
