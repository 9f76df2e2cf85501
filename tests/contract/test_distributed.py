"""Two processes train as one does: the same losses, and checkpoints that either goes on from."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maquette.core.errors import UserError
from maquette.language.checkpoints import load
from maquette.train import checkpoint
from maquette.train.distributed import World, join_world
from maquette.train.metrics import read_metrics

PROGRAM = Path(__file__).with_name("distributed_program.py")
STRATEGIES = ("ddp", "fsdp")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("distributed_program", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory, program):
    """`alone`, and under one torchrun `ddp`, `fsdp` and `resumed-…`, which go on from the middle of `alone`."""
    folder = tmp_path_factory.mktemp("distributed")
    program.run(folder / "alone")
    for strategy in STRATEGIES:
        checkpoint.fork(folder / "alone", 6, folder / f"resumed-{strategy}")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(PROGRAM), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def column(folder, name):
    return {row["step"]: row[name] for row in read_metrics(folder / "metrics.jsonl") if name in row}


def assert_same_weights(one, other, step=12):
    parts = [checkpoint.read(checkpoint.folder(run, step))[2] for run in (one, other)]
    assert parts[0].keys() == parts[1].keys()
    for part in ("model", "ema", "optimizer-0"):
        assert parts[0][part].keys() == parts[1][part].keys()
        torch.testing.assert_close(parts[1][part], parts[0][part], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_give_the_losses_of_one(runs, strategy):
    for name in ("loss", "gradient_norm", "unseen"):
        expected = column(runs / "alone", name)
        assert column(runs / strategy, name) == pytest.approx(expected, rel=TOLERANCE)
    losses = column(runs / "alone", "loss")
    assert sorted(losses) == list(range(1, 13))
    assert losses[12] < 0.9 * losses[1], "or nothing was trained that could differ"
    assert_same_weights(runs / "alone", runs / strategy)
    trained = checkpoint.read(checkpoint.folder(runs / "alone", 12))[2]["model"]
    left = load(runs / strategy / "left").state_dict()
    for name, weight in trained.items():
        torch.testing.assert_close(left[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_checkpoint_of_two_goes_on_in_one(runs, program, strategy, tmp_path):
    checkpoint.fork(runs / strategy, 6, tmp_path / "run")
    program.run(tmp_path / "run")
    expected = column(runs / "alone", "loss")
    assert column(tmp_path / "run", "loss") == pytest.approx({s: expected[s] for s in range(7, 13)}, rel=TOLERANCE)
    assert_same_weights(runs / "alone", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_checkpoint_of_one_goes_on_in_two(runs, strategy):
    expected = column(runs / "alone", "loss")
    folder = runs / f"resumed-{strategy}"
    assert column(folder, "loss") == pytest.approx({s: expected[s] for s in range(7, 13)}, rel=TOLERANCE)
    assert_same_weights(runs / "alone", folder)


@pytest.mark.slow
def test_the_comparison_sees_a_rate_a_thousandth_higher(runs, program, tmp_path):
    optimizer = dataclasses.replace(program.CONFIG.optimizer, lr=program.CONFIG.optimizer.lr * 1.001)
    program.run(tmp_path / "run", config=dataclasses.replace(program.CONFIG, optimizer=optimizer))
    assert column(tmp_path / "run", "loss") != pytest.approx(column(runs / "alone", "loss"), rel=TOLERANCE)


def test_alone_there_is_nothing_to_join(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = join_world("fsdp")
    assert world == World(strategy="fsdp")
    assert world.leads
    model = torch.nn.Linear(2, 2)
    assert world.shard(model) is world.replicate(model, torch.device("cpu")) is model


def test_rows_that_cannot_be_shared_out_are_refused(program, tmp_path):
    settings = dataclasses.replace(program.CONFIG, accumulate=5)
    with pytest.raises(UserError, match="8 rows cannot be cut into 1 processes × accumulate = 5"):
        program.run(tmp_path / "run", config=settings)
