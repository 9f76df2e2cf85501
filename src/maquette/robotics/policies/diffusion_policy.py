"""Diffusion Policy's trunk (Chi et al. 2023, arXiv:2303.04137): a U-Net over time, conditioned on what is seen."""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.robotics.policies.contract import Actions, Batch, Features, Observation, Thought
from maquette.robotics.policies.eyes import GROUPS, Eye, Reader, keypoints


@dataclass(frozen=True, kw_only=True)
class DiffusionPolicyConfig:
    """Its numbers; the paper's own U-Net has widths 256, 512 and 1024."""

    state: int
    numbers: int
    """Of an action."""
    cameras: int
    vocabulary: int
    eye: int = 64
    """Channels of a picture's features; twice as many numbers tell where they are strongest."""
    words: int = 64
    """Width of the instruction."""
    time: int = 64
    """Width of the time's embedding."""
    widths: tuple[int, ...] = (64, 128, 256)
    kernel: int = 5
    chunk: int = 16

    def __post_init__(self) -> None:
        if self.chunk % self.halvings:
            raise UserError(
                f"chunk = {self.chunk} of a U-Net: {self.halvings} must divide it, once a level but the last."
            )
        if any(width % GROUPS for width in (*self.widths, self.eye // 4)):
            raise UserError(f"widths = {self.widths} and eye / 4 = {self.eye // 4}: {GROUPS} must divide them.")

    @property
    def halvings(self) -> int:
        """By how much time is shortened in the middle."""
        return 2 ** (len(self.widths) - 1)

    @property
    def condition(self) -> int:
        """Width of all that is known beside the actions."""
        return self.state + self.cameras * 2 * self.eye + self.words + self.time


class Convolution(nn.Module):
    """Convolution over time, group norm, Mish."""

    def __init__(self, ins: int, outs: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(ins, outs, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(GROUPS, outs)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b _c t"]:
        """As long as it was."""
        return F.mish(self.norm(self.convolution(x)))


class Conditioned(nn.Module):
    """Two convolutions; between them FiLM (Perez et al. 2018): scale and shift of each channel from the condition."""

    def __init__(self, ins: int, outs: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(ins, outs, kernel), Convolution(outs, outs, kernel)
        self.film = nn.Linear(condition, 2 * outs)
        self.skip = nn.Conv1d(ins, outs, 1) if ins != outs else nn.Identity()

    def forward(self, x: Float[Tensor, "b c t"], known: Float[Tensor, "b condition"]) -> Float[Tensor, "b _c t"]:
        """With a residual around both."""
        scale, shift = self.film(F.mish(known))[..., None].chunk(2, dim=1)
        return self.skip(x) + self.second(scale * self.first(x) + shift)


class DiffusionPolicy(nn.Module):
    """The trunk: pictures, state, instruction and time steer a U-Net over the chunk."""

    def __init__(self, config: DiffusionPolicyConfig) -> None:
        super().__init__()
        self.config = c = config
        self.width = c.widths[0]
        self.eyes = nn.ModuleList(Eye(c.eye) for _ in range(c.cameras))
        self.reader = Reader(c.vocabulary, c.words)
        self.time = nn.Sequential(nn.Linear(c.time, 4 * c.time), nn.Mish(), nn.Linear(4 * c.time, c.time))

        def block(ins: int, outs: int) -> Conditioned:
            return Conditioned(ins, outs, c.condition, c.kernel)

        pairs = list(zip((c.numbers, *c.widths[:-1]), c.widths, strict=True))
        self.down = nn.ModuleList(nn.ModuleList((block(a, b), block(b, b))) for a, b in pairs)
        self.shorten = nn.ModuleList(nn.Conv1d(w, w, 3, 2, 1) for w in c.widths[:-1])
        self.middle = nn.ModuleList((block(c.widths[-1], c.widths[-1]), block(c.widths[-1], c.widths[-1])))
        ups = list(zip(c.widths[::-1], c.widths[-2::-1], strict=False))
        self.up = nn.ModuleList(nn.ModuleList((block(2 * a, b), block(b, b))) for a, b in ups)
        self.lengthen = nn.ModuleList(nn.ConvTranspose1d(w, w, 4, 2, 1) for w in c.widths[-2::-1])
        self.last = Convolution(c.widths[0], c.widths[0], c.kernel)

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Nothing."""
        return {}

    def think(self, seen: Observation, noisy: Actions, time: Float[Tensor, " b"], batch: Batch) -> Thought:
        """As in use."""
        return Thought(self.features(self.context(seen), noisy, time))

    def context(self, seen: Observation) -> Float[Tensor, "b known"]:
        """All that is known but the time."""
        pictures = [keypoints(eye(seen.images[:, i])) for i, eye in enumerate(self.eyes)]
        return torch.cat((seen.state, *pictures, self.reader(seen.prompt, seen.written)), dim=1)

    def features(self, context: Float[Tensor, "b known"], noisy: Actions, time: Float[Tensor, " b"]) -> Features:
        """Down, through the middle, and up again past what was on the way down."""
        known = torch.cat((context, self.time(steps_of(time, self.config.time).to(context.dtype))), dim=1)
        x, passed = noisy.transpose(1, 2), []
        for level, (first, second) in enumerate(cast("list[tuple[nn.Module, nn.Module]]", self.down)):
            x = second(first(x, known), known)
            passed.append(x)
            if level < len(self.shorten):
                x = self.shorten[level](x)
        for block in self.middle:
            x = block(x, known)
        for (first, second), lengthen in zip(
            cast("list[tuple[nn.Module, nn.Module]]", self.up), self.lengthen, strict=True
        ):
            x = lengthen(second(first(torch.cat((x, passed.pop()), dim=1), known), known))
        return self.last(x).transpose(1, 2)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "DiffusionPolicy":
        """Kernels and matrices normal by their inputs."""
        initialise(self, generator)
        return self


def steps_of(time: Float[Tensor, " b"], width: int) -> Float[Tensor, "b width"]:
    """Sines and cosines of the step, which is 100 times the time (Vaswani et al. 2017)."""
    half = width // 2
    angle = (
        100
        * time.float()[:, None]
        * torch.exp(torch.arange(half, device=time.device) * -(math.log(10_000) / (half - 1)))
    )
    return torch.cat((angle.sin(), angle.cos()), dim=1)


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Kernels and matrices normal with deviation 1/√inputs, norms one, biases zero."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
