"""What a training leaves beside its weights: of what it was made, what came of it, and where."""

from pathlib import Path
from typing import Any

from maquette.core.files import read_json, write_json
from maquette.core.provenance import circumstances
from maquette.train.loop import Trained

NAME = "training.json"


def write_record(out: Path, trained: Trained, **made: Any) -> None:
    """Write `out`/training.json: `made`, the last evaluation, machine, versions, commit; the same if run again."""
    write_json(out / NAME, {**made, "final": trained.final, **circumstances()})


def read_record(out: Path) -> dict[str, Any]:
    """What `write_record` left there.

    Raises:
        UserError: it cannot be read.
    """
    return read_json(out / NAME)
