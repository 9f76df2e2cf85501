"""A study's report: one self-contained HTML page, made from records alone."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from maquette.core.files import write_text
from maquette.core.records import Cost, Record
from maquette.lab import figures, wording
from maquette.lab.claims import Measures
from maquette.lab.evidence import Evidence, plain
from maquette.lab.verdicts import AS_CONTROL

THEME = {
    figures.INK: "var(--ink)",
    figures.MUTED: "var(--muted)",
    figures.GRID: "var(--rule)",
    figures.PAPER: "var(--page)",
}


def write_report(path: Path, pages: Sequence[tuple[Evidence, str]], heading: str = "") -> None:
    """Write studies, each with the command that remakes it, as one page."""
    title = heading or pages[0][0].study.question
    html = (
        _templates()
        .get_template("report.html.j2")
        .render(
            title=title,
            heading=heading,
            sections=[section(evidence, command) for evidence, command in pages],
            as_control=AS_CONTROL,
        )
    )
    write_text(path, html)


def section(evidence: Evidence, command: str) -> dict[str, Any]:
    """What the page says of one study."""
    study, scale = evidence.study, evidence.scale
    records = sorted(evidence.records.values(), key=lambda record: record.started)
    return {
        "study": study,
        "scale": scale,
        "scale_name": evidence.scale_name,
        "verdict": evidence.verdict,
        "summary": summary(evidence),
        "judgements": evidence.judgements,
        "confidence": next((one.test.interval.confidence for one in evidence.judgements if one.test.interval), None),
        "forest": _inline(figures.forest(evidence.judgements), "The claims' effects, with their controls")
        if evidence.judgements
        else "",
        "figures": _figures(evidence),
        "arms": _arms(evidence),
        "derived": _derived(evidence),
        "fixed": _fixed(evidence),
        "predictions": _predictions(evidence),
        "costs": _costs(evidence),
        "total": evidence.cost,
        "where": _where(records),
        "command": command,
    }


def summary(evidence: Evidence) -> str:
    """One sentence on how much was run, at what cost."""
    seeds, trials, cost = len(evidence.by_seed), len(evidence.records), evidence.cost
    spent = f", {wording.number(cost.flops)} FLOPs" if cost.flops else ""
    machine = next(iter(evidence.records.values())).machine
    device = machine["gpu"] or f"{machine['cores']} CPU cores"
    much = f"{trials} trials over {seeds} seed{'s' if seeds != 1 else ''}"
    return f"{much}{spent}, {wording.duration(cost.wall_seconds)} of trials on {device}."


def _figures(evidence: Evidence) -> list[dict[str, Any]]:
    if evidence.study.figures is None or not evidence.by_seed:
        return []
    drawn = evidence.study.figures(evidence.by_seed)
    return [
        {"svg": _inline(figures.draw(one), one.alt or f"{one.title}: {one.caption}"), "caption": one.caption}
        for one in drawn
    ]


def _inline(svg: str, alt: str) -> Markup:
    """An SVG in the page's own colours, so that it follows light and dark; named for who cannot see it."""
    for colour, variable in THEME.items():
        svg = svg.replace(colour, variable)
    return Markup(svg.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(alt), 1))


def _arms(evidence: Evidence) -> dict[str, Any]:
    """A table of the arms: the fields in which they differ, and the measures."""
    configs = {arm: plain(config) for arm, config in evidence.study.configs(evidence.scale).items()}
    differ = [name for name, values in _values(configs.values()).items() if len(values) > 1]
    seeds = {arm: [record.measures for (of, _), record in evidence.records.items() if of == arm] for arm in configs}
    measures = _interesting(evidence, seeds)
    rows = [
        {
            "arm": arm,
            "fields": [_plainly(config[name]) if name in config else "" for name in differ],
            "measures": [spread([one[name] for one in seeds[arm] if name in one]) for name in measures],
            "n": len(seeds[arm]),
        }
        for arm, config in configs.items()
    ]
    return {"fields": differ, "measures": measures, "rows": rows}


def _derived(evidence: Evidence) -> list[tuple[str, str, str]]:
    """What `analyse` and `foretell` added: arm, measure, value."""
    known = {arm for arm, _ in evidence.records}
    extra: dict[str, list[Measures]] = {}
    for trials in evidence.by_seed.values():
        for arm, measures in trials.items():
            if arm not in known:
                extra.setdefault(arm, []).append(measures)
    return [
        (arm, name, spread([one[name] for one in found if name in one]))
        for arm, found in extra.items()
        for name in dict.fromkeys(name for one in found for name in one)
    ]


def _interesting(evidence: Evidence, seeds: Mapping[str, Sequence[Measures]], most: int = 6) -> list[str]:
    """The measures that claims are about, then others as long as the table stays readable."""
    there = list(dict.fromkeys(name for found in seeds.values() for one in found for name in one))
    claimed = {claim.measure for claim in evidence.study.claims}
    return sorted(there, key=lambda name: name not in claimed)[:most]


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds, a lone value as it is."""
    if not values:
        return "–"
    mean = wording.number(statistics.fmean(values), 4)
    return f"{mean} ± {wording.number(statistics.stdev(values), 2)}" if len(values) > 1 else mean


def _fixed(evidence: Evidence) -> list[tuple[str, str]]:
    """The fields in which the arms do not differ."""
    values = _values(plain(config) for config in evidence.study.configs(evidence.scale).values())
    return [(name, found[0]) for name, found in values.items() if len(found) == 1]


def _values(configs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each field's distinct values, among the configs that have it."""
    found: dict[str, list[str]] = {}
    for config in configs:
        for name, value in config.items():
            values = found.setdefault(name, [])
            if (text := _plainly(value)) not in values:
                values.append(text)
    return found


def _plainly(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plainly, value))
    return wording.exact(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _predictions(evidence: Evidence) -> list[dict[str, Any]]:
    rows = []
    for seed, said in sorted(evidence.predictions.items()):
        begun = [
            evidence.records[arm, seed].started for arm in evidence.study.foretold if (arm, seed) in evidence.records
        ]
        words = ", ".join(f"{name} {wording.number(value, 4)}" for name, value in said.measures.items())
        rows.append({"seed": seed, "words": words, "made": said.made[:19], "begun": min(begun, default="–")[:19]})
    return rows


def _costs(evidence: Evidence) -> list[tuple[str, int, Cost]]:
    arms = dict.fromkeys(arm for arm, _ in evidence.records)
    found = {arm: [record.cost for (of, _), record in evidence.records.items() if of == arm] for arm in arms}
    order = [arm for arm in evidence.study.arms if arm in found]
    return [(arm, len(found[arm]), sum(found[arm], Cost())) for arm in order]


def _where(records: Sequence[Record]) -> dict[str, str]:
    """Machine, libraries, commit and time; all of them, where trials ran in several places."""

    def each(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    def machine(record: Record) -> str:
        here = record.machine
        gpu = f", {here['gpu']}" if here["gpu"] else ""
        return f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']:.0f} GiB{gpu}, {here['system']}"

    return {
        "machine": each(machine(record) for record in records),
        "threads": each(str(record.threads) for record in records),
        "versions": each(", ".join(f"{name} {it}" for name, it in record.versions.items()) for record in records),
        "commit": each(record.commit for record in records),
        "when": f"{records[0].started[:16]} to {max(record.finished for record in records)[:16]} UTC".replace("T", " "),
    }


def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("maquette.lab")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    names = ("number", "exact", "interval", "region", "duration")
    environment.filters |= {name: getattr(wording, name) for name in names}
    return environment
