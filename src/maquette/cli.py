"""The command line, and the only place where studies, the lab and the families meet.

What is heavy is imported inside the command that needs it: help and `list` load neither torch nor a study.
"""

import ast
import contextlib
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from tyro.conf import Positional, arg, subcommand

from maquette import __version__
from maquette.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from maquette.lab.runner import Outcome

PACKAGE = Path(__file__).parent
RECORDS = (Path("runs"), Path("results"))
"""Where records are looked for: this machine's own, then the committed ones."""
SCALES = ("laptop", "gpu", "tour", "smoke")

Count = Annotated[int | None, arg(metavar="N")]
Amount = Annotated[str | None, arg(metavar="AMOUNT")]
File = Annotated[Path | None, arg(metavar="PATH")]
Text = Annotated[str, arg(metavar="NAME")]
MaybeText = Annotated[str | None, arg(metavar="NAME")]
Share = Annotated[float | None, arg(metavar="SHARE")]
Name = Annotated[Positional[str], arg(metavar="NAME", help="A study's name, or a .py file that defines STUDY.")]


@dataclass(frozen=True, kw_only=True)
class List:
    """See `COMMANDS`; so for the other commands."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Run:
    """A study at one scale."""

    name: Name
    _: KW_ONLY
    scale: Text = "laptop"
    """smoke: seconds, a test. tour: minutes, a story. laptop: 20 minutes to hours, decides. gpu: one accelerator."""
    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""
    seeds: Count = None
    """At most so many seeds, instead of the scale's."""
    records: Path = RECORDS[0]
    """The folder that records go to."""
    json: bool = False
    """Print the outcome as JSON."""


@dataclass(frozen=True)
class Report:
    """The page made from records."""

    name: Name
    _: KW_ONLY
    scale: MaybeText = None
    """Of which scale; the largest there are records of, if not given."""
    records: File = None
    """The folder that records lie in; runs, then results, if not given."""
    out: File = None
    """The page to write; report.html beside the records, if not given."""


