"""The pages of a ten-minute talk, chosen from a report: one message each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from maquette.lab.report.contents import Section
from maquette.lab.report.prose import Node, points, words
from maquette.lab.report.tables import Row, Table, without
from maquette.lab.verdicts import Verdict

MOST = 15
"""Pages of ten minutes. A talk that is longer goes without its later figures, its controls, its later axes."""
AXES = 3
POINTS = 7
"""Of the discussion, on one page."""


@dataclass(frozen=True, kw_only=True)
class Slide:
    """A page; its kind is its layout in slides.typ. The higher `spare`, the sooner a talk does without it."""

    kind: Literal["title", "question", "claims", "prose", "figure", "table", "cost", "again"]
    title: str = ""
    part: str = ""
    prose: Sequence[Node] = ()
    plate: str = ""
    table: Table | None = None
    spare: int = 0


def choose(section: Section) -> list[Slide]:
    """The talk, of at most `MOST` pages."""
    pages = [*_beginning(section), *_results(section), *_beyond(section), *_end(section)]
    while len(pages) > MOST and (spare := max(page.spare for page in pages)):
        del pages[max(place for place, page in enumerate(pages) if page.spare == spare)]
    return pages


def _beginning(section: Section) -> Iterator[Slide]:
    yield Slide(kind="title")
    yield Slide(kind="question", title="The paper and the question", part="sec:introduction")
    yield Slide(kind="claims", title=_claimed(section), prose=section.warnings)
    yield Slide(kind="prose", title="Method", part="sec:method", prose=section.method)
    yield Slide(kind="table", title="Arms and budget", table=_table(section, "tab:arms"), prose=section.budget)


def _claimed(section: Section) -> str:
    return "Claimed before anything ran" if section.registered else "What is claimed"


def _results(section: Section) -> Iterator[Slide]:
    pictures = [one for one in section.plates if not one.label.startswith(("fig:along-", "fig:search", "fig:forest"))]
    for one in pictures[:1]:
        yield Slide(kind="figure", title=one.title, plate=one.label)
    if claims := _table(section, "tab:claims"):
        own = replace(claims, rows=[row for row in claims.rows if row.kind == "claim"])
        decides = section.verdict != Verdict.NONE
        title = f"{own.rows[0].cells[0]} is {section.verdict}" if decides else "The effects; nothing is decided"
        yield Slide(kind="table", title=title, part="sec:results", table=own)
        yield Slide(kind="figure", title="The effects, and where they had to lie", plate="fig:forest")
    for one in pictures[1:]:
        yield Slide(kind="figure", title=one.title, plate=one.label, spare=3)
    if claims and section.verdict != Verdict.NONE:
        yield _controls(claims)


def _controls(claims: Table) -> Slide:
    rows, name = [], ""
    for row in claims.rows:
        name = row.cells[0] or name
        if row.kind == "control":
            rows.append(Row(cells=(name, *row.cells[1:]), kind="control"))
    fine = all(row.cells[-1] in ("fails", "holds") for row in rows)
    title = "Every control fails, as it must" if fine else "A claim stands only where its controls fail"
    table, needed = replace(claims, label="tab:controls", rows=rows), claims.head.index("Needed")
    if not any(row.cells[needed] for row in rows):  # only checks say what they need
        table = without(table, "Needed")
    return Slide(kind="table", title=title, table=table, spare=2)


def _beyond(section: Section) -> Iterator[Slide]:
    for number, one in enumerate(section.bendings[:AXES]):
        part = "" if number else "sec:criticism"
        objection = words(one.objection)
        yield Slide(kind="figure", title=one.headline, part=part, plate=one.plate, prose=objection, spare=bool(number))
    if section.improved:
        there = any(one.label == "fig:search" for one in section.plates)
        yield Slide(
            kind="figure" if there else "prose",
            title=section.gained,
            part="sec:improvement",
            plate="fig:search" if there else "",
            prose=section.improved,
        )


def _end(section: Section) -> Iterator[Slide]:
    yield Slide(kind="cost", title="Cost, and the limits of this scale", part="sec:cost", prose=section.limits)
    if section.discussion:
        first, second = _halves(points(section.discussion.blocks))
        yield Slide(kind="prose", title=section.discussion.title, part="sec:discussion", prose=_listed(first))
        if second:
            yield Slide(kind="prose", title=section.discussion.title, prose=_listed(second))
    yield Slide(kind="again", title="How to run it again", part="sec:again")


def _halves(said: list[Node]) -> tuple[list[Node], list[Node]]:
    """The points on one page or on two, which part at a heading where there is one."""
    if sum(node["kind"] != "heading" for node in said) <= POINTS:
        return said, []
    middle = -(-len(said) // 2)
    headings = [place for place, node in enumerate(said) if node["kind"] == "heading" and place]
    cut = min(headings, key=lambda place: abs(place - middle), default=middle)
    return said[:cut], said[cut:]


def _listed(said: Sequence[Node]) -> list[Node]:
    """Items that follow one another as lists."""
    found: list[Node] = []
    for node in said:
        if node["kind"] == "list_item":
            if not found or found[-1]["kind"] != "bullet_list":
                found.append({"kind": "bullet_list", "text": "", "body": []})
            found[-1]["body"].append(node)
        else:
            found.append(node)
    return found


def _table(section: Section, label: str) -> Table | None:
    return next((one for one in section.tables if one.label == label), None)
