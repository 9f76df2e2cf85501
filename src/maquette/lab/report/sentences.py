"""A report's sentences, in Markdown: what was asked, how it was judged, what came out."""

import inspect
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from maquette.core.english import listed
from maquette.core.records import Made, Record
from maquette.core.statistics import Interval
from maquette.lab import wording
from maquette.lab.bending import Value
from maquette.lab.caveats import beside, registered
from maquette.lab.criticism import Criticism, Curve
from maquette.lab.evidence import Evidence
from maquette.lab.improvement import Improvement
from maquette.lab.improvement import in_words as improvement_in_words
from maquette.lab.report.bending_figures import spelt
from maquette.lab.report.prose import literal
from maquette.lab.report.tables import claim_name
from maquette.lab.study import Study
from maquette.lab.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the report refers to as `@ref:…`."""

    label: str
    text: str
    url: str


HOLM = Source(
    label="ref:holm",
    text="Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 1979.",
    url="https://www.jstor.org/stable/4615733",
)
LAN_DEMETS = Source(
    label="ref:lan-demets",
    text="Lan and DeMets. Discrete sequential boundaries for clinical trials. Biometrika 70, 1983.",
    url="https://doi.org/10.1093/biomet/70.3.659",
)
TPE = Source(
    label="ref:tpe",
    text="Bergstra et al. Algorithms for hyper-parameter optimization. NeurIPS 2011.",
    url="https://papers.nips.cc/paper/2011/hash/86e8f7ab32cfd12577bc2619bc635690-Abstract.html",
)


def sources(evidence: Evidence, improvement: Improvement | None) -> list[Source]:
    """The paper, and what the statistics and the search rest on."""
    paper = evidence.study.paper
    words = f"{paper.authors.rstrip('.')}. {paper.title.rstrip('.')}. {paper.venue} {paper.year}."
    found = [Source(label="ref:paper", text=words, url=paper.url)]
    if statistics(evidence):
        found += [HOLM, LAN_DEMETS] if len(evidence.study.claims) > 1 else [LAN_DEMETS]
    return [*found, TPE] if improvement else found


def summary(evidence: Evidence) -> str:
    """One sentence on how much was run, at what cost."""
    seeds, trials, cost = len(evidence.by_seed), len(evidence.records), evidence.cost
    spent = f", {wording.number(cost.flops)} FLOPs" if cost.flops else ""
    machine = next(iter(evidence.records.values())).machine
    device = machine["gpu"] or f"{machine['cores']} CPU cores"
    much = f"{trials} trials over {counted(seeds, 'seed')}"
    return f"{much}{spent}, {wording.duration(cost.wall_seconds)} of trials on {device}."


def where_run(records: Sequence[Record]) -> dict[str, str]:
    """Machine, libraries, commit and time; all of them, where trials ran in several places."""

    def each(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    def machine(one: Made) -> str:
        here = one.machine
        gpu = f", {here['gpu']}" if here["gpu"] else ""
        return f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']:.0f} GiB{gpu}, {here['system']}"

    made = [*records, *(stage for record in records for stage in record.stages.values())]
    threads = each(str(one.threads) for one in made)
    began, ended = (
        time.replace("T", " ") for time in (min(one.started for one in made), max(one.finished for one in made))
    )
    return {
        "Machine": f"{each(machine(one) for one in made)}; threads a trial: {threads}",
        "Versions": each(", ".join(f"{name} {it}" for name, it in one.versions.items()) for one in made),
        "Commit": each(one.commit for one in made),
        "Run": f"{began[:16]} to {ended[:16]} (UTC)",
    }


def cost(evidence: Evidence, criticism: Criticism | None, improvement: Improvement | None) -> str:
    """What all of it took."""
    parts = {"the criticism": criticism, "the improvement": improvement}
    more = [
        f"{name} {literal(wording.number(one.cost.flops))} FLOPs in {wording.duration(one.cost.wall_seconds)} of trials"
        for name, one in parts.items()
        if one
    ]
    return literal(summary(evidence)) + (f" On top came {listed(more)}." if more else "")


def counted(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def abstract(evidence: Evidence, criticism: Criticism | None, improvement: Improvement | None) -> str:
    """The paper's number, the verdict, where it breaks, what improves it, and the cost, in one paragraph."""
    paper = evidence.study.paper
    said = [f"A small reproduction of {literal(paper.authors)} ({paper.year}) @ref:paper."]
    said.append(f"The paper reports: {_sentence(paper.reports)}")
    said += _answer(evidence)
    if criticism:
        said += _broken(criticism, evidence.study)
    if improvement:
        said += _gained(improvement)
    return " ".join([*said, f"It took {literal(summary(evidence))}"])


