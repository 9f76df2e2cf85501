"""What is derived from records is kept where it takes long, and derived anew where it would be another."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from maquette.core.errors import UserError
from maquette.lab import derived
from maquette.lab.derived import FILE, with_derived
from maquette.studies.language.scaling_laws import STUDY as SCALING

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from toy_study import STUDY

TRIALS = {arm: {"score": 1.5, "cost": 2.0} for arm in STUDY.arms}
CALLS: list[dict] = []


def slow(trials):
    CALLS.append(trials)
    return {"best": {"score": max(one["score"] for one in trials.values())}}


def other(trials):
    return {"best": {"score": 0.0}}


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(derived, "SLOW", -1.0)
    CALLS.clear()
    return dataclasses.replace(STUDY, analyse=slow)


def test_what_took_long_is_derived_once(study, tmp_path):
    first = with_derived(study, TRIALS, tmp_path)
    assert first == with_derived(study, TRIALS, tmp_path) == TRIALS | {"best": {"score": 1.5}}
    assert len(CALLS) == 1
    changed = TRIALS | {next(iter(TRIALS)): {"score": 2.5, "cost": 2.0}}
    assert with_derived(study, changed, tmp_path)["best"] == {"score": 2.5}
    assert with_derived(study, TRIALS, tmp_path) == first
    assert len(CALLS) == 2
    assert with_derived(study, TRIALS) == first
    assert len(CALLS) == 3, "without records nothing is kept"


def test_what_was_changed_by_hand_is_refused(study, tmp_path):
    with_derived(study, TRIALS, tmp_path)
    path = tmp_path / FILE
    path.write_text(path.read_text().replace('"score": 1.5', '"score": 9.5'))
    with pytest.raises(UserError, match="was changed after it was written"):
        with_derived(study, TRIALS, tmp_path)


def test_other_code_derives_anew(study, tmp_path):
    with_derived(study, TRIALS, tmp_path)
    assert with_derived(dataclasses.replace(study, analyse=other), TRIALS, tmp_path)["best"] == {"score": 0.0}


def test_what_is_quick_leaves_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setattr(derived, "SLOW", 60.0)
    with_derived(study, TRIALS, tmp_path)
    assert not (tmp_path / FILE).exists()
    with pytest.raises(UserError, match=r"analyse of .* failed on the arms"):
        with_derived(dataclasses.replace(study, analyse=lambda trials: 1 / 0), TRIALS, tmp_path)


def test_what_the_repository_keeps_is_what_its_records_give():
    """One seed of the one study that takes minutes; all of them would."""
    directory = Path(__file__).parents[2] / "results/scaling_laws/laptop"
    kept = json.loads((directory / FILE).read_text())["derived"]
    from maquette.lab.evidence import read_evidence

    evidence = read_evidence(SCALING, "laptop", directory)
    seed = min(evidence.by_seed)
    fresh = with_derived(SCALING, evidence.trials(seed))
    assert derived.fingerprint(evidence.trials(seed)) in kept
    for arm, measures in evidence.by_seed[seed].items():
        assert measures == pytest.approx(fresh[arm], rel=1e-6)
