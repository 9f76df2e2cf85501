"""The command line, and the only place where studies, the lab and the families meet.

What is heavy is imported inside the command that needs it: help and `list` load neither torch nor a study.
"""

import ast
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from maquette import __version__
from maquette.cli import models, posttrain, research, robots, solving, videos, worlds
from maquette.cli.arguments import parse
from maquette.cli.arguments.models import Chat, Inspect, Serve, Train
from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.posttraining import Show, Solve, TrainGrpo, TrainSft
from maquette.cli.arguments.robots import Collect, Doctor, Evaluate
from maquette.cli.arguments.scenes import Generate, World
from maquette.cli.arguments.studies import Criticise, Improve, List, New, Plan, PlanStudy, Report, Run, Tour
from maquette.cli.progress import counting_bar
from maquette.core.devices import pick_device, pick_precision, prepare_process
from maquette.core.errors import UserError, did_you_mean
from maquette.core.records import read_checked

if TYPE_CHECKING:
    from maquette.lab.runner import Outcome
    from maquette.lab.study import Study

PACKAGE = Path(__file__).parent.parent
SCALES = ("laptop", "gpu", "tour", "smoke")


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 trials failed, 2 bad input, 130 stopped by Ctrl-C."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        print(f"maquette: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output has seen enough; leave Python nothing to flush at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; the exit code."""
    if arguments and arguments[0] == "--version":
        print(f"maquette {__version__}")
        return 0
    command = parse(arguments or ["--help"])
    on_a_study = {Criticise: research.criticise, Improve: research.improve, PlanStudy: research.plan_study}
    if type(command) in on_a_study:
        return on_a_study[type(command)](command, _reference(command.name), _jobs(command.jobs))
    if isinstance(command, New):
        return research.new(command, taken=_studies())
    others = {List: _list, Run: _run, Report: _report, Tour: _tour, Train: _train, Plan: _plan}
    others |= {TrainSft: posttrain.sft, TrainGrpo: posttrain.grpo, Show: posttrain.show, Solve: solving.solve}
    others |= {Serve: models.serve, Chat: models.chat, Inspect: models.inspect, World: worlds.world}
    others |= {Generate: videos.generate}
    others |= {Collect: robots.collect, Doctor: robots.doctor, Evaluate: robots.evaluate}
    return others[type(command)](command)


def _studies() -> dict[str, str]:
    """Modules of the package's studies by name, found as files."""
    files = sorted((PACKAGE / "studies").glob("*/[a-z]*.py"))
    return {file.stem: f"maquette.studies.{file.parent.name}.{file.stem}" for file in files}


def _reference(name: str) -> str:
    """How the lab finds a study."""
    known = _studies()
    if name.endswith(".py"):
        return str(Path(name).resolve())
    if (plain := name.replace("-", "_")) not in known:
        raise UserError(f"There is no study {name!r}; {did_you_mean(plain, known)}")
    return known[plain]


def _card(reference: str) -> dict[str, str]:
    """A study's name, family and question, read from its file without running it."""
    inside = PACKAGE.parent / (reference.replace(".", "/") + ".py")
    file = Path(reference) if reference.endswith(".py") else inside
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Study":
            words = {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}
            return {field: str(words.get(field, "")) for field in ("name", "family", "question")}
    return {"name": file.stem, "family": file.parent.name, "question": ""}


def _list(command: List) -> int:
    rows: list[dict[str, Any]] = []
    for name, module in _studies().items():
        outcomes: dict[str, Any] = {}
        for records in reversed(RECORDS):
            for path in sorted(records.glob(f"{name}/*/outcome.json")):
                outcomes[str(path.parent)] = _outcome(path)
        rows.append({**_card(module), "name": name, "module": module, "outcomes": outcomes})
    if command.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    for row in rows:
        print(f"{row['name']}  ({row['family']})\n    {row['question']}")
        for where, one in row["outcomes"].items():
            print(f"    {one['problem']}" if "problem" in one else f"    {where}: {_in_a_line(one)}")
    return 0


def _outcome(path: Path) -> dict[str, Any]:
    """What a run left; only its problem where the file was not written by a run, or was changed since."""
    try:
        found = read_checked(path, "outcome")
        _in_a_line(found)
    except (UserError, KeyError, TypeError, ValueError) as error:
        return {"problem": str(error) if isinstance(error, UserError) else f"{path} is not a whole outcome."}
    return found


def _in_a_line(outcome: dict[str, Any]) -> str:
    cost = outcome["cost"]
    spent = f"{cost['flops']:.2g} FLOPs, {cost['wall_seconds']:.0f} s of trials"
    return f"{outcome['verdict']}, n = {outcome['seeds']}, {spent}"


