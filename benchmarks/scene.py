"""The scene world's rates: frames drawn, clips simulated, environment steps, clips read; physics and rendering apart.

Medians over rounds with their quartiles. The renderer uses one core or all by its threads, environments use all by
worker processes, physics alone uses one. Run: python benchmarks/scene.py
"""

import argparse
import itertools
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import take_turns

from maquette.core.devices import prepare_process
from maquette.core.files import write_json
from maquette.core.provenance import circumstances, cores
from maquette.worlds.scene.actions.embodiments import EMBODIMENTS
from maquette.worlds.scene.actions.vector import SceneVectorEnv
from maquette.worlds.scene.laws import Knobs, random_clip
from maquette.worlds.scene.parsing.parser import read_clips
from maquette.worlds.scene.render import frames_of_many

RECORD = Path(__file__).parents[1] / "results" / "benchmarks" / "scene.json"
CLIPS, THINGS = 64, 3
TABLES, STEPS = 64, 20
FRAMES_PER_SECOND = {16: None, 32: 8_000, 64: 3_000}
READ = 32
CLIPS_PER_SECOND = {32: 30, 64: None}
STEPS_PER_SECOND = {0: None, 32: 5_000, 64: 2_500}


def rates(count: int, seconds: list[float]) -> dict[str, Any]:
    """Quartiles of a rate, and the median cost of one in microseconds."""
    low, median, high = (float(count / one) for one in np.quantile(seconds, (0.75, 0.5, 0.25)))
    return {"per_second": [low, median, high], "microseconds": 1e6 / median}


def rendering(rounds: int) -> dict[str, dict[str, Any]]:
    """Frames of clips with three things, at each size in turn, on all cores and on one."""
    drawn = (random_clip(seed, Knobs(objects=2)) for seed in itertools.count())
    clips = list(itertools.islice((clip for clip in drawn if len(clip.things) == THINGS), CLIPS))
    found: dict[str, dict[str, Any]] = {}
    for threads, name in ((cores(), "all cores"), (1, "one core")):
        torch.set_num_threads(threads)
        seconds = take_turns(rounds + 1, *(partial(frames_of_many, clips, size) for size in FRAMES_PER_SECOND))
        for (size, target), spent in zip(FRAMES_PER_SECOND.items(), seconds, strict=True):
            rate = rates(sum(map(len, clips)), spent[1:])
            found[f"frames drawn, {size} px, {name}"] = rate | {"target": target if threads > 1 else None}
    return found


def physics(rounds: int) -> dict[str, dict[str, Any]]:
    """Frames of law clips simulated from nothing, staging included."""
    seeds = iter(range(rounds * CLIPS))
    lengths: list[int] = []

    def simulate() -> None:
        lengths.extend(len(random_clip(seed, Knobs(objects=2))) for seed in itertools.islice(seeds, CLIPS))

    (seconds,) = take_turns(rounds, simulate)
    return {"frames simulated, one core": rates(sum(lengths) // rounds, seconds) | {"target": None}}


def reading(rounds: int) -> dict[str, dict[str, Any]]:
    """Clips of the side view read back."""
    torch.set_num_threads(1)
    clips = [random_clip(seed, Knobs(objects=seed % 3)) for seed in range(READ)]
    pictures = [frames_of_many(clips, size) for size in CLIPS_PER_SECOND]
    seconds = take_turns(rounds + 1, *(partial(read_clips, frames) for frames in pictures))
    return {
        f"clips of {len(clips[0])} frames read, {size} px, one core": rates(READ, spent[1:]) | {"target": target}
        for (size, target), spent in zip(CLIPS_PER_SECOND.items(), seconds, strict=True)
    }


def stepping(rounds: int) -> dict[str, dict[str, Any]]:
    """Steps of many tables at once, random actions, resets included; 0 px is physics alone."""
    found: dict[str, dict[str, Any]] = {}
    for embodiment in EMBODIMENTS:
        environments = [
            SceneVectorEnv(TABLES, "push-to", embodiment, size=n, workers=cores()) for n in STEPS_PER_SECOND
        ]
        seconds = take_turns(rounds + 1, *(walk(environment) for environment in environments))
        for (size, target), spent in zip(STEPS_PER_SECOND.items(), seconds, strict=True):
            name = f"{embodiment} steps, {f'{size} px' if size else 'no frames'}"
            found[name] = rates(TABLES * STEPS, spent[1:]) | {"target": target}
        for environment in environments:
            environment.close()
    return found


def walk(environment: SceneVectorEnv) -> Callable[[], None]:
    """What takes an environment some steps further."""
    environment.reset(seed=0)
    environment.action_space.seed(0)

    def steps() -> None:
        for _ in range(STEPS):
            environment.step(environment.action_space.sample())

    return steps


def main() -> int:
    """Print the rates; with --record write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    arguments = parser.parse_args()
    prepare_process()
    console, found = Console(width=110), dict[str, dict[str, Any]]()
    for measure in (rendering, physics, reading, stepping):
        with console.status(measure.__name__):
            found |= measure(arguments.rounds)
    table = Table("", "a second (quartiles)", "µs each", "target", title=f"{cores()} cores")
    for name, one in found.items():
        low, median, high = one["per_second"]
        met = f"{one['target']:,} {'met' if median >= one['target'] else 'missed'}" if one["target"] else ""
        table.add_row(name, f"{median:,.0f} ({low:,.0f} to {high:,.0f})", f"{one['microseconds']:.1f}", met)
    console.print(table)
    console.print("what frames cost a step: its µs at a size less those without frames")
    if arguments.record:
        write_json(RECORD, circumstances() | {"rates": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
