"""An attempt at a task: the table, the robot, and how far it is."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maquette.worlds.scene.actions.embodiments import Embodiment, body_of
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


class Episode:
    """One attempt, an action at a time.

    Args:
        assignment: the table, the robot on it and its task.
        control_hz: actions a second.
    """

    def __init__(self, assignment: Assignment, control_hz: float = 10.0) -> None:
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
        """Hold an action, each number between -1 and 1, until the next one is due."""
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
