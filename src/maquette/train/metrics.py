"""Where numbers go while training: a JSON-lines file, and TensorBoard for those who ask."""

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from maquette.core.errors import UserError
from maquette.core.files import as_user_error, write_text


@runtime_checkable
class Sink(Protocol):
    """Takes one row of numbers a time."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record `values` at `step`."""
        ...


class JsonLines:
    """`metrics.jsonl`, one object a line. Opening it at a step drops the later lines that a killed run left behind."""

    def __init__(self, path: Path, resume_at: int) -> None:
        self.path = path
        rows = [row for row in read_metrics(path) if row["step"] <= resume_at]
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise as_user_error(error, self.path) from error


class Losses:
    """Keeps the losses in memory."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def write(self, step: int, values: dict[str, float]) -> None:
        """Keep one, if the row has one."""
        if "loss" in values:
            self.values.append(values["loss"])


class TensorBoard:
    """Scalars for TensorBoard (extra `track`)."""

    def __init__(self, directory: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("TensorBoard is not installed: bash scripts/setup.sh track.") from error
        self.writer = SummaryWriter(str(directory))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add each value as a scalar."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
