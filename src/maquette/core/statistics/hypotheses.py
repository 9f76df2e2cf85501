"""Decisions: at which error an interval decides, when two arms are equivalent, and Holm's correction."""

import math
from collections.abc import Sequence

from scipy.special import stdtr

from maquette.core.statistics.intervals import paired_interval, spread
from maquette.core.statistics.sequential import ALPHA


def p_value(values: Sequence[float], region: tuple[float, float]) -> float:
    """The smallest α at which the 1 − α paired interval lies inside the region or wholly outside it.

    Both are a matter of the bound nearest to the mean: the two-sided p of Student's t against it. Values that are all
    the same decide nothing, wherever they lie: 1.
    """
    mean, error = math.fsum(values) / len(values), spread(values) / math.sqrt(len(values))
    if not error:
        return 1.0
    distance = min(abs(mean - bound) for bound in region)
    return 2 * float(stdtr(len(values) - 1, -distance / error))


def equivalent(values: Sequence[float], margin: float, alpha: float = ALPHA) -> bool:
    """Whether the mean lies within ±`margin` by two one-sided tests at `alpha` each (Schuirmann 1987).

    That is the 1 − 2α interval inside the margins. The verdict on a tie asks more: the 1 − α interval.
    """
    found = paired_interval(values, 1 - 2 * alpha)
    return -margin < found.low and found.high < margin


def holm_levels(p_values: Sequence[float], alpha: float) -> list[float]:
    """The level at which each of m hypotheses is tested by Holm (1979), in the order given.

    The smallest p is tested at α/m, the next at α/(m − 1), until one fails; it and all after it share its level.
    """
    levels, level, failed = [0.0] * len(p_values), 0.0, False
    for rank, one in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not failed:
            level = alpha / (len(p_values) - rank)
            failed = p_values[one] > level
        levels[one] = level
    return levels
