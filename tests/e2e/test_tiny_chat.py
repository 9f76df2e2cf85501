"""`maquette train tiny-chat` on a budget of seconds: what it leaves, who loads that, and what a kill changes."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers

from maquette.cli import commands, models, training
from maquette.core.errors import UserError
from maquette.core.files import sha256
from maquette.language import load, tokenizers
from maquette.language.interface import Message, Sampling
from maquette.train import checkpoint

SMALL = """
from dataclasses import replace
from maquette.cli.commands import main
from maquette.language.chat_recipes import RECIPES
chat = RECIPES["tiny-chat"]
RECIPES["tiny-chat"] = replace(
    chat, rows=2, examined=(3, 4), model=replace(chat.model, width=32, layers=2, hidden=48),
    train=replace(chat.train, save_every=2, log_every=1, device="cpu"),
)
main()
"""
"""The command with a small model, small batches and a checkpoint after every other step."""
STEPS = 8


def start(folder, out, threads="1"):
    line = f"train tiny-chat --steps {STEPS} --out {out}"
    return subprocess.Popen(
        [sys.executable, "-c", SMALL, *line.split()],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": threads, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model in it and what the command printed."""
    folder = tmp_path_factory.mktemp("home")
    with start(folder, "model") as process:
        told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    (folder / "told.txt").write_text(told)
    return folder


@pytest.fixture
def quiet(monkeypatch):
    for module in (models, training):
        monkeypatch.setattr(module, "prepare_process", lambda: "")


def test_it_prints_and_records_what_the_interpreter_found(home):
    told = (home / "told.txt").read_text()
    answers = json.loads((home / "model" / "training.json").read_text())["examination"]
    for one in answers:
        assert f"{one['kind']:<8} " in told
        assert 0 <= one["interval"][0] <= one["accuracy"] == one["right"] / one["n"] <= one["interval"][1] <= 1
    everything = answers[-1]
    assert everything["kind"] == "all"
    assert 3 * 3 <= everything["n"] <= 3 * 4, "every scene is asked about four times; only thanks are not judged"
    assert everything["right"] < everything["n"], "an untrained model is found wrong"
    assert told.endswith("talk with it: maquette chat model\n")
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.against("transformers")
def test_transformers_reads_the_same_conversation_and_says_the_same(home):
    ours = load(home / "model")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(home / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(home / "model")
    turns = [
        {"role": "system", "content": "There is a small red ball on the left."},
        {"role": "user", "content": "What colour is the ball?"},
    ]
    tokens = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    messages = [Message(**turn) for turn in turns]
    assert tokens["input_ids"][0].tolist() == ours.tokens(messages)
    with torch.no_grad():
        text = theirs.generate(**tokens, do_sample=False, max_new_tokens=12)
    (found,) = ours.sample([messages], Sampling(max_tokens=12, temperature=0))[0]
    assert list(found.tokens) == text[0, tokens["input_ids"].shape[1] :].tolist()
    assert theirs.generation_config.eos_token_id == tokenizers.end_id(ours.tokenizer)


def test_capitals_are_read_as_small_letters(home):
    model = load(home / "model")
    assert model.tokens("What COLOUR is it?") == model.tokens("what colour is it?")


def test_inspect_and_chat_take_it(home, quiet, capsys, monkeypatch):
    assert commands.run(["inspect", str(home / "model")]) == 0
    capsys.readouterr()
    told = "there is a small red ball on the left. " * 4
    monkeypatch.setattr("sys.stdin", io.StringIO(f"hello\n{told * 16}\nhello\n/new\nhello\n"))
    assert commands.run(["chat", str(home / "model"), "--temperature", "0", "--max-tokens", "6"]) == 0
    heard = capsys.readouterr()
    first, _, again = heard.out.splitlines()
    assert again == first
    assert heard.err.count("more than model can hold: say less") == 1


def test_a_long_chat_forgets_the_oldest_turns_but_the_first(home, quiet, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("there is a red ball on the left.\n" + "what is it?\n" * 32))
    assert commands.run(["chat", str(home / "model"), "--temperature", "0", "--max-tokens", "12"]) == 0
    heard = capsys.readouterr()
    assert heard.out.count("\n") >= 33  # one an answer; a model of eight steps may break lines of its own
    assert "forgotten for want of room" in heard.err


def test_it_takes_no_text(home, quiet):
    with pytest.raises(UserError, match="tiny-chat learns conversations, not text; leave --text and --dataset out"):
        commands.run(["train", "tiny-chat", "--text", str(home)])


def test_a_killed_run_ends_in_the_same_bits(home):
    training = home / "killed" / "training"
    with start(home, "killed") as process:
        while not (training / "checkpoints" / "step-00000002").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert checkpoint.steps_saved(training)[-1] < STEPS
    assert not (home / "killed" / "config.json").exists(), "no model before the end"
    with start(home, "killed") as process:
        told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    assert told == (home / "told.txt").read_text().replace("model", "killed")
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert sha256(home / "killed" / name) == sha256(home / "model" / name)
    last = Path("training/checkpoints") / f"step-{STEPS:08d}" / "optimizer-1.safetensors"
    assert sha256(home / "killed" / last) == sha256(home / "model" / last)
