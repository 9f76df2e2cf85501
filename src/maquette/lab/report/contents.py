"""What a report says of a study, for the page, the paper and the slides alike."""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.core.files import read_json
from maquette.lab import figures
from maquette.lab.caveats import REGISTERED, STALE, amended, registered
from maquette.lab.criticism import Criticism, Curve, curves_by_axis
from maquette.lab.evidence import Evidence
from maquette.lab.figures import Figure, Medium
from maquette.lab.improvement import Improvement
from maquette.lab.report import sentences, tables
from maquette.lab.report.bending_figures import effect_curve, search_history
from maquette.lab.report.prose import Discussion, Node, check_references, literal, parse
from maquette.lab.report.sentences import Source, summary
from maquette.lab.report.tables import Table
from maquette.lab.study import Study


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A figure: its label to refer to, its words, how it is drawn, and whether it wants both columns of a paper."""

    label: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Medium], str]


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What trials published while they ran: an animation, a figure, or a table of words."""

    title: str
    gif: bytes = b""
    svg: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A claim as the study has it."""

    name: str
    text: str
    paper: str
    contested: str


@dataclass(frozen=True, kw_only=True)
class Bending:
    """One axis of the criticism: who objects, what each claim does along it, and the label of its plate."""

    name: str
    objection: str
    headline: str
    findings: Sequence[Node]
    plate: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a report says of one study. Prose is in nodes (`lab.prose`); `parts` are its headings by label, in order.

    `registered`: whether the records prove that the claims were made before them. `warnings`: what a reader of the
    verdict must know of, that claims were changed or that today's code no longer gives the records.
    """

    study: Study
    scale: str
    verdict: str
    summary: str
    authors: Sequence[str]
    date: datetime.date
    aside: str
    abstract: Sequence[Node]
    introduction: Sequence[Node]
    statements: Sequence[Statement]
    registered: bool
    warnings: Sequence[Node]
    method: Sequence[Node]
    plan: Sequence[Node]
    budget: Sequence[Node]
    statistics: Sequence[Node]
    results: Sequence[Node]
    exhibits: Sequence[Exhibit]
    plates: Sequence[Plate]
    tables: Sequence[Table]
    criticised: Sequence[Node]
    bendings: Sequence[Bending]
    gained: str
    improved: Sequence[Node]
    discussion: Discussion | None
    cost: Sequence[Node]
    limits: Sequence[Node]
    commands: Sequence[str]
    where: Mapping[str, str]
    sources: Sequence[Source]
    parts: Mapping[str, str]

    @property
    def names(self) -> dict[str, str]:
        """What to call each thing that can be referred to, by its label."""
        return {
            **{one.label: f"Figure {number}" for number, one in enumerate(self.plates, 1)},
            **{one.label: f"Table {number}" for number, one in enumerate(self.tables, 1)},
            **{label: f"Section {number}" for number, label in enumerate(self.parts, 1)},
            **{one.label: f"[{number}]" for number, one in enumerate(self.sources, 1)},
        }


def section(
    evidence: Evidence,
    command: str,
    criticism: Criticism | None = None,
    improvement: Improvement | None = None,
    *,
    authors: Sequence[str] = (),
    discussion: Discussion | None = None,
    exhibits: Path | None = None,
    current: bool = True,
) -> Section:
    """All that a report says of one study; `command` remakes the records, a line a step.

    `exhibits` is the folder of what the trials published; `current`, whether today's code still gives the records.

    Raises:
        UserError: the discussion refers to what is not there.
    """
    study, records = evidence.study, sorted(evidence.records.values(), key=lambda record: record.started)
    warnings = [*amended(evidence), *([] if current else [f"Stale: {STALE}."])]
    found = Section(
        study=study,
        scale=evidence.scale_name,
        verdict=evidence.verdict,
        summary=summary(evidence),
        authors=authors,
        date=datetime.date.fromisoformat(max(record.finished for record in records)[:10]),
        aside=sentences.aside(evidence),
        abstract=parse(sentences.abstract(evidence, criticism, improvement)),
        warnings=parse(" ".join(f"**{literal(one)}**" for one in warnings)),
        introduction=parse(sentences.introduction(evidence)),
        statements=_statements(study),
        registered=registered(evidence) == REGISTERED,
        method=parse(sentences.method(study)),
        plan=parse(sentences.planned(study)),
        budget=parse(sentences.budget(study)),
        statistics=parse(sentences.statistics(evidence)),
        results=parse(sentences.results(evidence)),
        exhibits=_exhibits(exhibits) if exhibits else [],
        plates=_plates(evidence, criticism, improvement),
        tables=_tables(evidence, criticism, improvement),
        criticised=parse(sentences.criticised(criticism)) if criticism else [],
        bendings=_bendings(study, criticism) if criticism else [],
        gained=sentences.gained(improvement) if improvement else "",
        improved=parse(sentences.improved(improvement)) if improvement else [],
        discussion=discussion,
        cost=parse(sentences.cost(evidence, criticism, improvement)),
        limits=parse(sentences.limits(evidence)),
        commands=command.splitlines(),
        where=sentences.where_run(records),
        sources=sentences.sources(evidence, improvement),
        parts=_parts(criticism, improvement, discussion),
    )
    if discussion:
        check_references(discussion, found.names)
    return found


