"""Where a study's records lie: one file a trial, one a prediction, one an artifact."""

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.records import Prediction, Record, read_record, write_record


@dataclass(frozen=True, kw_only=True)
class Store:
    """The folder of one scale; or, `shared`, of many bends of one, whose files bear their settings' fingerprints.

    A trial's setting is all that sets it apart from other bends, in plain values: see `evidence.settings`.
    """

    directory: Path
    study: str
    shared: bool = False

    def trial_path(self, arm: str, seed: int, setting: Mapping[str, Any]) -> Path:
        """Where a trial's record lies."""
        tag = f".{fingerprint(setting, 8)}" if self.shared else ""
        return self.directory / "trials" / f"{arm}.{seed}{tag}.json"

    def trial(self, arm: str, seed: int, setting: Mapping[str, Any]) -> Record | None:
        """A trial's record, or None when there is none yet.

        Raises:
            UserError: the file was damaged, or is another trial's.
        """
        path = self.trial_path(arm, seed, setting)
        if not path.exists():
            return None
        record = read_record(path, Record)
        if (record.study, record.arm, record.seed) != (self.study, arm, seed):
            raise UserError(f"{path} records {record.study} {record.arm}, seed {record.seed}; delete it and run again.")
        return record

    def seeds(self, arm: str, setting: Mapping[str, Any]) -> Iterator[int]:
        """The seeds of which an arm has a record."""
        pattern = self.trial_path(glob.escape(arm), 0, setting).name.removeprefix(glob.escape(arm) + ".0")
        for path in sorted(self.directory.glob(f"trials/{glob.escape(arm)}.*{pattern}")):
            seed = path.name.removeprefix(f"{arm}.").removesuffix(pattern)
            if seed.isdecimal():
                yield int(seed)

    def tried(self, arm: str, seeds: Iterable[int]) -> set[str]:
        """The fingerprints of the settings in which an arm was run on any of these seeds, in a shared folder."""
        name = glob.escape(arm)
        found = (path for seed in seeds for path in self.directory.glob(f"trials/{name}.{seed}.*.json"))
        return {path.name.removesuffix(".json").rpartition(".")[2] for path in found}

    def write_trial(self, record: Record, setting: Mapping[str, Any]) -> None:
        """Write a trial's record."""
        write_record(self.trial_path(record.arm, record.seed, setting), record)

    def prediction_path(self, seed: int, settings: Mapping[str, Any]) -> Path:
        """Where a seed's prediction lies; `settings` by arm."""
        tag = f".{fingerprint(settings, 8)}" if self.shared else ""
        return self.directory / "predictions" / f"{seed}{tag}.json"

    def prediction(self, seed: int, settings: Mapping[str, Any]) -> Prediction | None:
        """A seed's prediction, or None when none was made."""
        path = self.prediction_path(seed, settings)
        return read_record(path, Prediction) if path.exists() else None

    def artifact_path(self, name: str, config: Mapping[str, Any]) -> Path:
        """Where the record of an artifact lies that these trials stand on; `config` in plain values."""
        tag = f".{fingerprint(config, 8)}" if self.shared else ""
        return self.directory / "artifacts" / f"{name}{tag}.json"

    def artifact(self, name: str, config: Mapping[str, Any]) -> Record | None:
        """What making an artifact that these trials stand on has cost, or None where it was not made."""
        path = self.artifact_path(name, config)
        return read_record(path, Record) if path.exists() else None

    def write_artifact(self, record: Record) -> None:
        """Keep an artifact's record beside the trials that stand on it."""
        write_record(self.artifact_path(record.arm, record.config), record)
