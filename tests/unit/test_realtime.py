"""Real-time chunking and temporal ensembling against cases that can be worked out."""

import math

import pytest
import torch

from maquette.generative.samplers import follow
from maquette.generative.times import flow_grid
from maquette.robotics.policies.realtime import Ensemble, guidance, guided, soft_mask


def test_the_mask_is_whole_falls_and_ends():
    mask = soft_mask(8, delay=2, execute=3)
    assert mask[:2].tolist() == [1, 1]
    assert mask[5:].tolist() == [0, 0, 0]
    for place in (2, 3, 4):
        c = (8 - 3 - place) / (8 - 3 - 2 + 1)
        assert float(mask[place]) == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1))
    assert (mask[1:6].diff() < 0).all()
    with pytest.raises(ValueError, match="do not fit"):
        soft_mask(8, delay=6, execute=3)


def test_guidance_is_bounded_and_as_published():
    """With the paper's τ = 1 − t: (1 − τ) / (τ r²), r² = (1 − τ)² / (τ² + (1 − τ)²)."""
    for t in (0.2, 0.5, 0.9):
        tau = 1 - t
        r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
        assert guidance(t, 1e9) == pytest.approx((1 - tau) / (tau * r2))
    assert guidance(1.0, 5.0) == guidance(0.99, 5.0) == 5.0


def test_without_weights_it_is_the_plain_flow():
    net = torch.nn.Linear(3, 3)
    noise = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = follow(lambda x, t: net(x), noise, flow_grid(5))
    found = guided(lambda x, t: net(x), noise, torch.zeros_like(noise), torch.zeros(6), 5)
    torch.testing.assert_close(found, plain)


def test_the_pull_is_the_true_vector_jacobian_product():
    """One step of a linear field v = A x: x̂ = (1 − A) x at t = 1, so the pull is (1 − A)ᵀ (last − x̂), not last − x̂."""
    g = torch.Generator().manual_seed(0)
    a, x, last = torch.randn(3, 3, generator=g), torch.randn(1, 4, 3, generator=g), torch.randn(1, 4, 3, generator=g)
    weights = torch.tensor([1.0, 1.0, 0.5, 0.0])
    found = guided(lambda at, t: at @ a.T, x, last, weights, 1, beta=0.7)
    error = (last - (x - x @ a.T)) * weights[:, None]
    wanted = x - x @ a.T + 0.7 * error @ (torch.eye(3) - a)
    torch.testing.assert_close(found, wanted)
    identity = x - x @ a.T + 0.7 * error
    assert (found - identity).abs().max() > 0.1


def test_a_chunk_keeps_what_is_being_carried_out():
    """Two ways are equally good, −1 and +1; what was begun is gone on with, and without guidance it is not."""

    def field(x, t):
        alpha, sigma = 1 - t[:, None, None], t[:, None, None]
        mode = torch.tanh((alpha * x).mean(dim=(1, 2), keepdim=True) / (sigma**2 + 0.05))
        return (x - mode) / sigma.clamp(min=0.05)

    noise = torch.randn(64, 8, 1, generator=torch.Generator().manual_seed(0))
    last = torch.ones(64, 8, 1)
    plain = follow(field, noise, flow_grid(10))
    kept = guided(field, noise, last, soft_mask(8, delay=3, execute=3), 10)
    assert 0.3 < float((plain[:, 0] > 0).float().mean()) < 0.7
    assert float((kept[:, 0] > 0.5).float().mean()) > 0.95
    assert (kept[:, :3] - 1).abs().mean() < (plain[:, :3] - 1).abs().mean() / 3


def test_an_ensemble_is_the_weighted_mean_of_what_was_said_of_now():
    ensemble = Ensemble(m=0.5)
    first, second, third = (torch.tensor([[v], [v + 1.0], [v + 2.0]]) for v in (0.0, 10.0, 20.0))
    assert float(ensemble.action(first)) == 0
    w = math.exp(-0.5)
    assert float(ensemble.action(second)) == pytest.approx((1 + 10 * w) / (1 + w))
    assert float(ensemble.action(third)) == pytest.approx((2 + 11 * w + 20 * w**2) / (1 + w + w**2))
    fourth = torch.full((3, 1), 30.0)
    assert float(ensemble.action(fourth)) == pytest.approx((12 + 21 * w + 30 * w**2) / (1 + w + w**2)), (
        "the first ended"
    )
