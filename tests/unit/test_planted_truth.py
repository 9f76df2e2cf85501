"""Verdicts on simulated trials whose truth is known: how often are they wrong, how often do they find what is there?

A rate over 20,000 studies has a standard error of 0.16 points where it is 5 %; limits are 5 % and two of those.
`verdicts_of` judges all studies at once; the first test holds it to `judge_study` under the runner's rule.
"""

import dataclasses
import functools
import math

import numpy as np
import pytest
from scipy.special import stdtr, stdtrit

from maquette.core.statistics import ALPHA, LOOKS, alpha_at, detectable, paired_interval, planned_looks
from maquette.lab.study import Better, InRange, Paper, Plan, Ratio, Scale, Scales, Study, Tie
from maquette.lab.verdicts import Verdict, judge_study, study_verdict

STUDIES, SEEDS = 20_000, max(LOOKS)
LIMIT = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / STUDIES)
R, F, U, X = range(4)
CODE = {Verdict.REPRODUCED: R, Verdict.REFUTED: F, Verdict.UNDECIDED: U, Verdict.UNSOUND: X}


def verdicts_of(own, regions, controls=None, checks=None, seeds=SEEDS, correct=True):
    """Codes [study, claim] for effects [study, claim, seed]; `controls` are such effects, and so are `checks`.

    A check asks for the same region as its claim. Looks end when the first claim is decided.
    """
    looks, bounds = planned_looks(seeds), np.array(regions).T
    found, going = np.full(own.shape[:2], U), np.ones(len(own), dtype=bool)
    for n in looks:
        seen = summed(own[..., :n])
        others = [None if one is None else borrowed(summed(one[..., :n]), seen) for one in (controls, checks)]
        level = holm(n, *seen, bounds, alpha_at(n, looks)) if correct else np.full(own.shape[:2], ALPHA)
        verdict = decide(n, *seen, bounds, level)
        as_control = np.full_like(verdict, F) if others[0] is None else decide(n, *others[0], bounds, level)
        as_check = np.full_like(verdict, R) if others[1] is None else decide(n, *others[1], bounds, level)
        open_ = ((as_control == U) | (as_check == U)) & (verdict == R)
        verdict = np.where((as_control == R) | (as_check == F), X, np.where(open_, U, verdict))
        found[going] = verdict[going]
        going &= verdict[:, 0] == U
    return found


def summed(values):
    """Mean over the last axis, and its standard error, without what rounding leaves of none."""
    n = values.shape[-1]
    mean = values @ np.full(n, 1 / n)
    squares = np.einsum("...s,...s->...", values, values) / n
    variance = squares - mean**2
    return mean, np.sqrt(np.where(variance > 1e-12 * squares, variance, 0) / (n - 1))


def borrowed(seen, own):
    """A control's or a check's mean and error; one that shows no spread has the claim's own."""
    return seen[0], np.where(seen[1] > 0, seen[1], own[1])


def holm(n, mean, error, bounds, alpha):
    """The level of each claim."""
    low, high = bounds
    distance, claims = np.minimum(np.abs(mean - low), np.abs(mean - high)), mean.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, 2 * stdtr(n - 1, -distance / error), 1.0)
    if claims == 1:
        return np.full_like(p, alpha)
    order = p.argsort(axis=1)
    steps = alpha / (claims - np.arange(claims))
    failed = np.take_along_axis(p, order, axis=1) > steps
    stop = np.where(failed.any(axis=1), failed.argmax(axis=1), claims - 1)
    levels = np.empty_like(p)
    np.put_along_axis(levels, order, steps[np.minimum(np.arange(claims), stop[:, None])], axis=1)
    return levels


