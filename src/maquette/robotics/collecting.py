"""Demonstrations by the scripted experts of the scene world, as a LeRobot dataset."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.seeds import child_seed
from maquette.robotics.datasets.layout import ACTION, IMAGES, STATE, Feature
from maquette.robotics.datasets.writer import DatasetWriter
from maquette.worlds.scene.actions.embodiments import ACTIONS, FEELS, Embodiment
from maquette.worlds.scene.actions.environment import Setting
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.recording import Recording, record
from maquette.worlds.scene.actions.sampling import USUAL
from maquette.worlds.scene.actions.tasks import Task
from maquette.worlds.scene.render import frames_of

CAMERA = f"{IMAGES}top"
SOURCE = "meta/source.json"
"""Beside LeRobot's own files: how the demonstrations were made, so that a policy is tried where they were."""
ACTION_MEANING = "velocities as shares of the highest, held for one control period"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Which demonstrations to collect."""

    tasks: tuple[Task, ...] = ("push-to",)
    embodiment: Embodiment = "pusher"
    episodes: int = 200
    size: int = 64
    """Width of the pictures in pixels."""
    control_hz: int = 10
    """Actions, and frames, a second."""
    noise: float = 0.0
    """Standard deviation of what is added to each number of the expert's actions."""
    either: bool = True
    """Whether experts take either of two equally good ways, as people do; else always the one on the same side."""
    pictures: Literal["image", "video"] = "image"
    """Images are as they were drawn; in a small picture a video's coarser colours blur what the words speak of."""
    layout: Layout = USUAL
    seed: int = 0

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"episodes = {self.episodes}: give 1 or more.")
        if not self.size:
            raise UserError("size = 0 leaves nothing to see; give the width of the pictures in pixels.")
        if self.control_hz != int(self.control_hz):
            raise UserError(f"control_hz = {self.control_hz}: a LeRobot dataset needs a whole number.")
        _ = self.setting

    @property
    def setting(self) -> Setting:
        """The environment."""
        return Setting(
            tasks=self.tasks,
            embodiment=self.embodiment,
            size=self.size,
            control_hz=self.control_hz,
            layout=self.layout,
        )

    @property
    def features(self) -> dict[str, Feature]:
        """What is recorded at every frame."""
        feels, acts = [name for name, _, _ in FEELS[self.embodiment]], list(ACTIONS[self.embodiment])
        axes = ["height", "width", "channels"]
        return {
            STATE: Feature(dtype="float32", shape=(len(feels),), names=feels),
            CAMERA: Feature(dtype=self.pictures, shape=(self.size, self.size, 3), names=axes),
            ACTION: Feature(dtype="float32", shape=(len(acts),), names=acts),
            "next.reward": Feature(dtype="float32", shape=(1,)),
            "next.done": Feature(dtype="bool", shape=(1,)),
            "next.success": Feature(dtype="bool", shape=(1,)),
        }


def collect(
    collection: Collection, directory: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Write a dataset of demonstrations that succeeded; how many that did not were thrown away.

    Raises:
        UserError: the directory is taken, or cannot be written.
    """
    failed = 0
    with DatasetWriter(
        directory, fps=collection.control_hz, features=collection.features, robot_type=collection.embodiment
    ) as writer:
        attempts = attempts_of(collection)
        for done in range(collection.episodes):
            attempt = next(attempts)
            while not attempt.success:
                failed += 1
                if failed > 20 + collection.episodes:
                    raise UserError(
                        f"The expert failed {failed} times in {failed + done}; lower noise = {collection.noise}."
                    )
                attempt = next(attempts)
            writer.add_episode(frames_of_attempt(attempt, collection.size), attempt.assignment.instruction)
            progress(done + 1, collection.episodes)
        write_json(writer.part / SOURCE, {"world": "scene", **asdict(collection), "action_meaning": ACTION_MEANING})
    return failed


def attempts_of(collection: Collection) -> Iterator[Recording]:
    """Attempts without end, each at an episode of its own seed."""
    number = 0
    while True:
        seed = child_seed(collection.seed, "demonstration", number) % 2**31
        number += 1
        assignment = collection.setting.episode(seed).assignment
        how = {"noise": collection.noise, "either": collection.either}
        yield record(assignment, seed, control_hz=collection.control_hz, **how)


def frames_of_attempt(attempt: Recording, size: int) -> dict[str, Any]:
    """A frame for every action: what was seen and felt before it, and what came of it."""
    length = len(attempt.actions)
    last = np.arange(length) == length - 1
    return {
        STATE: attempt.state[:length],
        CAMERA: frames_of(attempt.clip, size)[:length],
        ACTION: attempt.actions,
        "next.reward": (last & attempt.success).astype(np.float32)[:, None],
        "next.done": last[:, None],
        "next.success": (last & attempt.success)[:, None],
    }
