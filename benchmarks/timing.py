"""What the benchmarks share: cases in processes of their own, turns, and ratios with their spread."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from maquette.core.devices import prepare_process
from maquette.core.files import write_json
from maquette.core.provenance import commit, machine, versions

SETTLING = 3
"""First rounds that do not count: the allocator's, the optimiser's state, and the compiler's."""


def take_turns(rounds: int, *contestants: Callable[[], object]) -> list[list[float]]:
    """Seconds of each contestant in each round, A B A B."""
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for contestant, spent in zip(contestants, seconds, strict=True):
            began = time.perf_counter()
            contestant()
            spent.append(time.perf_counter() - began)
    return seconds


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Quartiles of their seconds over ours, round by round: above 1, ours is faster. The median is in the middle."""
    low, median, high = np.quantile(np.divide(theirs, ours), (0.25, 0.5, 0.75))
    return float(low), float(median), float(high)


def spread(quartiles: tuple[float, float, float]) -> str:
    """A ratio in words."""
    low, median, high = quartiles
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def compared(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Settled times and their ratio, and what the first rounds cost beyond them: compilation, mostly."""
    found: dict[str, Any] = {"ratio": ratio(theirs[SETTLING:], ours[SETTLING:])}
    for side, seconds in (("ours", ours), ("theirs", theirs)):
        typical = float(np.median(seconds[SETTLING:]))
        found |= {f"{side}_ms": 1e3 * typical, f"{side}_start_s": sum(seconds[:SETTLING]) - SETTLING * typical}
    return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """A comparison: rounds to what `compared` gives, with `difference` and `margin` where results could part."""

    measure: Callable[[int], dict[str, Any]]
    rounds: int
    """Those that count."""
    target: float | None = None
    """Of the ratio."""
    prepared: bool = True
    """Whether its process has our allocator; what others give by default is measured without."""
    listed: bool = True
    """Whether it is a case by itself, not only a part of another."""


def in_process(name: str, rounds: int) -> dict[str, Any]:
    """One case in a new process, its compiler's cache empty unless one is named, so that compilation is timed too."""
    command = [sys.executable, sys.argv[0], "--case", name, "--rounds", str(rounds)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {"TORCHINDUCTOR_CACHE_DIR": cache} | os.environ
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def run_cases(cases: Mapping[str, Case], about: str | None, record: Path) -> int:
    """The command line of a benchmark; 1 when results part by more than their margin. No timing fails."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with TEXT in their name")
    parser.add_argument("--rounds", type=int, metavar="N", help="as many in every case")
    parser.add_argument("--record", action="store_true", help=f"run every case, write {record}")
    parser.add_argument("--case", choices=cases, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        if cases[arguments.case].prepared:
            prepare_process()
        found = cases[arguments.case].measure(arguments.rounds + SETTLING)
        print(json.dumps(found | {"machine": machine(), "versions": versions()}))
        return 0
    listed = {name: case for name, case in cases.items() if case.listed}
    chosen = {name: case for name, case in listed.items() if arguments.only in name}
    if not chosen or (arguments.record and len(chosen) < len(listed)):
        parser.error("--record and --only exclude each other." if chosen else f"--only: a part of {', '.join(listed)}.")

    console, results = Console(width=120), dict[str, dict[str, Any]]()
    table = Table("", "ours ms", "theirs ms", "theirs / ours", "target", "difference (margin)", "start s")
    with console.status("") as status:
        for name, case in chosen.items():
            status.update(name)
            results[name] = in_process(name, arguments.rounds or case.rounds) | {"target": case.target}
            table.add_row(name, *_cells(results[name]))
    console.print(table)
    console.print("medians, ratios with their quartiles; start: what the first three rounds took beyond three others")
    if arguments.record:
        about_all = {"machine": {}, "versions": {}}
        for found in results.values():
            about_all["machine"], about_all["versions"] = (
                found.pop("machine"),
                about_all["versions"] | found.pop("versions"),
            )
        write_json(record, about_all | {"commit": commit(), "cases": results})
    return int(any(_parted(found) for found in results.values()))


def _parted(found: dict[str, Any]) -> bool:
    return "margin" in found and not found["difference"] <= found["margin"]


def _cells(found: dict[str, Any]) -> list[str]:
    target, median = found["target"], found["ratio"][1]
    return [
        f"{found['ours_ms']:.3g}",
        f"{found['theirs_ms']:.3g}",
        spread(found["ratio"]),
        "" if target is None else f"{target:g} {'met' if median >= target else 'not met'}",
        f"{found['difference']:.1e} ({found['margin']:g}){' PARTED' * _parted(found)}" if "margin" in found else "",
        " / ".join(f"{found[f'{side}_start_s']:.1f}" for side in ("ours", "theirs")),
    ]
