"""Runs a study: arms × seeds, each trial once, its record on disk before anything else happens."""

import contextlib
import dataclasses
import shutil
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import fingerprint, sole_writer, write_json
from maquette.core.provenance import commit, source_hash
from maquette.core.records import Cost, Prediction, Record, now, write_record
from maquette.core.statistics import planned_looks
from maquette.lab.evidence import Evidence, plain, read_prediction, read_trial, record_path
from maquette.lab.figures import write_picture
from maquette.lab.pool import InProcess, Pool, Workers
from maquette.lab.study import Study, load_study
from maquette.lab.terminal import Display
from maquette.lab.verdicts import Verdict
from maquette.lab.worker import Event, Job, checked

SCRATCH = Path("runs") / "scratch"
PICTURE_EVERY = 15.0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that gave no measures, and the end of its traceback."""

    arm: str
    seed: int
    config: dict[str, Any]
    text: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run leaves: the evidence, and the trials that failed."""

    evidence: Evidence
    failures: tuple[Failure, ...]
    ran: int


def run_study(
    reference: str,
    scale_name: str,
    display: Display,
    *,
    records: Path = Path("runs"),
    jobs: int = 1,
    seeds: int | None = None,
    scratch: Path = SCRATCH,
) -> Outcome:
    """Run what is missing of a study, look by look, and judge it.

    `reference` is a module or a `.py` file, so that worker processes find the study too. Only while the primary claim
    is undecided does a deciding scale go on to its next look.

    Raises:
        UserError: bad input, a damaged record, a full disk, or another run in the same folder.
    """
    study = load_study(reference)
    scale = study.scale(scale_name)
    limit = _limit(study, scale_name, seeds)
    directory, scratch = records / study.name / scale_name, scratch / study.name / scale_name
    looks = [look for look in planned_looks(scale.seeds) if look < limit] if scale.verdict else []
    pool = InProcess(study) if jobs == 1 else Workers(reference, jobs, scratch / "logs")
    with sole_writer(directory), sole_writer(scratch), contextlib.closing(pool), display:
        campaign = Campaign(study, scale_name, directory, scratch, pool, display)
        for count in (*looks, limit):
            campaign.run(range(count))
            evidence = campaign.evidence()
            if campaign.failures or evidence.verdict not in (Verdict.UNDECIDED, Verdict.NONE):
                break
            if count < limit:
                display.say(f"undecided at n = {count}; going on")
        write_json(directory / "outcome.json", evidence.as_json())
    return Outcome(evidence=evidence, failures=tuple(campaign.failures), ran=campaign.ran)


def _limit(study: Study, scale_name: str, seeds: int | None) -> int:
    scale = study.scale(scale_name)
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds is {seeds}; it must be at least 1.")
    if seeds is not None and scale.verdict and seeds > scale.seeds:
        raise UserError(
            f"--seeds is {seeds}, but {study.name} at {scale_name} was planned for at most {scale.seeds}; "
            "more would spend an error that was not planned for, so change the study's scale instead."
        )
    return seeds or scale.seeds


