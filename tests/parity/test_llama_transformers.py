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
from maquette.language.engine import scheduler
from maquette.language.engine.engine import Engine
from maquette.language.interface import Sampling
from maquette.language.llama import SIZES, Llama, LlamaConfig, next_token_loss
from maquette.language.tokenizers import byte_tokenizer
from maquette.nn.rope import LinearScaling, Llama3Scaling, YarnScaling

pytestmark = pytest.mark.against("transformers")
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


def randomise(model, seed=0, spread=1.0):
    """Every parameter random, norms too; with a larger spread greedy text wanders."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            std = 0.3 if p.ndim == 1 else spread * p.shape[1] ** -0.5
            p.normal_(1.0 if p.ndim == 1 else 0.0, std, generator=generator)
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


RELATIVES = {
    "llama-2": CASES["plain"],
    "llama-3": CASES["scaled"],
    "smollm2": dataclasses.replace(PLAIN, kv_heads=2, tied=True),
    "mistral": CASES["mistral"],
    "qwen2.5": CASES["qwen2"],
    "qwen2.5, windows": CASES["qwen2-windows"],
    "qwen2.5, yarn": CASES["qwen2-yarn"],
    "qwen3": CASES["qwen3"],
    "linear": CASES["linear"],
}


@pytest.mark.parametrize("name", RELATIVES)
def test_greedy_text_is_that_of_generate(tmp_path, name, monkeypatch):
    """64 tokens behind prompts of different lengths: theirs padded on the left, ours in rows that are refilled."""
    ours = randomise(Llama(dataclasses.replace(RELATIVES[name], context=128)), spread=2.0)
    checkpoints.save(ours, tmp_path)
    theirs = theirs_from(tmp_path)
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(0, 67, (length,), generator=generator).tolist() for length in (3, 30, 17, 9)]
    padded = torch.tensor([[0] * (30 - len(prompt)) + prompt for prompt in prompts])
    seen = torch.tensor([[0] * (30 - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    length = {"max_new_tokens": 64, "min_new_tokens": 64, "do_sample": False, "pad_token_id": 0}
    expected = theirs.generate(padded, attention_mask=seen, **length)[:, 30:].tolist()
    assert min(len(set(text)) for text in expected) > 5
    for rows, invariant, pays in ((4, False, 10**9), (3, False, 10**9), (3, False, 1), (2, True, 1)):
        monkeypatch.setattr(scheduler, "PAYS", pays)  # with the compiled step from one token on, or never
        engine = Engine(ours, byte_tokenizer(), rows=rows, invariant=invariant)
        found = engine.sample(prompts, Sampling(temperature=0, max_tokens=64))
        assert [list(one.tokens) for (one,) in found] == expected


PUBLISHED = {
    "meta-llama/Llama-2-7b-hf": (6_738_415_616, {"hidden_size": 4096, "intermediate_size": 11008}),
    "meta-llama/Llama-3.2-1B": (
        1_235_814_400,
        {
            "vocab_size": 128256,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "tie_word_embeddings": True,
            "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 32.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
        },
    ),
    "HuggingFaceTB/SmolLM2-135M": (
        134_515_008,
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
            "rope_theta": 100000,
            "rope_scaling": None,
            "rope_interleaved": False,
            "is_llama_config": True,
        },
    ),
    "mistralai/Mistral-7B-v0.1": (
        7_241_732_096,
        {
            "model_type": "mistral",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "sliding_window": 4096,
        },
    ),
    "Qwen/Qwen2.5-0.5B": (
        494_032_768,
        {
            "model_type": "qwen2",
            "vocab_size": 151936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_window_layers": 24,
            "sliding_window": 32768,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "rope_theta": 1000000.0,
        },
    ),
    "Qwen/Qwen3-0.6B": (
        596_049_920,
        {
            "model_type": "qwen3",
            "vocab_size": 151936,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_window_layers": 28,
            "sliding_window": None,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "rope_theta": 1000000,
        },
    ),
}
"""Parameters and the fields of their config.json; what is left out is Llama 2's, as Meta published it."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_have_their_published_sizes(tmp_path, name):
    parameters, fields = PUBLISHED[name]
    raw = {"model_type": "llama", "vocab_size": 32000, "num_hidden_layers": 32, "num_attention_heads": 32, **fields}
    config = checkpoints.config_from_json(raw, tmp_path)
    with torch.device("meta"):
        ours = Llama(config)
        kind = raw.pop("model_type")
        theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **raw))
    assert sum(p.numel() for p in ours.parameters()) == config.parameters == parameters
    assert {name: tensor.shape for name, tensor in to_layout(ours).items()} == {
        name: tensor.shape for name, tensor in theirs.named_parameters()
    }
