"""What a study can hope to find: the chance of *reproduced* over its looks, by simulation for normal effects.

All figures are for the worst case of Holm's correction, in which no other claim is decided, and for controls that fail
beyond doubt.
"""

import functools
import math

import numpy as np
from scipy.special import stdtrit

from maquette.core.statistics.sequential import LOOKS, alpha_at, planned_looks

DRAWS = 100_000
"""Simulated studies; the standard error of a power is at most 0.16 points."""


def power(effect_beyond: float, spread: float, seeds: int, claims: int, *, tie: bool = False) -> float:
    """The chance that one of `claims` claims is reproduced by the last of the looks planned for `seeds` seeds.

    Its true effect lies `effect_beyond` inside the nearest bound of its region (for a `tie`, inside both) and has the
    standard deviation `spread` over seeds. One without spread is never decided.

    Raises:
        ValueError: no claim, or a negative spread.
    """
    return float(np.mean(_scaled(spread, seeds, claims, tie) < effect_beyond))


def detectable(spread: float, seeds: int, claims: int, power: float = 0.8, *, tie: bool = False) -> float:
    """How far inside its region an effect must lie to be reproduced with the chance `power`; ∞ without a look.

    Raises:
        ValueError: no claim, or a negative spread.
    """
    return float(np.quantile(_scaled(spread, seeds, claims, tie), power, method="higher"))


def seeds_needed(
    effect_beyond: float, spread: float, claims: int, power: float = 0.8, *, tie: bool = False
) -> int | None:
    """The fewest of 5, 8 and 12 seeds that reproduce such an effect with the chance `power`; None if 12 do not.

    Raises:
        ValueError: no claim, or a negative spread.
    """
    enough = (n for n in LOOKS if detectable(spread, n, claims, power, tie=tie) < effect_beyond)
    return next(enough, None)


def _scaled(spread: float, seeds: int, claims: int, tie: bool) -> np.ndarray:
    if claims < 1 or spread < 0:
        raise ValueError(f"there is no power for {claims} claims and a spread of {spread}")
    return spread * _depths(seeds, claims, tie) if spread and planned_looks(seeds) else np.array([math.inf])


@functools.lru_cache
def _depths(seeds: int, claims: int, tie: bool) -> np.ndarray:
    """For each simulated study, how deep in its region the effect must lie to be reproduced, in its sd over seeds."""
    draws = np.random.default_rng(0).standard_normal((DRAWS, seeds))
    looks = planned_looks(seeds)
    found, refuted = np.full(DRAWS, math.inf), np.full(DRAWS, -math.inf)
    for n in looks:
        seen = draws[:, :n]
        mean = seen.mean(axis=1)
        depth = -np.abs(mean) if tie else mean
        half = stdtrit(n - 1, 1 - alpha_at(n, looks) / claims / 2) * seen.std(axis=1, ddof=1) / math.sqrt(n)
        # Reproduced at this look from the depth `half - depth` on, if no look before has refuted, and so stopped, it.
        found = np.minimum(found, np.maximum(half - depth, refuted))
        refuted = np.maximum(refuted, -depth - half)
    return found
