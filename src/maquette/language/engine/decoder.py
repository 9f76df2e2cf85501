"""One token a row through a small Llama on a CPU, where time goes into calls rather than into products.

The model's own pass, written with a third of its calls: gains of norms are folded into the products behind them, the
scale of the scores into the queries, residuals into the products that add to them. The weights are kept twice, so this
is for models up to `LARGEST`; what it gives is the model's up to rounding, which the tests hold it to.

    n rows · s places of the cache · h heads · k key-value heads · d head size
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from maquette.language.llama import Llama
from maquette.nn.cache import KeyValueCache
from maquette.nn.masks import place_mask
from maquette.nn.rope import YarnScaling, rotary_angles
from maquette.nn.stream import Stream

LARGEST = 2**28
"""Bytes of weights; beyond, products take so long that calls do not matter."""


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A block's weights, each transposed to stand on the right of a product."""

    qkv: Float[Tensor, "width qkv"]
    bias: Float[Tensor, " qkv"] | None
    gains: Float[Tensor, "hk d"] | None
    out: Float[Tensor, "hd width"]
    gate_up: Float[Tensor, "width gate_up"]
    down: Float[Tensor, "hidden width"]
    local: bool


class Decoder:
    """A model's weights, prepared."""

    def __init__(self, model: Llama, capacity: int) -> None:
        c = self.config = model.config
        self.embedding = model.embedding.weight
        self.layers = [_layer(model, i) for i in range(c.layers)]
        self.head = (model.head.weight * model.norm.weight).T.contiguous()
        magnitude = c.rope_scaling.magnitude if isinstance(c.rope_scaling, YarnScaling) else 1.0
        cos, sin = rotary_angles(torch.arange(capacity), model.frequency, magnitude)
        dtype = self.embedding.dtype
        self.cos, self.sin = torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)

    def __call__(
        self, tokens: Int[Tensor, " n"], places: Int[Tensor, " n"], cache: KeyValueCache
    ) -> Float[Tensor, "n vocabulary"]:
        """Logits behind one more token of each of the first n rows, which goes to `places`."""
        c, n = self.config, len(tokens)
        heads, half = c.heads + c.kv_heads, c.head_dim // 2
        reach = int(places.max()) + 1
        ragged = bool((places != places[0]).any())
        hidden = ~place_mask(places[:, None], reach)[:, None] if ragged else None
        local = ~place_mask(places[:, None], reach, c.window)[:, None] if 0 < c.window < reach else None
        rows, cos, sin = torch.arange(n), self.cos[places], self.sin[places]
        x = self.embedding[tokens]
        for keys, values, layer in zip(cache.keys, cache.values, self.layers, strict=True):
            y = F.rms_norm(x, (c.width,), None, c.norm_eps)
            y = torch.mm(y, layer.qkv) if layer.bias is None else torch.addmm(layer.bias, y, layer.qkv)
            y = y.view(n, -1, c.head_dim)
            qk = y[:, :heads]
            if layer.gains is not None:
                qk = F.rms_norm(qk, (c.head_dim,), None, c.norm_eps) * layer.gains
            turned = qk.unflatten(-1, (2, half)).flip(-2).flatten(-2)
            qk = torch.addcmul(qk * cos, turned, sin)
            if ragged:
                keys[rows, :, places], values[rows, :, places] = qk[:, c.heads :], y[:, heads:]
            else:
                keys[:n, :, reach - 1], values[:n, :, reach - 1] = qk[:, c.heads :], y[:, heads:]
            q = qk[:, : c.heads].reshape(n * c.kv_heads, -1, c.head_dim)
            scores = torch.bmm(q, keys[:n, :, :reach].flatten(0, 1).transpose(1, 2))
            unseen = local if layer.local and local is not None else hidden
            if unseen is not None:
                scores.view(n, c.heads, 1, reach).masked_fill_(unseen, -torch.inf)
            y = torch.bmm(scores.softmax(-1), values[:n, :, :reach].flatten(0, 1))
            x = torch.addmm(x, y.view(n, -1), layer.out)
            gate, up = torch.mm(F.rms_norm(x, (c.width,), None, c.norm_eps), layer.gate_up).chunk(2, -1)
            x = torch.addmm(x, F.silu(gate).mul_(up), layer.down)
        return torch.mm(F.rms_norm(x, (c.width,), None, c.norm_eps), self.head)


def fits(model: Llama) -> bool:
    """Whether a model is small and on a CPU."""
    weight = model.embedding.weight
    return weight.device.type == "cpu" and model.config.parameters * weight.element_size() <= LARGEST


def _layer(model: Llama, number: int) -> _Layer:
    c = model.config
    stream = model.blocks[number].get_submodule("streams.0")
    assert isinstance(stream, Stream)
    qkv = stream.qkv.weight * stream.attention_norm.weight
    bias = None if stream.qkv.bias is None else stream.qkv.bias.clone()
    gains = None
    scale = c.head_dim**-0.5
    if stream.q_norm is not None and stream.k_norm is not None:
        q, k = stream.q_norm.weight * scale, stream.k_norm.weight
        gains = torch.stack([q] * c.heads + [k] * c.kv_heads)
    else:
        qkv[: c.heads * c.head_dim] *= scale
        if bias is not None:
            bias[: c.heads * c.head_dim] *= scale
    return _Layer(
        qkv=qkv.T.contiguous(),
        bias=bias,
        gains=gains,
        out=stream.out.weight.T.contiguous(),
        gate_up=(stream.mlp.gate_up.weight * stream.mlp_norm.weight).T.contiguous(),
        down=stream.mlp.down.weight.T.contiguous(),
        local=c.window > 0 and number >= c.window_from,
    )
