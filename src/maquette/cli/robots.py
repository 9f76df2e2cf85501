"""The commands about robots: demonstrations, datasets and policies."""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from maquette.cli.arguments.robots import Collect, Doctor, Evaluate
from maquette.cli.progress import counting_bar
from maquette.core.devices import pick_device, pick_precision, prepare_process
from maquette.core.errors import UserError

if TYPE_CHECKING:
    from maquette.cli.arguments.models import Inspect, Serve, Train

POLICIES = ("pi0", "diffusion-policy", "act")
OF_POLICIES = ("chunking", "taken", "delay")
"""Options of serve that language models have no use for."""
BLOCKS = " ▁▂▃▄▅▆▇█"


def collect(command: Collect) -> int:
    """Write a dataset of demonstrations."""
    prepare_process()
    from maquette.robotics import collecting
    from maquette.robotics.datasets.export import export
    from maquette.robotics.datasets.reader import Dataset
    from maquette.worlds.scene.actions.embodiments import checked_embodiment
    from maquette.worlds.scene.actions.tasks import checked_task

    collection = collecting.Collection(
        tasks=tuple(checked_task(task) for task in command.task),
        embodiment=checked_embodiment(command.embodiment),
        episodes=command.episodes,
        size=command.pixels,
        control_hz=command.control_hz,
        noise=command.noise,
        pictures="video" if command.video else "image",
        seed=command.seed,
    )
    with _bar() as bar:
        task = bar.add_task("demonstrations", total=command.episodes)
        failed = collecting.collect(
            collection, command.directory, progress=lambda done, total: bar.update(task, completed=done)
        )
    if command.v21:
        export(Dataset(command.directory), command.v21)
    print(f"dataset: {command.directory}, {command.episodes} demonstrations; {failed} that failed were left out")
    return 0


def is_dataset(directory: Path) -> bool:
    """Whether a folder says that it is a LeRobot dataset."""
    return (directory / "meta" / "info.json").exists()


def is_policy(directory: Path) -> bool:
    """Whether a folder says that it is a policy."""
    return (directory / "policy.json").exists()


def inspect_policy(command: "Inspect") -> int:
    """Print what a policy's numbers mean; a folder that is damaged is refused."""
    from maquette.robotics.deployment import load
    from maquette.robotics.policies.making import parameters_of

    deployed = load(command.directory)
    facts: dict[str, Any] = asdict(deployed.card) | {"parameters": parameters_of(deployed.policy)}
    if command.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return 0
    table = Table(box=None, show_header=False)
    for name, value in (facts.pop("shape") | facts).items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)
    return 0


