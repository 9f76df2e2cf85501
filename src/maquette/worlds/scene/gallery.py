"""A look round the world: a clip of every law, and robots at their tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from maquette.core.errors import UserError, did_you_mean
from maquette.core.media import contact_sheet
from maquette.worlds.scene.actions.embodiments import Embodiment
from maquette.worlds.scene.actions.environment import Setting
from maquette.worlds.scene.actions.experts import Expert
from maquette.worlds.scene.actions.tasks import Task
from maquette.worlds.scene.laws import law_clip
from maquette.worlds.scene.render import frames_of, frames_of_scenes
from maquette.worlds.scene.vocabulary import LAWS

FPS, FRAMES = 8.0, 16
"""Of every exhibit, however long it took."""
SHOTS = 8
"""Of those, on the sheet."""
IN_A_ROW = 5
VARIANTS = 10
"""Clips of a law that is shown alone."""
ATTEMPTS: tuple[tuple[Task, Embodiment], ...] = (
    ("push-to", "pusher"),
    ("sort-by-colour", "gripper"),
    ("stack-in-zone", "arm"),
    ("open-drawer", "pusher"),
    ("two-step", "arm"),
)


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A clip and what it shows."""

    name: str
    text: str
    frames: UInt8[np.ndarray, "frames size size 3"]


def gallery(seed: int, size: int, law: str | None = None) -> list[Exhibit]:
    """A clip of each law and five attempts at tasks; or ten clips of the law of that name.

    Raises:
        UserError: the law is unknown, or the size is out of range.
    """
    if law is not None:
        if law not in LAWS:
            raise UserError(f"There is no law {law!r}; {did_you_mean(law, LAWS)}")
        clips = [law_clip(law, seed + variant) for variant in range(VARIANTS)]
        names = [f"{law}, seed {seed + variant}" for variant in range(VARIANTS)]
        return [
            Exhibit(name=name, text=name, frames=frames_of(clip, size)) for name, clip in zip(names, clips, strict=True)
        ]
    shown = [Exhibit(name=law, text=law, frames=frames_of(law_clip(law, seed), size)) for law in LAWS]
    return shown + [_attempt(task, embodiment, seed, size) for task, embodiment in ATTEMPTS]


def _attempt(task: Task, embodiment: Embodiment, seed: int, size: int) -> Exhibit:
    """What an expert does, in as many frames as it takes laws."""
    episode = Setting(tasks=(task,), embodiment=embodiment, size=0).episode(seed)
    expert, scenes = Expert(episode, seed), [episode.scene()]
    while not episode.is_over:
        episode.act(expert.action())
        scenes.append(episode.scene())
    chosen = np.linspace(0, len(scenes) - 1, FRAMES).round().astype(int)
    return Exhibit(
        name=f"{task}, {embodiment}",
        text=f"{embodiment}: {episode.assignment.instruction}",
        frames=frames_of_scenes([scenes[i] for i in chosen], size),
    )


def sheet(exhibits: Sequence[Exhibit], scale: int) -> UInt8[np.ndarray, "height width 3"]:
    """Every exhibit as a row of its moments."""
    moments = np.linspace(0, FRAMES - 1, SHOTS).round().astype(int)
    return contact_sheet([one.frames[moments] for one in exhibits], [one.text for one in exhibits], scale=scale)


def animation(exhibits: Sequence[Exhibit], scale: int) -> UInt8[np.ndarray, "frames height width 3"]:
    """All exhibits side by side, moving together."""
    rows = [exhibits[first : first + IN_A_ROW] for first in range(0, len(exhibits), IN_A_ROW)]
    labels = [[one.name for one in row] for row in rows]
    stacked = [np.stack([one.frames for one in row], axis=1) for row in rows]
    return np.stack([contact_sheet([row[i] for row in stacked], labels, scale=scale) for i in range(FRAMES)])
