"""How often a policy succeeds: many episodes from fixed initial states, an interval, and how the others failed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from maquette.core.errors import UserError
from maquette.core.media import contact_sheet, write_gif
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
SHOWN_PIXELS, SHOWN_FPS, SHOWN_STILL = 128, 25.0, 12
"""Width of an animation, its frames a second at most, and those at its end that show how it ended."""
Show = Callable[[Episode, list[Scene]], None]


class Actor(Protocol):
    """Whoever acts."""

    def chunks(
        self, episodes: Sequence[Episode], images: np.ndarray, state: np.ndarray, seed: int
    ) -> Float[np.ndarray, "episodes chunk a"]:
        """The next actions of each episode."""


class PolicyActor:
    """A policy, in front of the scene world.

    Args:
        deployed: the policy.
        say: what it is told; the episode's own instruction, if not given.
    """

    def __init__(
        self, deployed: Deployed, say: Callable[[Episode], str] = lambda episode: episode.assignment.instruction
    ) -> None:
        self.deployed, self.say = deployed, say

    def chunks(
        self, episodes: Sequence[Episode], images: np.ndarray, state: np.ndarray, seed: int
    ) -> Float[np.ndarray, "episodes chunk a"]:
        """From what is seen, felt and asked for."""
        said = [self.say(episode) for episode in episodes]
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
    clean: int
    """Successes in which nothing else was moved: who goes to one thing after the other succeeds too."""
    episodes: int
    failures: dict[str, int]
    """By kind."""
    by_task: dict[str, tuple[int, int]]
    """Successes and episodes."""
    steps: float
    """Actions of a success, their mean; 0 where there is none."""
    execute: int
    """Actions of a chunk that were carried out before those of the next."""
    delay: int
    """Of those, how many while the next was being thought of."""
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
        known |= {name: source[name] for name in ("noise", "either", "seed") if name in source}
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
    delay: int = 0,
    seed: int = 0,
    show: Show | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Let it act in as many episodes, whose initial states follow from `seed` and their number alone.

    Args:
        actor: a policy or an expert.
        setting: the environment.
        episodes: how many.
        execute: actions of a chunk that are carried out before those of the next.
        delay: how many of them while the next is being thought of: it is asked for so much earlier, and its first
            actions, which were due meanwhile, are left out. The first chunk of an episode is waited for.
        seed: of the initial states; none of them is one of a demonstration's.
        show: given every episode that is over, with its scenes; without it no scenes are kept.
        progress: told (episodes over, episodes in all).

    Raises:
        UserError: a number is out of range.
    """
    if episodes < 1 or execute < 1:
        raise UserError(f"episodes = {episodes} and execute = {execute} must both be at least 1.")
    if not 0 <= delay <= execute:
        raise UserError(
            f"delay = {delay} must lie between 0 and the actions of a chunk that are carried out, {execute}."
        )
    over: list[Episode] = []
    for first in range(0, episodes, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, episodes))
        begun = [setting.episode(child_seed(seed, "evaluation", number) % 2**31) for number in numbers]
        acting = child_seed(seed, "actions", first)
        films = _run(actor, begun, setting, execute, delay, acting, films=show is not None)
        if show:
            for episode, film in zip(begun, films, strict=True):
                show(episode, film)
        over += begun
        progress(len(over), episodes)
    return _told(over, execute, delay, seed)