def _run(command: Run) -> int:
    reference, records, jobs = _reference(command.name), command.records, _jobs(command.jobs)
    prepare_process()  # before anything imports torch, because it may start the process anew
    from maquette.lab.caveats import caveats
    from maquette.lab.runner import run_study
    from maquette.lab.terminal import Display, verdict_table

    display = Display(Console(stderr=True))
    outcome = run_study(reference, command.scale, display, records=records, jobs=jobs, seeds=command.seeds)
    evidence = outcome.evidence
    if command.json:
        failures = [asdict(failure) for failure in outcome.failures]
        print(json.dumps(evidence.as_json() | {"ran": outcome.ran, "failures": failures}, indent=1, ensure_ascii=False))
    else:
        Console().print(verdict_table(evidence))
        many = f"n = {len(evidence.by_seed)}, {len(evidence.records)} trials, {outcome.ran} of them run now"
        elsewhere = "" if records in RECORDS else f" --records {records}"
        print(f"{evidence.study.name} at {evidence.scale_name} scale: {evidence.verdict} ({many})")
        for sentence in caveats(evidence):
            print(sentence)
        print(f"its report: maquette report {command.name} --scale {command.scale}{elsewhere}")
    return _tell_failures(outcome)


def _jobs(asked: int | None) -> int:
    """As many as asked for, else one a core: small models gain more from a second trial than from a second thread."""
    from maquette.core.provenance import cores

    if asked is not None and asked < 1:
        raise UserError(f"--jobs is {asked}; it must be at least 1.")
    return asked or cores()


