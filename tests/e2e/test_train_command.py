"""`maquette train` as a user meets it: their own text in, a folder that transformers loads out."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from maquette.core.files import sha256, sole_writer
from maquette.language import checkpoints
from maquette.train import checkpoint

MAQUETTE = Path(sys.executable).with_name("maquette")
SIX_STEPS = "train tiny-llama --text text --steps 6 --out model"
OFTEN = """
from dataclasses import replace
from maquette.cli.commands import main
from maquette.language.recipes import RECIPES
tiny = RECIPES["tiny-llama"]
RECIPES["tiny-llama"] = replace(tiny, rows=2, train=replace(tiny.train, save_every=1, log_every=1))
main()
"""
"""The command with a small batch and a checkpoint after every step."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder that holds the user's text, and the model that six steps on it made."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "text").mkdir()
    for number in range(40):
        draw = random.Random(number)
        words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(300)]
        (folder / "text" / f"{number}.txt").write_text(" ".join(words))
    done = maquette(folder, SIX_STEPS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("checkpoint folder: model\n")
    return folder


def environment(folder):
    return os.environ | {"MAQUETTE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def maquette(folder, line, program=(MAQUETTE,)):
    command = [*program, *line.split()]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment(folder), timeout=120, check=False
    )


def contents(folder):
    """Digest of every file."""
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.against("transformers")
def test_transformers_loads_the_folder_and_computes_the_same(home):
    ours = checkpoints.load(home / "model").eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(home / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(home / "model")
    text = (home / "text" / "0.txt").read_text()
    tokens = tokenizer(text, return_tensors="pt").input_ids[:, :100]
    assert tokens.shape == (1, 100)
    assert tokenizer.decode(tokens[0]) == text[: len(tokenizer.decode(tokens[0]))]
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert float((ours(tokens) - expected).abs().max() / expected.abs().max()) <= 1e-5
    assert len(tokenizer) == ours.config.vocabulary == theirs.config.vocab_size
    # It is the trained model: that of the run's last checkpoint, whose loss on the held-out text the run stated.
    trained = load_file(home / "model/training/checkpoints/step-00000006/model.safetensors")
    assert torch.equal(ours.embedding.weight, trained["embedding.weight"])
    told = json.loads((home / "model" / "training.json").read_text())
    assert told["final"]["validation_loss"] == pytest.approx(7.3, abs=0.5)
    assert told["recipe"]["train"]["steps"] == 6
    assert told["text"]["sources"][0]["name"] == "text"


def test_the_same_command_again_changes_nothing(home):
    before = contents(home / "model")
    written = (home / "model/training/checkpoints/step-00000006/state.json").stat().st_mtime_ns
    done = maquette(home, SIX_STEPS)
    assert done.returncode == 0, done.stderr
    assert contents(home / "model") == before
    assert (home / "model/training/checkpoints/step-00000006/state.json").stat().st_mtime_ns == written


def test_a_killed_run_goes_on_to_more_steps(home):
    often = (sys.executable, "-c", OFTEN)
    line = "train tiny-llama --text text --out killed --steps"
    training = home / "killed" / "training"
    with subprocess.Popen(
        [*often, *f"{line} 400".split()],
        cwd=home,
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        while not (training / "checkpoints" / "step-00000005").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (home / "killed" / "config.json").exists(), "no model before the end"
    steps = checkpoint.steps_saved(training)[-1]
    rows = (training / "metrics.jsonl").read_text().splitlines()[:steps]

    done = maquette(home, f"{line} {2 * steps}", often)
    assert done.returncode == 0, done.stderr
    after = (training / "metrics.jsonl").read_text().splitlines()
    assert after[:steps] == rows, "with the seconds they took: these steps were not taken again"
    assert json.loads(after[-1])["step"] == checkpoint.steps_saved(training)[-1] == 2 * steps
    weights = load_file(checkpoint.folder(training, 2 * steps) / "model.safetensors")
    assert torch.equal(checkpoints.load(home / "killed").embedding.weight, weights["embedding.weight"])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train tiny-lama --text text", "no recipe 'tiny-lama'; did you mean 'tiny-llama'?"),
        ("train tiny-llama --text empty", "empty holds no text"),
        ("train tiny-llama --text latin", "letter.txt is not UTF-8 text (byte 3 is 0xe9); convert it"),
        ("train tiny-llama --text text --device warp", "device = 'warp' is not on this machine"),
        ("train tiny-llama --text text --steps -3", "steps = -3: give 1 or more"),
        ("train tiny-llama --text text --step 6", "did you mean --steps?"),
        ("train tiny-llama --text text --dataset text", "--text and --dataset were both given"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(home, line, sentence):
    (home / "empty").mkdir(exist_ok=True)
    (home / "latin").mkdir(exist_ok=True)
    (home / "latin" / "letter.txt").write_bytes("caf\xe9".encode("latin-1"))
    done = maquette(home, f"{line} --out refused")
    assert_refused(done, sentence)
    assert not (home / "refused").exists()
    assert not list(home.rglob(".*.part"))


def test_another_run_in_the_folder_is_refused_and_leaves_it_as_it_was(home):
    before = contents(home / "model")
    assert_refused(maquette(home, f"{SIX_STEPS} --seed 1"), "was made with another seed")
    with sole_writer(home / "model" / "training"):
        assert_refused(maquette(home, SIX_STEPS), "model/training is in use by another run")
    assert contents(home / "model") == before


def assert_refused(done, sentence):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert sentence in done.stderr
    assert done.stdout == ""
    said = [text for text in done.stderr.splitlines() if text.startswith("maquette: ")]
    assert len(said) == 1
    assert done.stderr.endswith(said[0] + "\n")


def test_help_has_an_example(home):
    done = maquette(home, "train --help")
    assert done.returncode == 0
    assert "Example: maquette train tiny-llama --text ~/notes" in done.stdout
