"""Carrying out one trial, here or in a worker process that takes jobs and answers in JSON lines over a socket."""

import contextlib
import dataclasses
import errno
import json
import math
import os
import queue
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.devices import prepare_process
from maquette.core.errors import UserError
from maquette.core.files import as_user_error
from maquette.core.provenance import machine, versions
from maquette.core.records import now
from maquette.lab.run import Run, threads
from maquette.lab.study import Study, load_study

Event = dict[str, Any]
FAILURE = "failure.txt"
"""The file of a traceback, in the trial's folder."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial of an arm, or the making of an artifact, which has no seed.

    `changes` are those of the scale; `artifacts` says where what it stands on lies; `scratch` is its own folder,
    `stages` that of stages which it may share with others.
    """

    name: str
    seed: int | None
    changes: dict[str, Any]
    artifacts: dict[str, str]
    scratch: str
    stages: str
    exhibits: str

    @property
    def label(self) -> str:
        """What to call it."""
        return f"the artifact {self.name}" if self.seed is None else f"{self.name}, seed {self.seed}"


def execute(study: Study, job: Job, emit: Callable[[Event], None]) -> None:
    """Carry out a job; its last event is `done`, `failed` (with the traceback's end), or `refused` (bad input)."""
    started, scratch = now(), Path(job.scratch)
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        artifacts = {name: Path(path) for name, path in job.artifacts.items()}
        run = Run(scratch, emit, Path(job.exhibits), artifacts, Path(job.stages))
        changes = {
            name: tuple(it) if isinstance(it, list) else it for name, it in job.changes.items()
        }  # JSON has lists
        if job.seed is None:
            study.artifacts[job.name].make(study.artifact_config(job.name, changes), run)
            measures = {}
        else:
            config, seed = study.config(job.name, changes), study.seed_of(job.name, job.seed)
            measures = checked(study.trial(config, seed, run))
        cost, stages = dataclasses.asdict(run.cost), {key: dataclasses.asdict(one) for key, one in run.stages.items()}
    except UserError as error:
        emit({"kind": "refused", "text": str(error)})
    except Unmeasured as error:
        emit({"kind": "failed", "text": str(error)})
    except (Exception, SystemExit) as error:  # a trial that leaves fails; it does not take the run along
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            emit({"kind": "refused", "text": str(as_user_error(error, scratch))})
            return
        text = traceback.format_exc()
        with contextlib.suppress(OSError):
            (scratch / FAILURE).write_text(text, encoding="utf-8")
        emit({"kind": "failed", "text": "\n".join(text.rstrip().splitlines()[-6:])})
    else:
        where = {"threads": threads(), "machine": machine(), "versions": versions()}
        where |= {"started": started, "finished": now()}
        emit({"kind": "done", "measures": measures, "cost": cost, "stages": stages, **where})


def checked(measures: Any) -> dict[str, float]:
    """Measures as floats.

    Raises:
        Unmeasured: they are no mapping of names to finite numbers.
    """
    if not isinstance(measures, Mapping) or not measures:
        raise Unmeasured(f"expected a mapping of measures, got {measures!r:.60}")
    values = {}
    for name, value in measures.items():
        try:
            values[str(name)] = float(value)
        except (TypeError, ValueError):
            raise Unmeasured(f"the measure {name!r} is {value!r:.60}, which is no number") from None
        if not math.isfinite(values[str(name)]):
            raise Unmeasured(f"the measure {name!r} is {values[str(name)]}; give a finite number")
    return values


class Unmeasured(ValueError):
    """What a trial returned is no measures; the message says why."""


def serve(channel: socket.socket, reference: str) -> None:
    """Take jobs until the other side goes away, and go with it at once, also in the middle of a trial."""
    jobs: queue.Queue[Job] = queue.Queue()

    def listen() -> None:
        try:
            with channel.makefile(encoding="utf-8") as lines:
                for line in lines:
                    jobs.put(Job(**json.loads(line)))
        finally:  # also when the other side died in the middle of a line
            os._exit(0)

    def emit(event: Event) -> None:
        channel.sendall(json.dumps(event).encode() + b"\n")

    threading.Thread(target=listen, daemon=True).start()
    study: Study | None = None
    while True:
        job = jobs.get()
        try:
            study = study or load_study(reference)
        except UserError as error:
            emit({"kind": "refused", "text": str(error)})
            continue
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        execute(study, job, emit)


if __name__ == "__main__":
    prepare_process()
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
