"""Llama: sizes, costs, causality, generation. Parity with transformers is in tests/parity."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from maquette.core.errors import UserError
from maquette.language.llama import SIZES, Llama, LlamaConfig, count_targets, next_token_loss
from maquette.language.looking_back import look_back
from maquette.nn import stream
from maquette.nn.cache import KeyValueCache
from maquette.nn.masks import document_mask
from maquette.nn.rope import Llama3Scaling
from maquette.nn.stream import attend

torch.set_num_threads(1)

SMALL = LlamaConfig(
    vocabulary=61,
    width=32,
    layers=3,
    heads=4,
    kv_heads=2,
    hidden=48,
    rope_theta=100.0,
    rope_scaling=Llama3Scaling(original_context=16),
)

RELATIVE = dataclasses.replace(SMALL, qkv_bias=True, qk_norm=True, window=3, window_from=1)
"""All that its relatives have at once."""


def random_llama(config=SMALL, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = Llama(config)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(1.0 if p.ndim == 1 else 0.0, 0.3 if p.ndim == 1 else config.width**-0.5, generator=generator)
    return model.eval()


def tokens(batch, length, seed=1):
    return torch.randint(0, SMALL.vocabulary, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "published"),
    [("llama-3-8b", 8_030_261_248), ("llama-3-70b", 70_553_706_496), ("llama-3.1-405b", 405_853_388_800)],
)
def test_full_sizes_have_the_published_parameter_counts(name, published):
    with torch.device("meta"):
        model = Llama(SIZES[name])
    assert sum(p.numel() for p in model.parameters()) == published
    assert SIZES[name].parameters == published


@pytest.mark.parametrize("changes", [{}, {"tied": True}, {"head_dim": 10}, {"kv_heads": 1}, {"layers": 1}], ids=str)
def test_counted_parameters_are_the_parameters(changes):
    config = dataclasses.replace(SMALL, **changes)
    named = dict(Llama(config).named_parameters())
    assert config.parameters == sum(p.numel() for p in named.values())
    inner = sum(p.numel() for name, p in named.items() if not name.startswith(("embedding", "head")))
    assert config.non_embedding_parameters == inner


@pytest.mark.parametrize("changes", [{}, {"tied": True}, {"head_dim": 10}, {"kv_heads": 4}], ids=str)
def test_flops_are_those_of_the_products_and_of_half_the_attention(changes):
    """The counter takes attention as two full products; the causal half of it is never needed, so ours counts half."""
    config = dataclasses.replace(SMALL, **changes)
    model, length, batch = random_llama(config).double(), 24, 2  # the counter does not know oneDNN's float32 product
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens(batch, length)).sum().backward()
    attention = 3 * 2 * 2 * length * config.heads * config.head_dim * config.layers  # (forward + 2 backward) · q·k, p·v
    expected = counter.get_total_flops() / (batch * length) - attention / 2
    assert config.flops_per_token(length) == expected


def test_training_flops_of_405b_are_the_papers():
    """Grattafiori et al. 2024, section 3.2: 3.8 × 10²⁵ FLOPs on 15.6T tokens, in rows of 8,192."""
    assert SIZES["llama-3.1-405b"].flops_per_token(8192) * 15.6e12 == pytest.approx(3.8e25, rel=0.05)


def test_no_token_sees_the_future():
    model = random_llama()
    text = tokens(2, 12)
    changed = text.clone()
    changed[:, 7] = (changed[:, 7] + 1) % SMALL.vocabulary
    with torch.no_grad():
        before, after = model(text), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] != after[:, 7:]).any(-1).all()


@pytest.mark.parametrize("pieces", [[1] * 20, [8] + [1] * 12, [5, 6, 1, 8]], ids=str)
@pytest.mark.parametrize("positions_given", [False, True])
@pytest.mark.parametrize("config", [SMALL, RELATIVE], ids=["llama", "windows-bias-norms"])
def test_generation_with_the_cache_is_the_full_pass(pieces, positions_given, config):
    model = random_llama(config)
    text = tokens(2, sum(pieces))
    cache = KeyValueCache(config.layers, 2, config.kv_heads, sum(pieces), config.head_dim)
    out = []
    with torch.no_grad():
        full = model(text)
        for piece in text.split(pieces, dim=1):
            place = torch.arange(cache.length, cache.length + piece.shape[1]).expand(2, -1)
            out.append(model(piece, positions=place if positions_given else None, cache=cache))
    error = (torch.cat(out, dim=1) - full).abs().max() / full.abs().max()
    assert error < 1e-5


def test_more_tokens_than_the_cache_holds_are_refused():
    model = random_llama()
    cache = KeyValueCache(SMALL.layers, 1, SMALL.kv_heads, 4, SMALL.head_dim)
    with torch.no_grad():
        model(tokens(1, 3), cache=cache)
        with pytest.raises(ValueError, match="do not fit"):
            model(tokens(1, 2), cache=cache)


def test_packed_documents_are_as_if_each_stood_alone():
    model = random_llama()
    text = tokens(1, 10)
    document = torch.tensor([[0] * 4 + [1] * 6])
    positions = torch.tensor([[*range(4), *range(6)]])
    with torch.no_grad():
        packed = model(text, mask=document_mask(document), positions=positions)
        alone = torch.cat([model(text[:, :4]), model(text[:, 4:])], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_initial_weights_follow_the_generator_and_keep_logits_of_order_one():
    config = dataclasses.replace(SMALL, width=64, layers=4)
    one, same, other = (Llama(config).initialise(torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)
    with torch.no_grad():
        assert float(one.embedding.weight.std()) == pytest.approx(1 / 8, rel=0.05)
        assert float(one.blocks[0].streams[0].out.weight.std()) == pytest.approx(1 / 8 / 8**0.5, rel=0.05)
        assert 0.5 < one(tokens(4, 16)).std() < 2


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_keys_may_start_like_the_queries_that_look_for_them(kv_heads):
    config = LlamaConfig(vocabulary=11, width=64, layers=2, heads=4, kv_heads=kv_heads, hidden=64, context=16)
    usual, like = (Llama(config).initialise(torch.Generator().manual_seed(0), alike=alike) for alike in (0.0, 0.9))
    for one, other in zip(usual.blocks, like.blocks, strict=True):
        before, after = (block.streams[0].qkv for block in (one, other))
        queries, keys, values = after.weight.detach().split(after.parts)
        of_key = queries.unflatten(0, (kv_heads, -1, 16))[:, 0].flatten()
        assert torch.corrcoef(torch.stack((of_key, keys.flatten())))[0, 1] == pytest.approx(0.9, abs=0.03)
        assert keys.std() == pytest.approx(64**-0.5, rel=0.1)
        for part, was in zip((queries, values), before.weight.detach().split(before.parts)[::2], strict=True):
            assert torch.equal(part, was)


def test_tied_weights_are_one_matrix():
    model = Llama(dataclasses.replace(SMALL, tied=True))
    assert model.head.weight is model.embedding.weight


def test_the_loss_sums_over_the_targets_that_count():
    model = random_llama()
    batch = {"tokens": tokens(3, 8), "targets": tokens(3, 8, seed=2)}
    batch["targets"][0, :5] = -100
    with torch.no_grad():
        logits = model(batch["tokens"]).log_softmax(-1)
        kept = [(b, t) for b in range(3) for t in range(8) if batch["targets"][b, t] != -100]
        expected = -sum(logits[b, t, batch["targets"][b, t]] for b, t in kept)
        torch.testing.assert_close(next_token_loss(model, batch), expected)
    assert count_targets(batch) == len(kept) == 19
    assert F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten()) * 19 == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocabulary": 0}, "vocabulary = 0"),
        ({"layers": -1}, "layers = -1"),
        ({"kv_heads": 3}, "kv_heads = 3"),
        ({"heads": 6, "kv_heads": 6, "head_dim": 0}, "heads = 6"),
        ({"head_dim": 7}, "head_dim = 7"),
        ({"head_dim": -2}, "head_dim = -2"),
        ({"rope_theta": 0.0}, "rope_theta = 0"),
        ({"norm_eps": float("nan")}, "norm_eps = nan"),
    ],
    ids=str,
)
def test_a_config_out_of_range_is_refused_by_name(changes, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factor": 0.5}, "factor"),
        ({"original_context": 0}, "original_context"),
        ({"low_frequency_factor": 4.0}, "low_"),
    ],
    ids=str,
)
def test_a_scaling_out_of_range_is_refused_by_name(changes, words):
    with pytest.raises(UserError, match=words):
        Llama3Scaling(**changes)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_heads_may_start_by_looking_back(kv_heads, monkeypatch):
    sizes = {"vocabulary": 50, "width": 64, "layers": 2, "heads": 4, "kv_heads": kv_heads, "hidden": 64}
    config = LlamaConfig(**sizes, head_dim=32, context=64, qk_norm=True)
    generator = torch.Generator().manual_seed(0)
    model = look_back(Llama(config).initialise(generator), generator)
    seen = []
    monkeypatch.setattr(stream, "attend", lambda q, k, v, *rest: seen.append((q, k)) or attend(q, k, v, *rest))
    with torch.no_grad():
        model(tokens(3, 40) % 50)
    q, k = (x.transpose(1, 2) for x in seen[0])
    scores = q @ k.repeat_interleave(4 // kv_heads, dim=1).transpose(-1, -2) / 32**0.5
    looks = scores.masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf).softmax(-1)
    for head in range(4):
        assert (looks[:, head].diagonal(-(head + 1), 1, 2) > 0.75).all()


def test_looking_back_needs_norms():
    with pytest.raises(ValueError, match="qk_norm"):
        look_back(random_llama(), torch.Generator())
