"""The commands of studies: which there are, run one, criticise it, improve it, plan it, begin one, tour all."""

import ast
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.studies import Criticise, Improve, List, New, PlanStudy, Run, Tour
from maquette.core.devices import prepare_process
from maquette.core.errors import UserError, did_you_mean
from maquette.core.records import read_checked

if TYPE_CHECKING:
    from maquette.lab.runner import Outcome

PACKAGE = Path(__file__).parent.parent


def known_studies() -> dict[str, str]:
    """Modules of the package's studies by name, found as files."""
    files = sorted((PACKAGE / "studies").glob("*/[a-z]*.py"))
    return {file.stem: f"maquette.studies.{file.parent.name}.{file.stem}" for file in files}


def reference(name: str) -> str:
    """How the lab finds a study: a module's name, or the path of the user's own file.

    Raises:
        UserError: there is none of that name.
    """
    known = known_studies()
    if name.endswith(".py"):
        return str(Path(name).resolve())
    if (plain := name.replace("-", "_")) not in known:
        raise UserError(f"There is no study {name!r}; {did_you_mean(plain, known)}")
    return known[plain]


def listing(command: List) -> int:
    """Print every study with what its runs left."""
    rows: list[dict[str, Any]] = []
    for name, module in known_studies().items():
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


def run(command: Run) -> int:
    """Reproduce: arms × seeds, then the verdicts; 1 if trials failed."""
    study, records, jobs = reference(command.name), command.records, _jobs(command.jobs)
    prepare_process()  # before anything imports torch, because it may start the process anew
    from maquette.lab.caveats import caveats
    from maquette.lab.runner import run_study
    from maquette.lab.terminal import Display, verdict_table

    display = Display(Console(stderr=True))
    outcome = run_study(study, command.scale, display, records=records, jobs=jobs, seeds=command.seeds)
    evidence = outcome.evidence
    if command.json:
        failures = [asdict(failure) for failure in outcome.failures]
        print(json.dumps(evidence.as_json() | {"ran": outcome.ran, "failures": failures}, indent=1, ensure_ascii=False))
    else:
        Console().print(verdict_table(evidence))
        many = f"n = {len(evidence.by_seed)}, {len(evidence.records)} trials, {outcome.ran} of them run now"
        print(f"{evidence.study.name} at {evidence.scale_name} scale: {evidence.verdict} ({many})")
        for sentence in caveats(evidence):
            print(sentence)
        print(f"its report: maquette report {command.name} --scale {command.scale}{elsewhere(records)}")
    return _tell_failures(outcome)


def criticise(command: Criticise) -> int:
    """Bend the world until the claims break."""
    study, jobs = reference(command.name), _jobs(command.jobs)
    axes = split("--axis", (command.axis,)) if command.axis is not None else ()
    prepare_process()
    from maquette.lab import criticism
    from maquette.lab.terminal import Display, curve_table

    found = criticism.criticise(study, Display(Console(stderr=True)), axes=axes, records=command.records, jobs=jobs)
    if command.json:
        print(json.dumps(criticism.as_json(found), indent=1, ensure_ascii=False))
    else:
        for axis, curves in criticism.curves_by_axis(found):
            Console().print(curve_table(axis, curves))
        print(f"pictures and all: maquette report {command.name} --scale laptop{elsewhere(command.records)}")
    for failure in found.failures:
        print(f"failed: {failure.arm}, seed {failure.seed}, {failure.config}\n    {failure.text}")
    return 1 if found.failures else 0


def improve(command: Improve) -> int:
    """Search, then judge."""
    study, jobs = reference(command.name), _jobs(command.jobs)
    prepare_process()
    from maquette.lab import improvement
    from maquette.lab.terminal import Display

    found = improvement.improve(
        study, Display(Console(stderr=True)), trials=command.trials, records=command.records, jobs=jobs
    )
    if command.json:
        print(json.dumps(improvement.as_json(found), indent=1, ensure_ascii=False))
    else:
        print(improvement.in_words(found))
        print(f"pictures and all: maquette report {command.name} --scale laptop{elsewhere(command.records)}")
    return 0


def plan_study(command: PlanStudy) -> int:
    """Run the pilot, print the plan."""
    study, jobs = reference(command.name), _jobs(command.jobs)
    prepare_process()
    from maquette.lab.pilot import run_pilot
    from maquette.lab.terminal import Display
    from maquette.lab.wording import duration, number

    display = Display(Console(stderr=True))
    pilot = run_pilot(study, display, seeds=command.seeds, records=command.records, jobs=jobs)
    table = Table("claim", "effect", "spread", "inside by", "seeds for 80 %", box=None)
    for one in pilot.claims:
        many = "more than 12" if one.spread else "no spread"
        needed = str(one.seeds) if one.seeds else many if one.beyond > 0 else "never"
        table.add_row(one.claim.text, number(one.effect), number(one.spread), number(one.beyond), needed)
    Console().print(table)
    each = pilot.cost.wall_seconds / pilot.n
    print(f"One seed takes {duration(each)} of trials. A spread from {pilot.n} seeds is itself uncertain.\n")
    print(pilot.as_plan())
    return 0


def new(command: New) -> int:
    """Write a scaffold; not under a name whose records its own would lie among."""
    from maquette.lab.scaffold import write_scaffold

    if command.name.replace("-", "_") in known_studies():
        raise UserError(f"{command.name} is one of Maquette's own studies; choose another name, such as my-paper.")
    path = write_scaffold(command.name, command.out or Path())
    print(f"{path}: a study that runs as it stands. Try: maquette run {path} --scale smoke")
    return 0


def tour(command: Tour) -> int:
    """Every study's story, and one page of all; 1 if trials failed."""
    jobs, allocator = _jobs(command.jobs), prepare_process()
    from maquette.core.provenance import cores
    from maquette.lab.report.contents import section
    from maquette.lab.report.page import write_page
    from maquette.lab.runner import run_study
    from maquette.lab.terminal import Display, verdict_table
    from maquette.studies import SYSTEMS

    known = known_studies()
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
    told = [
        section(
            one.evidence,
            f"maquette run {one.evidence.study.name} --scale tour",
            exhibits=RECORDS[0] / one.evidence.study.name / "tour" / "exhibits",
        )
        for one in outcomes
        if one.evidence.records
    ]
    write_page(page, told, heading="" if len(told) == 1 else "Maquette: a tour")
    print(f"Look at it: {page.resolve()}")
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _card(module: str) -> dict[str, str]:
    """A study's name, family and question, read from its file without running it."""
    inside = PACKAGE.parent / (module.replace(".", "/") + ".py")
    file = Path(module) if module.endswith(".py") else inside
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Study":
            words = {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}
            return {field: str(words.get(field, "")) for field in ("name", "family", "question")}
    return {"name": file.stem, "family": file.parent.name, "question": ""}


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


def split(option: str, values: Sequence[str]) -> tuple[str, ...]:
    """Values that were given one by one or with commas between.

    Raises:
        UserError: the option was given without any.
    """
    found = tuple(filter(None, (part.strip() for value in values for part in value.split(","))))
    if values and not found:
        raise UserError(f"{option} is empty; give a name or leave it out.")
    return found


def elsewhere(records: Path) -> str:
    """The option that names a folder of records which is not the usual one."""
    return "" if records in RECORDS else f" --records {records}"
