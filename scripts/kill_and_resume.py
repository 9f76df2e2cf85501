"""Kill a training run with SIGKILL at random points, resume it after each, and compare its end with a run never killed.

    python scripts/kill_and_resume.py                       50 kills, about two minutes, a record in results/resume/
    python scripts/kill_and_resume.py --kills 5 --seed 1

Every restart goes on from a checkpoint that the run before it did not start from. The comparison is of every byte of
the last checkpoint: weights, both optimisers, averaged weights, random generators.
"""

import argparse
import filecmp
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maquette.core.files import write_json
from maquette.core.provenance import circumstances
from maquette.core.seeds import torch_generator
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.train import checkpoint
from maquette.train.loop import Batch, TrainConfig, train
from maquette.train.metrics import read_metrics
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule

MODEL = LlamaConfig(vocabulary=64, width=32, layers=2, heads=4, kv_heads=2, hidden=64, tied=True)
SAVE_EVERY = 5
STEPS_A_KILL = 25
"""Steps of the whole run for each kill: enough that it does not end before the last one."""


def run_config(steps: int) -> TrainConfig:
    """All that has a state is in it: two optimisers, an average, a schedule, accumulation."""
    return TrainConfig(
        steps=steps,
        optimizer=OptimizerConfig(kind="muon"),
        schedule=Schedule(kind="wsd", warmup=20),
        accumulate=2,
        ema=0.95,
        device="cpu",
        log_every=SAVE_EVERY,
        save_every=SAVE_EVERY,
    )


def batches(step: int) -> Batch:
    """Sums of random numbers modulo the vocabulary."""
    steps = torch.randint(0, 8, (8, 33), generator=torch_generator(0, "batch", step))
    text = steps.cumsum(1) % MODEL.vocabulary
    return {"tokens": text[:, :-1], "targets": text[:, 1:]}


def noisy_loss(model: nn.Module, batch: Batch) -> Tensor:
    """A loss that draws from each of the process's generators, so that a generator not restored shows."""
    kept = torch.rand(batch["tokens"].shape) < 0.9
    noise = 1 + 0.1 * (random.gauss(0, 1) + float(np.random.standard_normal()))
    return noise * next_token_loss(model, batch | {"tokens": batch["tokens"] * kept})


def run(directory: Path, steps: int) -> None:
    """The run that is killed: from its newest checkpoint to the end, printing each step done."""
    torch.set_num_threads(1)
    model = Llama(MODEL).initialise(torch_generator(0, "initialise"))

    def report(step: int, _: int) -> None:
        print(step, flush=True)

    train(model, noisy_loss, count_targets, batches, run_config(steps), directory=directory, progress=report)


def start(directory: Path, steps: int) -> "subprocess.Popen[str]":
    """`run` in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--run", str(directory), "--steps", str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def live_and_die(directory: Path, steps: int, chance: random.Random) -> dict[str, Any]:
    """Start the run, kill it at a random point after its first new checkpoint, and say where.

    Raises:
        RuntimeError: the run ended by itself before it was killed.
    """
    with start(directory, steps) as process:
        assert process.stdout is not None
        done = [int(process.stdout.readline() or -1)]
        resumed = done[0] - 1
        # So many steps beyond the first new checkpoint, and then a moment somewhere inside the next ones; half of the
        # kills are aimed at the step that ends in writing a checkpoint, which is a small part of the time.
        last, began = resumed + SAVE_EVERY + chance.randrange(2 * SAVE_EVERY), time.perf_counter()
        if chance.random() < 0.5:
            last += SAVE_EVERY - 1 - last % SAVE_EVERY
        while 0 < done[-1] < last:
            done.append(int(process.stdout.readline() or -1))
        if done[-1] < 0:
            raise RuntimeError(f"The run in {directory} ended before it was killed, at the steps {done[-3:]}.")
        time.sleep(chance.uniform(0, 2 * (time.perf_counter() - began) / max(1, len(done) - 1)))
        process.kill()
        done += map(int, process.stdout.read().split())
    if done[-1] == steps:
        raise RuntimeError(f"The run in {directory} came to its end before it was killed.")
    saving = any((directory / "checkpoints").glob(".writing-*"))
    return {"resumed_from": resumed, "killed_after": done[-1], "while_saving": saving}


def rows_without_times(directory: Path) -> list[dict[str, float]]:
    """What a run logged, without what the clock said."""
    rows = read_metrics(directory / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name != "seconds_per_step"} for row in rows]


def compare(one: Path, other: Path, step: int) -> dict[str, bool]:
    """Whether each file of two runs' checkpoints holds the same bytes, and whether their metrics are the same."""
    folders = [checkpoint.folder(run, step) for run in (one, other)]
    for folder in folders:
        checkpoint.read(folder)  # the checksums
    names = sorted({path.name for folder in folders for path in folder.iterdir()})
    both = {name: all((folder / name).exists() for folder in folders) for name in names}
    equal = {name: both[name] and filecmp.cmp(folders[0] / name, folders[1] / name, shallow=False) for name in names}
    return equal | {"metrics.jsonl": rows_without_times(one) == rows_without_times(other)}


def kill_and_resume(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """The whole experiment in `folder`; its record."""
    began, chance, steps = time.time(), random.Random(seed), STEPS_A_KILL * (kills + 1)
    with start(folder / "never-killed", steps) as reference:
        deaths = []
        for i in range(kills):
            deaths.append(live_and_die(folder / "killed", steps, chance))
            print(f"kill {i + 1} of {kills}: {deaths[-1]}", flush=True)
        with start(folder / "killed", steps) as last:
            lines = last.communicate()[0].split()
        reference.communicate()
    resumed = [death["resumed_from"] for death in deaths[1:]] + [int(lines[0]) - 1]
    equal = compare(folder / "never-killed", folder / "killed", steps)
    return {
        "kills": kills,
        "seed": seed,
        "steps": steps,
        "save_every": SAVE_EVERY,
        "resumed_from": resumed,
        "killed_after": [death["killed_after"] for death in deaths],
        "kills_while_saving": sum(death["while_saving"] for death in deaths),
        "restarts_from_step_0": resumed.count(0),
        "equal": all(equal.values()) and reference.returncode == last.returncode == 0,
        "equal_files": equal,
        "model": asdict(MODEL),
        "config": asdict(run_config(steps)),
        "seconds": round(time.time() - began, 1),
        **circumstances(),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, default=Path("results/resume/kill_and_resume.json"))
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, arguments.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        record = kill_and_resume(Path(folder), arguments.kills, arguments.seed)
    write_json(arguments.record, record)
    print(f"{record['kills']} kills, last bits equal: {record['equal']}; {arguments.record}")
    sys.exit(not record["equal"] or record["restarts_from_step_0"] > 0)


if __name__ == "__main__":
    main()
