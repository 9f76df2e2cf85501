"""A report as a PDF: the paper in two columns, or the slides of a talk, typeset by Typst without a network."""

import datetime
import importlib.resources
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst

from maquette.core.files import replacing
from maquette.lab.figures import Medium
from maquette.lab.report.contents import Plate, Section
from maquette.lab.report.prose import words
from maquette.lab.report.slides import Slide, choose
from maquette.lab.report.tables import Table


def write_paper(path: Path, section: Section) -> None:
    """Write the paper.

    Raises:
        UserError: the folder cannot be written.
    """
    _write(path, "paper.typ", section, _document(section), "paper")


def _write(path: Path, template: str, section: Section, document: Mapping[str, Any], medium: Medium) -> None:
    """Typeset a template beside the document and its figures, as of the records' day: the same bytes every time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (template, "parts.typ"):
            (folder / file).write_bytes(
                (importlib.resources.files("maquette.lab.report") / "templates" / file).read_bytes()
            )
        for number, plate in enumerate(section.plates, 1):
            (folder / f"figure-{number}.svg").write_text(plate.draw(medium), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(document), encoding="utf-8")
        midnight = datetime.datetime.combine(section.date, datetime.time(), datetime.UTC)
        typeset = typst.compile(folder / template, root=folder, timestamp=midnight)
    with replacing(path) as temporary:
        temporary.write_bytes(typeset)


def _document(section: Section) -> dict[str, Any]:
    """The section in plain values; what is to be read is in nodes."""
    study, paper = section.study, section.study.paper
    prose = (
        "abstract",
        "warnings",
        "introduction",
        "method",
        "plan",
        "statistics",
        "results",
        "criticised",
        "improved",
    )
    plain = ("scale", "authors", "commands", "where", "parts", "names")
    return {
        **{name: list(getattr(section, name)) for name in (*prose, "cost", "limits")},
        **{name: getattr(section, name) for name in plain},
        "name": study.name.replace("_", " "),
        "family": study.family,
        "plain_title": study.question,
        "title": words(study.question),
        "day": {"year": section.date.year, "month": section.date.month, "day": section.date.day},
        "date": f"{section.date.day} {section.date:%B %Y}",
        "paper": {"title": words(paper.title), "by": words(f"{paper.authors}, {paper.venue} {paper.year}")},
        "reports": words(paper.reports),
        "statements": [_in_nodes(one, "text", "paper", "contested") for one in section.statements],
        "plates": [_plate(one, number) for number, one in enumerate(section.plates, 1)],
        "tables": [_table(one) for one in section.tables],
        "bendings": [_in_nodes(one, "name", "objection") for one in section.bendings],
        "discussion": section.discussion.blocks if section.discussion else [],
        "sources": [_in_nodes(one, "text") for one in section.sources],
    }


def _in_nodes(one: Any, *names: str) -> dict[str, Any]:
    return {**vars(one), **{name: words(getattr(one, name)) for name in names}}


def _plate(one: Plate, number: int) -> dict[str, Any]:
    kept = {"label": one.label, "alt": one.alt, "file": f"figure-{number}.svg"}
    return {**kept, "title": words(one.title), "caption": words(one.caption)}


def _table(one: Table) -> dict[str, Any]:
    rows = [{"kind": row.kind, "cells": [words(cell) for cell in row.cells]} for row in one.rows]
    head = [words(name) for name in one.head]
    return {"label": one.label, "caption": words(one.caption), "align": one.align, "head": head, "rows": rows}


def write_slides(path: Path, section: Section) -> int:
    """Write the slides; how many there are.

    Raises:
        UserError: the folder cannot be written.
    """
    pages = choose(section)
    titles = {label: f"“{title}”" for label, title in section.parts.items()}
    document = _document(section) | {"slides": [_slide(page) for page in pages], "names": section.names | titles}
    _write(path, "slides.typ", section, document, "slide")
    return len(pages)


def _slide(page: Slide) -> dict[str, Any]:
    table = _table(page.table) if page.table else None
    return {**vars(page), "title": words(page.title), "prose": list(page.prose), "table": table}
