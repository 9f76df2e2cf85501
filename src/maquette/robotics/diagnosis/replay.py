"""The expert's recorded actions in the world that they come from: do they lead where the recorded states went?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from maquette.core.errors import UserError
from maquette.robotics.collecting import CAMERA, Collection, attempts_of
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset, Episode
from maquette.robotics.diagnosis.findings import LONGEST_DELAY, OF_PICTURES, Actions, Check, of_actions
from maquette.worlds.scene.actions import episode as worlds
from maquette.worlds.scene.actions.camera import Camera
from maquette.worlds.scene.actions.sampling import Assignment

EPISODES = 3
ASTRAY = 0.02
"""Mean distance of replayed from recorded states, in spreads of the state, from which a replay went elsewhere."""
EXACT, SHADES = 0.5, 6.0
"""Mean differences of pixels, of 255: of what was only rounded; and from which a picture shows something else, as a
video's coarser colours alone never do."""
BETTER = 0.4
"""A supposition holds if it leaves at most so much of the error."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An episode of the dataset, and the assignment that it was an attempt at."""

    episode: Episode
    assignment: Assignment
    actions: Actions
    state: Float[np.ndarray, "frames s"]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came of actions."""

    state: Float[np.ndarray, "frames s"]
    frames: UInt8[np.ndarray, "frames size size 3"]
    success: bool


def recorded(dataset: Dataset, collection: Collection) -> list[Recorded]:
    """The first episodes with their assignments.

    Raises:
        UserError: an episode does not begin as the collection's does.
    """
    found, attempts = [], attempts_of(collection)
    for episode in dataset.episodes[:EPISODES]:
        while not (attempt := next(attempts)).success:
            pass
        state = dataset.numbers(STATE)[episode.frames]
        if state.shape[1] != attempt.state.shape[1] or np.abs(state[0] - attempt.state[0]).max() > 1e-3:
            raise UserError(f"episode {episode.number} does not begin where its source says.")
        actions = dataset.numbers(ACTION)[episode.frames]
        found.append(Recorded(episode=episode, assignment=attempt.assignment, actions=actions, state=state))
    return found


def replay(one: Recorded, actions: Actions, control_hz: float, size: int) -> Replayed:
    """Carry out actions from an episode's first state; with `size` 0 nothing is drawn."""
    episode = worlds.Episode(one.assignment, control_hz)
    camera = Camera([episode], size) if size else None
    state, frames = [], []
    for action in actions.clip(-1, 1).tolist():
        if episode.is_over:
            break
        state.append(episode.body.feels())
        if camera:
            camera.look(0, episode)
            frames.append(camera.frames()[0])
        episode.act(action)
    return Replayed(state=np.array(state), frames=np.array(frames), success=episode.success)


def check_replay(found: Sequence[Recorded], collection: Collection) -> Check:
    """Whether the actions lead where the states went, and if not, what would explain it."""
    spread = np.maximum(np.concatenate([one.state for one in found]).std(0), 1e-3)

    def error(undo: Callable[[Actions], Actions]) -> tuple[float, list[Replayed]]:
        replays = [replay(one, undo(one.actions), collection.control_hz, 0) for one in found]
        return float(np.mean([_apart(one, again, spread) for one, again in zip(found, replays, strict=True)])), replays

    off, replays = error(lambda actions: actions)
    numbers = {"astray": off, "succeeded": float(np.mean([one.success for one in replays]))}
    if off <= ASTRAY:
        said = f"{len(found)} episodes go where they went; {sum(one.success for one in replays)} succeed"
        return Check(name="replay", said=said, numbers=numbers)
    tried = [(error(one.undo)[0], one) for one in of_actions(found[0].actions.shape[1])]
    least, best = min(tried, key=lambda pair: pair[0])
    numbers["astray_when_undone"] = least
    where = f"replayed actions go astray by {off:.2g} spreads of the state"
    if least > BETTER * off:
        said = f"{where}, and nothing that was tried explains it; look at what the numbers of an action mean"
        return Check(name="replay", said=said, fault="action frame", numbers=numbers)
    said = f"{best.said}: {where}, and then by {least:.2g}"
    return Check(name="replay", said=said, fault=best.fault, numbers=numbers)


def check_pictures(dataset: Dataset, found: Sequence[Recorded], collection: Collection) -> Check:
    """Whether the pictures show what the world looked like, at the states that the robot recorded."""
    if CAMERA not in dataset.info.cameras or dataset.info.features[CAMERA].size != (collection.size,) * 2:
        return Check(name="pictures", said=f"not tried: no camera {CAMERA} of the source's size", tried=False)
    pairs = []
    for one in found:
        pictures = dataset.pictures(CAMERA, one.episode)
        drawn = replay(one, one.actions, collection.control_hz, collection.size).frames
        pairs.append((pictures[: len(drawn)], drawn))
    off = _shades(pairs)
    numbers = {"shades": off}
    sound = Check(
        name="pictures", said=f"they are what the world looked like, to {off:.1f} of 255 shades", numbers=numbers
    )
    if off <= EXACT:
        return sound
    tried = {words: _shades([(undo(seen), drawn) for seen, drawn in pairs]) for words, undo in OF_PICTURES.items()}
    for k in range(1, LONGEST_DELAY + 1):
        words = f"pictures are recorded {k} frames late; move them back"
        tried[words] = _shades([(seen[k:], drawn[: len(drawn) - k]) for seen, drawn in pairs if len(seen) > k])
    best = min(tried, key=lambda words: tried[words])
    numbers["shades_when_undone"] = tried[best]
    where = f"they differ from what the world looked like by {off:.1f} of 255 shades"
    if tried[best] > BETTER * off:
        if off <= SHADES:
            return sound
        return Check(name="pictures", said=f"{where}; look at a contact sheet", fault="camera", numbers=numbers)
    said = f"{best}: {where}, and then by {tried[best]:.1f}"
    return Check(name="pictures", said=said, fault="delay" if "late" in best else "camera", numbers=numbers)


def _apart(one: Recorded, again: Replayed, spread: np.ndarray) -> float:
    """Mean distance, in spreads; a replay that ends early is where it ended."""
    last = np.minimum(np.arange(len(one.state)), len(again.state) - 1)
    return float((np.abs(again.state[last] - one.state) / spread).mean())


def _shades(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean difference of pixels."""
    return float(np.mean([np.abs(seen.astype(float) - drawn.astype(float)).mean() for seen, drawn in pairs]))
