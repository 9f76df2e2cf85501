"""A start for small language models that have to look things up: first-layer heads that look at the tokens before.

To go on from "the red ball is" as the text did the last time, an induction head (Olsson et al. 2022, arXiv:2209.11895)
looks for a token before which "red ball" stood; tokens have to know first what stood before them. Heads find this by
themselves, but when they do is chance and can take most of a short training. So they begin with it, as mimetic
initialisation has weights begin like those of trained models (Trockman & Kolter 2023, arXiv:2305.09828).
"""

import math
from typing import cast

import torch
from torch import Tensor

from maquette.language.llama import Llama
from maquette.nn.rope import rotary_angles, rotate
from maquette.nn.stream import Block, Stream

SHARED = 0.7
"""Length of what all embeddings then have in common, beside what is each one's own, whose length is 1."""
CHANNELS = 3
"""Pairs of channels that tell places apart: those that RoPE turns fastest."""
SHARP = 1.5
"""Root mean square of a query's and a key's numbers, where these are normalised."""


@torch.no_grad()
def look_back(model: Llama, generator: torch.Generator) -> Llama:
    """Have head h of the first layer look at the token h + 1 places before, whatever stands there.

    Queries and keys of these heads read only what all embeddings share; the queries are turned back by the head's
    distance, so that they are like the keys in that place.

    Args:
        model: initialised; its queries and keys are normalised.
        generator: draws what the embeddings share, and the phases of the keys.

    Raises:
        ValueError: its queries and keys are not normalised, so that nothing says how sharply they look.
    """
    config, stream = model.config, cast("Stream", cast("Block", model.blocks[0]).streams[0])
    if stream.q_norm is None or stream.k_norm is None:
        raise ValueError("look_back needs a model with qk_norm.")
    shared = torch.randn(config.width, generator=generator)
    shared /= shared.norm()
    model.embedding.weight.add_(shared, alpha=SHARED)
    phases = 2 * math.pi * torch.rand(config.head_dim // 2, generator=generator)
    there = torch.arange(config.head_dim // 2) < CHANNELS
    key = torch.cat((phases.cos() * there, phases.sin() * there))
    back = -torch.arange(1, config.heads + 1)
    turned = rotate(key.expand(config.heads, 1, -1), *rotary_angles(back, cast("Tensor", model.frequency)))
    queries, keys, _ = stream.qkv.weight.split(stream.qkv.parts)
    queries.copy_(torch.outer(turned.flatten(), shared))
    keys.copy_(torch.outer(key.repeat(config.kv_heads), shared))
    for norm in (stream.q_norm, stream.k_norm):
        norm.weight.fill_(SHARP)
    return model
