"""Datasets between us and lerobot 0.4.4 itself, which lives in an environment of its own (scripts/lerobot.sh)."""

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maquette.robotics.collecting import CAMERA, Collection, collect
from maquette.robotics.datasets.export import export
from maquette.robotics.datasets.inspection import inspect_dataset
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.validation import validate
from maquette.robotics.deployment import load
from maquette.robotics.training import RECIPES, carry_out

PYTHON = Path(os.environ.get("MAQUETTE_LEROBOT", ".venv-lerobot")).absolute() / "bin" / "python"
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="scripts/lerobot.sh has not made .venv-lerobot"),
    pytest.mark.against("lerobot", python=PYTHON),
]


def lerobot(*arguments):
    """What lerobot's side says."""
    command = [str(PYTHON), str(Path(__file__).with_name("lerobot_side.py")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_the_same(theirs, dataset, exact=True):
    """Every frame's numbers, pictures and task."""
    assert (theirs["episodes"], theirs["frames"]) == (dataset.info.episodes, dataset.info.frames)
    tasks = [dataset.tasks[i] for i in dataset.numbers("task_index")[:, 0]]
    assert theirs["tasks"] == tasks
    for name, values in theirs["numbers"].items():
        assert np.array_equal(
            np.array(values).reshape(dataset.info.frames, -1), dataset.numbers(name).reshape(dataset.info.frames, -1)
        ), name
    for camera, said in theirs["pictures"].items():
        ours = np.concatenate([dataset.pictures(camera, episode) for episode in dataset.episodes])
        if dataset.info.features[camera].dtype == "image":
            assert said["sha256"] == [hashlib.sha256(p.tobytes()).hexdigest() for p in ours]
        else:  # the same frames, but for how colours are rounded
            assert np.abs(np.array(said["means"]) - ours.mean(axis=(1, 2, 3))).max() < 2


@pytest.mark.parametrize("pictures", ["image", "video"])
def test_lerobot_reads_what_we_collect(tmp_path, pictures):
    collect(Collection(episodes=4, size=32, pictures=pictures, embodiment="gripper"), tmp_path / "data")
    dataset = Dataset(tmp_path / "data")
    theirs = lerobot("read", tmp_path / "data")
    assert_the_same(theirs, dataset)
    assert len(set(theirs["tasks"])) > 1
    for name in (STATE, ACTION, CAMERA):
        for key, value in dataset.stored_statistics[name].items():
            assert np.allclose(theirs["statistics"][name][key], value), (name, key)


def test_we_read_what_lerobot_writes(tmp_path):
    lerobot("write", tmp_path / "data")
    faults = validate(tmp_path / "data")
    assert faults.problems == ()
    assert any("q01" in remark and "action" in remark for remark in faults.remarks), "its quantiles are means"
    dataset = Dataset(tmp_path / "data")
    assert [e.length for e in dataset.episodes] == [8, 9, 10]
    assert dataset.numbers(ACTION)[:, 0].tolist() == [0.0] * 8 + [1.0] * 9 + [2.0] * 10
    for episode in dataset.episodes:
        shades = dataset.pictures("observation.images.right", episode).mean(axis=(1, 2, 3))
        wanted = 12 * np.arange(episode.length) + 40 * episode.number
        assert np.abs(shades - wanted).max() < 4
        assert episode.tasks == (f"move the thing {episode.number % 2}",)
    assert_the_same(lerobot("read", tmp_path / "data"), dataset)
    assert inspect_dataset(tmp_path / "data").facts["episodes"] == 3
    recipe = RECIPES["pi0"]
    recipe = replace(recipe, size="tiny", chunk=8, pixels=32, rows=8, train=replace(recipe.train, steps=4))
    trained = carry_out(recipe, tmp_path / "data", tmp_path / "policy")
    assert np.isfinite(trained.final["held_out_loss"])
    card = load(tmp_path / "policy").card
    assert card.cameras == ("observation.images.left", "observation.images.right")
    assert (card.shape.state, card.shape.numbers, card.control_hz) == (4, 3, 15)


@pytest.mark.parametrize("pictures", ["image", "video"])
def test_lerobots_converter_takes_our_v21(tmp_path, pictures):
    collect(Collection(episodes=3, size=32, pictures=pictures), tmp_path / "data")
    dataset = Dataset(tmp_path / "data")
    export(dataset, tmp_path / "old")
    assert_the_same(lerobot("upgrade", tmp_path / "old"), dataset)
