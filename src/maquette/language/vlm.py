"""A vision-language model of PaliGemma's shape (Beyer et al. 2024, arXiv:2407.07726).

A vision tower's tokens are projected into a Gemma language model and stand before the text. Pictures and prompt see
one another whole, the answer is causal (prefix-LM). Further streams may ride in the same blocks and look at all of
this: π0's action expert is one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.language.vision import VisionConfig, VisionTower
from maquette.nn.apart import Kept, alone, look
from maquette.nn.layers import RMSNorm
from maquette.nn.linear import Linear
from maquette.nn.rope import frequencies, rotary_angles
from maquette.nn.stream import Block, Rotary, Stream, StreamConfig


@dataclass(frozen=True, kw_only=True)
class VisionLanguageConfig:
    """The language model's numbers, and the tower's."""

    vision: VisionConfig
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    norm_eps: float = 1e-6
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise UserError(f"kv_heads = {self.kv_heads} in a VLM config: must divide heads = {self.heads}.")
        if self.head_dim % 2:
            raise UserError(f"head_dim = {self.head_dim} in a VLM config: RoPE turns pairs, so it must be even.")

    def flops(self, cameras: int, text: int) -> float:
        """Of one row's pass, pictures and so many tokens of text; two a multiply-add."""
        v, pictures = self.vision, cameras * self.vision.tokens
        layer = 4 * v.width**2 + 2 * v.width * v.hidden + 2 * v.tokens * v.width
        tower = 3 * v.patch**2 * v.width + v.layers * layer + v.width * self.width
        tokens = pictures + text
        return 2 * pictures * tower + tokens * self.stream_flops(self.width, self.hidden, tokens)

    def stream_flops(self, width: int, hidden: int, seen: int) -> float:
        """Of a token's way through all layers of a stream of that width, in which it looks at so many tokens."""
        projections = width * self.head_dim * 2 * (self.heads + self.kv_heads)
        return 2 * self.layers * (projections + 3 * width * hidden + 2 * seen * self.heads * self.head_dim)

    def stream(self, width: int, hidden: int) -> StreamConfig:
        """A stream of that width that can attend together with the language's."""
        shape = {"heads": self.heads, "kv_heads": self.kv_heads, "head_dim": self.head_dim, "norm_eps": self.norm_eps}
        return StreamConfig(width=width, hidden=hidden, gate="GELU", **shape)


PALIGEMMA = VisionLanguageConfig(
    vision=VisionConfig(size=224, patch=14, width=1152, layers=27, heads=16, hidden=4304),
    vocabulary=257_152,
    width=2048,
    layers=18,
    heads=8,
    kv_heads=1,
    head_dim=256,
    hidden=16_384,
)
"""PaliGemma 3B: SigLIP So400m and Gemma 2B."""


class Prefix(NamedTuple):
    """Pictures and text as the language stream's tokens."""

    x: Float[Tensor, "b s width"]
    there: Bool[Tensor, "b s"] | None
    """False for a camera that is absent and for padding; None where all is there."""
    positions: Int[Tensor, "#b s"]
    """What is not there takes no position."""


