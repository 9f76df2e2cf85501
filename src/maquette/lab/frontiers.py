"""The compute-optimal frontier read off runs without a law of the loss: Hoffmann's approaches 1 and 2 (2203.15556).

Both need no formula for L(N, D), only runs of several sizes at equal compute; they fit log N_opt = log k + a log C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.lab.laws import Allocation, Counting, Frontier
from maquette.lab.scaling import fit_law
from maquette.lab.scaling_runs import PercentileInterval, Run

Array = np.ndarray

BUDGETS = 1_500
"""Budgets at which approach 1 reads the envelope, evenly spaced in log C (Hoffmann, section 3.1)."""

NO_FRONTIER = 2.0
"""Stands for the exponent where an approach finds none, so that it agrees with no other."""
SAME_BUDGET = 0.05
"""Runs whose compute differs by less than this share form one isoFLOP profile."""


@dataclass(frozen=True, kw_only=True)
class FrontierFit:
    """A frontier, the optima it was fitted to, and the budgets that showed none."""

    approach: Literal[1, 2]
    counting: Counting
    frontier: Frontier
    points: tuple[Allocation, ...]
    dropped: tuple[str, ...] = ()
    """Each budget left out, and why."""
    budgets: tuple[float, ...] | None = None
    """The budgets asked for in approach 2; None when they are those of the runs."""

    @property
    def a(self) -> float:
        """Exponent of N_opt in C."""
        return self.frontier.a

    @property
    def b(self) -> float:
        """Exponent of D_opt in C."""
        return self.frontier.b


@dataclass(frozen=True, kw_only=True)
class _Profile:
    """Runs of one budget."""

    log_compute: float
    log_sizes: Array
    log_losses: Array


def fit_envelope(runs: Sequence[Run], *, counting: Counting = "total") -> FrontierFit:
    """Approach 1: the size that is best at each of 1,500 budgets, where a smaller and a larger one were trained as far.

    Points of a size (or of a named curve) are joined by monotone interpolation of log loss over log compute. Points
    along one training run are right only if the learning rate had decayed at each of them.

    Raises:
        UserError: the curves do not bracket an optimum at several budgets.
    """
    log_sizes, grid, table = _curve_table(runs, counting)
    found = _envelope(log_sizes, grid, table)
    if len(set(found[1])) < 2:
        raise UserError(
            "Approach 1 needs two or more sizes that are best at some budget, with a smaller and a larger size trained "
            f"to that budget; these runs of {len(set(log_sizes))} sizes show {len(set(found[1]))}: add sizes or tokens."
        )
    return _frontier_fit(1, counting, *found)


def fit_isoflop(
    runs: Sequence[Run], *, counting: Counting = "total", budgets: Sequence[float] | None = None
) -> FrontierFit:
    """Approach 2: the vertex of a parabola of log loss in log N at each budget.

    With `budgets` (FLOPs) the losses there are interpolated along each size's curve; without, runs of equal compute (to
    5 %) form the profiles. A parabola's vertex is biased where alpha and beta differ; its exponent hardly.

    Raises:
        UserError: fewer than two budgets have a minimum within their sizes.
    """
    chosen = tuple(budgets) if budgets is not None else None
    found, dropped = [], []
    for profile in _profiles(runs, counting, chosen):
        vertex = _vertex(profile.log_sizes, profile.log_losses)
        if isinstance(vertex, str):
            dropped.append(f"{np.exp(profile.log_compute):.3g} FLOPs: {vertex}")
        else:
            found.append((profile.log_compute, vertex))
    if len(found) < 2:
        raise UserError(
            f"Approach 2 needs two budgets with a minimum inside their sizes and found {len(found)} "
            f"({'; '.join(dropped) or 'no profiles'}): train more sizes at each budget."
        )
    return _frontier_fit(2, counting, *map(np.array, zip(*found, strict=True)), dropped=tuple(dropped), budgets=chosen)


def exponents(runs: Sequence[Run]) -> dict[str, float]:
    """The exponent of N_opt by Hoffmann's three approaches, and the largest difference between two."""
    found = {"approach 3": fit_law(runs).law.a}
    for name, fit in (("approach 1", fit_envelope), ("approach 2", fit_isoflop)):
        try:
            found[name] = fit(runs).a
        except UserError:
            found[name] = NO_FRONTIER
    return found | {"disagreement": max(found.values()) - min(found.values())}


def bootstrap_frontier(
    fit: FrontierFit, runs: Sequence[Run], *, resamples: int = 400, level: float = 0.95, seed: int = 0
) -> dict[str, PercentileInterval]:
    """Intervals of a and b, from curves (approach 1) or runs of each budget (approach 2) drawn with replacement.

    Draws that show no frontier are left out. With few sizes the interval of approach 1 is wide, and rightly: whether
    one curve was trained decides where the envelope steps.

    Raises:
        UserError: more than half of the draws show none.
    """
    rng = numpy_generator(seed, "bootstrap")
    exponents = []
    if fit.approach == 1:
        log_sizes, grid, table = _curve_table(runs, fit.counting)
        for _ in range(resamples):
            draw = rng.integers(len(log_sizes), size=len(log_sizes))
            exponents.append(_slope(*_envelope(log_sizes[draw], grid, table[draw])))
    else:
        profiles = _profiles(runs, fit.counting, fit.budgets)
        for _ in range(resamples):
            found = []
            for profile in profiles:
                draw = rng.integers(len(profile.log_sizes), size=len(profile.log_sizes))
                vertex = _vertex(profile.log_sizes[draw], profile.log_losses[draw])
                if not isinstance(vertex, str):
                    found.append((profile.log_compute, vertex))
            exponents.append(_slope(*np.array(found).reshape(-1, 2).T))
    a = np.array([value for value in exponents if value is not None])
    if len(a) < resamples / 2:
        raise UserError(
            f"Only {len(a)} of {resamples} bootstrap draws show a frontier: these runs are too few for an interval of "
            f"approach {fit.approach}; train more sizes."
        )
    return {"a": PercentileInterval.of(a, level), "b": PercentileInterval.of(1 - a, level)}


