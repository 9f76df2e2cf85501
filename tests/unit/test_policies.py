"""One contract for every trunk with every head; the equations against worked cases."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.core.errors import UserError
from maquette.generative.times import BetaTimes
from maquette.robotics.policies.act import LATENT, Act, ActConfig, plane, sinusoids
from maquette.robotics.policies.contract import Observation, Policy, chunk_loss, count_actions, observation_in
from maquette.robotics.policies.diffusion_policy import DiffusionPolicy, DiffusionPolicyConfig
from maquette.robotics.policies.eyes import keypoints
from maquette.robotics.policies.heads import (
    BINS,
    CHAIN,
    HEADS,
    TRAINED_STEPS,
    TimelessHead,
    from_bins,
    head_of,
    to_bins,
)
from maquette.robotics.policies.pi0 import Pi0, sines
from maquette.robotics.policies.sizes import pi0_config

torch.set_num_threads(1)

ROWS, CAMERAS, WORDS, STATE, NUMBERS, CHUNK, VOCABULARY = 3, 2, 6, 5, 3, 8, 40
SHAPE = {"state": STATE, "numbers": NUMBERS, "chunk": CHUNK}
UNET = DiffusionPolicyConfig(
    cameras=CAMERAS, vocabulary=VOCABULARY, eye=32, words=16, time=16, widths=(16, 32), **SHAPE
)
ACT = ActConfig(cameras=CAMERAS, vocabulary=VOCABULARY, width=32, hidden=48, encoder=2, style=1, **SHAPE)
TRUNKS = {
    "pi0": lambda g: Pi0(pi0_config("tiny", size=16, vocabulary=VOCABULARY, **SHAPE)).initialise(g),
    "diffusion-policy": lambda g: DiffusionPolicy(UNET).initialise(g),
    "act": lambda g: Act(ACT).initialise(g),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def a_policy(trunk, head, seed=0):
    torch.manual_seed(seed)
    body = TRUNKS[trunk](generator(seed))
    return Policy(body, head_of(head, body.width, NUMBERS), chunk=CHUNK, numbers=NUMBERS)


def a_batch(policy, seed=1):
    g = generator(seed)
    written = torch.ones(ROWS, WORDS, dtype=torch.bool)
    written[0, 3:] = False
    counted = torch.ones(ROWS, CHUNK, dtype=torch.bool)
    counted[1, 5:] = False
    batch = {
        "images": torch.randint(0, 256, (ROWS, CAMERAS, 3, 16, 16), generator=g, dtype=torch.uint8),
        "state": torch.randn(ROWS, STATE, generator=g),
        "prompt": torch.randint(0, VOCABULARY, (ROWS, WORDS), generator=g),
        "written": written,
        "actions": torch.rand(ROWS, CHUNK, NUMBERS, generator=g) * 1.8 - 0.9,
        "counted": counted,
    }
    return batch | policy.draw(ROWS, g)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("trunk", TRUNKS)
def test_every_trunk_goes_with_every_head(trunk, head):
    policy = a_policy(trunk, head)
    batch = a_batch(policy)
    before = {name: value.clone() for name, value in batch.items()}
    loss = chunk_loss(policy, batch)
    assert torch.equal(loss, chunk_loss(policy, batch)), "all chance is in the batch"
    loss.backward()
    assert all(torch.equal(batch[name], value) for name, value in before.items())
    for name, parameter in policy.named_parameters():  # several processes wait for every gradient that is asked for
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name
    assert int(count_actions(batch)) == ROWS * CHUNK - 3
    policy.eval()
    seen, noise = observation_in(batch), policy.noise(ROWS, generator(2))
    chunk = policy.act(seen, noise)
    assert chunk.shape == (ROWS, CHUNK, NUMBERS)
    assert torch.equal(chunk, policy.act(seen, noise))
    for row in range(ROWS):  # rows know nothing of one another, up to rounding
        one = Observation(*(part[row : row + 1] for part in seen))
        torch.testing.assert_close(policy.act(one, noise[row : row + 1]), chunk[row : row + 1], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_everything_that_is_seen_counts_and_padding_does_not(trunk):
    policy = a_policy(trunk, "l1").eval()
    seen = observation_in(a_batch(policy))
    noise = policy.noise(ROWS, generator(2))
    chunk = policy.act(seen, noise)
    for name, part in seen._asdict().items():
        if name == "written":
            continue
        changed = part.clone()
        index = (0, 1) if name == "images" else (0, 0)
        changed[index] = changed[index] + 1 if name != "images" else 255 - changed[index]
        moved = policy.act(seen._replace(**{name: changed % VOCABULARY if name == "prompt" else changed}), noise)
        assert (moved[0] - chunk[0]).abs().max() > 1e-5, name
        torch.testing.assert_close(moved[1:], chunk[1:], atol=1e-5, rtol=1e-4)
    padding = seen.prompt.clone()
    padding[0, 3:] = 7
    torch.testing.assert_close(policy.act(seen._replace(prompt=padding), noise), chunk, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("trunk", "head"), [("pi0", "flow"), ("diffusion-policy", "bins"), ("act", "l1")])
def test_a_policy_learns_a_few_moments_by_heart(trunk, head):
    policy = a_policy(trunk, head)
    batch = a_batch(policy)
    seen = observation_in(batch)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3 if trunk == "act" else 3e-3)
    for step in range(240 if trunk == "act" else 200):  # ACT first has to stop leaning on its latent
        loss = chunk_loss(policy, batch | policy.draw(ROWS, generator(100 + step))) / count_actions(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.eval()
    chunk = policy.act(seen, policy.noise(ROWS, generator(3)))
    far = (chunk - batch["actions"]).abs()[batch["counted"]].mean()
    strange = (chunk - batch["actions"].roll(1, 0)).abs().mean()
    assert far < 0.7 * strange, (far, strange)


# ---- flow


def test_times_are_beta_distributed_and_mostly_noise():
    times = BetaTimes()(200_000, generator())
    exact = torch.distributions.Beta(1.5, 1.0)
    assert 0.001 <= times.min() < times.max() <= 1.0
    assert abs(float(times.mean()) - (0.001 + 0.999 * float(exact.mean))) < 2e-3
    assert abs(float(times.var()) - 0.999**2 * float(exact.variance)) < 1e-3
    assert float((times < 0.5).float().mean()) == pytest.approx(0.5**1.5, abs=5e-3)


def test_time_is_told_by_sines_of_the_published_periods():
    told = sines(torch.tensor([0.25]), 8)[0]
    periods = [4e-3 * (4.0 / 4e-3) ** (i / 3) for i in range(4)]
    wanted = [math.sin(2 * math.pi * 0.25 / p) for p in periods] + [math.cos(2 * math.pi * 0.25 / p) for p in periods]
    torch.testing.assert_close(told, torch.tensor(wanted), atol=1e-4, rtol=0)


# ---- diffusion


@pytest.mark.parametrize("steps", [10, 100])
def test_a_diffusion_head_that_knows_draws_the_true_distribution(steps):
    """For actions around 0.3 with deviation 0.2 the best guess of the noise is known in closed form."""
    head, mean, deviation = head_of("diffusion", 1, 1, steps=steps), 0.3, 0.2
    head.out = torch.nn.Identity()

    def knowing(x, told):
        step = (told * TRAINED_STEPS + 1)[:, None, None]
        alpha, sigma = CHAIN.path.alpha(step), CHAIN.path.sigma(step)
        return sigma * (x - alpha * mean) / ((alpha * deviation) ** 2 + sigma**2)

    drawn = head.sample(knowing, torch.randn(50_000, 1, 1, generator=generator()))
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.01)
    # Few steps draw too little spread, whatever the denoiser: each takes the noise for the same over its length.
    assert (0.12 < float(drawn.std()) < 0.19) if steps == 10 else float(drawn.std()) == pytest.approx(0.2, abs=0.01)


# ---- bins, sizes, parts


def test_bins_are_equal_and_come_back_to_within_half_of_one():
    values = torch.linspace(-1, 1, 10_001)
    bins = to_bins(values)
    assert (bins.min(), bins.max()) == (0, BINS - 1)
    assert torch.bincount(bins).float().std() < 1
    assert (from_bins(bins) - values).abs().max() <= 1 / BINS + 1e-6
    assert to_bins(torch.tensor([-5.0, 5.0])).tolist() == [0, BINS - 1]


def test_keypoints_point_where_a_channel_is_strongest():
    features = torch.full((1, 2, 5, 9), -20.0)
    features[0, 0, 4, 0], features[0, 1, 2, 4] = 20.0, 20.0
    torch.testing.assert_close(keypoints(features)[0], torch.tensor([-1.0, 0.0, 1.0, 0.0]), atol=1e-4, rtol=0)


def test_places_in_a_picture_differ():
    places = plane(4, 6, 32)
    assert places.shape == (24, 32)
    assert torch.pdist(places).min() > 0.1
    assert sinusoids(50, 32).shape == (50, 32)


def test_acts_latent_is_paid_for_and_zero_in_use():
    policy = a_policy("act", "l1")
    batch = a_batch(policy)
    noisy, time = policy.head.question(batch)
    thought = policy.trunk.think(observation_in(batch), noisy, time, batch)
    assert thought.penalty.shape == (ROWS,)
    assert (thought.penalty > 0).all()
    with torch.no_grad():
        policy.trunk.style_out.weight.zero_()
        policy.trunk.style_out.bias.zero_()
    thought = policy.trunk.think(
        observation_in(batch), noisy, time, batch | {"latent_noise": torch.zeros(ROWS, LATENT)}
    )
    assert thought.penalty.abs().max() < 1e-6
    same = policy.trunk.features(policy.trunk.context(observation_in(batch)), noisy, time)
    torch.testing.assert_close(thought.features, same)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: head_of("flwo", 8, 2), "did you mean 'flow'"),
        (lambda: replace(UNET, chunk=7), "2 must divide it"),
        (lambda: replace(UNET, widths=(12, 24)), "8 must divide"),
        (lambda: replace(ACT, heads=3), "must divide width"),
        (lambda: pi0_config("tyni", size=16, vocabulary=9, **SHAPE), "did you mean 'tiny'"),
        (lambda: pi0_config("tiny", size=18, vocabulary=9, **SHAPE), "must divide size = 18"),
    ],
)
def test_impossible_numbers_are_one_sentence(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_a_timeless_flow_is_a_flow_that_is_never_told_the_time():
    policy = a_policy("pi0", "flow")
    batch, flow_head = a_batch(policy), policy.head
    noisy, time = flow_head.question(batch)
    policy.head = TimelessHead(flow_head)
    asked, told = policy.head.question(batch)
    assert torch.equal(asked, noisy), "the chunk is as noisy as it was"
    assert (told == 1).all()
    assert not (time == 1).any()
    times = []

    def predict(x, t):
        times.append(t)
        return torch.zeros(*x.shape[:2], policy.trunk.width)

    noise = torch.zeros(ROWS, CHUNK, NUMBERS)
    found = policy.head.sample(predict, noise)
    assert len(times) == flow_head.steps
    assert all((t == 1).all() for t in times)
    torch.testing.assert_close(found, -flow_head.out.bias.expand_as(found))
