"""The runs that a scaling law is fitted to, and the intervals that say how well they determine it."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError, did_you_mean
from maquette.core.seeds import numpy_generator
from maquette.lab.laws import Counting, Hoffmann


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured point: a model of N parameters after D tokens."""

    parameters: float
    """Total parameters, embeddings included (tied ones once)."""
    tokens: float
    loss: float
    """Held-out cross-entropy in nats per token."""
    non_embedding: float | None = None
    """Parameters without embeddings, for `counting="non-embedding"`."""
    curve: str = ""
    """Points of one training run share a name: they are interpolated along it, and resampled together."""

    def size(self, counting: Counting) -> float:
        """N as `counting` has it.

        Raises:
            UserError: non-embedding parameters are asked for and not known.
        """
        if counting == "total":
            return self.parameters
        if self.non_embedding is None:
            raise UserError(
                f"The run of {self.parameters:g} parameters has no non_embedding count; add it or count the total."
            )
        return self.non_embedding

    def compute(self, counting: Counting) -> float:
        """Training FLOPs, C = 6ND."""
        return 6 * self.size(counting) * self.tokens


def planted_runs(law: Hoffmann, *, count: int = 240, noise: float = 0.005, seed: int = 0) -> list[Run]:
    """Runs whose truth is known: `law` over the sizes and budgets of Hoffmann's figure 4, with noise on log L."""
    rng = numpy_generator(seed, "planted runs")
    parameters = np.exp(rng.uniform(np.log(5e7), np.log(1.6e10), count))
    tokens = np.exp(rng.uniform(np.log(1e19), np.log(3e21), count)) / (6 * parameters)
    losses = law.loss(parameters, tokens) * np.exp(noise * rng.standard_normal(count))
    return [Run(parameters=n, tokens=d, loss=y) for n, d, y in zip(parameters, tokens, losses, strict=True)]


def read_runs(path: Path) -> list[Run]:
    """Read runs from a CSV with columns parameters, tokens, loss and, if known, non_embedding and curve.

    Raises:
        UserError: the file is unreadable, or a value is missing or not a positive number (line and column are named).
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            if len(columns) == 1 and len(columns[0].split(";")) > 1:
                raise UserError(f"{path} has semicolons between its columns in line 1; save it with commas.")
            for needed in ("parameters", "tokens", "loss"):
                if needed not in columns:
                    raise UserError(f"{path} has no column {needed!r} in line 1; {did_you_mean(needed, columns)}")
            runs = [_read_run(row, f"{path}, line {reader.line_num}") for row in reader]
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not readable CSV in UTF-8 ({error}); save it again as such.") from error
    if not runs:
        raise UserError(f"{path} has no runs below its header; add a line for each run.")
    return runs


def _read_run(row: dict[str, str | None], where: str) -> Run:
    def number(column: str) -> float:
        text = (row.get(column) or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise UserError(
                f"{where}, column {column!r}: {text!r} is not a positive number; correct it or drop the line."
            )
        return value

    return Run(
        parameters=number("parameters"),
        tokens=number("tokens"),
        loss=number("loss"),
        non_embedding=number("non_embedding") if (row.get("non_embedding") or "").strip() else None,
        curve=(row.get("curve") or "").strip(),
    )


@dataclass(frozen=True, kw_only=True)
class PercentileInterval:
    """A percentile interval of the bootstrap."""

    low: float
    high: float
    level: float

    @classmethod
    def of(cls, samples: Sequence[float] | np.ndarray, level: float) -> "PercentileInterval":
        """The central `level` of the samples."""
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
        return cls(low=float(low), high=float(high), level=level)