class VisionLanguage(nn.Module):
    """Pictures and text in, the next token's logits out.

    Args:
        config: its shape.
        riders: further streams of every block, which look at the language's; the model itself does not run them.
    """

    def __init__(self, config: VisionLanguageConfig, *riders: StreamConfig) -> None:
        super().__init__()
        self.config = c = config
        self.tower = VisionTower(c.vision)
        self.projection = Linear(c.vision.width, c.width, bias=True)
        self.embedding = nn.Embedding(c.vocabulary, c.width)
        self.blocks = nn.ModuleList(Block(c.stream(c.width, c.hidden), *riders) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.register_buffer("frequency", None, persistent=False)
        self.settle()

    def settle(self) -> None:
        """Compute what is not stored; needed again after `to_empty`, which undoes it."""
        self.frequency = frequencies(self.config.head_dim, self.config.rope_theta)

    def forward(
        self,
        images: UInt8[Tensor, "b cameras 3 size size"],
        prompt: Int[Tensor, "b t"],
        answer: Int[Tensor, "b a"],
        written: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b a vocabulary"]:
        """Logits of the token after each of the answer's, which begins with one that says so."""
        prefix = self.prefix(images, prompt, written)
        x = torch.cat((prefix.x, self.embed(answer)), dim=1)
        (rows, before), new = prefix.x.shape[:2], answer.shape[1]
        there = torch.ones(rows, before, dtype=torch.bool, device=x.device) if prefix.there is None else prefix.there
        there = F.pad(there, (0, new), value=True)
        order = F.pad(torch.arange(1, new + 1, device=x.device), (before, 0))
        mask = (order[:, None] >= order) & there[:, None, None, :]
        rotary = self.rotary(there.cumsum(1) - 1)
        for block in self.streams(0):
            x, _ = alone(block, x, rotary, mask)
        return F.linear(self.norm(x[:, before:]), self.embedding.weight)

    def prefix(
        self,
        images: UInt8[Tensor, "b cameras 3 size size"],
        prompt: Int[Tensor, "b t"],
        written: Bool[Tensor, "b t"] | None = None,
        seeing: Bool[Tensor, "b cameras"] | None = None,
    ) -> Prefix:
        """All cameras' tokens, then the prompt's; `written` is False where a prompt is padded, `seeing` for a camera
        that is absent."""
        rows, cameras = images.shape[:2]
        pictures = images.flatten(0, 1).to(self.projection.weight.dtype).div(127.5).sub_(1)
        seen = self.projection(self.tower(pictures))
        x = torch.cat((seen.unflatten(0, (rows, cameras)).flatten(1, 2), self.embed(prompt)), dim=1)
        if written is None and seeing is None:
            return Prefix(x, None, torch.arange(x.shape[1], device=x.device)[None])
        seeing = torch.ones(rows, cameras, dtype=torch.bool, device=x.device) if seeing is None else seeing
        written = torch.ones_like(prompt, dtype=torch.bool) if written is None else written
        there = torch.cat((seeing.repeat_interleave(seen.shape[1], dim=1), written), dim=1)
        return Prefix(x, there, (there.cumsum(1) - 1).clamp(min=0))

    def embed(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t width"]:
        """Text as tokens of the stream, √width larger than in the table, as Gemma has it."""
        return self.embedding(tokens) * self.config.width**0.5

    def remember(self, prefix: Prefix) -> list[Kept]:
        """Each layer's keys and values of a prefix; the last layer's tokens themselves nobody reads."""
        mask = None if prefix.there is None else prefix.there[:, None, None, :]
        rotary, x, kept = self.rotary(prefix.positions), prefix.x, []
        *inner, last = self.streams(0)
        for stream in inner:
            x, found = alone(stream, x, rotary, mask)
            kept.append(found)
        return [*kept, look(last, x, rotary)]

    def rotary(self, positions: Int[Tensor, "#b s"]) -> Rotary:
        """The turns of these positions."""
        return rotary_angles(positions, cast("Tensor", self.frequency))

    def streams(self, number: int) -> Sequence[Stream]:
        """A stream's part of every block: 0 is the language's, riders follow."""
        return [cast("Stream", cast("Block", block).streams[number]) for block in self.blocks]

    def unread(self) -> Iterator[nn.Parameter]:
        """What only a next word would read, and no rider."""
        last = self.streams(0)[-1]
        for part in (self.norm, last.out, last.mlp_norm, last.mlp):
            yield from part.parameters()

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "VisionLanguage":
        """Normal weights of deviation 1/√(inputs); what writes to a residual is smaller by √(2 layers)."""
        for name, parameter in self.named_parameters():
            depth = self.config.vision.layers if name.startswith("tower") else self.config.layers
            if name.endswith("places"):
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
            elif parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            else:
                std = parameter.shape[1] ** -0.5
                residual = name.endswith((".out.weight", ".down.weight"))
                parameter.normal_(0.0, std * (2 * depth) ** -0.5 if residual else std, generator=generator)
        return self
