"""Which interval covers a mean from few seeds? Seven methods on simulated measures whose true mean is known.

    python benchmarks/intervals.py             the tables of docs/statistics.md, about four minutes on an idle core
    python benchmarks/intervals.py --record    and all of it kept in results/benchmarks/intervals.json

Every method sees the same samples, at 95 % and at the confidences that looks use. A false verdict is a look, the first
that decides, whose interval leaves out a truth that lies exactly on the bound of a claim's region. Power is the chance
to reproduce an effect that `detectable` says is found 8 times in 10.
"""

import argparse
import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from maquette.core.files import write_json
from maquette.core.provenance import circumstances
from maquette.core.statistics import LOOKS, alpha_at, detectable

RECORD = Path("results/benchmarks/intervals.json")
SAMPLES, CHUNK, RESAMPLES = 20_000, 1000, 4000
SIZES, CLAIMS = (*LOOKS, 30), (1, 5)
CHOSEN, POWER = "Student's t", 0.8
ROUNDING = 1e-9
Bounds = tuple[np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What seeds give: values whose mean over all seeds is 0."""

    kind: str
    draw: Draw


def lognormal(sigma: float) -> Draw:
    """An error or a loss of median 1 whose logarithm has the standard deviation `sigma` over seeds."""
    return lambda rng, shape: rng.lognormal(0, sigma, shape) - math.exp(sigma**2 / 2)


def proportion(p: float, items: int = 100) -> Draw:
    """An accuracy on items of its own."""
    return lambda rng, shape: rng.binomial(items, p, shape) / items - p


def success(p: float) -> Draw:
    """What a seed either does or does not."""
    return proportion(p, items=1)


def beta(a: float, b: float) -> Draw:
    """A score between 0 and 1."""
    return lambda rng, shape: rng.beta(a, b, shape) - a / (a + b)


def difference(one: Draw, other: Draw) -> Draw:
    """Of two arms."""
    return lambda rng, shape: one(rng, shape) - other(rng, shape)


MEASURES = {
    "normal": Measure(kind="normal", draw=lambda rng, shape: rng.standard_normal(shape)),
    "difference of proportions, 0.9 and 0.9": Measure(
        kind="bounded", draw=difference(proportion(0.9), proportion(0.9))
    ),
    "difference of proportions, 0.97 and 0.8": Measure(
        kind="bounded", draw=difference(proportion(0.97), proportion(0.8))
    ),
    "proportion 0.9": Measure(kind="bounded", draw=proportion(0.9)),
    "proportion 0.97": Measure(kind="bounded", draw=proportion(0.97)),
    "beta(1, 1)": Measure(kind="bounded", draw=beta(1, 1)),
    "beta(2, 6)": Measure(kind="bounded", draw=beta(2, 6)),
    "proportion 0.99": Measure(kind="at a bound", draw=proportion(0.99)),
    "beta(8, 1)": Measure(kind="at a bound", draw=beta(8, 1)),
    "beta(0.5, 0.5)": Measure(kind="at a bound", draw=beta(0.5, 0.5)),
    "difference of lognormals, σ 0.5 and 0.5": Measure(kind="skewed", draw=difference(lognormal(0.5), lognormal(0.5))),
    "difference of lognormals, σ 0.5 and 0.25": Measure(
        kind="skewed", draw=difference(lognormal(0.5), lognormal(0.25))
    ),
    "lognormal, σ 0.25": Measure(kind="skewed", draw=lognormal(0.25)),
    "lognormal, σ 0.5": Measure(kind="skewed", draw=lognormal(0.5)),
    "lognormal, σ 1": Measure(kind="skewed", draw=lognormal(1)),
    **{f"success, {p:g}": Measure(kind="discrete", draw=success(p)) for p in (0.8, 0.9, 0.95)},
    "accuracy 0.98 on 20 items": Measure(kind="discrete", draw=proportion(0.98, items=20)),
    "accuracy 0.9 on 10 items": Measure(kind="discrete", draw=proportion(0.9, items=10)),
}


class Seen:
    """Samples, a row each, with what several methods need of them."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.n = values, values.shape[1]
        self.mean, self.sd = values.mean(axis=1), values.std(axis=1, ddof=1)
        self.error = self.sd / math.sqrt(self.n)

    @functools.cached_property
    def resampled(self) -> Bounds:
        """Means and Student's t of resamples, each row sorted."""
        weights = np.random.default_rng(1).multinomial(self.n, np.full(self.n, 1 / self.n), size=RESAMPLES).T / self.n
        centred = self.values - self.mean[:, None]
        means = centred @ weights
        errors = np.sqrt(np.maximum(centred**2 @ weights - means**2, 0) / (self.n - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(errors > 1e-9, means / errors, np.copysign(np.inf, means))
        return np.sort(means + self.mean[:, None], axis=1), np.sort(t, axis=1)


def student(seen: Seen, confidence: float) -> Bounds:
    """Student 1908."""
    half = stats.t.ppf((1 + confidence) / 2, seen.n - 1) * seen.error
    return seen.mean - half, seen.mean + half


def johnson(seen: Seen, confidence: float) -> Bounds:
    """Johnson 1978: Student's, moved by κ₃ / 6 s² n for skewness."""
    third = ((seen.values - seen.mean[:, None]) ** 3).mean(axis=1) * seen.n**2 / ((seen.n - 1) * (seen.n - 2))
    shift = np.divide(third, 6 * seen.n * seen.sd**2, out=np.zeros_like(third), where=seen.sd > 0)
    low, high = student(seen, confidence)
    return low + shift, high + shift


def bootstrap_t(seen: Seen, confidence: float) -> Bounds:
    """Efron 1979: t has the quantiles that it has over resamples."""
    low, high = (at(seen.resampled[1], level) for level in tails(confidence))
    some = seen.sd > 0
    return seen.mean - np.where(some, high, 0) * seen.error, seen.mean - np.where(some, low, 0) * seen.error


def percentile(seen: Seen, confidence: float) -> Bounds:
    """Efron 1979: the quantiles of the resamples' means."""
    low, high = (at(seen.resampled[0], level) for level in tails(confidence))
    return low, high


def bca(seen: Seen, confidence: float) -> Bounds:
    """Efron 1987: those quantiles, corrected for bias and acceleration."""
    means = seen.resampled[0]
    mean = seen.mean[:, None]
    share = ((means < mean).mean(axis=1) + (means <= mean).mean(axis=1)) / 2
    bias = stats.norm.ppf(np.clip(share, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    centred = seen.values - mean  # the jackknife's deviations, up to a factor that cancels
    squares = (centred**2).sum(axis=1)
    cubes = (centred**3).sum(axis=1)
    acceleration = np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(cubes), where=squares > 0)
    z = [bias + stats.norm.ppf(level) for level in tails(confidence)]
    low, high = (at(means, stats.norm.cdf(bias + one / (1 - acceleration * one))) for one in z)
    return low, high


def wilcoxon(seen: Seen, confidence: float) -> Bounds:
    """Wilcoxon 1945, Hodges & Lehmann 1963: ordered means of pairs."""
    first, second = np.triu_indices(seen.n)
    ways = np.ones(1)  # of the signed ranks 1 to n to add up to 0, 1, 2, …
    for rank in range(1, seen.n + 1):
        ways = np.convolve(ways, np.eye(1, rank + 1, 0)[0] + np.eye(1, rank + 1, rank)[0])
    pairs = (seen.values[:, first] + seen.values[:, second]) / 2
    return ranked(pairs, np.cumsum(ways) / 2**seen.n, confidence)


def sign(seen: Seen, confidence: float) -> Bounds:
    """Order statistics around the median."""
    return ranked(seen.values, stats.binom.cdf(np.arange(seen.n), seen.n, 0.5), confidence)


def tails(confidence: float) -> tuple[float, float]:
    """The levels of the two bounds."""
    return (1 - confidence) / 2, (1 + confidence) / 2


def at(rows: np.ndarray, level: float | np.ndarray) -> np.ndarray:
    """The quantile of each sorted row at a level, or at one of its own."""
    place = np.clip(np.floor(np.asarray(level) * rows.shape[1]).astype(int), 0, rows.shape[1] - 1)
    return np.take_along_axis(rows, np.broadcast_to(place, len(rows))[:, None], axis=1)[:, 0]


def ranked(values: np.ndarray, below: np.ndarray, confidence: float) -> Bounds:
    """The order statistics that leave out at most their share on either side; infinite where there are none."""
    rows, rank = np.sort(values, axis=1), int((below <= (1 - confidence) / 2).sum())
    if not rank:
        return np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    return rows[:, rank - 1], rows[:, -rank]


METHODS: dict[str, Callable[[Seen, float], Bounds]] = {
    "Student's t": student,
    "Johnson's t": johnson,
    "bootstrap-t": bootstrap_t,
    "percentile": percentile,
    "BCa": bca,
    "Wilcoxon": wilcoxon,
    "sign": sign,
}


def measured(measure: Measure) -> dict[str, Any]:
    """Coverage and width at every n and confidence, and verdicts over all looks, of each method."""
    rng = np.random.default_rng(0)
    found: dict[tuple[int, float, str], list[Bounds]] = {}
    for _ in range(SAMPLES // CHUNK):
        values = measure.draw(rng, (CHUNK, max(SIZES)))
        for n in SIZES:
            seen = Seen(values[:, :n])
            for confidence in confidences(n):
                for name, method in METHODS.items():
                    found.setdefault((n, confidence, name), []).append(method(seen, confidence))
    bounds = {key: np.concatenate(parts, axis=1) for key, parts in found.items()}
    many = measure.draw(rng, (1_000_000, 1))
    effect = detectable(float(many.std()), max(LOOKS), 1, power=POWER)
    return {
        "kind": measure.kind,
        "skewness": round(float(stats.skew(many)[0]), 3),
        "intervals": [
            {"n": n, "confidence": confidence, "method": name}
            | covered(low, high)
            | {"width": against(low, high, *bounds[n, confidence, CHOSEN])}
            for (n, confidence, name), (low, high) in bounds.items()
        ],
        "looks": [
            {"claims": claims, "method": name, "wrong": decided([bounds[n, level_at(n, claims), name] for n in LOOKS])}
            for claims in CLAIMS
            for name in METHODS
        ],
        "without_spread": decided([bounds[n, level_at(n, 1), CHOSEN] for n in LOOKS], spread=False),
        "power": {
            side: decided([bounds[n, level_at(n, 1), CHOSEN] + shift for n in LOOKS])[side]
            for side, shift in (("above", effect), ("below", -effect))
        },
    }


def confidences(n: int) -> list[float]:
    """95 %, and what a look at `n` uses."""
    return [0.95, *(level_at(n, claims) for claims in CLAIMS if n in LOOKS)]


def level_at(n: int, claims: int) -> float:
    """The confidence at look `n` of 5, 8 and 12 where no other of `claims` claims is decided."""
    return 1 - alpha_at(n, LOOKS) / claims


def covered(low: np.ndarray, high: np.ndarray) -> dict[str, float]:
    """How often the interval holds the truth, which is 0, lies above it and below it; rounding is no miss."""
    above, below = rate(low > ROUNDING), rate(high < -ROUNDING)
    return {"covers": round(1 - above - below, 5), "above": above, "below": below}


def against(low: np.ndarray, high: np.ndarray, t_low: np.ndarray, t_high: np.ndarray) -> float | None:
    """The median width over that of Student's t; None where it is infinite."""
    ratio = float(np.median(high - low) / np.median(t_high - t_low))
    return round(ratio, 4) if math.isfinite(ratio) else None


def decided(bounds: list[np.ndarray], *, spread: bool = True) -> dict[str, float]:
    """How often the first look whose interval leaves out 0 lies above it, and how often below.

    An interval of no width decides nothing, unless decisions may do without `spread`.
    """
    undecided, found = np.ones(bounds[0].shape[1], dtype=bool), {"above": 0.0, "below": 0.0}
    for low, high in bounds:
        open_ = undecided & ((high - low > ROUNDING) | (not spread))
        above, below = open_ & (low > ROUNDING), open_ & (high < -ROUNDING)
        found["above"] += above.mean()
        found["below"] += below.mean()
        undecided &= ~(above | below)
    return {side: round(float(share), 5) for side, share in found.items()}


def rate(these: np.ndarray) -> float:
    """The share of samples, of which there are too few for more digits."""
    return round(float(these.mean()), 5)


def tables(record: dict[str, Any]) -> str:
    """Markdown tables: the methods on three measures; the chosen one on all; on discrete ones, what spread is for."""
    three = [record["measures"][name]["intervals"] for name in ("normal", "proportion 0.9", "lognormal, σ 0.5")]
    lines = [row("method", *(f"n = {n}" for n in SIZES)), "|---|" + "---|" * len(SIZES)]
    for method in METHODS:
        cells = []
        for n in SIZES:
            ones = [pick(rows, method=method, n=n, confidence=0.95) for rows in three]
            width = f", × {ones[0]['width']:.2f}" if ones[0]["width"] else ", no bounds"
            cells.append(shares(*(one["covers"] for one in ones)) + width)
        lines.append(row(method, *cells))
    columns = ("n = 5", "n = 8", "n = 12", "false, 1 claim", "false, 5 claims", "power")
    lines += ["", row("measure", "skewness", *columns), "|---|" + "--:|" * (1 + len(columns))]
    for name, one in record["measures"].items():
        covers = [pick(one["intervals"], method=CHOSEN, n=n, confidence=0.95)["covers"] for n in LOOKS]
        wrong = [(claims, pick(one["looks"], method=CHOSEN, claims=claims)["wrong"]) for claims in CLAIMS]
        cells = [shares(*(claims * sides[side] for side in sides)) for claims, sides in wrong]
        skewness = f"{round(one['skewness'], 1) + 0.0:.1f}".replace("-", "−")
        lines.append(row(name, skewness, *map(shares, covers), *cells, shares(*one["power"].values())))
    lines += ["", row("measure", "seeds that are all the same decide", "they decide nothing"), "|---|--:|--:|"]
    for name, one in record["measures"].items():
        if one["kind"] == "discrete":
            wrong = pick(one["looks"], method=CHOSEN, claims=1)["wrong"]
            lines.append(row(name, shares(*one["without_spread"].values()), shares(*wrong.values())))
    return "\n".join(lines)


def row(*cells: str) -> str:
    """Of a table."""
    return "| " + " | ".join(cells) + " |"


def shares(*each: float) -> str:
    """In per cent."""
    return " / ".join(f"{100 * share:.1f}" for share in each)


def pick(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """The row with these values."""
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def main() -> int:
    """Simulate, print, and with --record write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    arguments = parser.parse_args()
    record = {
        **circumstances(),
        "samples": SAMPLES,
        "resamples": RESAMPLES,
        "measures": {name: measured(measure) for name, measure in MEASURES.items()},
    }
    print(tables(record))
    if arguments.record:
        write_json(RECORD, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
