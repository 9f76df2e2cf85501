"""`maquette inspect`: facts of a sound folder, and each fault of a broken one in a sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette.core.errors import UserError
from maquette.language import checkpoints, load, tokenizers
from maquette.language.chat import PLAIN
from maquette.language.inspection import inspect_folder
from maquette.language.interface import Message, Sampling
from maquette.language.llama import Llama, LlamaConfig

CONFIG = LlamaConfig(vocabulary=257, width=16, layers=2, heads=2, kv_heads=1, hidden=24, context=64, qk_norm=True)


@pytest.fixture
def folder(tmp_path):
    directory = tmp_path / "tiny"
    checkpoints.save(Llama(CONFIG).initialise(torch.Generator().manual_seed(0)), directory)
    tokenizers.save(tokenizers.byte_tokenizer(), directory)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": PLAIN}))
    return directory


def test_a_sound_folder_tells_its_facts(folder):
    found = inspect_folder(folder, rows=4)
    assert found.problems == ()
    assert found.facts["architecture"] == "qwen3"
    assert found.facts["parameters"] == sum(p.numel() for p in Llama(CONFIG).parameters())
    assert found.facts["stored"] == f"{found.facts['parameters']:,} in F32"
    assert "norms of q and k" in found.facts["with"]
    assert found.facts["memory, cache"].startswith(f"{load(folder, rows=4).memory / 2**20:,.1f} MiB for 4 texts of 64")
    assert set(found.files) == {path.name for path in folder.iterdir()}
    assert all(len(checksum) == 64 for checksum in found.files.values())


def without(file):
    return lambda folder: (folder / file).unlink()


def edited(file, **changes):
    def edit(folder):
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def with_nan(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def written(file, text):
    return lambda folder: (folder / file).write_text(text)


def with_an_index_of(weight_map):
    def edit(folder):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return edit


def without_a_shard(folder):
    checkpoints.save(checkpoints.load(folder), folder, shard_bytes=4000)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


BREAKS = {
    "no config": (without("config.json"), "config.json"),
    "no weights": (without("model.safetensors"), "neither model.safetensors nor"),
    "no tokenizer": (without("tokenizer.json"), "tokenizer.json"),
    "another architecture": (edited("config.json", model_type="qwen4"), "the nearest that is: 'qwen3'"),
    "another width": (edited("config.json", hidden_size=32), "has shape"),
    "a small vocabulary": (edited("config.json", vocab_size=100), "257"),
    "an architecture far from any": (
        edited("config.json", model_type="gpt_neox"),
        "the nearest that is: 'llama'",
    ),
    "no architecture": (edited("config.json", model_type=None), "model_type = None is not supported"),
    "a config that is no JSON": (written("config.json", '{"model_type": '), "config.json"),
    "a config that is a list": (written("config.json", "[]"), "is not a JSON object"),
    "heads below 0": (edited("config.json", num_attention_heads=-2), "heads = -2"),
    "layers beyond any": (edited("config.json", num_hidden_layers=10**15), "model.layers.2.input_layernorm.weight is"),
    "a width beyond any": (edited("config.json", hidden_size=10**6), "has shape"),
    "a width beyond any number": (edited("config.json", hidden_size=10**15, head_dim=2**40), "larger than any machine"),
    "theta of no number": (edited("config.json", rope_parameters={"rope_theta": "x"}), "not the number it should be"),
    "a shard missing": (without_a_shard, "the shard model-00002-of"),
    "an index that is no JSON": (written("model.safetensors.index.json", "{"), "model.safetensors.index.json"),
    "an index of nothing": (with_an_index_of(None), "has no weight_map"),
    "an index that lacks a tensor": (with_an_index_of({}), "the tensor model.embed_tokens.weight is missing"),
    "a tokenizer that is no JSON": (written("tokenizer.json", "<html>"), "tokenizer.json"),
    "a tokenizer of nothing": (written("tokenizer.json", "{}"), "is not a tokenizer"),
    "a template that is no text": (written("chat_template.jinja", "{{ 1 +"), "template is malformed"),
    "a malformed template": (edited("tokenizer_config.json", chat_template="{% for x in %}"), "template is malformed"),
    "NaN": (with_nan, "norm.weight hold NaN"),
    "cut short": (cut_short, "cannot be read"),
}


def test_a_template_that_makes_nothing_is_a_problem(folder):
    written("chat_template.jinja", "{{ messages[0].role.__class__ }}")(folder)
    assert "makes no text of a greeting" in inspect_folder(folder).problems[0]


@pytest.mark.parametrize("name", BREAKS)
def test_every_fault_is_a_sentence_and_stops_loading(folder, name):
    damage, words = BREAKS[name]
    damage(folder)
    problems = inspect_folder(folder).problems
    assert any(words in problem for problem in problems), problems
    assert not any("\n" in problem for problem in problems)
    with pytest.raises(UserError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_talks(folder):
    model = load(folder)
    turns = [Message(role="user", content="hello")]
    sampling = Sampling(max_tokens=8, seed=0)
    (answer,) = model.sample([turns], sampling)[0]
    (same,) = model.sample(["<|user|>hello<|end|><|assistant|>"], sampling)[0]
    assert answer.tokens == same.tokens
    begun = [*turns, Message(role="assistant", content="well")]
    (went_on,) = model.sample([begun], sampling)[0]
    assert went_on.usage.prompt == answer.usage.prompt + 4
    without("tokenizer_config.json")(folder)
    silent = load(folder)
    with pytest.raises(UserError, match="has no chat"):
        silent.sample([turns], sampling)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "float31"}, "did you mean 'float32'"),
        ({"rows": 0}, "rows = 0"),
        ({"context": 0}, "context = 0"),
        ({"rows": 10**12}, r"rows = 1000000000000 and context = 64 need a cache of [\d,.]+ GiB"),
    ],
)
def test_bad_options_are_one_sentence(folder, options, words):
    with pytest.raises(UserError, match=words):
        load(folder, **options)


def test_no_folder_is_one_sentence(tmp_path):
    for do in (load, inspect_folder):
        with pytest.raises(UserError, match="is no folder"):
            do(tmp_path / "nowhere")
