"""What every study must do, shown at its smoke scale."""

import sys
from pathlib import Path

import pytest
import torch

from maquette.cli.studies import known_studies
from maquette.core.errors import UserError
from maquette.lab.run import Run
from maquette.lab.runner import run_study
from maquette.lab.scaffold import write_scaffold
from maquette.lab.study import load_study
from maquette.lab.terminal import Display
from maquette.lab.verdicts import Verdict
from maquette.studies.robotics import pi0
from maquette.studies.video import dit

STUDIES = sorted(known_studies().values())


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[*STUDIES, "what `maquette new` writes"])
def reference(request, tmp_path, monkeypatch):
    """Every study of the package, and the scaffold."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # a study's folder stays on it
    return request.param if request.param in STUDIES else str(write_scaffold("my-paper", tmp_path))


def console():
    from rich.console import Console

    return Display(Console(quiet=True))


@pytest.mark.slow
def test_smoke_scale_answers_every_claim_and_is_not_run_twice(reference, tmp_path):
    first = run_study(reference, "smoke", console(), records=tmp_path, scratch=tmp_path / "scratch", jobs=1)
    assert not first.failures
    assert first.evidence.verdict is Verdict.NONE, "a scale of seconds decides nothing"
    study = load_study(reference)
    seeds = [study.trials_of(trials) for trials in first.evidence.by_seed.values()]
    for claim in study.claims:
        for arm in (claim.arm, *claim.controls):
            claim.effect(seeds[0], arm)
    again = run_study(reference, "smoke", console(), records=tmp_path, scratch=tmp_path / "scratch", jobs=1)
    assert again.ran == 0
    assert again.evidence.by_seed == first.evidence.by_seed


@pytest.mark.slow
def test_a_trial_is_a_function_of_config_and_seed_however_it_is_interrupted(reference, tmp_path):
    study = load_study(reference)
    scale = study.scale("smoke")
    arm, config = next(iter(study.configs(scale).items()))
    made: dict[str, Path] = {}
    for name in study.artifacts_of(arm):
        place = tmp_path / "artifacts" / name
        study.artifacts[name].make(study.artifact_config(name, scale.changes_to(arm)), Run(place, artifacts=made))
        made[name] = place
    whole = dict(study.trial(config, 3, Run(tmp_path / "whole", artifacts=made)))
    assert dict(study.trial(config, 3, Run(tmp_path / "twin", artifacts=made))) == whole
    assert dict(study.trial(config, 4, Run(tmp_path / "other seed", artifacts=made))) != whole

    def kill_half_way(event):
        if event["kind"] == "progress" and event["done"] > event["total"] / 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        study.trial(config, 3, Run(tmp_path / "killed", emit=kill_half_way, artifacts=made))
    assert dict(study.trial(config, 3, Run(tmp_path / "killed", artifacts=made))) == whole, (
        f"{arm} does not resume to the same bits"
    )


def test_an_unknown_scale_is_named():
    with pytest.raises(UserError, match="smoke"):
        load_study(STUDIES[0]).scale("smok")


@pytest.mark.parametrize(
    ("study", "arm", "tried", "trained"),
    [
        (pi0.STUDY, "flow", {"slowness": 3.0, "tested": "held out", "adapting": 10, "evaluations": 1}, {"chunk": 32}),
        (dit.STUDY, "M-4", {"sampler": "heun", "evaluations": 8}, {"shift": 2.0}),
    ],
    ids=["pi0", "dit"],
)
def test_what_is_only_tried_otherwise_is_not_trained_again(study, arm, tried, trained):
    asked = study.config(arm, {}).training
    assert type(asked) is not type(study.config(arm, {})), "else all that sets trials apart would be part of it"
    assert study.config(arm, tried).training == asked
    assert study.config(arm, trained).training != asked
