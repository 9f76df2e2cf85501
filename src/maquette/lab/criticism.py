"""Criticism: the study again along axes on which the world is bent, and where its claims break."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError, did_you_mean
from maquette.core.records import Cost
from maquette.core.statistics import Interval
from maquette.lab.bending import Axis, Bend, Critique, Value
from maquette.lab.campaign import SCRATCH, Campaign, Failure, places_for, refuse, workshop
from maquette.lab.claims import Claim
from maquette.lab.evidence import Evidence, cost_beside, find_evidence
from maquette.lab.rehearsal import rehearse
from maquette.lab.study import Study, load_study
from maquette.lab.terminal import Display
from maquette.lab.verdicts import Verdict, weigh

BASE = "laptop"
"""The scale that is bent."""
POINTWISE = 0.95
"""Confidence of each reading's interval by itself: a curve shows where to look, it decides nothing."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A claim's effect at one place on an axis, with a pointwise 95 % interval."""

    label: Value
    interval: Interval
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One claim along one axis."""

    axis: Axis
    claim: Claim
    unbent: Reading
    """The study as it stands; its label is the axis's value there, where there is one."""
    readings: tuple[Reading, ...]

    @property
    def breaks_at(self) -> tuple[Value, ...]:
        """Labels at which the claim holds no longer, nearest to the study as it stands first; none if it never held."""
        if self.unbent.verdict is not Verdict.REPRODUCED:
            return ()
        broken = [one.label for one in self.readings if one.verdict is not Verdict.REPRODUCED]
        return tuple(sorted(broken, key=self._distance))

    def _distance(self, label: Value) -> float:
        here = self.unbent.label
        if not isinstance(label, int | float) or not isinstance(here, int | float):
            return 0.0
        return abs(math.log(label / here)) if self.axis.log and label > 0 < here else abs(label - here)


@dataclass(frozen=True, kw_only=True)
class Criticism:
    """What bending has shown so far, from `seeds` seeds a point, with `changes` made to the laptop scale."""

    seeds: int
    curves: tuple[Curve, ...]
    cost: Cost
    """Beyond the study's own."""
    changes: Mapping[str, Any]
    failures: tuple[Failure, ...] = ()
    evidence: Evidence | None = field(default=None, compare=False, repr=False)
    """The records of the study as it stands, with those changes."""


def criticise(
    reference: str,
    display: Display,
    *,
    axes: Sequence[str] = (),
    records: Path = Path("runs"),
    jobs: int = 1,
    scratch: Path = SCRATCH,
) -> Criticism:
    """Run what is missing of a study's critique, along the named axes or all of them.

    Raises:
        UserError: the study offers no critique or no such axis, a damaged record, a full disk.
    """
    study = load_study(reference)
    critique = _critique(study)
    chosen = axes_named(critique, axes)
    directory = records / study.name / BASE
    places = places_for(directory / "critique", scratch, study.name, "critique", also=directory)
    bends: list[tuple[str, Bend | None]] = [("as it stands", None)]
    bends += [(f"{axis.name} = {bend.label}", bend) for axis in chosen for bend in axis.bends]
    failures: list[Failure] = []
    with workshop(study, reference, jobs, places, display) as pool:
        rehearse(study, reference, places, pool, display)
        for number, (text, bend) in enumerate(bends, 1):
            scale = critique.scale(study.scales.laptop, tuple(study.arms), bend)
            campaign = Campaign(study, BASE, scale, places, pool, display)
            campaign.run(_seeds(study, critique))
            failures += campaign.failures
            display.say(f"{number} of {len(bends)}: {text}, {campaign.ran} trials run")
    found = read_criticism(study, directory, axes)
    if found is None:
        refuse(failures)
    assert found is not None
    return replace(found, failures=tuple(failures))


def axes_named(critique: Critique, names: Sequence[str]) -> list[Axis]:
    """The axes of these names, all of them for none.

    Raises:
        UserError: there is no such axis.
    """
    known = {axis.name: axis for axis in critique.axes}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"There is no axis {unknown[0]!r}; {did_you_mean(unknown[0], known)}")
    return [known[name] for name in names] or list(known.values())


