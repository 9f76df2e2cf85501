"""A report's tables as data: what was compared, what came out, what it cost."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from maquette.core.records import Cost
from maquette.lab import wording
from maquette.lab.claims import Claim, Measures
from maquette.lab.evidence import Evidence
from maquette.lab.improvement import Improvement
from maquette.lab.study import Study
from maquette.lab.verdicts import AS_CONTROL, Judgement, Verdict

MOST = 6
"""Measures in one table, those that claims are about first."""

_AS_CHECK = {Verdict.REPRODUCED: "holds", Verdict.REFUTED: "fails", Verdict.NONE: ""}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row; what stands in the way of a claim is set below it, in grey."""

    cells: Sequence[str]
    kind: Literal["", "claim", "control", "total"] = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: its label to refer to, its caption, its head, and for each column l or r."""

    label: str
    caption: str
    head: Sequence[str]
    align: str
    rows: Sequence[Row] = field(default_factory=tuple)


def claim_name(study: Study, claim: Claim) -> str:
    """C1, C2, … in the study's order."""
    return f"C{list(study.claims).index(claim) + 1}"


def claims_table(evidence: Evidence) -> Table:
    """Claims with their effects and verdicts, and what must fail or hold beside each."""
    rows = [row for one in evidence.judgements for row in _claim(claim_name(evidence.study, one.claim), one)]
    caption = "The claims and what became of them. A control stands in for the arm and must fail."
    head = ("", "Claim", "Effect", "Interval", "Needed", "n", "Verdict")
    table = Table(label="tab:claims", caption=caption, head=head, align="llrrlrl", rows=rows)
    return table if any(one.test.interval for one in evidence.judgements) else without(table, "Interval")


def without(table: Table, column: str) -> Table:
    """A table less one of its columns."""
    place = table.head.index(column)

    def rest(cells: Sequence[str]) -> tuple[str, ...]:
        return (*cells[:place], *cells[place + 1 :])

    rows = [replace(row, cells=rest(row.cells)) for row in table.rows]
    return replace(table, head=rest(table.head), align="".join(rest(table.align)), rows=rows)


def _claim(name: str, one: Judgement) -> list[Row]:
    found, test = one.claim, one.test
    needed = wording.region(*found.region)
    numbers = (wording.number(test.effect), wording.interval(test.interval), needed, str(test.n), str(one.verdict))
    rows = [Row(cells=(name, found.text, *numbers), kind="claim")]
    for control in one.controls:
        numbers = (wording.number(control.effect), wording.interval(control.interval), "", str(control.n))
        words = f"control: {control.arm} in place of {found.arm}"
        rows.append(Row(cells=("", words, *numbers, AS_CONTROL[control.verdict]), kind="control"))
    for check in one.checks:
        needed = wording.region(*check.claim.region)
        numbers = (wording.number(check.test.effect), wording.interval(check.test.interval), needed, str(check.test.n))
        words = f"check: {check.claim.text}"
        rows.append(Row(cells=("", words, *numbers, _AS_CHECK.get(check.verdict, check.verdict)), kind="control"))
    return rows


def arm_tables(evidence: Evidence) -> list[Table]:
    """The fields in which the arms differ, a table for each kind of config."""
    found = []
    for number, (kind, configs) in enumerate(_kinds(evidence).items()):
        values = _values(configs.values())
        differ = [name for name, several in values.items() if len(several) > 1]
        fixed = ", ".join(f"{name} {several[0]}" for name, several in values.items() if len(several) == 1)
        which = f" configured by {kind}" if len(_kinds(evidence)) > 1 else ""
        caption = f"The arms{which} and where they differ." + (f" The same for all: {fixed}." if fixed else "")
        columns = [[config[name] for config in configs.values()] for name in differ]
        rows = [Row(cells=(arm, *(_plainly(config[name]) for name in differ))) for arm, config in configs.items()]
        align = "l" + "".join("r" if all(map(_is_number, column)) else "l" for column in columns)
        head = ("Arm", *(name.replace("_", " ") for name in differ))
        found.append(Table(label=_numbered("tab:arms", number), caption=caption, head=head, align=align, rows=rows))
    return found


def measure_tables(evidence: Evidence) -> list[Table]:
    """What the trials measured, a table for each kind of config."""
    found = []
    for number, configs in enumerate(_kinds(evidence).values()):
        seeds = {arm: [record.measures for (of, _), record in evidence.records.items() if of == arm] for arm in configs}
        there = list(dict.fromkeys(name for several in seeds.values() for one in several for name in one))
        claimed = {claim.measure for claim in evidence.study.claims}
        shown = sorted(there, key=lambda name: name not in claimed)[:MOST]
        rows = [
            Row(cells=(arm, *(spread([one[name] for one in of if name in one]) for name in shown), str(len(of))))
            for arm, of in seeds.items()
        ]
        caption = "What the trials measured: mean ± standard deviation over seeds."
        if left := len(there) - len(shown):
            caption += f" {left} more {'measure lies' if left == 1 else 'measures lie'} in the records."
        head, align = ("Arm", *(name.replace("_", " ") for name in shown), "n"), "l" + "r" * len(shown) + "r"
        found.append(Table(label=_numbered("tab:measures", number), caption=caption, head=head, align=align, rows=rows))
    return found


