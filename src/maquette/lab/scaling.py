"""Fits of L(N, D) to training runs: Hoffmann's approach 3, the same law without floor, and Kaplan's joint law.

All three minimise Hoffmann's objective (2203.15556, section D.2): a Huber loss with delta = 1e-3 on the log of the
loss, by L-BFGS from a grid of starts. Besiroglu et al. (2404.10102) found why the published fit is wrong: the objective
was averaged over runs, which makes it so small that the optimiser's default tolerances call any place an optimum.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.lab.laws import Counting, Hoffmann, Kaplan
from maquette.lab.scaling_runs import PercentileInterval, Run, planted_runs

DELTA = 1e-3
"""Where the Huber loss turns from square to absolute, in log loss (Hoffmann, section D.2)."""

Array = np.ndarray
Form = Literal["hoffmann", "no-floor", "kaplan"]
Reduction = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class _Parametrisation:
    """A law in the coordinates that the optimiser moves in."""

    law: Callable[[Array], Hoffmann | Kaplan]
    predict: Callable[[Array, Array, Array], tuple[Array, Array]]
    """(theta [..., p], log N [n], log D [n]) to log L [..., n] and its Jacobian [..., p, n]."""
    grid: tuple[tuple[float, ...], ...]
    """Starting values of each coordinate."""


def _predict_hoffmann(theta: Array, n: Array, d: Array) -> tuple[Array, Array]:
    """Equation 10: log L = LSE(a - alpha n, b - beta d, e), theta = (a, b, alpha, beta[, e])."""
    columns = theta[..., None]
    terms = [columns[..., 0, :] - columns[..., 2, :] * n, columns[..., 1, :] - columns[..., 3, :] * d]
    if theta.shape[-1] == 5:
        terms.append(np.broadcast_to(columns[..., 4, :], terms[0].shape))
    log_terms = np.stack(terms, -2)
    top = log_terms.max(-2)
    shares = np.exp(log_terms - top[..., None, :])
    total = shares.sum(-2)
    shares /= total[..., None, :]
    slopes = -shares[..., :2, :] * np.stack([n, d])
    return top + np.log(total), np.concatenate([shares[..., :2, :], slopes, shares[..., 2:, :]], -2)


def _predict_kaplan(theta: Array, n: Array, d: Array) -> tuple[Array, Array]:
    """Equation 1.5 in logs, theta = (log N_c, log D_c, log alpha_N, log alpha_D): the exponents stay positive."""
    n_c, d_c = theta[..., 0, None], theta[..., 1, None]
    alpha_n, alpha_d = np.exp(theta[..., 2, None]), np.exp(theta[..., 3, None])
    by_size, by_data = alpha_n / alpha_d * (n_c - n), d_c - d
    log_sum = np.logaddexp(by_size, by_data)
    share = np.exp(by_size - log_sum)
    jacobian = [
        alpha_n * share,
        alpha_d * (1 - share),
        alpha_d * share * by_size,
        alpha_d * (log_sum - share * by_size),
    ]
    return alpha_d * log_sum, np.stack(jacobian, -2)


def _exp(x: float) -> float:
    return math.exp(min(max(float(x), -700.0), 700.0))


def _hoffmann(theta: Array) -> Hoffmann:
    floor = _exp(theta[4]) if len(theta) == 5 else 0.0
    return Hoffmann(E=floor, A=_exp(theta[0]), B=_exp(theta[1]), alpha=float(theta[2]), beta=float(theta[3]))


def _kaplan(theta: Array) -> Kaplan:
    n_c, d_c, alpha_n, alpha_d = map(_exp, theta)
    return Kaplan(N_c=n_c, D_c=d_c, alpha_N=alpha_n, alpha_D=alpha_d)


_LOG_CONSTANTS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
_EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0)
_POWERS = (_LOG_CONSTANTS, _LOG_CONSTANTS, _EXPONENTS, _EXPONENTS)
# Hoffmann's own 4,500 starts, and e = -2 for the losses of characters, whose floor is lower than that of tokens
_FLOORS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0)
_SCALES = (10.0, 20.0, 30.0, 40.0, 60.0)
_LOG_EXPONENTS = tuple(math.log(value) for value in (0.03, 0.06, 0.12, 0.25, 0.5, 1.0))
_FORMS: dict[str, _Parametrisation] = {
    "hoffmann": _Parametrisation(law=_hoffmann, predict=_predict_hoffmann, grid=(*_POWERS, _FLOORS)),
    "no-floor": _Parametrisation(law=_hoffmann, predict=_predict_hoffmann, grid=_POWERS),
    "kaplan": _Parametrisation(
        law=_kaplan, predict=_predict_kaplan, grid=(_SCALES, _SCALES, _LOG_EXPONENTS, _LOG_EXPONENTS)
    ),
}


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """Whether a fit may be believed as an optimum."""

    imbalance: float
    """Largest component of the gradient over the sum of its runs' absolute pulls: 0 at an optimum, at most 1."""
    agreeing: float
    """Share of the starts whose end has the best objective, to one part in a thousand."""
    inside: bool
    """Whether the optimum lies within the grid of starts."""

    @property
    def warning(self) -> str | None:
        """What is wrong, in one sentence; None when nothing is."""
        if self.imbalance > 1e-4:
            return (
                f"The optimiser stopped before an optimum (gradient imbalance {self.imbalance:.2g}); do not use this."
            )
        if not self.inside:
            return "The optimum lies outside the grid of starts: these runs do not determine every constant of the law."
        if self.agreeing < 0.05:
            return f"Only {self.agreeing:.0%} of the starts reach the best objective: fit again with more starts."
        return None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted law, and how well it was found."""

    law: Hoffmann | Kaplan
    form: Form
    counting: Counting
    objective: float
    """Huber loss of the log loss, summed over runs."""
    convergence: Convergence
    coordinates: tuple[float, ...]
    """The optimum as the optimiser has it; the bootstrap starts there."""


def grid_starts(form: Form, count: int, seed: int = 0) -> Float[np.ndarray, "count p"]:
    """`count` points of the form's grid of starts; a larger count holds a smaller one's."""
    grid = np.array(list(product(*_FORMS[form].grid)))
    return grid[numpy_generator(seed, "starts").permutation(len(grid))[:count]]


def fit_law(
    runs: Sequence[Run],
    *,
    form: Form = "hoffmann",
    counting: Counting = "total",
    reduction: Reduction = "sum",
    starts: int = 100,
    seed: int = 0,
) -> Fit:
    """Fit a law of the loss by Hoffmann's approach 3 from `starts` places of the grid, drawn by `seed`.

    L-BFGS-B runs from each with scipy's default tolerances, whatever the reduction. With "sum" its ends are then
    carried on to a flat gradient by Newton steps; with "mean" they are left where it stopped, the published error.

    Raises:
        UserError: too few runs, sizes or token counts to determine the law.
    """
    shape = _FORMS[form]
    n, d, y = _logs(runs, counting)
    if min(len(set(n)), len(set(d))) < 3 or len(y) <= len(shape.grid):
        raise UserError(
            f"{len(y)} runs of {len(set(n))} sizes and {len(set(d))} token counts do not determine the {form} law: "
            f"give at least {len(shape.grid) + 1} runs, of 3 sizes and 3 token counts."
        )
    ends = _descend(shape, grid_starts(form, starts, seed), n, d, y, reduction)
    if reduction == "sum":
        ends = _polish(shape, ends, n, d, y, np.ones((1, len(y))))
    with np.errstate(all="ignore"):
        residuals = shape.predict(ends, n, d)[0] - y
    objectives = np.nan_to_num(_huber(residuals).sum(-1), nan=np.inf)
    best = int(objectives.argmin())
    negligible = 1e-6 * DELTA**2 * len(y)
    return Fit(
        law=shape.law(ends[best]),
        form=form,
        counting=counting,
        objective=float(objectives[best]),
        convergence=Convergence(
            imbalance=_imbalance(shape, ends[best], n, d, y) if objectives[best] > negligible else 0.0,
            agreeing=float(np.mean(objectives <= objectives[best] * 1.001 + negligible)),
            inside=all(min(axis) <= x <= max(axis) for x, axis in zip(ends[best], shape.grid, strict=True)),
        ),
        coordinates=tuple(map(float, ends[best])),
    )


def recovery_error(truth: Hoffmann, *, reduction: Reduction, count: int, noise: float, seed: int) -> float:
    """How far a fit to planted runs is from their law: the largest relative error of E, alpha and beta.

    These the runs determine; A and B are determined together with alpha and beta only.
    """
    fit = fit_law(planted_runs(truth, count=count, noise=noise, seed=seed), reduction=reduction).law
    return max(abs(getattr(fit, name) / getattr(truth, name) - 1) for name in ("E", "alpha", "beta"))


def _logs(runs: Sequence[Run], counting: Counting) -> tuple[Array, Array, Array]:
    table = np.array([(run.size(counting), run.tokens, run.loss) for run in runs], dtype=float).reshape(-1, 3)
    return tuple(np.log(table).T)


def _huber(residuals: Array) -> Array:
    size = np.abs(residuals)
    return np.where(size <= DELTA, residuals**2 / 2, DELTA * (size - DELTA / 2))


def _descend(shape: _Parametrisation, starts: Array, n: Array, d: Array, y: Array, reduction: Reduction) -> Array:
    """The ends of L-BFGS-B at scipy's default tolerances, one a start."""
    scale = len(y) if reduction == "mean" else 1

    def objective(theta: Array) -> tuple[float, Array]:
        value, jacobian = shape.predict(theta, n, d)
        residuals = value - y
        return _huber(residuals).sum() / scale, jacobian @ residuals.clip(-DELTA, DELTA) / scale

    with np.errstate(all="ignore"):
        return np.stack([minimize(objective, start, jac=True, method="L-BFGS-B").x for start in starts])


