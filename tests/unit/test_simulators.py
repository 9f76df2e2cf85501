"""Other people's simulators through one small door, shown on a simulator of our own."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.robotics import simulators
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.validation import validate
from maquette.robotics.deployment import Robot, load
from maquette.robotics.diagnosis.doctor import diagnose
from maquette.robotics.simulators import Goal, Simulator, collect, evaluate, simulator
from maquette.robotics.training import RECIPES, carry_out

START, LONGEST = 5.0, 12


class Line(gymnasium.Env):
    """A point on a line that is to come to 0; from some seeds on it cannot, as it does not move."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = gymnasium.spaces.Box(-20.0, 20.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.stuck = START * float(self.np_random.choice([-1, 1])), bool(self.np_random.random() < 0.3)
        return np.array([self.x, self.stuck]), {}

    def step(self, action):
        assert np.abs(action).max() <= 1, "nobody asks for more than the space allows"
        self.x += 0.0 if self.stuck else float(action[0])
        return np.array([self.x, self.stuck]), -abs(self.x), False, False, {"done it": abs(self.x) < 0.5}


def line(expert=lambda state: -3 * state[:1]):
    env = Goal(gymnasium.wrappers.TimeLimit(Line(), LONGEST), "done it")
    robot = Robot(cameras=(), state=2, action=1, control_hz=10, state_names=("x", "stuck"), action_names=("dx",))
    return Simulator(world="line", task="home", env=env, robot=robot, instruction="go home", expert=expert)


def test_experts_succeed_where_one_can_and_every_seed_is_one_episode():
    found = evaluate(line(), None, episodes=40, execute=8)
    assert found == evaluate(line(), None, episodes=40, execute=8)
    assert 20 <= found.successes == found.clean < 40
    assert found.failures == {"timeout": 40 - found.successes}
    assert found.steps == START
    assert evaluate(line(), None, episodes=40, execute=8, seed=1) != found
    away = evaluate(line(lambda state: state[:1]), None, episodes=10, execute=1)
    assert (away.successes, away.steps) == (0, 0.0)


def test_demonstrations_are_those_that_succeeded(tmp_path):
    failed = collect(line(), tmp_path / "data", 12)
    assert failed > 0
    assert not validate(tmp_path / "data").problems
    dataset = Dataset(tmp_path / "data")
    assert [one.length for one in dataset.episodes] == [5] * 12
    states, actions = dataset.numbers(STATE), dataset.numbers(ACTION)
    assert (states[:, 1] == 0).all()
    assert set(states[::5, 0].tolist()) == {-5.0, 5.0}
    assert np.abs(actions).max() == 1
    with pytest.raises(UserError, match="failed 22 times in 22"):
        collect(line(lambda state: state[:1]), tmp_path / "none", 1)
    assert not (tmp_path / "none").exists()
    with pytest.raises(UserError, match="has no scripted expert"):
        collect(line(None), tmp_path / "none", 1)


@pytest.mark.parametrize("kind", ["act", "diffusion-policy"])
def test_a_policy_without_a_camera_learns_from_them_and_acts(tmp_path, kind):
    collect(line(), tmp_path / "data", 12)
    recipe = RECIPES[kind]
    train = replace(recipe.train, steps=60, precision="fp32", device="cpu", save_every=0, evaluate_every=0)
    recipe = replace(recipe, size="tiny", head="l1", chunk=4, rows=16, train=train)
    carry_out(recipe, tmp_path / "data", tmp_path / "policy")
    deployed = load(tmp_path / "policy")
    assert deployed.card.cameras == ()
    taught = evaluate(line(), deployed, episodes=20, execute=2)
    expert = evaluate(line(), None, episodes=20, execute=1)
    assert taught.successes >= expert.successes - 2
    late = evaluate(line(), deployed, episodes=5, execute=2, delay=1)
    assert late.delay == 1
    found = {check.name: check for check in diagnose(tmp_path / "data", deployed, steps=20)}
    assert not found["cameras"].tried
    assert not any(check.fault == "camera" for check in found.values())
    with pytest.raises(UserError, match="has no camera, and pi0 needs"):
        carry_out(RECIPES["pi0"], tmp_path / "data", tmp_path / "pi0")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: simulator("pushed"), "did you mean 'pusht'"),
        (lambda: simulator("pusht", "pull"), "pusht has but one"),
        (lambda: evaluate(line(), None, episodes=0, execute=1), "episodes = 0"),
        (lambda: evaluate(line(), None, episodes=1, execute=1, delay=2), "delay = 2"),
    ],
)
def test_bad_input_is_one_sentence(ask, words):
    with pytest.raises(UserError, match=words):
        ask()


def test_a_package_that_is_missing_is_named_with_its_mend(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(simulators.importlib, "import_module", missing)
    for world, package in (("pusht", "gym_pusht"), ("metaworld", "metaworld")):
        with pytest.raises(UserError, match=rf"{package} is not installed .*: bash scripts/setup\.sh sim"):
            simulator(world, "" if world == "pusht" else "reach-v3")
