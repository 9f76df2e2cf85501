"""Criticism, improvement and the pilot, on a parabola whose answers are known."""

import json
import math
import re

import pytest

from maquette.core.errors import UserError
from maquette.core.statistics import Interval
from maquette.lab.bending import Axis, Bend, Critique
from maquette.lab.criticism import Curve, Reading, as_json, criticise, read_criticism
from maquette.lab.evidence import read_evidence
from maquette.lab.improvement import SEARCH_SEEDS, improve, in_words, read_improvement
from maquette.lab.improvement import as_json as improvement_as_json
from maquette.lab.pilot import PILOT_SEEDS, foresee, run_pilot
from maquette.lab.runner import run_study
from maquette.lab.scales import Scale
from maquette.lab.study import InRange, Plan
from maquette.lab.terminal import curve_table
from maquette.lab.verdicts import Verdict

HEIGHT = "1 - (config.place - 0.5) ** 2"
LAPTOP = "laptop=Scale(seeds=5, verdict=True"
OVER = 'over={"place": Between(low=0.0, high=1.0)}'
STOP = (
    "    run.flops(config.steps)\n",
    "    run.flops(config.steps)\n"
    "    if {} and not run.directory.with_name('stopped').exists():\n"
    "        run.directory.with_name('stopped').touch()\n"
    "        raise KeyboardInterrupt\n",
)


def stopped(where):
    """A replacement that has the first trial for which `where` is true killed, once."""
    return (STOP[0], STOP[1].format(where))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.json")}


# Criticism


def test_the_curve_breaks_where_it_was_planted(bent):
    """Noise of 0.3 hides a gain of 0.21 from three seeds; without `far` there is nothing to compare with."""
    found = bent.do(criticise)
    (curve,) = found.curves
    assert (curve.axis.name, curve.claim.text) == ("noise", "Nearer the vertex is higher")
    assert (curve.unbent.label, curve.unbent.verdict) == (0.01, Verdict.REPRODUCED)
    assert [one.label for one in curve.readings] == [0.001, 0.01, 0.3, 1.0]
    assert curve.breaks_at == (0.3, 1.0)
    assert curve.unbent.interval.mean == pytest.approx(0.21, abs=0.02)
    assert {one.interval.n for one in curve.readings} == {found.seeds} == {3}
    widths = [one.interval.high - one.interval.low for one in curve.readings]
    assert widths == sorted(widths)
    assert json.loads(json.dumps(as_json(found)))["axes"][0]["breaks_at"] == [0.3, 1.0]


def test_a_bend_reaches_every_arm_and_moves_the_effect(bent):
    """The gain of 0.5 − p² … of a parabola stretched by a factor falls with the factor's square."""
    bent.write(
        ("    noise: float = 0.01\n", "    noise: float = 0.01\n    stretch: float = 1.0\n"),
        (HEIGHT, "1 - config.stretch * (config.place - 0.5) ** 2"),
        ('Axis.over("noise", (0.001, 0.01, 0.3, 1.0), objection="Noise hides it.", log=True)',
         'Axis.over("stretch", (4.0, 1.0, 0.3, 0.1, 0.0), objection="Flat worlds.")'),
    )  # fmt: skip
    (curve,) = bent.do(criticise).curves
    for one in curve.readings:
        assert one.interval.mean == pytest.approx(0.21 * one.label, abs=0.02)
    assert curve.breaks_at == (0.3, 0.1, 0.0)  # nearest to the world as it stands first


def reading(label, verdict=Verdict.REPRODUCED):
    return Reading(label=label, interval=Interval(mean=0, low=0, high=0, confidence=0.95, n=4), verdict=verdict)


@pytest.mark.parametrize(
    ("here", "log", "broken", "order"),
    [
        (1.0, False, (5.0, 0.1, 1.5), (1.5, 0.1, 5.0)),
        (1.0, True, (5.0, 0.1, 1.5), (1.5, 5.0, 0.1)),
        (0.0, True, (5.0, 0.1, 1.5), (0.1, 1.5, 5.0)),
        ("as it stands", False, (5.0, 0.1), (5.0, 0.1)),
        (1.0, False, ("words", "frames"), ("words", "frames")),
    ],
)
def test_the_nearest_break_comes_first(here, log, broken, order):
    axis = Axis(name="x", bends=[], objection="", log=log)
    claim = InRange("x", "a", low=0, high=1, text="", control="b")
    readings = (reading(1.1), *(reading(label, Verdict.UNDECIDED) for label in broken))
    assert Curve(axis=axis, claim=claim, unbent=reading(here), readings=readings).breaks_at == order
    never = reading(here, Verdict.UNDECIDED)
    assert Curve(axis=axis, claim=claim, unbent=never, readings=readings).breaks_at == ()


