"""ACT's trunk (Zhao et al. 2023, arXiv:2304.13705): a variational autoencoder of chunks, decoded by a transformer.

In training an encoder sees the chunk itself and says in 32 numbers in which style it was done; in use those are zero.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.robotics.policies.contract import Actions, Batch, Features, Observation, Thought
from maquette.robotics.policies.diffusion_policy import initialise
from maquette.robotics.policies.eyes import Eye, Reader

LATENT = 32


@dataclass(frozen=True, kw_only=True)
class ActConfig:
    """Its numbers. The paper has width 512, 8 heads, hidden 3200, 4 encoder layers, a chunk of 100.

    One decoder layer, though the paper says 7: in the authors' code a slip makes only the first one count.
    """

    state: int
    numbers: int
    """Of an action."""
    cameras: int
    vocabulary: int
    width: int = 128
    heads: int = 4
    hidden: int = 256
    encoder: int = 4
    decoder: int = 1
    style: int = 4
    """Layers of the encoder of styles."""
    divergence: float = 10.0
    """Weight of the latent's divergence from a standard normal."""
    chunk: int = 50

    def __post_init__(self) -> None:
        if self.width % (4 * self.heads):
            raise UserError(f"heads = {self.heads} of ACT: 4 × heads must divide width = {self.width}.")


class Layer(nn.Module):
    """A layer of DETR (Carion et al. 2020): norms behind the sums, places added to queries and keys in every layer.

    Args:
        config: its numbers.
        crosses: whether it also looks at a memory.
    """

    def __init__(self, config: ActConfig, *, crosses: bool = False) -> None:
        super().__init__()
        w = config.width
        self.attention = nn.MultiheadAttention(w, config.heads, batch_first=True)
        self.cross = nn.MultiheadAttention(w, config.heads, batch_first=True) if crosses else None
        self.norms = nn.ModuleList(nn.LayerNorm(w) for _ in range(3 if crosses else 2))
        self.mlp = nn.Sequential(nn.Linear(w, config.hidden), nn.ReLU(), nn.Linear(config.hidden, w))

    def forward(
        self,
        x: Float[Tensor, "b t width"],
        places: Float[Tensor, "#b t width"],
        memory: "Memory | None" = None,
        hidden: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t width"]:
        """`hidden` is True for tokens that nobody may look at."""
        turned = x + places
        x = self.norms[0](x + self.attention(turned, turned, x, key_padding_mask=hidden, need_weights=False)[0])
        if self.cross is not None and memory is not None:
            keys = memory.tokens + memory.places
            x = self.norms[1](x + self.cross(x + places, keys, memory.tokens, need_weights=False)[0])
        return self.norms[-1](x + self.mlp(x))


class Memory(NamedTuple):
    """What the decoder looks at."""

    tokens: Float[Tensor, "b s width"]
    places: Float[Tensor, "#b s width"]


class Act(nn.Module):
    """The trunk: it thinks of no noisy chunk, so noise and time count for nothing."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        self.config = c = config
        self.width = w = c.width
        self.eyes = nn.ModuleList(Eye(w) for _ in range(c.cameras))
        self.reader = Reader(c.vocabulary, w)
        self.state_in, self.latent_in = nn.Linear(c.state, w), nn.Linear(LATENT, w)
        self.kinds = nn.Parameter(torch.randn(3, w) * 0.02)  # where the latent, the state and the instruction stand
        self.queries = nn.Parameter(torch.randn(c.chunk, w) * 0.02)
        self.encoder = nn.ModuleList(Layer(c) for _ in range(c.encoder))
        self.decoder = nn.ModuleList(Layer(c, crosses=True) for _ in range(c.decoder))
        self.style_token = nn.Parameter(torch.randn(1, w) * 0.02)
        self.style_state, self.style_action = nn.Linear(c.state, w), nn.Linear(c.numbers, w)
        self.style = nn.ModuleList(Layer(c) for _ in range(c.style))
        self.style_out = nn.Linear(w, 2 * LATENT)

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Of the latent."""
        return {"latent_noise": torch.randn(rows, LATENT, generator=generator)}

    def think(self, seen: Observation, noisy: Actions, time: Float[Tensor, " b"], batch: Batch) -> Thought:
        """Look at the answer through 32 numbers, and pay for what they tell."""
        mean, logarithm = self._style(seen, batch)
        latent = mean + (0.5 * logarithm).exp() * batch["latent_noise"]
        divergence = -0.5 * (1 + logarithm - mean.square() - logarithm.exp()).sum(1)
        return Thought(self.features(self._look(seen, latent), noisy, time), self.config.divergence * divergence)

    def context(self, seen: Observation) -> Memory:
        """With the style that is likeliest before anything is seen: zero."""
        return self._look(seen, seen.state.new_zeros(len(seen.state), LATENT))

    def features(self, context: Memory, noisy: Actions, time: Float[Tensor, " b"]) -> Features:
        """Decode the chunk, all actions at once."""
        x = torch.zeros_like(self.queries).expand(len(noisy), -1, -1)
        for layer in self.decoder:
            x = layer(x, self.queries[None], context)
        return x

    def _look(self, seen: Observation, latent: Float[Tensor, "b latent"]) -> Memory:
        maps = [eye(seen.images[:, i]) for i, eye in enumerate(self.eyes)]
        words = self.reader(seen.prompt, seen.written)
        single = torch.stack((self.latent_in(latent), self.state_in(seen.state), words), dim=1)
        x = torch.cat((single, *(one.flatten(2).transpose(1, 2) for one in maps)), dim=1)
        places = torch.cat((self.kinds, *(plane(one.shape[2], one.shape[3], self.width).to(x) for one in maps)))[None]
        for layer in self.encoder:
            x = layer(x, places)
        return Memory(x, places)

    def _style(self, seen: Observation, batch: Batch) -> tuple[Float[Tensor, "b latent"], Float[Tensor, "b latent"]]:
        """Mean and logarithm of the variance."""
        rows, length = batch["counted"].shape
        first = self.style_token.expand(rows, 1, -1), self.style_state(seen.state)[:, None]
        x = torch.cat((*first, self.style_action(batch["actions"])), dim=1)
        hidden = torch.cat((torch.zeros_like(batch["counted"][:, :2]), ~batch["counted"]), dim=1)
        places = sinusoids(length + 2, self.width).to(x)[None]
        for layer in self.style:
            x = layer(x, places, hidden=hidden)
        mean, logarithm = self.style_out(x[:, 0]).chunk(2, dim=1)
        return mean, logarithm

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "Act":
        """Matrices normal by their inputs; the latent at first tells next to nothing, and costs so."""
        initialise(self, generator)
        self.style_out.weight.mul_(0.1)
        return self


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Vaswani et al. 2017: sines and cosines of a place, by channel."""
    angle = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * -(math.log(10_000) / width))
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)


def plane(height: int, width: int, channels: int) -> Float[Tensor, "cells channels"]:
    """The same in two dimensions: half of the channels tell the row, half the column."""
    rows, columns = sinusoids(height, channels // 2), sinusoids(width, channels // 2)
    grid = rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)
    return torch.cat(grid, dim=2).flatten(0, 1)
