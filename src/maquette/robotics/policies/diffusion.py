"""Diffusion as Diffusion Policy has it (Chi et al. 2023, arXiv:2303.04137): cosine schedule, predicting noise.

ᾱ by Nichol & Dhariwal 2021 (arXiv:2102.09672, eq. 17), sampling by Song et al. 2020 (DDIM, arXiv:2010.02502, eq. 12).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cosine_alphas(steps: int) -> Float[Tensor, " steps"]:
    """ᾱ of K steps: products of 1 − β, β = 1 − f(k + 1)/f(k) ≤ 0.999, f(k) = cos²((k/K + 0.008)/1.008 · π/2)."""

    def f(k: int) -> float:
        return math.cos((k / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - f(k + 1) / f(k), 0.999) for k in range(steps)]
    return (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0).float()


def add_noise(
    x: Float[Tensor, "b *any"], noise: Float[Tensor, "b *any"], alpha: Float[Tensor, " b"]
) -> Float[Tensor, "b *any"]:
    """x_k = √ᾱ x + √(1 − ᾱ) ε."""
    alpha = alpha.reshape(-1, *(1,) * (x.ndim - 1))
    return alpha.sqrt() * x + (1 - alpha).sqrt() * noise


def ddim(
    denoiser: Callable[[Tensor, Int[Tensor, " b"]], Tensor],
    noise: Float[Tensor, "b *any"],
    alphas: Float[Tensor, " K"],
    steps: int,
    clip: float = 1.0,
) -> Float[Tensor, "b *any"]:
    """From noise to x in `steps` of the K, without chance (η = 0); x̂ is kept within ±`clip` at every step."""
    x, total = noise, len(alphas)
    places = torch.linspace(total - 1, 0, steps).round().long().tolist()
    for place, following in zip(places, [*places[1:], -1], strict=True):
        alpha, after = alphas[place], alphas[following] if following >= 0 else alphas.new_ones(())
        epsilon = denoiser(x, torch.full((len(x),), place, device=x.device))
        found = ((x - (1 - alpha).sqrt() * epsilon) / alpha.sqrt()).clamp(-clip, clip)
        epsilon = (x - alpha.sqrt() * found) / (1 - alpha).sqrt()
        x = after.sqrt() * found + (1 - after).sqrt() * epsilon
    return x