@pytest.mark.parametrize(
    ("here", "labels", "places"),
    [
        (1.0, (0.5, 1.0, 2.0), ["0.5", "* 1.0", "2.0"]),
        (1.0, (0.5, 2.0), ["* 1.0", "0.5", "2.0"]),
        ("as it stands", ("words", "frames"), ["*", "words", "frames"]),
    ],
)
def test_the_table_names_the_study_as_it_stands_once(here, labels, places):
    axis = Axis(name="x", bends=[], objection="")
    claim = InRange("x", "a", low=0, high=1, text="", control="b")
    curve = Curve(axis=axis, claim=claim, unbent=reading(here), readings=tuple(map(reading, labels)))
    assert [*curve_table(axis, [curve]).columns[1].cells] == places


def test_what_was_run_is_not_run_again(bent):
    """Neither the study's own trials, nor those that two points share, nor those of an earlier call."""
    bent.do(run_study, "laptop")
    before = files(bent.directory / "laptop" / "trials")
    found = bent.do(criticise)
    assert (
        bent.ran == 3 * 4 * 3
    )  # the other noises × arms × seeds; the unbent point and the one without `far` are there
    assert "[36/36]" in bent.said
    assert found.cost.flops == 3 * 4 * 3 * 100  # and nobody pays for them twice
    assert files(bent.directory / "laptop" / "trials") == before
    again = bent.do(criticise)
    assert (bent.ran, bent.made) == (0, [])
    assert (again.curves, again.cost) == (found.curves, found.cost)


def test_what_is_foretold_from_other_trials_is_a_trial_of_its_own(bent):
    """From fewer arms, or from arms that are bent where it is not."""
    foretold = 'foretell=lambda trials: {"n": float(len(trials))}, foretold=("near again",), claims=('
    bends = 'Bend(label="no farther", without=("farther",)), Bend(label="noise", changes={"noise": 0.3}, arms=("far",))'
    other = f'Axis(name="more", bends=({bends}), objection="Who needs it?")'
    noise = 'Axis.over("noise", (0.001, 0.01, 0.3, 1.0), objection="Noise hides it.", log=True)'
    bent.write(("claims=(", foretold), ("checks=(Tie(", "checks=() and (Tie("), (noise, other))
    bent.do(criticise)
    # As it stands; `far` bent; what is foretold without an arm, without another, and from the bent one.
    assert bent.ran == 4 * 3 + 1 * 3 + 3 * 3
    bent.do(criticise)
    assert bent.ran == 0


def test_an_interrupted_criticism_goes_on_with_what_is_missing(bent):
    bent.write(stopped("config.noise == 0.3 and seed == 4"))
    with pytest.raises(KeyboardInterrupt):
        bent.do(criticise)
    done = bent.ran
    kept = files(bent.directory / "laptop" / "critique")
    assert read_criticism(bent.load(), bent.directory / "laptop") is not None
    found = bent.do(criticise)
    assert done + bent.ran == 4 * 4 * 3
    assert kept.items() <= files(bent.directory / "laptop" / "critique").items()
    assert len(found.curves[0].readings) == 4


def test_one_axis_or_another(bent):
    assert bent.do(criticise, axes=["fewer arms"]).curves == ()
    assert bent.ran == 4 * 3
    # What stands is on every axis; that alone says nothing of one along which nobody has gone yet.
    assert read_criticism(bent.load(), bent.directory / "laptop").curves == ()
    assert [curve.axis.name for curve in bent.do(criticise, axes=["noise"]).curves] == ["noise"]
    with pytest.raises(UserError, match=r"There is no axis 'nose'; did you mean 'noise'\?"):
        bent.do(criticise, axes=["nose"])


