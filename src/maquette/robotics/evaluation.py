"""How often a policy succeeds: many episodes from fixed initial states, an interval, and how the others failed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from maquette.core.errors import UserError
from maquette.core.media import write_gif
from maquette.core.seeds import child_seed
from maquette.core.statistics import Interval, wilson_interval
from maquette.robotics.collecting import ACTION_MEANING, CAMERA, Collection
from maquette.robotics.deployment import Deployed, Robot
from maquette.worlds.scene.actions.camera import Camera
from maquette.worlds.scene.actions.embodiments import ACTIONS, FEELS
from maquette.worlds.scene.actions.environment import Setting
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.experts import Expert
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.render import frames_of_scenes
from maquette.worlds.scene.state import Scene

ENOUGH = 200
"""Episodes below which a rate is too coarse to judge by: its 95 % interval is more than 13 points wide."""
CONFIDENCE = 0.95
AT_ONCE = 50
SHOWN = 3
"""Successes, and failures, of which there is an animation."""
SHOWN_PIXELS = 128


class Actor(Protocol):
    """Whoever acts."""

    def chunks(
        self, episodes: Sequence[Episode], images: np.ndarray, state: np.ndarray, seed: int
    ) -> Float[np.ndarray, "episodes chunk a"]:
        """The next actions of each episode."""


class PolicyActor:
    """A policy, in front of the scene world."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed

    def chunks(
        self, episodes: Sequence[Episode], images: np.ndarray, state: np.ndarray, seed: int
    ) -> Float[np.ndarray, "episodes chunk a"]:
        """From what is seen, felt and asked for."""
        said = [episode.assignment.instruction for episode in episodes]
        return self.deployed.act({CAMERA: images}, state, said, seed)


class ExpertActor:
    """The experts themselves, who see the state: what a policy that learns from them can hope for."""

    def __init__(self) -> None:
        self._experts: dict[int, Expert] = {}

    def chunks(
        self, episodes: Sequence[Episode], images: np.ndarray, state: np.ndarray, seed: int
    ) -> Float[np.ndarray, "episodes chunk a"]:
        """One action at a time."""
        found = []
        for episode in episodes:
            number = episode.assignment.seed
            expert = self._experts.setdefault(number, Expert(episode, number))
            found.append([expert.action()])
        return np.array(found)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    successes: int
    episodes: int
    failures: dict[str, int]
    """By kind."""
    by_task: dict[str, tuple[int, int]]
    """Successes and episodes."""
    steps: float
    """Actions of a success, their mean; 0 where there is none."""
    execute: int
    """Actions of a chunk that were carried out before the next was asked for."""
    seed: int

    @property
    def interval(self) -> Interval:
        """Wilson's, of the rate of success."""
        return wilson_interval(self.successes, self.episodes, CONFIDENCE)

    def as_json(self) -> dict[str, Any]:
        """With the interval."""
        interval = self.interval
        return asdict(self) | {"rate": interval.mean, "low": interval.low, "high": interval.high, "of": CONFIDENCE}


def setting_of(source: Mapping[str, Any]) -> Setting:
    """The environment that demonstrations came from; raises as `collection_of`."""
    return collection_of(source).setting


def collection_of(source: Mapping[str, Any]) -> Collection:
    """How demonstrations were made, by what their dataset says.

    Raises:
        UserError: it does not say, or says something impossible.
    """
    if source.get("world") != "scene":
        raise UserError("The policy does not say which world it learned in; name a task with --task and a robot.")
    try:
        known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in source["layout"].items()}
        layout = Layout(**known)
        known = {name: source[name] for name in ("embodiment", "size", "control_hz")}
        known |= {name: source[name] for name in ("noise", "seed") if name in source}
        return Collection(tasks=tuple(source["tasks"]), layout=layout, **known)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The policy's source lacks {error}; name a task with --task and a robot.") from error


