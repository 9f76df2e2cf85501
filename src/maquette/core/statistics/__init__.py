"""What few seeds say: intervals, the error a study may spend on its claims and looks, and what it can hope to find.

The methods, their sources and the simulations that chose them are in docs/statistics.md.
"""

from maquette.core.statistics.correlation import rank_correlation
from maquette.core.statistics.hypotheses import equivalent, holm_levels, p_value
from maquette.core.statistics.intervals import (
    Interval,
    Share,
    bootstrap_interval,
    paired_interval,
    spread,
    wilson_interval,
)
from maquette.core.statistics.power import detectable, power, seeds_needed
from maquette.core.statistics.sequential import ALPHA, LOOKS, alpha_at, alpha_spent, planned_looks

__all__ = [
    "ALPHA",
    "LOOKS",
    "Interval",
    "Share",
    "alpha_at",
    "alpha_spent",
    "bootstrap_interval",
    "detectable",
    "equivalent",
    "holm_levels",
    "p_value",
    "paired_interval",
    "planned_looks",
    "power",
    "rank_correlation",
    "seeds_needed",
    "spread",
    "wilson_interval",
]