def test_claims_about_arms_that_are_there_stay(bent):
    bent.write(('without=("far",)', 'without=("near again",)'), ("checks=(Tie(", "checks=() and (Tie("))
    assert [curve.axis.name for curve in bent.do(criticise).curves] == ["noise", "fewer arms"]
    bent.write(('without=("far",)', 'without=("near again",)'))
    assert [curve.axis.name for curve in bent.do(criticise).curves] == ["noise"]  # its check cannot be made


def test_an_axis_of_the_artifacts(bent):
    """A point stands on an artifact of its own, whose cost is counted once."""
    bent.write(('Axis.over("noise", (0.001, 0.01, 0.3, 1.0)', 'Axis.over("offset", (0.1, 0.2, 0.4)'))
    found = bent.do(criticise)
    (curve,) = found.curves
    assert curve.unbent.label == 0.1
    assert bent.made == ["offset"] * 3
    assert found.cost.flops == 3 * 1000 + 3 * 4 * 3 * 100
    assert curve.breaks_at == ()


def test_a_bend_reaches_an_arm_with_changes_of_its_own():
    laptop = Scale(seeds=5, changes={"steps": 50, "rows": 8}, per_arm={"large": {"steps": 99, "width": 4}})
    critique = Critique(axes=(), seeds=4, changes={"rows": 2})
    bent = critique.scale(laptop, ("large", "small"), Bend(label=1, changes={"steps": 7}, without=("small",)))
    assert bent.changes_to("large") == {"steps": 7, "rows": 2, "width": 4}
    assert (bent.arms, bent.seeds, bent.verdict) == (("large",), 4, False)
    assert critique.scale(laptop, ("large", "small")).changes_to("large") == {"steps": 99, "rows": 2, "width": 4}


def test_a_bend_of_some_arms_leaves_the_others_as_they_are(bent):
    scale = Critique(axes=()).scale(
        Scale(seeds=5, changes={"steps": 50}), ("large", "small"), Bend(label=1, changes={"steps": 7}, arms=("small",))
    )
    assert [scale.changes_to(arm) for arm in ("large", "small")] == [{"steps": 50}, {"steps": 7}]
    bent.write(
        ('Axis.over("noise", (0.001, 0.01, 0.3, 1.0), objection="Noise hides it.", log=True)',
         'Axis.over("place", (0.3, -0.2), arms=("far",), objection="Is it far?")'),
    )  # fmt: skip
    (curve,) = bent.do(criticise).curves
    assert bent.ran == 4 * 3 + 2 * 3  # the study, and far at two other places
    assert curve.unbent.label == 0.0
    assert curve.breaks_at == (0.3,)


def test_failures_are_told_and_the_rest_goes_on(bent):
    when = "    if config.noise == {} and config.steps > 10:\n"
    failing = f"    run.flops(config.steps)\n{when}        raise ValueError('too loud')\n"
    bent.write((STOP[0], failing.format(1.0)))
    found = bent.do(criticise)
    assert len(found.failures) == 4 * 3
    assert "too loud" in found.failures[0].text
    assert [one.label for one in found.curves[0].readings] == [0.001, 0.01, 0.3]
    bent.write((STOP[0], failing.format(0.01)))
    with pytest.raises(UserError, match=r"near, seed 3, failed with \{(?s:.*)too loud"):
        bent.do(criticise)


def test_analysis_that_cannot_do_without_an_arm_is_a_sentence(bent):
    bent.write(("    trial=trial,\n", "    trial=trial,\n    analyse=lambda trials: {'x': trials['far']},\n"))
    with pytest.raises(UserError, match=r"analyse of 'bent' failed on the arms near, near again, farther: KeyError"):
        bent.do(criticise)


def test_a_study_without_critique_or_search_says_what_to_add(bent):
    text = bent.path.read_text()
    bent.path.write_text(re.sub(r"\n    critique=Critique\((?s:.*)\n\)\n$", "\n)\n", text))
    with pytest.raises(UserError, match="bent offers no critique; give its Study critique="):
        bent.do(criticise)
    with pytest.raises(UserError, match="bent offers nothing to tune; give its Study improve="):
        bent.do(improve, trials=1)
    assert read_criticism(bent.load(), bent.directory / "laptop") is None
    assert read_improvement(bent.load(), bent.directory / "laptop") is None


