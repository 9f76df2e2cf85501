"""Trials of arms × seeds, each run once, its record on disk before anything else happens."""

import contextlib
import dataclasses
import re
import shutil
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import sole_writer
from maquette.core.records import Cost, Made, Prediction, Record, now, write_record
from maquette.lab.artifacts import artifact_record, plain
from maquette.lab.evidence import Evidence, settings
from maquette.lab.figures import write_picture
from maquette.lab.keys import artifact_keys, code_of, commit_of, prediction_key, trial_key
from maquette.lab.pool import InProcess, Pool, Workers
from maquette.lab.run import SPENT
from maquette.lab.scales import Scale
from maquette.lab.store import Store
from maquette.lab.study import Study
from maquette.lab.terminal import Display
from maquette.lab.worker import FAILURE, Event, Job, checked

SCRATCH = Path("runs") / "scratch"
PICTURE_EVERY = 15.0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that gave no measures, and the end of its traceback."""

    arm: str
    seed: int
    config: dict[str, Any]
    text: str

    @property
    def in_short(self) -> str:
        """The error and where it was raised, on one line."""
        places = re.findall(r'File "(.+)", line (\d+)', self.text)
        where = f" ({Path(places[-1][0]).name}, line {places[-1][1]})" if places else ""
        return self.text.splitlines()[-1] + where


def refuse(failures: Sequence[Failure]) -> None:
    """For who cannot go on without every trial.

    Raises:
        UserError: there is a failure.
    """
    for one in failures:
        raise UserError(f"{one.arm}, seed {one.seed}, failed with {one.config}: {one.in_short}")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a campaign writes: its records, its trials' scratch, and the artifacts and stages of all studies."""

    directory: Path
    scratch: Path
    artifacts: Path
    stages: Path
    shared: bool = False
    """Whether the folder holds records of other bends of the scale too."""
    also: Path | None = None
    """The study's own folder, whose records count where the very same trial is asked for."""


def places_for(directory: Path, scratch: Path, *work: str, also: Path | None = None) -> Places:
    """Places for one kind of work; records are shared among bends where there is another folder to look in too."""
    return Places(
        directory=directory,
        scratch=scratch.joinpath(*work),
        artifacts=scratch.parent / "artifacts",
        stages=scratch.parent / "stages",
        shared=also is not None,
        also=also,
    )


@contextlib.contextmanager
def workshop(study: Study, reference: str, jobs: int, places: Places, display: Display) -> Iterator[Pool]:
    """The pool that a command's trials run in, while nobody else writes where it does.

    Raises:
        UserError: somebody else does.
    """
    pool = InProcess(study) if jobs == 1 else Workers(reference, jobs, places.scratch / "logs")
    with sole_writer(places.directory), sole_writer(places.scratch), contextlib.closing(pool), display:
        yield pool


