"""Rotary position embedding (RoFormer, Su et al. 2021, arXiv:2104.09864), one-dimensional, with Llama 3's scaling.

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
        if self.factor < 1 or self.original_context < 1:
            raise UserError(f"factor and original_context of {self}: give 1 or more.")
        if not 0 < self.low_frequency_factor < self.high_frequency_factor:
            raise UserError(f"low_frequency_factor of {self}: give a number above 0 and below high_frequency_factor.")


def frequencies(head_dim: int, theta: float, scaling: Llama3Scaling | None = None) -> Float[Tensor, " half"]:
    """Angular frequency of each channel pair, θ^(−2i/d), in radians a token, float32."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    plain = 1.0 / theta**exponent
    if scaling is None:
        return plain
    wavelength = 2 * math.pi / plain
    low_wavelength = scaling.original_context / scaling.low_frequency_factor
    high_wavelength = scaling.original_context / scaling.high_frequency_factor
    smooth = (scaling.original_context / wavelength - scaling.low_frequency_factor) / (
        scaling.high_frequency_factor - scaling.low_frequency_factor
    )
    between = (1 - smooth) * plain / scaling.factor + smooth * plain
    scaled = torch.where(wavelength > low_wavelength, plain / scaling.factor, between)
    return torch.where(wavelength < high_wavelength, plain, scaled)


def rotary_angles(
    positions: Int[Tensor, "*batch tokens"], frequency: Float[Tensor, " half"]
) -> tuple[Float[Tensor, "*batch tokens 1 half"], Float[Tensor, "*batch tokens 1 half"]]:
    """Cosine and sine of position × frequency, with an axis of size one where heads broadcast."""
    angle = positions[..., None, None].float() * frequency
    return angle.cos(), angle.sin()


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