@dataclass
class Campaign:
    """The state of a run."""

    study: Study
    scale_name: str
    directory: Path
    scratch: Path
    pool: Pool
    display: Display
    done: dict[tuple[str, int], Record] = field(default_factory=dict)
    predictions: dict[int, Prediction] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    running: dict[tuple[str, int], str] = field(default_factory=dict)
    ran: int = 0

    def __post_init__(self) -> None:
        self.configs = self.study.configs(self.study.scale(self.scale_name))
        self.code = source_hash(self.study.trial, *{type(config) for config in self.configs.values()})
        self.commit = commit()
        self.foretold = [arm for arm in self.study.foretold if arm in self.configs]
        self._pictures: dict[str, float] = {}

    def evidence(self) -> Evidence:
        """What is known so far."""
        return Evidence(
            study=self.study, scale_name=self.scale_name, records=dict(self.done), predictions=dict(self.predictions)
        )

    def run(self, seeds: Iterable[int]) -> None:
        """Run the missing trials of these seeds."""
        arms = [arm for arm in self.configs if arm not in self.foretold] + self.foretold
        waiting = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in self.done]
        self.display.expect(sum(not record_path(self.directory, *trial).exists() for trial in waiting))
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
        config = plain(self.configs[arm])
        content = {"study": self.study.name, "config": config, "seed": seed, "code": self.code, "prediction": said}
        key = fingerprint(content)
        record = read_trial(self.directory, self.study.name, arm, seed)
        if record and record.key == key:
            self.done[arm, seed] = record
            return
        self.running[arm, seed] = key
        scratch = self.scratch / f"{arm}.{seed}.{key}"
        pictures = str(self.directory / "pictures")
        self.display.started(_label(arm, seed))
        self.pool.submit(Job(scale=self.scale_name, arm=arm, seed=seed, scratch=str(scratch), pictures=pictures))

    def _foretell(self, seed: int) -> Prediction:
        """The prediction for a seed, on disk before this returns; made again only when what it rests on has changed."""
        assert self.study.foretell is not None
        if seed in self.predictions:
            return self.predictions[seed]
        basis = {arm: self.done[arm, seed].key for arm in self.configs if arm not in self.foretold}
        key = fingerprint({"basis": basis, "code": source_hash(self.study.foretell)})
        old = read_prediction(self.directory, seed)
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
            if old is not None and old.digest == new.digest:  # the same words, said when they were said
                new = dataclasses.replace(new, made=old.made)
            write_record(self.directory / "predictions" / f"{seed}.json", new)
            old = new
        self.predictions[seed] = old
        return old

    def _handle(self, job: Job, event: Event) -> None:
        label = _label(job.arm, job.seed)
        if event["kind"] == "done":
            self._finish(job, event)
            self.display.ended(label, "done")
            self._show(job.seed)
        elif event["kind"] == "failed":
            self.running.pop((job.arm, job.seed))
            self.display.ended(label, "failed")
            self._fail(job.arm, job.seed, event["text"])
        elif event["kind"] == "refused":
            raise UserError(event["text"])
        else:
            self.display.event(label, event)

    def _finish(self, job: Job, event: Event) -> None:
        said = self.predictions.get(job.seed)
        record = Record(
            study=self.study.name,
            scale=self.scale_name,
            arm=job.arm,
            seed=job.seed,
            key=self.running.pop((job.arm, job.seed)),
            config=plain(self.configs[job.arm]),
            cost=Cost(**event["cost"]),
            commit=self.commit,
            prediction=said.digest if said and job.arm in self.foretold else None,
            **{name: event[name] for name in ("measures", "threads", "machine", "versions", "started", "finished")},
        )
        write_record(record_path(self.directory, job.arm, job.seed), record)
        shutil.rmtree(job.scratch, ignore_errors=True)
        self.done[job.arm, job.seed] = record
        self.ran += 1

    def _fail(self, arm: str, seed: int, text: str) -> None:
        failure = Failure(arm=arm, seed=seed, config=plain(self.configs[arm]), text=text)
        self.failures.append(failure)

    def _show(self, seed: int) -> None:
        """Redraw the study's picture; one that cannot be drawn must not end the run."""
        if self.study.picture is None or time.monotonic() - max(self._pictures.values(), default=-1e9) < PICTURE_EVERY:
            return
        try:
            figure = self.study.picture(self.evidence().trials(seed))
            path = write_picture(figure, self.directory / "pictures") if figure else None
        except UserError:
            raise
        except Exception as error:
            self.display.say(f"no picture yet: {type(error).__name__}: {error}")
            return
        if figure and figure.title not in self._pictures:
            self.display.picture(figure.title, path)
        if figure:
            self._pictures[figure.title] = time.monotonic()


def _label(arm: str, seed: int) -> str:
    return f"{arm}, seed {seed}"
