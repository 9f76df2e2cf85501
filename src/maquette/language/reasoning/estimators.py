"""What many samples are worth, from n of them that were drawn once: unbiased for every k up to n.

Each is the mean over all subsets of k of the n samples, computed without drawing any.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from maquette.core.errors import UserError
from maquette.core.statistics import Interval, bootstrap_interval, paired_interval, wilson_interval
from maquette.core.statistics.intervals import BOOTSTRAP_FROM


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that one of k samples is right: 1 − C(n − c, k) / C(n, k) (Chen et al. 2021, arXiv:2107.03374, eq. 1).

    Raises:
        UserError: k is not between 1 and n, or not so many can be right.
    """
    _check(n, k)
    if not 0 <= correct <= n:
        raise UserError(f"correct = {correct} of n = {n} samples: give 0 to {n}.")
    return float(1 - Fraction(math.comb(n - correct, k), math.comb(n, k)))


def maj_at_k(answers: Sequence[str | None], right: str, k: int) -> float:
    """The chance that the commonest answer among k samples is right, ties broken by lot (Wang et al. 2022).

    A sample without an answer, None, does not vote. Counted over subsets: for every number of votes that the right
    answer may get, the ways in which no other gets more, by how many get as many.

    Raises:
        UserError: k is not between 1 and the number of samples.
    """
    n = len(answers)
    _check(n, k)
    votes: dict[str, int] = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    mine = votes.pop(right, 0)
    silent = n - mine - sum(votes.values())
    won = Fraction(0)
    for got in range(1, min(mine, k) + 1):
        ways = _ways([*votes.values()], most=got, total=k - got, silent=silent)
        won += math.comb(mine, got) * sum((Fraction(count, 1 + ties) for ties, count in ways.items()), Fraction(0))
    return float(won / math.comb(n, k))


def _ways(votes: Sequence[int], *, most: int, total: int, silent: int) -> dict[int, int]:
    """In how many ways `total` samples are drawn so that no answer gets more than `most`, by how many get just that."""
    states = {(size, 0): math.comb(silent, size) for size in range(min(silent, total) + 1)}
    for count in votes:
        grown: dict[tuple[int, int], int] = {}
        for (size, ties), ways in states.items():
            for got in range(min(count, most, total - size) + 1):
                key = size + got, ties + (got == most)
                grown[key] = grown.get(key, 0) + ways * math.comb(count, got)
        states = grown
    return {ties: ways for (size, ties), ways in states.items() if size == total}


def best_of_k(scores: Sequence[float], correct: Sequence[bool], k: int) -> float:
    """The chance that the sample with the highest score among k is right; among equals one is taken by lot.

    Raises:
        UserError: k is not between 1 and the number of samples, or the two are not of one length.
    """
    n = len(scores)
    _check(n, k)
    if len(correct) != n:
        raise UserError(f"{n} scores and {len(correct)} verdicts: give one of each for every sample.")
    by_score: dict[float, list[bool]] = {}
    for score, one in zip(scores, correct, strict=True):
        by_score.setdefault(score, []).append(one)
    below, won = 0, Fraction(0)
    for _, equals in sorted(by_score.items()):
        chance = math.comb(below + len(equals), k) - math.comb(below, k)
        won += Fraction(chance * sum(equals), len(equals))
        below += len(equals)
    return float(won / math.comb(n, k))


@dataclass(frozen=True, kw_only=True)
class Point:
    """A strategy's accuracy over problems when it may draw k samples of each, and the tokens that takes."""

    k: int
    accuracy: Interval | float
    """A bare mean where one problem is all there is."""
    tokens: float
    """Generated tokens a problem, on average."""


def over_problems(values: Sequence[float], confidence: float = 0.95) -> Interval | float:
    """The mean over problems with its interval: the bootstrap's from 30 problems on, else Student's t within 0 and 1.

    Where all are 0 or all are 1, which these would be sure of, Wilson's.
    """
    if len(values) > 1 and set(values) in ({0.0}, {1.0}):
        return wilson_interval(round(sum(values)), len(values), confidence)
    if len(values) >= BOOTSTRAP_FROM:
        return bootstrap_interval(values, confidence)
    if len(values) < 2:
        return values[0]
    found = paired_interval(values, confidence)
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def doublings(n: int) -> list[int]:
    """1, 2, 4, … and n."""
    return sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})


def curve(by_k: Mapping[int, Sequence[float]], tokens_each: float) -> list[Point]:
    """Accuracy against tokens, from each problem's value at each k and the tokens of a sample on average."""
    return [Point(k=k, accuracy=over_problems(values), tokens=k * tokens_each) for k, values in sorted(by_k.items())]


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise UserError(f"k = {k} of n = {n} samples: give 1 to {n}.")
