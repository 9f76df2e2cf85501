"""Random-weight parity with diffusers' DiTTransformer2DModel, both ways: outputs to 1e-5, gradients to 1e-4."""

import dataclasses

import pytest
import torch
from diffusers import DiTTransformer2DModel

from maquette.core.errors import UserError
from maquette.video import checkpoints
from maquette.video.dit import DiT, DiTConfig

pytestmark = pytest.mark.against("diffusers")
torch.set_num_threads(1)

SIDE = 8
SMALL = DiTConfig(
    width=24,
    layers=2,
    heads=3,
    channels=4,
    out_channels=8,
    classes=7,
    positions="sincos",
    mlp_norm_eps=1e-5,
    frequency_shift=1,
)
CASES = {
    "small": SMALL,
    "one-layer": dataclasses.replace(SMALL, layers=1, heads=2),
    "patch-4": dataclasses.replace(SMALL, patch=(1, 4, 4), out_channels=4, channels=3),
    "deep": dataclasses.replace(SMALL, layers=5, width=32, heads=4, mlp_norm_eps=1e-6),
}


def randomise(model, seed=0):
    """Every parameter random, also those that start at zero; blocks share the embeddings that DiT has once."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0.0, 0.3 if p.ndim == 1 else p[0].numel() ** -0.5, generator=generator)
        if isinstance(model, DiTTransformer2DModel):
            first = model.transformer_blocks[0].norm1.emb.state_dict()
            for block in model.transformer_blocks[1:]:
                block.norm1.emb.load_state_dict(first)
    return model.eval()


def a_batch(config):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(3, config.channels, SIDE, SIDE, generator=generator)
    return x, torch.tensor([999, 3, 480]), torch.tensor([0, config.classes, 2])


def of_ours(model, batch):
    x, time, label = batch
    return model(x[:, :, None], time.float(), label)[:, :, 0]


def of_theirs(model, batch):
    x, time, label = batch
    return model(x, timestep=time, class_labels=label).sample


def relative(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max())


def assert_same_model(ours, theirs, config):
    """Outputs, and the gradient of every parameter; theirs of the repeated embeddings add up to ours."""
    batch = a_batch(config)
    mine, other = of_ours(ours, batch), of_theirs(theirs, batch)
    assert relative(mine, other) <= 1e-5
    weights = torch.randn(other.shape, generator=torch.Generator().manual_seed(1))
    (mine * weights).sum().backward()
    (other * weights).sum().backward()
    gradients = DiT(config)
    with torch.no_grad():
        for parameter, source in zip(gradients.parameters(), ours.parameters(), strict=True):
            parameter.copy_(source.grad)
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    for name in list(expected):
        if ".0.norm1.emb." in name:
            others = [expected[name.replace(".0.", f".{i}.", 1)] for i in range(1, config.layers)]
            expected[name] = expected[name] + sum(others)
    layout = checkpoints.to_layout(gradients)
    assert layout.keys() == expected.keys()
    for name, gradient in expected.items():
        if ".norm1.emb." in name and ".0.norm1" not in name:
            continue
        if name.endswith("attn1.to_k.bias"):  # a shift of every key moves no softmax: both are 0 but for rounding
            assert max(layout[name].norm(), gradient.norm()) < 1e-4 * expected[name.replace("_k", "_q")].norm()
            continue
        error = float((layout[name] - gradient).norm() / gradient.norm())
        assert error <= 1e-4, f"{name}: {error}"


@pytest.mark.parametrize("name", CASES)
def test_diffusers_loads_what_we_save(tmp_path, name):
    ours = randomise(DiT(CASES[name]))
    checkpoints.save(ours, tmp_path, side=SIDE)
    theirs = DiTTransformer2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    assert_same_model(ours, theirs, CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_we_load_what_diffusers_saves(tmp_path, name):
    config = CASES[name]
    raw = checkpoints.config_to_json(config, SIDE)
    theirs = randomise(DiTTransformer2DModel(**{k: v for k, v in raw.items() if not k.startswith("_")}))
    theirs.save_pretrained(tmp_path)
    ours = checkpoints.load(tmp_path).eval()
    assert ours.config == config
    assert_same_model(ours, theirs, config)


def test_one_changed_weight_is_seen_wherever_it_is(tmp_path):
    ours = randomise(DiT(SMALL))
    checkpoints.save(ours, tmp_path, side=SIDE)
    theirs = DiTTransformer2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    batch = a_batch(SMALL)
    with torch.no_grad():
        mine = of_ours(ours, batch)
        for name, parameter in theirs.named_parameters():
            place = (2,) * parameter.ndim if parameter.ndim < 4 else (2, 1, 1, 1)
            kept = parameter[place].clone()
            parameter[place] += 0.05
            changed = relative(mine, of_theirs(theirs, batch))
            parameter[place] = kept
            assert changed > 1e-5 or name.endswith("attn1.to_k.bias"), name
        assert relative(mine, of_theirs(theirs, batch)) <= 1e-5


@pytest.mark.parametrize(
    "changes", [{"mlp_norm_eps": 1e-2}, {"frequency_shift": 0}, {"attention_norm_eps": 1e-2}, {"heads": 2}], ids=str
)
def test_one_changed_number_of_the_config_is_seen(tmp_path, changes):
    ours = randomise(DiT(SMALL))
    checkpoints.save(ours, tmp_path, side=SIDE)
    theirs = DiTTransformer2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    other = DiT(dataclasses.replace(SMALL, **changes))
    other.load_state_dict(ours.state_dict())
    batch = a_batch(SMALL)
    with torch.no_grad():
        assert relative(of_ours(other, batch), of_theirs(theirs, batch)) > 1e-4


def test_blocks_that_differ_in_what_dit_has_once_are_refused(tmp_path):
    raw = checkpoints.config_to_json(SMALL, SIDE)
    theirs = DiTTransformer2DModel(**{k: v for k, v in raw.items() if not k.startswith("_")})
    theirs.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="not the same in every block"):
        checkpoints.load(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"positions": "rope"}, {"conditioning": "adaLN"}, {"classes": 0}, {"frequency_shift": 0}], ids=str
)
def test_a_model_without_a_place_in_the_layout_is_refused(tmp_path, changes):
    with pytest.raises(UserError, match="diffusers' DiT"):
        checkpoints.save(DiT(dataclasses.replace(SMALL, **changes)), tmp_path)
    assert not list(tmp_path.iterdir())