def _tell_failures(outcome: "Outcome") -> int:
    for failure in outcome.failures:
        text = "\n    ".join(failure.text.splitlines())
        print(f"failed: {failure.arm}, seed {failure.seed}, {failure.config}\n    {text}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _report(command: Report) -> int:
    from maquette.lab.criticism import read_criticism
    from maquette.lab.evidence import read_evidence
    from maquette.lab.improvement import read_improvement
    from maquette.lab.report.contents import absent, section
    from maquette.lab.report.page import write_page
    from maquette.lab.report.prose import read_discussion
    from maquette.lab.report.typeset import write_paper, write_slides
    from maquette.lab.study import load_study

    study = load_study(_reference(command.name))
    kinds = {"report.pdf": command.pdf, "slides.pdf": command.slides}
    wanted = [name for name, asked in kinds.items() if asked] or ["report.html"]
    if command.out and len(wanted) > 1:
        raise UserError("--out names one file, but --pdf and --slides ask for two; leave one of the three out.")
    records, scale = _found_records(study, command)
    directory = records / study.name / scale
    axes = _chosen_axes(study, command, directory)
    discussion = read_discussion(command.discussion) if command.discussion else None
    criticism, improvement = read_criticism(study, directory, axes), read_improvement(study, directory)
    commands = [f"maquette run {command.name} --scale {scale}"]
    if criticism:
        bent = f" --axis {shlex.quote(','.join(axes))}" if axes else ""
        commands.append(f"maquette criticise {command.name}{bent}")
    if improvement:
        commands.append(f"maquette improve {command.name} --trials {len(improvement.candidates) - 1}")
    elsewhere = "" if records == RECORDS[0] else f" --records {records}"
    told = section(
        read_evidence(study, scale, directory),
        "\n".join(f"{line}{elsewhere}" for line in commands),
        criticism,
        improvement,
        authors=research.split("--author", command.author),
        discussion=discussion,
    )
    write = {"report.html": lambda out: write_page(out, [told])}
    write |= {"report.pdf": lambda out: write_paper(out, told), "slides.pdf": lambda out: write_slides(out, told)}
    with Console(stderr=True).status("drawing"):
        for name in wanted:
            write[name](out := command.out or directory / name)
            print(out)
    for sentence in absent(told, command.name):
        print(sentence, file=sys.stderr)
    return 0


def _found_records(study: "Study", command: Report) -> tuple[Path, str]:
    """The folder of records and the scale: the largest there are records of, if none was asked for."""
    if command.scale is not None:
        study.scale(command.scale)
    places = (command.records,) if command.records else RECORDS
    for scale in (command.scale,) if command.scale else SCALES:
        for records in places:
            if any(records.glob(f"{study.name}/{scale}/trials/*")):
                return records, scale
    where = " or ".join(str(place) for place in places)
    raise UserError(f"There are no records of {study.name} in {where}; make some: maquette run {command.name}")


def _chosen_axes(study: "Study", command: Report, directory: Path) -> tuple[str, ...]:
    from maquette.lab.criticism import axes_named, read_criticism

    if command.axes is None:
        return ()
    axes = research.split("--axes", (command.axes,))
    if study.critique is None:
        raise UserError(f"--axes is {command.axes!r}, but {study.name} offers no critique; leave it out.")
    axes_named(study.critique, axes)
    if read_criticism(study, directory, axes) is None:
        raise UserError(f"{directory} holds no criticism; make some: maquette criticise {command.name}")
    return axes


def _tour(command: Tour) -> int:
    jobs, allocator = _jobs(command.jobs), prepare_process()
    from maquette.core.provenance import cores
    from maquette.lab.report.page import write_report
    from maquette.lab.runner import run_study
    from maquette.lab.terminal import Display, verdict_table
    from maquette.studies import SYSTEMS

    known = _studies()
    order = list(dict.fromkeys([*(system.study for system in SYSTEMS if system.study in known), *known]))
    if not order:
        raise UserError("There is no study to tour.")
    print(f"Setting out on {cores()} cores; {allocator}", flush=True)
    outcomes: list[Outcome] = []
    for name in order:
        card = _card(known[name])
        print(f"{name} ({card['family']}): {card['question']}", flush=True)
        outcome = run_study(known[name], "tour", Display(Console(stderr=True)), jobs=jobs)
        outcomes.append(outcome)
        Console().print(verdict_table(outcome.evidence))
        _tell_failures(outcome)
    page = RECORDS[0] / "tour" / "index.html"
    told = [one.evidence for one in outcomes if one.evidence.records]
    pages = [(evidence, f"maquette run {evidence.study.name} --scale tour") for evidence in told]
    write_report(page, pages, heading="" if len(pages) == 1 else "Maquette: a tour")
    print(f"Look at it: {page.resolve()}")
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _train(command: Train) -> int:
    policy = [name for name in ("head", "size", "chunk", "parent") if getattr(command, name) is not None]
    if policy and command.recipe not in robots.POLICIES:
        raise UserError(f"--{policy[0]} is for policies, and {command.recipe} is none; leave it out.")
    if command.recipe in videos.RECIPES:
        return videos.train(command)
    if command.clips:
        raise UserError(f"--clips goes with {' or '.join(videos.RECIPES)}; {command.recipe} learns from --text.")
    if command.overfit:
        raise UserError(f"--overfit goes with {' or '.join(videos.RECIPES)}; leave it out for {command.recipe}.")
    if command.recipe in robots.POLICIES:
        return robots.train(command)
    allocator = prepare_process()
    from maquette.language.recipes import carry_out, named
    from maquette.language.tokenizers import prepare
    from maquette.train.distributed import join_world
    from maquette.train.metrics import TensorBoard
    from maquette.worlds.text.outside import Folder, HubDataset

    recipe = named(command.recipe)
    if command.text and command.dataset:
        raise UserError("--text and --dataset were both given; leave one out.")
    if recipe.learns == "conversations" and (command.text or command.dataset):
        raise UserError(f"{command.recipe} learns conversations, not text; leave --text and --dataset out.")
    if command.seed < 0:
        raise UserError(f"--seed is {command.seed}; it must be 0 or more.")
    device = pick_device(command.device)  # refused before minutes go into reading the text
    steps = recipe.train.steps if command.steps is None else command.steps
    train = replace(recipe.train, steps=steps, seed=command.seed, device=command.device)
    source = (
        Folder(path=command.text) if command.text else HubDataset(name=command.dataset) if command.dataset else None
    )
    world = join_world(command.strategy)
    out = command.out or RECORDS[0] / "train" / command.recipe
    console = Console(stderr=True, quiet=not world.leads)
    precision = pick_precision(train.precision, device)
    console.print(f"{command.recipe}: {recipe.about}; {allocator}; {precision} on {device}", highlight=False)
    if recipe.learns == "conversations":
        return models.train_to_chat(command, replace(recipe, train=train), out, console, world)
    with console.status("reading the text") as status:
        text = prepare(
            source, vocabulary=recipe.model.vocabulary, progress=lambda stage, _: status.update(f"text: {stage}")
        )
    with counting_bar(console) as bar:
        task = bar.add_task("training", total=train.steps)
        trained = carry_out(
            replace(recipe, train=train),
            text,
            out,
            sinks=[TensorBoard(out / "training")] if command.tensorboard and world.leads else [],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            world=world,
        )
        bar.update(task, completed=train.steps)  # also where it was finished before
    if world.leads:
        print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in trained.final.items()))
        print(f"checkpoint folder: {out}")
    return 0


def _plan(command: Plan) -> int:
    if command.law and command.runs:
        raise UserError("--law and --runs were both given; leave one out: --runs fits a law of its own.")
    from maquette.lab.planning import DEFAULT_LAW, plan

    planned = plan(
        budget=command.budget,
        parameters=command.parameters,
        tokens=command.tokens,
        law=str(command.runs or command.law or DEFAULT_LAW),
        hardware=command.hardware,
        devices=command.devices,
        mfu=command.mfu,
        hours=command.hours,
        device_hours=command.device_hours,
    )
    if command.json:
        print(json.dumps(asdict(planned) | {"hours": planned.hours}, indent=1, ensure_ascii=False))
        return 0
    width = max(len(name) for name, _ in planned.as_rows())
    for name, value in planned.as_rows():
        print(f"{name:<{width}}  {value}")
    for note in planned.notes:
        print(f"  {note}")
    return 0
