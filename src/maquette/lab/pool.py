"""Where trials run: in this process, or in worker processes that share the cores fairly."""

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from maquette.core.provenance import cores
from maquette.lab.study import Study
from maquette.lab.worker import THREADS, Event, Job, execute

Handle = Callable[[Job, Event], None]


class Pool(Protocol):
    """Takes jobs and tells what becomes of them; each ends with one event `done`, `failed` or `refused`."""

    def free(self) -> bool:
        """Whether a job would start at once."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job."""
        ...

    def step(self, handle: Handle) -> None:
        """Wait for news of the jobs and pass it on."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...


@dataclass
class InProcess:
    """One trial at a time, here."""

    study: Study
    job: Job | None = None

    def free(self) -> bool:
        """Whether nothing waits."""
        return self.job is None

    def submit(self, job: Job) -> None:
        """Keep it for the next step."""
        self.job = job

    def step(self, handle: Handle) -> None:
        """Run the trial; what it prints goes to stderr, since stdout belongs to results."""
        job, self.job = self.job, None
        assert job is not None
        with contextlib.redirect_stdout(sys.stderr):
            execute(self.study, job, lambda event: handle(job, event))

    def close(self) -> None:
        """Nothing runs."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket
    log: Path
    job: Job | None = None
    heard: bytes = b""


@dataclass
class Workers:
    """At most `count` processes, kept between trials because importing torch takes seconds.

    Each computes with its share of the cores, or with `threads`.
    """

    reference: str
    count: int
    logs: Path
    threads: int | None = None
    workers: list[_Worker] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def free(self) -> bool:
        """Whether a worker idles or one more may start."""
        return len(self.workers) < self.count or any(worker.job is None for worker in self.workers)

    def submit(self, job: Job) -> None:
        """Hand a job to an idle worker."""
        worker = next((worker for worker in self.workers if worker.job is None), None) or self._start()
        worker.job = job
        with contextlib.suppress(OSError):  # one that has just died is told of in the next step
            worker.channel.sendall(json.dumps(dataclasses.asdict(job)).encode() + b"\n")

    def step(self, handle: Handle) -> None:
        """Wait until a worker speaks or dies."""
        for key, _ in self.selector.select():
            worker: _Worker = key.data
            try:
                heard = worker.channel.recv(1 << 20)
            except ConnectionError:
                heard = b""
            if not heard:
                self._bury(worker, handle)
                continue
            *lines, worker.heard = (worker.heard + heard).split(b"\n")
            for line in lines:
                job = worker.job
                assert job is not None
                event = json.loads(line)
                if event["kind"] in ("done", "failed", "refused"):
                    worker.job = None
                handle(job, event)

    def close(self) -> None:
        """Hang up, on which a worker leaves; end what does not."""
        for worker in self.workers:
            worker.channel.close()
        for worker in self.workers:
            try:
                worker.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self.workers.clear()
        self.selector.close()

    def _start(self) -> _Worker:
        share = str(self.threads or max(1, cores() // self.count))
        ours, theirs = socket.socketpair()
        self.logs.mkdir(parents=True, exist_ok=True)
        with theirs, open(self.logs / f"worker-{theirs.fileno()}.log", "w+b") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "maquette.lab.worker", str(theirs.fileno()), self.reference],
                env=os.environ | dict.fromkeys(THREADS, share),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us to act on
            )
        worker = _Worker(process, ours, Path(log.name))
        self.workers.append(worker)
        self.selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def _bury(self, worker: _Worker, handle: Handle) -> None:
        self.selector.unregister(worker.channel)
        worker.channel.close()
        self.workers.remove(worker)
        code = worker.process.wait()
        if worker.job is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            last = "\n".join(worker.log.read_text(errors="replace").splitlines()[-5:])
            hint = " (out of memory?)" if -code == signal.SIGKILL else ""
            handle(worker.job, {"kind": "failed", "text": f"its process {how}{hint}\n{last}".rstrip()})