def derived_table(evidence: Evidence) -> Table | None:
    """What `analyse` and `foretell` added, or None for nothing."""
    known = {arm for arm, _ in evidence.records}
    extra: dict[str, list[Measures]] = {}
    for trials in evidence.by_seed.values():
        for arm, measures in trials.items():
            if arm not in known:
                extra.setdefault(arm, []).append(measures)
    rows = [
        Row(cells=(arm, name.replace("_", " "), spread([one[name] for one in found if name in one])))
        for arm, found in extra.items()
        for name in dict.fromkeys(name for one in found for name in one)
    ]
    caption = "Derived from the trials of each seed: mean ± standard deviation over seeds."
    head = ("Of", "Measure", "Value")
    return Table(label="tab:derived", caption=caption, head=head, align="llr", rows=rows) if rows else None


def foretold_table(evidence: Evidence) -> Table | None:
    """What was foretold and when, or None for nothing."""
    rows = []
    for seed, said in sorted(evidence.predictions.items()):
        begun = [
            evidence.records[arm, seed].started for arm in evidence.study.foretold if (arm, seed) in evidence.records
        ]
        told = ", ".join(f"{name} {wording.number(value, 4)}" for name, value in said.measures.items())
        times = (said.made[:19].replace("T", " "), min(begun, default="–")[:19].replace("T", " "))
        rows.append(Row(cells=(str(seed), told, *times)))
    arms = ", ".join(evidence.study.foretold)
    caption = f"Foretold: on disk before the trials it speaks of ({arms}) began. Their records carry its fingerprint."
    head = ("Seed", "Prediction", "Written (UTC)", "First trial began (UTC)")
    return Table(label="tab:foretold", caption=caption, head=head, align="rlll", rows=rows) if rows else None


def gain_table(found: Improvement | None, first_seed: int) -> Table | None:
    """The judging seeds with and without the best candidate, or None where it came to no judging."""
    if found is None or not found.base:
        return None
    sign = 1 if found.search.direction == "higher" else -1
    pairs = list(zip(found.base, found.improved, strict=True))
    rows = [
        Row(cells=(str(seed), *map(wording.number, (old, new, sign * (new - old)))))
        for seed, (old, new) in enumerate(pairs, first_seed)
    ]
    caption = f"{found.search.measure} of {found.search.arm} on each of the seeds that judge, paired."
    head = ("Seed", "As it stands", "Improved", "Gain")
    return Table(label="tab:improvement", caption=caption, head=head, align="rrrr", rows=rows)


def cost_table(evidence: Evidence, more: Mapping[str, Cost]) -> Table:
    """Cost by arm; apart, the artifacts that they stand on and what else was run; and the sum."""
    arms = {
        arm: [one.whole_cost for (of, _), one in evidence.records.items() if of == arm] for arm in evidence.study.arms
    }
    rows = [_cost(arm, sum(costs, Cost()), len(costs)) for arm, costs in arms.items() if costs]
    rows += [_cost(f"artifact: {name}", record.cost) for name, record in evidence.artifacts.items()]
    rows += [_cost(name, cost) for name, cost in more.items()]
    total = sum((evidence.cost, *more.values()), Cost())
    rows.append(_cost("all", total, len(evidence.records) if not more else None, kind="total"))
    caption = "Cost. FLOPs and tokens as trials counted them; times are sums over trials, which may have overlapped."
    if any(one.stages for one in evidence.records.values()):
        caption += " What several trials share, a training say, is part of each one's cost and counts once in the sum."
    head = ("", "Trials", "FLOPs", "Tokens", "Wall time", "CPU time")
    return Table(label="tab:cost", caption=caption, head=head, align="lrrrrr", rows=rows)


def _cost(name: str, cost: Cost, trials: int | None = None, kind: Literal["", "total"] = "") -> Row:
    amounts = (wording.number(cost.flops), wording.number(cost.tokens))
    times = (wording.duration(cost.wall_seconds), wording.duration(cost.cpu_seconds))
    return Row(cells=(name, "" if trials is None else str(trials), *amounts, *times), kind=kind)


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds, a lone value or a constant as it is."""
    if not values:
        return "–"
    mean = wording.number(statistics.fmean(values), 4)
    return f"{mean} ± {wording.number(statistics.stdev(values), 2)}" if min(values) < max(values) else mean


def _kinds(evidence: Evidence) -> dict[str, dict[str, dict[str, Any]]]:
    """The arms' configs in plain values, by the name of their class."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for arm, config in evidence.study.configs(evidence.scale).items():
        found.setdefault(type(config).__name__, {})[arm] = evidence.configs[arm]
    return found


def _values(configs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each field's distinct values."""
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
    return wording.exact(value) if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbered(label: str, number: int) -> str:
    return f"{label}-{number + 1}" if number else label
