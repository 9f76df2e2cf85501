"""How often do the table top's experts succeed, and do they take both of two equally good ways?

    python benchmarks/scene_experts.py             500 episodes of every task with every robot, ten minutes on a core
    python benchmarks/scene_experts.py --record    and what was found kept in results/benchmarks/scene_experts.json

Episodes are those of the seeds from 10,000 on, on which nothing was tuned; the expert of an episode has its seed.
Intervals are Wilson's at 95 %. A fork is a table on which a hand starts in the way of the thing that it has to push,
and goes round it on either side; its mean is that of an action sequence of each side, executed from the same start.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from maquette.core.files import write_json
from maquette.core.provenance import circumstances
from maquette.core.statistics import wilson_interval
from maquette.worlds.scene.actions.embodiments import EMBODIMENTS, Embodiment
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.experts import Expert
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.recording import record
from maquette.worlds.scene.actions.sampling import Assignment, assignment
from maquette.worlds.scene.actions.tasks import TASKS, Task

RECORD = Path("results/benchmarks/scene_experts.json")
FIRST, FORKS, RUNS = 10_000, 40, 200
"""With 50 runs of each of 40 tables the least share came to 28 %, which the rarest of 73 fair coins may: the smallest
of many shares wants many runs."""


def succeeded(task: Task, embodiment: Embodiment, episodes: int) -> dict[str, Any]:
    """Of an expert's episodes: successes, failures by kind, and seconds to success."""
    kinds, seconds = Counter[str](), []
    for seed in track(range(FIRST, FIRST + episodes), f"{task}, {embodiment}", transient=True):
        episode = Episode(assignment(task, embodiment, seed))
        expert = Expert(episode, seed)
        while not episode.is_over:
            episode.act(expert.action())
        kinds[episode.failure] += 1
        if episode.success:
            seconds.append(episode.taken / episode.control_hz)
    found = wilson_interval(kinds.pop("", 0), episodes, 0.95)
    return {
        "task": task,
        "embodiment": embodiment,
        "episodes": episodes,
        "success": found.mean,
        "low": found.low,
        "high": found.high,
        "failures": dict(sorted(kinds.items())),
        "median_seconds": float(np.median(seconds)),
        "longest_seconds": max(seconds),
    }


def side_of(asked: Assignment, path: np.ndarray) -> int:
    """On which side of the thing a hand that began before it went behind it: 1 left of its way, -1 right, 0 neither."""
    thing, zone = asked.scene.position[0], asked.scene.scenery[0]
    way = np.array(zone.centre) - thing  # pyrefly: ignore
    behind = np.flatnonzero((path - thing) @ way < 0)
    x, y = (path[behind[0]] - thing) if len(behind) else (0, 0)
    return int(np.sign(way[0] * y - way[1] * x))


def forked(embodiment: Embodiment) -> dict[str, Any]:
    """Shares of the rarer side on tables with a fork, and how often the mean of the two sides' actions succeeds."""
    rarer, means = [], []
    for seed in track(range(FIRST, FIRST + FORKS), f"forks, {embodiment}", transient=True):
        asked = assignment("push-to", embodiment, seed, Layout(head_on=1.0, distractors=0))
        runs = [record(asked, run) for run in range(RUNS)]
        sides = [side_of(asked, np.array([robot.joints[-1] for robot in run.clip.robots])) for run in runs]
        if 1 in sides and -1 in sides:
            rarer.append(min(sides.count(1), sides.count(-1)) / RUNS)
            means.append(succeeds(asked, [runs[sides.index(side)].actions for side in (1, -1)]))
    return {
        "embodiment": embodiment,
        "tables": FORKS,
        "forks": len(rarer),
        "runs": RUNS,
        "least_share_of_a_side": min(rarer),
        "successes_of_the_mean": sum(means),
    }


def succeeds(asked: Assignment, sequences: list[np.ndarray]) -> bool:
    """Whether the mean of two sequences of actions does what is asked; where the shorter has ended, it stands still."""
    actions = np.zeros((2, max(map(len, sequences)), sequences[0].shape[1]))
    for padded, sequence in zip(actions, sequences, strict=True):
        padded[: len(sequence)] = sequence
    episode = Episode(asked)
    for action in actions.mean(axis=0).tolist():
        if not episode.is_over:
            episode.act(action)
    return episode.success


def shown(found: dict[str, Any]) -> Table:
    """The success rates as a table."""
    table = Table(
        "task", *EMBODIMENTS, title=f"Experts: success in {found['rates'][0]['episodes']} episodes, 95 % interval"
    )
    for task in TASKS:
        cells = []
        for embodiment in EMBODIMENTS:
            one = next(r for r in found["rates"] if (r["task"], r["embodiment"]) == (task, embodiment))
            cells.append(f"{one['success']:.1%} ({one['low']:.1%} to {one['high']:.1%}), {one['median_seconds']:.1f} s")
        table.add_row(task, *cells)
    return table


def main() -> int:
    """Run, print, and with --record write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    parser.add_argument("--episodes", type=int, default=500, help="of each task and robot")
    arguments = parser.parse_args()
    found = {
        **circumstances(),
        "rates": [succeeded(task, robot, arguments.episodes) for task in TASKS for robot in EMBODIMENTS],
        "forks": [forked("pusher"), forked("arm")],
    }
    console = Console(width=120)
    console.print(shown(found))
    for one in found["forks"]:
        console.print(
            f"{one['embodiment']}: on {one['forks']} of {one['tables']} tables it goes round either side, each in at "
            f"least {one['least_share_of_a_side']:.0%} of {one['runs']} runs; the mean of both sides' actions succeeds "
            f"on {one['successes_of_the_mean']}."
        )
    if arguments.record:
        write_json(RECORD, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
