"""A causal 3-D convolutional KL autoencoder: clips to latents up to eight times smaller along each axis, and back.

As HunyuanVideo, Cosmos and Wan have it: 1 + r·n frames become 1 + n latents, of which each sees the frames up to its
own only, so that an image is a clip of one frame and a clip may have any length. Beside the convolutions runs a linear
way from a clip's Haar bands to the latents and back, so that training starts near what principal components could do
(as DC-AE's shortcuts from space to channels: Chen et al. 2024, arXiv:2410.10733).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.nn.causal import CausalConv, ChannelNorm, Clip, ResidualBlock, enlarge, haar, inverse_haar


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The architecture's numbers."""

    channels: int = 3
    latent: int = 8
    """Channels of the latents."""
    width: int = 32
    """Channels at the first level; every further level has twice as many, up to `widest` times the first."""
    widest: int = 4
    blocks: int = 1
    """Residual blocks a level, on either side."""
    space: int = 8
    """How many times smaller the sides become: 1, 2, 4 or 8."""
    time: int = 4
    """How many times fewer the frames become: 1, 2, 4 or 8."""
    wavelet: int = 0
    """How many of the halvings the Haar transform does, in place of convolutions."""
    seen: int = 3
    """Frames that a convolution sees, its own and those before; with 1 every frame is coded by itself."""

    def __post_init__(self) -> None:
        for name in ("channels", "latent", "width", "widest", "blocks", "seen"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)} of an autoencoder: give 1 or more.")
        for name in ("space", "time"):
            if getattr(self, name) not in (1, 2, 4, 8):
                raise UserError(f"{name} = {getattr(self, name)} of an autoencoder: give 1, 2, 4 or 8.")
        if not 0 <= self.wavelet <= len(self.strides):
            raise UserError(
                f"wavelet = {self.wavelet} of an autoencoder that halves {len(self.strides)} times: give at most that."
            )

    @property
    def strides(self) -> tuple[tuple[int, int], ...]:
        """Of each halving, in time and in space."""
        times, spaces = int(math.log2(self.time)), int(math.log2(self.space))
        return tuple((1 + (i < times), 1 + (i < spaces)) for i in range(max(times, spaces)))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first learnt halving, and after each."""
        halvings = len(self.strides) - self.wavelet
        return tuple(self.width * min(2**i, self.widest) for i in range(halvings + 1))

    def bands(self, halvings: int) -> int:
        """Channels after so many halvings by the Haar transform."""
        return self.channels * math.prod(time * space**2 for time, space in self.strides[:halvings])

    @property
    def halo(self) -> tuple[int, int]:
        """How many latents away, back in time and around in space, can lie what a latent or a pixel depends on."""

        def reach(factor: int) -> int:
            scales = [min(2**i, factor) for i in range(self.wavelet, len(self.strides) + 1)]
            levels = sum(scale * (2 * self.blocks + 1) for scale in scales[:-1])
            return levels + scales[-1] * (2 * self.blocks + 3) + scales[0]

        # A convolution of three sees one pixel to each side, but two frames back.
        back = (self.seen - 1) * reach(self.time)
        return math.ceil(back / self.time) + 1, math.ceil(reach(self.space) / self.space) + 1

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Channels, frames and sides of a clip's latents.

        Raises:
            UserError: the clip's length or sides do not fit.
        """
        if frames < 1 or (frames - 1) % self.time:
            low = 1 + max(frames - 1, 0) // self.time * self.time
            raise UserError(
                f"A clip of {frames} frames: this autoencoder takes 1 + {self.time} n; give {low} or {low + self.time}."
            )
        if height % self.space or width % self.space or min(height, width) < 1:
            raise UserError(f"A clip of {width} × {height} pixels: both sides must be multiples of {self.space}.")
        return self.latent, 1 + (frames - 1) // self.time, height // self.space, width // self.space


class Posterior(NamedTuple):
    """A normal distribution over latents."""

    mean: Clip
    log_variance: Clip

    def sample(self, generator: torch.Generator | None = None) -> Clip:
        """One draw, through which gradients flow."""
        noise = torch.randn(self.mean.shape, generator=generator).to(self.mean)
        return self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self) -> Clip:
        """KL(q ‖ N(0, 1)) of every number (Kingma & Welling 2013, arXiv:1312.6114, appendix B)."""
        return (self.mean**2 + self.log_variance.exp() - 1 - self.log_variance) / 2


