"""Chunks of a policy that takes a while to think, and what comes of each way to wait for them."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from maquette.core.errors import UserError
from maquette.generative.samplers import follow
from maquette.generative.times import flow_grid
from maquette.robotics.chunking import Chunker, checked_chunking
from maquette.robotics.latency import Latency, attempt
from maquette.robotics.policies.realtime import Ensemble, guided, soft_mask


def test_an_ensemble_blends_every_action_that_is_still_due():
    ensemble = Ensemble(m=0.0)
    first, second = torch.arange(4.0)[:, None], torch.full((4, 1), 10.0)
    assert torch.equal(ensemble.blend(first, 1), first)
    assert ensemble.blend(second, 2)[:, 0].tolist() == [6.0, 6.5, 10.0, 10.0]
    assert ensemble.blend(second, 4)[:, 0].tolist() == [10.0] * 4, "nothing is left of the others"


def test_a_chunk_leans_on_what_is_left_of_the_last():
    leans = []

    def think(lean):
        leans.append(lean)
        return torch.arange(6.0)[:, None] + 10 * len(leans)

    chunker = Chunker("realtime")
    for _ in range(2):
        chunker.next(think, taken=2, delay=1)
    chunker.next(think, taken=6, delay=3)
    assert leans[0] is None
    assert leans[2] is None, "the last chunk is over"
    assert leans[1].last[0, :4, 0].tolist() == [12, 13, 14, 15]
    torch.testing.assert_close(leans[1].weights, soft_mask(6, delay=1, execute=2))
    with pytest.raises(UserError, match="taken = 4 and delay = 3 are more than the 6 actions"):
        chunker.next(think, taken=4, delay=3)
    with pytest.raises(UserError, match="0 or more"):
        chunker.next(think, taken=-1, delay=0)
    with pytest.raises(UserError, match="did you mean 'realtime'"):
        checked_chunking("real-time")


class Corridor(gymnasium.Env):
    """A point that is driven towards a wall and must be beside it on either side when it comes to it, within a time.

    An action is (forwards, sideways); nothing is lost by a way that is taken early, everything by one taken in the
    middle or too late.
    """

    observation_space = spaces.Box(-10, 10, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (2,), np.float64)
    WALL, BESIDE, LATEST = 12.0, 4.0, 60

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = np.zeros(2), 0
        return self.at.copy(), {}

    def step(self, action):
        self.at = self.at + np.clip(action, -1, 1) * (0.5, 1.0)
        self.steps += 1
        there, late = self.at[0] >= self.WALL, self.steps >= self.LATEST
        won = there and abs(self.at[1]) >= self.BESIDE
        return self.at.copy(), float(won), bool(there), bool(late and not there), {}


class TwoWays:
    """The exact flow of a policy that knows two ways, left and right, each as good until one is begun."""

    CHUNK = 12

    def __init__(self, kind, seed):
        self.chunker, self.generator = Chunker(kind), torch.Generator().manual_seed(seed)

    def chunk(self, seen, *, taken, delay):
        side = float(seen[1])
        ways = torch.stack([self.way(side, target) for target in (-5.0, 5.0)])
        prior = torch.tensor([-0.6 * side, 0.6 * side]).sigmoid().log()
        noise = torch.randn(1, self.CHUNK, 2, generator=self.generator)

        def field(x, t):
            """(x − x̂) / t with x̂ the mean of the ways given x: each way with a spread of 0.05."""
            alpha, t = 1 - t[:, None, None], t[:, None, None]
            spread = (t**2 + (0.05 * alpha) ** 2)[:, 0, 0]
            far = (x[:, None] - alpha[:, None] * ways).square().sum((2, 3))
            share = (prior - far / (2 * spread[:, None])).softmax(1)
            mean = (share[:, :, None, None] * ways).sum(1)
            clean = mean + (0.05**2 * alpha / spread[:, None, None]) * (x - alpha * mean)
            return (x - clean) / t

        def think(lean):
            if lean is None:
                return follow(field, noise, flow_grid(5))[0]
            return guided(field, noise, lean.last, lean.weights, 5)[0]

        return self.chunker.next(think, taken=taken, delay=delay).numpy()

    def way(self, side, target):
        """Forwards all the time, and sideways until the target is reached."""
        sideways = []
        for _ in range(self.CHUNK):
            sideways.append(max(-0.5, min(0.5, target - side)))
            side += sideways[-1]
        return torch.stack((torch.ones(self.CHUNK), torch.tensor(sideways)), dim=1)


def outcomes(kind, delay, execute, episodes=20, **options):
    """The mean of each number of `Attempt`."""
    found = [
        attempt(Latency(Corridor(), delay), TwoWays(kind, seed), execute=execute, seed=seed, **options)
        for seed in range(episodes)
    ]
    return {name: np.mean([getattr(one, name) for one in found]) for name in ("reward", "steps", "roughness")}


def test_who_thinks_slowly_does_best_in_real_time():
    """Real-time chunking goes on with what it began; chunks of their own change their mind on the way; an ensemble
    makes one way of two, which leads into the wall; who waits gets there, in twice the time."""
    waiting = outcomes("plain", 4, 4, waits=np.zeros(2))
    plain, realtime, ensemble = outcomes("plain", 4, 4), outcomes("realtime", 4, 4), outcomes("ensemble", 4, 1)
    assert min(realtime["reward"], waiting["reward"]) > 0.95
    assert ensemble["reward"] + 0.3 < plain["reward"] < realtime["reward"] - 0.1
    assert waiting["steps"] > 1.7 * realtime["steps"]
    assert realtime["roughness"] < 0.7 * plain["roughness"] < 0.5 * waiting["roughness"]


def test_who_thinks_at_once_needs_none_of_it():
    waiting = outcomes("plain", 0, 4, waits=np.zeros(2))
    assert waiting == outcomes("plain", 0, 4)
    assert min(waiting["reward"], outcomes("realtime", 0, 4)["reward"]) > 0.95
    assert outcomes("ensemble", 0, 1)["reward"] > outcomes("ensemble", 4, 1)["reward"] + 0.3, "it mixes ways even so"


class Clock(gymnasium.Env):
    """Shows how many steps were taken, and notes its actions."""

    observation_space, action_space = spaces.Discrete(100), spaces.Discrete(100)

    def reset(self, *, seed=None, options=None):
        self.done = []
        return 0, {}

    def step(self, action):
        self.done.append(float(action[0]))
        return len(self.done), float(len(self.done)), False, len(self.done) == 10, {}


class Planner:
    """Knows what to do at every step: its number."""

    def __init__(self):
        self.asked = []

    def chunk(self, seen, *, taken, delay):
        self.asked.append((seen, taken, delay))
        return np.arange(seen, seen + 6.0)[:, None]


def test_observations_are_late_and_rewards_are_not():
    env = Latency(Clock(), 3)
    seen = [env.reset()] + [env.step([0]) for _ in range(5)]
    assert [one[0] for one in seen] == [0, 0, 0, 0, 1, 2]
    assert [one[-1]["late"] for one in seen] == [0, 1, 2, 3, 3, 3]
    assert [one[1] for one in seen[1:]] == [1, 2, 3, 4, 5]
    assert env.reset()[0] == 0
    assert env.step([0])[0] == 0, "nothing of the last episode is left"
    with pytest.raises(UserError, match="delay = -1"):
        Latency(Clock(), -1)


def test_every_action_is_carried_out_when_it_is_due():
    clock, planner = Clock(), Planner()
    told = attempt(Latency(clock, 3), planner, execute=3, seed=0)
    assert clock.done == list(range(10))
    assert planner.asked == [(0, 0, 0), (0, 0, 3), (3, 3, 3), (6, 3, 3)]
    assert (told.steps, told.reward, told.roughness) == (10, 55, 1)
    clock, planner = Clock(), Planner()
    attempt(Latency(clock, 3), planner, execute=3, seed=0, waits=np.full(1, 50.0))
    assert clock.done == [0, 1, 2, 50, 50, 50, 3, 4, 5, 50]
    assert planner.asked == [(0, 0, 0), (3, 3, 0)]
    with pytest.raises(UserError, match="execute = 4 and a delay of 3 are more than the 6 actions"):
        attempt(Latency(Clock(), 3), Planner(), execute=4, seed=0)