def _polish(
    shape: _Parametrisation, theta: Array, n: Array, d: Array, y: Array, weights: Array, steps: int = 100
) -> Array:
    """Newton steps on the Huber loss of many fits at once, each damped until it descends.

    The curvature is that of the runs within delta, plus `damping` times that of iteratively reweighted least squares,
    which alone (damping 1) always descends. theta [fits, p]; weights [fits or 1, runs] count each run.
    """
    theta, damping = theta.copy(), np.ones((len(theta), 1))
    with np.errstate(all="ignore"):
        value, jacobian = shape.predict(theta, n, d)
        residuals = value - y
        objective = (weights * _huber(residuals)).sum(-1)
        for _ in range(steps):
            gradient = np.einsum("bpn,bn->bp", jacobian, weights * residuals.clip(-DELTA, DELTA))
            reweighted = np.minimum(1, DELTA / np.maximum(np.abs(residuals), 1e-300))
            curvature = weights * ((np.abs(residuals) <= DELTA) + damping * reweighted)
            hessian = (jacobian * curvature[:, None, :]) @ jacobian.transpose(0, 2, 1)
            ridge = 1e-12 * np.einsum("bpp->bp", hessian) + 1e-30
            hessian += np.eye(theta.shape[1]) * ridge[:, None, :]
            moved = theta - np.linalg.solve(hessian, gradient[..., None])[..., 0]
            value, moved_jacobian = shape.predict(moved, n, d)
            moved_residuals = value - y
            moved_objective = (weights * _huber(moved_residuals)).sum(-1)
            better = moved_objective < objective
            theta[better], residuals[better] = moved[better], moved_residuals[better]
            jacobian[better], objective[better] = moved_jacobian[better], moved_objective[better]
            damping = np.where(better[:, None], np.maximum(damping / 5, 1e-8), np.minimum(damping * 4, 1e6))
    return theta


