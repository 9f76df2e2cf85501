import dataclasses
import math

import pytest

from maquette.core.errors import UserError
from maquette.core.statistics import ALPHA, Interval, alpha_at
from maquette.lab.caveats import beside
from maquette.lab.evidence import Evidence
from maquette.lab.study import Better, InRange, Paper, Plan, Scale, Scales, Study, Tie
from maquette.lab.verdicts import Verdict, judge, judge_study, study_verdict, with_controls

R, F, U, X = Verdict.REPRODUCED, Verdict.REFUTED, Verdict.UNDECIDED, Verdict.UNSOUND
WOBBLE = (0.00, 0.01, -0.01, 0.02, -0.02, 0.01, -0.01, 0.0, 0.02, -0.02, 0.01, -0.01)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    value: float = 0.0


def make_study(claims, seeds=12, **changes):
    paper = Paper(title="t", authors="a", year=2024, venue="v", url="https://example.org", reports="r")
    plan = Plan(text="p", seeds=5, spread={}, detects=0.1, flops=1.0, hours=0.1)
    scales = Scales(smoke=Scale(seeds=1), tour=Scale(seeds=1), laptop=Scale(seeds=seeds, verdict=True))
    arms = {name: Config(value=place) for place, name in enumerate(("new", "old", "control", "other"))}
    fields = {"name": "s", "question": "?", "family": "language", "paper": paper, "plan": plan, "scales": scales}
    return Study(trial=lambda config, seed, run: {"m": 0.0}, arms=arms, claims=claims, **(fields | changes))


def seeds_of(n, wobble=1.0, **means):
    """`n` seeds in which arms measure their mean, give or take."""
    return {
        seed: {
            arm: {"m": mean + wobble * WOBBLE[(seed * (row + 1) + row) % len(WOBBLE)]}
            for row, (arm, mean) in enumerate(means.items())
        }
        for seed in range(n)
    }


def verdict_of(claim, n=5, seeds=12, wobble=1.0, **means):
    """The claim's verdict when arms measure their mean, give or take, at `n` seeds."""
    study, by_seed = make_study((claim,), seeds), seeds_of(n, wobble, **means)
    judgements = judge_study(study, study.scales.laptop, by_seed)
    assert study_verdict(study, study.scales.laptop, judgements) == judgements[0].verdict
    return judgements[0].verdict


BETTER = Better("m", "new", than="old", by=0.3, control="control", text="new is better")
LOWER = dataclasses.replace(BETTER, direction="lower")
TIE = Tie("m", "new", "old", within=0.3, control="control", text="they tie")
RANGE = InRange("m", "new", low=0.5, high=1.5, control="control", text="it is about one")


@pytest.mark.parametrize(
    ("low", "high", "region", "verdict"),
    [
        (0.4, 0.6, (0.3, math.inf), R),
        (0.1, 0.2, (0.3, math.inf), F),
        (0.2, 0.4, (0.3, math.inf), U),
        (0.3, 0.4, (0.3, math.inf), U),
        (-0.1, 0.1, (-0.3, 0.3), R),
        (0.4, 0.5, (-0.3, 0.3), F),
        (-0.5, -0.4, (-0.3, 0.3), F),
        (-0.5, -0.2, (-0.3, 0.3), U),
        (-0.5, 0.5, (-0.3, 0.3), U),
    ],
)
def test_the_designs_table(low, high, region, verdict):
    assert judge(Interval(mean=(low + high) / 2, low=low, high=high, confidence=0.95, n=5), region) is verdict


@pytest.mark.parametrize(
    ("own", "controls", "verdict"),
    [
        (R, [F, F], R),
        (R, [F, R], X),
        (F, [R], X),
        (U, [R, U], X),
        (R, [F, U], U),
        (F, [U], F),
        (F, [F], F),
        (U, [F], U),
    ],
)
def test_controls_weigh_in(own, controls, verdict):
    assert with_controls(own, controls) is verdict


