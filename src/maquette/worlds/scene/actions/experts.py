"""Scripted experts: they see the state, and where two ways are equally good they take one or the other."""

import math
from collections.abc import Sequence

import numpy as np

from maquette.core.seeds import numpy_generator
from maquette.worlds.scene import checks
from maquette.worlds.scene.actions.embodiments import (
    ACTIONS,
    BASE,
    POSTURE,
    SPEED,
    TURNING,
    Arm,
    joint_velocities,
    points_of,
)
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.skills import Skills


class Expert:
    """Shows how: its actions for an episode that is under way.

    Args:
        episode: what it sees and acts in.
        seed: of its choices and its noise.
        noise: standard deviation of what is added to every number of an action.
        either: whether it takes either of two equally good ways, or always the one on the same side.

    Raises:
        UserError: the noise is no deviation.
    """

    def __init__(self, episode: Episode, seed: int, *, noise: float = 0.0, either: bool = True) -> None:
        checks.number("noise", noise, 0, 10)
        self._episode, self._noise = episode, noise
        self._rng = numpy_generator(seed, "noise of an expert")
        choices = numpy_generator(seed, "choices of an expert", episode.assignment.seed)  # others on every table
        self._motions = Skills(episode, choices, either=either).all_steps()

    def action(self) -> list[float]:
        """What it does now; each number between -1 and 1."""
        x, y, squeeze = next(self._motions)
        body = self._episode.body
        if isinstance(body, Arm):
            speeds = joint_velocities(body.angles, (x, y), _easing(body.angles)) / TURNING
            speeds = [*(speeds / max(1.0, np.abs(speeds).max())), squeeze]
        else:
            share = max(SPEED, abs(x), abs(y))
            speeds = [x / share, y / share, squeeze][: len(ACTIONS[self._episode.embodiment])]
        noisy = np.array(speeds) + self._noise * self._rng.standard_normal(len(speeds))
        return np.clip(noisy, -1, 1).tolist()


def _easing(angles: Sequence[float]) -> list[float]:
    """Joint velocities towards an easy posture, for an arm to take as far as its hand does not mind."""
    (x, y), (tip_x, tip_y) = BASE, points_of(angles)[-1]
    lean = math.copysign(1.0, -angles[1])
    easy = math.atan2(tip_y - y, tip_x - x) + lean * POSTURE[0], lean * POSTURE[1], lean * POSTURE[2]
    return [e - a for e, a in zip(easy, angles, strict=True)]
