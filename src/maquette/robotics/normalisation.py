"""A robot's numbers as a network has them, and back; each head asks for its own kind."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError
from maquette.robotics.datasets.statistics import Statistics, of_numbers

Kind = Literal["mean-std", "min-max", "quantiles"]
OF_HEAD: Mapping[str, Kind] = {"flow": "mean-std", "l1": "mean-std", "diffusion": "min-max", "bins": "quantiles"}
"""π0 and ACT take z-scores; diffusion clips to ±1 as it samples; bins lie between the 1 % and the 99 % quantiles."""
STILL = 1e-6
"""A spread below which a number counts as constant and is only shifted."""


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """(x − centre) / scale, number by number."""

    kind: Kind
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    width: int = 0
    """Numbers that the network has, where these are more: zeros behind the robot's own, as π0 pads robots to 32."""

    @property
    def numbers(self) -> int:
        """Of the robot."""
        return len(self.centre)

    def apply(self, x: Float[Tensor, "*any numbers"]) -> Float[Tensor, "*any width"]:
        """Into the network's units."""
        found = (x - x.new_tensor(self.centre)) / x.new_tensor(self.scale)
        return F.pad(found, (0, max(0, self.width - self.numbers)))

    def undo(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any numbers"]:
        """Into the robot's units."""
        return x[..., : self.numbers] * x.new_tensor(self.scale) + x.new_tensor(self.centre)

    def extended(self, numbers: int) -> "Normaliser":
        """For a robot with more numbers: those behind the known ones stay as they are."""
        more = numbers - self.numbers
        return replace(self, centre=(*self.centre, *[0.0] * more), scale=(*self.scale, *[1.0] * more))

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def normaliser(kind: Kind, values: Float[np.ndarray, "frames numbers"], width: int = 0) -> Normaliser:
    """From the numbers themselves, exactly; never from a dataset's own statistics, which may be averages."""
    found: Statistics = of_numbers(values)
    if kind == "mean-std":
        centre, scale = found["mean"], found["std"]
    else:
        low, high = (found["min"], found["max"]) if kind == "min-max" else (found["q01"], found["q99"])
        centre, scale = (low + high) / 2, (high - low) / 2
    scale = np.where(scale < STILL, 1.0, scale)
    return Normaliser(kind=kind, centre=tuple(centre.tolist()), scale=tuple(scale.tolist()), width=width)


def normaliser_from_json(raw: Any, where: str) -> Normaliser:
    """The inverse of `as_json`.

    Raises:
        UserError: it is not one.
    """
    try:
        made = Normaliser(
            kind=raw["kind"], centre=tuple(raw["centre"]), scale=tuple(raw["scale"]), width=raw.get("width", 0)
        )
        torch.tensor((made.centre, made.scale), dtype=torch.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} has no proper normalisation ({error}); restore it from a copy.") from error
    if made.kind not in OF_HEAD.values() or not all(scale > 0 for scale in made.scale):
        raise UserError(f"{where} has the normalisation {raw!r}, which is none; restore it from a copy.")
    return made
