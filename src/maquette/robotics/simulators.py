"""Other people's simulators, by their state and without pictures: PushT and Meta-World (the extra `sim`)."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import write_json
from maquette.core.seeds import child_seed
from maquette.robotics.chunking import Seen, Session
from maquette.robotics.collecting import SOURCE
from maquette.robotics.datasets.layout import ACTION, STATE, Feature
from maquette.robotics.datasets.writer import DatasetWriter
from maquette.robotics.deployment import Deployed, Robot
from maquette.robotics.evaluation import Result
from maquette.robotics.latency import Latency, Mind, attempt

SIMULATORS = ("pusht", "metaworld")
OBSERVABLE = "-goal-observable"
PUSHT = ("agent_x", "agent_y", "block_x", "block_y", "block_angle")
Expert = Callable[[Float[np.ndarray, " s"]], Float[np.ndarray, " a"]]
Progress = Callable[[int, int], None]


class Goal(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A simulator that is worth 1 where it says that its goal is reached, and then ends; each seed is one episode.

    Args:
        env: the simulator.
        says: the entry of its `info` that tells.
        begin: what makes the simulator's next reset follow from a seed, where `reset(seed=…)` does not.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], says: str, begin: Callable[[int], None] = lambda seed: None
    ) -> None:
        super().__init__(env)
        self._says, self._begin = says, begin

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the episode of a seed."""
        self._begin(seed or 0)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act, within the simulator's bounds."""
        space = self.env.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        seen, _, _, truncated, info = self.env.step(np.clip(action, space.low, space.high))
        done = bool(info[self._says])
        return seen, float(done), done, truncated, info


@dataclass(frozen=True, kw_only=True)
class Simulator:
    """A task of one."""

    world: str
    task: str
    env: Goal
    robot: Robot
    instruction: str
    expert: Expert | None = None
    """A scripted one, where there is one."""
    source: dict[str, Any] = field(default_factory=dict)

    def seen(self, state: Float[np.ndarray, " s"]) -> Seen:
        """What a policy is asked about."""
        return Seen({}, np.asarray(state, np.float32), self.instruction)


def simulator(world: str, task: str = "") -> Simulator:
    """A simulator's task.

    Raises:
        UserError: it is unknown, or its package is not installed.
    """
    if world == "pusht":
        if task:
            raise UserError(f"task = {task!r}: pusht has but one; leave it out.")
        return _pusht()
    if world == "metaworld":
        return _metaworld(task)
    raise UserError(f"env = {world!r} is none; {did_you_mean(world, SIMULATORS)}")


def _pusht() -> Simulator:
    _imported("gym_pusht")
    env = gymnasium.make("gym_pusht/PushT-v0", obs_type="state", disable_env_checker=True)
    meaning = "positions that the hand is drawn to"
    robot = Robot(
        cameras=(), state=5, action=2, control_hz=10, state_names=PUSHT, action_names=("x", "y"), action_meaning=meaning
    )
    said = "push the T onto its place"
    return Simulator(
        world="pusht", task="push-t", env=Goal(env, "is_success"), robot=robot, instruction=said, source=_source(robot)
    )


def _metaworld(task: str) -> Simulator:
    made = _imported("metaworld.env_dict").ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    known, policies = (
        {name.removesuffix(OBSERVABLE): one for name, one in made.items()},
        _imported("metaworld.policies"),
    )
    if task not in known:
        raise UserError(f"task = {task!r} is none of Meta-World's; {did_you_mean(task, known)}")
    env = known[task](seed=0)
    env._freeze_rand_vec, env.seeded_rand_vec = False, True  # places are drawn anew for each episode, from its seed
    limited = gymnasium.wrappers.TimeLimit(env, env.max_path_length - 1)  # beyond its own limit it raises
    names = (*(f"{part}_{i}" for part in ("now", "before") for i in range(18)), "goal_x", "goal_y", "goal_z")
    robot = Robot(
        cameras=(),
        state=39,
        action=4,
        control_hz=80,
        state_names=names,
        action_names=("x", "y", "z", "grip"),
        action_meaning="shares of the largest step of the hand, and of the strongest grip",
    )
    return Simulator(
        world="metaworld",
        task=task,
        env=Goal(limited, "success", env.seed),
        robot=robot,
        instruction=task.removesuffix("-v3").replace("-", " "),
        expert=policies.ENV_POLICY_MAP[task]().get_action,
        source=_source(robot),
    )


