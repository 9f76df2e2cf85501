"""`maquette inspect` and `maquette chat` on a folder, as typed."""

import io
import json

import pytest
import torch

from maquette.cli import commands, models
from maquette.core.errors import UserError
from maquette.language import checkpoints, load, tokenizers
from maquette.language.chat import PLAIN
from maquette.language.interface import Message, Sampling
from maquette.language.llama import Llama, LlamaConfig

CONFIG = LlamaConfig(vocabulary=257, width=16, layers=2, heads=2, kv_heads=1, hidden=24, context=128)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "prepare_process", lambda: "")
    directory = tmp_path / "tiny"
    checkpoints.save(Llama(CONFIG).initialise(torch.Generator().manual_seed(0)), directory)
    tokenizers.save(tokenizers.byte_tokenizer(), directory)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": PLAIN}))
    return directory


def test_inspect_prints_facts_and_exits_with_1_on_a_fault(folder, capsys):
    assert commands.run(["inspect", str(folder), "--rows", "2"]) == 0
    told = capsys.readouterr().out
    assert "for 2 texts of 128 tokens" in told
    assert "model.safetensors" in told
    (folder / "tokenizer.json").unlink()
    assert commands.run(["inspect", str(folder)]) == 1
    assert "broken: " in capsys.readouterr().out
    assert commands.run(["inspect", str(folder), "--json"]) == 1
    assert "tokenizer.json" in json.loads(capsys.readouterr().out)["problems"][0]
    (folder / "config.json").write_text("{")
    assert commands.run(["inspect", str(folder)]) == 1
    assert "config.json" in capsys.readouterr().out


def test_chat_answers_with_the_whole_conversation_before_it(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\nand now\n/new\nhello\n\nnever read\n"))
    line = ["chat", str(folder), "--seed", "3", "--max-tokens", "9", "--system", "be brief"]
    assert commands.run(line) == 0
    told = capsys.readouterr().out
    model, turns, answers = load(folder), [Message(role="system", content="be brief")], []
    for said in ("hello", "and now"):
        turns.append(Message(role="user", content=said))
        answers.append(model.sample([turns], Sampling(max_tokens=9, temperature=0.7, seed=3))[0][0].text)
        turns.append(Message(role="assistant", content=answers[-1]))
    assert told == "\n".join([*answers, answers[0], ""])


def test_chat_with_a_folder_that_cannot_chat_says_so(folder, monkeypatch):
    (folder / "tokenizer_config.json").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    with pytest.raises(UserError, match="tiny has no chat; give text instead of messages"):
        commands.run(["chat", str(folder)])


@pytest.mark.parametrize("columns", [10, 11, 80])
def test_an_answer_breaks_between_words_and_loses_none(columns):
    text = "the red ball is\nleft of a extraordinarily blue box and  so on."
    for size in (1, 3, 100):
        out = io.StringIO()
        wrapped = models.Wrapped(out, columns)
        for place in range(0, len(text), size):
            wrapped.write(text[place : place + size])
        wrapped.close()
        lines = out.getvalue().splitlines()
        assert out.getvalue().split() == text.split()
        assert all(len(line) <= columns for line in lines if len(line.split()) > 1), lines
        assert out.getvalue().endswith("on.\n")


def test_an_answer_to_a_pipe_is_left_as_it_is():
    out = io.StringIO()
    wrapped = models.Wrapped(out, 0)
    wrapped.write("one two ")
    assert out.getvalue() == "one two ", "at once"
    wrapped.write(" three")
    wrapped.close()
    assert out.getvalue() == "one two  three\n"
