import numpy as np
import pytest
from scipy import stats

from maquette.core.statistics import ALPHA, LOOKS, alpha_spent, confidence_at, planned_looks, t_interval


def test_t_interval_of_a_worked_example():
    interval = t_interval([1, 2, 3, 4, 5], 0.95)  # sd √2.5, t(4, 0.975) = 2.776
    assert (interval.mean, interval.n) == (3, 5)
    assert interval.high - 3 == pytest.approx(2.776 * np.sqrt(2.5 / 5), abs=1e-3)
    assert 3 - interval.low == pytest.approx(interval.high - 3)


def test_t_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=8)
    for confidence in (0.8, 0.95, 0.999):
        ours = t_interval(values.tolist(), confidence)
        theirs = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(("values", "confidence"), [([1.0], 0.95), ([], 0.95), ([1, 2], 1.0), ([1, 2], 0.0)])
def test_t_interval_refuses(values, confidence):
    with pytest.raises(ValueError, match=r"2 values|between 0 and 1"):
        t_interval(values, confidence)


def test_no_spread_gives_an_interval_of_no_width():
    interval = t_interval([0.25] * 5, 0.99)
    assert interval.low == interval.high == 0.25


@pytest.mark.parametrize(
    ("seeds", "looks"), [(1, ()), (4, ()), (5, (5,)), (7, (5, 7)), (8, (5, 8)), (12, LOOKS), (20, (*LOOKS, 20))]
)
def test_planned_looks(seeds, looks):
    assert planned_looks(seeds) == looks


@pytest.mark.parametrize("seeds", [5, 8, 12, 15])
@pytest.mark.parametrize("claims", [1, 4])
def test_the_whole_error_is_spent_and_no_more(seeds, claims):
    looks = planned_looks(seeds)
    spent = [claims * (1 - confidence_at(look, looks, claims)) for look in looks]
    assert sum(spent) == pytest.approx(ALPHA)
    assert all(share > 0 for share in spent)
    assert alpha_spent(1) == pytest.approx(ALPHA)


def test_confidence_only_at_a_planned_look():
    with pytest.raises(ValueError, match="no look at n = 6"):
        confidence_at(6, LOOKS, 1)
    with pytest.raises(ValueError, match="0 claims"):
        confidence_at(5, LOOKS, 0)


def test_looking_three_times_keeps_the_error():
    """4000 studies whose effect is exactly at the threshold: how often does any look's interval miss the truth?"""
    draws = np.random.default_rng(1).normal(size=(4000, max(LOOKS)))
    missed = np.zeros(len(draws), dtype=bool)
    naive = np.zeros(len(draws), dtype=bool)
    for look in LOOKS:
        t = np.abs(draws[:, :look].mean(1) / (draws[:, :look].std(1, ddof=1) / np.sqrt(look)))
        missed |= t > stats.t.ppf((1 + confidence_at(look, LOOKS, 1)) / 2, look - 1)
        naive |= t > stats.t.ppf(0.975, look - 1)
    error = np.sqrt(ALPHA * (1 - ALPHA) / len(draws))
    assert missed.mean() < ALPHA + 2 * error
    assert naive.mean() > ALPHA + 5 * error  # what the spending is for
