"""Checkpoints and model folders: whole or absent, checked when read, and one sentence for each way to be broken."""

import errno
import json
import os
import random
import shutil
import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette.core.errors import UserError
from maquette.core.seeds import torch_generator
from maquette.language import checkpoints
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.train import checkpoint
from maquette.train.loop import TrainConfig, train
from maquette.train.metrics import read_metrics
from maquette.train.schedules import Schedule

torch.set_num_threads(1)

TINY = LlamaConfig(vocabulary=32, width=16, layers=1, heads=2, kv_heads=1, hidden=24)
IDENTITY = {"seed": 0, "betas": [0.9, 0.95]}


def parts():
    generator = torch.Generator().manual_seed(0)
    return {
        "model": {"a.weight": torch.randn(40, 30, generator=generator), "b": torch.randn(7, generator=generator)},
        "optimizer-0": {"a.weight/exp_avg": torch.randn(40, 30, generator=generator), "b/step": torch.tensor(3.0)},
        "rng": {"torch": torch.get_rng_state()},
    }


def assert_one_sentence(caught, *words):
    text = str(caught.value)
    assert "\n" not in text
    assert all(str(word) in text for word in words), text


# ---- checkpoints of the loop


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    kept = parts()
    path = checkpoint.write(tmp_path, 120, IDENTITY, kept)
    assert path == tmp_path / "checkpoints" / "step-00000120"
    step, identity, read = checkpoint.read(path)
    assert (step, identity) == (120, IDENTITY)
    assert read.keys() == kept.keys()
    for name, tensors in kept.items():
        assert read[name].keys() == tensors.keys()
        assert all(torch.equal(read[name][k], v) and read[name][k].dtype == v.dtype for k, v in tensors.items())


def test_only_safetensors_and_json_are_written(tmp_path):
    checkpoint.write(tmp_path, 1, IDENTITY, parts())
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}


BREAKS = {
    "cut short": lambda file: os.truncate(file, file.stat().st_size - 10),
    "emptied": lambda file: os.truncate(file, 0),
    "one bit flipped": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "missing": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer-0.safetensors", "rng.safetensors"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_part_is_refused_by_name(tmp_path, how, name):
    path = checkpoint.write(tmp_path, 5, IDENTITY, parts())
    BREAKS[how](path / name)
    with pytest.raises(UserError) as caught:
        checkpoint.read(path)
    assert_one_sentence(caught, path / name, "is missing" if how == "missing" else "checksum", f"delete {path}")


@pytest.mark.parametrize(
    "content", ["", '{"step": 5, "iden', "[]", "{}", '{"step": 5, "identity": {}, "sha256": 3}', None]
)
def test_a_broken_state_is_refused_by_name(tmp_path, content):
    path = checkpoint.write(tmp_path, 5, IDENTITY, parts())
    (path / "state.json").unlink()
    if content is not None:
        (path / "state.json").write_text(content)
    with pytest.raises(UserError) as caught:
        checkpoint.read(path)
    assert_one_sentence(caught, path / "state.json", f"delete {path}")


def test_a_state_that_names_another_step_is_refused(tmp_path):
    path = checkpoint.write(tmp_path, 5, IDENTITY, parts())
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"step": 6}))
    with pytest.raises(UserError) as caught:
        checkpoint.read(path)
    assert_one_sentence(caught, path / "state.json")


def test_the_newest_checkpoints_and_the_spared_ones_stay(tmp_path):
    for step in (2, 4, 6, 8, 10):
        checkpoint.write(tmp_path, step, IDENTITY, parts())
    checkpoint.prune(tmp_path, keep=2, spare=(4,))
    assert checkpoint.steps_saved(tmp_path) == [4, 8, 10]


def test_writing_again_replaces_and_clears_what_a_killed_run_left(tmp_path):
    checkpoint.write(tmp_path, 5, IDENTITY, parts())
    orphan = tmp_path / "checkpoints" / ".writing-abc"
    orphan.mkdir()
    (orphan / "model.safetensors").write_bytes(b"half")
    assert checkpoint.steps_saved(tmp_path) == [5], "what is being written does not count"
    checkpoint.write(tmp_path, 5, {"seed": 1}, parts())
    assert not orphan.exists()
    assert checkpoint.read(checkpoint.folder(tmp_path, 5))[1] == {"seed": 1}


def test_forking_what_is_not_there_is_one_sentence_and_leaves_nothing(tmp_path):
    checkpoint.write(tmp_path / "run", 5, IDENTITY, parts())
    with pytest.raises(UserError) as caught:
        checkpoint.fork(tmp_path / "run", 6, tmp_path / "fork")
    assert_one_sentence(caught, "step-00000006 does not exist", "[5]")
    assert not (tmp_path / "fork").exists()


