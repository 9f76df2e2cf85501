"""A vision transformer that turns pictures into tokens: SigLIP's (Zhai et al. 2023, arXiv:2303.15343), no head."""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.nn.linear import Linear
from maquette.nn.modulation import SteeredConfig, SteeredStream, Steering
from maquette.nn.stream import attend


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """A tower's numbers."""

    size: int
    """Height and width of a picture in pixels."""
    patch: int
    width: int
    layers: int
    heads: int
    hidden: int
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.patch < 1 or self.size % self.patch:
            raise UserError(f"patch = {self.patch} in a vision config: must divide size = {self.size}.")
        if self.heads < 1 or self.width % self.heads:
            raise UserError(f"heads = {self.heads} in a vision config: must divide width = {self.width}.")

    @property
    def tokens(self) -> int:
        """Of one picture."""
        return (self.size // self.patch) ** 2


class VisionTower(nn.Module):
    """Pictures in, a token for every patch out."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = c = config
        self.patches = Linear(3 * c.patch**2, c.width, bias=True)
        self.places = nn.Parameter(torch.zeros(c.tokens, c.width))
        stream = SteeredConfig(
            width=c.width,
            hidden=c.hidden,
            heads=c.heads,
            head_dim=c.width // c.heads,
            attention_norm_eps=c.norm_eps,
            mlp_norm_eps=c.norm_eps,
        )
        self.layers = nn.ModuleList(SteeredStream(stream) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width, c.norm_eps)

    def forward(self, pixels: Float[Tensor, "b 3 size size"]) -> Float[Tensor, "b tokens width"]:
        """Pixels lie between −1 and 1."""
        p = self.config.patch
        cells = pixels.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # b c h p w q
        x = self.patches(cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)) + self.places
        free = Steering()
        for stream in cast("list[SteeredStream]", list(self.layers)):
            x = stream.absorb(x, attend(*stream.project(x, None, free)), free)
            x = stream.feed(x, free)
        return self.norm(x)
