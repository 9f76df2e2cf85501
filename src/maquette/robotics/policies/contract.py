"""What every policy is given and gives, so that trunks and heads can be exchanged.

A *trunk* looks at an observation and thinks about a chunk of actions; a *head* says what that thought means: a
velocity of a flow, noise to remove, the actions themselves, or bins. Any head goes with any trunk.

    b rows · a numbers of an action · s numbers of the robot's state · t tokens of the instruction
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

Batch = dict[str, Tensor]
"""images, state, prompt, written as in `Observation`; actions: normalised, (b, chunk, a); counted: (b, chunk), False
behind an episode's end; and what the head and the trunk have drawn (`Policy.draw`)."""
Actions = Float[Tensor, "b chunk a"]
Features = Float[Tensor, "b chunk width"]
Predict = Callable[[Actions, Float[Tensor, " b"]], Features]
"""What a trunk thinks of a noisy chunk at a time of the denoising, of an observation it has already looked at."""


class Observation(NamedTuple):
    """One moment, in as many rows as there are robots."""

    images: UInt8[Tensor, "b cameras 3 height width"]
    state: Float[Tensor, "b s"]
    """Normalised."""
    prompt: Int[Tensor, "b t"]
    written: Bool[Tensor, "b t"]
    """False where the prompt is padded."""


class Thought(NamedTuple):
    """What a trunk made of an observation and a chunk in training."""

    features: Features
    penalty: Float[Tensor, " b"] | float = 0.0
    """Of the trunk's own, beside the head's loss: ACT's divergence."""


class Trunk(Protocol):
    """Looks at observations. In use it looks once (`context`) and may think often (`features`)."""

    width: int
    """Of its features."""

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """What its training needs of chance, in rows of the batch."""

    def think(self, seen: Observation, noisy: Actions, time: Float[Tensor, " b"], batch: Batch) -> Thought:
        """One pass of training; equal to `features` of `context`, unless it may look at the answer."""

    def context(self, seen: Observation) -> Any:
        """What it keeps of an observation."""

    def features(self, context: Any, noisy: Actions, time: Float[Tensor, " b"]) -> Features:
        """What it thinks of a chunk."""


class Head(Protocol):
    """Turns thoughts into a loss in training and into actions in use."""

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """What its training needs of chance, in rows of the batch."""

    def question(self, batch: Batch) -> tuple[Actions, Float[Tensor, " b"]]:
        """The chunk and the time that the trunk is asked about in training."""

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, "b chunk"]:
        """Of every action, the mean over its numbers."""

    def sample(self, predict: Predict, noise: Actions) -> Actions:
        """A chunk."""


class Policy(nn.Module):
    """A trunk with a head.

    Args:
        trunk: an `nn.Module` that is a `Trunk`.
        head: an `nn.Module` that is a `Head`.
        chunk: actions at a time.
        numbers: of an action.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, *, chunk: int, numbers: int) -> None:
        super().__init__()
        self.trunk: Any = trunk
        self.head: Any = head
        self.chunk, self.numbers = chunk, numbers

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        """All that training needs of chance, so that its loss is a function of the batch."""
        noise = {"noise": self.noise(rows, generator)}
        return noise | self.trunk.draw(rows, generator) | self.head.draw(rows, generator)

    def forward(self, batch: Batch) -> Float[Tensor, "b chunk"]:
        """The loss of every action."""
        noisy, time = self.head.question(batch)
        thought = self.trunk.think(observation_in(batch), noisy, time, batch)
        penalty = thought.penalty if isinstance(thought.penalty, float) else thought.penalty[:, None]
        return self.head.loss(thought.features, batch) + penalty

    @torch.no_grad()
    def act(self, seen: Observation, noise: Actions) -> Actions:
        """A chunk of normalised actions; the same noise gives the same."""
        context = self.trunk.context(seen)
        return self.head.sample(lambda noisy, time: self.trunk.features(context, noisy, time), noise)

    def noise(self, rows: int, generator: torch.Generator) -> Actions:
        """What `act` starts from, and what a flow and a diffusion are trained with."""
        return torch.randn(rows, self.chunk, self.numbers, generator=generator)


def observation_in(batch: Batch) -> Observation:
    """The observation of a batch."""
    return Observation(*(batch[name] for name in Observation._fields))


def chunk_loss(policy: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """The objective: summed over the actions that count."""
    return (policy(batch) * batch["counted"]).sum()


def count_actions(batch: Batch) -> Float[Tensor, ""]:
    """How many actions `chunk_loss` sums over."""
    return batch["counted"].sum().float()
