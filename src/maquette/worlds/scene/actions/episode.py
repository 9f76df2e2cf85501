"""An attempt at a task: the table, the robot, and how far it is."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.actions.embodiments import ACTIONS, Embodiment, body_of
from maquette.worlds.scene.actions.sampling import Assignment
from maquette.worlds.scene.actions.table import HANDLE, Table
from maquette.worlds.scene.actions.tasks import Failure, Progress, Task, steps_of
from maquette.worlds.scene.state import Drawer, Robot, Scene

SECONDS: dict[Task, float] = {
    "reach": 8.0,
    "push-to": 16.0,
    "sort-by-colour": 40.0,
    "stack-in-zone": 30.0,
    "open-drawer": 12.0,
    "two-step": 30.0,
}
"""That a robot is given."""
SLOWEST, FASTEST = 5.0, 50.0
"""Actions a second."""


class Episode:
    """One attempt, an action at a time.

    Args:
        assignment: the table, the robot on it and its task.
        control_hz: actions a second, from 5 to 50.

    Raises:
        UserError: the rate is out of range.
    """

    def __init__(self, assignment: Assignment, control_hz: float = 10.0) -> None:
        checks.number("control_hz", control_hz, SLOWEST, FASTEST)
        self.assignment, self.control_hz = assignment, control_hz
        scene = assignment.scene
        robot = scene.robot
        assert robot
        self.embodiment: Embodiment = robot.embodiment
        self.table = Table(scene, robot.joints[-1], 0.0 if robot.embodiment == "pusher" else robot.grip)
        self.body = body_of(robot, self.table)
        self.progress = Progress(steps_of(assignment.goal, scene), self.table, robot.embodiment)
        self.limit = math.ceil(SECONDS[assignment.task] * control_hz)
        """Actions that it may take."""
        self.taken = 0
        self.success = False

    @property
    def is_over(self) -> bool:
        """Whether it is done, cannot be done any more, or has lasted too long."""
        return self.is_decided or self.taken >= self.limit

    @property
    def is_decided(self) -> bool:
        """Whether it is done, or cannot be done any more."""
        return self.success or self.progress.wrong_order

    @property
    def failure(self) -> Failure:
        """How it failed; empty before it is over, and where it did not."""
        return self.progress.failure() if self.is_over and not self.success else ""

    def act(self, action: Sequence[float]) -> None:
        """Hold an action, each number between -1 and 1, until the next one is due.

        Raises:
            UserError: it has not as many numbers as the robot takes, or one is not finite.
        """
        names = ACTIONS[self.embodiment]
        if len(action) != len(names) or not all(map(math.isfinite, action)):
            raise UserError(
                f"action = {list(action)!r:.60} must be {len(names)} finite numbers, the {', '.join(names)} of a "
                f"{self.embodiment}."
            )
        self.body.act(action, 1 / self.control_hz)
        self.progress.note()
        self.success = self.progress.success
        self.taken += 1

    def scene(self) -> Scene:
        """The world now."""
        table, start = self.table, self.assignment.scene
        return Scene(
            view="top",
            things=start.things,
            position=table.position,
            angle=table.angle,
            velocity=table.velocity,
            spin=table.spin,
            scenery=tuple(
                replace(part, opening=table.opening) if isinstance(part, Drawer) else part for part in start.scenery
            ),
            robot=Robot(embodiment=self.embodiment, joints=self.body.joints(), grip=table.grip),
            held=None if table.held == HANDLE else table.held,
            layers=np.array(table.layers(), int),
        )
