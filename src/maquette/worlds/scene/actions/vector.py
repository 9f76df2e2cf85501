"""Many table tops at once: their physics one by one, their frames together, in one process or several."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float64

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.actions.camera import Camera
from maquette.worlds.scene.actions.embodiments import Embodiment
from maquette.worlds.scene.actions.environment import Setting, refuse_closed, told
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.sampling import USUAL
from maquette.worlds.scene.actions.tasks import Task

MOST = 10_000
"""Tables at once."""
Parts = dict[str, Any]
"""state, image (where there are frames), instruction, reward, terminated, truncated, and the parts of `told`."""


class Tables:
    """Some table tops in this process, each with a sequence of episodes of its own."""

    def __init__(self, setting: Setting, count: int) -> None:
        self.setting, self.count = setting, count
        self.episodes: list[Episode] = []
        self._camera: Camera | None = None

    def reset(self, seeds: Sequence[int]) -> Parts:
        """Begin the episode of its seed on each table; the ones that follow are drawn from it too."""
        self._generators = [np_random(seed)[0] for seed in seeds]
        self.episodes = [self.setting.episode(seed) for seed in seeds]
        self._camera = Camera(self.episodes, self.setting.size) if self.setting.size else None
        return self._parts(np.zeros(self.count))

    def step(self, actions: Float64[np.ndarray, "tables numbers"]) -> Parts:
        """An action for each; where an episode is over it begins the next one instead."""
        reward = np.zeros(self.count)
        for i, action in enumerate(actions.tolist()):
            episode = self.episodes[i]
            if episode.is_over:
                self.episodes[i] = self.setting.episode(int(self._generators[i].integers(2**31)))
                if self._camera:
                    self._camera.turn_to(i, self.episodes[i])
                continue
            episode.act(action)
            reward[i] = episode.success
            if self._camera:
                self._camera.look(i, episode)
        return self._parts(reward)

    def _parts(self, reward: Float64[np.ndarray, " tables"]) -> Parts:
        episodes = self.episodes
        decided = np.array([episode.is_decided for episode in episodes])
        parts: Parts = {
            "state": self.setting.feels(episodes),
            "instruction": tuple(episode.assignment.instruction for episode in episodes),
            "reward": reward,
            "terminated": decided,
            "truncated": np.array([episode.is_over for episode in episodes]) & ~decided,
            "told": [told(episode) for episode in episodes],
        }
        if self._camera:
            parts["image"] = self._camera.frames()
        return parts


class SceneVectorEnv(VectorEnv[Parts, np.ndarray, np.ndarray]):
    """Many tables at once, as `environment.SceneEnv` has one: table i is the environment that was reset with seed + i.

    Where an episode is over, the next step begins another and ignores its action (`AutoresetMode.NEXT_STEP`).

    Args:
        count: tables.
        task: what to do, or several things, of which one is drawn for each episode.
        embodiment: the robot.
        size: width of the frames in pixels; 0 for none.
        control_hz: actions a second, from 5 to 50.
        layout: what else is on the tables.
        workers: processes that share the tables; 1: this one. What they give does not depend on it.

    Raises:
        UserError: something is unknown, impossible or out of range.
    """

    def __init__(
        self,
        count: int,
        task: Task | tuple[Task, ...] = "push-to",
        embodiment: Embodiment = "pusher",
        *,
        size: int = 64,
        control_hz: float = 10.0,
        layout: Layout = USUAL,
        workers: int = 1,
    ) -> None:
        checks.whole("count", count, 1, MOST)
        checks.whole("workers", workers, 1, count, ", the number of tables")
        tasks = (task,) if isinstance(task, str) else task
        self.setting = Setting(tasks=tasks, embodiment=embodiment, size=size, control_hz=control_hz, layout=layout)
        self.num_envs = count
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_fps": control_hz}
        self.single_action_space = self.setting.action_space
        self.single_observation_space = self.setting.observation_space
        self.action_space = batch_space(self.single_action_space, count)
        self.observation_space = batch_space(self.single_observation_space, count)
        self._shares = [share.tolist() for share in np.array_split(np.arange(count), workers)]
        self._tables = Tables(self.setting, count) if workers == 1 else None
        self._workers = [] if workers == 1 else [_Worker(self.setting, len(share)) for share in self._shares]
        self._is_reset = False

    @property
    def episodes(self) -> list[Episode]:
        """Those under way, for experts; with several workers they are out of sight.

        Raises:
            UserError: there is more than one worker.
        """
        if self._tables is None:
            raise UserError(f"workers = {len(self._workers)}: the episodes are in other processes; use 1 to see them.")
        return self._tables.episodes

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Parts, dict[str, Any]]:
        """Begin the episodes of some seeds: those given, or from the one given on, or drawn from the last given."""
        refuse_closed(self.closed)
        if seed is not None and not isinstance(seed, Sequence):
            checks.whole("seed", seed, 0, 2**63 - 1)
            seed = int(seed)
        super().reset(seed=seed if isinstance(seed, int) else None)
        if seed is None:
            seeds = self.np_random.integers(2**31, size=self.num_envs).tolist()
        else:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed)
        if len(seeds) != self.num_envs:
            raise UserError(f"seed has {len(seeds)} numbers for {self.num_envs} tables; give one for each.")
        parts = self._everywhere("reset", seeds)
        self._is_reset = True
        return self._observation(parts), self._infos(parts)

    def step(
        self, actions: np.ndarray
    ) -> tuple[Parts, np.ndarray, Bool[np.ndarray, " tables"], Bool[np.ndarray, " tables"], dict[str, Any]]:
        """Hold an action on each table for one control period.

        Raises:
            UserError: the actions have another shape or are not finite, nothing was reset yet, or all is closed.
        """
        refuse_closed(self.closed)
        if not self._is_reset:
            raise UserError("The environment has no episodes yet; call reset first.")
        parts = self._everywhere("step", self.setting.checked(actions, self.num_envs))
        return self._observation(parts), parts["reward"], parts["terminated"], parts["truncated"], self._infos(parts)

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()

    def _everywhere(self, what: str, given: Any) -> Parts:
        """Reset or step all tables."""
        if self._tables is not None:
            return getattr(self._tables, what)(given)
        for worker, share in zip(self._workers, self._shares, strict=True):
            worker.ask(what, given[share[0] : share[-1] + 1])
        answers = [worker.answer() for worker in self._workers]
        return {name: _joined([answer[name] for answer in answers]) for name in answers[0]}

    def _observation(self, parts: Parts) -> Parts:
        return {name: parts[name] for name in ("state", "instruction", "image") if name in parts}

    def _infos(self, parts: Parts) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, bool)
        names = parts["told"][0]
        found = {name: np.array([one[name] for one in parts["told"]]) for name in names}
        return found | {f"_{name}": everywhere for name in names}


def _joined(pieces: list[Any]) -> Any:
    return np.concatenate(pieces) if isinstance(pieces[0], np.ndarray) else sum(pieces[1:], pieces[0])


class _Worker:
    """Tables in another process; their frames come through shared memory."""

    def __init__(self, setting: Setting, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._shape = (count, setting.size, setting.size, 3)
        self._memory = context.RawArray("B", max(1, int(np.prod(self._shape))))
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, setting, count, self._memory), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, what: str, given: Any) -> None:
        with _alive():
            self._pipe.send((what, given))

    def answer(self) -> Parts:
        with _alive():
            parts = self._pipe.recv()
        if isinstance(parts, UserError):
            raise parts
        if self._shape[1]:
            parts["image"] = np.frombuffer(self._memory, np.uint8).reshape(self._shape)
        return parts

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._pipe.send(None)
        self._process.join()
        self._pipe.close()


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise UserError(
            "A process with tables of a SceneVectorEnv has ended. Where it said why, mend that; a script that asks for "
            'workers does so under `if __name__ == "__main__":`, because every process reads the script again.'
        ) from error


def _serve(pipe: Connection, setting: Setting, count: int, memory: Any) -> None:
    """Do what is asked for until nothing more is."""
    torch.set_num_threads(1)
    tables = Tables(setting, count)
    with suppress(EOFError, KeyboardInterrupt):
        while asked := pipe.recv():
            what, given = asked
            try:
                parts = tables.reset(given) if what == "reset" else tables.step(given)
            except UserError as error:
                pipe.send(error)
                continue
            if setting.size:
                frames = parts.pop("image")
                np.frombuffer(memory, np.uint8)[: frames.size] = frames.ravel()
            pipe.send(parts)
