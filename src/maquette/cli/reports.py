"""The command that makes a study's report from its records."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from maquette.cli import studies
from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.studies import Report
from maquette.core.errors import UserError

if TYPE_CHECKING:
    from maquette.lab.study import Study

SCALES = ("laptop", "gpu", "tour", "smoke")


def report(command: Report) -> int:
    """Write the page, the paper or the slides."""
    from maquette.lab.caveats import STALE
    from maquette.lab.criticism import read_criticism
    from maquette.lab.evidence import read_evidence
    from maquette.lab.improvement import read_improvement
    from maquette.lab.rehearsal import is_current
    from maquette.lab.report.contents import absent, section
    from maquette.lab.report.page import write_page
    from maquette.lab.report.prose import read_discussion
    from maquette.lab.report.typeset import write_paper, write_slides
    from maquette.lab.study import load_study
    from maquette.lab.terminal import Display

    study = load_study(studies.reference(command.name))
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
    evidence = read_evidence(study, scale, directory)
    with Console(stderr=True).status("seeing whether today's code still gives these records"):
        quiet = Display(Console(quiet=True))
        current = is_current(studies.reference(command.name), study, evidence, directory, quiet)
    told = section(
        evidence,
        "\n".join(f"{line}{elsewhere}" for line in commands),
        criticism,
        improvement,
        authors=studies.split("--author", command.author),
        discussion=discussion,
        exhibits=directory / "exhibits",
        current=current,
    )
    write = {"report.html": lambda out: write_page(out, [told])}
    write |= {"report.pdf": lambda out: write_paper(out, told), "slides.pdf": lambda out: write_slides(out, told)}
    with Console(stderr=True).status("drawing"):
        for name in wanted:
            write[name](out := command.out or directory / name)
            print(out)
    if not current:
        print(f"Stale: {STALE}; maquette run {command.name} makes them anew.", file=sys.stderr)
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
    of = f" at {command.scale} scale" if command.scale else ""
    at = f" --scale {command.scale}" if command.scale else ""
    raise UserError(f"There are no records of {study.name}{of} in {where}; make some: maquette run {command.name}{at}")


def _chosen_axes(study: "Study", command: Report, directory: Path) -> tuple[str, ...]:
    from maquette.lab.criticism import axes_named, read_criticism

    if command.axes is None:
        return ()
    axes = studies.split("--axes", (command.axes,))
    if study.critique is None:
        raise UserError(f"--axes is {command.axes!r}, but {study.name} offers no critique; leave it out.")
    axes_named(study.critique, axes)
    if read_criticism(study, directory, axes) is None:
        raise UserError(f"{directory} holds no criticism; make some: maquette criticise {command.name}")
    return axes