@pytest.mark.parametrize(
    ("own", "controls", "checks", "verdict"),
    [
        (R, [F], [R], R),
        (R, [F], [R, F], X),
        (F, [F], [F], X),
        (R, [F], [R, U], U),
        (F, [F], [U], F),
        (R, [U], [F], X),
    ],
)
def test_checks_weigh_in(own, controls, checks, verdict):
    assert with_controls(own, controls, checks) is verdict


@pytest.mark.parametrize(
    ("claim", "means", "verdict"),
    [
        (BETTER, {"new": 1.0, "old": 0.0, "control": 0.0}, R),
        (BETTER, {"new": 0.1, "old": 0.0, "control": 0.0}, F),
        (BETTER, {"new": 0.3, "old": 0.0, "control": 0.0}, U),
        (BETTER, {"new": 1.0, "old": 0.0, "control": 1.0}, X),
        (BETTER, {"new": 1.0, "old": 0.0, "control": 0.3}, U),
        (LOWER, {"new": 0.0, "old": 1.0, "control": 1.0}, R),
        (LOWER, {"new": 1.0, "old": 0.0, "control": 0.0}, F),
        (TIE, {"new": 0.0, "old": 0.0, "control": 1.0}, R),
        (TIE, {"new": 1.0, "old": 0.0, "control": -1.0}, F),
        (TIE, {"new": 0.0, "old": 0.0, "control": 0.1}, X),
        (RANGE, {"new": 1.0, "control": 0.0}, R),
        (RANGE, {"new": 2.0, "control": 0.0}, F),
        (RANGE, {"new": 0.5, "control": 0.0}, U),
    ],
)
def test_claims_on_measures_built_to_be_right_and_wrong(claim, means, verdict):
    assert verdict_of(claim, **means) is verdict


def test_one_of_two_controls_is_enough_to_spoil_a_claim():
    claim = dataclasses.replace(BETTER, control=("control", "other"))
    means = {"new": 1.0, "old": 0.0, "control": 0.0}
    assert verdict_of(claim, **means, other=0.0) is R
    assert verdict_of(claim, **means, other=1.0) is X


@pytest.mark.parametrize(("again", "verdict"), [(0.0, R), (1.0, X), (0.3, U)])
def test_a_claim_is_believed_where_its_check_holds(again, verdict):
    check = Tie("m", "old", "other", within=0.3, control=(), text="the same arm again ties")
    claim = dataclasses.replace(BETTER, checks=(check,))
    assert verdict_of(claim, new=1.0, old=0.0, control=0.0, other=again) is verdict


def test_a_judgement_as_json_holds_its_checks_at_the_claims_confidence():
    check = Tie("m", "old", "other", within=0.3, control=(), text="the same arm again ties")
    study = make_study((dataclasses.replace(BETTER, checks=(check,)), TIE))
    (judgement, _) = judge_study(study, study.scales.laptop, seeds_of(5, new=1.0, old=0.0, control=0.0, other=0.0))
    (found,) = judgement.as_json()["checks"]
    assert (found["text"], found["verdict"], found["region"]) == (check.text, R, [-0.3, 0.3])
    assert found["test"]["interval"]["confidence"] == judgement.test.interval.confidence
    assert {one.interval.confidence for one in judgement.controls} == {judgement.test.interval.confidence}


def test_a_claim_that_is_decided_leaves_its_error_to_the_next():
    """Holm: of three claims the clearest is judged at α/3, the next at α/2; the last, undecided, at all of α."""
    claims = tuple(dataclasses.replace(BETTER, by=by) for by in (0.95, 0.3, 1.0))
    study, alpha = make_study(claims, seeds=5), alpha_at(5, (5,))
    assert alpha == pytest.approx(ALPHA)
    found = judge_study(study, study.scales.laptop, seeds_of(5, new=1.0, old=0.0, control=0.0))
    assert [one.verdict for one in found] == [R, R, U]
    assert [1 - one.test.interval.confidence for one in found] == pytest.approx([alpha / 2, alpha / 3, alpha])