def test_a_bent_record_edited_by_hand_is_named(bent):
    bent.do(criticise, axes=["fewer arms"])
    path = next((bent.directory / "laptop" / "critique" / "trials").glob("far.3.*"))
    path.write_text(path.read_text().replace('"height": ', '"height": 1'))
    with pytest.raises(UserError, match=r"far\.3\..*\.json was changed after it was written"):
        bent.do(criticise)


# Improvement


def test_a_search_finds_the_vertex_and_fresh_seeds_confirm_it(bent):
    found = bent.do(improve, trials=8)
    assert found.best.number > 0
    assert abs(found.best.values["place"] - 0.5) < 0.2 - 0.05
    assert found.candidates[0].values == {}
    assert len(found.candidates) == 9
    assert found.verdict is Verdict.REPRODUCED
    assert found.interval.low > 0.005
    assert found.interval.mean == pytest.approx(sum(found.improved) / 5 - sum(found.base) / 5)
    assert found.improved_flops == found.base_flops == 5 * 100
    assert "8 candidates tried on 2 seeds that judge nothing" in in_words(found)
    assert "at 1.00 times the FLOPs: improved by more than 0.005" in in_words(found)
    assert json.loads(json.dumps(improvement_as_json(found)))["best"]["values"] == dict(found.best.values)
    assert read_improvement(bent.load(), bent.directory / "laptop") == found


def test_a_damaged_note_of_a_search_is_named(bent):
    bent.do(improve, trials=1)
    note = bent.directory / "laptop" / "improve" / "tried.json"
    note.write_text(note.read_text().replace('"why"', '"what"'))
    with pytest.raises(UserError, match=r"tried\.json is not a whole note of a search"):
        read_improvement(bent.load(), bent.directory / "laptop")
    bent.do(improve, trials=1)  # it is written anew; the trials are kept


def test_search_and_judging_share_no_seed(bent):
    found = bent.do(improve, trials=6)
    records = bent.trials("laptop/improve").values()
    searched = {record.seed for record in records if record.seed >= SEARCH_SEEDS}
    judged = {record.seed for record in records} - searched
    assert searched == {SEARCH_SEEDS, SEARCH_SEEDS + 1}
    assert judged == set(range(3, 8))  # the study's own, from its first seed on
    places = {record.config["place"] for record in records if record.arm == "near" and record.seed in judged}
    assert places == {0.3, found.best.values["place"]}  # no other candidate was seen on them


def test_the_study_is_left_as_it_is_and_its_records_are_used(bent):
    bent.do(run_study, "laptop", seeds=3)
    before = files(bent.directory / "laptop" / "trials")
    verdict = read_evidence(bent.load(), "laptop", bent.directory / "laptop").as_json()
    found = bent.do(improve, trials=6)
    assert files(bent.directory / "laptop" / "trials") == before
    assert read_evidence(bent.load(), "laptop", bent.directory / "laptop").as_json() == verdict
    own, copied = bent.trials(), bent.trials("laptop/improve")
    used = {record.key for record in copied.values()} & {record.key for record in own.values()}
    assert used == {record.key for record in own.values()}  # three seeds, tuned arm and untuned arms
    spent = [record.cost.flops for record in copied.values() if record.key not in used]
    assert found.cost.flops == sum(spent)
    untuned = 3 * 2 + 3 * (5 - 3)  # arms × seeds of the search, arms × seeds that were still missing
    assert bent.ran == len(spent) == untuned + 7 * 2 + (5 - 3) + 5


def test_a_search_that_goes_on_proposes_the_same(bent, tmp_path):
    few = bent.do(improve, trials=2)
    more = bent.do(improve, trials=4)
    assert more.candidates[:3] == few.candidates
    other = bent.other("bent")
    other.records = tmp_path / "elsewhere"
    at_once = other.do(improve, trials=4)
    assert at_once.candidates == more.candidates
    assert (at_once.base, at_once.improved) == (more.base, more.improved)


def test_an_interrupted_search_goes_on_with_what_is_missing(bent):
    bent.write(stopped("seed == 10001 and config.place not in (0.3, 0.0, -0.2)"))
    with pytest.raises(KeyboardInterrupt):
        bent.do(improve, trials=4)
    done = bent.ran
    found = bent.do(improve, trials=4)
    assert done + bent.ran == len(bent.trials("laptop/improve"))
    fresh = bent.do(improve, trials=4)
    assert bent.ran == 0
    assert fresh == found