def _imbalance(shape: _Parametrisation, theta: Array, n: Array, d: Array, y: Array) -> float:
    value, jacobian = shape.predict(theta, n, d)
    pulls = jacobian * (value - y).clip(-DELTA, DELTA)
    return float((np.abs(pulls.sum(-1)) / np.abs(pulls).sum(-1).clip(1e-300)).max())


def bootstrap_law(
    fit: Fit, runs: Sequence[Run], *, resamples: int = 400, level: float = 0.95, seed: int = 0
) -> dict[str, PercentileInterval]:
    """Intervals of the law's constants and of the exponents a and b, from runs drawn with replacement.

    Runs of one curve are drawn together. Each resample starts at the fit, so that all of them cost about one fit;
    constants that the runs barely determine may have other optima further away, which this does not see.
    """
    shape = _FORMS[fit.form]
    n, d, y = _logs(runs, fit.counting)
    names = [run.curve or index for index, run in enumerate(runs)]
    clusters = {name: place for place, name in enumerate(dict.fromkeys(names))}
    draws = numpy_generator(seed, "bootstrap").multinomial(
        len(clusters), np.full(len(clusters), 1 / len(clusters)), size=resamples
    )
    weights = draws[:, [clusters[name] for name in names]].astype(float)
    laws = [shape.law(x) for x in _polish(shape, np.tile(fit.coordinates, (resamples, 1)), n, d, y, weights)]
    samples = {name: [getattr(law, name) for law in laws] for name in fit.law.__dataclass_fields__}
    samples |= {"a": [law.a for law in laws], "b": [1 - law.a for law in laws]}
    return {name: PercentileInterval.of(values, level) for name, values in samples.items()}