@dataclass
class Campaign:
    """The trials of a study at one scale, as far as they have come."""

    study: Study
    scale_name: str
    scale: Scale
    places: Places
    pool: Pool
    display: Display
    done: dict[tuple[str, int], Record] = field(default_factory=dict)
    predictions: dict[int, Prediction] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    running: dict[tuple[str, int], str] = field(default_factory=dict)
    artifacts: dict[str, Record] = field(default_factory=dict)
    ran: int = 0

    def __post_init__(self) -> None:
        self.configs = self.study.configs(self.scale)
        self.plain = {arm: plain(config) for arm, config in self.configs.items()}
        self.settings = settings(self.study, self.scale)
        self.store = Store(directory=self.places.directory, study=self.study.name, shared=self.places.shared)
        self.code = code_of(self.study)
        self.commit = commit_of(self.study)
        self.artifact_keys = artifact_keys(self.study, self.scale)
        needed = {name for arm in self.configs for name in self.study.artifacts_of(arm)}
        self.artifact_configs = {
            name: plain(self.study.artifact_config(name, self.scale.changes))
            for name in self.study.artifacts
            if name in needed
        }
        self.foretold = [arm for arm in self.study.foretold if arm in self.configs]
        self._pictures: dict[str, float] = {}

    def evidence(self) -> Evidence:
        """What is known so far."""
        return Evidence(
            study=self.study,
            scale_name=self.scale_name,
            scale=self.scale,
            records=dict(self.done),
            predictions=dict(self.predictions),
            artifacts=dict(self.artifacts),
            directory=self.places.directory,
        )

    def run(self, seeds: Iterable[int]) -> None:
        """Run the missing trials of these seeds, and make what they stand on."""
        self._find_artifacts()
        arms = [arm for arm in self.configs if arm not in self.foretold] + self.foretold
        waiting = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in self.done]
        self.display.expect(self._missing(waiting))
        while waiting or self.running:
            for trial in self._startable(waiting):
                waiting.remove(trial)
                self._take(*trial)
            if self.running:
                self.pool.step(self._handle)
            elif waiting and not any(self._basis_done(arm, seed) for arm, seed in waiting):
                for arm, seed in waiting:
                    self._fail(
                        arm, seed, f"not started: other trials of seed {seed}, which its prediction needs, failed"
                    )
                return

    def _missing(self, waiting: list[tuple[str, int]]) -> int:
        """How many trials are to be run, and artifacts to be made for them."""
        missing = []
        for arm, seed in waiting:
            said = self.store.prediction(seed, self.settings) if arm in self.foretold else None
            if not self._recorded(arm, seed, self._key(arm, seed, said.digest if said else None)):
                missing.append(arm)
        stands_on = {name for arm in missing for name in self.study.artifacts_of(arm)}
        return len(missing) + sum(artifact_record(self._folder(name)) is None for name in stands_on)

    def _startable(self, waiting: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        for trial in list(waiting):
            if not self.pool.free():
                return
            if self._basis_done(*trial):
                yield trial

    def _basis_done(self, arm: str, seed: int) -> bool:
        basis = [one for one in self.configs if one not in self.foretold]
        return arm not in self.foretold or all((one, seed) in self.done for one in basis)

    def _take(self, arm: str, seed: int) -> None:
        """Use the record of this trial if there is one that still holds, else start the trial."""
        said = None
        if arm in self.foretold:
            try:
                said = self._foretell(seed).digest
            except UserError:
                raise
            except Exception:
                self._fail(arm, seed, "its prediction failed\n" + "\n".join(traceback.format_exc().splitlines()[-4:]))
                return
        key = self._key(arm, seed, said)
        if record := self._recorded(arm, seed, key):
            if record != self.store.trial(arm, seed, self.settings[arm]):
                self.store.write_trial(record, self.settings[arm])
            self.done[arm, seed] = record
            return
        for name in (stands_on := self.study.artifacts_of(arm)):
            self._make(name)
        self.running[arm, seed] = key
        self._submit(arm, seed, self.scale.changes_to(arm), stands_on, f"{arm}.{seed}.{key}")

    def _key(self, arm: str, seed: int, said: str | None) -> str:
        stands_on = {name: self.artifact_keys[name] for name in self.study.artifacts_of(arm)}
        return trial_key(self.study, self.code, arm, seed, self.plain[arm], said, stands_on)

    def _recorded(self, arm: str, seed: int, key: str) -> Record | None:
        """The record of this trial, here or among the study's own, if it still holds."""
        found = (place.trial(arm, seed, self.settings[arm]) for place in self._places())
        return next((record for record in found if record and record.key == key), None)

    def _places(self) -> list[Store]:
        also = self.places.also
        return [self.store, *([Store(directory=also, study=self.study.name)] if also else [])]

    def _submit(self, name: str, seed: int | None, changes: dict[str, Any], stands_on: list[str], scratch: str) -> None:
        job = Job(
            name=name,
            seed=seed,
            changes=changes,
            artifacts={one: str(self._folder(one)) for one in stands_on},
            scratch=str(self.places.scratch / scratch),
            stages=str(self.places.stages),
            exhibits=str(self.places.directory / "exhibits"),
        )
        self.display.started(job.label)
        self.pool.submit(job)

    def _foretell(self, seed: int) -> Prediction:
        """The prediction for a seed, on disk before this returns; made again only when what it rests on has changed."""
        assert self.study.foretell is not None
        if seed in self.predictions:
            return self.predictions[seed]
        basis = {arm: self.done[arm, seed].key for arm in self.configs if arm not in self.foretold}
        key = prediction_key(self.study, basis)
        old = self.store.prediction(seed, self.settings)
        if old is None or old.key != key:
            trials = {arm: self.done[arm, seed].measures for arm in basis}
            new = Prediction(
                study=self.study.name,
                scale=self.scale_name,
                seed=seed,
                key=key,
                basis=basis,
                measures=checked(self.study.foretell(trials)),
                made=now(),
            )
            if old is not None and old.says_the_same_as(new):  # said when they were said
                new = dataclasses.replace(old, key=key)
            write_record(self.store.prediction_path(seed, self.settings), new)
            old = new
        self.predictions[seed] = old
        return old

    def _folder(self, artifact: str) -> Path:
        return self.places.artifacts / self.artifact_keys[artifact]

    def _find_artifacts(self) -> None:
        """Know again what has been made before; trials that all have records need it no more."""
        for name, config in self.artifact_configs.items():
            known = [place.artifact(name, config) for place in self._places()] + [artifact_record(self._folder(name))]
            for record in known:
                if record and record.key == self.artifact_keys[name] and name not in self.artifacts:
                    self._keep(name, record)

    def _keep(self, name: str, record: Record) -> None:
        self.artifacts[name] = dataclasses.replace(record, study=self.study.name, arm=name)
        self.store.write_artifact(self.artifacts[name])

    def _make(self, name: str) -> None:
        """Make an artifact that is not there yet; those it needs come before it in the study's order."""
        folder = self._folder(name)
        if (record := artifact_record(folder)) is None:
            with sole_writer(folder.with_name(f"{folder.name}.making"), wait=True):
                record = artifact_record(folder) or self._made(name, folder)
        if name not in self.artifacts:
            self._keep(name, record)

    def _made(self, name: str, folder: Path) -> Record:
        ended: list[Event] = []
        scratch = self.places.scratch / folder.name

        def handle(job: Job, event: Event) -> None:
            if job.seed is not None:  # a trial that does not stand on it
                self._handle(job, event)
            elif event["kind"] in ("done", "failed", "refused"):
                ended.append(event)
                self.display.ended(job.label, event["kind"])
            else:
                self.display.event(job.label, event)

        self._submit(name, None, dict(self.scale.changes), list(self.study.artifacts[name].needs), folder.name)
        while not ended:
            self.pool.step(handle)
        if (event := ended[0])["kind"] != "done":
            raise UserError(f"The artifact {name!r}, on which trials stand, could not be made: {event['text']}")
        record = self._record(name, 0, folder.name, self.artifact_configs[name], event)
        for trace in (SPENT, FAILURE):
            (scratch / trace).unlink(missing_ok=True)
        write_record(scratch / "artifact.json", record)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(scratch, folder)
        return record

    def _handle(self, job: Job, event: Event) -> None:
        assert job.seed is not None
        if event["kind"] == "done":
            self._finish(job, job.seed, event)
            self.display.ended(job.label, "done")
            self._show(job.seed)
        elif event["kind"] == "failed":
            self.running.pop((job.name, job.seed))
            self.display.ended(job.label, "failed")
            self.store.trial_path(job.name, job.seed, self.settings[job.name]).unlink(missing_ok=True)  # of older code
            self._fail(job.name, job.seed, event["text"])
        elif event["kind"] == "refused":
            raise UserError(event["text"])
        else:
            self.display.event(job.label, event)

    def _finish(self, job: Job, seed: int, event: Event) -> None:
        record = self._record(job.name, seed, self.running.pop((job.name, seed)), self.plain[job.name], event)
        self.store.write_trial(record, self.settings[job.name])
        shutil.rmtree(job.scratch, ignore_errors=True)
        self.done[job.name, seed] = record
        self.ran += 1

    def _record(self, name: str, seed: int, key: str, config: dict[str, Any], event: Event) -> Record:
        said = self.predictions.get(seed) if name in self.foretold else None
        return Record(
            study=self.study.name,
            scale=self.scale_name,
            arm=name,
            seed=seed,
            key=key,
            config=config,
            cost=Cost(**event["cost"]),
            stages={key: Made.of(stage) for key, stage in event["stages"].items()},
            commit=self.commit,
            prediction=said.digest if said else None,
            **{one: event[one] for one in ("measures", "threads", "machine", "versions", "started", "finished")},
        )

    def _fail(self, arm: str, seed: int, text: str) -> None:
        self.failures.append(Failure(arm=arm, seed=seed, config=self.plain[arm], text=text))

    def _show(self, seed: int) -> None:
        """Redraw the study's picture; one that cannot be drawn must not end the run."""
        if self.study.picture is None or time.monotonic() - max(self._pictures.values(), default=-1e9) < PICTURE_EVERY:
            return
        try:
            figure = self.study.picture(self.evidence().trials(seed))
            path = write_picture(figure, self.places.directory / "pictures") if figure else None
        except UserError:
            raise
        except Exception as error:
            self.display.say(f"no picture yet: {type(error).__name__}: {error}")
            return
        if figure and figure.title not in self._pictures:
            self.display.picture(figure.title, path)
        if figure:
            self._pictures[figure.title] = time.monotonic()