def test_where_holm_stops_the_rest_share_a_level():
    claims = tuple(dataclasses.replace(BETTER, by=by) for by in (1.0, 0.3, 1.01, 0.99))
    study = make_study(claims, seeds=5)
    found = judge_study(study, study.scales.laptop, seeds_of(5, new=1.0, old=0.0, control=0.0))
    assert [one.verdict for one in found] == [U, R, U, U]
    levels = [1 - one.test.interval.confidence for one in found]
    assert levels == pytest.approx([ALPHA / 3, ALPHA / 4, ALPHA / 3, ALPHA / 3])


def test_nothing_is_decided_below_the_first_look_or_between_looks():
    means = {"new": 1.0, "old": 0.0, "control": 0.0}
    assert verdict_of(BETTER, n=4, wobble=0, **means) is U
    study = make_study((BETTER,))
    by_seed = seeds_of(7, **means)
    by_seed[6]["new"] = {"m": -100.0}  # beyond the look at 5: it must not count yet
    (judgement,) = judge_study(study, study.scales.laptop, by_seed)
    assert (judgement.verdict, judgement.test.n) == (R, 5)


def test_a_story_has_no_verdict():
    study = make_study((BETTER,))
    by_seed = {0: {"new": {"m": 1.0}, "old": {"m": 0.0}, "control": {"m": 0.0}}}
    (judgement,) = judge_study(study, study.scales.tour, by_seed)
    assert judgement.verdict is Verdict.NONE
    assert judgement.test.interval is None
    assert judgement.test.effect == 1.0
    assert study_verdict(study, study.scales.tour, [judgement]) is Verdict.NONE
    assert study_verdict(study, study.scales.laptop, []) is U


def test_more_claims_widen_every_interval():
    by_seed = {s: {"new": {"m": 1 + WOBBLE[s]}, "old": {"m": 0.0}, "control": {"m": 0.0}} for s in range(5)}

    def width(claims):
        study = make_study(claims)
        interval = judge_study(study, study.scales.laptop, by_seed)[0].test.interval
        return interval.high - interval.low

    assert width((BETTER, BETTER, BETTER)) > 1.2 * width((BETTER,))


def test_a_scale_with_fewer_arms_leaves_out_the_claims_about_the_others():
    study = make_study((BETTER, dataclasses.replace(BETTER, arm="other")))
    scale = Scale(seeds=1, arms=("new", "old", "control"))
    by_seed = {0: {"new": {"m": 1.0}, "old": {"m": 0.0}, "control": {"m": 0.0}}}
    assert [one.claim.arm for one in judge_study(study, scale, by_seed)] == ["new"]
    check = dataclasses.replace(BETTER, arm="other", control=())
    study = make_study((dataclasses.replace(BETTER, checks=(check,)),))
    assert judge_study(study, scale, by_seed) == []


def test_a_claim_that_is_left_out_counts_among_all():
    study = make_study((BETTER, dataclasses.replace(BETTER, arm="other")), seeds=5)
    scale = Scale(seeds=5, arms=("new", "old", "control"), verdict=True)
    (found,) = judge_study(study, scale, seeds_of(5, new=1.0, old=0.0, control=0.0))
    assert 1 - found.test.interval.confidence == pytest.approx(ALPHA / 2)


@pytest.mark.parametrize("claim", [BETTER, LOWER, TIE, RANGE])
@pytest.mark.parametrize("new", [-1.0, 0.0, 1.0])
def test_seeds_that_all_gave_the_same_decide_nothing(claim, new):
    assert verdict_of(claim, wobble=0, new=new, old=0.0, control=5.0) in (U, X)
    study = make_study((claim,))
    by_seed = seeds_of(5, wobble=0, new=new, old=0.0, control=-0.3)
    (found,) = judge_study(study, study.scales.laptop, by_seed)
    assert found.test.verdict is U
    evidence = Evidence(study=study, scale_name="laptop", scale=study.scales.laptop, records={}, predictions={})
    evidence.__dict__["by_seed"] = by_seed  # in place of records
    assert "same effect in all 5 seeds" in beside(evidence)[0]