class Autoencoder(nn.Module):
    """Clips in [−1, 1] to latents of order one, and back."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = c = config
        bands, every_band = c.bands(c.wavelet), c.bands(len(c.strides))
        strides, widths = c.strides[c.wavelet :], c.widths
        deepest = widths[-1]

        def blocks(width: int, count: int) -> list[nn.Module]:
            return [ResidualBlock(width, width, time=c.seen) for _ in range(count)]

        down: list[nn.Module] = [CausalConv(bands, widths[0], time=c.seen)]
        up: list[nn.Module] = []
        for (time, space), width, wider in zip(strides, widths, widths[1:], strict=False):
            halve = CausalConv(width, wider, stride=(time, space, space), time=max(time, c.seen))
            down += [*blocks(width, c.blocks), halve]
            up = [Enlarge(wider, width, time, space, c.seen), *blocks(width, c.blocks), *up]
        down += [*blocks(deepest, c.blocks + 1), ChannelNorm(deepest), nn.SiLU()]
        self.down = nn.Sequential(*down, CausalConv(deepest, 2 * c.latent, time=c.seen))
        ends = [ChannelNorm(widths[0]), nn.SiLU(), CausalConv(widths[0], bands, time=c.seen)]
        self.up = nn.Sequential(CausalConv(c.latent, deepest, time=c.seen), *blocks(deepest, c.blocks + 1), *up, *ends)
        self.straight_down = CausalConv(every_band, 2 * c.latent, size=1)
        self.straight_up = CausalConv(c.latent, every_band, size=1)
        self.register_buffer("mean", torch.zeros(c.latent))
        self.register_buffer("std", torch.ones(c.latent))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "Autoencoder":
        """Normal weights that keep the size of what passes; what is added to a straight way starts small."""
        last = [f"{side}.{len(getattr(self, side)) - 1}.weight" for side in ("down", "up")]
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if name.endswith("gain") else 0.0)
            else:
                share = 0.1 if name.endswith(("conv_out.weight", *last)) else 1.0
                parameter.normal_(0.0, share * parameter[0].numel() ** -0.5, generator=generator)
        return self

    def forward(self, x: Clip) -> tuple[Clip, Posterior]:
        """Clips from a draw of their latents, and what it was drawn from: what training needs."""
        posterior = self.posterior(x)
        return self.reconstruct(posterior.sample()), posterior

    def posterior(self, x: Clip) -> Posterior:
        """The distribution over latents, as they come out of the convolutions."""
        c = self.config
        some = self._split(x, 0, c.wavelet)
        found = self.down(some) + self.straight_down(self._split(some, c.wavelet, len(c.strides)))
        mean, log_variance = found.float().chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(-30, 20))

    def reconstruct(self, latents: Clip) -> Clip:
        """Clips from latents as they come out of the convolutions."""
        c = self.config
        x = self.up(latents) + self._join(self.straight_up(latents), c.wavelet, len(c.strides))
        return self._join(x, 0, c.wavelet)

    def _split(self, x: Clip, first: int, last: int) -> Clip:
        """Some of the halvings, by the Haar transform."""
        for time, space in self.config.strides[first:last]:
            x = haar(x, time=time == 2, space=space == 2)
        return x

    def _join(self, x: Clip, first: int, last: int) -> Clip:
        """Undo `_split`."""
        for time, space in reversed(self.config.strides[first:last]):
            x = inverse_haar(x, time=time == 2, space=space == 2)
        return x

    def encode(self, x: Clip) -> Clip:
        """The mean latents of clips, each channel with mean 0 and deviation 1 over what `settle` saw.

        Raises:
            UserError: the clip's length or sides do not fit.
        """
        self.config.latent_shape(*x.shape[2:])
        return (self.posterior(x).mean - _wide(self.mean)) / _wide(self.std)

    def decode(self, latents: Clip) -> Clip:
        """Clips from what `encode` gave."""
        return self.reconstruct(latents * _wide(self.std) + _wide(self.mean)).float()

    @torch.no_grad()
    def settle(self, x: Clip) -> None:
        """Measure the latents' mean and deviation on clips (LDM's scale factor, a channel each)."""
        latents = self.posterior(x).mean
        self.mean.copy_(latents.mean((0, 2, 3, 4)))
        self.std.copy_(latents.std((0, 2, 3, 4)).clamp(min=1e-6))


class Enlarge(nn.Module):
    """Nearest neighbours and a convolution."""

    def __init__(self, into: int, out: int, time: int, space: int, seen: int = 3) -> None:
        super().__init__()
        self.time, self.space = time, space
        self.conv = CausalConv(into, out, time=seen)

    def forward(self, x: Clip) -> Clip:
        """Enlarge."""
        return self.conv(enlarge(x, self.time, self.space))


def reconstruction_loss(model: nn.Module, batch: dict[str, Tensor], weight: float = 1e-6) -> Float[Tensor, ""]:
    """L1 over pixels plus a small share of the KL divergence, summed (Rombach et al. 2022, arXiv:2112.10752).

    The paper adds a perceptual and an adversarial term; both want networks trained on photographs.
    """
    clips, posterior = model(batch["clips"])
    error = F.l1_loss(clips.float(), batch["clips"], reduction="sum")
    return error + weight * posterior.divergence().sum()


def count_pixels(batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """How many numbers `reconstruction_loss` sums over."""
    return torch.tensor(float(batch["clips"].numel()))


def _wide(of_channels: Float[Tensor, " channels"]) -> Float[Tensor, "channels 1 1 1"]:
    return of_channels[:, None, None, None]