def test_a_fork_is_a_copy_and_forking_twice_is_forking_once(tmp_path):
    checkpoint.write(tmp_path / "run", 5, IDENTITY, parts())
    for _ in range(2):
        checkpoint.fork(tmp_path / "run", 5, tmp_path / "fork")
    shutil.rmtree(tmp_path / "run")
    assert checkpoint.read(checkpoint.folder(tmp_path / "fork", 5))[0] == 5
    assert len(list((tmp_path / "fork" / "checkpoints").iterdir())) == 1


def test_random_streams_go_on_where_they_were(tmp_path):
    random.gauss(0, 1)  # leaves a second number waiting inside Python's generator
    np.random.standard_normal()  # and inside NumPy's

    def draw():
        return random.random(), random.gauss(0, 1), np.random.standard_normal(), np.random.rand(), float(torch.rand(()))

    path = checkpoint.write(tmp_path, 1, IDENTITY, {"rng": checkpoint.random_state()})
    first = draw()
    assert draw() != first
    checkpoint.restore_random_state(checkpoint.read(path)[2]["rng"])
    assert draw() == first


# ---- a full disk


def batches(step):
    text = torch.randint(0, 32, (4, 9), generator=torch_generator(0, "batch", step))
    return {"tokens": text[:, :-1], "targets": text[:, 1:]}


def a_run(directory, **changes):
    settings = TrainConfig(
        **(
            {"steps": 9, "precision": "fp32", "device": "cpu", "save_every": 3, "keep": 3, "log_every": 3}
            | {"schedule": Schedule(kind="constant", warmup=0)}
            | changes
        )
    )
    model = Llama(TINY).initialise(torch_generator(0, "init"))
    return train(model, next_token_loss, count_targets, batches, settings, directory=directory)


def assert_whole_up_to(directory, steps):
    """These checkpoints are readable, and nothing half-written lies beside them."""
    assert checkpoint.steps_saved(directory) == steps
    assert len(list((directory / "checkpoints").iterdir())) == len(steps)
    for step in steps:
        assert checkpoint.read(checkpoint.folder(directory, step))[0] == step
    assert not list(directory.glob(".*.part"))


@pytest.mark.parametrize("refused_at", ["first file", "flush", "state", "rename"])
def test_a_write_refused_anywhere_keeps_the_checkpoints_before_it(tmp_path, monkeypatch, refused_at):
    """The disk fills at each place that writes, after one good checkpoint."""
    a_run(tmp_path, steps=3)

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where = {
        "first file": (checkpoint, "save_file"),
        "flush": (checkpoint.os, "fsync"),
        "state": (checkpoint.json, "dumps"),
        "rename": (checkpoint.os, "replace"),
    }[refused_at]
    with monkeypatch.context() as patch:
        patch.setattr(*where, refuse)
        with pytest.raises(UserError) as caught:
            checkpoint.write(tmp_path, 6, IDENTITY, parts())
    assert_one_sentence(caught, "The disk is full", "step-00000006 was not written")
    assert_whole_up_to(tmp_path, [3])
    a_run(tmp_path)
    assert_whole_up_to(tmp_path, [3, 6, 9])


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k,mode=777", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False, timeout=10)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("mounting a small disk is not permitted here; the refusals above stand for it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_training_on_a_full_disk_ends_in_one_sentence_and_resumes_with_more_space(small_disk):
    run = small_disk / "run"
    with pytest.raises(UserError) as caught:
        a_run(run, steps=30, keep=30)
    assert_one_sentence(caught, "The disk is full", "free some space")
    saved = checkpoint.steps_saved(run)
    assert saved
    assert saved[-1] < 30
    assert_whole_up_to(run, saved)
    assert all(row["step"] <= saved[-1] + 3 for row in read_metrics(run / "metrics.jsonl"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True, timeout=10)
    resumed = a_run(run, steps=30, keep=30)
    assert all(
        torch.equal(a, b)
        for a, b in zip(resumed.model.parameters(), a_run(None, steps=30).model.parameters(), strict=True)
    )


def test_a_model_saved_on_a_full_disk_is_one_sentence_and_the_old_one_stays(small_disk):
    model = Llama(TINY).initialise(torch_generator(0, "init"))
    checkpoints.save(model, small_disk / "model")
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize - 8192))
    with pytest.raises(UserError) as caught:
        checkpoints.save(Llama(TINY), small_disk / "model")
    assert_one_sentence(caught, "The disk is full", "model.safetensors")
    assert torch.equal(checkpoints.load(small_disk / "model").head.weight, model.head.weight)
    assert sorted(path.name for path in (small_disk / "model").iterdir()) == ["config.json", "model.safetensors"]


# ---- resuming from what is broken


def test_the_loop_refuses_a_broken_checkpoint_and_goes_on_once_it_is_deleted(tmp_path):
    whole = a_run(tmp_path)
    newest = checkpoint.folder(tmp_path, 9)
    BREAKS["one bit flipped"](newest / "model.safetensors")
    with pytest.raises(UserError) as caught:
        a_run(tmp_path)
    assert_one_sentence(caught, newest / "model.safetensors", f"delete {newest}")
    shutil.rmtree(newest)
    again = a_run(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True))


