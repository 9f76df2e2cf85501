"""The causal autoencoder: shapes, causality, wavelets, tiles, its distribution, and that it learns."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from maquette.core.errors import UserError
from maquette.core.seeds import torch_generator
from maquette.nn.causal import CausalConv, enlarge, haar, inverse_haar, repeat_first
from maquette.train.loop import TrainConfig, train
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig, Posterior, count_pixels, reconstruction_loss
from maquette.video.tiling import decode_tiled, encode_tiled

torch.set_num_threads(1)

SMALL = AutoencoderConfig(width=4, latent=3, space=4, time=2)
SHAPES = [SMALL, dataclasses.replace(SMALL, wavelet=1)]
SHAPES += [dataclasses.replace(SMALL, space=s, time=t) for s, t in ((1, 1), (1, 2), (2, 1), (8, 8), (2, 8), (8, 1))]
SHAPES += [dataclasses.replace(SMALL, space=s, time=t, wavelet=1) for s, t in ((2, 1), (2, 2), (8, 4), (2, 4))]
SHAPES += [
    dataclasses.replace(SMALL, **one) for one in ({"wavelet": 2, "time": 4}, {"wavelet": 2, "seen": 1}, {"seen": 1})
]


def name(config):
    return f"{config.space}x{config.time}-haar{config.wavelet}-seen{config.seen}"


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_autoencoder(config, seed=0):
    """Every weight of the size that matters, so that all a latent could depend on it does depend on."""
    model = Autoencoder(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0.2 if p.ndim == 1 else 0.0, 0.3 if p.ndim == 1 else p[0].numel() ** -0.5, generator=generator)
        model.mean.copy_(draw(config.latent))
        model.std.copy_(draw(config.latent).exp())
    return model.eval()


@pytest.mark.parametrize("config", SHAPES, ids=name)
def test_shapes_there_and_back(config):
    model = random_autoencoder(config)
    for frames in (1, 1 + 2 * config.time):
        x = draw(2, 3, frames, 16, 8)
        with torch.no_grad():
            latents = model.encode(x)
            assert latents.shape[1:] == config.latent_shape(frames, 16, 8)
            assert latents.shape[2:] == (1 + (frames - 1) // config.time, 16 // config.space, 8 // config.space)
            assert model.decode(latents).shape == x.shape


@pytest.mark.parametrize("config", SHAPES, ids=name)
def test_no_latent_sees_a_later_frame_so_that_a_clip_may_have_any_length(config):
    model, x = random_autoencoder(config), draw(1, 3, 1 + 4 * config.time, 8, 8)
    with torch.no_grad():
        latents = model.encode(x)
        clip = model.decode(latents)
        for n in (0, 2):
            frames = 1 + n * config.time
            torch.testing.assert_close(model.encode(x[:, :, :frames]), latents[:, :, : n + 1], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(model.decode(latents[:, :, : n + 1]), clip[:, :, :frames], rtol=1e-4, atol=1e-4)
        changed = x.clone()
        changed[:, :, 1 + 2 * config.time :] += 1
        assert not torch.allclose(model.encode(changed)[:, :, 3:], latents[:, :, 3:], atol=1e-3)


@pytest.mark.parametrize("config", [*SHAPES[:4], *SHAPES[-4:]], ids=name)
def test_tiles_give_what_one_pass_gives(config):
    model = random_autoencoder(config)
    x = draw(1, 3, 1 + 9 * config.time, 20 * config.space, 2 * config.space)
    with torch.no_grad():
        latents = model.encode(x)
        clip = model.decode(latents)
        for tile in ((4, 5, 2), (100, 7, 100)):
            torch.testing.assert_close(encode_tiled(model, x, tile), latents, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(decode_tiled(model, latents, tile), clip, rtol=1e-4, atol=1e-4)


def test_a_narrower_halo_would_be_seen(monkeypatch):
    model, x = random_autoencoder(SMALL), draw(1, 3, 19, 88, 12)
    monkeypatch.setattr(AutoencoderConfig, "halo", (1, 1))
    with torch.no_grad():
        assert not torch.allclose(encode_tiled(model, x, (4, 5, 2)), model.encode(x), atol=1e-2)


@pytest.mark.parametrize("time", [False, True])
def test_haar_keeps_energy_and_comes_back(time):
    x = draw(2, 3, 5, 4, 6)
    bands = haar(x, time=time)
    assert bands.shape == (2, 24 if time else 12, 3 if time else 5, 2, 3)
    torch.testing.assert_close(inverse_haar(bands, time=time), x)
    seen = repeat_first(x, 1) if time else x
    torch.testing.assert_close(bands.square().sum(), seen.square().sum())
    mean = F.avg_pool3d(seen, (2 if time else 1, 2, 2)) * (8**0.5 if time else 2)
    torch.testing.assert_close(bands[:, :3], mean)


def test_a_flat_clip_has_one_band():
    bands = haar(torch.ones(1, 1, 3, 4, 4), time=True)
    assert bands[:, 1:].abs().max() < 1e-6
    torch.testing.assert_close(bands[:, 0], torch.full((1, 2, 2, 2), 8**0.5))


def test_causal_convolution_is_the_sum_written_out():
    conv, x = CausalConv(2, 3), draw(1, 2, 4, 5, 5)
    y = conv(x)
    before = torch.stack([x[:, :, max(t, 0)] for t in range(-2, 4)], 2)
    for t in range(4):
        patch = before[0, :, t : t + 3, 1:4, 2:5]
        expected = (conv.weight * patch).sum((1, 2, 3, 4)) + conv.bias
        torch.testing.assert_close(y[0, :, t, 2, 3], expected)


def test_enlarging_keeps_the_first_frame_single():
    x = torch.arange(3.0).reshape(1, 1, 3, 1, 1)
    assert enlarge(x, 2, 1).flatten().tolist() == [0, 1, 1, 2, 2]
    assert enlarge(x, 4, 2)[0, 0, :, 1, 1].tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_the_divergence_is_that_of_normals_and_a_draw_follows_them():
    mean, log_variance = torch.tensor([0.3, -2.0]), torch.tensor([-1.0, 0.5])
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    posterior = Posterior(*(v.reshape(1, 2, 1, 1, 1) for v in (mean, log_variance)))
    torch.testing.assert_close(posterior.divergence().flatten(), expected)
    many = Posterior(*(v.expand(40_000, 2, 1, 1, 1) for v in posterior)).sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(many.mean((0, 2, 3, 4)), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(many.std((0, 2, 3, 4)), (log_variance / 2).exp(), atol=0.02, rtol=0)


def moving_squares(step):
    """Clips of a square that moves; the same for the same step."""
    generator = torch_generator(0, "squares", step)
    clips = torch.full((4, 3, 5, 16, 16), -1.0)
    for clip in clips:
        row, column, colour = (int(torch.randint(n, (), generator=generator)) for n in (8, 4, 3))
        for t in range(5):
            clip[colour, t, row : row + 6, column + t : column + t + 6] = 1.0
    return {"clips": clips}


def test_it_learns_and_its_latents_are_of_order_one():
    config = AutoencoderConfig(width=8, latent=4, space=4, time=2)
    model = Autoencoder(config).initialise(torch.Generator().manual_seed(0))
    held_out = moving_squares(10**6)["clips"]

    def error(model):
        with torch.no_grad():
            return {"l1": float((model.decode(model.encode(held_out)) - held_out).abs().mean())}

    before = error(model)["l1"]
    run = TrainConfig(
        steps=40, optimizer=OptimizerConfig(lr=5e-3, weight_decay=0.0), schedule=Schedule(warmup=5), precision="fp32"
    )
    trained = train(model, reconstruction_loss, count_pixels, moving_squares, run, evaluate=error)
    assert trained.final["l1"] < 0.4 * before
    model.settle(moving_squares(5)["clips"])
    latents = model.encode(held_out).detach()
    assert 0.5 < float(latents.std()) < 2
    assert abs(float(latents.mean())) < 0.5
    assert error(model)["l1"] == pytest.approx(trained.final["l1"], rel=1e-3), "settling changes no picture"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dataclasses.replace(SMALL, space=3), "space = 3"),
        (lambda: dataclasses.replace(SMALL, time=16), "time = 16"),
        (lambda: dataclasses.replace(SMALL, blocks=0), "blocks = 0"),
        (lambda: dataclasses.replace(SMALL, wavelet=3), "wavelet = 3 of an autoencoder that halves 2 times"),
        (lambda: SMALL.latent_shape(4, 8, 8), r"4 frames.* give 3 or 5"),
        (lambda: SMALL.latent_shape(0, 8, 8), "0 frames"),
        (lambda: SMALL.latent_shape(5, 6, 8), r"8 × 6 pixels.* multiples of 4"),
        (lambda: Autoencoder(SMALL).encode(torch.zeros(1, 3, 2, 8, 8)), "2 frames"),
        (lambda: encode_tiled(Autoencoder(SMALL), torch.zeros(1, 3, 1, 8, 8), (1, 0, 1)), "tile = "),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, words):
    with pytest.raises(UserError, match=words):
        make()