def robot_in(setting: Setting) -> Robot:
    """What the scene's robot has to offer."""
    feels, acts = tuple(name for name, _, _ in FEELS[setting.embodiment]), ACTIONS[setting.embodiment]
    return Robot(
        cameras=(CAMERA,),
        state=len(feels),
        action=len(acts),
        control_hz=setting.control_hz,
        state_names=feels,
        action_names=acts,
        action_meaning=ACTION_MEANING,
    )


def evaluate(
    actor: Actor,
    setting: Setting,
    *,
    episodes: int = ENOUGH,
    execute: int = 8,
    seed: int = 0,
    animations: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Let it act in as many episodes, whose initial states follow from `seed` and their number alone.

    Args:
        actor: a policy or an expert.
        setting: the environment.
        episodes: how many.
        execute: actions of a chunk that are carried out before the next is asked for.
        seed: of the initial states; none of them is one of a demonstration's.
        animations: where those of some successes and failures go.
        progress: told (episodes over, episodes in all).

    Raises:
        UserError: a number is out of range.
    """
    if episodes < 1 or execute < 1:
        raise UserError(f"episodes = {episodes} and execute = {execute} must both be at least 1.")
    over: list[Episode] = []
    shown: Counter[bool] = Counter()
    for first in range(0, episodes, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, episodes))
        begun = [setting.episode(child_seed(seed, "evaluation", number) % 2**31) for number in numbers]
        films = _run(actor, begun, setting, execute, child_seed(seed, "actions", first), films=animations is not None)
        for episode, film in zip(begun, films, strict=True):
            if animations and shown[episode.success] < SHOWN:
                shown[episode.success] += 1
                _show(animations, episode, film, shown[episode.success], setting.control_hz)
        over += begun
        progress(len(over), episodes)
    return _told(over, execute, seed)


def _run(
    actor: Actor, episodes: list[Episode], setting: Setting, execute: int, seed: int, *, films: bool
) -> list[list[Scene]]:
    """Episodes side by side until all are over; their scenes, where they are to be shown."""
    setting = setting if setting.size else replace(setting, size=64)
    camera, seen = Camera(episodes, setting.size), [[episode.scene()] if films else [] for episode in episodes]
    asked = 0
    while under_way := [i for i, episode in enumerate(episodes) if not episode.is_over]:
        acting = [episodes[i] for i in under_way]
        images, state = camera.frames()[under_way], setting.feels(acting)
        chunks = within_bounds(actor.chunks(acting, images, state, child_seed(seed, asked)))
        asked += 1
        for step in range(min(execute, chunks.shape[1])):
            for row, i in enumerate(under_way):
                if not episodes[i].is_over:
                    episodes[i].act(chunks[row, step].tolist())
                    camera.look(i, episodes[i])
                    if films:
                        seen[i].append(episodes[i].scene())
    return seen


def within_bounds(chunks: np.ndarray) -> np.ndarray:
    """Actions as the robot takes them, cut off at ±1.

    Raises:
        UserError: one is not finite.
    """
    if not np.isfinite(chunks).all():
        raise UserError("The policy's actions are not finite; look at its weights and its dataset's statistics.")
    return chunks.clip(-1, 1)


def _show(folder: Path, episode: Episode, film: list[Scene], number: int, control_hz: float) -> None:
    kind = "success" if episode.success else f"failure-{episode.failure.replace(' ', '-')}"
    frames = frames_of_scenes(film, SHOWN_PIXELS)
    write_gif(folder / f"{kind}-{number}.gif", frames, min(control_hz, 25.0))


def _told(episodes: list[Episode], execute: int, seed: int) -> Result:
    won = [episode for episode in episodes if episode.success]
    tasks: dict[str, tuple[int, int]] = {}
    for episode in episodes:
        good, all_of = tasks.get(episode.assignment.task, (0, 0))
        tasks[episode.assignment.task] = good + episode.success, all_of + 1
    return Result(
        successes=len(won),
        episodes=len(episodes),
        failures=dict(Counter(episode.failure for episode in episodes if not episode.success).most_common()),
        by_task=tasks,
        steps=float(np.mean([episode.taken for episode in won])) if won else 0.0,
        execute=execute,
        seed=seed,
    )
