"""The one transformer: blocks over one or more streams of tokens.

Each stream has its own norms, projections and MLP, and may have a width of its own; attention is computed once, over
the tokens of all streams together, under one mask. Llama is one causal stream. π0 is two (the vision-language prefix
and the action expert), MM-DiT two (video and text); they share heads and head size, and nothing else.

    b batch · t tokens of a stream · s tokens of all streams · h heads · k key-value heads · d head size
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from maquette.nn.cache import Cache
from maquette.nn.layers import Gate, GatedMLP, RMSNorm
from maquette.nn.linear import Linear
from maquette.nn.masks import causal_mask
from maquette.nn.rope import Pairing, rotate

Rotary = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """One stream's shape. All streams of a block share `heads`, `kv_heads` and `head_dim`; widths may differ."""

    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float = 1e-5
    gate: Gate = "SiLU"
    pairing: Pairing = "rotate-half"
    qkv_bias: bool = False
    qk_norm: bool = False
    """RMS norms of every head's queries and keys before they are turned (Dehghani et al. 2023, arXiv:2302.05442)."""


class Stream(nn.Module):
    """One stream's part of one block: everything but the attention, which belongs to all streams."""

    def __init__(self, config: StreamConfig) -> None:
        super().__init__()
        self.config = c = config
        self.attention_norm = RMSNorm(c.width, c.norm_eps)
        self.qkv = Linear(c.width, *(c.head_dim * n for n in (c.heads, c.kv_heads, c.kv_heads)), bias=c.qkv_bias)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps) if c.qk_norm else None
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps) if c.qk_norm else None
        self.out = Linear(c.heads * c.head_dim, c.width)
        self.mlp_norm = RMSNorm(c.width, c.norm_eps)
        self.mlp = GatedMLP(c.width, c.hidden, c.gate)

    def project(
        self, x: Float[Tensor, "b t width"], rotary: Rotary | None
    ) -> tuple[Float[Tensor, "b t h d"], Float[Tensor, "b t k d"], Float[Tensor, "b t k d"]]:
        """Queries, keys and values of this stream's tokens; queries and keys turned to their positions."""
        c = self.config
        heads = self.qkv(self.attention_norm(x)).unflatten(-1, (-1, c.head_dim))
        qk, v = heads.split((c.heads + c.kv_heads, c.kv_heads), dim=-2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.split((c.heads, c.kv_heads), dim=-2)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=-2)
        if rotary is not None:
            qk = rotate(qk, *rotary, c.pairing)
        q, k = qk.split((c.heads, c.kv_heads), dim=-2)
        return q, k, v

    def absorb(self, x: Float[Tensor, "b t width"], attended: Float[Tensor, "b t h d"]) -> Float[Tensor, "b t width"]:
        """The residual updates: what attention brought, then the MLP."""
        x = x + self.out(attended.flatten(-2))
        return x + self.mlp(self.mlp_norm(x))


class Block(nn.Module):
    """One layer: every stream projects, all attend together, every stream absorbs its own share."""

    def __init__(self, *streams: StreamConfig) -> None:
        super().__init__()
        shared = {(s.heads, s.kv_heads, s.head_dim) for s in streams}
        if len(shared) != 1:
            raise ValueError(f"Streams that attend together must share heads, kv_heads and head_dim; got {shared}.")
        self.streams = nn.ModuleList(Stream(config) for config in streams)

    def forward(
        self,
        xs: tuple[Float[Tensor, "b _t _width"], ...],
        rotary: tuple[Rotary | None, ...],
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> tuple[Float[Tensor, "b _t _width"], ...]:
        """Args follow the streams' order; `mask` is True where a query may look, `causal` the fast common case."""
        streams = cast("list[Stream]", list(self.streams))
        projected = [s.project(x, r) for s, x, r in zip(streams, xs, rotary, strict=True)]
        q, k, v = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) for parts in zip(*projected, strict=True))
        shares = attend(q, k, v, mask, causal, cache, layer).split([x.shape[1] for x in xs], dim=1)
        return tuple(s.absorb(x, share) for s, x, share in zip(streams, xs, shares, strict=True))


def attend(
    q: Float[Tensor, "b s h d"],
    k: Float[Tensor, "b s k d"],
    v: Float[Tensor, "b s k d"],
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    cache: Cache | None = None,
    layer: int = 0,
) -> Float[Tensor, "b s h d"]:
    """Grouped-query softmax attention, softmax(q kᵀ / √d) v, over PyTorch's fused kernel.

    A query that may look at nothing gets zero.

    Raises:
        ValueError: `causal` with other keys than the queries' own; say with a mask where the queries sit among them.
    """
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if cache is not None:
        k, v = cache.extend(layer, k.to(cache.dtype), v.to(cache.dtype))
        k, v = k.to(q.dtype), v.to(q.dtype)
    if causal and q.shape[2] != k.shape[2]:
        raise ValueError(f"causal attention of {q.shape[2]} queries to {k.shape[2]} keys; give a mask.")
    if q.shape[2] == 1 and q.device.type == "cpu" and not torch.is_grad_enabled():
        x = _of_one_query(q, k, v, mask)
    elif _short(q, k):
        x = _by_products(q, k, v, mask, causal)
    else:
        grouped = q.shape[1] != k.shape[1]
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)
    return x.transpose(1, 2)


def _of_one_query(
    q: Float[Tensor, "b h 1 d"],
    k: Float[Tensor, "b k s d"],
    v: Float[Tensor, "b k s d"],
    mask: Bool[Tensor, "b 1 1 s"] | None,
) -> Float[Tensor, "b h 1 d"]:
    """The same for one token a row, as sampling has it: the fused kernel spends its time on blocks of one."""
    (b, h, _, d), (kv, s) = q.shape, k.shape[1:3]
    scores = torch.bmm(q.reshape(b * kv, h // kv, d) * d**-0.5, k.flatten(0, 1).transpose(1, 2)).view(b, h, 1, s)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.bmm(scores.softmax(-1).view(b * kv, h // kv, s), v.flatten(0, 1)).view(b, h, 1, d)


def _short(q: Tensor, k: Tensor) -> bool:
    """Whether plain products beat PyTorch's fused kernel: in bfloat16 on a CPU up to some 512 tokens.

    The fused kernel's backward pass converts to float32 and back; `benchmarks/lm_training.py` times both.
    """
    return q.dtype == torch.bfloat16 and q.device.type == "cpu" and k.shape[2] <= 512


def _by_products(
    q: Float[Tensor, "b h q d"],
    k: Float[Tensor, "b k s d"],
    v: Float[Tensor, "b k s d"],
    mask: Bool[Tensor, "..."] | None,
    causal: bool,
) -> Float[Tensor, "b h q d"]:
    """The same attention written out, each key-value head with all the queries it serves in one product."""
    (b, h, t, d), (kv, s) = q.shape, k.shape[1:3]
    group = h // kv
    seen = mask.any(-1, keepdim=True) if mask is not None else None
    if causal:
        mask = causal_mask(t, s).to(q.device)
    # The lowest number and not −∞, whose softmax over a row without any key would be NaN.
    bias = q.new_zeros(()) if mask is None else q.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(q.dtype).min)
    bias = bias.repeat(group, 1) if bias.ndim == 2 else bias.expand(b, h, t, s).reshape(b * kv, group * t, s)
    queries, keys = q.reshape(b * kv, group * t, d), k.reshape(b * kv, s, d)
    scores = torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=d**-0.5)
    attended = torch.bmm(scores.softmax(-1).to(v.dtype), v.reshape(b * kv, s, d)).view(b, h, t, d)
    return attended if seen is None else attended * seen
