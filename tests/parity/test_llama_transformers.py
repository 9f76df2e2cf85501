"""Random-weight parity with transformers' Llama and its relatives, both ways: logits to 1e-5, gradients to 1e-4."""

import copy
import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
import transformers

from maquette.language import checkpoints
from maquette.language.checkpoints import to_layout
from maquette.language.llama import SIZES, Llama, LlamaConfig, next_token_loss
from maquette.nn.rope import LinearScaling, Llama3Scaling, YarnScaling

torch.set_num_threads(1)

PLAIN = LlamaConfig(vocabulary=67, width=32, layers=2, heads=4, kv_heads=4, hidden=56, context=64, rope_theta=1000.0)
CASES = {
    "plain": PLAIN,
    "tied": dataclasses.replace(PLAIN, tied=True),
    "grouped": dataclasses.replace(PLAIN, kv_heads=2),
    "one-key-head": dataclasses.replace(PLAIN, kv_heads=1, layers=3),
    # 40 tokens go beyond an original context of 16, so that scaled frequencies matter.
    "scaled": dataclasses.replace(PLAIN, rope_scaling=Llama3Scaling(factor=4.0, original_context=16)),
    "wide-heads": dataclasses.replace(PLAIN, head_dim=12, norm_eps=1e-3),
    "all": LlamaConfig(
        vocabulary=131,
        width=24,
        layers=3,
        heads=6,
        kv_heads=2,
        hidden=40,
        head_dim=10,
        context=64,
        rope_theta=500.0,
        rope_scaling=Llama3Scaling(factor=8.0, high_frequency_factor=3.0, original_context=24),
        norm_eps=1e-4,
        tied=True,
    ),
    "linear": dataclasses.replace(PLAIN, rope_scaling=LinearScaling(factor=4.0)),
    "mistral": dataclasses.replace(PLAIN, kv_heads=2, window=9),
    "mistral-wide": dataclasses.replace(PLAIN, kv_heads=2, window=64),
    "qwen2": dataclasses.replace(PLAIN, kv_heads=2, qkv_bias=True, tied=True),
    "qwen2-windows": dataclasses.replace(PLAIN, layers=3, qkv_bias=True, window=9, window_from=1),
    "qwen2-yarn": dataclasses.replace(
        PLAIN, qkv_bias=True, rope_scaling=YarnScaling(factor=4.0, original_context=16, fast=4.0)
    ),
    "qwen3": dataclasses.replace(PLAIN, kv_heads=2, head_dim=12, qk_norm=True, tied=True),
    "qwen3-yarn": dataclasses.replace(
        PLAIN, qk_norm=True, rope_scaling=YarnScaling(factor=2.0, original_context=32, fast=8.0, magnitude=1.3)
    ),
}
FAMILIES = {"llama": transformers.LlamaForCausalLM, "mistral": transformers.MistralForCausalLM}
FAMILIES |= {"qwen2": transformers.Qwen2ForCausalLM, "qwen3": transformers.Qwen3ForCausalLM}


