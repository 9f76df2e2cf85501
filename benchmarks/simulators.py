"""What policies of ours reach in Meta-World, from a scripted expert's demonstrations: one task a policy, by its state.

    bash scripts/setup.sh dev,sim
    python benchmarks/simulators.py             six tasks, ACT and Diffusion Policy: an hour and a half on a core
    python benchmarks/simulators.py --record    and what was found kept in results/benchmarks/simulators.json

Each policy learns from 100 demonstrations in 3,000 steps of 32 moments and is tried in 200 episodes that no
demonstration has. Without the extra `sim` there is nothing to act in, and the benchmark says so. PushT has no scripted
expert, and people's demonstrations are not here: `maquette train diffusion-policy --dataset DIR`, then
`maquette evaluate … --env pusht`.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from maquette.core.devices import prepare_process
from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.provenance import circumstances
from maquette.robotics.deployment import load
from maquette.robotics.evaluation import ENOUGH, Result
from maquette.robotics.simulators import collect, evaluate, simulator
from maquette.robotics.training import RECIPES, carry_out

RECORD = Path("results/benchmarks/simulators.json")
TASKS = ("reach-v3", "door-open-v3", "push-v3", "pick-place-v3", "peg-insert-side-v3", "assembly-v3")
EXECUTED = {"act": 25, "diffusion-policy": 8}
"""Actions of a chunk that are carried out."""
DEMONSTRATIONS = 100
LEARNT, TRIED = 0, 1
"""Seeds of the episodes."""


def rate(task: str, policy: str, result: Result) -> dict[str, Any]:
    """What is kept of it; steps are those of successes."""
    found = result.interval
    shares = {"success": found.mean, "low": found.low, "high": found.high}
    return {
        "task": task,
        "policy": policy,
        "episodes": result.episodes,
        **shares,
        "mean_steps": result.steps,
    }


def tried(task: str, episodes: int) -> list[dict[str, Any]]:
    """The expert, and a policy of each kind that learnt from it."""
    sim = simulator("metaworld", task)
    found = [rate(task, "expert", evaluate(sim, None, episodes=episodes, execute=1, seed=TRIED))]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        collect(sim, data, DEMONSTRATIONS, seed=LEARNT)
        for name in track(EXECUTED, task, transient=True):
            recipe = RECIPES[name]
            recipe = replace(recipe, train=replace(recipe.train, device="cpu", evaluate_every=0))
            carry_out(recipe, data, Path(folder) / name)
            policy = load(Path(folder) / name)
            result = evaluate(sim, policy, episodes=episodes, execute=EXECUTED[name], seed=TRIED)
            found.append(rate(task, name, result))
    return found


def shown(rates: list[dict[str, Any]]) -> Table:
    """Success by task."""
    names = ("expert", *EXECUTED)
    table = Table("task", *names, title=f"Meta-World, {rates[0]['episodes']} episodes, 95 % interval")
    for task in TASKS:
        those = [one for one in rates if one["task"] == task]
        table.add_row(task, *(f"{one['success']:.1%} ({one['low']:.1%} to {one['high']:.1%})" for one in those))
    return table


def main() -> int:
    """Run, print, and with --record write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    parser.add_argument("--episodes", type=int, default=ENOUGH, help="of each task and policy")
    arguments = parser.parse_args()
    prepare_process()
    try:
        simulator("metaworld", TASKS[0])
    except UserError as error:
        print(f"skipped: {error}")
        return 0
    about = circumstances()  # before hours in which others commit
    rates = [one for task in TASKS for one in tried(task, arguments.episodes)]
    Console(width=120).print(shown(rates))
    if arguments.record:
        steps = {name: RECIPES[name].train.steps for name in EXECUTED}
        write_json(RECORD, {**about, "demonstrations": DEMONSTRATIONS, "steps": steps, "rates": rates})
    return 0


if __name__ == "__main__":
    sys.exit(main())
