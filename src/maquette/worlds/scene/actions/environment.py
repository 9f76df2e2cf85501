"""The table top as a Gymnasium environment: one task or several, one robot."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Float64, UInt8

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.worlds.scene import checks
from maquette.worlds.scene.actions.camera import Camera
from maquette.worlds.scene.actions.embodiments import ACTIONS, FEELS, Embodiment, checked_embodiment
from maquette.worlds.scene.actions.episode import FASTEST, SLOWEST, Episode
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.sampling import USUAL, assignment
from maquette.worlds.scene.actions.tasks import Task, checked_task
from maquette.worlds.scene.render import LARGEST, SMALLEST, frame_of
from maquette.worlds.scene.state import Scene

LONGEST, LETTERS = 256, "abcdefghijklmnopqrstuvwxyz0123456789 .,?"
"""Of an instruction."""
SHOWN = 256
"""Width in pixels of what `render` gives."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the episodes of an environment have in common.

    Raises:
        UserError: a task or an embodiment is unknown, or the frames' size or the control rate is out of range.
    """

    tasks: tuple[Task, ...]
    """One is drawn for each episode."""
    embodiment: Embodiment
    size: int = 64
    """Width of the frames in pixels; 0 for none."""
    control_hz: float = 10.0
    """Actions a second, from 5 to 50."""
    layout: Layout = USUAL

    def __post_init__(self) -> None:
        checks.each("tasks", self.tasks, str)
        checks.kind("layout", self.layout, Layout)
        if not self.tasks:
            raise UserError("tasks = () leaves nothing to do; name at least one.")
        for task in self.tasks:
            checked_task(task)
        checked_embodiment(self.embodiment)
        if self.size != 0:
            checks.whole("size", self.size, SMALLEST, LARGEST, ", or 0 for no frames")
        checks.number("control_hz", self.control_hz, SLOWEST, FASTEST)

    def episode(self, seed: int) -> Episode:
        """The episode that belongs to a seed.

        Raises:
            UserError: more things are asked for than fit on the table.
        """
        task = self.tasks[numpy_generator(seed, "task").integers(len(self.tasks))]
        return Episode(assignment(task, self.embodiment, seed, self.layout), self.control_hz)

    @functools.cached_property
    def action_space(self) -> spaces.Box:
        """Velocities as shares of the highest: those of `embodiments.ACTIONS`."""
        return spaces.Box(-1.0, 1.0, (len(ACTIONS[self.embodiment]),), np.float32)

    @functools.cached_property
    def observation_space(self) -> spaces.Dict:
        """state: the numbers of `embodiments.FEELS`; image: (size, size, 3), unless size is 0; instruction: text."""
        parts: dict[str, spaces.Space[Any]] = {
            "state": spaces.Box(*self._bounds),
            "instruction": spaces.Text(LONGEST, charset=LETTERS),
        }
        if self.size:
            parts["image"] = spaces.Box(0, 255, (self.size, self.size, 3), np.uint8)
        return spaces.Dict(parts)

    @functools.cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        _, low, high = zip(*FEELS[self.embodiment], strict=True)
        return np.array(low, np.float32), np.array(high, np.float32)

    def checked(self, action: Any, *count: int) -> Float64[np.ndarray, "*count numbers"]:
        """An action, or one for each environment, as numbers between -1 and 1; what is beyond is cut off.

        Raises:
            UserError: it is not of that shape, or not finite.
        """
        names = ACTIONS[self.embodiment]
        wanted = (*count, len(names))
        checks.numbers("action", action, wanted, f"the {', '.join(names)} of a {self.embodiment}")
        found = np.asarray(action, np.float64)
        if not np.isfinite(found).all():
            raise UserError(f"action = {found.tolist()} is not finite; give numbers from -1 to 1.")
        return found.clip(-1, 1)

    def feels(self, episodes: Sequence[Episode]) -> Float32[np.ndarray, "episodes numbers"]:
        """What the robots feel, kept from leaving the space by rounding."""
        low, high = self._bounds
        return np.array([episode.body.feels() for episode in episodes], np.float32).clip(low, high)


class SceneEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One table at a time. An episode is worth 1 where it succeeds.

    `info` holds success, failure (a `tasks.Failure`; empty where there is none), task and seed: `reset(seed=...)` with
    that seed gives the same episode again.

    Args:
        task: what to do, or several things, of which one is drawn for each episode.
        embodiment: the robot.
        size: width of the frames in pixels; 0 for none, which saves their time.
        control_hz: actions a second, from 5 to 50.
        layout: what else is on the table.
        render_mode: "rgb_array" or None.

    Raises:
        UserError: something is unknown, impossible or out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        task: Task | tuple[Task, ...] = "push-to",
        embodiment: Embodiment = "pusher",
        *,
        size: int = 64,
        control_hz: float = 10.0,
        layout: Layout = USUAL,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(
                f"render_mode = {render_mode!r} must be None or 'rgb_array'; there is no window to draw to."
            )
        tasks = (task,) if isinstance(task, str) else task
        self.setting = Setting(tasks=tasks, embodiment=embodiment, size=size, control_hz=control_hz, layout=layout)
        self.action_space, self.observation_space = self.setting.action_space, self.setting.observation_space
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": control_hz}
        self._episode: Episode | None = None
        self._camera: Camera | None = None
        self._is_closed = False

    @property
    def episode(self) -> Episode:
        """The one under way, for experts and whoever else may see the state.

        Raises:
            UserError: there is none yet.
        """
        if self._episode is None:
            raise UserError("The environment has no episode yet; call reset first.")
        return self._episode

    @property
    def scene(self) -> Scene:
        """The world now."""
        return self.episode.scene()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the episode of a seed, or of one that follows from the last given."""
        refuse_closed(self._is_closed)
        super().reset(seed=seed)
        self._episode = self.setting.episode(int(self.np_random.integers(2**31)) if seed is None else seed)
        if self.setting.size:
            if self._camera is None:
                self._camera = Camera([self._episode], self.setting.size)
            else:
                self._camera.turn_to(0, self._episode)
        return self._observation(), told(self._episode)

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Hold an action for one control period.

        Raises:
            UserError: the action has another shape or is not finite, there is no episode, or the environment is closed.
        """
        refuse_closed(self._is_closed)
        episode = self.episode
        episode.act(self.setting.checked(action).tolist())
        if self._camera:
            self._camera.look(0, episode)
        decided = episode.is_decided
        return self._observation(), float(episode.success), decided, episode.is_over and not decided, told(episode)

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """The world as a larger picture."""
        return frame_of(self.scene, SHOWN) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """End it: it takes no more steps."""
        self._is_closed = True

    def _observation(self) -> dict[str, Any]:
        episode = self.episode
        seen = {"state": self.setting.feels([episode])[0], "instruction": episode.assignment.instruction}
        if self._camera:
            seen["image"] = self._camera.frames()[0]
        return seen


def refuse_closed(is_closed: bool) -> None:
    """Raise a UserError if an environment is closed."""
    if is_closed:
        raise UserError("The environment is closed; make a new one.")


def told(episode: Episode) -> dict[str, Any]:
    """What `info` says of an episode."""
    return {
        "success": episode.success,
        "failure": episode.failure,
        "task": episode.assignment.task,
        "seed": episode.assignment.seed,
    }
