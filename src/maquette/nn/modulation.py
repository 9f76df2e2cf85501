"""Streams that a condition steers: adaptive layer norm (adaLN, Peebles & Xie 2022, arXiv:2212.09748, section 3.2).

A stream here has what `stream.Stream` has, in the form of vision transformers (layer norms, biases, GELU), and may be
steered: a condition shifts and scales what its norms give (adaLN) and opens its residual updates (adaLN-Zero).

    b rows · t tokens · k conditions of a row · h heads · d head size
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maquette.nn.layers import RMSNorm
from maquette.nn.linear import Linear
from maquette.nn.rope import Pairing, rotate
from maquette.nn.stream import Rotary, attend


@dataclass(frozen=True, kw_only=True)
class SteeredConfig:
    """One stream's shape. Streams that attend together share `heads` and `head_dim`."""

    width: int
    hidden: int
    heads: int
    head_dim: int
    condition: int = 0
    """Width of what steers it; 0 means nothing does, and its norms have weights of their own."""
    gated: bool = True
    """adaLN-Zero's third vector, which opens the residual update."""
    qk_norm: bool = False
    pairing: Pairing = "rotate-half"
    attention_norm_eps: float = 1e-6
    mlp_norm_eps: float = 1e-6
    last: bool = False
    """Its tokens are looked at once more and then dropped, so that nothing is written to them."""

    @property
    def vectors(self) -> int:
        """Of a modulation: shift and scale of one norm or of two, and adaLN-Zero's gates."""
        return 2 if self.last else 6 if self.gated else 4


class Steering(NamedTuple):
    """What a condition does to one half of a block; None leaves it as it is."""

    shift: Float[Tensor, "b #t width"] | None = None
    scale: Float[Tensor, "b #t width"] | None = None
    gate: Float[Tensor, "b #t width"] | None = None


class SteeredStream(nn.Module):
    """One stream's part of one block: everything but the attention, which belongs to all streams."""

    def __init__(self, config: SteeredConfig) -> None:
        super().__init__()
        self.config = c = config
        free = not c.condition
        inner = c.heads * c.head_dim
        self.attention_norm = nn.LayerNorm(c.width, c.attention_norm_eps, elementwise_affine=free)
        self.qkv = Linear(c.width, inner, inner, inner, bias=True)
        self.q_norm = RMSNorm(c.head_dim, c.attention_norm_eps) if c.qk_norm else None
        self.k_norm = RMSNorm(c.head_dim, c.attention_norm_eps) if c.qk_norm else None
        self.modulation = None if free else Linear(c.condition, *[c.width] * c.vectors, bias=True)
        if c.last:
            return
        self.out = Linear(inner, c.width, bias=True)
        self.mlp_norm = nn.LayerNorm(c.width, c.mlp_norm_eps, elementwise_affine=free)
        self.mlp = MLP(c.width, c.hidden)

    def steering(
        self, condition: Float[Tensor, "b k condition"], of: Int[Tensor, "b t"] | None
    ) -> tuple[Steering, Steering]:
        """What conditions do to attention and MLP; `of` says which of the row's conditions is a token's."""
        if self.modulation is None:
            return Steering(), Steering()
        vectors = per_token(self.modulation(condition), of).chunk(self.config.vectors, dim=-1)
        half = 2 if self.config.last else len(vectors) // 2
        return Steering(*vectors[:half]), Steering(*vectors[half:])

    def project(
        self, x: Float[Tensor, "b t width"], rotary: Rotary | None, by: Steering
    ) -> tuple[Float[Tensor, "b t h d"], Float[Tensor, "b t h d"], Float[Tensor, "b t h d"]]:
        """Queries, keys and values of this stream's tokens; queries and keys turned to their places."""
        c = self.config
        q, k, v = self.qkv(modulate(self.attention_norm(x), by)).unflatten(-1, (3, c.heads, c.head_dim)).unbind(-3)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q.float()).to(v), self.k_norm(k.float()).to(v)  # as RMSNorm says, also under autocast
        if rotary is not None:
            q, k = rotate(q, *rotary, c.pairing), rotate(k, *rotary, c.pairing)
        return q, k, v

    def absorb(
        self, x: Float[Tensor, "b t width"], attended: Float[Tensor, "b t h d"], by: Steering
    ) -> Float[Tensor, "b t width"]:
        """The residual update by what attention brought."""
        return x if self.config.last else gated(x, self.out(attended.flatten(-2)), by)

    def feed(self, x: Float[Tensor, "b t width"], by: Steering) -> Float[Tensor, "b t width"]:
        """The residual update by the MLP."""
        return x if self.config.last else gated(x, self.mlp(modulate(self.mlp_norm(x), by)), by)


class MLP(nn.Module):
    """W₂ GELU(W₁ x + b₁) + b₂ with GELU's tanh form, as vision transformers have it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = Linear(width, hidden, bias=True)
        self.down = Linear(hidden, width, bias=True)

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        """Apply to every token alone."""
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class CrossAttention(nn.Module):
    """A residual update by what the tokens find in a context that does not look back (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int, head_dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.norm = nn.LayerNorm(width, eps)
        self.q = Linear(width, heads * head_dim, bias=True)
        self.kv = Linear(width, heads * head_dim, heads * head_dim, bias=True)
        self.out = Linear(heads * head_dim, width, bias=True)

    def forward(
        self,
        x: Float[Tensor, "b t width"],
        context: Float[Tensor, "b s width"],
        mask: Bool[Tensor, "b 1 t s"] | None = None,
    ) -> Float[Tensor, "b t width"]:
        """x and what it found; tokens that may look at nothing keep what they are, but for the bias."""
        q = self.q(self.norm(x)).unflatten(-1, (-1, self.head_dim))
        k, v = (part.unflatten(-1, (-1, self.head_dim)) for part in self.kv(context).chunk(2, dim=-1))
        return x + self.out(attend(q, k, v, mask).flatten(-2))


def modulate(x: Float[Tensor, "b t width"], by: Steering) -> Float[Tensor, "b t width"]:
    """x (1 + scale) + shift, in one pass over x."""
    if by.shift is None or by.scale is None:
        return x
    return torch.addcmul(by.shift, x, 1 + by.scale)


def gated(
    x: Float[Tensor, "b t width"], update: Float[Tensor, "b t width"], by: Steering
) -> Float[Tensor, "b t width"]:
    """x + gate · update."""
    return x + update if by.gate is None else torch.addcmul(x, by.gate, update)


def per_token(vectors: Float[Tensor, "b k width"], of: Int[Tensor, "b t"] | None) -> Float[Tensor, "b #t width"]:
    """Each token's vector; all of them share the row's one where `of` is None."""
    if of is None:
        return vectors
    return vectors.gather(1, of[..., None].expand(*of.shape, vectors.shape[-1]))
