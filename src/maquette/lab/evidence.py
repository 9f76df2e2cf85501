"""A study's records at one scale, read together: what verdicts, tables and reports are made from."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.records import Cost, Prediction, Record, read_record
from maquette.lab.claims import BySeed, Trials
from maquette.lab.study import PREDICTION, Scale, Study
from maquette.lab.verdicts import Judgement, Verdict, judge_study, study_verdict


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Records by arm and seed, predictions by seed."""

    study: Study
    scale_name: str
    records: Mapping[tuple[str, int], Record]
    predictions: Mapping[int, Prediction]

    @property
    def scale(self) -> Scale:
        """The scale the records were made at."""
        return self.study.scale(self.scale_name)

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
        return {seed: self.study.trials_of(self.trials(seed)) for seed in whole}

    @functools.cached_property
    def judgements(self) -> list[Judgement]:
        """Every claim's verdict."""
        return judge_study(self.study, self.scale, self.by_seed)

    @property
    def verdict(self) -> Verdict:
        """The study's verdict."""
        return study_verdict(self.study, self.scale, self.judgements)

    @property
    def cost(self) -> Cost:
        """Of all trials together."""
        return sum((record.cost for record in self.records.values()), Cost())

    def as_json(self) -> dict[str, Any]:
        """The outcome in plain values."""
        return {
            "study": self.study.name,
            "scale": self.scale_name,
            "verdict": self.verdict,
            "seeds": len(self.by_seed),
            "claims": [judgement.as_json() for judgement in self.judgements],
            "cost": dataclasses.asdict(self.cost),
        }


def plain(config: Any) -> dict[str, Any]:
    """A config as JSON has it."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def record_path(directory: Path, arm: str, seed: int) -> Path:
    """Where a trial's record lies."""
    return directory / "trials" / f"{arm}.{seed}.json"


def read_trial(directory: Path, study: str, arm: str, seed: int) -> Record | None:
    """A trial's record, or None when there is none yet.

    Raises:
        UserError: the file was damaged, or is another trial's.
    """
    path = record_path(directory, arm, seed)
    if not path.exists():
        return None
    record = read_record(path, Record)
    if (record.study, record.arm, record.seed) != (study, arm, seed):
        raise UserError(f"{path} records {record.study} {record.arm}, seed {record.seed}; delete it and run again.")
    return record


def read_prediction(directory: Path, seed: int) -> Prediction | None:
    """A seed's prediction, or None when none was made."""
    path = directory / "predictions" / f"{seed}.json"
    return read_record(path, Prediction) if path.exists() else None


def read_evidence(study: Study, scale_name: str, directory: Path) -> Evidence:
    """All records of a study in `directory` (<records>/<study>/<scale>).

    Raises:
        UserError: there are none, or one was damaged.
    """
    arms, records = study.configs(study.scale(scale_name)), {}
    for path in sorted(directory.glob("trials/*.json")):
        arm, _, seed = path.stem.rpartition(".")
        if arm in arms and seed.isdecimal() and (record := read_trial(directory, study.name, arm, int(seed))):
            records[arm, record.seed] = record
    if not records:
        command = f"maquette run {study.name} --scale {scale_name}"
        raise UserError(f"{directory} holds no records of {study.name!r}; make some first: {command}")
    seeds = {seed for _, seed in records}
    predictions = {seed: found for seed in seeds if (found := read_prediction(directory, seed))}
    return Evidence(study=study, scale_name=scale_name, records=records, predictions=predictions)
