import importlib.util
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from maquette.core.errors import UserError
from maquette.core.statistics import (
    ALPHA,
    LOOKS,
    alpha_at,
    alpha_spent,
    bootstrap_interval,
    detectable,
    equivalent,
    holm_levels,
    p_value,
    paired_interval,
    planned_looks,
    power,
    rank_correlation,
    seeds_needed,
    spread,
    wilson_interval,
)

ROOT = Path(__file__).parents[2]
SAMPLE = np.random.default_rng(0).normal(size=8).tolist()
MANY = np.random.default_rng(1).lognormal(size=60).tolist()


def bounds(interval):
    return pytest.approx((interval.low, interval.high))


def test_paired_interval_of_a_worked_example():
    interval = paired_interval([1, 2, 3, 4, 5], 0.95)  # sd √2.5, t(4, 0.975) = 2.776
    assert (interval.mean, interval.n) == (3, 5)
    assert interval.high - 3 == pytest.approx(2.776 * np.sqrt(2.5 / 5), abs=1e-3)
    assert 3 - interval.low == pytest.approx(interval.high - 3)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_paired_interval_is_scipys(confidence):
    assert bounds(paired_interval(SAMPLE, confidence)) == tuple(
        stats.ttest_1samp(SAMPLE, 0).confidence_interval(confidence)
    )


@pytest.mark.parametrize(("values", "confidence"), [([1.0], 0.95), ([], 0.95), ([1, 2], 1.0), ([1, 2], 0.0)])
def test_paired_interval_refuses(values, confidence):
    with pytest.raises(ValueError, match=r"2 values|between 0 and 1"):
        paired_interval(values, confidence)


def test_no_spread_gives_an_interval_of_no_width_unless_one_is_given():
    for interval in (paired_interval([0.25] * 5, 0.99), bootstrap_interval([0.25] * 30, 0.99)):
        assert interval.low == interval.high == 0.25
    assert spread([0.1] * 5) == spread([0.3, 0.1 + 0.2]) == 0.0  # up to rounding
    assert spread([0.1, 0.2]) == pytest.approx(np.std([0.1, 0.2], ddof=1))
    given = paired_interval([0.25] * 5, 0.95, unseen=2.0)
    assert given.high - 0.25 == pytest.approx(2.776 * 2 / np.sqrt(5), abs=1e-3)
    assert paired_interval(SAMPLE, 0.95, unseen=9.0) == paired_interval(SAMPLE, 0.95)


def test_bootstrap_leans_towards_the_long_tail_and_is_the_same_again():
    interval = bootstrap_interval(MANY, 0.95)
    assert interval.high - interval.mean > 1.15 * (interval.mean - interval.low)
    assert interval == bootstrap_interval(MANY, 0.95)
    assert bootstrap_interval(MANY, 0.99).low < interval.low


def test_bootstrap_refuses_few_values():
    with pytest.raises(UserError, match=r"29 values .* at least 30, so take paired_interval"):
        bootstrap_interval(MANY[:29], 0.95)


def test_wilson_of_a_worked_example():
    interval = wilson_interval(0, 10, 0.95)  # high: z² / (n + z²), z = 1.96
    assert (interval.mean, interval.low, interval.n) == (0, 0, 10)
    assert interval.high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)
    interval = wilson_interval(81, 263, 0.95)  # Newcombe 1998, table I
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_count(successes, trials):
    with pytest.raises(ValueError, match="no count"):
        wilson_interval(successes, trials, 0.95)


@pytest.mark.parametrize(
    "region", [(-0.3, math.inf), (-math.inf, 0.9), (-1.0, 1.5), (0.4, 2.0), (-2.0, -1.0), (-math.inf, math.inf)]
)
def test_p_value_is_where_the_interval_begins_to_decide(region):
    def decides(alpha):
        found = paired_interval(SAMPLE, 1 - alpha)
        return (region[0] < found.low and found.high < region[1]) or found.high < region[0] or found.low > region[1]

    p = p_value(SAMPLE, region)
    assert decides(min(1.01 * p + 1e-9, 0.9999))
    assert p == 0 or not decides(0.99 * p)


def test_without_spread_nothing_is_decided():
    assert p_value([0.2] * 5, (0.1, math.inf)) == 1
    assert p_value([0.2] * 5, (0.2, math.inf)) == 1


def test_equivalence_is_two_one_sided_tests():
    for margin in (0.2, 0.6, 0.9, 2.0):
        below = stats.ttest_1samp(SAMPLE, -margin, alternative="greater").pvalue
        above = stats.ttest_1samp(SAMPLE, margin, alternative="less").pvalue
        assert equivalent(SAMPLE, margin) == (max(below, above) < ALPHA)
        if abs(np.mean(SAMPLE)) < margin:  # a verdict asks for half of it
            assert p_value(SAMPLE, (-margin, margin)) == pytest.approx(2 * max(below, above))


def test_holm_on_a_worked_example():
    levels = holm_levels([0.01, 0.04, 0.03, 0.005], 0.05)  # 0.005 < 0.0125, 0.01 < 0.0167, 0.03 > 0.025: stop
    assert levels == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


def test_holm_decides_what_its_adjusted_p_values_decide():
    for p_values in np.random.default_rng(2).beta(0.3, 3, size=(200, 5)).tolist():
        order = np.argsort(p_values)
        adjusted = np.empty(5)
        adjusted[order] = np.maximum.accumulate(np.sort(p_values) * (5 - np.arange(5)))
        decided = [p <= level for p, level in zip(p_values, holm_levels(p_values, ALPHA), strict=True)]
        assert decided == (adjusted <= ALPHA).tolist()


