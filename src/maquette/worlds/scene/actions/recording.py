"""What an expert did: its actions, and a clip to draw, to caption and to learn from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.experts import Expert
from maquette.worlds.scene.actions.sampling import Assignment
from maquette.worlds.scene.actions.tasks import Failure
from maquette.worlds.scene.state import Clip, Drawer, Scene


@dataclass(frozen=True, kw_only=True)
class Recording:
    """An episode from its first state to its last."""

    assignment: Assignment
    clip: Clip
    """A frame before every action and one after the last; as many frames a second as there were actions."""
    actions: Float32[np.ndarray, "actions numbers"]
    state: Float32[np.ndarray, "frames numbers"]
    """What the robot felt at each frame (`embodiments.FEELS`)."""
    success: bool
    failure: Failure


def record(
    assignment: Assignment, seed: int, *, control_hz: float = 10.0, noise: float = 0.0, either: bool = True
) -> Recording:
    """An expert's attempt.

    Args:
        assignment: the table and the task.
        seed: of the expert's choices and noise.
        control_hz: actions a second.
        noise: standard deviation of what is added to each number of its actions.
        either: whether it takes either of two equally good ways, or always the one on the same side.
    """
    episode = Episode(assignment, control_hz)
    expert = Expert(episode, seed, noise=noise, either=either)
    scenes, felt, actions = [episode.scene()], [episode.body.feels()], []
    while not episode.is_over:
        actions.append(expert.action())
        episode.act(actions[-1])
        scenes.append(episode.scene())
        felt.append(episode.body.feels())
    return Recording(
        assignment=assignment,
        clip=clip_of(scenes, control_hz),
        actions=np.array(actions, np.float32),
        state=np.array(felt, np.float32),
        success=episode.success,
        failure=episode.failure,
    )


def clip_of(scenes: list[Scene], fps: float) -> Clip:
    """The scenes of an episode, one after the other."""
    first = scenes[0]
    drawers = [[part.opening for part in scene.scenery if isinstance(part, Drawer)] for scene in scenes]
    return Clip(
        view=first.view,
        things=first.things,
        position=np.stack([scene.position for scene in scenes]),
        angle=np.stack([scene.angle for scene in scenes]),
        velocity=np.stack([scene.velocity for scene in scenes]),
        spin=np.stack([scene.spin for scene in scenes]),
        fps=fps,
        scenery=first.scenery,
        robots=tuple(scene.robot for scene in scenes if scene.robot),
        openings=np.array(drawers).reshape(-1),
        held=tuple(scene.held for scene in scenes),
        layers=np.stack([scene.layers for scene in scenes]),
    )
