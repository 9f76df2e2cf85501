"""`maquette world` as a user meets it."""

import json

import numpy as np
import pytest
from PIL import Image

from maquette.cli import commands, worlds
from maquette.core.errors import UserError
from maquette.core.media import read_clip
from maquette.worlds.scene.vocabulary import LAWS


@pytest.fixture
def maquette(monkeypatch, tmp_path, capsys):
    """Runs a command line in an empty folder; what it printed."""
    monkeypatch.setattr(worlds, "prepare_process", lambda: "as it is")  # would start pytest anew
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert commands.run(["world", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_it_draws_a_sheet_and_an_animation(maquette, tmp_path):
    said = maquette("scene", "--show", "--size", "32")
    sheet, animation = tmp_path / "runs" / "world" / "scene.png", tmp_path / "runs" / "world" / "scene.gif"
    assert said == "sheet: runs/world/scene.png\nanimation: runs/world/scene.gif\n"
    assert sorted(sheet.parent.iterdir()) == [animation, sheet]
    frames, fps = read_clip(animation)
    assert (len(frames), fps) == (16, 8)
    cells = frames[:, 4 : 4 + 192, 4 : 4 + 192]  # inertia: the first clip moves, and the paper between does not
    assert (cells[0] != cells[-1]).any()
    assert (frames[:, 200:214, -2:] == 255).all()
    picture = np.asarray(Image.open(sheet))
    assert picture.shape[1] == 4 + 8 * 132
    assert picture.shape[0] > 15 * 132


def test_it_draws_one_law_in_several_ways(maquette, tmp_path):
    shown = json.loads(
        maquette("scene", "--show", "--law", "elastic-collision", "--seed", "7", "--out", "here", "--json")
    )
    assert shown["sheet"] == "here/scene-elastic-collision.png"
    assert shown["shows"][0] == "elastic collision, seed 7"
    assert len(set(shown["shows"])) == 10
    first = (tmp_path / shown["animation"]).read_bytes()
    maquette("scene", "--show", "--law", "elastic collision", "--seed", "7", "--out", "here")
    assert (tmp_path / shown["animation"]).read_bytes() == first
    maquette("scene", "--show", "--law", "elastic collision", "--seed", "8", "--out", "here")
    assert (tmp_path / shown["animation"]).read_bytes() != first


def test_it_names_what_is_in_it(maquette, tmp_path):
    assert json.loads(maquette("scene", "--json"))["laws"] == list(LAWS)
    assert "pendulum" in maquette("scene")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("scen", "no world 'scen'; did you mean 'scene'?"),
        ("scene --show --law pendulun", "no law 'pendulun'; did you mean 'pendulum'?"),
        ("scene --show --law inertia --size 8", "--size = 8 must be a whole number from 16 to 512 pixels"),
        ("scene --shw", "did you mean --show?"),
        ("scene --law inertia", "--law says what to draw; add --show"),
        ("scene --seed 5", "--seed says what to draw; add --show"),
        ("scene --json --size 32", "--size says what to draw; add --show"),
        ("scene --out here", "--out says what to draw; add --show"),
    ],
)
def test_bad_input_is_one_sentence(maquette, tmp_path, line, sentence):
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        maquette(*line.split())
    assert not list(tmp_path.iterdir())