def _source(robot: Robot) -> dict[str, Any]:
    return {"action_meaning": robot.action_meaning}


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name.partition('.')[0]} is not installed ({error}); install the extra sim: bash scripts/setup.sh sim"
        ) from error


class Scripted:
    """A simulator's own expert: a `Mind` that thinks of one action at a time."""

    def __init__(self, expert: Expert) -> None:
        self.expert = expert

    def chunk(self, seen: Seen, *, taken: int, delay: int) -> Float[np.ndarray, "1 a"]:
        """For now."""
        return np.asarray(self.expert(seen.state.astype(np.float64)), np.float64)[None]


def expert_of(sim: Simulator) -> Expert:
    """Its scripted expert.

    Raises:
        UserError: it has none.
    """
    if sim.expert is None:
        raise UserError(f"{sim.world} has no scripted expert; train on a dataset of people's demonstrations.")
    return sim.expert


def evaluate(
    sim: Simulator,
    deployed: Deployed | None,
    *,
    episodes: int,
    execute: int,
    delay: int = 0,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> Result:
    """Let a policy act, or without one the expert, in as many episodes; arguments as of `evaluation.evaluate`.

    Raises:
        UserError: a number is out of range, or there is no expert.
    """
    if episodes < 1 or execute < 1 or not 0 <= delay <= execute:
        raise UserError(
            f"episodes = {episodes} and execute = {execute} must be at least 1, and delay = {delay} between 0 and that."
        )
    expert = None if deployed else expert_of(sim)
    env, found = Latency(sim.env, delay), []
    for number in range(episodes):
        minded = child_seed(seed, "actions", number)
        mind: Mind = Session(deployed, "plain", minded) if deployed else Scripted(expert_of(sim))
        begun = child_seed(seed, "evaluation", number) % 2**31
        found.append(attempt(env, mind, execute=execute if expert is None else 1, seed=begun, look=sim.seen))
        progress(number + 1, episodes)
    won = [one for one in found if one.reward > 0]
    failures = {"timeout": episodes - len(won)} if len(won) < episodes else {}
    return Result(
        successes=len(won),
        clean=len(won),
        episodes=episodes,
        failures=failures,
        by_task={sim.task: (len(won), episodes)},
        steps=float(np.mean([one.steps for one in won])) if won else 0.0,
        execute=execute,
        delay=delay,
        seed=seed,
    )


def collect(
    sim: Simulator, directory: Path, episodes: int, seed: int = 0, progress: Progress = lambda done, total: None
) -> int:
    """Write a dataset of the expert's demonstrations that succeeded; how many that did not were thrown away.

    Raises:
        UserError: there is no expert, it fails too often, or the directory is taken.
    """
    expert, failed, number = expert_of(sim), 0, 0
    robot = sim.robot
    features = {
        STATE: Feature(dtype="float32", shape=(robot.state,), names=list(robot.state_names or ())),
        ACTION: Feature(dtype="float32", shape=(robot.action,), names=list(robot.action_names or ())),
    }
    with DatasetWriter(directory, fps=int(robot.control_hz or 1), features=features, robot_type=sim.world) as writer:
        for done in range(episodes):
            while (demonstration := _demonstration(sim, expert, seed, number)) is None:
                failed, number = failed + 1, number + 1
                if failed > 20 + episodes:
                    raise UserError(f"The expert of {sim.task} failed {failed} times in {failed + done}; take another.")
            number += 1
            writer.add_episode(demonstration, sim.instruction)
            progress(done + 1, episodes)
        write_json(writer.part / SOURCE, {"world": sim.world, "task": sim.task, **sim.source})
    return failed


def _demonstration(sim: Simulator, expert: Expert, seed: int, number: int) -> dict[str, np.ndarray] | None:
    """None where it failed."""
    state, _ = sim.env.reset(seed=child_seed(seed, "demonstration", number) % 2**31)
    space, states, actions, won, over = sim.env.action_space, [], [], False, False
    assert isinstance(space, gymnasium.spaces.Box)
    while not over:
        states.append(state)
        actions.append(np.clip(expert(state), space.low, space.high))
        state, _, won, truncated, _ = sim.env.step(actions[-1])
        over = won or truncated
    return {STATE: np.array(states, np.float32), ACTION: np.array(actions, np.float32)} if won else None
