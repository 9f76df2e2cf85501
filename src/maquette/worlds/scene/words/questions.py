"""Questions about a still scene or a clip, each with its answer."""

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.words.asking import Asker, Question
from maquette.worlds.scene.words.asking_of_motion import Witness
from maquette.worlds.scene.words.facts import pick

__all__ = ["Question", "questions"]

TRIES = 40
"""Questions begun for each one asked, before a state counts as one that cannot be asked about."""


def questions(state: Scene | Clip, rng: np.random.Generator, n: int) -> list[Question]:
    """Questions whose answers are beyond doubt; fewer than asked for where little can be asked.

    Args:
        state: a still scene, or a clip, of which one also asks what happens.
        rng: chooses.
        n: how many.

    Raises:
        UserError: n is not positive, or there is nothing to ask about.
    """
    checks.kind("state", state, Scene, Clip)
    checks.whole("n", n, 1, 1_000_000)
    if not state.things:
        raise UserError("The state has no things; nothing can be asked about it.")
    asker = Asker(state, rng)
    kinds = (*asker.kinds, *Witness(state, asker).kinds) if isinstance(state, Clip) else asker.kinds
    found: list[Question] = []
    for _ in range(TRIES * n):
        question = pick(rng, kinds)()
        if question is not None and question not in found:
            found.append(question)
        if len(found) == n:
            break
    return found
