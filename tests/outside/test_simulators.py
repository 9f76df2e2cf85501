"""PushT and Meta-World themselves, through `maquette collect` and `maquette evaluate`."""

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.robotics.simulators import evaluate, simulator

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.against("metaworld")
@pytest.mark.parametrize("task", ["reach-v3", "pick-place-v3", "door-open-v3"])
def test_meta_worlds_experts_succeed_and_its_seeds_fix_the_episode(task):
    sim = simulator("metaworld", task)
    first, again, other = (sim.env.reset(seed=seed)[0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert np.abs(first - other).max() > 1e-3
    assert len(first) == sim.robot.state
    assert evaluate(sim, None, episodes=10, execute=1).successes >= 9


@pytest.mark.against("gym-pusht")
def test_pusht_begins_where_its_seed_says_and_lasts_300_steps():
    sim = simulator("pusht")
    assert (sim.env.reset(seed=3)[0] == sim.env.reset(seed=3)[0]).all()
    steps, over = 0, False
    while not over:
        _, _, done, truncated, _ = sim.env.step(np.array([256.0, 256.0]))
        steps, over = steps + 1, done or truncated
    assert steps == 300
    with pytest.raises(UserError, match="pusht has no scripted expert"):
        evaluate(sim, None, episodes=1, execute=1)


@pytest.mark.against("metaworld")
def test_an_unknown_task_is_named():
    with pytest.raises(UserError, match="did you mean 'reach-v3'"):
        simulator("metaworld", "reach")
