"""The commands of whoever works on a study: plan it, criticise it, improve it, begin one."""

import json
from collections.abc import Container, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.studies import Criticise, Improve, New, PlanStudy
from maquette.core.devices import prepare_process
from maquette.core.errors import UserError


def criticise(command: Criticise, reference: str, jobs: int) -> int:
    """Bend the world until the claims break."""
    axes = split("--axis", (command.axis,)) if command.axis is not None else ()
    prepare_process()
    from maquette.lab import criticism
    from maquette.lab.terminal import Display, curve_table

    found = criticism.criticise(reference, Display(Console(stderr=True)), axes=axes, records=command.records, jobs=jobs)
    if command.json:
        print(json.dumps(criticism.as_json(found), indent=1, ensure_ascii=False))
    else:
        for axis, curves in criticism.curves_by_axis(found):
            Console().print(curve_table(axis, curves))
        print(f"pictures and all: maquette report {command.name} --scale laptop{elsewhere(command.records)}")
    for failure in found.failures:
        print(f"failed: {failure.arm}, seed {failure.seed}, {failure.config}\n    {failure.text}")
    return 1 if found.failures else 0


def improve(command: Improve, reference: str, jobs: int) -> int:
    """Search, then judge."""
    prepare_process()
    from maquette.lab import improvement
    from maquette.lab.terminal import Display

    found = improvement.improve(
        reference, Display(Console(stderr=True)), trials=command.trials, records=command.records, jobs=jobs
    )
    if command.json:
        print(json.dumps(improvement.as_json(found), indent=1, ensure_ascii=False))
    else:
        print(improvement.in_words(found))
        print(f"pictures and all: maquette report {command.name} --scale laptop{elsewhere(command.records)}")
    return 0


def plan_study(command: PlanStudy, reference: str, jobs: int) -> int:
    """Run the pilot, print the plan."""
    prepare_process()
    from maquette.lab.pilot import run_pilot
    from maquette.lab.terminal import Display
    from maquette.lab.wording import duration, number

    display = Display(Console(stderr=True))
    pilot = run_pilot(reference, display, seeds=command.seeds, records=command.records, jobs=jobs)
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


def new(command: New, taken: Container[str]) -> int:
    """Write a scaffold; the names `taken` are those of studies whose records its own would lie among."""
    from maquette.lab.scaffold import write_scaffold

    if command.name.replace("-", "_") in taken:
        raise UserError(f"{command.name} is one of Maquette's own studies; choose another name, such as my-paper.")
    path = write_scaffold(command.name, command.out or Path())
    print(f"{path}: a study that runs as it stands. Try: maquette run {path} --scale smoke")
    return 0


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
