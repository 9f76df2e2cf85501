"""Noise paths: how data x₀ and noise ε mix at time t, x_t = α(t) x₀ + σ(t) ε.

Time runs from clean to noise in all of them: t = 0 is data. (SiT, Movie Gen and π0 write t = 1 for data.)
"""

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError

Times = Float[Tensor, "*times"]


class Path(Protocol):
    """A noise path."""

    @property
    def straight(self) -> bool:
        """Whether x_t moves on straight lines in t itself (α + σ = 1); else x_t/α does in σ/α."""

    @property
    def last(self) -> float:
        """The noisiest time a sampler starts from."""

    def alpha(self, t: Times) -> Times:
        """The share of the data."""

    def sigma(self, t: Times) -> Times:
        """The share of the noise."""

    def label(self, t: Times) -> Times:
        """What a network is told of t."""


@dataclass(frozen=True, kw_only=True)
class RectifiedFlow:
    """Straight lines (Liu et al. 2022, arXiv:2209.03003): α = 1 − t, σ = t."""

    straight = True
    last = 1.0

    def alpha(self, t: Times) -> Times:
        """1 − t."""
        return 1 - t

    def sigma(self, t: Times) -> Times:
        """The time itself."""
        return t

    def label(self, t: Times) -> Times:
        """Thousandths, the scale that embeddings of diffusion steps are made for."""
        return 1000 * t


@dataclass(frozen=True, kw_only=True)
class VarianceExploding:
    """Noise added to data that stays as it is (Karras et al. 2022, arXiv:2206.00364): α = 1, σ = t."""

    smallest: float = 0.002
    largest: float = 80.0

    straight = False

    def __post_init__(self) -> None:
        if not 0 < self.smallest < self.largest:
            raise UserError(f"smallest = {self.smallest} and largest = {self.largest}: give 0 < smallest < largest.")

    @property
    def last(self) -> float:
        """σ_max."""
        return self.largest

    def alpha(self, t: Times) -> Times:
        """One."""
        return torch.ones_like(t)

    def sigma(self, t: Times) -> Times:
        """The time itself."""
        return t

    def label(self, t: Times) -> Times:
        """c_noise = ln(σ) / 4 (Table 1)."""
        return t.log() / 4


@dataclass(frozen=True, kw_only=True)
class VariancePreserving:
    """DDPM's chain (Ho et al. 2020, arXiv:2006.11239): α² = ᾱ = Π (1 − β), σ² = 1 − ᾱ.

    Time counts steps: t = 1 … `steps` has the ᾱ of the paper's step t, t = 0 is clean, and between them ln ᾱ is linear.
    """

    steps: int = 1000
    betas: Literal["linear", "cosine"] = "linear"
    """Ho et al.'s 1e-4 … 0.02, or Nichol & Dhariwal's cosine (2021, arXiv:2102.09672)."""
    log_alpha_bar: Float[Tensor, " steps"] = field(init=False, repr=False, compare=False)

    straight = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps = {self.steps} of a diffusion chain: give 1 or more.")
        if self.betas == "linear":
            beta = torch.linspace(1e-4, 0.02, self.steps, dtype=torch.float64)
        else:
            at = torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
            share = ((at + 0.008) / 1.008 * math.pi / 2).cos() ** 2
            beta = (1 - share[1:] / share[:-1]).clamp(max=0.999)
        clean = torch.zeros(1, dtype=torch.float64)
        object.__setattr__(self, "log_alpha_bar", torch.cat((clean, (1 - beta).log().cumsum(0))))

    @property
    def last(self) -> float:
        """The last step."""
        return float(self.steps)

    def alpha(self, t: Times) -> Times:
        """√ᾱ."""
        return (self._log_alpha_bar(t) / 2).exp().to(t.dtype)

    def sigma(self, t: Times) -> Times:
        """√(1 − ᾱ)."""
        return (-torch.expm1(self._log_alpha_bar(t))).sqrt().to(t.dtype)

    def label(self, t: Times) -> Times:
        """The step counted from 0, as the released networks were told."""
        return t - 1

    def _log_alpha_bar(self, t: Times) -> Times:
        table = self.log_alpha_bar.to(t.device)
        below = t.double().floor().clamp(0, self.steps - 1)
        low, high = table[below.long()], table[below.long() + 1]
        return low + (t.double() - below) * (high - low)


def broadcast(t: Float[Tensor, "*times"], x: Float[Tensor, "*shape"]) -> Float[Tensor, "*wide"]:
    """Times of the first axes of x (a clip, or each frame of it) with axes of one behind, to multiply x with."""
    return t.reshape(*t.shape, *(1,) * (x.ndim - t.ndim))


def mix(path: Path, data: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"], t: Times) -> Float[Tensor, "*shape"]:
    """x_t = α(t) x₀ + σ(t) ε, for one time a row or one an item."""
    return broadcast(path.alpha(t), data) * data + broadcast(path.sigma(t), data) * noise
