"""Ways to spend samples on a problem: the first one, the commonest answer, the one that a scorer likes best."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from maquette.core.errors import UserError
from maquette.language.interface import Completion
from maquette.language.reasoning.estimators import Point, best_of_k, curve, doublings, maj_at_k, pass_at_k

Strategy = Literal["direct", "majority", "best-of-n"]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Check:
    """How replies are read: three plain functions of a reply and the problem's row."""

    answer: Callable[[str, Row], str | None]
    """What a reply votes for, in one spelling for all that mean the same; None does not vote."""
    right: Callable[[str, Row], bool] | None = None
    """Whether it is right, where that is known."""
    score: Callable[[str, Row], float] | None = None
    """How good it looks, for best-of-n."""


@dataclass(frozen=True, kw_only=True)
class Solved:
    """A problem, the reply that was chosen, and what all its samples were worth."""

    reply: str
    answer: str | None
    correct: bool | None
    tokens: int
    """Generated for it, over all samples."""
    samples: int


def choose(strategy: Strategy, samples: Sequence[Completion], row: Row, check: Check) -> Solved:
    """The reply that a strategy takes; among equals the one drawn first.

    Raises:
        UserError: best-of-n without a scorer.
    """
    answers = [check.answer(one.text, row) for one in samples]
    taken = 0
    if strategy == "majority":
        votes = Counter(answer for answer in answers if answer is not None)
        taken = answers.index(max(votes, key=lambda answer: votes[answer])) if votes else 0
    elif strategy == "best-of-n":
        scores = _scores(samples, row, check)
        taken = scores.index(max(scores))
    return Solved(
        reply=samples[taken].text,
        answer=answers[taken],
        correct=None if check.right is None else check.right(samples[taken].text, row),
        tokens=sum(one.usage.generated for one in samples),
        samples=len(samples),
    )


def accuracy_against_tokens(
    strategy: Strategy, samples: Sequence[Sequence[Completion]], rows: Sequence[Row], check: Check
) -> list[Point]:
    """The strategy's accuracy with 1, 2, 4, … samples of each problem, unbiased from those there are.

    Raises:
        UserError: nothing says what is right, best-of-n without a scorer.
    """
    if check.right is None:
        raise UserError("Accuracy needs to know what is right: give problems an answer, or a check.")
    right, n = check.right, len(samples[0])
    by_k: dict[int, list[float]] = {k: [] for k in ([1] if strategy == "direct" else doublings(n))}
    for some, row in zip(samples, rows, strict=True):
        correct = [right(one.text, row) for one in some]
        answers = [check.answer(one.text, row) for one in some]
        scores = _scores(some, row, check) if strategy == "best-of-n" else []
        for k, values in by_k.items():
            if strategy == "majority":
                values.append(sum(maj_at_k(answers, one, k) for one in _right_answers(answers, correct)))
            elif strategy == "best-of-n":
                values.append(best_of_k(scores, correct, k))
            else:
                values.append(pass_at_k(n, sum(correct), k))
    drawn = sum(one.usage.generated for some in samples for one in some)
    return curve(by_k, drawn / sum(map(len, samples)))


def _right_answers(answers: Sequence[str | None], correct: Sequence[bool]) -> list[str]:
    return sorted({answer for answer, one in zip(answers, correct, strict=True) if one and answer is not None})


def _scores(samples: Sequence[Completion], row: Row, check: Check) -> list[float]:
    if check.score is None:
        raise UserError("best-of-n chooses by a score, and there is none: give a check that defines score or reward.")
    return [check.score(one.text, row) for one in samples]
