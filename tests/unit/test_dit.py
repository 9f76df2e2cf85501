"""DiT: the paper's sizes and costs, its four conditionings, words, places, packing. Parity is in tests/parity."""

import dataclasses
import itertools

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from maquette.core.errors import UserError
from maquette.nn.modulation import SteeredConfig, SteeredStream, Steering, modulate
from maquette.nn.packing import beside, clip_mask, pack
from maquette.nn.patches import grid_of, patchify, unpatchify
from maquette.nn.places import axial_angles, grid_places, image_embedding, sinusoid, split_axes
from maquette.nn.rope import frequencies, rotary_angles, rotate
from maquette.video.conditions import Text
from maquette.video.dit import SIZES, DiT, DiTConfig

torch.set_num_threads(1)

CONDITIONINGS = ("in-context", "cross-attention", "adaLN", "adaLN-Zero")
READINGS = ("pooled", "cross-attention", "joint")
SMALL = DiTConfig(channels=3, patch=(1, 2, 2), width=24, layers=2, heads=2, classes=5)
TOLD = dataclasses.replace(SMALL, classes=0, text_width=10)
EVERY = [dataclasses.replace(SMALL, conditioning=c) for c in CONDITIONINGS]
EVERY += [dataclasses.replace(TOLD, conditioning=c, reading=r) for c, r in itertools.product(CONDITIONINGS, READINGS)]


def name(config):
    return f"{config.conditioning}-{config.reading if config.text_width else 'label'}"


def random_dit(config, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = DiT(config)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0.0, 0.3 if p.ndim == 1 else p.shape[1] ** -0.5, generator=generator)
    return model.eval()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditions(config, rows, seed=0, words=4):
    """Labels, or texts of which the second is two words shorter."""
    if config.classes:
        return {"label": torch.arange(rows) % (config.classes + 1)}
    clip = torch.zeros(rows, words, dtype=torch.long)
    clip[1:, words - 2 :] = -1
    return {"text": Text(draw(rows, words, config.text_width, seed=seed), clip)}


# ---- the paper's numbers

PAPER = {
    "s": (33, {8: 0.36, 4: 1.41, 2: 6.06}),
    "b": (130, {8: 1.42, 4: 5.56, 2: 23.01}),
    "l": (458, {8: 5.01, 4: 19.70, 2: 80.71}),
    "xl": (675, {8: 7.39, 4: 29.05, 2: 118.64}),
}
"""Millions of parameters, and Gflops by patch on 32 × 32 latents (Table 4), a multiply-add counted once."""


