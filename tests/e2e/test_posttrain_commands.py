"""`maquette train sft`, `train grpo`, `show` and `solve` as a user meets them: a folder and lines of JSON in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maquette.cli import commands, posttrain, solving
from maquette.core.errors import UserError
from maquette.core.seeds import torch_generator
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.posttrain import stages
from maquette.worlds.puzzles.arithmetic import Addition
from maquette.worlds.puzzles.puzzle import puzzles

REWARD = '''
"""A user's reward."""
from beside import WORTH

def reward(reply, row):
    return {"correct": float(reply == row["answer"]), "digits": WORTH * reply.isdecimal()}
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model of nothing, sums to learn from, and a reward function with a neighbour."""
    folder = tmp_path_factory.mktemp("home")
    config = LlamaConfig(
        vocabulary=257, width=16, layers=1, heads=2, kv_heads=1, hidden=24, context=32, rope_theta=1e4, tied=True
    )
    checkpoints.save(Llama(config).initialise(torch_generator(0, "initialise")), folder / "base")
    tokenizers.save(tokenizers.byte_tokenizer(), folder / "base")
    rows = [puzzle.row() for puzzle in puzzles(Addition(digits=1), "train", 24)]
    lines = {
        "sums": [{**row, "completion": row["answer"]} for row in rows],
        "problems": rows[:6],
        "text": [{"text": "no prompt"}],
        "broken": [{"prompt": "\ud800"}],
        "wrong": [rows[0], {**rows[1], "answer": "eight"}],
    }
    for name, some in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (folder / "my_reward.py").write_text(REWARD)
    (folder / "beside.py").write_text("WORTH = 0.1\n")
    (folder / "empty.py").write_text("")
    return folder


@pytest.fixture
def maquette(home, monkeypatch, capsys):
    """Runs a command line in this process and gives what it printed."""
    monkeypatch.chdir(home)
    for module in (posttrain, solving):
        monkeypatch.setattr(module, "prepare_process", lambda: "")
    monkeypatch.setenv("COLUMNS", "160")
    torch.set_num_threads(1)

    def run(line):
        assert commands.run(line.split()) == 0
        return capsys.readouterr().out

    return run


SFT = "train sft --model base --data sums.jsonl --out tuned --epochs 2 --rows 4 --lr 1e-2 --device cpu"
GRPO = (
    "train grpo --model tuned --data sums.jsonl --reward my_reward.py --out better --iterations 3 --prompts 4 "
    "--group 4 --max-tokens 4 --lr 1e-3 --validation problems.jsonl --evaluate-every 2 --device cpu --preset dapo"
)


@pytest.mark.slow
def test_from_a_folder_to_a_better_one_and_its_answers(maquette, home):
    assert maquette(SFT).startswith("checkpoint folder: tuned")
    assert json.loads((home / "tuned/training.json").read_text())["sft"]["train"]["steps"] < 24
    before, after = (checkpoints.load(home / name).embedding.weight for name in ("base", "tuned"))
    assert not torch.equal(before, after)

    said = maquette(GRPO)
    assert "validation pass@1" in said
    assert "look into it: maquette show better" in said
    assert json.loads((home / "better/training.json").read_text())["grpo"]["switches"]["clip_high"] == 0.28
    weights = checkpoints.load(home / "better").embedding.weight
    assert not torch.equal(after, weights)
    assert maquette(GRPO).splitlines()[-1] == said.splitlines()[-1], "the same command again has nothing to do"
    assert torch.equal(checkpoints.load(home / "better").embedding.weight, weights)

    shown = maquette("show better --groups 1")
    assert "reward/digits" in shown
    assert "iteration 2:" in shown
    told = json.loads(maquette("show better --iteration 0 --json"))
    assert len(told["rows"]) == 3
    group = told["groups"][0]["replies"]
    assert len(group) == 4
    assert [one["reward"] for one in group] == sorted((one["reward"] for one in group), reverse=True)

    solve = "solve problems.jsonl --model better --max-tokens 3 --out solved"
    maquette(f"{solve} --strategy majority --samples 4 --check puzzles")
    answers = [json.loads(line) for line in (home / "solved/answers.jsonl").read_text().splitlines()]
    curve = json.loads((home / "solved/curve.json").read_text())
    assert len(answers) == 6
    assert [one["k"] for one in curve["curve"]] == [1, 2, 4]
    assert curve["right"] == sum(one["correct"] for one in answers)
    assert (home / "solved/accuracy-against-tokens.svg").exists()
    kept = {path: path.stat().st_mtime_ns for path in (home / "solved/bank").rglob("*.json")}
    assert len(kept) == 6 * 3
    told = json.loads(maquette(f"{solve} --strategy best-of-n --samples 4 --check my_reward.py --json"))
    assert [one["k"] for one in told["curve"]] == [1, 2, 4]
    assert kept == {path: path.stat().st_mtime_ns for path in (home / "solved/bank").rglob("*.json")}, "drawn once"
    assert "of 6 right by direct" in maquette(solve)
    unanswered = [{"prompt": json.loads(line)["prompt"]} for line in (home / "problems.jsonl").read_text().splitlines()]
    (home / "unanswered.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unanswered))
    assert "no curve: not every problem has an answer" in maquette(solve.replace("problems", "unanswered"))


def test_good_replies_are_drawn_and_learned(maquette, home):
    """Rejection sampling with a reward, a teacher's replies without one; cut off in the middle, the same lines."""
    maquette(SFT)
    sample = "sample --model tuned --data problems.jsonl --max-tokens 6 --samples 6 --rows 12 --device cpu --out"
    said = maquette(f"{sample} everything.jsonl --keep 3")
    kept = [json.loads(line) for line in (home / "everything.jsonl").read_text().splitlines()]
    assert f"kept {len(kept)} replies to" in said
    assert kept
    assert set(kept[0]) == {"prompt", "completion", "reward"}
    assert not (home / "everything.jsonl.parts").exists()

    wanted = f"{sample} good.jsonl --reward my_reward.py --least 0.1 --keep 2"
    real, calls = stages.teacher_replies, []

    def failing(*given):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(given)
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "teacher_replies", failing)
        with pytest.raises(KeyboardInterrupt):
            maquette(wanted)
    parts = sorted(path.name for path in (home / "good.jsonl.parts").iterdir())
    assert parts == ["000000.json", "made_of.json"]
    with pytest.raises(UserError, match="replies of another model, data, reward or settings"):
        maquette(wanted.replace("0.1", "0.05"))
    maquette(wanted)
    again = (home / "good.jsonl").read_text()
    (home / "good.jsonl").unlink()
    maquette(wanted)
    assert (home / "good.jsonl").read_text() == again
    assert all(json.loads(line)["reward"] >= 0.1 for line in again.splitlines())

    assert "No reply was worth 7" in maquette(f"{sample} none.jsonl --reward my_reward.py --least 7")
    taught = "train sft --model tuned --data everything.jsonl --out taught --steps 1 --device cpu"
    assert maquette(taught).startswith("checkpoint folder: taught")
    assert maquette(taught.replace("taught", "distilled") + " --teacher tuned").startswith(
        "checkpoint folder: distilled"
    )
    for line, what in (
        (f"{taught} --teacher tuned", "teacher"),
        (taught.replace("--model tuned", "--model distilled"), "model"),
    ):
        with pytest.raises(UserError, match=f"was made with another {what}; give this run a directory of its own"):
            maquette(line)
    assert json.loads((home / "taught/training.json").read_text())["teacher"] is None


