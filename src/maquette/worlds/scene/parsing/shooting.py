"""Motion in one coordinate under a known force, fitted to what was seen by its first place and velocity."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Acceleration = Callable[[float, float], float]
"""Of a coordinate and its velocity."""

STEP = 1 / 40
"""Seconds; Runge and Kutta's fourth-order error at a pendulum's or a floating thing's pace is far below a pixel."""
ROUNDS = 6


def shoot(
    acceleration: Acceleration,
    time: Float[np.ndarray, " n"],
    seen: Float[np.ndarray, " n"],
    *,
    floor: float = float("-inf"),
) -> Float[np.ndarray, " n"]:
    """The solution nearest to what was seen, at the times given; what reaches the floor stays there."""
    start = np.array([seen[0], (seen[1] - seen[0]) / (time[1] - time[0])])
    best, least = None, float("inf")
    for _ in range(ROUNDS):
        path = _solve(acceleration, time, start, floor)
        left = seen - path
        if not left @ left < 0.999 * least:
            break
        best, least = path, float(left @ left)
        slopes = [(_solve(acceleration, time, start + step, floor) - path) / 1e-4 for step in 1e-4 * np.eye(2)]
        start = start + np.linalg.lstsq(np.stack(slopes, axis=1), left, rcond=None)[0]
    return path if best is None else best


def _solve(
    acceleration: Acceleration, time: Float[np.ndarray, " n"], start: Float[np.ndarray, " 2"], floor: float
) -> Float[np.ndarray, " n"]:
    """By the classical method of Runge and Kutta."""
    q, v = float(start[0]), float(start[1])
    path = [q]
    for span in np.diff(time).tolist():
        steps = max(round(span / STEP), 1)
        h = span / steps
        for _ in range(steps):
            a1 = acceleration(q, v)
            a2 = acceleration(q + h / 2 * v, v + h / 2 * a1)
            a3 = acceleration(q + h / 2 * v + h**2 / 4 * a1, v + h / 2 * a2)
            a4 = acceleration(q + h * v + h**2 / 2 * a2, v + h * a3)
            q, v = q + h * v + h**2 / 6 * (a1 + a2 + a3), v + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
            if q < floor:
                q, v = floor, 0.0
        path.append(q)
    return np.array(path)
