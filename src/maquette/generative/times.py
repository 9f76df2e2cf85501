"""Which times to train on, and which to stop at when sampling."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError
from maquette.generative.paths import Path, Times, VarianceExploding, VariancePreserving

Grid = Float[Tensor, " stops"]
"""Falling times in float64, from the noisiest to 0."""


class TimeSampler(Protocol):
    """Where training looks."""

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """So many random times."""


def shift(t: Times, by: float) -> Times:
    """Move times in [0, 1] towards noise, s t / (1 + (s − 1) t) (Esser et al. 2024, arXiv:2403.03206, equation 23).

    The same share of signal needs more noise where more pixels repeat it: s = √(pixels / pixels before).
    """
    return by * t / (1 + (by - 1) * t)


@dataclass(frozen=True, kw_only=True)
class UniformTimes:
    """Alike over (0, `last`]; whole steps where the path counts steps."""

    last: float = 1.0
    whole: bool = False
    shift: float = 1.0

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """So many random times."""
        if self.whole:
            return torch.randint(1, int(self.last) + 1, (count,), generator=generator).float()
        return shift(1 - torch.rand(count, generator=generator), self.shift) * self.last


@dataclass(frozen=True, kw_only=True)
class LogitNormalTimes:
    """sigmoid(N(mean, std²)), the middle of a flow more often than its ends (Esser et al. 2024, section 3.1)."""

    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0

    def __post_init__(self) -> None:
        if not (self.std > 0 and self.shift > 0):
            raise UserError(f"std = {self.std} and shift = {self.shift} of training times: give numbers above 0.")

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """So many random times."""
        return shift((self.mean + self.std * torch.randn(count, generator=generator)).sigmoid(), self.shift)


@dataclass(frozen=True, kw_only=True)
class LogNormalTimes:
    """ln σ ~ N(mean, std²): EDM's (Karras et al. 2022, Table 1). Cosmos has 0 and 1, DIAMOND −0.4 and 1.2."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """So many random times."""
        return (self.mean + self.std * torch.randn(count, generator=generator)).exp()


@dataclass(frozen=True, kw_only=True)
class BetaTimes:
    """(1 − least) Beta(a, 1) + least, most of it near the noise: π0's.

    Black et al. 2024 (arXiv:2410.24164, appendix B), with t turned round; Beta(a, 1) has the quantiles u^(1/a).
    """

    a: float = 1.5
    least: float = 0.001

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """So many random times."""
        return (1 - self.least) * torch.rand(count, generator=generator) ** (1 / self.a) + self.least


def flow_grid(steps: int, by: float = 1.0) -> Grid:
    """1, 1 − 1/n, …, 0, shifted."""
    _refuse(steps)
    return shift(torch.linspace(1, 0, steps + 1, dtype=torch.float64), by)


def linear_quadratic_grid(steps: int, fine: int = 1000) -> Grid:
    """The first half as in a grid of `fine` steps, the rest ever longer (Movie Gen, arXiv:2410.13720, 3.4.2)."""
    _refuse(steps)
    half = steps // 2
    start = torch.arange(half, dtype=torch.float64) / fine
    rest = torch.linspace(0, 1, steps - half + 1, dtype=torch.float64)
    # The first long step is as long as the short ones, and the last ends at 1.
    done, n = half / fine, steps - half
    slope = min(n / fine, 1 - done)
    return 1 - torch.cat((start, done + slope * rest + (1 - done - slope) * rest**2))


def karras_grid(steps: int, smallest: float = 0.002, largest: float = 80.0, rho: float = 7.0) -> Grid:
    """σ_i = (σ_max^(1/ρ) + i/(n−1) (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ, then 0 (Karras et al. 2022, equation 5)."""
    _refuse(steps)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = largest ** (1 / rho), smallest ** (1 / rho)
    return torch.cat(((high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)))


def step_grid(steps: int, of: int = 1000, spacing: Literal["leading", "trailing", "linspace"] = "trailing") -> Grid:
    """Steps of a chain, counted from 1, then 0: `trailing` starts at the last, `leading` ends at the first.

    `linspace` does both. `leading` is DDIM's own (Song et al. 2020, arXiv:2010.02502); it never sees pure noise (Lin et
    al. 2023, arXiv:2305.08891).
    """
    _refuse(steps)
    if steps > of:
        raise UserError(f"steps = {steps}: a chain of {of} steps has no more to stop at.")
    if spacing == "trailing":
        chosen = torch.arange(of, 0, -of / steps, dtype=torch.float64).round()[:steps]
    elif spacing == "linspace":
        chosen = torch.linspace(of - 1, 0, steps, dtype=torch.float64).round() + 1
    else:
        chosen = (torch.arange(steps, dtype=torch.float64) * (of // steps)).flip(0) + 1
    return torch.cat((chosen, torch.zeros(1, dtype=torch.float64)))


def grid_of(path: Path, steps: int, by: float = 1.0) -> Grid:
    """The grid that goes with a path: shifted on a flow, Karras's where noise is added, trailing steps of a chain."""
    if isinstance(path, VarianceExploding):
        return karras_grid(steps, path.smallest, path.largest)
    if isinstance(path, VariancePreserving):
        return step_grid(steps, path.steps)
    return flow_grid(steps, by)


def _refuse(steps: int) -> None:
    if steps < 1:
        raise UserError(f"steps = {steps}: give 1 or more.")
