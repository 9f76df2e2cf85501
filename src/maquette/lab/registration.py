"""Registration: what would count as an answer, kept in the trace before trials run that decide, and held against today.

Claims are no part of a trial's key, so that a claim may be mended without running anything again. That is why the
records have to tell when one was.
"""

import dataclasses
from collections.abc import Iterator, Mapping

from maquette.core.records import Trace
from maquette.lab.claims import Claim, Trials
from maquette.lab.study import Study

Facts = dict[str, dict[str, str]]
"""What decides, in plain words: by claim, plan, scale and derived arm, the value of each of its fields."""
ASIDE = ("paper", "contested", "checks")
"""Fields of a claim that decide nothing, and its checks, which have facts of their own."""


def registration(study: Study, measured: Trials, derived: Trials) -> Facts:
    """Claims with their regions, controls and checks, the seeds, and what `analyse` makes of what smoke measured.

    `derived` are those measures together with the arms that `analyse` added or changed.
    """
    facts: Facts = {}
    for number, claim in enumerate(study.claims, 1):
        facts |= dict(_of_claim(f"C{number}", claim))
    facts["plan"] = {"seeds": str(study.plan.seeds), "first_seed": str(study.plan.first_seed)}
    facts |= {f"{name} scale": {"seeds": str(scale.seeds)} for name, scale in study.scales if scale.verdict}
    for arm, measures in derived.items():
        if measured.get(arm) != measures:
            facts[f"analyse, {arm}"] = {name: f"{value:.4g}" for name, value in measures.items()}
    return facts


def _of_claim(name: str, claim: Claim) -> Iterator[tuple[str, dict[str, str]]]:
    fields = [field.name for field in dataclasses.fields(claim) if field.name not in (*ASIDE, "control")]
    facts = {"kind": type(claim).__name__} | {field: str(getattr(claim, field)) for field in fields}
    yield name, facts | {"control": ", ".join(claim.controls) or "none"}
    for number, check in enumerate(claim.checks, 1):
        yield from _of_claim(f"{name}, check {number}", check)


def changes(trace: Trace | None, today: Mapping[str, Mapping[str, str]]) -> list[str] | None:
    """What has changed since the trials began, a sentence's part each; None where no record holds how it was."""
    if trace is None or trace.registered is None:
        return None
    then = _as_numbered_today(trace.registered, today)
    first = [] if _compares(trace.registered["C1"]) == _compares(today["C1"]) else ["the first claim is another"]
    gone = [f"{name} is gone" for name in then if name not in today]
    new = [f"{name} is new" for name in today if name not in then]
    return (
        first + gone + new + [part for name in then if name in today for part in _moved(name, then[name], today[name])]
    )


def _as_numbered_today(
    then: Mapping[str, Mapping[str, str]], today: Mapping[str, Mapping[str, str]]
) -> dict[str, Mapping[str, str]]:
    """With each claim under the number that the one on the same comparison has now: others may stand before it."""
    numbers = {_compares(facts): name for name, facts in today.items() if _is_claim(name)}
    places = {name: numbers.get(_compares(facts), name) for name, facts in then.items() if _is_claim(name)}
    if len({*places.values()}) < len(places):  # two claims on one comparison: as they stood
        return dict(then)
    claim = {name: name.partition(",")[0] for name in then}
    return {name.replace(claim[name], places.get(claim[name], claim[name]), 1): facts for name, facts in then.items()}


def _is_claim(name: str) -> bool:
    return name.startswith("C") and name[1:].isdigit()


def _compares(facts: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(facts.get(field) for field in ("kind", "measure", "arm", "than"))


def _moved(name: str, then: Mapping[str, str], today: Mapping[str, str]) -> Iterator[str]:
    for field in {**then, **today}:
        was, is_now = then.get(field, "not there"), today.get(field, "not there")
        if was != is_now:
            yield f"{name}: {field} was {was}, is {is_now}"
