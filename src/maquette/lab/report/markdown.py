"""Evidence as Markdown, for RESULTS.md."""

from collections.abc import Sequence

from maquette.core.statistics import Interval, planned_looks
from maquette.lab.caveats import caveats
from maquette.lab.criticism import Criticism
from maquette.lab.evidence import Evidence
from maquette.lab.improvement import Improvement, in_words
from maquette.lab.report.sentences import finding, of_all_claims, summary, where_run
from maquette.lab.study import Study
from maquette.lab.verdicts import AS_CONTROL
from maquette.lab.wording import exact, interval, number, region

CURRENT = "**current**: today's code gives them"
STALE = "**stale**: today's code has moved on"


def _on_the_way(evidence: Evidence) -> str:
    """That a scale which decides has not come to its first look."""
    if not evidence.scale.verdict:
        return ""
    first, seeds = planned_looks(evidence.scale.seeds)[0], len(evidence.by_seed)
    if seeds >= first:
        return ""
    return f" It is under way, with {seeds} of the {first} seeds of its first look: no claim is judged yet."


def results_section(evidence: Evidence, command: str, *, current: bool, beside: Sequence[str] = ()) -> str:
    """A study's claims with their evidence, what they cost, where they were run and how to run them again.

    `beside` are lines on what else was done with the study (`criticism_line`, `improvement_line`).
    """
    study, paper = evidence.study, evidence.study.paper
    lines = [
        f"## {study.name}",
        "",
        f"*{study.question}* The first claim is **{evidence.verdict}** at {evidence.scale_name} scale. "
        + of_all_claims(evidence)
        + _on_the_way(evidence),
        "",
        f"[{paper.title}]({paper.url}), {paper.authors} {paper.year}. The paper reports: {paper.reports}",
        "",
        "| claim | needed | effect | interval | n | controls | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in evidence.judgements:
        controls = "; ".join(
            f"{test.arm} {number(test.effect)} {interval(test.interval)}: {AS_CONTROL[test.verdict]}"
            for test in one.controls
        )
        cells = (
            one.claim.text,
            region(*one.claim.region),
            number(one.test.effect),
            _with_confidence(one.test.interval),
            str(one.test.n),
            controls,
            f"**{one.verdict}**",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if any(one.test.interval for one in evidence.judgements):
        lines += [
            "",
            "Each interval is what its verdict was read from: 95 % over all claims and looks (Holm, alpha spending).",
        ]
    where = where_run(sorted(evidence.records.values(), key=lambda record: record.started))
    lines += [
        "",
        f"- Cost: {summary(evidence)}",
        *(f"- {name}: {said}" for name, said in where.items()),
        f"- These records are {CURRENT if current else STALE}.",
        *(f"- {line}" for line in (*caveats(evidence), *doubts(study), *beside)),
        f"- Again: `{command}`",
    ]
    return "\n".join(lines) + "\n"


def doubts(study: Study) -> list[str]:
    """What limits the scale that decides, and what is held against each claim."""
    held = [
        f"Contested: *{one.text.rstrip('.')}*. {one.contested.rstrip('.')}." for one in study.claims if one.contested
    ]
    limits = study.scales.laptop.limits
    return ([f"Limits: {limits}"] if limits else []) + held


def criticism_line(study: Study, criticism: Criticism, *, current: bool) -> str:
    """Where the first claim breaks along each axis."""
    first = [curve for curve in criticism.curves if curve.claim == study.claims[0]]
    fates = "; ".join(f"along *{curve.axis.name}* {finding(curve)}" for curve in first)
    return f"Criticism, {criticism.seeds} seeds a place: the first claim is {fates}.{_unless(current)}"


def improvement_line(improvement: Improvement, *, current: bool) -> str:
    """What a search has found, and what the judging seeds say of it."""
    return f"Improvement: {in_words(improvement)}{_unless(current)}"


def _unless(current: bool) -> str:
    return "" if current else f" These records are {STALE}."


def _with_confidence(found: Interval | None) -> str:
    return f"{interval(found)} at {exact(round(100 * found.confidence, 2))} %" if found else interval(found)
