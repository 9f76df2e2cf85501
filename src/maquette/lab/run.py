"""A trial's hand on the outside."""

import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import read_json, sole_writer, write_json
from maquette.core.media import write_gif
from maquette.core.records import Cost
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
"""The file that a finished stage has: what it has cost."""


class Run:
    """A trial's hand on the outside: a folder to resume from, and a voice."""

    def __init__(
        self,
        directory: Path,
        emit: Callable[[dict[str, Any]], None] = lambda event: None,
        exhibits: Path | None = None,
        artifacts: Mapping[str, Path] | None = None,
        stages: Path | None = None,
    ) -> None:
        """`directory` is the trial's own: what it leaves there outlives a kill and goes once the trial has a record.

        The folders of artifacts are named by their keys; that of `stages` may be other trials' too.
        """
        self.directory = directory
        self._artifacts, self._stages = artifacts or {}, stages or directory / "stages"
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
            raise UserError(f"A trial asked for the artifact {name!r}, on which its arm does not stand; {hint}")
        return self._artifacts[name]

    def stage(self, make: Callable[[Any, int, "Run"], None], config: Any, seed: int, needs: Iterable[str] = ()) -> Path:
        """The folder in which `make(config, seed, run)` leaves files: made once for all trials that ask for the same.

        For what comes before that in which trials differ: a policy is trained once, and judged at every delay. The
        `run` that `make` gets has the artifacts in `needs` and no others; what it leaves in `run.directory` is there
        again after a kill. Its FLOPs and tokens count for every trial that asks, its seconds for the one that made it.

        Raises:
            UserError: this arm stands on no such artifact.
        """
        stands_on = {name: self.artifact(name) for name in needs}
        folder = self._stages / stage_key(make, config, seed, {name: path.name for name, path in stands_on.items()})
        with sole_writer(folder, wait=True):
            if not (folder / STAGE).exists():
                inner = Run(folder, self._pass_on, self._exhibits, stands_on, self._stages)
                make(config, seed, inner)
                write_json(folder / STAGE, dataclasses.asdict(inner.cost))
        spent = Cost(**read_json(folder / STAGE))
        self.flops(spent.flops)
        self.tokens(spent.tokens)
        return folder

    def _pass_on(self, event: dict[str, Any]) -> None:
        self._emit(event)
        self._save_cost()

    def progress(self, done: float, total: float) -> None:
        """How far the trial is, in whatever unit it counts; call it as often as you like."""
        elapsed = time.monotonic()
        if elapsed - self._said > 0.1 or done >= total:
            self._said = elapsed
            self._emit({"kind": "progress", "done": float(done), "total": float(total)})
        self._save_cost()

    def _save_cost(self) -> None:
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._saved = time.monotonic()
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
        """What the trial has cost so far, killed attempts included."""
        wall, cpu = time.monotonic() - self._wall, time.process_time() - self._cpu
        return self._before + Cost(flops=self._flops, tokens=self._tokens, wall_seconds=wall, cpu_seconds=cpu)
