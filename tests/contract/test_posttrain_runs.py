"""Every stage of post-training, killed and resumed, and on two processes."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maquette.train import checkpoint
from maquette.train.metrics import read_metrics

PROGRAM = Path(__file__).with_name("posttrain_program.py")
STEPS = 4
TIMED = ("seconds_per_step", "share_sampling")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run that nothing happens to."""
    spec = importlib.util.spec_from_file_location("posttrain_program", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    folder = tmp_path_factory.mktemp("posttrain") / "alone"
    program.run(folder, STEPS)
    return folder


def started(folder, *before, steps=STEPS):
    command = [sys.executable, *before, str(PROGRAM), str(folder), str(steps)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def rows_of(folder, stage):
    rows = read_metrics(folder / stage / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(alone, tmp_path):
    with started(tmp_path) as process:
        while int(process.stdout.readline() or 99) < 6:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 4 <= checkpoint.steps_saved(tmp_path / "grpo")[-1] < 4 * STEPS
    with started(tmp_path) as process:
        said, error = process.communicate(timeout=120)
    assert process.returncode == 0, error[-2000:]
    assert int(said.split()[0]) > 4, "it did not begin anew"
    for stage, step in (("sft", 4), ("grpo", 4 * STEPS)):
        ends = [checkpoint.read(checkpoint.folder(run / stage, step))[2] for run in (alone, tmp_path)]
        torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0, equal_nan=True)
        assert rows_of(alone, stage) == rows_of(tmp_path, stage)
    assert (alone / "replies.jsonl").read_text() == (tmp_path / "replies.jsonl").read_text()
    for path in (alone / "grpo" / "samples").iterdir():
        assert path.read_text() == (tmp_path / "grpo" / "samples" / path.name).read_text()


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(alone, tmp_path):
    with started(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2") as process:
        _, error = process.communicate(timeout=200)
    assert process.returncode == 0, error[-3000:]
    for stage, steps in (("sft", 4), ("grpo", STEPS)):
        one, two = rows_of(alone, stage), rows_of(tmp_path, stage)
        assert len(one) == len(two) == steps
        for expected, found in zip(one, two, strict=True):
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    replies = [(run / "replies.jsonl").read_text() for run in (alone, tmp_path)]
    assert replies[0] == replies[1] != ""
    assert any(abs(row["loss"]) > 1e-3 for row in rows_of(alone, "grpo")), "or there was nothing to differ in"