def randomise(model, seed=0):
    """Every parameter random, norms too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(1.0 if p.ndim == 1 else 0.0, 0.3 if p.ndim == 1 else p.shape[1] ** -0.5, generator=generator)
    return model.eval()


def a_batch(config, rows=2, length=40):
    generator = torch.Generator().manual_seed(7)
    text = torch.randint(0, config.vocabulary, (rows, length + 1), generator=generator)
    return {"tokens": text[:, :-1], "targets": text[:, 1:]}


def theirs_from(folder):
    # To convert nothing on the way: the folder says float32.
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    return model.eval()


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def logits_differ_by(ours, theirs, batch):
    with torch.no_grad():
        return relative(ours(batch["tokens"]), theirs(batch["tokens"]).logits)


def assert_same_model(ours, theirs, config):
    """Logits and the gradient of every parameter."""
    batch = a_batch(config)
    assert logits_differ_by(ours, theirs, batch) <= 1e-5
    next_token_loss(ours, batch).backward()
    logits = theirs(batch["tokens"]).logits
    F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="sum").backward()
    gradients = copy.deepcopy(ours)
    with torch.no_grad():
        for parameter, source in zip(gradients.parameters(), ours.parameters(), strict=True):
            parameter.copy_(source.grad)
    of_ours, of_theirs = to_layout(gradients), dict(theirs.named_parameters())
    assert of_ours.keys() == of_theirs.keys()
    for name, parameter in of_theirs.items():
        error = float((of_ours[name] - parameter.grad).norm() / parameter.grad.norm())
        assert error <= 1e-4, f"{name}: {error}"


@pytest.mark.parametrize("shard_bytes", [2**30, 20_000], ids=["whole", "sharded"])
@pytest.mark.parametrize("name", CASES)
def test_transformers_loads_what_we_save(tmp_path, name, shard_bytes):
    config = CASES[name]
    ours = randomise(Llama(config))
    checkpoints.save(ours, tmp_path, shard_bytes=shard_bytes)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_bytes < 2**30)
    assert_same_model(ours, theirs_from(tmp_path), config)


def built_by_transformers(config, kind):
    """Their model of the same architecture, from their own names for its numbers."""
    kind = kind if kind in FAMILIES else "llama"
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    scaling = config.rope_scaling
    if isinstance(scaling, Llama3Scaling):
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_context,
        }
    elif isinstance(scaling, YarnScaling):
        rope |= {"rope_type": "yarn", "factor": scaling.factor, "beta_fast": scaling.fast}
        rope |= {"original_max_position_embeddings": scaling.original_context}
        if scaling.magnitude == 1.3:
            rope["attention_factor"] = 1.3
    elif isinstance(scaling, LinearScaling):
        rope |= {"rope_type": "linear", "factor": scaling.factor}
    window = {"sliding_window": config.window or None} if kind != "llama" else {}
    if kind == "qwen2":
        window |= {"use_sliding_window": config.window > 0, "max_window_layers": config.window_from}
    shape = {} if kind == "qwen2" else {"head_dim": config.head_dim}
    return FAMILIES[kind](
        FAMILIES[kind].config_class(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            intermediate_size=config.hidden,
            max_position_embeddings=config.context,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tied,
            rope_parameters=rope,
            **window,
            **shape,
        )
    )


@pytest.mark.parametrize("shard_size", ["1GB", "20KB"], ids=["whole", "sharded"])
@pytest.mark.parametrize("name", CASES)
def test_we_load_what_transformers_saves(tmp_path, name, shard_size):
    config = CASES[name]
    theirs = built_by_transformers(config, name.split("-")[0])
    randomise(theirs).save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_size == "20KB")
    ours = checkpoints.load(tmp_path)
    assert ours.config == config
    assert_same_model(ours, theirs, config)


@pytest.mark.parametrize("name", ["plain", "all", "qwen2", "qwen3", "mistral"])
def test_one_changed_weight_is_seen_wherever_it_is(tmp_path, name):
    config = CASES[name]
    ours = randomise(Llama(config))
    checkpoints.save(ours, tmp_path)
    theirs = theirs_from(tmp_path)
    batch = a_batch(config)
    used = int(batch["tokens"][0, 0])
    for tensor_name, parameter in theirs.named_parameters():
        place = (used, 3) if parameter.ndim == 2 and parameter.shape[0] > used else (3,) * parameter.ndim
        with torch.no_grad():
            kept = parameter[place].clone()
            parameter[place] += 0.05
            assert logits_differ_by(ours, theirs, batch) > 1e-5, tensor_name
            parameter[place] = kept
    assert logits_differ_by(ours, theirs, batch) <= 1e-5


@pytest.mark.parametrize(
    "changes",
    [{"rope_scaling": None}, {"rope_theta": 900.0}, {"norm_eps": 1e-2}],
    ids=str,
)
def test_one_changed_number_of_the_config_is_seen(tmp_path, changes):
    config = CASES["all"]
    ours = randomise(Llama(config))
    checkpoints.save(ours, tmp_path)
    other = Llama(dataclasses.replace(config, **changes))
    other.load_state_dict(ours.state_dict())
    assert logits_differ_by(other, theirs_from(tmp_path), a_batch(config)) > 1e-3


def test_config_json_of_transformers_4_is_read(tmp_path):
    """Meta's published Llama-3.1-405B and 8B configs, as they stood before rope_parameters."""
    raw = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 128000,
        "hidden_act": "silu",
        "hidden_size": 16384,
        "intermediate_size": 53248,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 128,
        "num_hidden_layers": 126,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "vocab_size": 128256,
    }
    assert checkpoints.config_from_json(raw, tmp_path) == SIZES["llama-3.1-405b"]
    raw |= {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32}
    raw |= {"max_position_embeddings": 8192, "rope_scaling": None}
    assert checkpoints.config_from_json(raw, tmp_path) == SIZES["llama-3-8b"]


@pytest.mark.parametrize("name", CASES)
def test_config_json_comes_back_as_it_was(tmp_path, name):
    raw = json.loads(json.dumps(checkpoints.config_to_json(CASES[name])))
    assert checkpoints.config_from_json(raw, tmp_path) == CASES[name]
