"""The commands about robots: demonstrations, datasets and policies."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from maquette.cli.arguments.robots import Collect, Doctor, Evaluate
from maquette.cli.progress import counting_bar
from maquette.core.devices import pick_device, prepare_process
from maquette.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from maquette.cli.arguments.models import Inspect, Serve
    from maquette.robotics.deployment import Deployed
    from maquette.robotics.evaluation import Result

WORLDS = ("scene", "pusht", "metaworld")
OF_POLICIES = ("chunking", "taken", "delay")
"""Options of serve that language models have no use for."""
BLOCKS = " ▁▂▃▄▅▆▇█"


def collect(command: Collect) -> int:
    """Write a dataset of demonstrations."""
    prepare_process()
    from maquette.robotics.datasets.export import export
    from maquette.robotics.datasets.reader import Dataset

    if command.env not in WORLDS:
        raise UserError(f"env = {command.env!r} is no world with experts; {did_you_mean(command.env, WORLDS)}")
    with _bar() as bar:
        task = bar.add_task("demonstrations", total=command.episodes)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done)

        failed = (_of_the_scene if command.env == "scene" else _of_a_simulator)(command, progress)
    if command.v21:
        export(Dataset(command.directory), command.v21)
    print(f"dataset: {command.directory}, {command.episodes} demonstrations; {failed} that failed were left out")
    return 0


def _of_the_scene(command: Collect, progress: Callable[[int, int], None]) -> int:
    from maquette.robotics import collecting
    from maquette.worlds.scene.actions.embodiments import checked_embodiment
    from maquette.worlds.scene.actions.tasks import checked_task

    collection = collecting.Collection(
        tasks=tuple(checked_task(task) for task in command.task or ("push-to",)),
        embodiment=checked_embodiment(command.embodiment),
        episodes=command.episodes,
        size=command.pixels,
        control_hz=command.control_hz,
        noise=command.noise,
        pictures="video" if command.video else "image",
        seed=command.seed,
    )
    return collecting.collect(collection, command.directory, progress=progress)


def _of_a_simulator(command: Collect, progress: Callable[[int, int], None]) -> int:
    from maquette.robotics import simulators

    if len(command.task) > 1:
        raise UserError(f"--task was given {len(command.task)} times; {command.env} does one task at a time.")
    if command.episodes < 1:
        raise UserError(f"episodes = {command.episodes}: give 1 or more.")
    sim = simulators.simulator(command.env, command.task[0] if command.task else "")
    return simulators.collect(sim, command.directory, command.episodes, command.seed, progress)


def is_dataset(directory: Path) -> bool:
    """Whether a folder says that it is a LeRobot dataset."""
    return (directory / "meta" / "info.json").exists()


def is_policy(directory: Path) -> bool:
    """Whether a folder says that it is a policy."""
    return (directory / "policy.json").exists()


def inspect_policy(command: "Inspect") -> int:
    """Print what a policy's numbers mean; a folder that is damaged is refused."""
    from maquette.nn.layers import parameters_of
    from maquette.robotics.deployment import load

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
    prepare_process()
    from maquette.core.files import write_json
    from maquette.robotics import deployment, evaluation

    deployed = None if command.policy == "expert" else deployment.load(Path(command.policy))
    own = deployed.card.source.get("world") if deployed else None
    world = command.env or own or "scene"
    if world not in WORLDS:
        raise UserError(f"env = {world!r} is no world to act in; {did_you_mean(world, WORLDS)}")
    out = command.out or (Path("runs/evaluate/expert") if deployed is None else Path(command.policy) / "evaluation")
    with _bar() as bar:
        task = bar.add_task("episodes", total=command.episodes)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done)

        there = _in_the_scene if world == "scene" else _in_a_simulator
        result, tasks = there(command, deployed, world, out, progress)
    write_json(out / "result.json", result.as_json() | {"policy": command.policy, "env": world, "tasks": tasks})
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
    if world == "scene":
        print(f"succeeded and moved nothing else: {result.clean}")
    print(f"{'animations' if world == 'scene' else 'result'}: {out}")
    return 0


def _in_the_scene(
    command: Evaluate, deployed: "Deployed | None", world: str, out: Path, progress: Callable[[int, int], None]
) -> "tuple[Result, Sequence[str]]":
    from maquette.robotics import deployment, evaluation
    from maquette.worlds.scene.actions.embodiments import checked_embodiment
    from maquette.worlds.scene.actions.environment import Setting
    from maquette.worlds.scene.actions.tasks import checked_task

    tasks = tuple(checked_task(task) for task in command.task)
    if deployed is None:
        if not tasks:
            raise UserError("--task is missing; the expert has none of its own.")
        setting = Setting(tasks=tasks, embodiment=checked_embodiment(command.embodiment or "pusher"))
    else:
        setting = evaluation.setting_of(deployed.card.source)
        robot = checked_embodiment(command.embodiment or setting.embodiment)
        setting = replace(setting, tasks=tasks or setting.tasks, embodiment=robot)
        deployment.refuse_mismatch(deployed.card, evaluation.robot_in(setting), f"the {robot} of the scene")
    result = evaluation.evaluate(
        evaluation.PolicyActor(deployed) if deployed else evaluation.ExpertActor(),
        setting,
        episodes=command.episodes,
        execute=command.execute if deployed else 1,
        delay=command.delay,
        seed=command.seed,
        show=evaluation.Animations(out, setting.control_hz),
        progress=progress,
    )
    return result, setting.tasks


def _in_a_simulator(
    command: Evaluate, deployed: "Deployed | None", world: str, out: Path, progress: Callable[[int, int], None]
) -> "tuple[Result, Sequence[str]]":
    from maquette.robotics import deployment, simulators

    if command.embodiment is not None:
        raise UserError(f"--embodiment is for the scene; {world} has one robot. Leave it out.")
    if len(command.task) > 1:
        raise UserError(f"--task was given {len(command.task)} times; {world} does one task at a time.")
    source = deployed.card.source if deployed else {}
    own = str(source.get("task", "")) if source.get("world") == world != "pusht" else ""
    sim = simulators.simulator(world, command.task[0] if command.task else own)
    if deployed:
        deployment.refuse_mismatch(deployed.card, sim.robot, f"{world}'s {sim.task}")
    result = simulators.evaluate(
        sim,
        deployed,
        episodes=command.episodes,
        execute=command.execute,
        delay=command.delay,
        seed=command.seed,
        progress=progress,
    )
    return result, (sim.task,)


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


def _bar() -> Progress:
    return counting_bar(Console(stderr=True))
