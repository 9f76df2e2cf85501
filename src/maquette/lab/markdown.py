"""Evidence as Markdown, for RESULTS.md."""

from maquette.lab.evidence import Evidence
from maquette.lab.report import summary
from maquette.lab.verdicts import AS_CONTROL
from maquette.lab.wording import exact, interval, number, region


def results_section(evidence: Evidence, command: str) -> str:
    """A study's claims with their evidence, what they cost, where they were run and how to run them again."""
    study, paper = evidence.study, evidence.study.paper
    record = min(evidence.records.values(), key=lambda record: record.started)
    lines = [
        f"## {study.name}",
        "",
        f"*{study.question}* **{str(evidence.verdict).capitalize()}** at {evidence.scale_name} scale.",
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
            interval(one.test.interval),
            str(one.test.n),
            controls,
            f"**{one.verdict}**",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    confidence = next((one.test.interval.confidence for one in evidence.judgements if one.test.interval), None)
    if confidence:
        lines += [
            "",
            f"Intervals: {exact(round(100 * confidence, 2))} % per claim, which is 95 % over all claims and looks.",
        ]
    machine = record.machine
    lines += [
        "",
        f"- Cost: {summary(evidence)}",
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB; "
        + ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        f"- Commit: `{record.commit}`, {record.started[:10]}",
        f"- Again: `{command}`",
    ]
    return "\n".join(lines) + "\n"
