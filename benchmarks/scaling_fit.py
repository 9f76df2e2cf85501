"""Hoffmann's approach 3 on 245 points from 100 starts: ours against the scipy loop one would otherwise write.

Both minimise the same summed Huber loss from the same starts; the plain loop leaves the gradient to scipy's finite
differences. Rounds are interleaved. Exits with 1 when the two laws differ. Run: python benchmarks/scaling_fit.py
"""

import sys
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize
from scipy.special import logsumexp
from timing import ratio, spread, take_turns

from maquette.lab.laws import PUBLISHED, Hoffmann
from maquette.lab.scaling import DELTA, fit_law, grid_starts
from maquette.lab.scaling_runs import Run, planted_runs

POINTS, STARTS, ROUNDS, TARGET_SECONDS = 245, 100, 3, 3.0


def plain_scipy(runs: list[Run], starts: np.ndarray) -> tuple[Hoffmann, float]:
    """The loop over starts that the equation suggests, gradients by finite differences."""
    n, d, y = np.log([(run.parameters, run.tokens, run.loss) for run in runs]).T

    def objective(theta: np.ndarray) -> float:
        a, b, alpha, beta, e = theta
        predicted = logsumexp(np.stack([a - alpha * n, b - beta * d, np.full_like(n, e)]), axis=0)
        size = np.abs(predicted - y)
        return float(np.where(size <= DELTA, size**2 / 2, DELTA * (size - DELTA / 2)).sum())

    best = min((minimize(objective, start, method="L-BFGS-B") for start in starts), key=lambda result: result.fun)
    a, b, alpha, beta, e = best.x
    return Hoffmann(E=float(np.exp(e)), A=float(np.exp(a)), B=float(np.exp(b)), alpha=alpha, beta=beta), float(best.fun)


def main() -> int:
    """Print the table; 1 when the laws differ."""
    law = PUBLISHED["besiroglu"].law
    assert isinstance(law, Hoffmann)
    runs, starts = planted_runs(law, count=POINTS), grid_starts("hoffmann", STARTS)
    fit, (plain, plain_objective) = fit_law(runs, starts=STARTS), plain_scipy(runs, starts)
    turns = take_turns(ROUNDS, partial(fit_law, runs, starts=STARTS), partial(plain_scipy, runs, starts))
    seconds = dict(zip(("maquette", "plain scipy"), turns, strict=True))
    ours = fit.law
    assert isinstance(ours, Hoffmann)

    table = Table(
        "",
        "seconds (min to max)",
        "objective",
        "E",
        "A",
        "B",
        "alpha",
        "beta",
        "a",
        title=f"{POINTS} points, {STARTS} starts",
    )
    for name, law, objective in (("maquette", ours, fit.objective), ("plain scipy", plain, plain_objective)):
        constants = (
            f"{law.E:.4f}",
            f"{law.A:.1f}",
            f"{law.B:.1f}",
            f"{law.alpha:.4f}",
            f"{law.beta:.4f}",
            f"{law.a:.4f}",
        )
        table.add_row(name, f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}", f"{objective:.7g}", *constants)
    parameters, tokens = np.array([(run.parameters, run.tokens) for run in runs]).T
    difference = float(np.abs(np.log(ours.loss(parameters, tokens) / plain.loss(parameters, tokens))).max())
    # both ends are stated to scipy's default tolerance, so a tenth of delta is far inside what either can claim
    equal = difference < DELTA / 10 and abs(ours.a - plain.a) < 1e-3 and fit.objective <= plain_objective * (1 + 1e-9)
    console = Console(width=130)
    console.print(table)
    console.print(f"plain / maquette: {spread(ratio(seconds['plain scipy'], seconds['maquette']))} in {ROUNDS} rounds")
    console.print(
        f"largest difference of predicted log losses: {difference:.1e}; the laws {'are equal' if equal else 'DIFFER'}"
    )
    within = max(seconds["maquette"]) <= TARGET_SECONDS
    console.print(f"target {TARGET_SECONDS:g} s: {'met' if within else 'missed'} by the slowest round")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