def test_a_control_that_never_succeeds_is_judged_by_the_spread_of_its_claim():
    by_seed = seeds_of(5, new=1.0, old=0.0, control=0.0)
    for trials in by_seed.values():
        trials["control"] = dict(trials["old"])  # the effect of it is 0 in every seed
    study = make_study((BETTER,))
    (found,) = judge_study(study, study.scales.laptop, by_seed)
    own, control = found.test.interval, found.controls[0].interval
    assert control.high - control.low == pytest.approx(own.high - own.low)
    assert found.verdict is R
    near = dataclasses.replace(BETTER, by=0.9 * (own.high - own.mean))
    (found,) = judge_study(make_study((near,)), study.scales.laptop, by_seed)
    assert (found.controls[0].verdict, found.verdict) == (U, U)


def test_unknown_measure_and_arm_are_named():
    study = make_study((dataclasses.replace(BETTER, measure="mm"),))
    by_seed = {0: {"new": {"m": 1.0}, "old": {"m": 0.0}, "control": {"m": 0.0}}}
    with pytest.raises(UserError, match="'mm' of 'new'; did you mean 'm'"):
        judge_study(study, study.scales.laptop, by_seed)
    study = make_study((dataclasses.replace(BETTER, arm="law"),), analyse=lambda trials: {"laws": {"m": 1.0}})
    with pytest.raises(UserError, match="'law'; did you mean 'laws'"):
        judge_study(study, study.scales.laptop, {0: study.trials_of(by_seed[0])})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"claims": ()}, "makes no claim"),
        ({"claims": (dataclasses.replace(BETTER, control=()),)}, "'new is better' has no control"),
        ({"claims": (dataclasses.replace(BETTER, than="odl"),)}, "'odl'; did you mean 'old'"),
        ({"claims": (dataclasses.replace(BETTER, control="contro"),)}, "did you mean 'control'"),
        ({"foretold": ("new",)}, "go together"),
        ({"foretell": lambda trials: {}, "foretold": ("nwe",)}, "'nwe'; did you mean 'new'"),
        ({"name": "a b"}, "identifier"),
        ({"arms": {"prediction": Config(), "new": Config(), "old": Config(), "control": Config()}}, "'prediction'"),
        ({"tour": Scale(seeds=2)}, "tour decides nothing"),
        ({"smoke": Scale(seeds=1, verdict=True)}, "smoke decides nothing"),
        ({"laptop": Scale(seeds=0, verdict=True)}, "needs at least 1"),
        ({"laptop": Scale(seeds=5, verdict=True, changes={"valeu": 1})}, "'valeu'; did you mean 'value'"),
        ({"laptop": Scale(seeds=5, verdict=True, arms=("nwe",))}, "'nwe'; did you mean 'new'"),
    ],
)
def test_a_study_that_cannot_be_is_refused(changes, sentence):
    study = make_study((BETTER,))
    scales = {name: changes.pop(name) for name in ("smoke", "tour", "laptop") if name in changes}
    with pytest.raises(UserError, match=sentence):
        dataclasses.replace(study, scales=dataclasses.replace(study.scales, **scales), **changes)


def test_a_claim_without_control_cannot_be_written():
    with pytest.raises(TypeError, match="control"):
        Better("m", "new", than="old", by=0.3, text="new is better")


def test_a_derived_measure_that_is_no_number_is_refused():
    study = make_study((BETTER,), analyse=lambda trials: {"law": {"m": math.nan}})
    with pytest.raises(UserError, match="m = nan for 'law'"):
        study.trials_of({"new": {"m": 1.0}})
