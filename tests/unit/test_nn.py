"""The parts against their formulas, written out the slow way."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.nn import linear as linears
from maquette.nn.cache import KeyValueCache
from maquette.nn.layers import GatedMLP, RMSNorm
from maquette.nn.linear import Linear
from maquette.nn.masks import blockwise_mask, causal_mask, document_mask, prefix_mask
from maquette.nn.rope import Llama3Scaling, frequencies, rotary_angles, rotate
from maquette.nn.stream import Block, StreamConfig, attend

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# ---- rotary position embedding


def test_frequencies_are_the_papers():
    expected = torch.tensor([10_000.0 ** (-2 * i / 8) for i in range(4)])
    torch.testing.assert_close(frequencies(8, 10_000.0), expected)


def test_llama_3_scaling_slows_long_waves_keeps_short_ones_and_joins_them():
    scaling = Llama3Scaling(factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=64)
    plain, scaled = frequencies(64, 10_000.0), frequencies(64, 10_000.0, scaling)
    wavelength = 2 * math.pi / plain
    short, long = wavelength < 64 / 4, wavelength > 64 / 1
    between = ~short & ~long
    assert short.any()
    assert long.any()
    assert between.any()
    assert torch.equal(scaled[short], plain[short])
    torch.testing.assert_close(scaled[long], plain[long] / 8)
    share = (64 / wavelength[between] - 1) / (4 - 1)
    torch.testing.assert_close(scaled[between], plain[between] * (share + (1 - share) / 8))
    assert (scaled.diff() < 0).all(), "the scaled frequencies must still fall"


def test_the_two_pairings_are_one_rotation_under_a_permutation_of_channels():
    x = torch.randn(2, 5, 3, 8)
    cos, sin = rotary_angles(torch.arange(5), frequencies(8, 100.0))
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # half-wise channel i is interleaved channel 2i
    interleaved = rotate(x, cos, sin, "interleaved")
    torch.testing.assert_close(rotate(x[..., order], cos, sin, "rotate-half"), interleaved[..., order])
    assert not torch.allclose(rotate(x, cos, sin, "rotate-half"), interleaved, atol=0.1)


def test_rotation_is_multiplication_by_a_unit_complex_number():
    x = torch.randn(1, 6, 2, 8, dtype=torch.float64)
    frequency = frequencies(8, 100.0).double()
    turned = rotate(x, *rotary_angles(torch.arange(6), frequency), "interleaved")
    angle = torch.arange(6)[:, None, None] * frequency
    expected = torch.view_as_real(
        torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.polar(torch.ones_like(angle), angle)
    )
    torch.testing.assert_close(turned, expected.flatten(-2), atol=1e-6, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(0, 3000),
    n=st.integers(0, 3000),
    shift=st.integers(0, 3000),
    seed=st.integers(0, 10**6),
    pairing=st.sampled_from(["rotate-half", "interleaved"]),
)
def test_scores_depend_on_the_distance_alone(m, n, shift, seed, pairing):
    q, k = torch.randn(2, 1, 1, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    frequency = frequencies(16, 10_000.0).double()

    def score(i, j):
        turned = [rotate(x, *rotary_angles(torch.tensor([at]), frequency), pairing) for x, at in ((q, i), (k, j))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(score(m, n), score(m + shift, n + shift), atol=1e-9, rtol=0)
    torch.testing.assert_close(score(m, m), (q * k).sum(), atol=1e-9, rtol=0)


def test_positions_may_differ_between_rows():
    x = torch.randn(2, 3, 2, 8)
    positions = torch.tensor([[0, 1, 2], [5, 6, 7]])
    frequency = frequencies(8, 100.0)
    turned = rotate(x, *rotary_angles(positions, frequency))
    for row in range(2):
        torch.testing.assert_close(turned[row], rotate(x[row], *rotary_angles(positions[row], frequency)))


# ---- masks


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (4, 4), (2, 5), (1, 6)])
def test_causal_mask(queries, keys):
    mask = causal_mask(queries, keys)
    assert mask.shape == (queries, keys)
    for i in range(queries):
        for j in range(keys):
            assert bool(mask[i, j]) == (j <= i + keys - queries)


def test_prefix_mask():
    mask = prefix_mask(3, 6)
    for i in range(6):
        for j in range(6):
            assert bool(mask[i, j]) == (j <= i or (i < 3 and j < 3))


def test_blockwise_mask():
    block = torch.tensor([[0, 0, 1, 2, 2], [0, 1, 1, 1, 2]])
    mask = blockwise_mask(block)
    for b in range(2):
        for i in range(5):
            for j in range(5):
                assert bool(mask[b, i, j]) == bool(block[b, j] <= block[b, i])


def test_document_mask():
    document = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 2, 0]])
    mask = document_mask(document)
    assert mask.shape == (2, 1, 5, 5)
    for b in range(2):
        for i in range(5):
            for j in range(5):
                assert bool(mask[b, 0, i, j]) == (j <= i and bool(document[b, i] == document[b, j]))


# ---- attention


def slow_attention(q, k, v, mask):
    """Softmax attention by loops; key-value head h serves the queries h·g … h·g + g − 1."""
    batch, tokens, heads, dim = q.shape
    group = heads // k.shape[2]
    out = torch.empty_like(q)
    for b in range(batch):
        for h in range(heads):
            for i in range(tokens):
                seen = [j for j in range(k.shape[1]) if mask[b, i, j]]
                scores = torch.stack([q[b, i, h] @ k[b, j, h // group] / math.sqrt(dim) for j in seen])
                weights = torch.softmax(scores, 0)
                out[b, i, h] = sum(w * v[b, j, h // group] for w, j in zip(weights, seen, strict=True))
    return out


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_attention_is_softmax_attention_with_grouped_heads(kv_heads):
    q = torch.randn(2, 5, 4, 6)
    k, v = torch.randn(2, 2, 5, kv_heads, 6)
    causal = causal_mask(5, 5).expand(2, 5, 5)
    document = document_mask(torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 2]]))
    torch.testing.assert_close(attend(q, k, v, causal=True), slow_attention(q, k, v, causal))
    torch.testing.assert_close(attend(q, k, v, mask=document), slow_attention(q, k, v, document[:, 0]))
    everything = torch.ones(2, 5, 5, dtype=torch.bool)
    torch.testing.assert_close(attend(q, k, v), slow_attention(q, k, v, everything))


@pytest.mark.parametrize("length", [5, 520])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_attention_in_bfloat16_is_the_same_to_its_precision(length, kv_heads):
    """Short rows and long ones go different ways."""
    q = torch.randn(2, length, 4, 8)
    k, v = torch.randn(2, 2, length, kv_heads, 8)
    document = document_mask(torch.arange(length).expand(2, -1) // (length // 2))
    for options in ({}, {"causal": True}, {"mask": document}, {"mask": causal_mask(length, length)}):
        exact = attend(q, k, v, **options)
        rounded = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), **options)
        assert rounded.dtype == torch.bfloat16
        assert (rounded.float() - exact).abs().max() < 0.05
        with torch.autocast("cpu", torch.bfloat16):
            rounded = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), **options)
        assert (rounded.float() - exact).abs().max() < 0.05


# ---- streams


def _stream(**changes):
    return StreamConfig(**({"width": 16, "hidden": 24, "heads": 4, "kv_heads": 2, "head_dim": 6} | changes))


def _randomise(module):
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(1.0 if p.ndim == 1 else 0.0, 0.3)
    return module


def _two_of(single):
    """A block of two streams that both have the weights of the single one."""
    double = Block(_stream(), _stream())
    for stream in double.streams:
        stream.load_state_dict(single.streams[0].state_dict())
    return double


@pytest.mark.parametrize("mask", [None, causal_mask(7, 7), prefix_mask(3, 7)], ids=["all", "causal", "prefix"])
def test_two_streams_of_the_same_weights_are_one_stream_of_the_tokens_together(mask):
    single = _randomise(Block(_stream()))
    double = _two_of(single)
    x = torch.randn(2, 7, 16)
    cos, sin = rotary_angles(torch.arange(7), frequencies(6, 100.0))
    (together,) = single((x,), ((cos, sin),), mask)
    apart = double((x[:, :3], x[:, 3:]), ((cos[:3], sin[:3]), (cos[3:], sin[3:])), mask)
    torch.testing.assert_close(torch.cat(apart, dim=1), together, atol=1e-5, rtol=1e-5)

    _randomise(double.streams[1].mlp)  # the second expert's own MLP: its tokens change, the first's do not
    first, second = double((x[:, :3], x[:, 3:]), ((cos[:3], sin[:3]), (cos[3:], sin[3:])), mask)
    torch.testing.assert_close(first, apart[0])
    assert not torch.allclose(second, apart[1], atol=1e-2)


def test_streams_attend_to_one_another_as_far_as_the_mask_allows():
    double = _two_of(_randomise(Block(_stream())))
    x, y, other = torch.randn(3, 1, 3, 16)
    seen = double((x, y), (None, None))[0]
    assert not torch.allclose(double((x, other), (None, None))[0], seen, atol=1e-3)
    mask = blockwise_mask(torch.tensor([0, 0, 0, 1, 1, 1]))
    blind = double((x, y), (None, None), mask)[0]
    assert torch.equal(double((x, other), (None, None), mask)[0], blind)


def test_streams_may_have_widths_of_their_own_but_not_heads():
    block = Block(_stream(), _stream(width=8, hidden=12))
    first, second = block((torch.randn(2, 3, 16), torch.randn(2, 4, 8)), (None, None))
    assert first.shape == (2, 3, 16)
    assert second.shape == (2, 4, 8)
    with pytest.raises(ValueError, match="must share heads"):
        Block(_stream(), _stream(kv_heads=4))


# ---- the small layers


def test_rms_norm_is_its_formula():
    norm = _randomise(RMSNorm(12, 1e-2))
    x = torch.randn(3, 5, 12) * 0.1
    expected = x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-2) * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_rms_norm_of_bfloat16_is_taken_in_float32():
    norm = RMSNorm(1024, 1e-5).bfloat16()
    x = (torch.randn(4, 1024) * 30).bfloat16()
    exact = x.float() / torch.sqrt((x.float() ** 2).mean(-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(norm(x).float(), exact, rtol=2**-7, atol=0)  # one rounding to 8 bits


@pytest.mark.parametrize(
    ("gate", "opened"),
    [
        ("SiLU", lambda g: g * torch.sigmoid(g)),
        ("GELU", lambda g: 0.5 * g * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (g + 0.044715 * g**3)))),
    ],
)
def test_a_gated_mlp_is_its_formula(gate, opened):
    mlp = _randomise(GatedMLP(6, 10, gate))
    x = torch.randn(4, 6)
    g, up = x @ mlp.gate_up.weight[:10].T, x @ mlp.gate_up.weight[10:].T
    torch.testing.assert_close(mlp(x), (opened(g) * up) @ mlp.down.weight.T)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6), (2, 0, 6)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_of_several_parts_is_each_part_with_the_same_gradients(bias, shape, dtype):
    fused = _randomise(Linear(6, 4, 2, 3, bias=bias)).to(dtype)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    weight, bias_of = fused.weight.detach().clone().requires_grad_(), fused.bias
    parts = [x @ w.T for w in weight.split(fused.parts)]
    expected = torch.cat(parts, dim=-1) + (0.0 if bias_of is None else bias_of.detach())
    torch.testing.assert_close(fused(x), expected, rtol=1e-5, atol=1e-6)
    onto = torch.randn_like(expected)
    of_x, of_weight = torch.autograd.grad(expected, (x, weight), onto)
    fused(x).backward(onto)
    torch.testing.assert_close(x.grad, of_x, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fused.weight.grad, of_weight, rtol=1e-5, atol=1e-6)
    if bias_of is not None:
        torch.testing.assert_close(bias_of.grad, onto.reshape(-1, 9).sum(0), rtol=1e-5, atol=1e-6)


def test_a_linear_takes_any_strides():
    layer, x = Linear(6, 4), torch.randn(6, 3, 5).permute(2, 1, 0)
    torch.testing.assert_close(layer(x), x.contiguous() @ layer.weight.T)
    layer(x).transpose(0, 1).contiguous().square().sum().backward()
    y = x.reshape(-1, 6) @ layer.weight.detach().T
    torch.testing.assert_close(layer.weight.grad, 2 * y.T @ x.reshape(-1, 6))


def test_a_linear_gives_gradients_only_where_they_are_asked_for():
    layer, x = Linear(6, 4), torch.randn(3, 6)
    layer.weight.requires_grad_(False)
    assert not layer(x).requires_grad
    layer(x.requires_grad_()).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 6))
    assert layer.weight.grad is None


def test_a_linear_under_autocast_is_a_bfloat16_product():
    layer, x = Linear(64, 32), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    expected = x.bfloat16().float() @ layer.weight.bfloat16().float().T
    torch.testing.assert_close(y.float(), expected, rtol=2**-7, atol=1e-2)


# ---- the cache


def test_the_cache_grows_from_the_left_and_moves_on_after_the_last_layer():
    cache = KeyValueCache(layers=2, batch=1, kv_heads=2, capacity=5, head_dim=4)
    keys, values = torch.randn(2, 2, 1, 2, 5, 4)  # keys or values, layer, batch, heads, tokens, dim
    for start, end in ((0, 3), (3, 4), (4, 5)):
        for layer in range(2):
            assert cache.length == start
            new = slice(start, end)
            k, v = cache.extend(layer, keys[layer, :, :, new], values[layer, :, :, new])
            assert torch.equal(k, keys[layer, :, :, :end])
            assert torch.equal(v, values[layer, :, :, :end])
        assert cache.length == end


def test_a_full_cache_says_so_and_stays_as_it_was():
    cache = KeyValueCache(layers=1, batch=1, kv_heads=1, capacity=3, head_dim=2)
    cache.extend(0, torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    with pytest.raises(ValueError, match="4 tokens do not fit a cache of 3"):
        cache.extend(0, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert cache.length == 2
    assert (cache.keys[..., :2, :] == 1).all()


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
def test_attention_written_out_is_the_fused_one_also_where_a_query_sees_nothing(heads):
    h, kv = heads
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 6, n, 8, generator=generator) for n in (h, kv, kv))
    mask = torch.rand(2, 1, 6, 6, generator=generator) > 0.4
    mask[:, :, 2] = False
    fused = attend(q, k, v, mask)
    written = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask).float()
    assert (fused[:, 2] == 0).all()
    assert (written[:, 2] == 0).all()
    assert torch.allclose(written, fused, atol=0.03)


def test_causal_attention_to_other_keys_is_refused():
    q, k = torch.randn(1, 3, 2, 8), torch.randn(1, 5, 2, 8)
    with pytest.raises(ValueError, match="give a mask"):
        attend(q, k, k, causal=True)


@pytest.fixture
def onednn(monkeypatch):
    """Products go to oneDNN, as they do on AMD's processors."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(linears, "ONEDNN", True)