def read_criticism(study: Study, directory: Path, axes: Sequence[str] = ()) -> Criticism | None:
    """What records in `directory` (<records>/<study>/laptop) say along the axes; None without the unbent point.

    Raises:
        UserError: a record was damaged, or there is no such axis.
    """
    if study.critique is None:
        return None
    critique, cost = study.critique, {}
    unbent = _evidence(study, critique, directory, None, cost)
    if unbent is None:
        return None
    curves = []
    for axis in axes_named(critique, axes):
        points = [(bend, _evidence(study, critique, directory, bend, cost)) for bend in axis.bends]
        there = [(bend, evidence) for bend, evidence in points if evidence]
        bent = any(_ran(evidence) != _ran(unbent) for _, evidence in there)  # else nobody has gone along it yet
        for claim in study.claims if bent else ():
            base = _reading(claim, _standing(study, unbent, axis), unbent)
            readings = tuple(filter(None, [_reading(claim, bend.label, evidence) for bend, evidence in there]))
            if base and readings:
                curves.append(Curve(axis=axis, claim=claim, unbent=base, readings=readings))
    total = cost_beside(study, directory, cost)
    return Criticism(seeds=critique.seeds, curves=tuple(curves), cost=total, changes=critique.changes, evidence=unbent)


def _ran(evidence: Evidence) -> tuple[dict[tuple[str, int], Any], dict[str, Any]]:
    """The settings of its trials, and of what they stood on."""
    configs = {at: record.config for at, record in evidence.records.items()}
    return configs, {name: record.config for name, record in evidence.artifacts.items()}


def _critique(study: Study) -> Critique:
    if study.critique is None:
        raise UserError(f"{study.name} offers no critique; give its Study critique=Critique(axes=[Axis.over(...)]).")
    return study.critique


def _evidence(
    study: Study, critique: Critique, directory: Path, bend: Bend | None, cost: dict[tuple[str, str], Cost]
) -> Evidence | None:
    """The whole seeds of one point, or None; adds the cost of each trial once, by its key."""
    scale = critique.scale(study.scales.laptop, tuple(study.arms), bend)
    found = find_evidence(study, BASE, scale, directory / "critique", seeds=_seeds(study, critique), shared=True)
    if found is None or len(found.by_seed) < 2:
        return None
    cost.update(found.costs)
    return found


def _seeds(study: Study, critique: Critique) -> range:
    return range(study.plan.first_seed, study.plan.first_seed + critique.seeds)


def _standing(study: Study, unbent: Evidence, axis: Axis) -> Value:
    """The value that the study as it stands has on an axis, if all arms that are bent agree on one."""
    fields = {name for bend in axis.bends for name in bend.changes}
    bent = {arm for bend in axis.bends for arm in bend.arms or study.arms}
    configs = [config for arm, config in study.configs(unbent.scale).items() if arm in bent]
    configs += [study.artifact_config(name, unbent.scale.changes) for name in unbent.artifacts]
    values = {getattr(config, name) for config in configs for name in fields if hasattr(config, name)}
    return next(iter(values)) if len(fields) == len(values) == 1 else "as it stands"


def _reading(claim: Claim, label: Value, evidence: Evidence) -> Reading | None:
    """None for a claim about arms that were left out."""
    seeds = list(evidence.by_seed.values())
    named = [arm for one in (claim, *claim.checks) for arm in (one.arm, *one.others)]
    if any(arm not in seeds[0] for arm in (*named, *claim.controls)):
        return None
    judged = weigh(claim, seeds, POINTWISE)
    assert judged.test.interval is not None
    return Reading(label=label, interval=judged.test.interval, verdict=judged.verdict)


def curves_by_axis(criticism: Criticism) -> Iterator[tuple[Axis, list[Curve]]]:
    """The curves of each axis together, in the study's order."""
    for name in dict.fromkeys(curve.axis.name for curve in criticism.curves):
        curves = [curve for curve in criticism.curves if curve.axis.name == name]
        yield curves[0].axis, curves


def as_json(criticism: Criticism) -> dict[str, Any]:
    """The curves in plain values."""
    return {
        "seeds": criticism.seeds,
        "changes": dict(criticism.changes),
        "cost": asdict(criticism.cost),
        "axes": [
            {
                "axis": curve.axis.name,
                "claim": curve.claim.text,
                "unbent": asdict(curve.unbent),
                "readings": [asdict(one) for one in curve.readings],
                "breaks_at": list(curve.breaks_at),
            }
            for curve in criticism.curves
        ],
    }
