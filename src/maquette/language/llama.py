"""Llama 3 (Grattafiori et al. 2024, arXiv:2407.21783): one causal stream, grouped queries, RoPE, SwiGLU, RMSNorm.

Its near relatives differ by a switch each: Mistral looks back over a window, Qwen2.5 has biases on q, k and v, Qwen3
norms queries and keys.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.nn.cache import Cache
from maquette.nn.layers import RMSNorm
from maquette.nn.linear import Linear
from maquette.nn.masks import place_mask
from maquette.nn.rope import Llama3Scaling, Scaling, YarnScaling, frequencies, rotary_angles
from maquette.nn.stream import Block, Stream, StreamConfig


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The architecture's numbers; `head_dim` and `hidden` follow from the others where they are not given."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    head_dim: int = 0
    """0 means width / heads."""
    context: int = 8192
    """Longest input in tokens that the model was made for."""
    rope_theta: float = 500_000.0
    rope_scaling: Scaling | None = None
    norm_eps: float = 1e-5
    tied: bool = False
    """One matrix serves as embedding and as head."""
    qkv_bias: bool = False
    qk_norm: bool = False
    window: int = 0
    """How many tokens a query looks back on, itself included; 0 means all."""
    window_from: int = 0
    """The first layer that has the window."""

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "layers", "heads", "kv_heads", "hidden", "context"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)} in a Llama config: give 1 or more.")
        if self.heads % self.kv_heads:
            raise UserError(f"kv_heads = {self.kv_heads} in a Llama config: must divide heads = {self.heads}.")
        if self.head_dim == 0:
            if self.width % self.heads:
                raise UserError(f"heads = {self.heads} in a Llama config: must divide width = {self.width}.")
            object.__setattr__(self, "head_dim", self.width // self.heads)
        if self.head_dim < 1 or self.head_dim % 2:
            raise UserError(f"head_dim = {self.head_dim} in a Llama config: RoPE turns pairs, so it must be even.")
        for name in ("window", "window_from"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} = {getattr(self, name)} in a Llama config: give 0 or more.")
        for name in ("rope_theta", "norm_eps"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} = {getattr(self, name)} in a Llama config: give a number above 0.")

    @property
    def non_embedding_parameters(self) -> int:
        """Parameters without embedding and head: Kaplan's N."""
        products = self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads) + 3 * self.width * self.hidden
        return self.layers * (products + self._vectors) + self.width

    @property
    def _vectors(self) -> int:
        """Parameters of a layer that are no matrix: norms and biases."""
        biases = self.head_dim * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        return 2 * self.width + biases + (2 * self.head_dim if self.qk_norm else 0)

    @property
    def parameters(self) -> int:
        """All parameters: Hoffmann's N. A tied matrix counts once."""
        return self.non_embedding_parameters + self.vocabulary * self.width * (1 if self.tied else 2)

    def flops_per_token(self, length: int) -> float:
        """Training FLOPs a token in rows of `length`: 6 a weight of every product, and causal attention's own.

        Looking up an embedding costs nothing; the head's product does (Porian et al. 2024 on why that matters).
        """
        vectors = self.layers * self._vectors + self.width
        products = self.non_embedding_parameters - vectors + self.vocabulary * self.width
        attention = self.layers * self.heads * self.head_dim * length * 2  # q·k and p·v, half of each masked away
        return 6.0 * products + 3.0 * attention

    def forward_flops(self, new: int, past: int = 0) -> float:
        """FLOPs of a forward pass over `new` tokens behind `past` ones, with a head for each."""
        seen = new * past + new * (new + 1) / 2
        return new * self.flops_per_token(0) / 3 + 4.0 * self.layers * self.heads * self.head_dim * seen


SIZES = {
    "llama-3-8b": LlamaConfig(vocabulary=128_256, width=4096, layers=32, heads=32, kv_heads=8, hidden=14_336),
    "llama-3-70b": LlamaConfig(vocabulary=128_256, width=8192, layers=80, heads=64, kv_heads=8, hidden=28_672),
    "llama-3.1-405b": LlamaConfig(
        vocabulary=128_256,
        width=16_384,
        layers=126,
        heads=128,
        kv_heads=8,
        hidden=53_248,
        context=131_072,
        rope_scaling=Llama3Scaling(),
    ),
}
"""The paper's Table 3."""