def test_a_page_escapes_what_a_model_wrote(maquette, home):
    folder = home / "hostile"
    (folder / "samples").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5, "pass@1": 0.5, "loss": 0.1, "entropy": 1.0}\n')
    told = {"slot": 0, "prompt": "[red]<b>2</b>", "reply": "<script>alert(1)</script>[/x]", "reward": 1.0}
    told |= {"parts": {}, "advantage": 1.0, "correct": True, "tokens": 3, "finish": "length"}
    (folder / "samples" / "000000.jsonl").write_text(json.dumps(told) + "\n")
    assert "[red]<b>2</b>" in maquette("show hostile")
    assert maquette("show hostile --page").strip() == "hostile/show.html"
    page = (folder / "show.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[/x]" in page
    assert page.count("<svg") == 4


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train sft --model nowhere --data sums.jsonl", "nowhere is no folder"),
        ("train sft --model base --data nothing.jsonl", "nothing.jsonl does not exist"),
        ("train sft --model base --data text.jsonl", "Row 1: A row has neither prompt nor messages"),
        ("train sft --model base --data sums.jsonl --out base", "would overwrite the model"),
        ("train sft --model base --data sums.jsonl --length 3", "and a row holds 3"),
        ("train sft --model base --data sums.jsonl --epochs 0", "--epochs is 0"),
        ("train sft --data sums.jsonl", "--model"),
        ("train grpo --model base --data sums.jsonl --reward my_rewards.py", "my_rewards.py does not exist"),
        ("train grpo --model base --data sums.jsonl --reward empty.py", "defines no function reward"),
        ("train grpo --model base --data sums.jsonl --reward puzzles --preset gpo", "did you mean 'grpo'?"),
        ("train grpo --model base --data sums.jsonl --reward puzzles --max-tokens 90", "more than the model's 32"),
        ("train grpo --model base --data wrong.jsonl --reward puzzles", "wrong.jsonl, row 2 is no puzzle of kind"),
        ("train grpo --model base --data broken.jsonl --reward my_reward.py", "line 1 holds half of a surrogate pair"),
        ("sample --model base --data sums.jsonl --least nan", "least = nan: give the reward"),
        ("sample --model base --data wrong.jsonl --reward puzzles", "its answer is 'eight', not a whole number"),
        ("solve wrong.jsonl --model base --check puzzles", "wrong.jsonl, row 2 is no puzzle of kind"),
        ("sample --model base --data text.jsonl", "neither prompt nor messages"),
        ("sample --model base --data sums.jsonl --reward nothing.py", "nothing.py does not exist"),
        ("sample --model base --data sums.jsonl --samples 0", "samples = 0: give 1 or more"),
        ("sample --model base --data sums.jsonl --max-tokens 90", "32"),
        ("show base", "base holds no run of reinforcement learning"),
        ("solve problems.jsonl --model base --strategy best-of-n", "chooses by a score"),
        ("solve problems.jsonl --model base --strategy majority --temperature 0", "16 samples that are all the same"),
        ("solve problems.jsonl --model nowhere", "nowhere is no folder"),
        ("solve text.jsonl --model base", "neither prompt nor messages"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(maquette, home, line, sentence):
    out = " --out refused" if "--out" not in line and not line.startswith("show") else ""
    with pytest.raises(UserError) as refused:
        maquette(line + out)
    assert sentence in str(refused.value).replace("\n", " ")
    assert not (home / "refused").exists()


def test_the_stages_are_commands_of_their_own():
    maquette = Path(sys.executable).with_name("maquette")
    done = subprocess.run(
        [maquette, "train", "grpo", "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
        check=False,
    )
    assert done.returncode == 0
    assert "--reward" in done.stdout
    assert "Example: maquette train grpo --model DIR" in done.stdout
