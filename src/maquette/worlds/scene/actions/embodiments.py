"""Three robots that move the same hand: what their actions mean, and what they feel of themselves.

Every action is a velocity between -1 and 1, as a share of the highest; zero leaves everything as it is.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float

from maquette.core.errors import UserError, did_you_mean
from maquette.worlds.scene.actions.table import SUBSTEP, Table
from maquette.worlds.scene.state import Point, Robot

Embodiment = Literal["pusher", "gripper", "arm"]
EMBODIMENTS: tuple[Embodiment, ...] = get_args(Embodiment)

SPEED = 0.6
"""Highest speed of a pusher or gripper along each axis, in widths / s."""
TURNING = 1.2
"""Highest speed of an arm's joint, in radians / s."""
GRIPPING = 4.0
"""How fast jaws open and close, in grip / s."""

BASE: Point = (0.5, -0.1)
"""Of the arm, just beyond the viewer's edge."""
LINKS = (0.46, 0.4, 0.3)
"""Lengths of the arm's links, in widths."""
JOINT_LIMITS = ((-0.3, math.pi + 0.3), (-2.7, 2.7), (-2.7, 2.7))
"""Radians: the first joint's from the table's near edge, the others' from the link before."""
POSTURE = (0.8, -1.1, -0.8)
"""An easy one, in radians, its first angle counted from the way to the tip; its mirror image is another."""
DAMPING = 0.02
"""Of the Jacobian's pseudo-inverse, in widths: it stays finite where the arm is stretched."""
YIELDING = 1e-4
"""How far the hand is from where the joints should bring it, in widths, before they give way."""

ACTIONS: dict[Embodiment, tuple[str, ...]] = {
    "pusher": ("x", "y"),
    "gripper": ("x", "y", "grip"),
    "arm": ("shoulder", "elbow", "wrist", "grip"),
}
"""What each number of an action sets the velocity of."""

_GRIP = ("grip", 0.0, 1.0)
FEELS: dict[Embodiment, tuple[tuple[str, float, float], ...]] = {
    "pusher": (("x", 0.0, 1.0), ("y", 0.0, 1.0)),
    "gripper": (("x", 0.0, 1.0), ("y", 0.0, 1.0), _GRIP),
    "arm": (*((joint, *limits) for joint, limits in zip(ACTIONS["arm"], JOINT_LIMITS, strict=False)), _GRIP),
}
"""Each number that a robot feels of itself, with its bounds; angles in radians."""


def checked_embodiment(name: str) -> Embodiment:
    """The embodiment of that name.

    Raises:
        UserError: there is none.
    """
    for known in EMBODIMENTS:
        if known == name:
            return known
    raise UserError(f"embodiment = {name!r} is not a robot of the table; {did_you_mean(str(name), EMBODIMENTS)}")


class Body(Protocol):
    """A robot on a table."""

    def act(self, action: Sequence[float], seconds: float) -> None:
        """Hold an action for some time."""

    def feels(self) -> list[float]:
        """The numbers of `FEELS`."""

    def joints(self) -> tuple[Point, ...]:
        """As in `Robot`."""


def body_of(robot: Robot, table: Table) -> Body:
    """What drives the hand of `table`, which is where the robot's last joint is."""
    return Arm(robot, table) if robot.embodiment == "arm" else Hand(robot, table)


class Hand:
    """A pusher or gripper: its hand moves freely in x and y."""

    def __init__(self, robot: Robot, table: Table) -> None:
        self._embodiment, self._table = robot.embodiment, table

    def act(self, action: Sequence[float], seconds: float) -> None:
        """Hold an action for some time."""
        velocity = SPEED * action[0], SPEED * action[1]
        squeeze = GRIPPING * action[2] if len(action) > 2 else 0.0
        steps, dt = _steps(seconds)
        self._table.move(velocity, squeeze * dt, dt, steps)
        self._table.read()

    def feels(self) -> list[float]:
        """The numbers of `FEELS`."""
        x, y = self._table.hand.tolist()
        return [x, y] if self._embodiment == "pusher" else [x, y, self._table.grip]

    def joints(self) -> tuple[Point, ...]:
        """As in `Robot`."""
        x, y = self._table.hand.tolist()
        return ((x, y),)