def absent(found: Section, name: str) -> list[str]:
    """What the report could hold beside and does not, with the command that adds it."""
    study, laptop = found.study, found.scale == "laptop"
    sentences = []
    if study.critique and laptop and not found.criticised:
        sentences.append(f"It holds no criticism yet: maquette criticise {name}")
    if study.improve and laptop and not found.improved:
        sentences.append(f"It holds no improvement yet: maquette improve {name}")
    if not found.discussion:
        sentences.append("The discussion is its author's to add: --discussion my.md")
    return sentences


def _parts(
    criticism: Criticism | None, improvement: Improvement | None, discussion: Discussion | None
) -> dict[str, str]:
    titles = {
        "sec:introduction": "Introduction",
        "sec:method": "Method",
        "sec:results": "Results",
        "sec:criticism": "Criticism" if criticism else "",
        "sec:improvement": "Improvement" if improvement else "",
        "sec:discussion": discussion.title if discussion else "",
        "sec:cost": "Cost",
        "sec:limits": "Limits of this scale",
        "sec:again": "How to run it again",
    }
    return {label: title for label, title in titles.items() if title}


def _statements(study: Study) -> list[Statement]:
    return [
        Statement(name=f"C{number}", text=one.text, paper=one.paper, contested=one.contested or "")
        for number, one in enumerate(study.claims, 1)
    ]


def _tables(evidence: Evidence, criticism: Criticism | None, improvement: Improvement | None) -> list[Table]:
    more = {"criticism": criticism, "improvement": improvement}
    found = [
        *tables.arm_tables(evidence),
        tables.claims_table(evidence) if evidence.judgements else None,
        *tables.measure_tables(evidence),
        tables.derived_table(evidence),
        tables.foretold_table(evidence),
        tables.gain_table(improvement, evidence.study.plan.first_seed),
        tables.cost_table(evidence, {name: one.cost for name, one in more.items() if one}),
    ]
    return [one for one in found if one]


def _exhibits(folder: Path) -> list[Exhibit]:
    """Animations, then figures, then tables."""

    def title(path: Path) -> str:
        return path.stem.replace("-", " ").capitalize()

    moving = [Exhibit(title=title(path), gif=path.read_bytes()) for path in sorted(folder.glob("*.gif"))]
    drawn = [Exhibit(title=title(path), svg=path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.svg"))]
    return moving + drawn + [Exhibit(**read_json(path)) for path in sorted(folder.glob("*.json"))]


def _plates(evidence: Evidence, criticism: Criticism | None, improvement: Improvement | None) -> list[Plate]:
    """In the order in which a report shows them, the study's own picture first."""
    drawn = evidence.study.figures(evidence.by_seed) if evidence.study.figures and evidence.by_seed else []
    found = [_plate(one, f"fig:{one.slug}") for one in drawn]
    if evidence.judgements:
        found.insert(1, _forest(evidence))
    if criticism:
        found += [_bent(evidence.study, curves) for curves in _by_axis(criticism)]
    if improvement and len(improvement.candidates) > 1:
        found.append(_plate(search_history(improvement), "fig:search"))
    return found


def _plate(figure: Figure, label: str) -> Plate:
    return Plate(
        label=label,
        title=figure.title,
        caption=figure.caption,
        alt=figure.alt or f"{figure.title}: {figure.caption}",
        draw=lambda medium: figures.draw(figure, medium),
    )


def _forest(evidence: Evidence) -> Plate:
    named = {tables.claim_name(evidence.study, one.claim): one for one in evidence.judgements}
    intervals = " with their intervals" if any(one.test.interval for one in evidence.judgements) else ""
    return Plate(
        label="fig:forest",
        title="The claims",
        caption=f"Effects{intervals}; green: where the claim holds. Controls, in grey, must fail: lie outside it.",
        alt="The claims' effects, with their controls",
        draw=lambda medium: figures.forest(named, medium),
    )


def _bent(study: Study, curves: Sequence[Curve]) -> Plate:
    """One axis: the claims in panels; on a slide the first one alone."""
    drawn = [effect_curve(curve, tables.claim_name(study, curve.claim)) for curve in curves]

    def draw(medium: Medium) -> str:
        if medium == "slide" or len(drawn) == 1:
            return figures.draw(drawn[0], medium)
        return figures.draw_panels(drawn, medium, columns=2 if len(drawn) in (2, 4) else 3)

    axis = curves[0].axis
    return Plate(
        label=_axis_label(axis.name),
        title=f"Along {axis.name}",
        caption="Each claim's effect with pointwise 95 % intervals; green: where the claim holds.",
        alt=f"Effects of the claims along {axis.name}",
        draw=draw,
    )


def _by_axis(criticism: Criticism) -> list[list[Curve]]:
    """The curves that have places on them, by axis."""
    found = [[curve for curve in curves if curve.readings] for _, curves in curves_by_axis(criticism)]
    return [curves for curves in found if curves]


def _bendings(study: Study, criticism: Criticism) -> list[Bending]:
    return [
        Bending(
            name=curves[0].axis.name,
            objection=curves[0].axis.objection,
            headline=sentences.headline(study, curves[0]),
            findings=parse(sentences.findings(study, curves)),
            plate=_axis_label(curves[0].axis.name),
        )
        for curves in _by_axis(criticism)
    ]


def _axis_label(name: str) -> str:
    return "fig:along-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