def _frontier_fit(
    approach: Literal[1, 2],
    counting: Counting,
    log_compute: Array,
    log_size: Array,
    dropped: tuple[str, ...] = (),
    budgets: tuple[float, ...] | None = None,
) -> FrontierFit:
    a, log_k = np.polyfit(log_compute, log_size, 1)
    points = tuple(
        Allocation(compute=float(c), parameters=float(n), tokens=float(c / (6 * n)))
        for c, n in zip(np.exp(log_compute), np.exp(log_size), strict=True)
    )
    frontier = Frontier(k=float(np.exp(log_k)), a=float(a))
    return FrontierFit(
        approach=approach, counting=counting, frontier=frontier, points=points, dropped=dropped, budgets=budgets
    )


def _slope(log_compute: Array, log_size: Array) -> float | None:
    if len(set(log_size)) < 2:
        return None
    return float(np.polyfit(log_compute, log_size, 1)[0])


def _curves(runs: Sequence[Run], counting: Counting) -> list[tuple[float, Array, Array]]:
    """(log N, log C, log L) of each curve, in order of compute; repeated points are averaged."""
    groups: dict[tuple[float, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.size(counting), run.curve), []).append(run)
    curves = []
    for (size, _), members in sorted(groups.items()):
        log_compute, place = np.unique(np.log([run.compute(counting) for run in members]), return_inverse=True)
        log_loss = np.bincount(place, np.log([run.loss for run in members])) / np.bincount(place)
        curves.append((float(np.log(size)), log_compute, log_loss))
    return curves


def _loss_at(log_compute: Array, log_loss: Array, at: Array) -> Array:
    """Log loss along a curve at log budgets; infinite beyond its ends."""
    if len(log_compute) < 2:
        return np.where(np.isclose(at, log_compute[0], atol=SAME_BUDGET, rtol=0), log_loss[0], np.inf)
    values = PchipInterpolator(log_compute, log_loss, extrapolate=False)(at)
    return np.where(np.isnan(values), np.inf, values)


def _curve_table(runs: Sequence[Run], counting: Counting) -> tuple[Array, Array, Array]:
    """log N of each curve, the log budgets, and the curves' log losses there [curves, budgets]."""
    curves = [curve for curve in _curves(runs, counting) if len(curve[1]) > 1]
    if not curves:
        raise UserError("Approach 1 needs curves: give each size at two or more token counts.")
    ends = [bound for _, log_compute, _ in curves for bound in (log_compute[0], log_compute[-1])]
    grid = np.linspace(min(ends), max(ends), BUDGETS)
    table = np.stack([_loss_at(log_compute, log_loss, grid) for _, log_compute, log_loss in curves])
    return np.array([log_size for log_size, *_ in curves]), grid, table


def _envelope(log_sizes: Array, grid: Array, table: Array) -> tuple[Array, Array]:
    """Log budgets at which the best size lies between others that were trained as far, and its log N."""
    best = log_sizes[table.argmin(0)]
    seen = np.isfinite(table)
    smallest = np.where(seen, log_sizes[:, None], np.inf).min(0)
    largest = np.where(seen, log_sizes[:, None], -np.inf).max(0)
    bracketed = (smallest < best) & (best < largest)
    return grid[bracketed], best[bracketed]


def _profiles(runs: Sequence[Run], counting: Counting, budgets: tuple[float, ...] | None) -> list[_Profile]:
    if budgets is not None:
        curves = _curves(runs, counting)
        at = np.log(np.array(budgets))
        table = np.stack([_loss_at(log_compute, log_loss, at) for _, log_compute, log_loss in curves])
        log_sizes = np.array([log_size for log_size, *_ in curves])
        return [
            _Profile(log_compute=c, log_sizes=log_sizes[np.isfinite(losses)], log_losses=losses[np.isfinite(losses)])
            for c, losses in zip(at, table.T, strict=True)
        ]
    ordered = sorted(runs, key=lambda run: run.compute(counting))
    log_compute = np.log([run.compute(counting) for run in ordered])
    groups = np.split(np.arange(len(ordered)), np.flatnonzero(np.diff(log_compute) > SAME_BUDGET) + 1)
    return [
        _Profile(
            log_compute=float(log_compute[group].mean()),
            log_sizes=np.log([ordered[i].size(counting) for i in group]),
            log_losses=np.log([ordered[i].loss for i in group]),
        )
        for group in groups
    ]


def _vertex(log_sizes: Array, log_losses: Array) -> float | str:
    """Where the parabola through a profile is lowest, or why it has no minimum."""
    if len(set(log_sizes)) < 3:
        return f"{len(set(log_sizes))} sizes, where a parabola needs 3"
    curvature, slope, _ = np.polyfit(log_sizes, log_losses, 2)
    if curvature <= 0:
        return "the parabola opens downwards"
    vertex = -slope / (2 * curvature)
    if not log_sizes.min() <= vertex <= log_sizes.max():
        return f"the vertex, {np.exp(min(vertex, 700.0)):.3g} parameters, lies outside the sizes trained"
    return float(vertex)
