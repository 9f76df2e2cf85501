"""From noise to data: solvers of the probability-flow ODE, and one that adds noise on the way.

All of them walk a grid of falling times that ends at 0 and ask for nothing but the estimate D(x_t, t) of x₀, so that
whatever a network predicts, on whatever path, any of them can sample it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.generative.objectives import Denoiser, Shaped
from maquette.generative.paths import Path
from maquette.generative.times import Grid

SamplerName = Literal["ddim", "euler", "heun", "dpm++2m", "ancestral"]


@dataclass(frozen=True)
class _Stop:
    """One time of the grid with the path's numbers there, as Python floats: float32 tensors would round them."""

    t: float
    alpha: float
    sigma: float
    straight: bool

    @property
    def scale(self) -> float:
        """x_t / scale moves on straight lines in `clock`, were D constant."""
        return 1.0 if self.straight else self.alpha

    @property
    def clock(self) -> float:
        return self.sigma / self.scale


def ddim(
    denoise: Denoiser,
    x: Shaped,
    grid: Grid,
    path: Path,
    *,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Shaped:
    """Song et al. 2020 (arXiv:2010.02502), equation 12: keep both parts of x_t and mix them anew.

    With `eta` = 1 it is DDPM's own ancestral sampling, and Karras's Euler with fresh noise: the three are one rule.
    """
    for here, there in _stops(grid, path):
        data, noise = _parts(x, denoise(x, _time(x, here)), here)
        fresh = eta * _fresh_noise(here, there)
        x = there.alpha * data + math.sqrt(max(there.sigma**2 - fresh**2, 0.0)) * noise
        if fresh:
            x = x + fresh * _normal(x, generator)
    return x


def ancestral(
    denoise: Denoiser, x: Shaped, grid: Grid, path: Path, *, generator: torch.Generator | None = None
) -> Shaped:
    """DDPM's sampling (Ho et al. 2020, algorithm 2) on any grid: all the noise that the step's posterior has."""
    return ddim(denoise, x, grid, path, eta=1.0, generator=generator)


def euler(denoise: Denoiser, x: Shaped, grid: Grid, path: Path) -> Shaped:
    """Straight steps along the ODE. In the coordinates where paths are straight these are DDIM's."""
    for here, there in _stops(grid, path):
        slope = _slope(x, denoise(x, _time(x, here)), here)
        x = there.scale * (x / here.scale + (there.clock - here.clock) * slope)
    return x


def follow(velocity: Callable[[Shaped, Float[Tensor, " rows"]], Shaped], x: Shaped, grid: Grid) -> Shaped:
    """Straight steps along dx/dt where a network says just that: `euler` on a flow, without the way over x₀."""
    for here, there in pairwise(grid.tolist()):
        x = x + (there - here) * velocity(x, torch.full(x.shape[:1], here, device=x.device, dtype=x.dtype))
    return x


def heun(denoise: Denoiser, x: Shaped, grid: Grid, path: Path) -> Shaped:
    """Karras et al. 2022, algorithm 1: a straight step, and then along the mean of both ends' slopes.

    Two evaluations a step, one for the last, where the slope at t = 0 is not defined.
    """
    for here, there in _stops(grid, path):
        slope = _slope(x, denoise(x, _time(x, here)), here)
        change = there.clock - here.clock
        guess = there.scale * (x / here.scale + change * slope)
        if there.sigma > 0:
            slope = (slope + _slope(guess, denoise(guess, _time(x, there)), there)) / 2
        x = there.scale * (x / here.scale + change * slope)
    return x


def dpm_plus_plus_2m(denoise: Denoiser, x: Shaped, grid: Grid, path: Path) -> Shaped:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): DDIM with x₀ extrapolated from the last two.

    One evaluation a step; the first and the last step are of first order.
    """
    before, width_before = None, 0.0
    for here, there in _stops(grid, path):
        data = denoise(x, _time(x, here))
        width = _log_signal(there) - _log_signal(here)
        ahead = data
        if before is not None and there.sigma > 0 and math.isfinite(width_before):
            ahead = data + (data - before) * (width / (2 * width_before))
        x = there.alpha * ahead + there.sigma * _parts(x, ahead, here)[1]
        before, width_before = data, width
    return x


SAMPLERS: dict[SamplerName, Callable[..., Shaped]] = {
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpm++2m": dpm_plus_plus_2m,
    "ancestral": ancestral,
}
"""Each called with (denoiser, noise, grid, path)."""


def start(
    shape: tuple[int, ...], grid: Grid, path: Path, generator: torch.Generator | None = None
) -> Float[Tensor, "*shape"]:
    """Noise at the grid's first time."""
    return torch.randn(shape, generator=generator) * float(path.sigma(grid[:1]))


def _stops(grid: Grid, path: Path) -> list[tuple[_Stop, _Stop]]:
    """Neighbouring times of the grid."""
    grid = grid.double()
    numbers = zip(grid.tolist(), path.alpha(grid).tolist(), path.sigma(grid).tolist(), strict=True)
    stops = [_Stop(*of, path.straight) for of in numbers]
    return list(pairwise(stops))


def _time(x: Shaped, stop: _Stop) -> Float[Tensor, " rows"]:
    return torch.full(x.shape[:1], stop.t, device=x.device)


def _parts(x: Shaped, data: Shaped, here: _Stop) -> tuple[Shaped, Shaped]:
    """The estimate of x₀, and the noise that then is in x_t."""
    return data, (x - here.alpha * data) / here.sigma


def _slope(x: Shaped, data: Shaped, here: _Stop) -> Shaped:
    """d(x / scale) / d clock: ε − x₀ where x_t itself is straight, ε where x_t/α is."""
    data, noise = _parts(x, data, here)
    return noise - data if here.straight else noise


def _log_signal(stop: _Stop) -> float:
    """λ = ln(α/σ)."""
    if stop.sigma == 0:
        return math.inf
    return math.log(stop.alpha / stop.sigma) if stop.alpha else -math.inf


def _fresh_noise(here: _Stop, there: _Stop) -> float:
    """σ of the step's posterior (DDIM, equation 16): α_s · ρ_s √(1 − ρ_s²/ρ_t²) with ρ = σ/α."""
    ratio = there.sigma * here.alpha / (there.alpha * here.sigma)
    return there.sigma * math.sqrt(max(1 - ratio**2, 0.0))


def _normal(x: Shaped, generator: torch.Generator | None) -> Shaped:
    """Drawn on the CPU, so that a seed gives the same sample on every device."""
    return torch.randn(x.shape, generator=generator).to(x)
