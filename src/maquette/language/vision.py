"""A vision transformer that turns pictures into tokens: SigLIP's (Zhai et al. 2023, arXiv:2303.15343), no head."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.nn.linear import Linear
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


class VisionBlock(nn.Module):
    """A layer of the tower: layer norms, biases everywhere, and an MLP without a gate."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        c, self.heads = config, config.heads
        self.attention_norm = nn.LayerNorm(c.width, c.norm_eps)
        self.qkv = Linear(c.width, c.width, c.width, c.width, bias=True)
        self.out = Linear(c.width, c.width, bias=True)
        self.mlp_norm = nn.LayerNorm(c.width, c.norm_eps)
        self.up = Linear(c.width, c.hidden, bias=True)
        self.down = Linear(c.hidden, c.width, bias=True)

    def forward(self, x: Float[Tensor, "b t width"]) -> Float[Tensor, "b t width"]:
        """All patches see one another."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        x = x + self.out(attend(q, k, v).flatten(-2))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class VisionTower(nn.Module):
    """Pictures in, a token for every patch out."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = c = config
        self.patches = Linear(3 * c.patch**2, c.width, bias=True)
        self.places = nn.Parameter(torch.zeros(c.tokens, c.width))
        self.blocks = nn.ModuleList(VisionBlock(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width, c.norm_eps)

    def forward(self, pixels: Float[Tensor, "b 3 size size"]) -> Float[Tensor, "b tokens width"]:
        """Pixels lie between −1 and 1."""
        p = self.config.patch
        cells = pixels.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # b c h p w q
        x = self.patches(cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)) + self.places
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
