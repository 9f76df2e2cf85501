"""Four ways to read a trunk's thoughts: a flow's velocity, diffusion's noise, the actions themselves, or 256 bins."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError, did_you_mean
from maquette.generative.objectives import Objective
from maquette.generative.paths import VariancePreserving, mix
from maquette.generative.samplers import ddim, follow
from maquette.generative.times import BetaTimes, flow_grid, step_grid
from maquette.nn.linear import Linear
from maquette.robotics.policies.contract import Actions, Batch, Features, Predict

HeadKind = Literal["flow", "diffusion", "l1", "bins"]
HEADS: tuple[HeadKind, ...] = ("flow", "diffusion", "l1", "bins")
BINS = 256
STEPS, TRAINED_STEPS = 10, 100
"""Of sampling; and levels of noise that a diffusion head is trained on."""
FLOW = Objective()
"""π0's; t = 1 is noise and t = 0 the action, the other way round than in its paper's text."""
CHAIN = Objective(path=VariancePreserving(steps=TRAINED_STEPS, betas="cosine"), predicts="noise")
"""Diffusion Policy's (Chi et al. 2023, arXiv:2303.04137)."""


class FlowHead(nn.Module):
    """Velocities of a flow from noise to actions (π0)."""

    def __init__(self, width: int, numbers: int, *, steps: int = STEPS) -> None:
        super().__init__()
        self.out, self.numbers, self.steps = Linear(width, numbers, bias=True), numbers, steps

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Times."""
        return {"time": BetaTimes()(rows, generator)}

    def question(self, batch: Batch) -> tuple[Actions, Float[Tensor, " b"]]:
        """A chunk on its way."""
        return mix(FLOW.path, batch["actions"], batch["noise"], batch["time"]), batch["time"]

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, "b chunk"]:
        """Squared error of the velocity."""
        return (self.out(features) - FLOW.target(batch["actions"], batch["noise"], batch["time"])).square().mean(-1)

    def sample(self, predict: Predict, noise: Actions) -> Actions:
        """Euler steps."""
        return follow(lambda x, t: self.out(predict(x, t)), noise, flow_grid(self.steps))


class TimelessHead(nn.Module):
    """A flow whose network is told the same time at every step: what it does without is what time is good for.

    Args:
        flow: the head that it otherwise is.
    """

    def __init__(self, flow: FlowHead) -> None:
        super().__init__()
        self.flow = flow

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Times, of which it will not be told."""
        return self.flow.draw(rows, generator)

    def question(self, batch: Batch) -> tuple[Actions, Float[Tensor, " b"]]:
        """A chunk on its way, and always the same time."""
        noisy, time = self.flow.question(batch)
        return noisy, torch.ones_like(time)

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, "b chunk"]:
        """As a flow's."""
        return self.flow.loss(features, batch)

    def sample(self, predict: Predict, noise: Actions) -> Actions:
        """As a flow, but for the time that is told."""
        return self.flow.sample(lambda x, t: predict(x, torch.ones_like(t)), noise)


class DiffusionHead(nn.Module):
    """Noise to remove (Diffusion Policy); actions must lie within ±1."""

    def __init__(self, width: int, numbers: int, *, steps: int = STEPS) -> None:
        super().__init__()
        self.out, self.numbers, self.steps = Linear(width, numbers, bias=True), numbers, steps

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Levels of noise, as shares of the highest; a trunk takes all times between 0 and 1."""
        return {"time": torch.randint(TRAINED_STEPS, (rows,), generator=generator) / TRAINED_STEPS}

    def question(self, batch: Batch) -> tuple[Actions, Float[Tensor, " b"]]:
        """A chunk with noise of its level."""
        step = (batch["time"] * TRAINED_STEPS).round() + 1
        return mix(CHAIN.path, batch["actions"], batch["noise"], step), batch["time"]

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, "b chunk"]:
        """Squared error of the noise."""
        return (self.out(features) - batch["noise"]).square().mean(-1)

    def sample(self, predict: Predict, noise: Actions) -> Actions:
        """DDIM, the guess at the actions kept within ±1."""

        def denoise(x: Actions, t: Float[Tensor, " b"]) -> Actions:
            return CHAIN.parts(x, self.out(predict(x, CHAIN.path.label(t) / TRAINED_STEPS)), t).data.clamp(-1, 1)

        return ddim(denoise, noise, step_grid(self.steps, TRAINED_STEPS, "linspace"), CHAIN.path)


class RegressionHead(nn.Module):
    """The actions themselves, all at once, by absolute error (ACT; OpenVLA-OFT, arXiv:2502.19645)."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.out, self.numbers = Linear(width, numbers, bias=True), numbers

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Nothing."""
        return {}

    def question(self, batch: Batch) -> tuple[Actions, Float[Tensor, " b"]]:
        """An empty chunk."""
        return _nothing(batch["actions"])

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, "b chunk"]:
        """Absolute error."""
        return (self.out(features) - batch["actions"]).abs().mean(-1)

    def sample(self, predict: Predict, noise: Actions) -> Actions:
        """One thought; the noise counts for nothing."""
        return self.out(predict(*_nothing(noise)))


class BinsHead(nn.Module):
    """Every number as one of 256 equal bins between −1 and 1 (RT-2's alphabet), all numbers at once."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.out, self.numbers = Linear(width, numbers * BINS, bias=True), numbers

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """Nothing."""
        return {}

    def question(self, batch: Batch) -> tuple[Actions, Float[Tensor, " b"]]:
        """An empty chunk."""
        return _nothing(batch["actions"])

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, "b chunk"]:
        """Cross-entropy in nats."""
        logits = self.out(features).unflatten(-1, (self.numbers, BINS))
        bins = to_bins(batch["actions"])
        return F.cross_entropy(logits.flatten(0, 2).float(), bins.flatten(), reduction="none").view(bins.shape).mean(-1)

    def sample(self, predict: Predict, noise: Actions) -> Actions:
        """The likeliest bin of each number, its middle."""
        logits = self.out(predict(*_nothing(noise))).unflatten(-1, (self.numbers, BINS))
        return from_bins(logits.argmax(-1)).to(noise.dtype)


def to_bins(actions: Float[Tensor, "*any"]) -> Tensor:
    """The bin of each number; what is beyond ±1 falls into the outermost."""
    return ((actions.clamp(-1, 1) + 1) / 2 * BINS).long().clamp(max=BINS - 1)


def from_bins(bins: Tensor) -> Float[Tensor, "*any"]:
    """The middle of each bin."""
    return (bins + 0.5) / BINS * 2 - 1


def head_of(kind: str, width: int, numbers: int, *, steps: int = STEPS) -> nn.Module:
    """A head by its name; `steps` are those of sampling, where there are any.

    Raises:
        UserError: there is none of that name.
    """
    if kind == "flow":
        return FlowHead(width, numbers, steps=steps)
    if kind == "diffusion":
        return DiffusionHead(width, numbers, steps=steps)
    if kind == "l1":
        return RegressionHead(width, numbers)
    if kind == "bins":
        return BinsHead(width, numbers)
    raise UserError(f"head = {kind!r} is none; {did_you_mean(kind, HEADS)}")


def _nothing(actions: Actions) -> tuple[Actions, Float[Tensor, " b"]]:
    return torch.zeros_like(actions), actions.new_ones(len(actions))
