"""From words to clips: vocabulary, data, batches, the loss, diagnostics, sampling, the folder."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from maquette.cli import commands, models
from maquette.core.errors import UserError
from maquette.core.media import write_mp4, write_png
from maquette.language.llama import LlamaConfig
from maquette.train.loop import TrainConfig
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video import studio as studio_module
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig
from maquette.video.clips import Clips, as_frames, as_numbers, folder_clips, scene_clips
from maquette.video.diagnosis import overfit
from maquette.video.dit import DiTConfig
from maquette.video.recipes import RECIPES, Autoencoding, Recipe, carry_out
from maquette.video.studio import Studio
from maquette.video.text_to_video import (
    LatentBatches,
    Learning,
    TextToVideo,
    count_frames,
    learning_of,
    loss_by_noise,
    losses,
    sample,
)
from maquette.video.words import Vocabulary, split
from maquette.worlds.scene.vocabulary import COLOURS, SHAPES, is_held_out
from maquette.worlds.scene.words.lexicon import NOUNS

torch.set_num_threads(1)

DIT = DiTConfig(channels=4, patch=(1, 1, 1), width=24, layers=2, heads=2, text_width=12, reading="joint")
READER = LlamaConfig(vocabulary=9, width=12, layers=1, heads=2, kv_heads=2, hidden=16, context=32, tied=True)
RUN = TrainConfig(
    steps=2, optimizer=OptimizerConfig(lr=1e-3), schedule=Schedule(warmup=1), precision="fp32", device="cpu"
)
SMOKE = Recipe(
    about="a test",
    shows="a thing",
    frames=9,
    size=16,
    clips=6,
    autoencoding=Autoencoding(model=AutoencoderConfig(width=4, latent=4, space=4, time=2), train=RUN, rows=2),
    dit=DIT,
    reader=READER,
    train=dataclasses.replace(RUN, ema=0.5),
    rows=4,
)
SHAPE = (4, 3, 4, 4)
LEARNING = Learning()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_model(seed=0, **changes):
    model = TextToVideo(dataclasses.replace(DIT, **changes), READER)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(1.0 if p.ndim == 1 else 0.0, 0.2 if p.ndim == 1 else p.shape[1] ** -0.5, generator=generator)
    return model.eval()


def some_batches(learning=LEARNING, rows=8):
    words = torch.tensor([[2, 3, 1, 0], [4, 1, 0, 0], [5, 6, 7, 1]])
    return LatentBatches(latents=draw(3, *SHAPE), words=words, rows=rows, seed=0, learning=learning)


# ---- words


def test_captions_are_words_and_marks_and_what_is_unknown_is_said():
    vocabulary = Vocabulary.of(["a red ball rolls.", "A blue ball, it's small."])
    numbers = vocabulary.encode(["a red ball.", "it's"])
    assert [[vocabulary.words[n] for n in row] for row in numbers.tolist()] == [
        ["a", "red", "ball", ".", "<end>"],
        ["it's", "<end>", "<nothing>", "<nothing>", "<nothing>"],
    ]
    assert vocabulary.unknown("a green green frog") == ["green", "frog"]
    with pytest.raises(UserError, match=r"word 'bal' .*did you mean 'ball'"):
        vocabulary.encode(["a red bal"])
    assert Vocabulary(vocabulary.words).words == vocabulary.words


# ---- clips


def test_scene_clips_follow_the_seed_and_leave_out_what_is_kept_for_tests():
    one, same, other = (scene_clips(6, seed, size=16, frames=9) for seed in (0, 0, 1))
    assert one.frames.shape == (6, 9, 16, 16, 3)
    assert np.array_equal(one.frames, same.frames)
    assert one.captions == same.captions
    assert one.captions != other.captions
    assert np.array_equal(as_frames(as_numbers(one.frames)), one.frames)
    kept = scene_clips(6, 0, size=16, frames=9, held_out=True)
    for clips, held_out in ((one, False), (other, False), (kept, True)):
        assert {is_held_out(*looks(caption)) for caption in clips.captions} == {held_out}


def looks(caption):
    words = split(caption)
    shape = next(s for s in SHAPES if any(noun in words for pair in NOUNS[s] for noun in pair))
    return next(colour for colour in COLOURS if colour in words), shape


def a_folder(folder, **captions):
    for name, words in captions.items():
        frames = np.zeros((6, 20, 30, 3), np.uint8)
        frames[:, :, 15:] = (200, 40, 40)
        write_mp4(folder / f"{name}.mp4", frames, 8.0)
        if words is not None:
            (folder / f"{name}.txt").write_text(words, encoding="utf-8")
    return folder


def test_a_folder_of_clips_is_cut_square_and_to_length(tmp_path):
    clips = folder_clips(a_folder(tmp_path, b="a red half.", a="the same."), size=10, frames=5)
    assert clips.frames.shape == (2, 5, 10, 10, 3)
    assert clips.captions == ("the same.", "a red half.")
    assert clips.fps == 8
    assert clips.frames[0, 0, 5, 8, 0] > 150 > 50 > clips.frames[0, 0, 5, 1, 0]


@pytest.mark.parametrize(
    ("name", "words", "frames", "complaint"),
    [
        ("a", None, 5, r"a\.mp4 has no caption"),
        ("a", "  ", 5, r"a\.mp4 has no caption"),
        ("a", "fine", 7, r"has 6 frames, but the model learns clips of 7"),
    ],
)
def test_a_folder_that_cannot_be_learnt_from_is_refused(tmp_path, name, words, frames, complaint):
    with pytest.raises(UserError, match=complaint):
        folder_clips(a_folder(tmp_path, **{name: words}), size=10, frames=frames)


def test_no_folder_no_clips_and_damaged_clips_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="holds no clips"):
            folder_clips(folder, size=10, frames=5)
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    (tmp_path / "a.txt").write_text("a caption")
    with pytest.raises(UserError, match="cannot be read"):
        folder_clips(tmp_path, size=10, frames=5)


# ---- what is learnt


def test_batches_are_a_function_of_the_step_and_see_every_clip():
    batches = some_batches(rows=3)
    assert all(torch.equal(a, b) for a, b in zip(batches.batch(5).values(), batches.batch(5).values(), strict=True))
    for step in range(4):
        seen = batches.batch(step)["latents"].flatten(1)
        assert len(seen.unique(dim=0)) == 3, "a pass over three clips has each once"


def test_captions_are_hidden_and_first_frames_shown_as_often_as_asked():
    many = some_batches(Learning(unsaid=0.2, given=0.4), rows=4000).batch(0)
    hidden = (many["words"][:, 0] == 1) & (many["words"][:, 1:] == 0).all(1)
    assert float(hidden.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float((many["time"][:, 0] == 0).float().mean()) == pytest.approx(0.4, abs=0.03)
    assert (many["time"][:, 1:] > 0).all()


def test_the_loss_counts_frames_that_were_not_given_and_shows_those_that_were():
    batch, seen = some_batches(Learning(given=0.5)).batch(0), []

    class Perfect(nn.Module):
        def forward(self, x, time, words):
            seen.append((x, time))
            return batch["noise"] - batch["latents"]

    learning = Learning()
    assert losses(Perfect(), batch, learning.objective).abs().max() < 1e-10
    x, label = seen[0]
    given = batch["time"][:, 0] == 0
    assert 0 < given.sum() < 8
    assert torch.equal(x[given, :, 0], batch["latents"][given, :, 0])
    t = batch["time"][:, None, :, None, None]
    torch.testing.assert_close(x, (1 - t) * batch["latents"] + t * batch["noise"])
    torch.testing.assert_close(label, 1000 * batch["time"])
    worse = losses(lambda x, time, words: Perfect()(x, time, words) + 2.0, batch, learning.objective)
    torch.testing.assert_close(worse, torch.where(batch["time"] == 0, 0.0, 4.0))


def test_a_clip_has_one_time_where_no_first_frame_is_given():
    batch = some_batches(Learning(given=0.0)).batch(0)
    assert batch["time"].shape == (8, 1)
    assert losses(a_model(), batch, LEARNING.objective).shape == (8, 3)
    assert count_frames(batch) == 8 * 3
    each = {**batch, "time": batch["time"].repeat(1, 3)}
    torch.testing.assert_close(*(losses(a_model(), one, LEARNING.objective) for one in (batch, each)))
    assert count_frames(each) == 8 * 3


def test_some_batches_are_images():
    batches = some_batches(Learning(stills=0.5))
    lengths = [batches.batch(step)["latents"].shape[2] for step in range(40)]
    assert set(lengths) == {1, 3}
    assert 10 < lengths.count(1) < 30
    still = batches.batch(lengths.index(1))
    assert still["time"].shape == (8, 1)
    assert losses(a_model(), still, LEARNING.objective).shape == (8, 1)
    assert {some_batches().batch(step)["latents"].shape[2] for step in range(40)} == {3}


@pytest.mark.parametrize("name", ["flow", "data", "velocity", "noise", "residual"])
@pytest.mark.parametrize("conditioning", ["adaLN-Zero", "in-context", "cross-attention"])
def test_every_objective_is_learnt_and_sampled_whatever_the_conditioning(name, conditioning):
    learning = learning_of(name, given=0.0)
    model = a_model(conditioning=conditioning, reading="pooled")
    batch = some_batches(learning).batch(0)
    assert torch.isfinite(losses(model, batch, learning.objective)).all()
    made = sample(model, batch["words"][:2], SHAPE, learning.objective, steps=3)
    assert torch.isfinite(made).all()
    with pytest.raises(UserError, match="no objective 'flw'"):
        learning_of("flw")


def test_patches_may_span_frames_which_then_have_one_time():
    model = a_model(patch=(3, 1, 1))
    batch = some_batches(Learning(given=0.0)).batch(0)
    assert losses(model, batch, LEARNING.objective).shape == (8, 3)
    with pytest.raises(ValueError, match="one time"):
        losses(model, some_batches(Learning(given=0.9)).batch(0), LEARNING.objective)


def test_without_adaln_no_frame_has_a_time_of_its_own():
    model, batch = a_model(conditioning="in-context", reading="pooled"), some_batches(Learning(given=0.9)).batch(0)
    with pytest.raises(ValueError, match="one time"):
        losses(model, batch, LEARNING.objective)


def test_overfitting_one_batch_works_and_shows_a_model_that_cannot_learn():
    batches = some_batches(Learning(unsaid=0, given=0))
    model = TextToVideo(DIT, READER).initialise(torch.Generator().manual_seed(0))
    falling = overfit(model, batches, 60, lr=5e-3)
    assert falling[-1] < 0.5 * falling[0]
    broken = TextToVideo(DIT, READER).initialise(torch.Generator().manual_seed(0))
    for p in broken.dit.blocks.parameters():
        p.requires_grad_(False)
    broken.dit.head.weight.requires_grad_(False)
    stuck = overfit(broken, batches, 20, lr=5e-3)
    assert stuck[-1] > 0.8 * stuck[0]


def test_loss_by_noise_is_that_of_each_level():
    batches = some_batches()

    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x, time, words):
            return (time / 1000)[:, None, :, None, None] + 0 * x * self.weight

    found = loss_by_noise(Silent(), batches, levels=4)
    drawn = batches.batch(10**6)
    for level, (name, value) in enumerate(found.items()):
        t = (level + 0.5) / 4
        assert name == f"loss at t = {t:.2f}"
        assert value == pytest.approx(float(((drawn["noise"] - drawn["latents"] - t) ** 2).mean()), rel=1e-5)


# ---- sampling


def test_a_seed_and_words_give_a_clip_whatever_stands_beside_it():
    model, words = a_model(), torch.tensor([[2, 3, 1, 0], [5, 6, 7, 1]])
    keys = {"steps": 3, "guidance": 2.0, "seed": 4}
    both = sample(model, words, SHAPE, Learning().objective, **keys)
    alone = sample(model, words[:1, :3], SHAPE, Learning().objective, **keys)
    torch.testing.assert_close(alone[0], both[0], rtol=1e-4, atol=1e-5)
    other = sample(model, words[[1, 1]], SHAPE, Learning().objective, **keys)
    assert not torch.allclose(other[0], both[0], atol=1e-3), "words matter"
    later = sample(model, words, SHAPE, Learning().objective, **keys | {"seed": 5})
    assert not torch.allclose(later, both, atol=1e-3)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm++2m", "ancestral"])
def test_a_given_first_frame_stays_and_the_rest_follows_it(sampler):
    model, words = a_model(), torch.tensor([[2, 3, 1]])
    keys = {"steps": 4, "sampler": sampler, "seed": 1}
    torch.manual_seed(0)
    found = [
        sample(model, words, SHAPE, Learning().objective, first=draw(1, 4, 1, 4, 4, seed=s), **keys) for s in (1, 2)
    ]
    assert torch.equal(found[0][:, :, :1], draw(1, 4, 1, 4, 4, seed=1))
    assert torch.isfinite(found[0]).all()
    assert not torch.allclose(found[0][:, :, 1:], found[1][:, :, 1:], atol=1e-3)


# ---- the folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    clips = scene_clips(SMOKE.clips, 0, size=16, frames=9)
    examination = scene_clips(12, 1, size=16, frames=9, held_out=True)
    said: list[str] = []
    trained, examined = carry_out(SMOKE, clips, folder, examinations={"new": examination}, stage=said.append)
    assert said == ["training the autoencoder", "encoding the clips", "training", "examining: new"]
    assert examined["new"]
    studio = Studio.load(folder)
    weights = studio.model.state_dict()
    assert trained.averaged
    assert all(torch.equal(weights[name], averaged) for name, averaged in trained.averaged.items())
    return studio, folder, clips


def test_a_recipe_leaves_a_folder_that_makes_the_same_clips(trained):
    studio, folder, clips = trained
    prompts = [clips.captions[0], clips.captions[1]]
    made = studio.generate(prompts, steps=2, seed=3)
    assert made.shape == (2, 9, 16, 16, 3)
    assert made.dtype == np.uint8
    studio.save(folder / "again")
    assert np.array_equal(Studio.load(folder / "again").generate(prompts, steps=2, seed=3), made)
    longer = studio.generate(prompts[:1], steps=2, frames=13, first=clips.frames[0, 0])
    assert longer.shape == (1, 13, 16, 16, 3)
    record = json.loads((folder / "training.json").read_text())
    assert record["examinations"]["new"]["clips"] <= 12
    final = record["final"]
    assert len(final) == 8
    assert all(value > 0 for value in final.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": 4}, "4 frames.* give 3 or 5"),
        ({"steps": 0}, "steps = 0"),
        ({"guidance": -1.0}, "guidance = -1"),
        ({"sampler": "magic"}, "sampler = 'magic'"),
        ({"first": np.zeros((8, 16, 3), np.uint8)}, "16 × 8 pixels; give one of 16 × 16"),
    ],
    ids=["frames", "steps", "guidance", "sampler", "first"],
)
def test_what_cannot_be_made_is_refused(trained, changes, words):
    studio, _, clips = trained
    with pytest.raises(UserError, match=words):
        studio.generate([clips.captions[0]], **changes)


def test_a_clip_too_long_for_memory_is_refused_before_it_is_begun(trained, monkeypatch):
    studio, _, clips = trained
    monkeypatch.setattr(studio_module, "_free_bytes", lambda: 2**20)
    monkeypatch.setattr(studio_module, "sample", lambda *_, **__: pytest.fail("it was begun"))
    with pytest.raises(UserError, match=r"1 clips of 4001 frames would take some \d+\.\d GiB"):
        studio.generate([clips.captions[0]], frames=4001)


def test_a_folder_says_what_it_is_and_a_damaged_one_or_another_kind_is_refused(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models, "prepare_process", lambda: "")  # which may start the process anew
    studio, _, _ = trained
    studio.save(tmp_path)
    assert commands.run(["inspect", str(tmp_path)]) == 0
    assert "text to video" in capsys.readouterr().out
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        Studio.load(tmp_path)
    other = dataclasses.replace(studio, autoencoder=Autoencoder(dataclasses.replace(SMOKE.autoencoding.model, width=8)))
    other.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["autoencoder"]["width"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="do not belong together"):
        Studio.load(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "llama"}')
    with pytest.raises(UserError, match="not that of a video model"):
        Studio.load(tmp_path)


def test_recipes_fit_together():
    for recipe in RECIPES.values():
        channels, *_ = recipe.autoencoding.model.latent_shape(recipe.frames, recipe.size, recipe.size)
        assert recipe.dit.channels == channels
        TextToVideo(recipe.dit, recipe.reader)


def test_clips_of_another_size_are_refused_before_training(tmp_path):
    clips = Clips(frames=np.zeros((1, 4, 16, 16, 3), np.uint8), captions=("a",), fps=8)
    with pytest.raises(UserError, match="4 frames"):
        carry_out(SMOKE, clips, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_reader_is_no_wider_or_narrower_than_the_dit_expects():
    with pytest.raises(UserError, match="text_width = 12"):
        TextToVideo(DIT, dataclasses.replace(READER, width=16))


def test_a_picture_is_read_for_the_first_frame(tmp_path):
    from maquette.cli.videos import _picture

    picture = np.full((16, 16, 3), 7, np.uint8)
    write_png(tmp_path / "one.png", picture)
    assert np.array_equal(_picture(tmp_path / "one.png", 16), picture)
    (tmp_path / "two.png").write_text("no")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        _picture(tmp_path / "two.png", 16)
