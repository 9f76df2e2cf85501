"""Intervals: Student's t for few paired seeds, the bootstrap for many values, Wilson's for counts."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import stdtrit

from maquette.core.errors import UserError

BOOTSTRAP_FROM = 30
"""Below so many values BCa intervals cover too little (benchmarks/intervals.py)."""
RESAMPLES = 10_000
ROUNDING = 1e-12
"""Values that differ by no more than this, as a share of the largest, do not differ."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with a two-sided confidence interval from `n` values."""

    mean: float
    low: float
    high: float
    confidence: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """`right` of `n` things that count alike."""

    right: int
    n: int

    @property
    def accuracy(self) -> float:
        """The share that is right; NaN of nothing."""
        return self.right / self.n if self.n else math.nan

    @property
    def interval(self) -> Interval:
        """Wilson's, at 95 %, as though each were drawn on its own."""
        return wilson_interval(self.right, self.n, 0.95)

    def as_json(self) -> dict[str, Any]:
        """All counts, the share and the interval's ends."""
        found = self.interval
        return asdict(self) | {"accuracy": self.accuracy, "interval": [found.low, found.high]}


def spread(values: Sequence[float]) -> float:
    """Their standard deviation over seeds; 0 where they are the same up to rounding."""
    sample = np.asarray(values, dtype=float)
    return float(sample.std(ddof=1)) if np.ptp(sample) > ROUNDING * np.abs(sample).max() else 0.0


def paired_interval(values: Sequence[float], confidence: float, *, unseen: float = 0.0) -> Interval:
    """Student's t interval for the mean; give it the differences of paired seeds, or one measure of each.

    Chosen by simulation among seven methods at n = 5, 8 and 12. It covers where values are not strongly skewed; the
    difference of two arms rarely is. Values that are all the same show no spread: theirs is `unseen`, and without that
    the interval has no width, and decides nothing (docs/statistics.md).

    Raises:
        ValueError: fewer than two values, or a confidence outside (0, 1).
    """
    if len(values) < 2:
        raise ValueError(f"a paired interval needs at least 2 values, not {len(values)}")
    _check(confidence)
    sample = np.asarray(values, dtype=float)
    mean, error = float(sample.mean()), (spread(values) or unseen) / math.sqrt(len(sample))
    half = float(stdtrit(len(sample) - 1, (1 + confidence) / 2)) * error
    return Interval(mean=mean, low=mean - half, high=mean + half, confidence=confidence, n=len(sample))


def bootstrap_interval(values: Sequence[float], confidence: float, *, seed: int = 0) -> Interval:
    """Efron's BCa bootstrap interval for the mean of many values, the items of a test set say.

    Raises:
        UserError: fewer than 30 values.
        ValueError: a confidence outside (0, 1).
    """
    if len(values) < BOOTSTRAP_FROM:
        raise UserError(
            f"A bootstrap interval of {len(values)} values would cover too little; it needs at least {BOOTSTRAP_FROM}, "
            "so take paired_interval instead."
        )
    _check(confidence)
    sample = np.asarray(values, dtype=float)
    mean = low = high = float(sample.mean())
    if np.ptp(sample):  # without spread SciPy has no BCa interval
        found = stats.bootstrap(
            (sample,), np.mean, confidence_level=confidence, n_resamples=RESAMPLES, batch=100, method="BCa", rng=seed
        )
        low, high = (float(bound) for bound in found.confidence_interval)
    return Interval(mean=mean, low=low, high=high, confidence=confidence, n=len(sample))


def wilson_interval(successes: int, trials: int, confidence: float) -> Interval:
    """Wilson's score interval for a proportion of independent trials.

    Raises:
        ValueError: no trials, successes outside [0, trials], or a confidence outside (0, 1).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials is no count")
    _check(confidence)
    found = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Interval(
        mean=successes / trials, low=float(found.low), high=float(found.high), confidence=confidence, n=trials
    )


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
