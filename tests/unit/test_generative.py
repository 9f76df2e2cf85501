"""Paths, predictions, times, samplers and guidance against what can be worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import UserError
from maquette.generative import samplers, times
from maquette.generative.guidance import classifier_free, guide, rescaled
from maquette.generative.objectives import Objective, convert
from maquette.generative.paths import RectifiedFlow, VarianceExploding, VariancePreserving, mix

torch.set_num_threads(1)

FLOW, EXPLODING, CHAIN = RectifiedFlow(), VarianceExploding(), VariancePreserving()
PLAIN = [
    Objective(path=path, predicts=predicts)
    for path in (FLOW, EXPLODING, CHAIN)
    for predicts in ("noise", "data", "velocity", "flow")
]
ALL = [
    *PLAIN,
    Objective(path=EXPLODING, predicts="residual"),
    Objective(path=EXPLODING, predicts="residual", data_std=1),
]


def name(objective):
    return f"{type(objective.path).__name__}-{objective.predicts}-{objective.data_std}"


def inside(path, share):
    """A time well inside a path."""
    return {FLOW: 0.05 + 0.9 * share, EXPLODING: 0.02 * 2000**share, CHAIN: 20 + 900 * share}[path]


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- predictions


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 10**6))
@pytest.mark.parametrize("objective", ALL, ids=name)
def test_data_and_noise_come_back_from_every_prediction(objective, share, seed):
    data, noise = draw(seed, 4, 2, 3), draw(seed + 1, 4, 2, 3)
    t = torch.full((4,), inside(objective.path, share), dtype=torch.float64)
    x = mix(objective.path, data, noise, t)
    parts = objective.parts(x, objective.target(data, noise, t), t)
    torch.testing.assert_close(parts.data, data, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts.noise, noise, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("source", ALL, ids=name)
@pytest.mark.parametrize("target", ALL, ids=name)
def test_a_prediction_converts_into_any_other_on_its_path(source, target):
    data, noise, t = draw(0, 5, 3), draw(1, 5, 3), torch.full((5,), inside(source.path, 0.4), dtype=torch.float64)
    x = mix(source.path, data, noise, t)
    given_ = source.target(data, noise, t)
    if source.path != target.path:
        with pytest.raises(ValueError, match="another mixture"):
            convert(source, target, x, given_, t)
        return
    converted = convert(source, target, x, given_, t)
    torch.testing.assert_close(converted, target.target(data, noise, t), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(convert(target, source, x, converted, t), given_, rtol=1e-6, atol=1e-6)


def test_the_papers_own_formulas():
    data, noise = draw(0, 5, 3), draw(1, 5, 3)
    t = torch.tensor([100.0, 300, 500, 700, 900], dtype=torch.float64)
    x = mix(CHAIN, data, noise, t)
    alpha, sigma = CHAIN.alpha(t)[:, None], CHAIN.sigma(t)[:, None]
    v = Objective(path=CHAIN, predicts="velocity").target(data, noise, t)
    torch.testing.assert_close(v, alpha * noise - sigma * data)
    # Salimans & Ho, appendix D: x₀ = α x_t − σ v.
    torch.testing.assert_close(Objective(path=CHAIN, predicts="velocity").parts(x, v, t).data, alpha * x - sigma * v)
    u = t / 1000
    x = mix(FLOW, data, noise, u)
    flow = Objective().target(data, noise, u)
    torch.testing.assert_close(flow, noise - data)
    torch.testing.assert_close(Objective().parts(x, flow, u).data, x - u[:, None] * flow)


def test_the_residual_is_edms_preconditioning():
    """Karras et al., Table 1: c_skip, c_out, c_in and c_noise, and λ = 1 / c_out²."""
    std = 0.7
    objective = Objective(path=EXPLODING, predicts="residual", data_std=std)
    sigma = torch.tensor([0.01, 0.3, 1.0, 20.0], dtype=torch.float64)
    x, answer = draw(0, 4, 3), draw(1, 4, 3)
    total = sigma**2 + std**2
    skip, out, into = std**2 / total, sigma * std / total.sqrt(), 1 / total.sqrt()
    seen = []

    def network(scaled, label):
        seen.extend([scaled, label])
        return answer

    found = objective.denoiser(network)(x, sigma)
    torch.testing.assert_close(found, skip[:, None] * x + out[:, None] * answer)
    torch.testing.assert_close(seen[0], into[:, None] * x)
    torch.testing.assert_close(seen[1], sigma.log() / 4)
    torch.testing.assert_close(objective.data_weight(sigma), total / (sigma * std) ** 2)


def test_edms_residual_with_unit_data_is_minus_the_velocity_of_the_chain():
    sigma = torch.tensor([0.1, 1.0, 8.0], dtype=torch.float64)
    data, noise = draw(0, 3, 4), draw(1, 3, 4)
    residual = Objective(path=EXPLODING, predicts="residual", data_std=1.0).target(data, noise, sigma)
    alpha = (1 / (1 + sigma**2).sqrt())[:, None]
    torch.testing.assert_close(residual, -(alpha * noise - (1 - alpha**2).sqrt() * data))


@pytest.mark.parametrize("objective", ALL, ids=name)
def test_the_weight_on_data_is_that_of_the_prediction(objective):
    t = torch.full((3,), inside(objective.path, 0.3), dtype=torch.float64)
    data, noise, wrong = draw(0, 3, 2), draw(1, 3, 2), draw(2, 3, 2)
    x = mix(objective.path, data, noise, t)
    answer = objective.target(data, noise, t) + wrong
    error = (objective.parts(x, answer, t).data - data) ** 2
    torch.testing.assert_close(objective.data_weight(t)[:, None] * error, wrong**2)


def test_one_time_a_frame():
    """Diffusion forcing noises every frame of a clip for itself."""
    data, noise = draw(0, 2, 3, 4, 4), draw(1, 2, 3, 4, 4)
    t = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.2, 0.7]], dtype=torch.float64)
    together = Objective().losses(lambda x, label: 0 * x + label.reshape(2, 3, 1, 1), data, noise, t)
    for row in range(2):
        for frame in range(3):
            at = t[row, frame]
            error = (1000 * at - (noise - data)[row, frame]) ** 2
            torch.testing.assert_close(together[row, frame], error.float(), rtol=1e-4, atol=1e-3)


def test_the_chain_is_ho_et_als():
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    whole = torch.arange(1, 1001, dtype=torch.float64)
    torch.testing.assert_close(CHAIN.alpha(whole) ** 2, (1 - beta).cumprod(0))
    torch.testing.assert_close(CHAIN.alpha(whole) ** 2 + CHAIN.sigma(whole) ** 2, torch.ones_like(whole))
    clean = torch.zeros(1, dtype=torch.float64)
    assert CHAIN.alpha(clean) == 1
    assert CHAIN.sigma(clean) == 0
    between = CHAIN.alpha(torch.tensor([500.5], dtype=torch.float64))
    assert CHAIN.alpha(whole[500:501]) < between < CHAIN.alpha(whole[499:500])
    cosine = VariancePreserving(betas="cosine")
    expected = torch.cos(torch.tensor((0.5 + 0.008) / 1.008 * math.pi / 2)) / math.cos(0.008 / 1.008 * math.pi / 2)
    assert float(cosine.alpha(whole[499:500])) == pytest.approx(float(expected), rel=1e-6)


# ---- times


def test_shift_keeps_the_ends_and_moves_the_middle_to_noise():
    t = torch.linspace(0, 1, 11)
    moved = times.shift(t, 3.0)
    assert moved[0] == 0
    assert moved[-1] == pytest.approx(1)
    assert (moved[1:-1] > t[1:-1]).all()
    torch.testing.assert_close(times.shift(moved, 1 / 3.0), t)
    # The signal-to-noise ratio falls by s² everywhere.
    torch.testing.assert_close(((1 - moved) / moved)[1:-1], ((1 - t) / t)[1:-1] / 3)


@pytest.mark.parametrize("grid", [times.flow_grid(7), times.flow_grid(7, 5.0), times.linear_quadratic_grid(8)], ids=str)
def test_flow_grids_fall_from_one_to_zero(grid):
    assert grid[0] == 1
    assert grid[-1] == pytest.approx(0, abs=1e-12)
    assert (grid.diff() < 0).all()


def test_the_linear_quadratic_grid_begins_like_one_of_a_thousand_steps():
    grid = times.linear_quadratic_grid(50)
    torch.testing.assert_close(grid[:26], 1 - torch.arange(26, dtype=torch.float64) / 1000)
    long = -grid[25:].diff()
    assert (long.diff() > 0).all()
    assert float(long.diff().std() / long.diff().mean()) < 1e-6, "quadratic: steps grow by the same each time"


def test_the_karras_grid_is_equation_5():
    grid = times.karras_grid(5, 0.01, 10.0, 7.0)
    for i in range(5):
        assert float(grid[i]) == pytest.approx((10 ** (1 / 7) + i / 4 * (0.01 ** (1 / 7) - 10 ** (1 / 7))) ** 7)
    assert grid[-1] == 0


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 3, 10, 1000])
def test_step_grids_have_so_many_steps_of_the_chain(steps, spacing):
    grid = times.step_grid(steps, spacing=spacing)
    assert len(grid) == steps + 1
    if spacing != "leading":
        assert grid[0] == 1000
    if spacing != "trailing" and (steps > 1 or spacing == "leading"):
        assert grid[-2] == 1
    assert (grid.diff() < 0).all()


def test_random_times_have_their_distributions():
    drawn = {
        "uniform": times.UniformTimes(),
        "steps": times.UniformTimes(last=1000, whole=True),
        "logit": times.LogitNormalTimes(mean=0.5, std=0.8),
        "lognormal": times.LogNormalTimes(mean=-1.2, std=1.2),
        "shifted": times.LogitNormalTimes(shift=3.0),
    }
    t = {key: of(100_000, torch.Generator().manual_seed(0)) for key, of in drawn.items()}
    assert 0 < float(t["uniform"].min()) < 1e-4
    assert float(t["uniform"].mean()) == pytest.approx(0.5, abs=0.005)
    assert (t["steps"].min(), t["steps"].max()) == (1, 1000)
    assert float(t["logit"].logit().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(t["logit"].logit().std()) == pytest.approx(0.8, abs=0.01)
    assert float(t["lognormal"].log().mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(t["lognormal"].log().std()) == pytest.approx(1.2, abs=0.02)
    assert float(t["shifted"].median()) == pytest.approx(0.75, abs=0.01)


# ---- samplers, on a Gaussian whose score is known

MEAN, STD = 0.7, 0.4


def best_guess(path):
    """E[x₀ | x_t] for x₀ ~ N(MEAN, STD²)."""

    def denoise(x, t):
        alpha, sigma = path.alpha(t.double())[:, None], path.sigma(t.double())[:, None]
        return MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


def on_the_ode(path, t, z):
    """Where the ODE's curve of z is at t: it keeps its place within the marginal."""
    t = torch.tensor(t, dtype=torch.float64)
    return path.alpha(t) * MEAN + (path.alpha(t) ** 2 * STD**2 + path.sigma(t) ** 2).sqrt() * z


