"""What a robot is told from moment to moment by a policy that takes a while to think.

    plain      each chunk by itself
    realtime   each chunk agrees with what is left of the last (`policies.realtime.guided`)
    ensemble   each action is a mean of all chunks that spoke of it (`policies.realtime.Ensemble`)

Every chunk begins with the action that was due when its observation was made. A robot that went on acting from its last
chunk meanwhile leaves out as many actions as it has carried out since.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.core.errors import UserError, did_you_mean
from maquette.core.seeds import child_seed
from maquette.robotics.deployment import Deployed
from maquette.robotics.policies.realtime import Ensemble, Lean, act, flow_of, soft_mask

Chunking = Literal["plain", "realtime", "ensemble"]
CHUNKINGS: tuple[Chunking, ...] = ("plain", "realtime", "ensemble")
Think = Callable[[Lean | None], Float[Tensor, "chunk a"]]
"""A chunk for an observation at hand, in the network's units."""


class Chunker:
    """The chunks of one robot, one after the other."""

    def __init__(self, kind: Chunking) -> None:
        self.kind = checked_chunking(kind)
        self._last: Float[Tensor, "chunk a"] | None = None
        self._ensemble = Ensemble()

    def next(self, think: Think, *, taken: int, delay: int) -> Float[Tensor, "chunk a"]:
        """The chunk of now.

        Args:
            think: asks the policy.
            taken: actions that were due between the last chunk's observation and this one.
            delay: actions that will be carried out of the last chunk before this one is at hand.

        Raises:
            UserError: a number is negative, or the last chunk ends before this one is at hand.
        """
        if taken < 0 or delay < 0:
            raise UserError(f"taken = {taken} and delay = {delay} must both be 0 or more.")
        lean = self._lean(self._last, taken, delay) if self.kind == "realtime" and self._last is not None else None
        self._last = chunk = think(lean)
        return self._ensemble.blend(chunk, taken) if self.kind == "ensemble" else chunk

    def _lean(self, last: Float[Tensor, "chunk a"], taken: int, delay: int) -> Lean | None:
        """None where nothing is left of the last chunk."""
        if taken >= len(last):
            return None
        if delay > len(last) - taken:
            raise UserError(
                f"taken = {taken} and delay = {delay} are more than the {len(last)} actions of a chunk; ask earlier."
            )
        moved = torch.cat((last[taken:], torch.zeros_like(last[:taken])))
        return Lean(moved[None], soft_mask(len(last), delay, taken).to(last))


def checked_chunking(kind: str) -> Chunking:
    """The kind of that name.

    Raises:
        UserError: there is none.
    """
    for known in CHUNKINGS:
        if kind == known:
            return known
    raise UserError(f"chunking = {kind!r} is none; {did_you_mean(kind, CHUNKINGS)}")


class Seen(NamedTuple):
    """One robot's moment, in its own units."""

    images: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    state: Float[np.ndarray, " s"]
    instruction: str


class Session:
    """One robot's way with a policy; another instruction begins it anew.

    Args:
        deployed: the policy.
        kind: of chunking.
        seed: of what its chunks start from.

    Raises:
        UserError: the policy cannot do that kind.
    """

    def __init__(self, deployed: Deployed, kind: Chunking, seed: int = 0) -> None:
        if kind == "realtime":
            flow_of(deployed.policy)
        self.deployed, self.kind, self.seed = deployed, kind, seed
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self._chunker, self._turn, self._instruction = Chunker(self.kind), 0, ""

    def chunk(self, seen: Seen, *, taken: int, delay: int) -> Float[np.ndarray, "chunk a"]:
        """The actions from this moment on, in the robot's units; numbers as in `Chunker.next`.

        Raises:
            UserError: as `Chunker.next` and `Deployed.observe`.
        """
        if seen.instruction != self._instruction:
            self.reset()
            self._instruction = seen.instruction
        images = {name: picture[None] for name, picture in seen.images.items()}
        known = self.deployed.observe(images, seen.state[None], [seen.instruction])
        noise = self.deployed.noise(1, child_seed(self.seed, self._turn))
        found = self._chunker.next(
            lambda lean: act(self.deployed.policy, known, noise, lean)[0], taken=taken, delay=delay
        )
        self._turn += 1
        return self.deployed.card.action.undo(found).cpu().numpy()
