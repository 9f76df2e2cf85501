"""What the records prove of when a claim was made, and on which seeds it is judged."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from maquette.core.files import fingerprint
from maquette.core.records import Trace, read_record
from maquette.lab.caveats import REGISTERED, caveats, registered
from maquette.lab.evidence import read_evidence
from maquette.lab.registration import changes
from maquette.lab.report.contents import section
from maquette.lab.report.page import write_page
from maquette.lab.report.slides import choose
from maquette.lab.runner import run_study
from maquette.lab.verdicts import Verdict

BY = "by=0.1"
CODE = ("run.flops(config.steps)", "run.flops(2 * config.steps / 2)")


def read(bent):
    return read_evidence(bent.load(), "laptop", bent.directory / "laptop")


def told(bent):
    """The report's page, and the titles of its slides."""
    found = section(read(bent), "maquette run")
    write_page(bent.folder / "page.html", [found])
    return (bent.folder / "page.html").read_text(), [page.title for page in choose(found)]


def test_claims_that_stand_as_they_were_are_said_to_be_made_before(bent):
    outcome = bent.do(run_study, "laptop")
    for evidence in (outcome.evidence, read(bent)):
        assert (evidence.changes, caveats(evidence)) == ([], [])
    page, titles = told(bent)
    assert f"{REGISTERED}:" in page
    assert "Claimed before anything ran" in titles


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (BY, "by=0.15", "C1: by was 0.1, is 0.15"),
        (BY, f'{BY}, direction="lower"', "C1: direction was higher, is lower"),
        ('control="farther"', 'control=("farther",) * 2', "C1: control was farther, is farther, farther"),
        ("within=0.1", "within=0.2", "C1, check 1: within was 0.1, is 0.2"),
        ("laptop=Scale(seeds=5", "laptop=Scale(seeds=8", "laptop scale: seeds was 5, is 8"),
        ('plan=Plan(text="A pilot.", seeds=5', 'plan=Plan(text="", seeds=8', "plan: seeds was 5, is 8"),
        ("    trial=trial,\n", "    trial=trial,\n    analyse=lambda it: {'x': it['far']},\n", "analyse, x is new"),
    ],
)
def test_a_claim_that_moved_after_the_run_is_told_as_it_was_and_is(bent, old, new, change):
    bent.do(run_study, "laptop")
    evidence = bent.write((old, new)).do(run_study, "laptop", seeds=5).evidence
    assert bent.ran == 0
    assert read(bent).changes == evidence.changes
    assert caveats(evidence) == [f"What counts as an answer was changed after trials had run ({change})."]
    page, titles = told(bent)
    assert REGISTERED not in page
    assert "was changed after trials had run" in page
    assert "What is claimed" in titles


def claim(arm, by="0.1"):
    return {"kind": "Better", "measure": "m", "arm": arm, "than": "base", "by": by}


@pytest.mark.parametrize(
    ("today", "told"),
    [
        ({"C1": claim("a"), "C2": claim("new"), "C3": claim("b"), "C3, check 1": claim("c")}, ["C2 is new"]),
        ({"C1": claim("a"), "C2": claim("new"), "C3": claim("b", by="0.2"), "C3, check 1": claim("c")},
         ["C2 is new", "C3: by was 0.1, is 0.2"]),
        ({"C1": claim("b"), "C1, check 1": claim("c"), "C2": claim("a")}, ["the first claim is another"]),
        ({"C1": claim("a")}, ["C2 is gone", "C2, check 1 is gone"]),
    ],
)  # fmt: skip
def test_a_claim_is_held_against_the_one_on_the_same_comparison_whatever_its_number(today, told):
    then = {"C1": claim("a"), "C2": claim("b"), "C2, check 1": claim("c")}
    assert changes(SimpleNamespace(registered=then), today) == told


def test_what_is_only_said_of_a_claim_may_be_mended(bent):
    bent.do(run_study, "laptop")
    bent.write((BY, f'{BY}, paper="1", contested="nobody"'))
    assert read(bent).changes == []


@pytest.mark.parametrize("forget", [False, True])
def test_code_that_changes_with_the_claim_does_not_register_it_anew(bent, forget):
    bent.do(run_study, "laptop")
    bent.write((BY, "by=0.15"), CODE)
    if forget:
        (bent.directory / "laptop" / "trace.json").unlink()
    evidence = bent.do(run_study, "laptop").evidence
    assert bent.ran == 20
    assert evidence.changes == (None if forget else ["C1: by was 0.1, is 0.15"])


def test_a_trace_of_before_is_read_and_says_that_it_does_not_tell(bent):
    """As those in results/ are: their checksum is of the fields that there were."""
    bent.do(run_study, "laptop")
    path = bent.directory / "laptop" / "trace.json"
    values = dataclasses.asdict(read_record(path, Trace))
    del values["registered"]
    path.write_text(json.dumps({**values, "checksum": fingerprint(values)}))
    evidence = bent.do(run_study, "laptop").evidence
    assert (bent.ran, evidence.changes) == (0, None)
    assert "not in them; git shows it at commit" in caveats(evidence)[0]
    assert REGISTERED not in told(bent)[0]


def test_the_commit_is_that_of_the_users_own_file(bent):
    bent.do(run_study, "laptop", seeds=1)
    assert bent.trials()["far.3"].commit.endswith(", bent_study.py at unknown")


def test_a_scale_that_decides_nothing_registers_nothing(bent):
    evidence = bent.do(run_study, "smoke").evidence
    assert caveats(evidence) == []
    assert REGISTERED not in registered(evidence)


def test_run_and_report_judge_the_same_seeds_wherever_the_first_one_is_moved(bent):
    bent.do(run_study, "laptop")
    bent.write(("first_seed=3", "first_seed=6"))
    evidence = bent.do(run_study, "laptop").evidence
    again = read(bent)
    assert list(evidence.by_seed) == list(again.by_seed) == [6, 7, 8, 9, 10]
    assert evidence.as_json() == again.as_json()
    for one in (evidence, again):
        moved, aside = caveats(one)
        assert "plan: first_seed was 3, is 6" in moved
        assert "other seeds too (3, 4, 5)" in aside
    assert "other seeds too (3, 4, 5)" in told(bent)[0]


def test_a_trial_that_ignores_its_seed_does_not_count_for_five(bent):
    bent.write(("normal(0, config.noise)", "normal(0, 0)"))
    outcome = bent.do(run_study, "laptop")
    for evidence in (outcome.evidence, read(bent)):
        assert evidence.verdict is Verdict.UNDECIDED
        (sentence,) = caveats(evidence)
        assert sentence.startswith("“Nearer the vertex is higher” has the same effect in all 5 seeds, 0.21")
    assert "does its trial use the seed?" in told(bent)[0]


def test_criticism_bends_the_seeds_that_judge(bent):
    from maquette.lab.criticism import criticise

    first = bent.do(criticise, axes=("noise",))
    second = bent.write(("first_seed=3", "first_seed=4")).do(criticise, axes=("noise",))
    assert {curve.unbent.interval.n for curve in (*first.curves, *second.curves)} == {3}