# ---- model folders in the Hugging Face layout


@pytest.fixture
def model_folder(tmp_path):
    checkpoints.save(Llama(TINY), tmp_path / "model")
    return tmp_path / "model"


def edit(path, **changes):
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in raw.items() if v is not ...}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "model_type = 'gpt2'"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "biases"),
        ({"model_type": "qwen33"}, "nearest that is: 'qwen3'"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4}}, "rope_type = 'dynamic'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "the field 'factor' is missing"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "'factor'"),
        ({"vocab_size": ...}, "'vocab_size'"),
        ({"hidden_size": 0}, "width = 0"),
        ({"hidden_size": "16"}, "hidden_size = '16'"),
        ({"num_attention_heads": None}, "num_attention_heads = None"),
        ({"num_key_value_heads": 3}, "kv_heads = 3"),
        ({"vocab_size": 33}, "shape (32, 16) where config.json says (33, 16)"),
        ({"tie_word_embeddings": True, "num_hidden_layers": 2}, "model.layers.1"),
    ],
    ids=str,
)
def test_a_config_of_another_model_is_refused_by_field(model_folder, changes, words):
    edit(model_folder / "config.json", **changes)
    with pytest.raises(UserError) as caught:
        checkpoints.load(model_folder)
    assert_one_sentence(caught, words)


@pytest.mark.parametrize("content", ["", "[]", "3", "{}"])
def test_a_config_that_is_none_is_refused(model_folder, content):
    (model_folder / "config.json").write_text(content)
    with pytest.raises(UserError) as caught:
        checkpoints.load(model_folder)
    assert_one_sentence(caught, "config.json")


@pytest.mark.parametrize("how", ["cut short", "emptied", "missing"])
@pytest.mark.parametrize("sharded", [False, True])
def test_broken_weights_are_refused_by_file(tmp_path, how, sharded):
    checkpoints.save(Llama(TINY), tmp_path, shard_bytes=4000 if sharded else 2**30)
    file = sorted(tmp_path.glob("*.safetensors"))[-1]
    assert ("-of-" in file.name) == sharded
    BREAKS[how](file)
    with pytest.raises(UserError) as caught:
        checkpoints.load(tmp_path)
    assert_one_sentence(caught, file.name)


@pytest.mark.parametrize(("call", "survives"), [("save_file", True), ("write_json", False)])
def test_weights_of_two_models_never_load_as_one(tmp_path, monkeypatch, call, survives):
    """Stopped while shards are written, the old model is there; stopped later, none is."""
    checkpoints.save(old := Llama(TINY), tmp_path, shard_bytes=4000)
    real, calls = getattr(checkpoints, call), []

    def stopped(*arguments, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        real(*arguments, **options)

    monkeypatch.setattr(checkpoints, call, stopped)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(Llama(TINY), tmp_path, shard_bytes=4000)
    if survives:
        assert all(
            torch.equal(a, b) for a, b in zip(checkpoints.load(tmp_path).parameters(), old.parameters(), strict=True)
        )
    else:
        with pytest.raises(UserError, match=r"config\.json"):
            checkpoints.load(tmp_path)


def test_a_missing_tensor_is_named(model_folder):
    weights = load_file(model_folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, model_folder / "model.safetensors")
    with pytest.raises(UserError) as caught:
        checkpoints.load(model_folder)
    assert_one_sentence(caught, "model.norm.weight is missing")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"weight_map": 3}'])
def test_a_broken_index_is_refused(tmp_path, content):
    checkpoints.save(Llama(TINY), tmp_path, shard_bytes=4000)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError) as caught:
        checkpoints.load(tmp_path)
    assert_one_sentence(caught, "model.safetensors.index.json")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        checkpoints.load(tmp_path)
    assert_one_sentence(caught, tmp_path / "config.json", "does not exist")


@pytest.mark.parametrize("sizes", [(4000, 2**30), (2**30, 4000), (4000, 9000)], ids=str)
def test_saving_over_another_model_leaves_no_trace_of_it(tmp_path, sizes):
    first, second = (Llama(TINY).initialise(torch_generator(seed, "init")) for seed in (0, 1))
    checkpoints.save(first, tmp_path, shard_bytes=sizes[0])
    checkpoints.save(second, tmp_path, shard_bytes=sizes[1])
    loaded = checkpoints.load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), second.parameters(), strict=True))
    held = [load_file(file) for file in tmp_path.glob("*.safetensors")]
    assert sum(len(tensors) for tensors in held) == len(checkpoints.to_layout(second))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_loads_in_the_type_asked_for_with_exact_positions(model_folder, dtype):
    model = checkpoints.load(model_folder, dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert torch.equal(model.frequency, Llama(TINY).frequency)
    checkpoints.save(model, model_folder)
    assert json.loads((model_folder / "config.json").read_text())["torch_dtype"] == str(dtype).removeprefix("torch.")
    assert load_file(model_folder / "model.safetensors")["lm_head.weight"].dtype == dtype