@pytest.mark.parametrize("size", PAPER)
@pytest.mark.parametrize("patch", [2, 4, 8])
def test_sizes_are_the_papers(size, patch):
    config = SIZES[f"dit-{size}/{patch}"]
    with torch.device("meta"):
        model = DiT(config)
    millions, gflops = PAPER[size]
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=1)
    assert config.forward_flops((32 // patch) ** 2) / 2e9 == pytest.approx(gflops[patch], rel=2e-3, abs=0.005)


@pytest.mark.parametrize(
    ("conditioning", "gflops"),
    [("in-context", 119.37), ("cross-attention", 137.62), ("adaLN", 118.56), ("adaLN-Zero", 118.64)],
)
def test_conditionings_cost_what_the_paper_says(conditioning, gflops):
    """Section 5.1, XL/2."""
    config = dataclasses.replace(SIZES["dit-xl/2"], conditioning=conditioning)
    assert config.forward_flops(256) / 2e9 == pytest.approx(gflops, abs=0.02)


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_counted_flops_are_those_of_the_products(config):
    model, told = random_dit(config).double(), conditions(config, 1)
    if "text" in told:
        told = {"text": Text(told["text"].features.double(), told["text"].clip)}
    x = draw(1, 3, 2, 4, 6).double()
    wave_dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            _with_double_waves(model)(x, torch.ones(1), **told)
    finally:
        torch.set_default_dtype(wave_dtype)
    expected = config.forward_flops(12, 4)
    if config.reading == "joint" and config.text_width:  # the last block writes nothing to words
        saved = 2 * 4 * config.width**2 * (1 + 2 * config.mlp_ratio)
        saved += 2 * 4 * config.width**2 if config.conditioning == "adaLN-Zero" else 0
        saved += 2 * 2 * config.width**2 if config.conditioning == "adaLN" else 0
        expected -= saved
    counted = counter.get_total_flops() - _pooling(config)
    assert counted == pytest.approx(expected, rel=1e-12)


def _pooling(config):
    """The mean over words is a product by its form only."""
    return 2 * 4 * config.text_width if config.text_width else 0


def _with_double_waves(model):
    """sinusoid() gives float32; this test's model is float64, because the counter does not know oneDNN's product."""
    model.conditioner.time_in.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    return model


# ---- what every conditioning must do


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_time_and_condition_matter_and_clips_do_not_see_one_another(config):
    model, x, time = random_dit(config), draw(2, 3, 2, 4, 6), torch.tensor([100.0, 600.0])
    told = conditions(config, 2)
    with torch.no_grad():
        y = model(x, time, **told)
        later = model(x, time + torch.tensor([0.0, 50.0]), **told)
        other = conditions(config, 2, seed=1)
        if "label" in told:
            other["label"] = (told["label"] + torch.tensor([0, 1])) % 6
        else:
            features = told["text"].features.clone()
            features[1] = other["text"].features[1]
            other["text"] = Text(features, told["text"].clip)
        asked = model(x, time, **other)
    assert y.shape == x.shape
    for changed in (later, asked):
        assert torch.allclose(changed[0], y[0], atol=1e-5)
        assert not torch.allclose(changed[1], y[1], atol=1e-3)


@pytest.mark.parametrize("config", [c for c in EVERY if c.text_width], ids=name)
def test_padding_is_not_read_and_the_order_of_words_is_the_encoders(config):
    model, x, time = random_dit(config), draw(2, 3, 1, 4, 4), torch.tensor([100.0, 600.0])
    text = conditions(config, 2)["text"]
    noisy = text.features.clone()
    noisy[text.clip < 0] = 100.0
    with torch.no_grad():
        y = model(x, time, text=text)
        torch.testing.assert_close(model(x, time, text=Text(noisy, text.clip)), y)
        shorter = model(x[1:], time[1:], text=Text(text.features[1:, :2], text.clip[1:, :2]))
    torch.testing.assert_close(shorter, y[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_every_parameter_learns(config):
    model, told = random_dit(config).train(), conditions(config, 2)
    (model(draw(2, 3, 2, 4, 4), torch.tensor([1.0, 500.0]), **told) ** 2).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_a_new_model_predicts_nothing_and_with_adaln_zero_its_blocks_do_nothing(config):
    model, told = DiT(config).initialise(torch.Generator().manual_seed(0)), conditions(config, 2)
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        y = model(draw(2, 3, 2, 4, 4), torch.tensor([1.0, 500.0]), **told)
    assert (y == 0).all()
    identity = config.conditioning == "adaLN-Zero"
    assert torch.equal(seen[0][:, -8:], seen[1]) == identity
    twin = DiT(config).initialise(torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_packed_clips_are_as_if_each_stood_alone(config):
    """Other sizes, aspects and durations in one row, an image among them."""
    model = random_dit(config)
    shapes = [(1, 4, 4), (3, 4, 2), (2, 2, 6), (1, 8, 2)]
    clips = [draw(3, *shape, seed=i) for i, shape in enumerate(shapes)]
    times = torch.tensor([10.0, 300.0, 999.0, 500.0])
    words = [draw(n, 10, seed=9 + n) for n in (1, 4, 2, 3)]
    packed, where = pack(clips, config.patch, 14)
    rows, most = packed.patches.shape[0], 1 + max(number for *_, number in where)
    time, label = torch.zeros(rows, most), torch.zeros(rows, most, dtype=torch.long)
    features, speaks_of = torch.zeros(rows, 8, 10), torch.full((rows, 8), -1)
    for i, (row, _, number) in enumerate(where):
        time[row, number], label[row, number] = times[i], i
        begin = int((speaks_of[row] >= 0).sum())
        features[row, begin : begin + len(words[i])] = words[i]
        speaks_of[row, begin : begin + len(words[i])] = number
    told = {"label": label} if config.classes else {"text": Text(features, speaks_of)}
    with torch.no_grad():
        y = model.over_packed(packed, time, **told)
        for i, (clip, (row, tokens, _)) in enumerate(zip(clips, where, strict=True)):
            told = {"label": torch.tensor([i])}
            if not config.classes:
                told = {"text": Text(words[i][None], torch.zeros(1, len(words[i]), dtype=torch.long))}
            alone = model(clip[None], times[i : i + 1], **told)
            together = unpatchify(y[row : row + 1, tokens], config.patch, grid_of(clip, config.patch))
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [c for c in EVERY if c.steered], ids=name)
def test_every_frame_may_have_a_time_of_its_own(config):
    model, x, told = random_dit(config), draw(2, 3, 3, 4, 4), conditions(config, 2)
    with torch.no_grad():
        same = model(x, torch.full((2, 3), 400.0), **told)
        torch.testing.assert_close(same, model(x, torch.full((2,), 400.0), **told), rtol=1e-4, atol=1e-5)
        first_clean = model(x, torch.tensor([[0.0, 400.0, 400.0]] * 2), **told)
    assert not torch.allclose(first_clean, same, atol=1e-3)


def test_times_of_frames_need_adaln_and_as_many_frames():
    x = draw(1, 3, 2, 4, 4)
    with pytest.raises(ValueError, match="3 times for 2 frames"):
        random_dit(SMALL)(x, torch.zeros(1, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="without adaLN"):
        random_dit(EVERY[0])(x, torch.zeros(1, 2), torch.tensor([0]))


def test_a_model_takes_the_conditions_it_was_made_for():
    x, time = draw(1, 3, 1, 4, 4), torch.zeros(1)
    with pytest.raises(ValueError, match="exactly where"):
        random_dit(SMALL)(x, time)
    with pytest.raises(ValueError, match="exactly where"):
        random_dit(TOLD)(x, time, torch.tensor([0]))


@pytest.mark.parametrize("config", EVERY[3:5] + EVERY[-3:], ids=name)
def test_autocast_is_the_same_to_its_precision(config):
    model, told = random_dit(dataclasses.replace(config, qk_norm=True)), conditions(config, 2)
    x, time = draw(2, 3, 2, 4, 4), torch.tensor([1.0, 500.0])
    with torch.no_grad():
        exact = model(x, time, **told)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x, time, **told)
    assert float((rough.float() - exact).norm() / exact.norm()) < 0.03


# ---- parts


def test_patches_come_back_as_they_were_and_lie_where_their_places_say():
    x, patch = draw(2, 3, 4, 6, 8), (2, 3, 2)
    patches, grid = patchify(x, patch), grid_of(x, patch)
    assert grid == (2, 2, 4)
    assert torch.equal(unpatchify(patches, patch, grid), x)
    for token, (t, h, w) in enumerate(grid_places(*grid).tolist()):
        piece = x[:, :, 2 * t : 2 * t + 2, 3 * h : 3 * h + 3, 2 * w : 2 * w + 2]
        assert torch.equal(patches[:, token], piece.flatten(1))


def test_a_clip_that_patches_do_not_divide_is_refused():
    with pytest.raises(UserError, match=r"3 frames of 4 × 5 .* 1 × 2 × 2"):
        grid_of(torch.zeros(1, 3, 4, 5), (1, 2, 2))


def test_packing_loses_no_patch_and_refuses_what_is_too_long():
    clips = [draw(2, t, 2 * h, 2 * w, seed=t) for t, h, w in ((1, 2, 2), (2, 1, 2), (3, 1, 1), (1, 1, 1))]
    packed, where = pack(clips, (1, 2, 2), 8)
    assert packed.patches.shape[:2] == (2, 8)
    assert int((packed.clip >= 0).sum()) == 4 + 4 + 3 + 1
    for clip, (row, tokens, number) in zip(clips, where, strict=True):
        assert torch.equal(packed.patches[row, tokens], patchify(clip[None], (1, 2, 2))[0])
        assert torch.equal(packed.places[row, tokens], grid_places(*grid_of(clip, (1, 2, 2))))
        assert (packed.clip[row, tokens] == number).all()
    with pytest.raises(UserError, match="4 patches does not fit a row of 3"):
        pack(clips, (1, 2, 2), 3)


def test_tokens_see_their_own_clip_and_padding_is_seen_by_none():
    one, two = (torch.zeros(1, 2, 4), torch.tensor([[0, 1]])), (torch.zeros(1, 3, 4), None)
    both = beside(one, two)
    assert both[0].shape == (1, 5, 4)
    assert both[1].tolist() == [[0, 1, 0, 0, 0]]
    keys = (torch.zeros(1, 3, 4), torch.tensor([[0, 1, -1]]))
    assert clip_mask(both, keys)[0, 0].tolist() == [[q == 0, q == 1, False] for q in (0, 1, 0, 0, 0)]
    assert clip_mask(two, two) is None


def test_rotary_axes_turn_their_own_channels():
    places = torch.tensor([[[3, 5, 2]]])
    dims = split_axes(32)
    assert dims == (12, 10, 10)
    assert sum(split_axes(64)) == 64
    cos, sin = axial_angles(places, dims, 100.0)
    x = draw(1, 1, 2, 32)
    turned = rotate(x, cos, sin, "interleaved")
    parts = x.split(dims, -1)
    alone = [
        rotate(part, *rotary_angles(places[..., i], frequencies(dim, 100.0)), "interleaved")
        for i, (part, dim) in enumerate(zip(parts, dims, strict=True))
    ]
    torch.testing.assert_close(turned, torch.cat(alone, -1))


def test_scores_depend_on_how_far_apart_places_are_on_each_axis():
    q, k = draw(1, 1, 1, 24), draw(1, 1, 1, 24, seed=1)

    def score(a, b):
        turned = [rotate(x, *axial_angles(torch.tensor([[at]]), split_axes(24), 50.0)) for x, at in ((q, a), (k, b))]
        return float((turned[0] * turned[1]).sum())

    assert score([1, 2, 3], [4, 4, 4]) == pytest.approx(score([6, 0, 9], [9, 2, 10]), abs=1e-4)
    assert score([1, 2, 3], [4, 4, 4]) != pytest.approx(score([1, 2, 3], [4, 4, 5]), abs=1e-2)


def test_sinusoids_and_the_image_table():
    t = torch.tensor([0.0, 7.0])
    wave = sinusoid(t, 8, cosine_first=True)
    for i in range(4):
        assert float(wave[1, i]) == pytest.approx(float(torch.cos(torch.tensor(7.0 * 10_000 ** (-i / 4)))), abs=1e-6)
        assert float(wave[1, 4 + i]) == pytest.approx(
            float(torch.sin(torch.tensor(7.0 * 10_000 ** (-i / 4)))), abs=1e-6
        )
    table = image_embedding(grid_places(1, 2, 3), 16)
    assert torch.equal(table[1, 8:], table[0, 8:]), "the second half tells the row"
    assert torch.equal(table[3, :8], table[0, :8]), "the first half tells the column"


def test_steering():
    x, vectors = draw(2, 3, 4), [draw(2, 1, 4, seed=i) for i in (1, 2)]
    torch.testing.assert_close(modulate(x, Steering(*vectors)), x * (1 + vectors[1]) + vectors[0])
    assert modulate(x, Steering()) is x
    config = SteeredConfig(width=8, hidden=16, heads=2, head_dim=4, condition=6)
    counts = {6: config, 4: dataclasses.replace(config, gated=False), 2: dataclasses.replace(config, last=True)}
    for vectors, one in counts.items():
        assert SteeredStream(one).modulation.weight.shape == (8 * vectors, 6)


def test_a_table_of_places_in_images_knows_no_time():
    model = random_dit(dataclasses.replace(SMALL, positions="sincos"))
    model(draw(1, 3, 1, 4, 4), torch.zeros(1), torch.tensor([0]))
    with pytest.raises(UserError, match="knows no time"):
        model(draw(1, 3, 2, 4, 4), torch.zeros(1), torch.tensor([0]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 0}, "layers = 0"),
        ({"patch": (1, 0, 2)}, "patch = "),
        ({"heads": 5}, "heads = 5"),
        ({"width": 6, "heads": 2}, "head_dim = 3"),
        ({"width": 10, "heads": 5, "positions": "sincos"}, "width = 10"),
        ({"reading": "joint"}, "reading = 'joint'"),
    ],
    ids=str,
)
def test_a_config_out_of_range_is_refused_by_name(changes, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(SMALL, **changes)
