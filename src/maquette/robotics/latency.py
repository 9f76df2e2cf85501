"""Thinking takes time: an environment whose observations are late, and what comes of the ways to act in it.

Who sees at step t what was so at step t − d, and answers at once, is where a policy is that looks at step t − d and
thinks for d steps.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from jaxtyping import Float

from maquette.core.errors import UserError


class Latency(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations come late; rewards and ends at once. `info["late"]` says by how many steps.

    The first observation of an episode comes at once, and stays until the next one is due.

    Args:
        env: any environment.
        delay: steps.

    Raises:
        UserError: the delay is negative.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], delay: int) -> None:
        if delay < 0:
            raise UserError(f"delay = {delay}: give 0 steps or more.")
        super().__init__(env)
        self.delay = delay
        self._seen: deque[Any] = deque(maxlen=delay + 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anew."""
        seen, info = self.env.reset(seed=seed, options=options)
        self._seen.clear()
        self._seen.append(seen)
        return seen, info | {"late": 0}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act now, and see what was."""
        seen, reward, terminated, truncated, info = self.env.step(action)
        self._seen.append(seen)
        return self._seen[0], reward, terminated, truncated, info | {"late": len(self._seen) - 1}


class Mind(Protocol):
    """Whoever thinks of chunks: `chunking.Session`, say."""

    def chunk(self, seen: Any, *, taken: int, delay: int) -> Float[np.ndarray, "chunk a"]:
        """As `chunking.Session.chunk`."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of an episode."""

    reward: float
    """The sum."""
    steps: int
    roughness: float
    """Mean absolute change from an action to the next."""


def attempt(
    env: Latency,
    mind: Mind,
    *,
    execute: int,
    seed: int,
    waits: Float[np.ndarray, " a"] | None = None,
    look: Callable[[Any], Any] = lambda seen: seen,
) -> Attempt:
    """One episode.

    Args:
        env: whose episodes end.
        mind: new for each episode.
        execute: actions from a chunk to the next; of one who does not wait at least the delay, but for an ensemble 1.
        seed: of the initial state.
        waits: what the robot does while it waits for a chunk; None: it does not, and goes on with the last chunk.
        look: makes of the environment's observation what the mind is asked.

    Raises:
        UserError: a chunk ends before the next one is at hand.
    """
    seen, info = env.reset(seed=seed)
    now = origin = 0  # of the last chunk: when its first action was due
    total, over, done = 0.0, False, []
    while not over:
        due = now - info["late"]
        chunk = mind.chunk(look(seen), taken=due - origin, delay=0 if waits is not None else info["late"])
        origin, begin = due, 0 if waits is not None else info["late"]
        plan = [*chunk[begin : begin + execute]]
        if len(plan) < execute and waits is None:
            raise UserError(
                f"execute = {execute} and a delay of {begin} are more than the {len(chunk)} actions of a chunk."
            )
        for action in plan + ([] if waits is None else [waits] * env.delay):
            seen, reward, terminated, truncated, info = env.step(action)
            total, over, now = total + float(reward), terminated or truncated, now + 1
            done.append(action)
            if over:
                break
    return Attempt(
        reward=total, steps=now, roughness=float(np.abs(np.diff(done, axis=0)).mean()) if len(done) > 1 else 0.0
    )