@dataclass(frozen=True, kw_only=True)
class Tour:
    """Every study's story."""

    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Quantities of a training run."""

    budget: Amount = None
    """Training FLOPs, such as 3.8e25."""
    parameters: Amount = None
    """Size of the model, such as 405B."""
    tokens: Amount = None
    """Training tokens, such as 15.6T."""
    hours: Amount = None
    """Wall-clock hours on all devices."""
    device_hours: Amount = None
    """Hours times devices, such as 30.84M."""
    hardware: Text = "h100"
    """What it runs on: h100, h200, a100, rtx4090 or 2cpu."""
    devices: int = 1
    """How many of them."""
    mfu: Share = None
    """Model FLOPs utilisation, a share such as 0.4; computed if hours are given."""
    law: MaybeText = None
    """A published law: besiroglu (if not given), hoffmann-1, hoffmann-2, hoffmann-3, kaplan, llama-3."""
    runs: File = None
    """Your own runs, a CSV to fit the law to."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Train:
    """A recipe."""

    recipe: Annotated[Positional[str], arg(metavar="RECIPE", help="tiny-llama or small-llama.")]
    _: KW_ONLY
    text: File = None
    """Your own text, a folder or a file in UTF-8, instead of the default."""
    dataset: MaybeText = None
    """A Hugging Face dataset (needs the extra hub)."""
    out: File = None
    """Where the checkpoint folder goes; runs/train/RECIPE, if not given."""
    steps: Count = None
    """Another number of steps than the recipe's."""
    seed: int = 0
    device: Text = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: replicate the model, or shard it."""
    tensorboard: bool = False
    """Write TensorBoard scalars too (needs the extra track)."""


COMMANDS: Mapping[str, tuple[type, str, str]] = {
    "list": (List, "Every study: its question, its verdicts, its cost.", "maquette list"),
    "run": (Run, "Run a study: arms × seeds, then the verdict on each claim.", "maquette run scaling_laws --jobs 2"),
    "report": (Report, "Write a study's report, one HTML page, from its records.", "maquette report scaling_laws"),
    "tour": (Tour, "The main job: a story from each study, and a report at the end.", "maquette tour"),
    "train": (
        Train,
        "Train a recipe's model; the result is a checkpoint folder that transformers loads too.",
        "maquette train tiny-llama --text ~/notes",
    ),
    "plan": (
        Plan,
        "From a budget, a size or a token count to the whole of a training run.",
        "maquette plan --parameters 405B --tokens 15.6T --device-hours 30.84M",
    ),
}


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 trials failed, 2 bad input, 130 stopped by Ctrl-C."""
    try:
        sys.exit(run(sys.argv[1:]))
    except UserError as error:
        print(f"maquette: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; the exit code."""
    if arguments and arguments[0] == "--version":
        print(f"maquette {__version__}")
        return 0
    command = _parse(arguments or ["--help"])
    carry_out = {List: _list, Run: _run, Report: _report, Tour: _tour, Train: _train, Plan: _plan}[type(command)]
    return carry_out(command)


def _parse(arguments: Sequence[str]) -> Any:
    """The command as its dataclass; tyro's boxed complaints become one sentence."""
    first = arguments[0]
    if not first.startswith("-") and first not in COMMANDS:
        raise UserError(f"There is no command {first!r}; {did_you_mean(first, COMMANDS)}")
    choices: Any = None
    for name, (kind, text, example) in COMMANDS.items():
        choice = Annotated[kind, subcommand(name, description=f"{text}\n\nExample: {example}")]
        choices = choice if choices is None else choices | choice
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                choices,
                prog="maquette",
                description=f"Maquette {__version__}: small, faithful models of today's foundation models.",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as ended:
        if not ended.code:
            raise
        raise UserError(_in_short(complaint.getvalue(), first)) from None


def _in_short(complaint: str, command: str) -> str:
    lines = [line.strip("│╭╮╰╯─ ") for line in complaint.splitlines()]
    rules = [index for index, line in enumerate(complaint.splitlines()) if "───" in line]
    said = " ".join(filter(None, lines[rules[0] + 1 : rules[1]])) if len(rules) > 1 else " ".join(filter(None, lines))
    near = re.search(r"Perhaps you meant:\W+(--[\w-]+)", complaint)
    hint = f"; did you mean {near[1]}?" if near else "."
    return f"{said.rstrip('.')}{hint} See: maquette {command if command in COMMANDS else ''} --help".replace("  ", " ")


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
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
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
                outcomes[str(path.parent)] = json.loads(path.read_text(encoding="utf-8"))
        rows.append({**_card(module), "name": name, "module": module, "outcomes": outcomes})
    if command.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    for row in rows:
        print(f"{row['name']}  ({row['family']})\n    {row['question']}")
        for where, one in row["outcomes"].items():
            spent = f"{one['cost']['flops']:.2g} FLOPs, {one['cost']['wall_seconds']:.0f} s of trials"
            print(f"    {where}: {one['verdict']}, n = {one['seeds']}, {spent}")
    return 0


def _run(command: Run) -> int:
    from maquette.core.devices import prepare_process
    from maquette.lab.runner import run_study
    from maquette.lab.terminal import Display, verdict_table

    display = Display(Console(stderr=True))
    prepare_process()
    reference, records = _reference(command.name), command.records
    jobs = _jobs(command.jobs)
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
    from maquette.lab.evidence import read_evidence
    from maquette.lab.report import write_report
    from maquette.lab.study import load_study

    study = load_study(_reference(command.name))
    if command.scale is not None:
        study.scale(command.scale)
    places = (command.records,) if command.records else RECORDS
    scales = (command.scale,) if command.scale else SCALES
    pairs = [(records, scale) for scale in scales for records in places]
    found = [(records, scale) for records, scale in pairs if any(records.glob(f"{study.name}/{scale}/trials/*"))]
    if not found:
        where = " or ".join(str(place) for place in places)
        raise UserError(f"There are no records of {study.name} in {where}; make some: maquette run {command.name}")
    records, scale = found[0]
    directory = records / study.name / scale
    out = command.out or directory / "report.html"
    write_report(out, [(read_evidence(study, scale, directory), _again(command.name, scale, records))])
    print(out)
    return 0


def _again(name: str, scale: str, records: Path) -> str:
    elsewhere = "" if records == RECORDS[0] else f" --records {records}"
    return f"maquette run {name} --scale {scale}{elsewhere}"


def _tour(command: Tour) -> int:
    from maquette.core.devices import prepare_process
    from maquette.core.provenance import cores
    from maquette.lab.report import write_report
    from maquette.lab.runner import run_study
    from maquette.lab.terminal import Display, verdict_table
    from maquette.studies import SYSTEMS

    known = _studies()
    order = list(dict.fromkeys([*(system.study for system in SYSTEMS if system.study in known), *known]))
    if not order:
        raise UserError("There is no study to tour.")
    print(f"Setting out on {cores()} cores; {prepare_process()}", flush=True)
    outcomes: list[Outcome] = []
    for name in order:
        card = _card(known[name])
        print(f"{name} ({card['family']}): {card['question']}", flush=True)
        outcome = run_study(known[name], "tour", Display(Console(stderr=True)), jobs=_jobs(command.jobs))
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
    from dataclasses import replace

    from maquette.core.devices import prepare_process
    from maquette.language.recipes import carry_out, named
    from maquette.language.tokenizers import prepare
    from maquette.train.distributed import join_world
    from maquette.train.metrics import TensorBoard
    from maquette.worlds.text.outside import Folder, HubDataset

    recipe = named(command.recipe)
    if command.text and command.dataset:
        raise UserError("--text and --dataset were both given; leave one out.")
    if command.seed < 0:
        raise UserError(f"--seed is {command.seed}; it must be 0 or more.")
    allocator = prepare_process()
    train = replace(recipe.train, steps=command.steps or recipe.train.steps, seed=command.seed, device=command.device)
    source = (
        Folder(path=command.text) if command.text else HubDataset(name=command.dataset) if command.dataset else None
    )
    world = join_world(command.strategy)
    out = command.out or RECORDS[0] / "train" / command.recipe
    console = Console(stderr=True, quiet=not world.leads)
    console.print(f"{command.recipe}: {recipe.about}; {allocator}", highlight=False)
    with console.status("reading the text") as status:
        text = prepare(
            source, vocabulary=recipe.model.vocabulary, progress=lambda stage, _: status.update(f"text: {stage}")
        )
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console, disable=not world.leads
    ) as bar:
        task = bar.add_task("training", total=train.steps)
        trained = carry_out(
            replace(recipe, train=train),
            text,
            out,
            sinks=[TensorBoard(out / "training")] if command.tensorboard and world.leads else [],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            world=world,
        )
    if world.leads:
        print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in trained.final.items()))
        print(f"checkpoint folder: {out}")
    return 0


def _plan(command: Plan) -> int:
    if command.law and command.runs:
        raise UserError("--law and --runs were both given; leave one out: --runs fits a law of its own.")
    from maquette.lab.planning import DEFAULT_LAW, plan

    planned = plan(
        flops=command.budget,
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