class Arm:
    """Three links from the viewer's edge, above the table: only the hand at their end touches anything."""

    def __init__(self, robot: Robot, table: Table) -> None:
        self._table = table
        self.angles = angles_of(robot.joints)

    def act(self, action: Sequence[float], seconds: float) -> None:
        """Hold an action for some time; joints give way where the hand is held up."""
        steps, dt = _steps(seconds)
        turn = [TURNING * speed * dt for speed in action[:-1]]
        squeeze = GRIPPING * action[-1] * dt
        angles, (hand_x, hand_y) = self.angles, self._table.hand.tolist()
        for _ in range(steps):
            angles = _limited(angles[0] + turn[0], angles[1] + turn[1], angles[2] + turn[2])
            points = points_of(angles)
            x, y = points[-1]
            self._table.move(((x - hand_x) / dt, (y - hand_y) / dt), squeeze, dt)
            hand_x, hand_y = self._table.where_hand_is()
            if abs(hand_x - x) + abs(hand_y - y) > YIELDING:
                give = _least_squares(points, (hand_x - x, hand_y - y))
                angles = _limited(angles[0] + give[0], angles[1] + give[1], angles[2] + give[2])
        self.angles = angles
        self._table.read()

    def feels(self) -> list[float]:
        """The numbers of `FEELS`."""
        return [*self.angles, self._table.grip]

    def joints(self) -> tuple[Point, ...]:
        """As in `Robot`."""
        return points_of(self.angles)


def points_of(angles: Sequence[float]) -> tuple[Point, ...]:
    """Where an arm's joints are, from base to tip."""
    first, second, third = angles
    second += first
    third += second
    x1, y1 = BASE[0] + LINKS[0] * math.cos(first), BASE[1] + LINKS[0] * math.sin(first)
    x2, y2 = x1 + LINKS[1] * math.cos(second), y1 + LINKS[1] * math.sin(second)
    return BASE, (x1, y1), (x2, y2), (x2 + LINKS[2] * math.cos(third), y2 + LINKS[2] * math.sin(third))


def angles_of(joints: Sequence[Point]) -> tuple[float, ...]:
    """The inverse of `points_of`."""
    headings = [math.atan2(y1 - y0, x1 - x0) for (x0, y0), (x1, y1) in itertools.pairwise(joints)]
    turns = [after - before for before, after in itertools.pairwise([0.0, *headings])]
    middles = [(low + high) / 2 for low, high in JOINT_LIMITS]
    return tuple((t - m + math.pi) % (2 * math.pi) - math.pi + m for t, m in zip(turns, middles, strict=True))


def joint_velocities(
    angles: Sequence[float], velocity: Point, preferred: Sequence[float] = (0.0, 0.0, 0.0)
) -> Float[np.ndarray, " joints"]:
    """Joint velocities that move an arm's tip with a velocity, as near to the preferred ones as that leaves free.

    Damped least squares (Wampler 1986), q' = p + J^T (J J^T + DAMPING^2)^-1 (v - J p); a joint that it would turn
    beyond its limit stands still, and the others make up for it.
    """
    points = points_of(angles)
    tip_x, tip_y = points[-1]
    wanted, moves = list(preferred), [1.0, 1.0, 1.0]
    while True:
        rest_x = velocity[0] - sum(p * (y - tip_y) for p, (_, y) in zip(wanted, points, strict=False))
        rest_y = velocity[1] - sum(p * (tip_x - x) for p, (x, _) in zip(wanted, points, strict=False))
        found = [p + q for p, q in zip(wanted, _least_squares(points, (rest_x, rest_y), moves), strict=True)]
        stuck = [
            k
            for k, (angle, speed, (low, high)) in enumerate(zip(angles, found, JOINT_LIMITS, strict=True))
            if moves[k] and ((speed < 0 and angle <= low + 1e-6) or (speed > 0 and angle >= high - 1e-6))
        ]
        if not stuck:
            return np.array(found)
        for k in stuck:
            moves[k], wanted[k] = 0.0, 0.0


def _least_squares(
    points: Sequence[Point], velocity: Point, moves: Sequence[float] = (1.0, 1.0, 1.0)
) -> tuple[float, float, float]:
    """J^T (J J^T + DAMPING^2)^-1 v; without the joints where `moves` is 0. Written out: a control step needs five."""
    (x0, y0), (x1, y1), (x2, y2), (x, y) = points
    a0, a1, a2 = moves[0] * (y0 - y), moves[1] * (y1 - y), moves[2] * (y2 - y)
    b0, b1, b2 = moves[0] * (x - x0), moves[1] * (x - x1), moves[2] * (x - x2)
    aa, bb = a0 * a0 + a1 * a1 + a2 * a2 + DAMPING**2, b0 * b0 + b1 * b1 + b2 * b2 + DAMPING**2
    ab = a0 * b0 + a1 * b1 + a2 * b2
    over = 1 / (aa * bb - ab * ab)
    u, v = over * (bb * velocity[0] - ab * velocity[1]), over * (aa * velocity[1] - ab * velocity[0])
    return a0 * u + b0 * v, a1 * u + b1 * v, a2 * u + b2 * v


def _limited(first: float, second: float, third: float) -> tuple[float, float, float]:
    (a, b), (c, d), (e, f) = JOINT_LIMITS
    return min(max(first, a), b), min(max(second, c), d), min(max(third, e), f)


def _steps(seconds: float) -> tuple[int, float]:
    steps = max(1, math.ceil(seconds / SUBSTEP - 1e-9))
    return steps, seconds / steps
