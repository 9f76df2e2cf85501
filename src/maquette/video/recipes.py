"""Named training runs of the video family: an autoencoder, then a text-to-video model on its latents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.core.seeds import numpy_generator, torch_generator
from maquette.language.llama import LlamaConfig
from maquette.train.loop import TrainConfig, Trained, train
from maquette.train.metrics import Sink
from maquette.train.optimizers import OptimizerConfig
from maquette.train.record import write_record
from maquette.train.schedules import Schedule
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig, count_pixels, reconstruction_loss
from maquette.video.clips import PLAIN, Clips, as_numbers
from maquette.video.dit import DiTConfig
from maquette.video.judging import Examined, examine
from maquette.video.studio import Format, Studio
from maquette.video.text_to_video import (
    LatentBatches,
    Learning,
    TextToVideo,
    blind_loss_by_noise,
    count_frames,
    learning_of,
    loss_by_noise,
    training_loss,
)
from maquette.video.words import Vocabulary

Progress = Callable[[int, int], None]
"""Told (done, total)."""


@dataclass(frozen=True, kw_only=True)
class Autoencoding:
    """An autoencoder and its training."""

    model: AutoencoderConfig
    train: TrainConfig
    rows: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, and on what."""

    about: str
    shows: str
    """What is in the scene world's clips."""
    frames: int
    size: int
    clips: int
    """Of the scene world, if the user brings none."""
    world: dict[str, Any] = field(default_factory=lambda: PLAIN)
    """Which of the scene world's: arguments of `scene_clips`."""
    autoencoding: Autoencoding
    dit: DiTConfig
    reader: LlamaConfig
    """Its vocabulary follows from the captions."""
    predicts: str = "data"
    """As `learning_of` calls it."""
    given: float = 0.25
    """Share of clips whose first frame is shown."""
    train: TrainConfig
    rows: int
    examined: int = 128
    """Clips of the scene world, in each examination, whose captions the model is given at its end."""

    @property
    def learning(self) -> Learning:
        """What the model learns from the latents."""
        return learning_of(self.predicts, unsaid=0.1, given=self.given)


RECIPES = {
    "tiny-video": Recipe(
        about="4 million parameters",
        shows="one large thing of rubber",
        frames=17,
        size=16,
        clips=4096,
        autoencoding=Autoencoding(
            model=AutoencoderConfig(width=64, latent=6, space=2, time=1, wavelet=1, seen=1),
            train=TrainConfig(
                steps=4000,
                optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0),
                schedule=Schedule(warmup=50, cooldown=0.4),
                save_every=200,
            ),
            rows=2,
        ),
        dit=DiTConfig(channels=6, patch=(1, 4, 4), width=192, layers=6, heads=6, text_width=64, qk_norm=True),
        reader=LlamaConfig(
            vocabulary=1, width=64, layers=1, heads=2, kv_heads=2, hidden=176, context=64, rope_theta=1e4, tied=True
        ),
        train=TrainConfig(
            steps=7000,
            optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.0),
            schedule=Schedule(warmup=200, cooldown=0.4),
            ema=0.999,
            save_every=250,
            evaluate_every=500,
        ),
        rows=16,
    ),
}


