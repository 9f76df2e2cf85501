"""A study's records at one scale, read together: what verdicts, tables and reports are made from."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.records import Cost, Prediction, Record, Trace, read_record
from maquette.lab.artifacts import plain
from maquette.lab.claims import BySeed, Trials
from maquette.lab.derived import with_derived
from maquette.lab.registration import changes, registration
from maquette.lab.store import Store
from maquette.lab.study import PREDICTION, Scale, Study
from maquette.lab.verdicts import Judgement, Verdict, judge_study, study_verdict


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Records by arm and seed, predictions by seed, and the artifacts that the trials stood on.

    `trace` is the one taken before a deciding scale's trials ran; `beside` are seeds of which there are records too,
    which do not judge the study.
    """

    study: Study
    scale_name: str
    scale: Scale
    records: Mapping[tuple[str, int], Record]
    predictions: Mapping[int, Prediction]
    artifacts: Mapping[str, Record] = field(default_factory=dict)
    trace: Trace | None = None
    beside: tuple[int, ...] = ()
    directory: Path | None = None
    """Where the records lie, and what is derived from them."""

    def trials(self, seed: int) -> Trials:
        """What one seed's finished trials measured, and what was foretold."""
        found = {arm: record.measures for (arm, of), record in self.records.items() if of == seed}
        return found | ({PREDICTION: self.predictions[seed].measures} if seed in self.predictions else {})

    @functools.cached_property
    def by_seed(self) -> BySeed:
        """The seeds of which every trial is there, with derived arms."""
        arms = set(self.study.configs(self.scale))
        seeds = sorted({seed for _, seed in self.records})
        whole = [seed for seed in seeds if arms <= {arm for arm, of in self.records if of == seed}]
        return {seed: with_derived(self.study, self.trials(seed), self.directory) for seed in whole}

    @functools.cached_property
    def configs(self) -> dict[str, dict[str, Any]]:
        """Each arm's config in plain values: as its trials ran, or as the study has it where none did."""
        ran = {arm: dict(record.config) for (arm, _), record in self.records.items()}
        return {arm: ran.get(arm, plain(config)) for arm, config in self.study.configs(self.scale).items()}

    @functools.cached_property
    def judgements(self) -> list[Judgement]:
        """Every claim's verdict."""
        return judge_study(self.study, self.scale, self.by_seed)

    @functools.cached_property
    def changes(self) -> list[str] | None:
        """What counts as an answer today and did not before the trials ran; None where their records do not tell."""
        measured = self.trace.measures if self.trace else {}
        derived = with_derived(self.study, measured) if measured else {}
        return changes(self.trace, registration(self.study, measured, derived))

    @property
    def verdict(self) -> Verdict:
        """The study's verdict."""
        return study_verdict(self.study, self.scale, self.judgements)

    @property
    def costs(self) -> dict[tuple[str, str], Cost]:
        """Of each trial and of each artifact and stage that they stood on, by its name and key."""
        made = (*self.records.values(), *self.artifacts.values())
        stages = {("a stage", key): stage.cost for one in made for key, stage in one.stages.items()}
        return {(one.arm, one.key): one.cost for one in made} | stages

    @property
    def cost(self) -> Cost:
        """Of all trials together, and of what they stood on."""
        return sum(self.costs.values(), Cost())

    def as_json(self) -> dict[str, Any]:
        """The outcome in plain values."""
        return {
            "study": self.study.name,
            "scale": self.scale_name,
            "verdict": self.verdict,
            "seeds": len(self.by_seed),
            "claims": [judgement.as_json() for judgement in self.judgements],
            "changed_since": self.changes if self.scale.verdict else None,
            "cost": dataclasses.asdict(self.cost),
        }


def settings(study: Study, scale: Scale) -> dict[str, dict[str, Any]]:
    """By arm, what sets its trials apart from those of other bends: its config, and those of what it stands on.

    A trial that is foretold also stands on the arms that it is foretold from.
    """
    made = {name: plain(study.artifact_config(name, scale.changes)) for name in study.artifacts}
    found = {}
    for arm, config in study.configs(scale).items():
        on = {name: made[name] for name in study.artifacts_of(arm)}
        found[arm] = plain(config) | ({"artifacts": on} if on else {})
    basis = {arm: setting for arm, setting in found.items() if arm not in study.foretold}
    return {
        arm: setting | ({"foretold from": fingerprint(basis)} if arm in study.foretold else {})
        for arm, setting in found.items()
    }


def read_evidence(study: Study, scale_name: str, directory: Path) -> Evidence:
    """The records in `directory` (<records>/<study>/<scale>) of the seeds that a run would judge.

    Raises:
        UserError: there are none, or one was damaged.
    """
    scale, path = study.scale(scale_name), directory / "trace.json"
    judging = study.judging(scale)
    found = find_evidence(study, scale_name, scale, directory, seeds=judging)
    if found is None:
        which = f" with seeds {judging.start} to {judging.stop - 1}" if judging else ""
        command = f"maquette run {study.name} --scale {scale_name}"
        raise UserError(f"{directory} holds no records of {study.name!r}{which}; make some first: {command}")
    return dataclasses.replace(found, trace=read_record(path, Trace) if scale.verdict and path.exists() else None)


def cost_beside(study: Study, directory: Path, costs: Mapping[tuple[str, str], Cost]) -> Cost:
    """What of these costs, by name and key, the study's own laptop run in `directory` has not paid for already."""
    own = find_evidence(study, "laptop", study.scales.laptop, directory)
    return sum((cost for key, cost in costs.items() if own is None or key not in own.costs), Cost())


def find_evidence(
    study: Study,
    scale_name: str,
    scale: Scale,
    directory: Path,
    *,
    seeds: range | None = None,
    shared: bool = False,
) -> Evidence | None:
    """What `directory` holds of a scale, which may be a bend of the named one, and of these seeds; None for nothing.

    Raises:
        UserError: a record was damaged.
    """
    store = Store(directory=directory, study=study.name, shared=shared)
    known = settings(study, scale)
    there = [(arm, seed) for arm, setting in known.items() for seed in store.seeds(arm, setting)]
    said = {seed: found for _, seed in there if (found := store.prediction(seed, known))}
    # Bends that leave arms out share the trials of what is foretold: of one whose prediction failed they say nothing.
    there = [(arm, seed) for arm, seed in there if not shared or arm not in study.foretold or seed in said]
    records = {
        (arm, seed): record
        for arm, seed in there
        if (seeds is None or seed in seeds) and (record := store.trial(arm, seed, known[arm]))
    }
    if not records:
        return None
    found_seeds = {seed for _, seed in records}
    stands_on = {name for arm in known for name in study.artifacts_of(arm)}
    made = {name: store.artifact(name, plain(study.artifact_config(name, scale.changes))) for name in stands_on}
    return Evidence(
        study=study,
        scale_name=scale_name,
        scale=scale,
        records=records,
        predictions={seed: found for seed, found in said.items() if seed in found_seeds},
        artifacts={name: record for name, record in made.items() if record},
        beside=tuple(sorted({seed for _, seed in there} - found_seeds)) if seeds is not None else (),
        directory=directory,
    )