def test_a_product_through_onednn_is_pytorchs_own_with_its_gradients(onednn):
    linear, x = Linear(40, 24, 8, bias=True), torch.randn(3, 5, 40, requires_grad=True)
    leaves = (x, linear.weight, linear.bias)
    ours, usual = linear(x), F.linear(x, linear.weight, linear.bias)
    assert torch.allclose(ours, usual, atol=1e-5)
    towards = torch.randn_like(usual)
    for found, wanted in zip(
        torch.autograd.grad(ours, leaves, towards), torch.autograd.grad(usual, leaves, towards), strict=True
    ):
        assert torch.allclose(found, wanted, atol=1e-4)


def test_a_second_derivative_through_onednn_is_refused_rather_than_wrong(onednn):
    linear, x = Linear(4, 3), torch.randn(2, 4, requires_grad=True)
    (first,) = torch.autograd.grad(linear(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize(
    "turned", [lambda g: g[:1].expand(6, 8), lambda g: g[:, :1].expand(6, 8), lambda g: g.T.clone().T]
)
def test_gradients_of_any_strides_are_the_product_s(turned):
    """Sums and means hand back gradients whose rows lie on one another."""
    layer, x = Linear(5, 8), torch.randn(6, 5, requires_grad=True)
    gradient = turned(torch.randn(6, 8))
    layer(x).backward(gradient)
    torch.testing.assert_close(x.grad, gradient.contiguous() @ layer.weight.detach())
    torch.testing.assert_close(layer.weight.grad, gradient.contiguous().T @ x.detach())
