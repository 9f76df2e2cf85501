"""How a study's trials share the cores best: one at a time with every core, or one a core with one thread each?

Runs the tour of `scaling_laws` from nothing under each split, in turns; both must measure the same to rounding.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from timing import ratio, spread, take_turns

from maquette.core.files import read_json, write_json
from maquette.core.provenance import circumstances, cores

MAQUETTE = Path(sys.executable).parent / "maquette"
RECORD = Path(__file__).parents[1] / "results" / "benchmarks" / "jobs.json"


def tour(jobs: int, losses: dict[str, float]) -> None:
    """The study's tour in a process of its own; its losses by arm and budget go into `losses`."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["run", "scaling_laws", "--scale", "tour", "--jobs", str(jobs), "--records", folder]
        subprocess.run(
            [Path(sys.executable).parent / "maquette", *command], check=True, capture_output=True, cwd=folder
        )
        for path in sorted(Path(folder).glob("scaling_laws/tour/trials/*.json")):
            measures = read_json(path)["measures"]
            losses |= {f"{path.stem} {name}": value for name, value in measures.items() if name.startswith("loss")}


def main() -> int:
    """Time both splits; with --record write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    arguments = parser.parse_args()
    splits, losses = (1, cores()), ({}, {})
    seconds = take_turns(
        arguments.rounds, *(lambda s=s, found=f: tour(s, found) for s, f in zip(splits, losses, strict=True))
    )
    table = Table("trials at a time", "threads each", "seconds by round")
    for split, spent in zip(splits, seconds, strict=True):
        table.add_row(str(split), str(cores() // split), ", ".join(f"{one:.0f}" for one in spent))
    difference = max(abs(value / losses[1][name] - 1) for name, value in losses[0].items())
    quartiles = ratio(*seconds)
    console = Console()
    console.print(table)
    console.print(f"one at a time / one a core: {spread(quartiles)}; losses differ by at most {difference:.1e}")
    if arguments.record:
        found = {"splits": splits, "seconds": seconds, "ratio": quartiles, "largest_relative_difference": difference}
        write_json(RECORD, circumstances() | found)
    return 0 if difference < 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
