"""How alike two orders are."""

import math
from collections.abc import Sequence

from scipy.stats import rankdata


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's; ties share the mean of their ranks, and where one of the two does not vary it is 0."""
    a, b = (rankdata(one) - (len(one) + 1) / 2 for one in (x, y))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale else 0.0
