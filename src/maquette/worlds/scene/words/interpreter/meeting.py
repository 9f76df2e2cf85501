"""Who hits and who pushes whom, read from the tracks alone."""

import math

from maquette.worlds.scene.geometry import HAND
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.motion import MOVING, Motion

CLOSE = 0.03
"""Widths that count as touching when frames lie between."""


def hits(motion: Motion, i: int, j: int) -> float | None:
    """When one first goes into the other: they near one another, meet, and both change their speed."""
    dt, far = motion.dt, motion.distances(i, j)
    reach = motion.reach[i] + motion.reach[j]
    steps_i, steps_j = motion.steps(i), motion.steps(j)
    for k in range(1, motion.frames - 2):
        closing = (far[k - 1] - far[k]) / dt
        if closing < lexicon.CLOSING.middle or (far[k + 1] - far[k + 2]) / dt > closing / 2:
            continue
        if min(far[k], far[k + 1]) - reach > CLOSE + closing * dt:
            continue
        (x, y), (u, v) = ((motion.axes[0][n][k], motion.axes[1][n][k]) for n in (i, j))
        a, b = (u - x) / far[k], (v - y) / far[k]
        speed_i, after_i = ((dx * a + dy * b) / dt for dx, dy in (steps_i[k - 1], steps_i[k + 1]))
        speed_j, after_j = ((dx * a + dy * b) / dt for dx, dy in (steps_j[k - 1], steps_j[k + 1]))
        struck = min(speed_i - after_i, after_j - speed_j) > lexicon.STRUCK.middle
        if struck and speed_i > lexicon.CLOSING.middle:
            return k * dt
    return None


def collides(motion: Motion, i: int, j: int) -> float | None:
    """When one of the two hits the other."""
    found = [time for time in (hits(motion, i, j), hits(motion, j, i)) if time is not None]
    return min(found, default=None)


def pushes(motion: Motion, i: int, j: int) -> float | None:
    """When one begins to go behind the other, touching it all the way; a robot moves by itself and is not pushed."""
    if j == motion.robot:
        return None
    far, reach = motion.distances(i, j), motion.reach[i] + motion.reach[j]
    robot = i == motion.robot
    way, start = 0.0, 0
    steps_i, steps_j = motion.steps(i), motion.steps(j)
    for k in range(motion.frames - 1):
        (x, y), (u, v) = ((motion.axes[0][n][k], motion.axes[1][n][k]) for n in (i, j))
        length = max(far[k], 1e-9)
        a, b = (u - x) / length, (v - y) / length
        (dx, dy), (du, dv) = steps_i[k], steps_j[k]
        if robot:
            # A hand may also slip along what it pushes, or carry it.
            touching, along = far[k + 1] < motion.reach[j] + HAND + CLOSE, math.hypot(du, dv)
        else:
            touching = max(far[k], far[k + 1]) < reach + CLOSE and abs(far[k + 1] - far[k]) < CLOSE / 4
            along = min(dx * a + dy * b, du * a + dv * b)
        if not touching or along < MOVING * motion.dt:
            way = 0.0
            continue
        start = start if way else k
        way += along
        if way > lexicon.PUSHED.middle:
            return start * motion.dt
    return None
