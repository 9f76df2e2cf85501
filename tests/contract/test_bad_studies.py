"""What a careless file, option or record meets: one sentence, and nothing half-written."""

import json

import pytest

from maquette.cli import commands
from maquette.cli.arguments import parse
from maquette.core.errors import UserError
from maquette.core.provenance import source_hash
from maquette.core.records import write_checked
from maquette.lab.runner import run_study

RETURN = "    return {"
OUTCOME = {"verdict": "reproduced", "seeds": 5, "cost": {"flops": 1.0, "wall_seconds": 2.0}}


@pytest.fixture
def listed(tmp_path, monkeypatch, capsys):
    """What `list` prints of an outcome file of scaling_laws."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "scaling_laws" / "laptop" / "outcome.json"
    path.parent.mkdir(parents=True)

    def run(write):
        write(path)
        assert commands.run(["list"]) == 0
        shown = capsys.readouterr().out
        assert commands.run(["list", "--json"]) == 0
        json.loads(capsys.readouterr().out)
        return shown

    return run


def edited(path):
    write_checked(path, OUTCOME)
    path.write_text(path.read_text().replace('"seeds": 5', '"seeds": 12'))


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_text('{"verd'), "outcome.json is not readable JSON"),
        (lambda path: path.write_text("{}"), "outcome.json is not a whole outcome; delete it and run again"),
        (lambda path: path.write_text(json.dumps(OUTCOME)), "outcome.json is not a whole outcome; delete it"),
        (lambda path: write_checked(path, {"verdict": "reproduced"}), "outcome.json is not a whole outcome."),
        (edited, "outcome.json was changed after it was written"),
    ],
)
def test_an_outcome_that_no_run_left_is_listed_as_a_problem(listed, write, sentence):
    shown = listed(write)
    assert sentence in shown
    assert "reproduced" not in shown


def test_an_outcome_that_a_run_left_is_listed(listed):
    assert "laptop: reproduced, n = 5, 1 FLOPs, 2 s of trials" in listed(lambda path: write_checked(path, OUTCOME))


def test_a_file_in_another_encoding_is_hashed_as_it_is_read(bent):
    text = bent.path.read_text()
    bent.path.write_bytes(f"# -*- coding: latin-1 -*-\n# caf\u00e9\n{text}".encode("latin-1"))
    latin = source_hash(bent.load().trial)
    bent.write()
    assert source_hash(bent.load().trial) == latin


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_that_leaves_fails_and_its_arm_is_named(bent, jobs):
    bent.write((RETURN, f"    if config.steps > 10 and config.place < 0:\n        raise SystemExit('bye')\n{RETURN}"))
    (failure,) = bent.do(run_study, "laptop", seeds=1, jobs=jobs).failures
    assert (failure.arm, failure.seed, failure.text.splitlines()[-1]) == ("farther", 3, "SystemExit: bye")


def test_a_file_that_leaves_when_it_is_imported_is_refused(bent):
    bent.write(("STUDY =", "raise SystemExit(3)\nSTUDY ="))
    with pytest.raises(UserError, match=r"bent_study.py cannot be imported: SystemExit: 3$"):
        bent.load()


@pytest.mark.parametrize("measure", ["float('nan')", "'high'", "None"])
def test_a_rehearsal_that_fails_is_told_in_one_line(bent, measure):
    bent.write(("+ draw}", "+ draw, 'x': %s}" % measure))  # noqa: UP031 - a brace follows
    with pytest.raises(UserError) as refused:
        bent.do(run_study, "laptop")
    assert "\n" not in str(refused.value)
    assert "rehearsal of bent at smoke scale failed" in str(refused.value)
    assert "the measure 'x' is" in str(refused.value)


@pytest.mark.parametrize("axis", ["", ",", " "])
def test_no_axis_is_not_every_axis(bent, axis):
    with pytest.raises(UserError, match=r"^--axis is empty; give a name or leave it out"):
        commands.run(["criticise", str(bent.path), "--axis", axis])


@pytest.mark.parametrize("option", ["--seeds", "--jobs"])
def test_an_option_of_the_wrong_type_is_told_in_short(option):
    with pytest.raises(UserError) as refused:
        parse(["run", "scaling_laws", option, "x"])
    assert str(refused.value) == (f"Error parsing {option}: 'x' is not a whole number. See: maquette run --help")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--budget 1", "comes to 0.04774 parameters; laws are no guide below 1K or above 1e\\+15"),
        ("--parameters 1", "comes to 1 parameters"),
        ("--tokens 1e30", "parameters; laws are no guide"),
        ("--parameters 1B --tokens 1e30", "comes to 1e\\+30 tokens; laws are no guide below 1K or above 1e\\+18"),
    ],
)
def test_a_plan_for_what_nobody_would_train_is_refused(line, sentence):
    with pytest.raises(UserError, match=sentence):
        commands.run(["plan", *line.split()])
