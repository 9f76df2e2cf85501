"""A policy on disk with all that its numbers mean, so that it refuses a robot it was not made for.

A folder holds model.safetensors, tokenizer.json and policy.json. The last says what the actions are, how often one is
due, what the cameras are called, how numbers are normalised, and from which dataset and which weights it came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from tokenizers import Tokenizer

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import read_json
from maquette.core.seeds import torch_generator
from maquette.language import tokenizers
from maquette.language.prompts import padded
from maquette.robotics.moments import fitted
from maquette.robotics.normalisation import Normaliser, normaliser_from_json
from maquette.robotics.policies.contract import Actions, Observation, Policy
from maquette.robotics.policies.making import Shape, make
from maquette.train.folders import check_weights, read_weights, write_card

FORMAT, CARD = 1, "policy.json"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a policy's numbers mean."""

    shape: Shape
    control_hz: int
    """Actions a second."""
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_meaning: str
    robot: str
    state: Normaliser
    action: Normaliser
    prompt: int
    """Tokens that an instruction is padded to."""
    dataset: str = ""
    """Identity of what it learned from."""
    parent: str = ""
    """SHA-256 of the weights it began with; empty where it began from nothing."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """How the demonstrations were made, where that is known."""


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What a robot, a dataset or an environment has to offer; None where it does not say."""

    cameras: tuple[str, ...]
    state: int
    action: int
    control_hz: float | None = None
    state_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    action_meaning: str | None = None


class Deployed:
    """A policy in a robot's own units."""

    def __init__(self, policy: Policy, tokenizer: Tokenizer, card: Card) -> None:
        self.policy, self.tokenizer, self.card = policy.eval(), tokenizer, card

    def act(
        self,
        images: Mapping[str, UInt8[np.ndarray, "robots height width 3"]],
        state: Float32[np.ndarray, "robots s"],
        instructions: Sequence[str],
        seed: int = 0,
    ) -> Float32[np.ndarray, "robots chunk a"]:
        """A chunk of actions for each robot; the same seed gives the same.

        Raises:
            UserError: a camera is missing, or the state has other numbers.
        """
        seen = self.observe(images, state, instructions)
        noise = self.noise(len(seen.state), seed)
        return self.card.action.undo(self.policy.act(seen, noise)).cpu().numpy()

    def noise(self, robots: int, seed: int) -> Actions:
        """What a chunk starts from."""
        return self.policy.noise(robots, torch_generator(seed, "actions")).to(self.device)

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.policy.parameters()).device

    def observe(
        self,
        images: Mapping[str, UInt8[np.ndarray, "robots height width 3"]],
        state: Float[np.ndarray, "robots s"],
        instructions: Sequence[str],
    ) -> Observation:
        """What the network is given."""
        card = self.card
        if missing := [name for name in card.cameras if name not in images]:
            raise UserError(f"The camera {missing[0]} is missing; {did_you_mean(missing[0], images)}")
        numbers = torch.as_tensor(np.asarray(state, np.float32))
        if numbers.ndim != 2 or numbers.shape[1] != card.state.numbers:
            raise UserError(
                f"The state has the shape {tuple(numbers.shape)}; give {card.state.numbers} numbers a robot."
            )
        prompt, written = padded(self.tokenizer, instructions, card.prompt)
        pixels = card.shape.pixels
        blind = torch.zeros(len(numbers), 0, 3, pixels, pixels, dtype=torch.uint8)
        seen = [fitted(images[name], pixels) for name in card.cameras]
        pictures = torch.stack(seen, dim=1) if seen else blind
        parts = pictures, card.state.apply(numbers), prompt, written
        return Observation(*(part.to(self.device) for part in parts))


def for_robot(deployed: Deployed, robot: Robot, kind: str) -> Deployed:
    """The same weights for another robot, whose first numbers mean what the policy's own do; the rest stay as they are.

    Args:
        deployed: padded (`Normaliser.width`) to as many numbers as the robot has.
        robot: of the same cameras.
        kind: what the robot is called.

    Raises:
        UserError: the robot has fewer numbers than the policy, or more than that is padded to.
    """
    card = deployed.card
    pairs = (
        ("state", card.state, robot.state, card.shape.state),
        ("action", card.action, robot.action, card.shape.numbers),
    )
    for name, own, theirs, most in pairs:
        if not own.numbers <= theirs <= most:
            raise UserError(
                f"The {kind} has {theirs} numbers of its {name}, and the policy has room for {own.numbers} to {most}; "
                "pad it to more, or train one on that robot's own demonstrations."
            )
    card = replace(
        card,
        state=card.state.extended(robot.state),
        action=card.action.extended(robot.action),
        state_names=robot.state_names or (),
        action_names=robot.action_names or (),
        robot=kind,
    )
    return Deployed(deployed.policy, deployed.tokenizer, card)


def refuse_mismatch(card: Card, robot: Robot, where: str) -> None:
    """Refuse a robot that the policy was not made for.

    Raises:
        UserError: something differs: what the policy has, what the robot has, and the mend.
    """
    if missing := [name for name in card.cameras if name not in robot.cameras]:
        raise UserError(
            f"The policy looks through the camera {missing[0]}, and {where} has {', '.join(robot.cameras) or 'none'}; "
            "train it on that robot's own demonstrations."
        )
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("numbers of its state", card.state.numbers, robot.state),
        ("numbers of an action", card.action.numbers, robot.action),
        ("names of its state", card.state_names or None, robot.state_names),
        ("names of its actions", card.action_names or None, robot.action_names),
        ("meaning of its actions", card.action_meaning or None, robot.action_meaning),
        ("actions a second", card.control_hz, robot.control_hz),
    )
    for what, ours, theirs in pairs:
        if ours is not None and theirs is not None and ours != theirs:
            raise UserError(
                f"The policy and {where} differ in the {what}: {_said(ours)} and {_said(theirs)}; train the policy on "
                "that robot's own demonstrations."
            )


def save(deployed: Deployed, directory: Path) -> None:
    """Write a policy's folder.

    Raises:
        UserError: it cannot be written.
    """
    card = asdict(deployed.card) | {"format": FORMAT}
    write_card(directory, CARD, card, deployed.policy, partial(tokenizers.save, deployed.tokenizer))


def load(directory: Path) -> Deployed:
    """Read a policy's folder.

    Raises:
        UserError: it is none, or a file of it is missing, damaged or of other weights.
    """
    if not (directory / CARD).exists():
        raise UserError(f"{directory} has no {CARD}; give a folder that maquette train made of a policy.")
    raw = read_json(directory / CARD)
    card = _card(raw, directory / CARD)
    check_weights(directory, CARD, raw)
    tokenizer = tokenizers.load(directory)
    policy = make(card.shape)
    read_weights(directory, CARD, policy)
    return Deployed(policy, tokenizer, card)


def _card(raw: Any, path: Path) -> Card:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise UserError(f"{path} is of no format that is read here; train the policy anew.")
    known = {name: value for name, value in raw.items() if name not in ("format", "weights")}
    try:
        names = ("cameras", "state_names", "action_names")
        known |= {name: tuple(known[name]) for name in names} | {"shape": Shape(**known["shape"])}
        known |= {name: normaliser_from_json(known[name], str(path)) for name in ("state", "action")}
        return Card(**known)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} lacks or has too much of something ({error}); restore it from a copy.") from error


def _said(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