def inspect(command: "Inspect") -> int:
    """Print what a dataset holds; 1 if something is wrong with it."""
    from maquette.core.media import write_png
    from maquette.robotics.datasets.inspection import inspect_dataset, sheet
    from maquette.robotics.datasets.reader import Dataset

    found = inspect_dataset(command.directory)
    if command.sheet and not found.problems:
        write_png(command.sheet, sheet(Dataset(command.directory)))
    if command.json:
        print(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return 1 if found.problems else 0
    table = Table(box=None, show_header=False)
    for name, value in found.facts.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    for name, counts in found.histograms.items():
        low, high = found.ranges[name]
        bars = "".join(BLOCKS[-(-8 * count // max(counts))] for count in counts)
        table.add_row(f"action: {name}", f"{low:.3g} {bars} {high:.3g}")
    Console().print(table)
    for remark in found.remarks:
        print(f"note: {remark}")
    for problem in found.problems:
        print(f"broken: {problem}")
    if command.sheet and not found.problems:
        print(f"sheet: {command.sheet}")
    return 1 if found.problems else 0


def train(command: "Train") -> int:
    """Train a policy on a LeRobot dataset."""
    if not command.dataset or command.text:
        raise UserError(f"{command.recipe} learns from a LeRobot dataset; give --dataset DIR, and no --text.")
    if command.seed < 0:
        raise UserError(f"--seed is {command.seed}; it must be 0 or more.")
    allocator = prepare_process()
    from maquette.robotics.training import RECIPES, carry_out
    from maquette.train.distributed import join_world
    from maquette.train.metrics import TensorBoard

    recipe, device = RECIPES[command.recipe], pick_device(command.device)
    steps = recipe.train.steps if command.steps is None else command.steps
    recipe = replace(
        recipe,
        head=command.head or recipe.head,
        size=command.size or recipe.size,
        chunk=recipe.chunk if command.chunk is None else command.chunk,
        train=replace(recipe.train, steps=steps, seed=command.seed, device=command.device),
    )
    world, out = join_world(command.strategy), command.out or Path("runs") / "train" / command.recipe
    precision = pick_precision(recipe.train.precision, device)
    with _bar(quiet=not world.leads) as bar:
        bar.console.print(f"{command.recipe}: {recipe.about}; {allocator}; {precision} on {device}", highlight=False)
        reading, training = bar.add_task("reading", total=None), bar.add_task("training", total=steps)
        trained = carry_out(
            recipe,
            Path(command.dataset),
            out,
            parent=command.parent,
            sinks=[TensorBoard(out / "training")] if command.tensorboard and world.leads else [],
            reading=lambda done, total: bar.update(reading, completed=done, total=total),
            progress=lambda done, total: bar.update(training, completed=done, total=total),
            world=world,
        )
        bar.update(training, completed=steps)
    if world.leads:
        print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in trained.final.items()))
        print(f"policy: {out}")
    return 0


def serve(command: "Serve") -> int:
    """Serve a policy to openpi's clients until SIGTERM or Ctrl-C."""
    if command.rows != 64 or command.context or command.dtype != "float32" or command.invariant:
        raise UserError("--rows, --context, --dtype and --invariant are for language models; leave them out.")
    from maquette.robotics.chunking import checked_chunking
    from maquette.robotics.deployment import load
    from maquette.serve.policy import Bounds, Manner, PolicyServer, run
    from maquette.serve.server import TOKEN, listen, url_of

    token = os.environ.get(TOKEN, "").strip() or None
    usual = Manner()
    manner = Manner(
        kind=checked_chunking(command.chunking or usual.kind),
        taken=usual.taken if command.taken is None else command.taken,
        delay=usual.delay if command.delay is None else command.delay,
    )
    bounds = Bounds(seconds=command.seconds)
    with listen(command.host, command.port, token=token) as listening:  # refused before the weights are read
        deployed, name = load(command.directory), command.name or command.directory.resolve().name
        deployed.policy.to(pick_device(command.device))
        card = deployed.card
        print(
            f"{name}: {card.shape.trunk} with the head {card.shape.head}, chunks of {card.shape.chunk} at "
            f"{card.control_hz} Hz, {manner.kind}; cameras: {', '.join(card.cameras)}",
            file=sys.stderr,
        )
        server = PolicyServer(deployed, name=name, token=token, manner=manner, bounds=bounds)
        run(server, listening, ready=lambda: print(f"Serving {name} at {url_of(listening, 'ws', '')}", flush=True))
    return 0


def evaluate(command: Evaluate) -> int:
    """Let a policy act, and tell how often it succeeded."""
    if command.env != "scene":
        raise UserError(f"env = {command.env!r} is no world to act in; give scene.")
    prepare_process()
    from maquette.core.files import write_json
    from maquette.robotics import deployment, evaluation
    from maquette.worlds.scene.actions.embodiments import checked_embodiment
    from maquette.worlds.scene.actions.environment import Setting
    from maquette.worlds.scene.actions.tasks import checked_task

    tasks = tuple(checked_task(task) for task in command.task)
    deployed = None if command.policy == "expert" else deployment.load(Path(command.policy))
    if deployed is None:
        if not tasks:
            raise UserError("--task is missing; the expert has none of its own.")
        setting = Setting(tasks=tasks, embodiment=checked_embodiment(command.embodiment or "pusher"))
    else:
        setting = evaluation.setting_of(deployed.card.source)
        robot = checked_embodiment(command.embodiment or setting.embodiment)
        setting = replace(setting, tasks=tasks or setting.tasks, embodiment=robot)
        deployment.refuse_mismatch(deployed.card, evaluation.robot_in(setting), f"the {robot} of the scene")
    out = command.out or (Path("runs/evaluate/expert") if deployed is None else Path(command.policy) / "evaluation")
    with _bar() as bar:
        task = bar.add_task("episodes", total=command.episodes)
        result = evaluation.evaluate(
            evaluation.PolicyActor(deployed) if deployed else evaluation.ExpertActor(),
            setting,
            episodes=command.episodes,
            execute=command.execute if deployed else 1,
            seed=command.seed,
            animations=out,
            progress=lambda done, total: bar.update(task, completed=done),
        )
    write_json(out / "result.json", result.as_json() | {"policy": command.policy, "tasks": setting.tasks})
    if command.json:
        print(json.dumps(result.as_json(), indent=1, ensure_ascii=False))
        return 0
    interval = result.interval
    few = "" if result.episodes >= evaluation.ENOUGH else f", too few to judge by; {evaluation.ENOUGH} do"
    print(
        f"success: {interval.mean:.1%}, {interval.low:.1%} to {interval.high:.1%} (95 %, Wilson), n = {interval.n}{few}"
    )
    for kind, count in result.failures.items():
        print(f"failed by {kind}: {count}")
    print(f"animations: {out}")
    return 0


def doctor(command: Doctor) -> int:
    """Look for faults, and say what they are; 1 if there is one."""
    if command.steps < 0:
        raise UserError(f"--steps is {command.steps}; it must be 0 or more.")
    prepare_process()
    from maquette.robotics.deployment import load
    from maquette.robotics.diagnosis.doctor import Diagnosis, diagnose

    deployed = load(command.policy) if command.policy else None
    checks = []
    console = Console(highlight=False)
    for check in diagnose(command.dataset, deployed, steps=command.steps):
        checks.append(check)
        if not command.json:
            verdict = "fault" if check.fault else "sound" if check.tried else "-"
            row = Table.grid(padding=(0, 2), expand=False)
            for width in (13, 5, None):
                row.add_column(width=width, overflow="fold")
            row.add_row(check.name, verdict, check.said, style="bold" if check.fault else None)
            console.print(row)
    found = Diagnosis(checks=tuple(checks))
    if command.json:
        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        print(f"faults: {', '.join(found.faults) or 'none'}")
    return 1 if found.faults else 0


def _bar(*, quiet: bool = False) -> Progress:
    return counting_bar(Console(stderr=True, quiet=quiet))