def test_a_dearer_candidate_is_refused_with_its_reason(bent):
    """One arm of four is tuned: what it costs more is a quarter of that in all, which must not hide it."""
    bent.write(("run.flops(config.steps)", "run.flops(config.steps * (1.05 if config.place > 0.4 else 1))"))
    found = bent.do(improve, trials=8)
    dear = [one for one in found.candidates if one.values.get("place", 0) > 0.4]
    assert dear
    assert all(one.score is None and one.why == "costs 210 FLOPs, the study 200" for one in dear)
    assert "place 0.4" in bent.said or "costs 210 FLOPs" in bent.said
    assert found.best.number == 0 or found.best.values["place"] <= 0.4
    assert sum(one.score is None for one in found.candidates) == len(dear)


def test_a_candidate_that_fails_is_none_and_the_search_goes_on(bent):
    diverging = "    run.flops(config.steps)\n    if config.place > 0.7:\n        raise ValueError('diverged')\n"
    bent.write((STOP[0], diverging))
    found = bent.do(improve, trials=4)
    failed = [one for one in found.candidates if one.values.get("place", 0) > 0.7]
    assert failed
    assert all(one.score is None and one.why == "near, seed 10000, failed: ValueError: diverged" for one in failed)
    assert len(found.candidates) == 5
    assert bent.do(improve, trials=4).candidates == found.candidates
    bent.write((STOP[0], diverging.replace("> 0.7", "== 0.3 and config.steps > 10")))
    with pytest.raises(UserError, match=r"near, seed 10000, failed with \{(?s:.*)diverged"):
        bent.do(improve, trials=1)


def test_it_comes_out_negative_when_nothing_helps(bent):
    found = bent.write((OVER, 'over={"place": Between(low=-1.0, high=0.2)}')).do(improve, trials=4)
    assert found.best.number == 0
    assert (found.base, found.interval, found.verdict) == ((), None, Verdict.NONE)
    assert "None came out better than the study as it stands" in in_words(found)
    assert all(record.seed >= SEARCH_SEEDS for record in bent.trials("laptop/improve").values())


def test_a_lucky_candidate_is_found_out_by_the_judges(bent):
    """`place` is only a name for other draws here, so that the best of the search is luck."""
    bent.write((HEIGHT, "0 * config.place"), ("by=0.005", "by=0.02"))
    found = bent.do(improve, trials=8)
    assert found.best.number > 0
    assert found.best.score > found.candidates[0].score
    assert found.verdict is not Verdict.REPRODUCED


def test_who_judges_again_and_again_divides_the_error(bent):
    bent.write()
    first, second = (bent.do(improve, trials=trials) for trials in (4, 15))
    assert first.best.number != second.best.number
    assert first.interval.confidence == pytest.approx(0.95)
    assert second.interval.confidence == pytest.approx(0.975)
    (bent.directory / "laptop" / "improve" / "tried.json").unlink()  # which forgets the search, not the judging
    assert bent.do(improve, trials=4).interval.confidence == pytest.approx(0.975)
    third = bent.write((OVER, 'over={"place": Between(low=0.5, high=0.6)}')).do(improve, trials=2)
    assert third.interval.confidence == pytest.approx(1 - 0.05 / 3)


def test_lower_may_be_better(bent):
    found = bent.write(('direction="higher"', 'direction="lower"')).do(improve, trials=6)
    assert found.best.score == min(one.score for one in found.candidates)
    assert found.interval.mean > 0
    assert found.verdict is Verdict.REPRODUCED


