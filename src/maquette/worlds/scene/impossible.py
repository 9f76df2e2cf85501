"""What the side view cannot begin with. That things overlap is found by `physics`, which knows their outlines."""

import itertools
import math

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.state import Ground, Pendulum, Ramp, Scene, Screen, refuse_lost_bobs

FASTEST = 100.0
"""Widths and radians a second that a thing may start with."""
SAME = 1e-3
"""Widths within which two places are one: there a collision has no direction, and a rod none."""


def refuse_impossible(scene: Scene) -> None:
    """Refuse what nothing can be simulated from.

    Raises:
        UserError: a scene from above, a number that is none, a thing far outside the frame or far too fast, two at one
            place or on two grounds, scenery of no extent, a pendulum without its bob.
    """
    if scene.view != "side":
        raise UserError(f"view = {scene.view!r} has no gravity to simulate; give a scene of the 'side' view.")
    _refuse_start(scene)
    refuse_lost_bobs(scene)
    grounds = [part for part in scene.scenery if isinstance(part, Ground)]
    if len(grounds) > 1:
        raise UserError(f"scenery holds {len(grounds)} parts of kind Ground; give one.")
    for ground in grounds:
        checks.number("Ground.height", ground.height, 0, 0.9)
    for part in scene.scenery:
        if isinstance(part, Screen) and part.left >= part.right:
            raise UserError(f"Screen.left = {part.left:g} must be less than Screen.right = {part.right:g}.")
        if isinstance(part, Ramp) and part.start == part.end:
            raise UserError(f"Ramp.start = Ramp.end = {part.start}: a ramp needs a length; give two places.")
        if isinstance(part, Pendulum) and math.dist(part.pivot, scene.position[part.bob]) < SAME:
            raise UserError(f"Pendulum.pivot = {part.pivot} is where its bob is: a rod needs a length.")


def _refuse_start(scene: Scene) -> None:
    """Raise a UserError for what is no number, a thing far outside the frame or far too fast, or two at one place."""
    for name in ("position", "angle", "velocity", "spin"):
        if not np.isfinite(getattr(scene, name)).all():
            raise UserError(f"{name} holds NaN or infinity; give every thing numbers.")
    for name in ("velocity", "spin"):
        if np.abs(getattr(scene, name)).max(initial=0.0) > FASTEST:
            raise UserError(f"{name} is beyond {FASTEST:g} a second for a thing; give less.")
    places = np.asarray(scene.position, float).tolist()
    for number, (x, y) in enumerate(places):
        if not (-1 <= x <= 2 and -1 <= y <= 2):
            raise UserError(
                f"position: thing {number} is at ({x:g}, {y:g}); the frame reaches from 0 to 1, give -1 to 2."
            )
    for (i, one), (j, other) in itertools.combinations(enumerate(places), 2):
        if math.dist(one, other) < SAME:  # where a collision has no direction
            raise UserError(f"position: things {i} and {j} are at the same place; move one of them away.")