def carry_out(
    recipe: Recipe,
    clips: Clips,
    out: Path,
    *,
    examinations: Mapping[str, Clips] | None = None,
    stage: Callable[[str], None] = lambda name: None,
    progress: Progress = lambda done, total: None,
    sinks: Sequence[Sink] = (),
) -> tuple[Trained, dict[str, list[Examined]]]:
    """Train both models and leave in `out` a folder for `maquette generate`; the same call goes on from there.

    Args:
        recipe: what is trained.
        clips: to learn from.
        out: the folder.
        examinations: sets of the scene world's clips, by name; the model is given their captions at the end, and the
            parser judges.
        stage: told what is done now.
        progress: told how far that is.
        sinks: further places for the numbers of the text-to-video model's training.

    Raises:
        UserError: as `maquette.train.loop.train`; the clips do not fit the recipe.
    """
    autoencoder, model, batches, vocabulary = prepared(recipe, clips, out, stage, progress)
    stage("training")
    trained = train(
        model,
        training_loss(recipe.learning.objective),
        count_frames,
        batches.batch,
        recipe.train,
        directory=out / "training",
        evaluate=lambda bare: loss_by_noise(bare, batches),
        progress=progress,
        sinks=sinks,
        made_of={"words": list(vocabulary.words)}
        | {name: asdict(getattr(recipe, name)) for name in ("dit", "reader", "learning")},
    )
    if trained.averaged is not None:
        model.load_state_dict(trained.averaged, strict=False)
    studio = Studio(
        autoencoder=autoencoder.cpu(),
        model=model.cpu().eval(),
        vocabulary=vocabulary,
        predicts=recipe.predicts,
        format=Format(frames=recipe.frames, size=recipe.size, fps=clips.fps),
    )
    studio.save(out)
    examined, kept = dict[str, list[Examined]](), dict[str, Any]()
    for name, asked in (examinations or {}).items():
        stage(f"examining: {name}")
        examined[name], left_out = examine(studio, asked, progress=progress)
        kept[name] = {"clips": len(asked.captions) - left_out, "asked for": [one.as_json() for one in examined[name]]}
    blind = blind_loss_by_noise(recipe.learning.objective)
    write_record(out, trained, recipe=asdict(recipe), clips=len(clips.captions), blind=blind, examinations=kept)
    return trained, examined


def prepared(
    recipe: Recipe, clips: Clips, out: Path, stage: Callable[[str], None], progress: Progress
) -> tuple[Autoencoder, TextToVideo, LatentBatches, Vocabulary]:
    """The autoencoder, trained; the model as it starts, what it learns from, and its words.

    Raises:
        UserError: as `carry_out`.
    """
    recipe.autoencoding.model.latent_shape(*clips.frames.shape[1:4])
    stage("training the autoencoder")
    autoencoder = train_autoencoder(recipe.autoencoding, clips, out / "autoencoder", progress)
    stage("encoding the clips")
    latents = encode_all(autoencoder, clips, progress)
    vocabulary, seed = Vocabulary.of(clips.captions), recipe.train.seed
    words = vocabulary.encode(clips.captions)
    batches = LatentBatches(latents=latents, words=words, rows=recipe.rows, seed=seed, learning=recipe.learning)
    model = TextToVideo(recipe.dit, replace(recipe.reader, vocabulary=len(vocabulary)))
    return autoencoder, model.initialise(torch_generator(seed, "initialise")), batches, vocabulary


def train_autoencoder(
    recipe: Autoencoding, clips: Clips, directory: Path, progress: Progress = lambda done, total: None
) -> Autoencoder:
    """The autoencoder, with its latents' mean and deviation measured."""
    seed, rows = recipe.train.seed, recipe.rows

    def batch(step: int) -> dict[str, Tensor]:
        chosen = numpy_generator(seed, "autoencoder batch", step).integers(len(clips.captions), size=rows)
        return {"clips": as_numbers(clips.frames[chosen])}

    model = Autoencoder(recipe.model).initialise(torch_generator(seed, "initialise autoencoder"))
    train(
        model,
        reconstruction_loss,
        count_pixels,
        batch,
        recipe.train,
        directory=directory,
        progress=progress,
        made_of={"autoencoder": asdict(recipe.model)},
    )
    model.eval().settle(as_numbers(clips.frames[:64]).to(next(model.parameters()).device))
    return model


def encode_all(
    autoencoder: Autoencoder,
    clips: Clips,
    progress: Progress = lambda done, total: None,
    rows: int = 32,
) -> Tensor:
    """Latents of all clips, computed once."""
    device, found = next(autoencoder.parameters()).device, []
    with torch.no_grad():
        for start in range(0, len(clips.frames), rows):
            found.append(autoencoder.encode(as_numbers(clips.frames[start : start + rows]).to(device)).cpu())
            progress(min(start + rows, len(clips.frames)), len(clips.frames))
    return torch.cat(found)
