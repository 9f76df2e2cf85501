"""Our samplers walk as diffusers' schedulers do, given the same network, noise and times: to 1e-5."""

import diffusers
import pytest
import torch

from maquette.generative import samplers, times
from maquette.generative.objectives import Objective
from maquette.generative.paths import VarianceExploding, VariancePreserving

pytestmark = pytest.mark.against("diffusers")
torch.set_num_threads(1)

STEPS = 10
CHAIN = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
SHAPE = (3, 4, 5, 5)
WEIGHT = torch.randn(4, 4, generator=torch.Generator().manual_seed(2)) / 2


def network(x, label):
    """Any smooth function of x and the label does."""
    told = label.float().reshape(-1, 1, 1, 1) / 1000
    return torch.tanh(torch.einsum("bchw,cd->bdhw", x, WEIGHT) + told) * (1.2 - told)


def noise(seed=0):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def walk(scheduler, x, told=None, **keywords):
    """Their loop: scale, ask, step."""
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        label = (t if told is None else told(t)).expand(len(x))
        x = scheduler.step(network(scaled, label), t, x, **keywords).prev_sample
    return x


def ours(sampler, objective, grid, x, **keywords):
    return sampler(objective.denoiser(network), x, grid, objective.path, **keywords)


def assert_near(a, b):
    assert float((a - b).abs().max() / b.abs().max()) <= 1e-5


PREDICTIONS = {"noise": "epsilon", "velocity": "v_prediction", "data": "sample"}


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize(("betas", "theirs_betas"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim(spacing, predicts, betas, theirs_betas, eta):
    scheduler = diffusers.DDIMScheduler(
        **CHAIN | {"beta_schedule": theirs_betas},
        clip_sample=False,
        prediction_type=PREDICTIONS[predicts],
        timestep_spacing=spacing,
    )
    scheduler.set_timesteps(STEPS)
    scheduler.alphas_cumprod = (1 - scheduler.betas.double()).cumprod(0)  # theirs rounds 1 − ᾱ to float32
    grid = times.step_grid(STEPS, spacing=spacing)
    assert (grid[:-1] - 1).tolist() == scheduler.timesteps.tolist()
    objective = Objective(path=VariancePreserving(betas=betas), predicts=predicts)
    mine = ours(samplers.ddim, objective, grid, noise(), eta=eta, generator=torch.Generator().manual_seed(5))
    assert_near(mine, walk(scheduler, noise(), eta=eta, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("predicts", PREDICTIONS)
def test_ancestral_is_ddpms_own_sampling(predicts):
    scheduler = diffusers.DDPMScheduler(
        **CHAIN, clip_sample=False, prediction_type=PREDICTIONS[predicts], timestep_spacing="trailing"
    )
    scheduler.set_timesteps(STEPS)
    objective = Objective(path=VariancePreserving(), predicts=predicts)
    mine = ours(
        samplers.ancestral,
        objective,
        times.step_grid(STEPS),
        noise(),
        generator=torch.Generator().manual_seed(5),
    )
    assert_near(mine, walk(scheduler, noise(), generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("euler", diffusers.EulerDiscreteScheduler),
        ("ancestral", diffusers.EulerAncestralDiscreteScheduler),
        ("heun", diffusers.HeunDiscreteScheduler),
    ],
)
@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_solvers_of_the_chain_in_karras_coordinates(name, scheduler, predicts):
    """Theirs keep x_t/α; ours comes back to x_t after every step."""
    scheduler = scheduler(**CHAIN, prediction_type=PREDICTIONS[predicts], timestep_spacing="trailing")
    scheduler.set_timesteps(STEPS)
    objective = Objective(path=VariancePreserving(), predicts=predicts)
    drawn = {"generator": torch.Generator().manual_seed(5)} if name == "ancestral" else {}
    first = float(objective.path.alpha(torch.tensor([1000.0], dtype=torch.float64)))
    mine = ours(samplers.SAMPLERS[name], objective, times.step_grid(STEPS), noise(), **drawn)
    drawn = {"generator": torch.Generator().manual_seed(5)} if name == "ancestral" else {}
    assert_near(mine, walk(scheduler, noise() / first, **drawn))


@pytest.mark.parametrize("predicts", PREDICTIONS)
def test_dpm_solver_on_the_chain(predicts):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **CHAIN, prediction_type=PREDICTIONS[predicts], timestep_spacing="trailing", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(STEPS)
    grid = torch.cat((scheduler.timesteps.double() + 1, torch.zeros(1, dtype=torch.float64)))
    objective = Objective(path=VariancePreserving(), predicts=predicts)
    assert_near(ours(samplers.dpm_plus_plus_2m, objective, grid, noise()), walk(scheduler, noise()))


@pytest.mark.parametrize("by", [1.0, 3.0])
def test_euler_on_the_flow(by):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=by)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, STEPS + 1)[:-1].tolist())
    grid = times.flow_grid(STEPS, by)
    torch.testing.assert_close(grid.float(), scheduler.sigmas)
    theirs = walk(scheduler, noise())
    for sampler in (samplers.euler, samplers.ddim):
        assert_near(ours(sampler, Objective(), grid, noise()), theirs)


def test_heun_on_the_flow():
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler(shift=2.0)
    scheduler.set_timesteps(STEPS)
    grid = torch.cat((scheduler.sigmas[:1], scheduler.sigmas[1::2])).double()
    assert_near(ours(samplers.heun, Objective(), grid, noise()), walk(scheduler, noise()))


def test_dpm_solver_on_the_flow():
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
    )
    scheduler.set_timesteps(STEPS)
    grid = scheduler.sigmas.double()
    # Theirs rounds the label to a whole step; ours is told the time itself.
    mine = ours(samplers.dpm_plus_plus_2m, Objective(), grid, noise())
    assert_near(mine, walk(scheduler, noise(), told=lambda t: 1000 * scheduler.sigmas[scheduler.step_index or 0]))


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("euler", diffusers.EDMEulerScheduler), ("dpm++2m", diffusers.EDMDPMSolverMultistepScheduler)],
)
def test_edm(name, scheduler):
    scheduler = scheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, final_sigmas_type="zero")
    scheduler.set_timesteps(STEPS)
    objective = Objective(path=VarianceExploding(), predicts="residual")
    grid = times.karras_grid(STEPS)
    torch.testing.assert_close(grid.float(), scheduler.sigmas.float())
    x = 80 * noise()
    assert_near(ours(samplers.SAMPLERS[name], objective, grid, x), walk(scheduler, x))


def test_a_wrong_time_is_seen():
    """The tolerance is not so wide that another grid passes."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, STEPS + 1)[:-1].tolist())
    theirs = walk(scheduler, noise())
    mine = ours(samplers.euler, Objective(), times.flow_grid(STEPS, 3.1), noise())
    assert float((mine - theirs).abs().max() / theirs.abs().max()) > 1e-4