def decide(n, mean, error, bounds, level):
    """The design's table."""
    low, high = bounds
    few, which = np.unique(level, return_inverse=True)
    half = stdtrit(n - 1, 1 - few / 2)[which].reshape(level.shape) * error
    inside, outside = (mean - half > low) & (mean + half < high), (mean + half < low) | (mean - half > high)
    return np.where(error == 0, U, np.where(inside, R, np.where(outside, F, U)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    value: float = 0.0


CLAIMS = (
    Better(
        "m",
        "new",
        than="old",
        by=0.5,
        control="placebo",
        text="better",
        checks=(Better("m", "old", than="handicap", by=0.5, control=(), text="found"),),
    ),
    Tie("m", "new", "again", within=1.5, control="placebo", text="tie"),
    InRange("m", "new", low=-1.0, high=2.0, control="placebo", text="range"),
    Better("m", "new", than="old", by=Ratio(1.2), direction="higher", control="placebo", text="ratio"),
    Better("m", "old", than="new", by=0.2, direction="lower", control="placebo", text="lower"),
)
ARMS = ("new", "old", "again", "placebo", "handicap")


def make_study(claims, seeds):
    paper = Paper(title="t", authors="a", year=2024, venue="v", url="https://example.org", reports="r")
    plan = Plan(text="p", seeds=seeds, spread={}, detects=0.1, flops=1.0, hours=0.1)
    scales = Scales(smoke=Scale(seeds=1), tour=Scale(seeds=1), laptop=Scale(seeds=seeds, verdict=True))
    return Study(
        name="s",
        question="?",
        family="language",
        paper=paper,
        trial=lambda config, seed, run: {"m": 0.0},
        arms={arm: Config(value=place) for place, arm in enumerate(ARMS)},
        claims=claims,
        plan=plan,
        scales=scales,
    )


def as_run(study, by_seed):
    """The codes that a run of the study ends with: it goes on while the first claim is undecided."""
    scale = study.scales.laptop
    for n in planned_looks(scale.seeds):
        judgements = judge_study(study, scale, {seed: by_seed[seed] for seed in range(n)})
        if study_verdict(study, scale, judgements) is not Verdict.UNDECIDED:
            break
    return [CODE[one.verdict] for one in judgements]


def inside(region):
    """An effect well inside a region."""
    low, high = region
    return (low + high) / 2 if math.isfinite(low + high) else low + 1


@pytest.mark.parametrize("seeds", [5, 7, 12])
def test_all_at_once_is_what_a_run_of_each_study_finds(seeds):
    rng = np.random.default_rng(seeds)
    study, seen = make_study(CLAIMS, seeds), set()
    for _ in range(100):
        means = {"new": rng.normal(4, 0.7), "old": 3.0, "again": 3.8, "placebo": rng.normal(2, 1), "handicap": 2.0}
        spread = rng.choice([0.0, 0.3, 1.0])
        by_seed = {
            # Not below zero, where a claim about a ratio is refused.
            seed: {arm: {"m": abs(mean + spread * rng.normal())} for arm, mean in means.items()}
            for seed in range(seeds)
        }

        def effects(claim, arm, by_seed=by_seed):
            return [claim.effect(trials, arm) for trials in by_seed.values()]

        own = [effects(claim, claim.arm) for claim in CLAIMS]
        controls = [effects(claim, "placebo") for claim in CLAIMS]
        checks = [effects(*claim.checks, "old") if claim.checks else [inside(claim.region)] * seeds for claim in CLAIMS]
        own, controls, checks = (np.array([one]) for one in (own, controls, checks))
        (found,) = verdicts_of(own, [claim.region for claim in CLAIMS], controls, checks, seeds)
        assert as_run(study, by_seed) == found.tolist()
        seen |= set(found.tolist())
    assert seen == {R, F, U, X}


def lognormal(rng, sigma, shape):
    return (rng.lognormal(0, sigma, shape) - math.exp(sigma**2 / 2)) / math.exp(sigma**2 / 2)


NOISE = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "difference of accuracies": lambda rng, shape: rng.binomial(100, 0.9, shape) - rng.binomial(100, 0.8, shape) - 10,
    "accuracy": lambda rng, shape: rng.binomial(100, 0.9, shape) - 90,
    "score": lambda rng, shape: rng.beta(5, 2, shape) - 5 / 7,
    "few items, many ties": lambda rng, shape: rng.binomial(10, 0.9, shape) - rng.binomial(10, 0.9, shape),
    "difference of losses": lambda rng, shape: lognormal(rng, 0.5, shape) - lognormal(rng, 0.5, shape),
    "loss": lambda rng, shape: lognormal(rng, 0.25, shape),
    "loss, turned round": lambda rng, shape: -lognormal(rng, 0.25, shape),
}
"""What seeds add to an effect: of mean 0, normal, bounded or skewed."""
BOUNDED = ("difference of accuracies", "accuracy", "score", "few items, many ties")


@functools.cache
def noise(kind, claims=1):
    """[study, claim, seed], of standard deviation 1."""
    found = NOISE[kind](np.random.default_rng([*map(ord, kind)]), (STUDIES, claims, SEEDS)).astype(float)
    return found / found.std()


def share(found, code):
    """Of studies in which any claim comes out so."""
    return (found == code).any(axis=1).mean()


REGIONS = {"better": (0.5, math.inf), "lower": (-math.inf, 0.5), "tie": (-1.5, 1.5), "range": (2.0, 6.0)}


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("region", REGIONS)
def test_an_effect_on_its_bound_is_rarely_said_to_be_on_either_side(region, kind):
    bound = next(bound for bound in REGIONS[region] if math.isfinite(bound))
    found = verdicts_of(bound + noise(kind), [REGIONS[region]])
    assert share(found, R) <= LIMIT
    assert share(found, F) <= LIMIT


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize(
    "beyond",
    [(0, 0, 0, 0, 0), (0, 1, 1, 1, 1), (0, 0, 2, -2, 4), (0, -0.5, 0.5, -1, 1), (9, 9, 0, 0, 0), (-9, 9, 9, -9, 0)],
    ids=str,
)
def test_five_claims_on_one_baseline_are_rarely_wrong_about_any(beyond, kind):
    """Effects lie `beyond` the bound, in their standard deviation; the primary claim's is the first."""
    arms, truth = noise(kind, 6), np.array(beyond)
    own = truth[:, None] + (arms[:, :5] - arms[:, 5:]) / math.sqrt(2)
    found = verdicts_of(own, [(0.0, math.inf)] * 5)
    assert share(found[:, truth <= 0], R) <= LIMIT
    assert share(found[:, truth >= 0], F) <= LIMIT


@pytest.mark.parametrize("kind", ["normal", "difference of accuracies", "few items, many ties", "difference of losses"])
@pytest.mark.parametrize("beyond", [(0, 0, 0, 0, 0), (0, 0, 2, -2, 4)], ids=str)
def test_five_claims_that_have_nothing_in_common_are_rarely_wrong_about_any(beyond, kind):
    truth = np.array(beyond)
    found = verdicts_of(truth[:, None] + noise(kind, 6)[:, :5], [(0.0, math.inf)] * 5)
    assert share(found[:, truth <= 0], R) <= LIMIT
    assert share(found[:, truth >= 0], F) <= LIMIT


SAME = {
    "success, 0.8": (1, 0.8),
    "success, 0.9": (1, 0.9),
    "success, 0.95": (1, 0.95),
    "accuracy 0.98 on 20 items": (20, 0.98),
    "accuracy 0.9 on 10 items": (10, 0.9),
}
"""What seeds often agree on, by its items and its share."""


def counts(kind, claims=1, seed=0):
    """[study, claim, seed]: shares of items."""
    items, p = SAME[kind]
    return np.random.default_rng(seed).binomial(items, p, (STUDIES, claims, SEEDS)) / items


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("sign", [1, -1])
def test_seeds_that_agree_by_chance_do_not_decide(kind, sign):
    bound = sign * SAME[kind][1]
    found = verdicts_of(sign * counts(kind), [(bound, math.inf)])
    assert share(found, R) <= LIMIT
    assert share(found, F) <= LIMIT


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("name", ["controls", "checks"])
def test_a_control_whose_seeds_agree_by_chance_is_given_the_claims_own_spread(kind, name):
    """The control truly passes, just so, or the check just fails; its seeds mostly agree that it is the other way."""
    own, other, p = counts(kind), counts(kind, seed=1), SAME[kind][1]
    one_side = {"controls": (own, 1 - other, 1 - p), "checks": (1 + own, other, p)}
    own, other, bound = one_side[name]
    assert share(verdicts_of(own, [(bound, math.inf)], **{name: other}), R) <= LIMIT


def test_without_the_corrections_many_are_wrong():
    own = noise("normal", 6)[:, :5]
    assert share(verdicts_of(own, [(0.0, math.inf)] * 5, correct=False), R) > 2.5 * ALPHA


def test_a_skewed_measure_of_one_arm_is_beyond_what_is_promised():
    """What docs/statistics.md warns of: no method for so few seeds mends it."""
    found = verdicts_of(-lognormal(np.random.default_rng(0), 1.0, (STUDIES, 1, SEEDS)), [(0.0, math.inf)])
    assert share(found, R) > 3 * ALPHA


@pytest.mark.parametrize("kind", NOISE)
def test_what_is_not_there_is_not_reproduced_and_a_true_tie_is_not_refuted(kind):
    null = verdicts_of(noise(kind), [(1.5, math.inf)])
    assert share(null, R) <= 0.005
    assert share(null, F) > 0.9
    tie = verdicts_of(noise(kind), [(-1.5, 1.5)])
    assert share(tie, F) <= 0.005
    assert share(tie, R) > 0.8


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("control", [0.0, 1.0, 4.0])
def test_a_broken_control_keeps_a_claim_from_being_reproduced(control, kind):
    """The control passes truly, by so many standard deviations; 0: just so, the worst case."""
    both = noise(kind, 6)
    found = verdicts_of(4 + both[:, :1], [(0.0, math.inf)], controls=control + both[:, 1:2])
    assert share(found, R) <= LIMIT
    if control == 4.0:
        assert share(found, X) > 0.95


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("check", [0.0, -1.0, -4.0])
def test_a_check_that_truly_fails_keeps_a_claim_from_being_reproduced(check, kind):
    both = noise(kind, 6)
    found = verdicts_of(4 + both[:, :1], [(0.0, math.inf)], checks=check + both[:, 1:2])
    assert share(found, R) <= LIMIT
    if check == -4.0:
        assert share(found, X) > 0.95


@pytest.mark.parametrize("kind", ["normal", *BOUNDED, "difference of losses"])
@pytest.mark.parametrize("seeds", LOOKS)
def test_power_is_what_the_plan_promised(seeds, kind):
    effect = detectable(1.0, seeds, 1)
    tie = detectable(1.0, seeds, 1, tie=True)
    one_sided = share(verdicts_of(effect + noise(kind), [(0.0, math.inf)], seeds=seeds), R)
    margins = share(verdicts_of(noise(kind), [(-tie, tie)], seeds=seeds), R)
    assert (one_sided, margins) == pytest.approx((0.8, 0.8), abs=0.05)


def test_power_among_several_claims_is_at_least_what_the_plan_promised():
    effect = detectable(1.0, SEEDS, 5)
    others = noise("normal", 6)[:, 1:5]  # on their bounds: the worst case of Holm's correction
    worst = verdicts_of(np.concatenate([effect + noise("normal"), others], axis=1), [(0.0, math.inf)] * 5)
    best = verdicts_of(np.concatenate([effect + noise("normal"), 9 + others], axis=1), [(0.0, math.inf)] * 5)
    assert share(worst[:, :1], R) == pytest.approx(0.8, abs=0.02)
    assert share(best[:, :1], R) > 0.9


@pytest.mark.parametrize("kind", ["normal", *BOUNDED])
def test_intervals_of_normal_and_bounded_measures_cover(kind):
    for n in LOOKS:
        values = noise(kind)[:, 0, :n]
        mean, error = summed(values)
        half = stdtrit(n - 1, 0.975) * error
        one = paired_interval(values[7], 0.95)
        assert (one.low, one.high) == pytest.approx((mean[7] - half[7], mean[7] + half[7]))
        assert (np.abs(mean) <= half + 1e-9).mean() >= 0.93
