"""A trial's hand on the outside."""

import dataclasses
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import read_json, replacing, sole_writer, write_json
from maquette.core.media import write_gif
from maquette.core.provenance import circumstances, cores
from maquette.core.records import Cost, Made, now
from maquette.lab.artifacts import stage_key
from maquette.lab.figures import Figure, write_picture

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

SAVE_EVERY = 5.0
"""Seconds between two notes of the cost so far: what a kill may leave uncounted."""
SPENT = "spent.json"
"""The file of such a note, in the trial's folder."""
STAGE = "stage.json"
"""The file that a finished stage has: its cost, and where it was made."""
EXHIBITS = "exhibits"


class Run:
    """A trial's hand on the outside: a folder to resume from, and a voice."""

    def __init__(
        self,
        directory: Path,
        emit: Callable[[dict[str, Any]], None] = lambda event: None,
        exhibits: Path | None = None,
        artifacts: Mapping[str, Path] | None = None,
        stages: Path | None = None,
        kind: Literal["trial", "stage"] = "trial",
    ) -> None:
        """`directory` is the trial's own: what it leaves there outlives a kill and goes once the trial has a record.

        The folders of artifacts are named by their keys; that of `stages` may be other trials' too.
        """
        self.directory = directory
        self.stages: dict[str, Made] = {}
        self._artifacts, self._stages, self._kind = artifacts or {}, stages or directory / "stages", kind
        self._emit, self._exhibits = emit, exhibits or directory
        self._spent = directory / SPENT
        self._before = Cost(**read_json(self._spent)) if self._spent.exists() else Cost()
        self._flops = self._tokens = 0.0
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._said = self._saved = -math.inf

    def artifact(self, name: str) -> Path:
        """The folder of an artifact that this arm stands on.

        Raises:
            UserError: the study declares none of that name for this arm.
        """
        if name not in self._artifacts:
            hint = did_you_mean(name, self._artifacts)
            why = "on which its arm does not stand" if self._kind == "trial" else "which is none of its needs"
            raise UserError(f"A {self._kind} asked for the artifact {name!r}, {why}; {hint}")
        return self._artifacts[name]

    def stage(self, make: Callable[[Any, int, "Run"], None], config: Any, seed: int, needs: Iterable[str] = ()) -> Path:
        """The folder in which `make(config, seed, run)` leaves files: made once for all trials that ask for the same.

        For what comes before that in which trials differ: a policy is trained once, and judged at every delay. What it
        leaves in `run.directory` is there again after a kill, and stays; what it publishes, each trial publishes. Its
        cost stands beside that of a trial.

        Args:
            make: a function of a module, which sees nothing but its arguments.
            config: a dataclass.
            seed: of the trial.
            needs: the artifacts that `make` may ask its run for.

        Raises:
            UserError: this arm stands on no such artifact, or `make` is defined within another function.
        """
        stands_on = {name: self.artifact(name) for name in needs}
        key = stage_key(make, config, seed, {name: path.name for name, path in stands_on.items()})
        folder, wall, cpu = self._stages / key, time.monotonic(), time.process_time()
        try:
            with sole_writer(folder.with_name(f"{key}.making"), wait=True):
                if not (folder / STAGE).exists():
                    self._make_stage(make, config, seed, folder, stands_on)
        finally:  # neither making it nor waiting for it is the trial's own time
            self._wall, self._cpu = self._wall + time.monotonic() - wall, self._cpu + time.process_time() - cpu
        for path in sorted((folder / EXHIBITS).glob("*")):
            self._publish(path)
        self.stages[key] = Made.of(read_json(folder / STAGE))
        return folder

    def _make_stage(
        self, make: Callable[[Any, int, "Run"], None], config: Any, seed: int, folder: Path, artifacts: dict[str, Path]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        started, run = now(), Run(folder, self._pass_on, folder / EXHIBITS, artifacts, self._stages, kind="stage")
        make(config, seed, run)
        spent = sum((one.cost for one in run.stages.values()), run.cost)
        made = Made(cost=spent, threads=threads(), started=started, finished=now(), **circumstances())
        write_json(folder / STAGE, dataclasses.asdict(made))
        (folder / SPENT).unlink(missing_ok=True)

    def _pass_on(self, event: dict[str, Any]) -> None:
        """What a stage says, its pictures shown where a trial's are."""
        if event["kind"] == "picture":
            event = event | {"path": str(self._publish(Path(event["path"])))}
        self._emit(event)

    def _publish(self, path: Path) -> Path:
        with replacing(self._exhibits / path.name) as temporary:
            shutil.copyfile(path, temporary)
        return self._exhibits / path.name

    def progress(self, done: float, total: float) -> None:
        """How far the trial is, in whatever unit it counts; call it as often as you like."""
        elapsed = time.monotonic()
        if elapsed - self._said > 0.1 or done >= total:
            self._said = elapsed
            self._emit({"kind": "progress", "done": float(done), "total": float(total)})
        if elapsed - self._saved > SAVE_EVERY:
            self._saved = elapsed
            write_json(self._spent, dataclasses.asdict(self.cost))

    def note(self, text: str) -> None:
        """One line for whoever watches."""
        self._emit({"kind": "note", "text": text})

    def flops(self, count: float) -> None:
        """Add to the FLOPs this trial has spent."""
        self._flops += float(count)

    def tokens(self, count: float) -> None:
        """Add to the tokens this trial has processed."""
        self._tokens += float(count)

    def picture(self, figure: Figure) -> None:
        """Publish an intermediate figure beside the records, and say where it is."""
        self._emit({"kind": "picture", "title": figure.title, "path": str(write_picture(figure, self._exhibits))})

    def animation(self, title: str, frames: "UInt8[np.ndarray, 'frames height width 3']", fps: float) -> None:
        """Publish a moving picture beside the records, in place of the last one of that title, and say where it is."""
        path = self._place(title, ".gif")
        write_gif(path, frames, fps)
        self._emit({"kind": "picture", "title": title, "path": str(path)})

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Publish a table of words beside the records, in place of the last one of that title, and show it."""
        told = {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}
        write_json(self._place(title, ".json"), told)
        self._emit({"kind": "table", **told})

    def _place(self, title: str, suffix: str) -> Path:
        return (self._exhibits / re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")).with_suffix(suffix)

    @property
    def cost(self) -> Cost:
        """What the trial has cost so far, killed attempts included and stages not."""
        wall, cpu = time.monotonic() - self._wall, time.process_time() - self._cpu
        return self._before + Cost(flops=self._flops, tokens=self._tokens, wall_seconds=wall, cpu_seconds=cpu)


def threads() -> int:
    """How many threads this process computes with."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    return int(os.environ.get("OMP_NUM_THREADS") or cores())
