"""From paired seeds to a verdict: the design's table, for claims and for the controls that must fail them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from maquette.core.statistics import Interval, alpha_at, holm_levels, p_value, paired_interval, planned_looks, spread
from maquette.lab.claims import BySeed, Claim, Trials
from maquette.lab.study import Scale, Study


class Verdict(StrEnum):
    """What the seeds say of a claim."""

    REPRODUCED = "reproduced"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    UNSOUND = "unsound"
    NONE = "no verdict"


AS_CONTROL = {
    Verdict.REFUTED: "fails",
    Verdict.REPRODUCED: "passes",
    Verdict.UNDECIDED: "undecided",
    Verdict.NONE: "",
}
"""What a verdict means where a control stands in for the arm."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One arm under a claim's test: its mean effect over `n` seeds, the interval once a look is reached, a verdict."""

    __test__ = False  # pytest: no test class

    arm: str
    effect: float
    n: int
    interval: Interval | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim's verdict with its evidence; its checks are claims too, judged without controls."""

    claim: Claim
    verdict: Verdict
    test: Test
    controls: tuple[Test, ...] = ()
    checks: tuple["Judgement", ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; infinite bounds become None."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.claim.region)
        tests = {"test": dataclasses.asdict(self.test), "controls": [dataclasses.asdict(one) for one in self.controls]}
        checks = {"checks": [one.as_json() for one in self.checks]}
        claim = {name: getattr(self.claim, name) for name in ("text", "measure", "arm", "others", "paper", "contested")}
        return {**claim, "region": [low, high], "verdict": self.verdict, **tests, **checks}


def judge(interval: Interval, region: tuple[float, float]) -> Verdict:
    """Inside the region: reproduced. Outside: refuted. Neither: undecided, and so is an interval of no width.

    Seeds that all gave the same say nothing of the spread that others would show.
    """
    low, high = region
    if interval.low == interval.high:
        return Verdict.UNDECIDED
    if low < interval.low and interval.high < high:
        return Verdict.REPRODUCED
    if interval.high < low or interval.low > high:
        return Verdict.REFUTED
    return Verdict.UNDECIDED


def with_controls(verdict: Verdict, controls: Sequence[Verdict], checks: Sequence[Verdict] = ()) -> Verdict:
    """A control that passes or a check that fails makes the claim unsound; undecided, it keeps it from reproduced."""
    if Verdict.REPRODUCED in controls or Verdict.REFUTED in checks:
        return Verdict.UNSOUND
    if Verdict.UNDECIDED in (*controls, *checks) and verdict is Verdict.REPRODUCED:
        return Verdict.UNDECIDED
    return verdict


def weigh(claim: Claim, seeds: Sequence[Trials], confidence: float | None) -> Judgement:
    """Put a claim, its controls and its checks to the test; without a confidence (no look reached) nothing is decided.

    All are tested at the claim's confidence: to be reproduced they must all come out right, which takes no correction
    (an intersection-union test, Berger & Hsu 1996). A control or check that shows no spread, one that never succeeds
    say, is given that of the claim's own effect.
    """
    own = _test(claim, claim.arm, seeds, confidence)
    unseen = spread([claim.effect(trials, claim.arm) for trials in seeds])
    controls = tuple(_test(claim, arm, seeds, confidence, unseen) for arm in claim.controls)
    checked = [(one, _test(one, one.arm, seeds, confidence, unseen)) for one in claim.checks]
    checks = tuple(Judgement(claim=one, verdict=test.verdict, test=test) for one, test in checked)
    verdict = with_controls(own.verdict, [one.verdict for one in controls], [one.verdict for one in checks])
    return Judgement(claim=claim, verdict=verdict, test=own, controls=controls, checks=checks)


def _test(claim: Claim, arm: str, seeds: Sequence[Trials], confidence: float | None, unseen: float = 0.0) -> Test:
    effects = [claim.effect(trials, arm) for trials in seeds]
    interval = paired_interval(effects, confidence, unseen=unseen) if confidence else None
    verdict = judge(interval, claim.region) if interval else Verdict.UNDECIDED
    return Test(arm=arm, effect=math.fsum(effects) / len(effects), n=len(effects), interval=interval, verdict=verdict)


def judge_study(study: Study, scale: Scale, by_seed: BySeed) -> list[Judgement]:
    """Every claim that this scale's arms allow, from the seeds whose trials are complete (derived arms included).

    A scale that decides is judged at the last look it has reached, on that many seeds and no more; before the first
    look, and at a scale that decides nothing, effects are given without intervals.

    Raises:
        UserError: a claim names an arm or a measure that is not there.
    """
    seeds = [by_seed[seed] for seed in sorted(by_seed)]
    if not seeds:
        return []
    claims = [claim for claim in study.claims if scale.arms is None or _can_be_made(claim, scale, seeds[0], study)]
    looks = planned_looks(scale.seeds) if scale.verdict else ()
    if reached := max((look for look in looks if look <= len(seeds)), default=None):
        seeds = seeds[:reached]
        confidences = _holm_confidences(claims, seeds, alpha_at(reached, looks), len(study.claims))
        return [weigh(claim, seeds, confidence) for claim, confidence in zip(claims, confidences, strict=True)]
    found = [weigh(claim, seeds, None) for claim in claims]
    return found if scale.verdict else [_without_verdict(one) for one in found]


def _holm_confidences(claims: Sequence[Claim], seeds: Sequence[Trials], alpha: float, among: int) -> list[float]:
    """The confidence of each claim's interval by Holm's step-down over `among` claims, of which these could be made."""
    p_values = [p_value([claim.effect(trials, claim.arm) for trials in seeds], claim.region) for claim in claims]
    left_out = [1.0] * (among - len(claims))
    return [1 - level for level in holm_levels([*p_values, *left_out], alpha)[: len(claims)]]


def _can_be_made(claim: Claim, scale: Scale, trials: Mapping[str, Any], study: Study) -> bool:
    """False when the claim's arms were left out by a scale that runs some of the arms only."""
    named = {arm for one in (claim, *claim.checks) for arm in (one.arm, *one.others)} | {*claim.controls}
    left_out = set(study.arms) - set(scale.arms or ())
    return not named & left_out and (scale.verdict or named <= set(trials))


def _without_verdict(judgement: Judgement) -> Judgement:
    tests = [dataclasses.replace(one, verdict=Verdict.NONE) for one in (judgement.test, *judgement.controls)]
    checks = tuple(_without_verdict(one) for one in judgement.checks)
    return dataclasses.replace(judgement, verdict=Verdict.NONE, test=tests[0], controls=tuple(tests[1:]), checks=checks)


def study_verdict(study: Study, scale: Scale, judgements: Sequence[Judgement]) -> Verdict:
    """The primary claim's verdict."""
    if not scale.verdict:
        return Verdict.NONE
    return next((one.verdict for one in judgements if one.claim is study.claims[0]), Verdict.UNDECIDED)
