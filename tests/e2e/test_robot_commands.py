"""`maquette collect`, `inspect` of a dataset and `train` of a policy as a user meets them."""

import json

import pytest

from maquette.cli import commands, models, robots, training
from maquette.core.errors import UserError
from maquette.core.media import read_clip


@pytest.fixture
def maquette(monkeypatch, tmp_path, capsys):
    """Runs a command line in an empty folder; what it printed and how it ended."""
    for module in (robots, models, training):
        monkeypatch.setattr(module, "prepare_process", lambda: "as it is")  # would start pytest anew
    monkeypatch.chdir(tmp_path)

    def run(line):
        code = commands.run(line.split())
        return code, capsys.readouterr().out

    return run


def test_from_experts_to_a_policy(maquette, tmp_path):
    code, said = maquette("collect data --episodes 3 --pixels 16 --embodiment gripper --v21 old")
    assert (code, said) == (0, "dataset: data, 3 demonstrations; 0 that failed were left out\n")
    assert json.loads((tmp_path / "old/meta/info.json").read_text())["codebase_version"] == "v2.1"
    code, said = maquette("inspect data --sheet sheet.png --json")
    found = json.loads(said)
    assert code == 0
    assert found["problems"] == []
    assert found["facts"]["robot"] == "gripper"
    assert set(found["histograms"]) == {"x", "y", "grip"}
    (tmp_path / "pictures").mkdir()
    (tmp_path / "sheet.png").rename(tmp_path / "pictures/1.png")
    assert read_clip(tmp_path / "pictures").frames.shape[2] > 6 * 128
    code, said = maquette("inspect data")
    assert "action: grip" in said
    code, said = maquette("train act --dataset data --size tiny --chunk 4 --steps 2 --out policy --device cpu")
    assert code == 0
    assert said.endswith("policy: policy\n")
    assert json.loads((tmp_path / "policy/policy.json").read_text())["robot"] == "gripper"
    code, said = maquette("inspect policy --json")
    assert json.loads(said)["action_names"] == ["x", "y", "grip"]
    assert "velocities" in maquette("inspect policy")[1]
    code, said = maquette("evaluate policy --episodes 2 --task reach")
    assert code == 0
    assert "n = 2, too few to judge by; 200 do" in said
    result = json.loads((tmp_path / "policy/evaluation/result.json").read_text())
    assert (result["episodes"], result["tasks"], result["execute"]) == (2, ["reach"], 8)
    assert result["low"] <= result["rate"] <= result["high"]
    assert len(list((tmp_path / "policy/evaluation").glob("*.gif"))) == 2
    with pytest.raises(UserError, match=r"differ in the numbers of its state: 3 and 2"):
        maquette("evaluate policy --embodiment pusher")


def test_a_broken_dataset_is_told(maquette, tmp_path):
    maquette("collect data --episodes 2 --pixels 16")
    next(tmp_path.glob("data/data/*/*.parquet")).unlink()
    code, said = maquette("inspect data")
    assert code == 1
    assert "broken:" in said


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("collect data --task push-too", "did you mean 'push-to'"),
        ("collect data --embodiment pushr", "did you mean 'pusher'"),
        ("collect data --episodes 0", "episodes = 0"),
        ("collect data --pixels 0", "size = 0"),
        ("train pi0", "give --dataset DIR"),
        ("train pi0 --dataset nowhere", "is no folder"),
        ("train tiny-llama --head flow", "--head is for policies"),
        ("train tiny-video --chunk 3", "--chunk is for policies"),
        ("inspect . --sheet a.png", "--sheet draws datasets"),
        ("evaluate nowhere", "has no policy.json"),
        ("evaluate expert", "--task is missing"),
        ("evaluate expert --task reach --env pushed", "env = 'pushed' is no world"),
        ("evaluate expert --task reach --delay 3", "delay = 3"),
        ("collect data --env metaworlds", "did you mean 'metaworld'"),
        ("train tiny-vlm --text .", "leave --text and --dataset out"),
        ("train tiny-llama --vlm .", "--vlm is for policies"),
    ],
)
def test_bad_input_is_one_sentence(maquette, tmp_path, line, sentence):
    with pytest.raises(UserError, match=sentence):
        maquette(line)
    assert not list(tmp_path.iterdir())