def _run(
    actor: Actor, episodes: list[Episode], setting: Setting, execute: int, delay: int, seed: int, *, films: bool
) -> list[list[Scene]]:
    """Episodes side by side until all are over; their scenes, where they are to be shown."""
    setting = setting if setting.size else replace(setting, size=64)
    camera, filmed = Camera(episodes, setting.size), [[episode.scene()] if films else [] for episode in episodes]
    images, state, asked, begin = camera.frames(), setting.feels(episodes), 0, 0
    while under_way := [i for i, episode in enumerate(episodes) if not episode.is_over]:
        acting = [episodes[i] for i in under_way]
        chunks = within_bounds(actor.chunks(acting, images[under_way], state[under_way], child_seed(seed, asked)))
        count = min(execute, chunks.shape[1])
        if (delay and begin + count > chunks.shape[1]) or delay > count:
            raise UserError(
                f"execute = {execute} and a delay of {delay} are more than the {chunks.shape[1]} actions of a chunk."
            )
        for step in range(count):
            if step == count - delay:
                images, state = camera.frames(), setting.feels(episodes)
            for row, i in enumerate(under_way):
                if not episodes[i].is_over:
                    episodes[i].act(chunks[row, begin + step].tolist())
                    camera.look(i, episodes[i])
                    if films:
                        filmed[i].append(episodes[i].scene())
        if not delay:
            images, state = camera.frames(), setting.feels(episodes)
        asked, begin = asked + 1, delay
    return filmed


def within_bounds(chunks: np.ndarray) -> np.ndarray:
    """Actions as the robot takes them, cut off at ±1.

    Raises:
        UserError: one is not finite.
    """
    if not np.isfinite(chunks).all():
        raise UserError("The policy's actions are not finite; look at its weights and its dataset's statistics.")
    return chunks.clip(-1, 1)


class Animations:
    """Writes animations of some successes and some failures: a `Show`.

    Args:
        folder: where they go.
        control_hz: frames a second of what it is given.
    """

    def __init__(self, folder: Path, control_hz: float) -> None:
        self.folder, self.control_hz = folder, control_hz
        self._shown: Counter[bool] = Counter()

    def __call__(self, episode: Episode, film: list[Scene]) -> None:
        """Write this one, unless there are enough of its like."""
        if self._shown[episode.success] == SHOWN:
            return
        self._shown[episode.success] += 1
        kind = "success" if episode.success else f"failure-{episode.failure.replace(' ', '-')}"
        frames, fps = animated(film, self.control_hz)
        write_gif(self.folder / f"{kind}-{self._shown[episode.success]}.gif", frames, fps)


def animated(film: list[Scene], control_hz: float) -> tuple[UInt8[np.ndarray, "frames height width 3"], float]:
    """A film in so many frames a second as a GIF shows well, and how many these are."""
    every = max(1, round(control_hz / SHOWN_FPS))
    return frames_of_scenes(film[::every], SHOWN_PIXELS), control_hz / every


def side_by_side(
    films: Sequence[tuple[Episode, list[Scene]]], control_hz: float
) -> tuple[UInt8[np.ndarray, "frames height width 3"], float]:
    """Films one below the other with their instructions, the shorter ones standing still at their end; and the rate."""
    clips = [animated(film, control_hz) for _, film in films]
    labels = [
        f"{episode.assignment.instruction} ({'done' if episode.success else episode.failure})" for episode, _ in films
    ]
    longest = max(len(frames) for frames, _ in clips) + SHOWN_STILL
    frames = [
        contact_sheet([frames[[min(at, len(frames) - 1)]] for frames, _ in clips], labels) for at in range(longest)
    ]
    return np.stack(frames), clips[0][1]


def _told(episodes: list[Episode], execute: int, delay: int, seed: int) -> Result:
    won = [episode for episode in episodes if episode.success]
    tasks: dict[str, tuple[int, int]] = {}
    for episode in episodes:
        good, all_of = tasks.get(episode.assignment.task, (0, 0))
        tasks[episode.assignment.task] = good + episode.success, all_of + 1
    return Result(
        successes=len(won),
        clean=sum(episode.progress.is_clean for episode in won),
        episodes=len(episodes),
        failures=dict(Counter(episode.failure for episode in episodes if not episode.success).most_common()),
        by_task=tasks,
        steps=float(np.mean([episode.taken for episode in won])) if won else 0.0,
        execute=execute,
        delay=delay,
        seed=seed,
    )
