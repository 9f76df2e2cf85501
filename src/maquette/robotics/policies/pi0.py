"""π0 (Black et al. 2024, arXiv:2410.24164): a vision-language model with an action expert in the same blocks.

Two streams of one transformer: pictures and instruction in the language model's, the robot's state and a noisy chunk
of actions in the expert's, which is narrower. Attention goes blockwise: the prefix sees itself, the state sees the
prefix, the actions see all and one another. So in use the prefix and the state run once, and each step of the flow
runs the actions only.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maquette.language.vlm import PALIGEMMA, Prefix, VisionLanguage, VisionLanguageConfig
from maquette.nn.apart import Kept, alone
from maquette.nn.layers import RMSNorm
from maquette.nn.linear import Linear
from maquette.nn.masks import blockwise_mask
from maquette.nn.stream import Block, Rotary
from maquette.robotics.policies.contract import Actions, Batch, Features, Observation, Thought


@dataclass(frozen=True, kw_only=True)
class Pi0Config:
    """The language model's numbers, and the expert's."""

    vlm: VisionLanguageConfig
    width: int
    """Of the expert."""
    hidden: int
    state: int
    numbers: int
    """Of an action."""
    chunk: int = 50
    shortest: float = 4e-3
    longest: float = 4.0
    """Periods of the sines and cosines that tell the time."""

    def flops(self, cameras: int, text: int) -> tuple[float, float]:
        """Of looking at one observation, and of thinking of its chunk once; two a multiply-add."""
        prefix = cameras * self.vlm.vision.tokens + text
        token = self.vlm.stream_flops(self.width, self.hidden, prefix + 1 + self.chunk)
        ends = 2 * self.chunk * self.width * (2 * self.numbers + 3 * self.width)
        return self.vlm.flops(cameras, text) + token, self.chunk * token + ends


PI0 = Pi0Config(vlm=PALIGEMMA, width=1024, hidden=4096, state=32, numbers=32)
"""As published; other robots' states and actions are padded to 32."""


class Context(NamedTuple):
    """What the expert looks at: every layer's keys and values of prefix and state."""

    layers: list[Kept]
    mask: Bool[Tensor, "b 1 1 s"] | None
    rotary: Rotary
    """Of the actions, the same in every step of the flow."""


class Pi0(nn.Module):
    """The trunk: what the expert thinks of a chunk of actions."""

    def __init__(self, config: Pi0Config) -> None:
        super().__init__()
        self.config = c = config
        self.width = c.width
        self.vlm = VisionLanguage(c.vlm, c.vlm.stream(c.width, c.hidden))
        self.state_in = Linear(c.state, c.width, bias=True)
        self.action_in = Linear(c.numbers, c.width, bias=True)
        self.time_in = Linear(2 * c.width, c.width, bias=True)
        self.time_out = Linear(c.width, c.width, bias=True)
        self.norm = RMSNorm(c.width, c.vlm.norm_eps)
        for parameter in self.vlm.unread():  # actions do not teach it, and weight decay should not undo it
            parameter.requires_grad_(False)

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Nothing."""
        return {}

    def think(self, seen: Observation, noisy: Actions, time: Float[Tensor, " b"], batch: Batch) -> Thought:
        """Both streams together, in one pass."""
        prefix = self.vlm.prefix(seen.images, seen.prompt, seen.written)
        return Thought(self.jointly(prefix, seen.state, noisy, time))

    def jointly(
        self, prefix: Prefix, state: Float[Tensor, "b s"], noisy: Actions, time: Float[Tensor, " b"]
    ) -> Features:
        """One pass of both streams under the blockwise mask."""
        x, y = prefix.x, torch.cat((self._state(state), self.embed(noisy, time)), dim=1)
        before, new = x.shape[1], y.shape[1]
        block = torch.zeros(before + new, dtype=torch.long, device=x.device)
        block[before], block[before + 1 :] = 1, 2
        mask = blockwise_mask(block)
        if prefix.there is not None:
            mask = mask & F.pad(prefix.there, (0, new), value=True)[:, None, None, :]
        rotary = self.vlm.rotary(prefix.positions), self.vlm.rotary(self._behind(prefix, new))
        for layer in self.vlm.blocks:
            x, y = cast("Block", layer)((x, y), rotary, mask)
        return self.norm(y[:, 1:])

    def context(self, seen: Observation) -> Context:
        """Run the prefix and the state once; what no row has written is left out. Without padding there is no mask, and
        the fused kernels are faster so."""
        some = seen.written.any(0)
        prompt, written = seen.prompt[:, some], seen.written[:, some]
        return self.look(self.vlm.prefix(seen.images, prompt, None if bool(written.all()) else written), seen.state)

    def look(self, prefix: Prefix, state: Float[Tensor, "b s"]) -> Context:
        """The same for a prefix at hand."""
        positions, y, layers = self._behind(prefix, 1 + self.config.chunk), self._state(state), []
        mask = None if prefix.there is None else F.pad(prefix.there, (0, 1), value=True)[:, None, None, :]
        rotary = self.vlm.rotary(positions[:, :1])
        for stream, past in zip(self.vlm.streams(1), self.vlm.remember(prefix), strict=True):
            y, kept = alone(stream, y, rotary, mask, past)
            layers.append(kept)
        mask = None if mask is None else F.pad(mask, (0, self.config.chunk), value=True)
        return Context(layers, mask, self.vlm.rotary(positions[:, 1:]))

    def features(self, context: Context, noisy: Actions, time: Float[Tensor, " b"]) -> Features:
        """Run the actions over what was kept."""
        x = self.embed(noisy, time)
        for stream, past in zip(self.vlm.streams(1), context.layers, strict=True):
            x, _ = alone(stream, x, context.rotary, context.mask, past)
        return self.norm(x)

    def embed(self, noisy: Actions, time: Float[Tensor, " b"]) -> Float[Tensor, "b chunk width"]:
        """Actions and the time as tokens of the expert."""
        c = self.config
        when = sines(time, c.width, c.shortest, c.longest).to(noisy.dtype)
        x = torch.cat((self.action_in(noisy), when[:, None].expand(-1, noisy.shape[1], -1)), dim=2)
        return self.time_out(F.silu(self.time_in(x))).to(noisy.dtype)  # autocast or not, the residual stays as it was

    def _state(self, state: Float[Tensor, "b s"]) -> Float[Tensor, "b 1 width"]:
        return self.state_in(state)[:, None].to(state.dtype)

    def _behind(self, prefix: Prefix, new: int) -> Int[Tensor, "#b new"]:
        """Positions behind those of a prefix."""
        there = prefix.there
        length = prefix.x.new_full((1,), prefix.x.shape[1]).long() if there is None else there.sum(1)
        return length[:, None] + torch.arange(new, device=prefix.x.device)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "Pi0":
        """As the language model's; the expert's inputs likewise."""
        self.vlm.initialise(generator)
        for linear in (self.state_in, self.action_in, self.time_in, self.time_out):
            linear.weight.normal_(0.0, linear.weight.shape[1] ** -0.5, generator=generator)
            cast("Tensor", linear.bias).zero_()
        self.norm.weight.fill_(1.0)
        return self


def sines(
    time: Float[Tensor, " b"], width: int, shortest: float = 4e-3, longest: float = 4.0
) -> Float[Tensor, "b width"]:
    """Sines, then cosines, of 2π t / period, with periods from shortest to longest in equal ratios."""
    share = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float32, device=time.device)
    angle = time.float()[:, None] * (2 * math.pi / (shortest * (longest / shortest) ** share))
    return torch.cat((angle.sin(), angle.cos()), dim=1)
