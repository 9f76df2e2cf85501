"""Policies from a few numbers, as a checkpoint keeps them."""

from dataclasses import dataclass
from typing import Literal

import torch

from maquette.core.errors import UserError, did_you_mean
from maquette.robotics.policies.act import Act, ActConfig
from maquette.robotics.policies.contract import Policy
from maquette.robotics.policies.diffusion_policy import DiffusionPolicy, DiffusionPolicyConfig
from maquette.robotics.policies.heads import STEPS, head_of
from maquette.robotics.policies.pi0 import Pi0
from maquette.robotics.policies.sizes import SIZES, pi0_config

TrunkKind = Literal["pi0", "diffusion-policy", "act"]
TRUNKS: tuple[TrunkKind, ...] = ("pi0", "diffusion-policy", "act")
USUAL_HEAD = {"pi0": "flow", "diffusion-policy": "diffusion", "act": "l1"}
_ACT = {"tiny": (64, 128), "small": (128, 256), "medium": (256, 1024)}
_UNET = {"tiny": (32, 64), "small": (64, 128, 256), "medium": (128, 256, 512)}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """All that a policy is made from, but its weights."""

    trunk: str
    head: str
    size: str = "small"
    pixels: int = 64
    cameras: int
    state: int
    numbers: int
    """Of an action."""
    chunk: int
    vocabulary: int
    steps: int = STEPS
    """Of sampling, for the heads that take any."""

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise UserError(f"trunk = {self.trunk!r} is none; {did_you_mean(self.trunk, TRUNKS)}")
        if self.size not in SIZES:
            raise UserError(f"size = {self.size!r} is none; {did_you_mean(self.size, SIZES)}")
        if self.cameras < (self.trunk == "pi0"):
            raise UserError(f"cameras = {self.cameras} of a policy: give 0 or more, for pi0 1 or more.")
        for name in ("pixels", "state", "numbers", "chunk", "vocabulary", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)} of a policy: give 1 or more.")


def make(shape: Shape, generator: torch.Generator | None = None) -> Policy:
    """A policy; with a generator its weights are drawn from that.

    Raises:
        UserError: the numbers do not go together.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw as they are made, and nobody else should notice
        trunk = _trunk(shape)
        head = head_of(shape.head, trunk.width, shape.numbers, steps=shape.steps)
    if generator is not None:
        trunk.initialise(generator)
        with torch.no_grad():
            for parameter in head.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
    return Policy(trunk, head, chunk=shape.chunk, numbers=shape.numbers)


def _trunk(shape: Shape) -> Pi0 | DiffusionPolicy | Act:
    robot = {"state": shape.state, "numbers": shape.numbers, "chunk": shape.chunk}
    eyes = {"cameras": shape.cameras, "vocabulary": shape.vocabulary}
    if shape.trunk == "pi0":
        return Pi0(pi0_config(shape.size, size=shape.pixels, vocabulary=shape.vocabulary, **robot))
    if shape.trunk == "act":
        width, hidden = _ACT[shape.size]
        return Act(ActConfig(width=width, hidden=hidden, **robot, **eyes))
    return DiffusionPolicy(DiffusionPolicyConfig(widths=_UNET[shape.size], **robot, **eyes))
