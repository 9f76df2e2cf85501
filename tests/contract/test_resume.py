"""A killed run resumes to the same bits. `scripts/kill_and_resume.py` does the same many times over."""

import importlib.util
import random
import shutil
from pathlib import Path

import pytest
import torch

from maquette.train import checkpoint

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"


@pytest.fixture(scope="module")
def experiment():
    spec = importlib.util.spec_from_file_location("kill_and_resume", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_run_killed_three_times_ends_with_the_bits_of_one_never_killed(tmp_path, experiment):
    seed = random.SystemRandom().randrange(10**6)
    record = experiment.kill_and_resume(tmp_path, kills=3, seed=seed)
    print(record)  # pytest shows it with a failure
    resumed = record["resumed_from"]
    assert 0 < resumed[0] < resumed[1] < resumed[2] < record["steps"], "each restart from a checkpoint of its own"
    assert record["equal"]
    assert record["equal_files"]["metrics.jsonl"]

    ends = [checkpoint.folder(tmp_path / name, record["steps"]) for name in ("never-killed", "killed")]
    (step, _, expected), (_, _, resumed_parts) = map(checkpoint.read, ends)
    assert step == record["steps"]
    assert expected.keys() == resumed_parts.keys() == {"model", "ema", "optimizer-0", "optimizer-1", "rng"}
    torch.testing.assert_close(resumed_parts, expected, rtol=0, atol=0, equal_nan=True)

    changed = expected["model"]["embedding.weight"].clone()
    changed[0, 0] = torch.nextafter(changed[0, 0], torch.tensor(9.0))
    checkpoint.write(
        tmp_path / "changed", step, {}, expected | {"model": expected["model"] | {"embedding.weight": changed}}
    )
    found = experiment.compare(tmp_path / "never-killed", tmp_path / "changed", step)
    assert not found["model.safetensors"], "the comparison sees one bit"
    assert found["ema.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", ["rng", "ema", "optimizer-0", "optimizer-1"])
def test_a_resume_that_forgot_a_part_would_be_seen(tmp_path, experiment, forgotten):
    """The control: without any one part of the checkpoint the bits differ."""
    steps, half = 10, 5
    for name in ("whole", "forgetful"):
        experiment.run(tmp_path / name, steps)
    shutil.rmtree(checkpoint.folder(tmp_path / "forgetful", steps))
    _, identity, parts = checkpoint.read(checkpoint.folder(tmp_path / "forgetful", half))
    lost = {name: torch.zeros_like(value) for name, value in parts[forgotten].items()}
    parts[forgotten] = checkpoint.random_state() if forgotten == "rng" else lost
    checkpoint.write(tmp_path / "forgetful", half, identity, parts)
    experiment.run(tmp_path / "forgetful", steps)
    found = experiment.compare(tmp_path / "whole", tmp_path / "forgetful", steps)
    assert not found["ema.safetensors"]