def _answer(evidence: Evidence) -> list[str]:
    if not evidence.judgements:
        return ["No claim can be judged from the records there are."]
    first, claim = evidence.judgements[0], evidence.judgements[0].claim
    effect = f"its effect is {wording.number(first.test.effect)}"
    if found := first.test.interval:
        effect += f", {confidence(found)} interval {literal(wording.interval(found))}"
    where = f"at {evidence.scale_name} scale, over {counted(first.test.n, 'seed')}"
    needed = f"it has to lie {literal(in_words(*claim.region))}"
    text = f"“{literal(claim.text.rstrip('.'))}”"
    if not evidence.scale.verdict:
        return [f"The first claim, {text}, is shown {where}, which decides nothing: {effect}; {needed}."]
    said = [f"The first claim, {text}, is **{first.verdict}** {where}: {effect}; {needed} (@tab:claims)."]
    return said + ([of_all_claims(evidence)] if len(evidence.judgements) > 1 else [])


def of_all_claims(evidence: Evidence) -> str:
    """How many are reproduced, refuted and so on."""
    counts = Counter(one.verdict for one in evidence.judgements)
    many = listed([f"{many} {_is(many)} {verdict}" for verdict, many in counts.items()])
    return f"Of all {counts.total()} claims, {many}."


def _broken(criticism: Criticism, study: Study) -> list[str]:
    curves = [curve for curve in criticism.curves if curve.claim == study.claims[0]]
    if not curves:
        return []
    if curves[0].unbent.verdict is not Verdict.REPRODUCED:
        seeds = counted(criticism.seeds, "seed")
        return [
            f"With the {seeds} a point of its criticism, it is {curves[0].unbent.verdict} even unbent (@sec:criticism)."
        ]
    broken = [literal(curve.axis.name) for curve in curves if curve.breaks_at]
    bent = f"Bent along {listed([literal(curve.axis.name) for curve in curves])}"
    if not broken:
        return [f"{bent}, it is reproduced everywhere (@sec:criticism)."]
    where = "" if len(curves) == 1 else " along each" if len(broken) == len(curves) else f" along {listed(broken)}"
    return [f"{bent}, it ceases to be reproduced{where} (@sec:criticism)."]


def _gained(found: Improvement) -> list[str]:
    what = f"{literal(found.search.measure.replace('_', ' '))} of {literal(found.search.arm)}"
    if found.interval is None:
        return (
            []
            if found.best and found.best.number
            else [f"A search found nothing better for the {what} (@sec:improvement)."]
        )
    gain = f"{wording.number(found.interval.mean)} {literal(wording.interval(found.interval))}"
    said = {
        Verdict.REPRODUCED: f"A search improves the {what} by {gain}",
        Verdict.REFUTED: f"A search does not improve the {what} by the {found.search.by:g} it asks for: {gain}",
    }.get(found.verdict, f"Whether a search improves the {what} stays undecided: {gain}")
    return [f"{said} (@sec:improvement)."]


def introduction(evidence: Evidence) -> str:
    """The paper, its number, what is asked of it, and what the records prove of when."""
    study, paper = evidence.study, evidence.study.paper
    return (
        f"[{literal(paper.title)}]({paper.url}) ({literal(paper.authors)}, {literal(paper.venue)} "
        f"{paper.year}) @ref:paper reports: {_sentence(paper.reports)} This study asks: *{_sentence(study.question)}* "
        f"{literal(registered(evidence))}:"
    )


def results(evidence: Evidence) -> str:
    """What became of the claims."""
    if not evidence.judgements:
        return "No claim can be judged from the records there are."
    shown = "@tab:claims gives the claims with their effects and controls, and @fig:forest draws them."
    shown = " ".join([shown, *map(literal, beside(evidence))])
    if not evidence.scale.verdict:
        return shown
    return f"The study's verdict is that of its first claim: **{evidence.verdict}**. {shown}"


def aside(evidence: Evidence) -> str:
    """What a scale that decides nothing owns up to."""
    if evidence.scale.verdict:
        return ""
    seeds = counted(evidence.scale.seeds, "seed")
    return f"The {evidence.scale_name} scale tells the story with {seeds}; it decides nothing."


def method(study: Study) -> str:
    """The docstring of the study's own file, less its title."""
    text = inspect.getdoc(inspect.getmodule(study.trial)) or ""
    title, _, rest = text.partition("\n\n")
    return rest or title


def planned(study: Study) -> str:
    """What a pilot said, and the plan made from it."""
    return f"**Plan.** {_sentence(study.plan.text)} {budget(study)}"


def budget(study: Study) -> str:
    """Seeds and cost as planned."""
    plan = study.plan
    return (
        f"Planned: {counted(plan.seeds, 'seed')}, to detect {literal(wording.exact(plan.detects))}, with "
        f"{literal(wording.number(plan.flops))} FLOPs in {wording.duration(3600 * plan.hours)}."
    )


