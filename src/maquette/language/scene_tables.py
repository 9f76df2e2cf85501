"""Which table tops a model is shown: any that the scene world has, or those of some tasks, robots and layout."""

from dataclasses import dataclass, replace

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene.actions.embodiments import EMBODIMENTS, Embodiment
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.sampling import assignment
from maquette.worlds.scene.actions.tasks import TASKS, Task
from maquette.worlds.scene.state import Scene

ATTEMPTS = 100
"""At a table on which all fits."""
DISTRACTORS = 3
"""Things, at most, beside those that the table's task needs."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Which table tops are seen: as some robot finds them before some task.

    Raises:
        UserError: none of the tasks has things.
    """

    tasks: tuple[Task, ...] = TASKS
    robots: tuple[Embodiment, ...] = EMBODIMENTS
    layout: Layout | None = None
    """What is on them, combinations apart; else any number of distractors up to `DISTRACTORS`."""

    def __post_init__(self) -> None:
        if not set(self.tasks) - {"open-drawer"}:
            raise UserError(f"tasks = {self.tasks} of Tables: give at least one in which there are things.")

    def draw(self, rng: np.random.Generator, *, held_out: bool) -> Scene:
        """One; with `held_out` it holds a combination of colour and shape that training never sees; without, none.

        Raises:
            UserError: nothing so laid out fits.
        """
        tasks = [task for task in self.tasks if not held_out or task != "open-drawer"]
        for _ in range(ATTEMPTS):
            layout = self.layout or Layout(distractors=int(rng.integers(DISTRACTORS + 1)))
            layout = replace(layout, combinations="held out" if held_out else "train")
            task, robot = tasks[rng.integers(len(tasks))], self.robots[rng.integers(len(self.robots))]
            try:
                scene = assignment(task, robot, int(rng.integers(2**31)), layout).scene
            except UserError:  # so many do not fit: the next may
                continue
            if scene.things:
                return scene
        raise UserError(f"No table of {self} was found in {ATTEMPTS} attempts; ask for fewer things.")


ANY = Tables()
