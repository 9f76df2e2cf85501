"""What a sweep of sizes and budgets looks like, for any study of scaling and for a user's own runs."""

from collections.abc import Iterator, Sequence

import numpy as np

from maquette.lab.figures import Figure, Series
from maquette.lab.frontiers import SAME_BUDGET
from maquette.lab.laws import Hoffmann, Kaplan
from maquette.lab.scaling_runs import Run

_LOSS = "held-out loss (nats a token)"


def loss_curves(runs: Sequence[Run]) -> Figure:
    """Loss over compute, a curve a size."""
    sizes = sorted({run.parameters for run in runs})
    series = []
    for size in sizes:
        own = sorted((run for run in runs if run.parameters == size), key=lambda run: run.tokens)
        x, y = [run.compute("total") for run in own], [run.loss for run in own]
        series.append(Series(x=x, y=y, mark="both", label=f"{size:,.0f} parameters"))
    return Figure(
        title="Loss over compute, the sizes trained so far",
        x="training FLOPs, 6 N D",
        y=_LOSS,
        series=series,
        kind="log-log",
        caption="Every point is a finished run: its learning rate has come down to zero.",
    )


def isoflop_profiles(
    runs: Sequence[Run], law: Hoffmann | Kaplan, *, large: Run | None = None, foretold: float | None = None
) -> Figure:
    """Loss over size at each budget and the law fitted to them; apart, a large run and what was foretold of it."""
    series = []
    for group, profile in enumerate(_profiles(runs)):
        budget = profile[0].compute("total")
        x, y = [run.parameters for run in profile], [run.loss for run in profile]
        grid = np.geomspace(min(x), max(x), 40)
        line = np.asarray(law.loss(grid, budget / (6 * grid))).tolist()
        series += [
            Series(x=x, y=y, mark="points", group=group, label=f"{budget:.1e} FLOPs"),
            Series(x=grid.tolist(), y=line, group=group),
        ]
    if large is not None:
        label = f"{large.compute('total'):.1e} FLOPs, measured"
        series.append(Series(x=[large.parameters], y=[large.loss], mark="star", group=5, label=label))
        if foretold is not None:
            series.append(Series(x=[large.parameters], y=[foretold], mark="points", muted=True, label="foretold"))
    return Figure(
        title="A law fitted on small runs, and the large run",
        x="parameters",
        y=_LOSS,
        series=series,
        kind="log-log",
        caption="Each colour is one budget of compute; lines are the law, fitted to all points but the large run. What "
        "it foretells of the large run was written down before that run began.",
    )


def _profiles(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs of equal compute, by budget, each by size."""
    left = sorted(runs, key=lambda run: run.compute("total"))
    while left:
        limit = left[0].compute("total") * (1 + SAME_BUDGET) ** 2
        profile = [run for run in left if run.compute("total") <= limit]
        left = left[len(profile) :]
        yield sorted(profile, key=lambda run: run.parameters)
