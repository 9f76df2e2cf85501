"""Rotary position embedding (RoFormer, Su et al. 2021, arXiv:2104.09864), one-dimensional.

Two conventions pair the channels that turn together. *Rotate-half* (transformers, and every checkpoint in its
layout) pairs channel i with i + dim/2; *interleaved* (the paper, Meta's own Llama files) pairs 2i with 2i + 1. The same
weights under the wrong convention give a different model without any error, so each has its name here.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.errors import UserError

Pairing = Literal["rotate-half", "interleaved"]


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling:
    """Llama 3.1's longer context (llama-models, `apply_scaling`): long wavelengths slow down, short ones stay."""

    factor: float = 8.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 8192

    def __post_init__(self) -> None:
        _refuse_factor(self, self.factor, self.original_context)
        if not 0 < self.low_frequency_factor < self.high_frequency_factor:
            raise UserError(f"low_frequency_factor of {self}: give a number above 0 and below high_frequency_factor.")

    def scaled(self, plain: Float[Tensor, " half"], theta: float) -> Float[Tensor, " half"]:
        """The frequencies of the longer context."""
        wavelength = 2 * math.pi / plain
        low_wavelength = self.original_context / self.low_frequency_factor
        high_wavelength = self.original_context / self.high_frequency_factor
        smooth = (self.original_context / wavelength - self.low_frequency_factor) / (
            self.high_frequency_factor - self.low_frequency_factor
        )
        between = (1 - smooth) * plain / self.factor + smooth * plain
        scaled = torch.where(wavelength > low_wavelength, plain / self.factor, between)
        return torch.where(wavelength < high_wavelength, plain, scaled)


@dataclass(frozen=True, kw_only=True)
class LinearScaling:
    """Position interpolation (Chen et al. 2023, arXiv:2306.15595): every position divided by `factor`."""

    factor: float

    def __post_init__(self) -> None:
        _refuse_factor(self, self.factor)

    def scaled(self, plain: Float[Tensor, " half"], theta: float) -> Float[Tensor, " half"]:
        """The frequencies of the longer context."""
        return plain / self.factor


@dataclass(frozen=True, kw_only=True)
class YarnScaling:
    """YaRN (Peng et al. 2023, arXiv:2309.00071): interpolation by frequency, and attention made sharper.

    Channels that turn more than `fast` times in the original context stay, those that turn less than `slow` times are
    interpolated, with a ramp between; `magnitude` multiplies cosine and sine (0 means the paper's 0.1 ln s + 1).
    """

    factor: float
    original_context: int
    fast: float = 32.0
    slow: float = 1.0
    magnitude: float = 0.0

    def __post_init__(self) -> None:
        _refuse_factor(self, self.factor, self.original_context)
        if not 0 < self.slow < self.fast:
            raise UserError(f"slow of {self}: give a number above 0 and below fast.")
        if self.magnitude < 0:
            raise UserError(f"magnitude of {self}: give 0 or more.")
        if not self.magnitude:
            object.__setattr__(self, "magnitude", 0.1 * math.log(self.factor) + 1.0)

    def scaled(self, plain: Float[Tensor, " half"], theta: float) -> Float[Tensor, " half"]:
        """The frequencies of the longer context."""
        half = len(plain)

        def channel(turns: float) -> float:
            """Which channel turns so often in the original context."""
            return half * math.log(self.original_context / (turns * 2 * math.pi)) / math.log(theta)

        low, high = max(math.floor(channel(self.fast)), 0), min(math.ceil(channel(self.slow)), 2 * half - 1)
        ramp = ((torch.arange(half).float() - low) / max(high - low, 1e-3)).clamp(0, 1)
        return plain / self.factor * ramp + plain * (1 - ramp)


Scaling = Llama3Scaling | LinearScaling | YarnScaling


def _refuse_factor(scaling: Scaling, factor: float, original_context: int = 1) -> None:
    if factor < 1 or original_context < 1:
        raise UserError(f"factor and original_context of {scaling}: give 1 or more.")


def frequencies(head_dim: int, theta: float, scaling: Scaling | None = None) -> Float[Tensor, " half"]:
    """Angular frequency of each channel pair, θ^(−2i/d), in radians a token, float32."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    plain = 1.0 / theta**exponent
    return plain if scaling is None else scaling.scaled(plain, theta)


def rotary_angles(
    positions: Int[Tensor, "*batch tokens"], frequency: Float[Tensor, " half"], magnitude: float = 1.0
) -> tuple[Float[Tensor, "*batch tokens 1 half"], Float[Tensor, "*batch tokens 1 half"]]:
    """Cosine and sine of position × frequency, with an axis of size one where heads broadcast."""
    angle = positions[..., None, None].float() * frequency
    return (angle.cos(), angle.sin()) if magnitude == 1.0 else (angle.cos() * magnitude, angle.sin() * magnitude)


def rotate(
    x: Float[Tensor, "*batch tokens heads dim"],
    cos: Float[Tensor, "*#batch tokens 1 half"],
    sin: Float[Tensor, "*#batch tokens 1 half"],
    pairing: Pairing = "rotate-half",
) -> Float[Tensor, "*batch tokens heads dim"]:
    """Turn each channel pair (a, b) of every token by its angle: (a cos − b sin, b cos + a sin)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if pairing == "rotate-half":
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)