def test_choices_and_changes(bent):
    """An arm with changes of its own keeps them in the search; `changes` shortens the search, not the judging."""
    bent.write(
        (OVER, 'over={"place": Among(values=(0.2, 0.5))}'),
        ("    Again,\n", "    Again,\n    Among,\n"),
        ("        seeds=2,\n", '        seeds=2,\n        changes={"steps": 60},\n'),
        (LAPTOP, f'{LAPTOP}, per_arm={{"near": {{"noise": 0.02}}, "near again": {{"noise": 0.02}}}}'),
    )
    found = bent.do(improve, trials=4)
    assert found.best.values["place"] == 0.5
    records = bent.trials("laptop/improve").values()
    assert {record.config["noise"] for record in records if record.arm == "near"} == {0.02}
    assert {record.config["noise"] for record in records if record.arm == "far"} == {0.01}
    steps = {(record.seed >= SEARCH_SEEDS, record.config["steps"]) for record in records if record.arm == "far"}
    assert steps == {(True, 60), (False, 100)}
    bent.write(
        (OVER, 'over={"place": Among(values=(0.2, 0.5))}, judged={"steps": 40}'),
        ("    Again,\n", "    Again,\n    Among,\n"),
    )
    assert "On the 5 seeds that judge the study, with steps 40, the gain is" in in_words(bent.do(improve, trials=4))


def test_bad_searches_are_refused(bent):
    with pytest.raises(UserError, match="--trials is 0; it must be at least 1"):
        bent.do(improve, trials=0)
    bent.write(('measure="height"', 'measure="heigth"'))
    with pytest.raises(UserError, match="The search is for 'heigth' of 'near', but there is no 'heigth'"):
        bent.do(improve, trials=1)


# The pilot


def test_a_pilot_runs_on_seeds_of_its_own_and_says_what_to_plan(bent):
    pilot = bent.do(run_pilot, seeds=3)
    assert {record.seed for record in bent.trials("pilot").values()} == set(range(PILOT_SEEDS, PILOT_SEEDS + 3))
    assert not (bent.directory / "laptop").exists()
    (one,) = pilot.claims
    assert one.effect == pytest.approx(0.21, abs=0.03)
    assert one.beyond == pytest.approx(one.effect - 0.1)
    assert 0.001 < one.spread < 0.05
    assert one.seeds == pilot.seeds == 5
    plan = eval(pilot.as_plan(), {"Plan": Plan})  # what is to be pasted
    assert plan.first_seed == bent.load().plan.first_seed == 3
    assert (plan.seeds, plan.flops) == (5, pytest.approx(5 * 4 * 100 + 1000, rel=0.05))
    assert plan.spread == {"height": pytest.approx(one.spread, rel=0.1)}
    assert 0 < plan.detects < one.beyond
    bent.do(run_pilot, seeds=3)
    assert bent.ran == 0


def test_nothing_is_planned_from_seeds_that_all_gave_the_same(bent):
    bent.write(("normal(0, config.noise)", "normal(0, 0)"))
    with pytest.raises(UserError, match=r"'Nearer the .*' has the same effect, 0.21, in all 3 seeds, .*uses the seed"):
        bent.do(run_pilot, seeds=3)


@pytest.mark.parametrize(
    ("effects", "region", "beyond", "seeds"),
    [
        ([0.4, 0.41, 0.42], (0.1, math.inf), 0.31, 5),
        ([0.4, 0.4, 0.4], (0.1, math.inf), 0.3, None),
        ([0.04, 0.05, 0.06], (0.1, math.inf), -0.05, None),
        ([0.0, 0.2, 0.4], (0.1, math.inf), 0.1, None),
        ([-0.01, 0.0, 0.01], (-0.1, 0.1), 0.1, 5),
        ([0.5, 0.51, 0.52], (-math.inf, 1.0), 0.49, 5),
    ],
)
def test_what_effects_foretell(effects, region, beyond, seeds):
    low, high = region
    claim = InRange("x", "a", low=low, high=high, text="", control="b")
    found = foresee(claim, effects, claims=2)
    assert found.beyond == pytest.approx(beyond)
    assert found.seeds == seeds


def test_a_pilot_that_cannot_tell(bent):
    with pytest.raises(UserError, match="--seeds is 1; a spread takes at least 2"):
        bent.do(run_pilot, seeds=1)
    bent.write((STOP[0], STOP[0] + "    if config.place < 0 and seed > 9:\n        raise ValueError('no such luck')\n"))
    with pytest.raises(UserError, match=r"farther, seed 20000, failed with \{(?s:.*)no such luck"):
        bent.do(run_pilot, seeds=2)
    bent.write(("normal(0, config.noise)", "normal(0, config.noise) + np.random.default_rng().normal()"))
    with pytest.raises(UserError, match="trial of bent is not a function of config and seed"):
        bent.do(run_pilot, seeds=2)
