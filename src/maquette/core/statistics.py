"""Intervals for few paired seeds, and the error a study may spend on looking at them.

A study looks at its claims at up to three sample sizes. The chance of a wrong verdict is held at `ALPHA` over all:
- over looks, by alpha spending with the Pocock-type function of Lan & DeMets (Biometrika 70, 1983), the increments
  added up by the union bound, so that no assumption on the joint law of the looks is needed;
- over claims, by Bonferroni, because Holm's steps leave no simultaneous intervals to print.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

ALPHA = 0.05
LOOKS = (5, 8, 12)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with a two-sided confidence interval from `n` paired values."""

    mean: float
    low: float
    high: float
    confidence: float
    n: int


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Student's t interval for the mean; give it the differences of paired seeds.

    Raises:
        ValueError: fewer than two values, or a confidence outside (0, 1).
    """
    if len(values) < 2:
        raise ValueError(f"a t interval needs at least 2 values, not {len(values)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    sample = np.asarray(values, dtype=float)
    mean, error = float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(len(sample))
    half = float(stdtrit(len(sample) - 1, (1 + confidence) / 2)) * error
    return Interval(mean=mean, low=mean - half, high=mean + half, confidence=confidence, n=len(sample))


def planned_looks(seeds: int) -> tuple[int, ...]:
    """The sample sizes at which a study planned for at most `seeds` seeds is looked at; none below the first look."""
    return (*(n for n in LOOKS if n < seeds), seeds) if seeds >= LOOKS[0] else ()


def alpha_spent(share: float) -> float:
    """The error spent once `share` of the planned seeds is seen: α ln(1 + (e − 1) t), Lan & DeMets 1983."""
    return ALPHA * math.log1p((math.e - 1) * share)


def confidence_at(n: int, looks: Sequence[int], claims: int) -> float:
    """The confidence of each claim's interval at look `n`: what this look may spend, divided among the claims.

    Raises:
        ValueError: `n` is not one of the looks, or there is no claim.
    """
    if n not in looks or claims < 1:
        raise ValueError(f"no look at n = {n} was planned for {claims} claims; looks: {tuple(looks)}")
    before = max((look for look in looks if look < n), default=0)
    spends = alpha_spent(n / max(looks)) - alpha_spent(before / max(looks))
    return 1 - spends / claims