class Llama(nn.Module):
    """Tokens in, next-token logits out."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = c = config
        stream = StreamConfig(
            width=c.width,
            hidden=c.hidden,
            heads=c.heads,
            kv_heads=c.kv_heads,
            head_dim=c.head_dim,
            norm_eps=c.norm_eps,
            qkv_bias=c.qkv_bias,
            qk_norm=c.qk_norm,
        )
        self.embedding = nn.Embedding(c.vocabulary, c.width)
        self.blocks = nn.ModuleList(Block(stream) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.head = Linear(c.width, c.vocabulary)
        self.register_buffer("frequency", None, persistent=False)
        self.settle()

    def settle(self) -> None:
        """Tie what is tied and compute what is not stored; needed again after `to_empty`, which undoes both."""
        if self.config.tied:
            self.head.weight = cast("nn.Parameter", self.embedding.weight)
        self.frequency = frequencies(self.config.head_dim, self.config.rope_theta, self.config.rope_scaling)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, alike: float = 0.0) -> "Llama":
        """Normal weights of deviation 1/√width; the projections that write to the residual are smaller by √(2 layers).

        The rule keeps activations and logits of order one at every width (0.02, the usual constant, is its value at
        2,500), so that sizes far apart start alike, as a scaling law needs.

        Args:
            generator: draws them.
            alike: the correlation of keys' weights with those of the queries that look for them. Above 0 tokens look
                at first at what is like them, which is half of looking something up (mimetic initialisation: Trockman
                & Kolter 2023, arXiv:2305.09828).
        """
        std = self.config.width**-0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            elif name.endswith((".out.weight", ".down.weight")):
                parameter.normal_(0.0, std * (2 * self.config.layers) ** -0.5, generator=generator)
            else:
                parameter.normal_(0.0, std, generator=generator)
        for block in self.blocks if alike else ():
            qkv = cast("Stream", cast("Block", block).streams[0]).qkv
            queries, keys, _ = qkv.weight.split(qkv.parts)
            groups = queries.unflatten(0, (self.config.kv_heads, -1, self.config.head_dim))
            keys.mul_((1 - alike**2) ** 0.5).add_(groups[:, 0].flatten(0, 1), alpha=alike)
        return self

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "..."] | None = None,
        positions: Int[Tensor, "*#batch length"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of each next token; `mask` replaces the causal one, `cache` holds what came before."""
        return self.head(self.features(tokens, mask, positions, cache))

    def features(
        self,
        tokens: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "..."] | None = None,
        positions: Int[Tensor, "*#batch length"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """What the head reads, for who needs the logits of few tokens; the arguments are those of a call."""
        new = tokens.shape[1]
        places = torch.arange(new, device=tokens.device)[None] if cache is None else cache.places(new)
        scaling, window = self.config.rope_scaling, self.config.window
        rotary = rotary_angles(
            places if positions is None else positions,
            self.frequency,
            scaling.magnitude if isinstance(scaling, YarnScaling) else 1.0,
        )
        total = new if cache is None else cache.length + new
        causal = mask is None and total == new
        if mask is None and not causal and cache is not None and (new > 1 or cache.ragged):
            mask = place_mask(places, total)[:, None]
        local = None
        if window and total > window:
            local = place_mask(places, total, window)[:, None]
            local = local if mask is None else local & mask
        x = self.embedding(tokens)
        for layer, block in enumerate(self.blocks):
            if local is not None and layer >= self.config.window_from:
                (x,) = block((x,), (rotary,), local, False, cache, layer)
            else:
                (x,) = block((x,), (rotary,), mask, causal, cache, layer)
        return self.norm(x)


def next_token_loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over the batch's targets; a target of −100 does not count."""
    logits = model(batch["tokens"])
    return F.cross_entropy(logits.flatten(0, 1).float(), batch["targets"].flatten(), reduction="sum")


def count_targets(batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """How many targets `next_token_loss` sums over."""
    return (batch["targets"] != -100).sum().float()