def statistics(evidence: Evidence) -> str:
    """How effects became verdicts; nothing where no interval was reached."""
    intervals = [one.test.interval for one in evidence.judgements if one.test.interval]
    if not intervals:
        return ""
    lowest, highest = (pick(intervals, key=lambda one: one.confidence) for pick in (min, max))
    between = {confidence(lowest): None, confidence(highest): None}
    many = len(evidence.study.claims)
    claims = f"for the study's {many} claims @ref:holm and " if many > 1 else ""
    return (
        "**Verdicts.** An effect is measured once a seed, on arms that share it. The confidence of its interval is "
        f"{' to '.join(between)}: corrected {claims}for looks at up to three sample sizes @ref:lan-demets, so that all "
        "together hold with 95 %. "
        "A claim is *reproduced* when its interval lies inside what is needed and that of every control outside; "
        "*refuted* when it lies outside; otherwise *undecided*. A control that passes makes the claim *unsound*. "
        "`docs/statistics.md` gives the methods and their sources."
    )


def criticised(criticism: Criticism) -> str:
    """How the world was bent."""
    changes = listed([literal(f"{name} {value}") for name, value in criticism.changes.items()])
    cheaper = f", with {changes}" if changes else ""
    return (
        f"The study was run again with the world bent, {counted(criticism.seeds, 'seed')} a point{cheaper}. "
        "Bands are 95 % intervals of each point by itself: a curve shows where to look, it decides nothing."
    )


def headline(study: Study, curve: Curve) -> str:
    """A curve's fate as the title of a page, in plain words."""
    standing = curve.unbent.verdict
    fate = finding(curve) if standing is Verdict.REPRODUCED else f"{standing} even as it stands"
    return f"Along {curve.axis.name}, {claim_name(study, curve.claim)} is {fate}"


def findings(study: Study, curves: Sequence[Curve]) -> str:
    """Where claims break along one axis, those with the same fate together."""
    fates: dict[str, list[str]] = {}
    for curve in curves:
        fates.setdefault(finding(curve), []).append(claim_name(study, curve.claim))
    return "\n".join(f"- {listed(names)}: {literal(fate)}." for fate, names in fates.items())


def finding(curve: Curve) -> str:
    """Where a claim breaks along an axis, in plain words."""
    if curve.unbent.verdict is not Verdict.REPRODUCED:
        why = "at this scale" if curve.unbent.verdict is Verdict.REFUTED else "with so few seeds"
        standing = f"{curve.unbent.verdict} even as it stands, {why}"
        better = {Verdict.REPRODUCED, Verdict.UNDECIDED} - {curve.unbent.verdict}
        mended = _by_verdict({one.label: one.verdict for one in curve.readings if one.verdict in better})
        return f"{standing}; {mended}" if mended else f"{standing}, so that nothing can be seen to break it"
    if not curve.breaks_at:
        seen, of = len(curve.readings), len(curve.axis.bends)
        return "reproduced at every place" if seen == of else f"reproduced at the {seen} of {of} places seen so far"
    found = {one.label: one.verdict for one in curve.readings}
    return _by_verdict({label: found[label] for label in curve.breaks_at})


def _by_verdict(found: Mapping[Value, Verdict]) -> str:
    """Places on an axis, those of one verdict together."""
    places: dict[Verdict, list[str]] = {}
    for label, verdict in found.items():
        places.setdefault(verdict, []).append(spelt(label))
    return "; ".join(f"{verdict} at {listed(those)}" for verdict, those in places.items())


def gained(found: Improvement) -> str:
    """What came of the search as the title of a page."""
    measure = found.search.measure.replace("_", " ")
    if found.interval is None:
        return "The search, not judged yet" if found.best and found.best.number else "The search found nothing better"
    said = {Verdict.REPRODUCED: f"Tuning improves the {measure}", Verdict.REFUTED: f"Tuning hardly moves the {measure}"}
    return said.get(found.verdict, f"Whether tuning improves the {measure} is undecided")


def improved(found: Improvement) -> str:
    """What was searched for, and what came of it."""
    search = found.search
    over = listed([f"`{name}`" for name in search.over])
    how = f"Searched by a tree of Parzen estimators @ref:tpe over {over}, at equal cost."
    return f"*{_sentence(search.question)}* {how} {literal(improvement_in_words(found))}"


def limits(evidence: Evidence) -> str:
    """What an answer at this scale does not show."""
    own = _sentence(evidence.scale.limits or "This is a small model of a large system.")
    return (
        f"{own} *Reproduced* means: on this data, at this size, with these seeds, the effect is there and the control "
        "is not. It does not say that the paper's own numbers would come out again at the paper's own size."
    )


def in_words(low: float, high: float) -> str:
    """A region as the end of a sentence."""
    bounded = math.isfinite(low) and math.isfinite(high) and low != -high
    return f"between {wording.exact(low)} and {wording.exact(high)}" if bounded else wording.region(low, high)


def confidence(found: Interval) -> str:
    """An interval's confidence in per cent."""
    return f"{wording.exact(round(100 * found.confidence, 2))} %"


def _is(many: int) -> str:
    return "is" if many == 1 else "are"


def _sentence(text: str) -> str:
    return literal(text if text.rstrip().endswith((".", "!", "?")) else f"{text}.")
