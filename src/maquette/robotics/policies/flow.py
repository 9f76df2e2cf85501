"""Flow matching as π0 has it: t = 1 is noise and t = 0 the action, the other way round than in the paper's text.

Equations of Black et al. 2024, arXiv:2410.24164 (section IV and appendix B), with t turned round as in openpi.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def beta_times(rows: int, generator: torch.Generator) -> Float[Tensor, " rows"]:
    """t = 0.999 · Beta(1.5, 1) + 0.001, most of it near the noise; Beta(1.5, 1) has the quantiles u^(1/1.5)."""
    return 0.999 * torch.rand(rows, generator=generator) ** (1 / 1.5) + 0.001


def between(x: Float[Tensor, "b *any"], noise: Float[Tensor, "b *any"], t: Float[Tensor, " b"]) -> Tensor:
    """x_t = t ε + (1 − t) x."""
    t = t.reshape(-1, *(1,) * (x.ndim - 1))
    return t * noise + (1 - t) * x


def velocity(x: Float[Tensor, "*any"], noise: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """dx_t/dt = ε − x: what the network learns."""
    return noise - x


def clean(x_t: Float[Tensor, "b *any"], v: Float[Tensor, "b *any"], t: float) -> Float[Tensor, "b *any"]:
    """x̂ = x_t − t v: the action that a velocity points at."""
    return x_t - t * v


def euler(
    field: Callable[[Tensor, Float[Tensor, " b"]], Tensor], noise: Float[Tensor, "b *any"], steps: int
) -> Float[Tensor, "b *any"]:
    """Follow the field from t = 1 to 0 in equal steps."""
    x = noise
    for step in range(steps):
        x = x - field(x, x.new_full((len(x),), 1 - step / steps)) / steps
    return x
