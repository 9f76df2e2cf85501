"""Where a token lies in time and space: rotary and sinusoidal embeddings of more than one axis."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.nn.rope import frequencies, rotary_angles


def grid_places(*sizes: int) -> Int[Tensor, "tokens axes"]:
    """Every place of a grid, the last axis running fastest."""
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))


def split_axes(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head that turn with time, height and width: a third each, time takes the rest (Cosmos)."""
    space = head_dim // 6 * 2
    return head_dim - 2 * space, space, space


def axial_angles(
    places: Int[Tensor, "*batch tokens axes"], dims: tuple[int, ...], theta: float
) -> tuple[Float[Tensor, "*batch tokens 1 half"], Float[Tensor, "*batch tokens 1 half"]]:
    """Rotary angles of several axes side by side: `dims[i]` channels of each head turn with axis i.

    HunyuanVideo has (16, 56, 56) of 128 and θ = 256 (arXiv:2412.03603). Works with either pairing.
    """
    parts = [
        rotary_angles(places[..., i], frequencies(dim, theta).to(places.device)) for i, dim in enumerate(dims) if dim
    ]
    return torch.cat([cos for cos, _ in parts], -1), torch.cat([sin for _, sin in parts], -1)


def sinusoid(
    x: Float[Tensor, "*any"], channels: int, *, cosine_first: bool = False, shift: int = 0, longest: float = 10_000.0
) -> Float[Tensor, "*any channels"]:
    """Sines and cosines of x at `channels`/2 frequencies from 1 down to 1/longest (Vaswani et al. 2017).

    With `shift` = 1 the last frequency is 1/longest itself, without it would be the next.
    """
    half = channels // 2
    exponent = torch.arange(half, dtype=torch.float64, device=x.device) / (half - shift)
    angle = x[..., None].double() * longest**-exponent
    waves = (angle.cos(), angle.sin()) if cosine_first else (angle.sin(), angle.cos())
    return torch.cat(waves, -1).float()


def image_embedding(places: Int[Tensor, "*batch tokens 3"], width: int) -> Float[Tensor, "*batch tokens width"]:
    """DiT's fixed embedding of a place in an image: half of the channels tell the column, half the row."""
    row, column = places[..., 1].float(), places[..., 2].float()
    return torch.cat((sinusoid(column, width // 2), sinusoid(row, width // 2)), -1)