ENDS = {FLOW: (0.95, 0.05), EXPLODING: (10.0, 0.1), CHAIN: (800.0, 50.0)}


def error(sampler, path, steps):
    high, low = ENDS[path]
    grid = torch.linspace(high, low, steps + 1, dtype=torch.float64)
    if path is EXPLODING:
        grid = times.karras_grid(steps + 1, low, high)[:-1]
    if path is CHAIN:  # whole steps, where ln ᾱ has no corners between them
        grid = grid.round()
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    found = sampler(best_guess(path), on_the_ode(path, float(grid[0]), z), grid, path)
    return float((found - on_the_ode(path, float(grid[-1]), z)).abs().max())


@pytest.mark.parametrize("path", [FLOW, EXPLODING, CHAIN], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm++2m", 2)])
def test_order_of_convergence(path, sampler, order):
    """Halving the steps' length divides the error by 2^order: the slope over 40, 80 and 160 steps."""
    errors = [error(samplers.SAMPLERS[sampler], path, steps) for steps in (40, 80, 160)]
    measured = math.log2(errors[0] / errors[2]) / 2
    assert measured == pytest.approx(order, abs=0.3), errors
    assert errors[-1] < (1e-2 if order == 1 else 1e-3)


@pytest.mark.parametrize("path", [FLOW, EXPLODING, CHAIN], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("sampler", ["ddim", "euler", "heun", "dpm++2m", "ancestral"])
def test_samples_have_the_datas_distribution(path, sampler):
    grid = {FLOW: times.flow_grid(250), EXPLODING: times.karras_grid(250), CHAIN: times.step_grid(250)}[path]
    generator = torch.Generator().manual_seed(3)
    x = samplers.start((20_000, 1), grid, path, generator).double()
    drawn = {"generator": generator} if sampler == "ancestral" else {}
    x = samplers.SAMPLERS[sampler](best_guess(path), x, grid, path, **drawn)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(x.std()) == pytest.approx(STD, rel=0.04)


def test_without_noise_ddim_is_euler_and_data_that_is_known_is_found_in_one_step():
    for path in (FLOW, EXPLODING, CHAIN):
        x = draw(0, 4, 3)
        grid = {FLOW: times.flow_grid(9), EXPLODING: times.karras_grid(9), CHAIN: times.step_grid(9)}[path]
        one, other = (f(best_guess(path), x, grid, path) for f in (samplers.ddim, samplers.euler))
        torch.testing.assert_close(one, other)
        known = draw(1, 4, 3)
        for sampler in samplers.SAMPLERS.values():
            torch.testing.assert_close(sampler(lambda x, t, k=known: k, x, grid[[0, -1]], path), known)


def test_following_a_flows_velocity_is_euler():
    target, x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.randn(4, 3)
    grid, told = times.flow_grid(4), []

    def velocity(x, t):
        told.append(t.tolist())
        return (x - target) / t[:, None]

    by_velocity = samplers.follow(velocity, x, grid)
    assert told == [[at] * 4 for at in (1.0, 0.75, 0.5, 0.25)]
    torch.testing.assert_close(by_velocity, samplers.euler(lambda x, t: target, x, grid, RectifiedFlow()))
    torch.testing.assert_close(by_velocity, target)


def test_ancestral_steps_are_ddpms_posterior():
    """Ho et al. 2020, equations 6 and 7, for one step of the chain."""
    t, x, data = 400, draw(0, 50_000, 1), 0.3
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    bar = (1 - beta).cumprod(0)
    now, before, b = bar[t - 1], bar[t - 2], beta[t - 1]
    mean = before.sqrt() * b / (1 - now) * data + (1 - b).sqrt() * (1 - before) / (1 - now) * x
    variance = (1 - before) / (1 - now) * b
    grid = torch.tensor([t, t - 1], dtype=torch.float64)
    found = samplers.ancestral(
        lambda x, _: torch.full_like(x, data), x, grid, CHAIN, generator=torch.Generator().manual_seed(1)
    )
    assert float((found - mean).mean()) == pytest.approx(0, abs=4 * float((variance / 50_000).sqrt()))
    assert float((found - mean).var()) == pytest.approx(float(variance), rel=0.03)


def test_a_seed_gives_a_sample():
    grid = times.step_grid(10)

    def one(seed):
        generator = torch.Generator().manual_seed(seed)
        return samplers.ancestral(best_guess(CHAIN), draw(0, 4, 1), grid, CHAIN, generator=generator)

    assert torch.equal(one(1), one(1))
    assert not torch.equal(one(1), one(2))


# ---- guidance


def test_guidance_is_the_same_rule_for_every_prediction():
    objective, t = Objective(path=CHAIN, predicts="velocity"), torch.tensor([400.0, 600], dtype=torch.float64)
    x, with_it, without = draw(0, 2, 3), draw(1, 2, 3), draw(2, 2, 3)
    guided = classifier_free(with_it, without, 4.0)
    of_parts = [objective.parts(x, answer, t).data for answer in (guided, with_it, without)]
    torch.testing.assert_close(of_parts[0], classifier_free(of_parts[1], of_parts[2], 4.0))


def test_guidance_moves_a_gaussian_where_the_guided_score_has_its_mean():
    """p(x|c) = N(1, s²), p(x) = N(0, s²): the guided score s c − (s − 1) u is that of N(scale, s²), exactly."""

    def of(mean):
        def denoise(x, t):
            return mean + (1 - t[:, None]) * 0.25 / ((1 - t[:, None]) ** 2 * 0.25 + t[:, None] ** 2) * (
                x - (1 - t[:, None]) * mean
            )

        return denoise

    for scale in (0.0, 1.0, 3.0):
        grid = times.flow_grid(100)
        x = samplers.start((5_000, 1), grid, FLOW, torch.Generator().manual_seed(0))
        found = samplers.heun(guide(of(1.0), of(0.0), scale), x, grid, FLOW)
        assert float(found.mean()) == pytest.approx(scale, abs=0.03)
        assert float(found.std()) == pytest.approx(0.5, abs=0.02)


def test_outside_its_interval_guidance_asks_once():
    asked = []

    def of(name):
        return lambda x, t: asked.append(name) or x

    guided = guide(of("c"), of("u"), 2.0, between=(0.2, 0.8))
    for t in (0.9, 0.5, 0.1):
        guided(torch.zeros(1, 1), torch.tensor([t]))
    assert asked == ["c", "c", "u", "c"]


@pytest.mark.parametrize(
    ("objective", "t"),
    [
        (Objective(), 0.3),
        (Objective(path=VariancePreserving(), predicts="noise"), 400.0),
        (Objective(path=VariancePreserving(), predicts="velocity"), 400.0),
        (Objective(path=VarianceExploding(), predicts="residual", data_std=1.0), 2.0),
    ],
)
def test_the_blind_loss_is_what_regression_on_x_alone_leaves(objective, t):
    data, noise, at = draw(0, 100_000), draw(1, 100_000), torch.full((100_000,), t)
    x, target = mix(objective.path, data, noise, at), objective.target(data, noise, at)
    left = (target - x * (x @ target) / (x @ x)).square().mean()
    assert float(objective.blind_loss(torch.tensor(t))) == pytest.approx(float(left), rel=0.02)


def test_each_path_has_its_grid():
    assert torch.equal(times.grid_of(RectifiedFlow(), 4, 3.0), times.flow_grid(4, 3.0))
    assert torch.equal(times.grid_of(VariancePreserving(), 4), times.step_grid(4))
    assert torch.equal(times.grid_of(VarianceExploding(), 4), times.karras_grid(4))


def test_rescaled_guidance_has_the_conditional_deviation():
    conditional, guided = draw(0, 3, 50), 5 * draw(1, 3, 50)
    torch.testing.assert_close(rescaled(guided, conditional, 1.0).std(1), conditional.std(1))
    torch.testing.assert_close(rescaled(guided, conditional, 0.0), guided)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VariancePreserving(steps=0), "steps = 0"),
        (lambda: VarianceExploding(smallest=0), "smallest = 0"),
        (lambda: Objective(predicts="residual"), "residual"),
        (lambda: Objective(path=EXPLODING, data_std=0.0), "data_std = 0"),
        (lambda: times.flow_grid(0), "steps = 0"),
        (lambda: times.step_grid(1001), "steps = 1001"),
        (lambda: times.LogitNormalTimes(std=0), "std = 0"),
        (lambda: guide(best_guess(FLOW), best_guess(FLOW), -1.0), "guidance = -1"),
        (lambda: guide(best_guess(FLOW), best_guess(FLOW), 2.0, rescale=2), "rescale = 2"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(make, words):
    with pytest.raises(UserError, match=words):
        make()
