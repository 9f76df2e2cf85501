"""maquette train tiny-video on one's own clips, and maquette generate, as a user types them."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest

from maquette.cli import commands, training, videos
from maquette.core.errors import UserError
from maquette.core.media import read_clip, write_mp4, write_png
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video import recipes

TINY = recipes.RECIPES["tiny-video"]
SMALL = dataclasses.replace(
    TINY,
    rows=2,
    autoencoding=dataclasses.replace(TINY.autoencoding, train=dataclasses.replace(TINY.autoencoding.train, steps=2)),
    train=dataclasses.replace(TINY.train, optimizer=OptimizerConfig(lr=3e-3), schedule=Schedule(warmup=2)),
)


def maquette(*arguments, folder):
    """What a command line prints, carried out in a folder."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        for module in (training, videos):
            patch.setattr(module, "prepare_process", lambda: "as it is")  # would start pytest anew
        patch.setitem(recipes.RECIPES, "tiny-video", dataclasses.replace(TINY, rows=2))
        patch.chdir(folder)
        assert commands.run([str(argument) for argument in arguments]) == 0
    return said.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model trained for two steps on two clips."""
    place = tmp_path_factory.mktemp("generate")
    for number, words in enumerate(("a red half stays.", "a red half leaves.")):
        frames = np.full((17, 32, 32, 3), 230, np.uint8)
        frames[:, :, 16:] = (200, 40, 40)
        (place / "clips").mkdir(exist_ok=True)
        write_mp4(place / "clips" / f"{number}.mp4", frames, 8.0)
        (place / "clips" / f"{number}.txt").write_text(words, encoding="utf-8")
    said = maquette("train", "tiny-video", "--clips", "clips", "--steps", 2, "--out", "model", folder=place)
    assert "t = 0.06" in said
    assert "maquette generate 'a red half stays.' --model model" in said
    return place


@pytest.mark.slow
def test_words_become_clips_and_a_sheet(folder):
    said = maquette(
        *("generate", "a red half stays.", "a half leaves.", "--model", "model", "--steps", 2, "--seed", 3, "--json"),
        folder=folder,
    )
    told = json.loads(said)
    assert [clip["prompt"] for clip in told["clips"]] == ["a red half stays.", "a half leaves."]
    for clip in told["clips"]:
        footage = read_clip(folder / clip["mp4"])
        assert footage.frames.shape == (17, 256, 256, 3)
        assert footage.fps == 8
        assert set(clip) == {"prompt", "mp4", "asked", "read", "right", "n", "holds", "unread"}
        assert "half" in clip["unread"]
        assert clip["asked"] is clip["holds"] is None
    assert read_clip(folder / "runs/generate/clip-2.gif").frames.shape[1:] == (256, 256, 3)  # like frames are joined
    assert (folder / told["sheet"]).stat().st_size > 1000
    assert json.loads((folder / "runs/generate/clips.json").read_text()) == told
    said = maquette("generate", "a red half stays.", "--model", "model", "--steps", 2, folder=folder)
    assert "rejected: " in said
    assert "not judged: 'half'" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a purple half."], "word 'purple'"),
        (["a half.", "--frames", 10**7], "GiB of memory, of which"),
        (["a half.", "--first", "small.png"], "give one of 16 × 16"),
        (["a half.", "--first", "none.png"], "none.png cannot be read"),
        (["a half.", "--model", "clips"], "config.json does not exist"),
    ],
    ids=["word", "frames", "size", "picture", "model"],
)
def test_what_cannot_be_done_is_said_in_one_sentence(folder, arguments, complaint):
    write_png(folder / "small.png", np.zeros((8, 8, 3), np.uint8))
    options = [] if "--model" in arguments else ["--model", "model"]
    with pytest.raises(UserError, match=complaint):
        maquette("generate", *arguments, *options, "--out", "nothing", folder=folder)
    assert not (folder / "nothing").exists()


@pytest.mark.slow
def test_one_batch_over_and_over_tells_whether_it_learns(folder):
    said, code = io.StringIO(), None
    for steps in (1, 25):
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
            for module in (training, videos):
                patch.setattr(module, "prepare_process", lambda: "as it is")
            patch.setitem(recipes.RECIPES, "tiny-video", SMALL)
            patch.chdir(folder)
            words = ["train", "tiny-video", "--clips", "clips", "--overfit", "--steps", str(steps), "--out", "overfit"]
            code = commands.run(words)
        assert code == (1 if steps == 1 else 0)
    assert "look for a mistake" in said.getvalue()
    assert "it learns" in said.getvalue()
    assert not (folder / "overfit" / "config.json").exists(), "it trains nothing to be used"


@pytest.mark.slow
def test_options_of_the_other_family_are_refused(folder):
    for arguments in (["tiny-video", "--text", "clips"], ["tiny-llama", "--clips", "clips"]):
        with pytest.raises(UserError, match="--clips"):
            maquette("train", *arguments, folder=folder)


def test_several_processes_are_refused(folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="tiny-video trains in one process"):
        maquette("train", "tiny-video", "--clips", "clips", "--out", "nothing", folder=folder)
    assert not (folder / "nothing").exists()