@pytest.mark.parametrize(
    ("seeds", "looks"), [(1, ()), (4, ()), (5, (5,)), (7, (5, 7)), (8, (5, 8)), (12, LOOKS), (20, (*LOOKS, 20))]
)
def test_planned_looks(seeds, looks):
    assert planned_looks(seeds) == looks


@pytest.mark.parametrize("seeds", [5, 8, 12, 15])
def test_the_whole_error_is_spent_and_no_more(seeds):
    spent = [alpha_at(look, planned_looks(seeds)) for look in planned_looks(seeds)]
    assert sum(spent) == pytest.approx(ALPHA)
    assert all(share > 0 for share in spent)
    assert alpha_spent(1) == pytest.approx(ALPHA)


def test_error_is_spent_only_at_a_planned_look():
    with pytest.raises(ValueError, match="no look at n = 6"):
        alpha_at(6, LOOKS)


def test_looking_three_times_keeps_the_error():
    """4000 studies whose effect is exactly at the threshold: how often does any look's interval miss the truth?"""
    draws = np.random.default_rng(1).normal(size=(4000, max(LOOKS)))
    missed = np.zeros(len(draws), dtype=bool)
    naive = np.zeros(len(draws), dtype=bool)
    for look in LOOKS:
        t = np.abs(draws[:, :look].mean(1) / (draws[:, :look].std(1, ddof=1) / np.sqrt(look)))
        missed |= t > stats.t.ppf(1 - alpha_at(look, LOOKS) / 2, look - 1)
        naive |= t > stats.t.ppf(0.975, look - 1)
    error = np.sqrt(ALPHA * (1 - ALPHA) / len(draws))
    assert missed.mean() < ALPHA + 2 * error
    assert naive.mean() > ALPHA + 5 * error  # what the spending is for


def test_power_at_one_look_is_the_noncentral_t():
    for effect, claims in itertools.product((0.5, 1.5, 3.0), (1, 4)):
        t = stats.t.ppf(1 - ALPHA / claims / 2, 4)
        assert power(effect, 1.0, 5, claims) == pytest.approx(stats.nct.sf(t, 4, effect * math.sqrt(5)), abs=0.006)


def test_power_follows_scale_seeds_claims_and_margins():
    assert power(3.0, 2.0, 8, 2) == power(1.5, 1.0, 8, 2)
    assert power(1.5, 1.0, 5, 2) < power(1.5, 1.0, 8, 2) < power(1.5, 1.0, 12, 2)
    assert power(1.5, 1.0, 8, 5) < power(1.5, 1.0, 8, 2)
    assert power(1.5, 1.0, 8, 2, tie=True) < power(1.5, 1.0, 8, 2)
    assert power(-1.0, 1.0, 12, 1) < 0.01
    assert (power(9.0, 0.0, 5, 1), power(9.0, 1.0, 4, 1)) == (0, 0)


@pytest.mark.parametrize("tie", [False, True])
def test_what_is_detectable_has_the_power_and_needs_the_seeds(tie):
    for n in LOOKS:
        effect = detectable(0.3, n, 3, power=0.8, tie=tie)
        assert power(effect, 0.3, n, 3, tie=tie) == pytest.approx(0.8, abs=1e-3)
        assert seeds_needed(1.001 * effect, 0.3, 3, tie=tie) == n
    assert seeds_needed(0.99 * effect, 0.3, 3, tie=tie) is None
    assert detectable(0.3, 4, 3) == math.inf


@pytest.mark.parametrize(("spread", "claims"), [(1.0, 0), (-1.0, 1)])
def test_power_refuses(spread, claims):
    with pytest.raises(ValueError, match="no power"):
        power(1.0, spread, 5, claims)


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("intervals", ROOT / "benchmarks" / "intervals.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_methods_compared_are_what_they_are_called(benchmark):
    rows = np.random.default_rng(3).lognormal(sigma=0.5, size=(4, 30))
    seen = benchmark.Seen(rows)
    for method in ("percentile", "BCa"):
        low, high = benchmark.METHODS[method](seen, 0.9)
        theirs = stats.bootstrap((rows,), np.mean, axis=1, confidence_level=0.9, method=method, rng=0)
        np.testing.assert_allclose((low, high), theirs.confidence_interval, rtol=0.02)
    ours = benchmark.METHODS["Student's t"](seen, 0.9)
    assert [(ours[0][i], ours[1][i]) for i in range(4)] == [bounds(paired_interval(row, 0.9)) for row in rows]
    low, high = benchmark.METHODS["Wilcoxon"](benchmark.Seen(rows[:, :9]), 0.9)
    for row, one, other in zip(
        rows[:, :9], low, high, strict=True
    ):  # just inside the test does not reject, outside it does
        p = [
            stats.wilcoxon(row - at, method="exact").pvalue
            for at in (one + 1e-9, one - 1e-9, other - 1e-9, other + 1e-9)
        ]
        assert p[0] > 0.1 >= p[1]
        assert p[2] > 0.1 >= p[3]


def test_the_page_quotes_the_record(benchmark):
    record = json.loads((ROOT / benchmark.RECORD).read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    for table in benchmark.tables(record).split("\n\n"):
        assert table in page


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 400], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3], [5, 5, 5], 0.0),
        ([1, 2, 3, 4], [1, 2, 4, 3], 0.8),
        ([1, 1, 2, 2], [1, 2, 3, 4], 0.894427),
    ],
)
def test_rank_correlation_is_spearmans(x, y, expected):
    assert rank_correlation(x, y) == pytest.approx(expected, abs=1e-6)
