"""Named training runs of the video family: an autoencoder, then a text-to-video model on its latents."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maquette.core.devices import pick_device
from maquette.core.seeds import numpy_generator, torch_generator
from maquette.language.llama import LlamaConfig
from maquette.train.loop import TrainConfig, train
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

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total)."""


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
    autoencoder: AutoencoderConfig
    dit: DiTConfig
    reader: LlamaConfig
    """Its vocabulary follows from the captions."""
    coding: TrainConfig
    coding_rows: int
    predicts: str = "data"
    """As `learning_of` calls it."""
    given: float = 0.25
    """Share of clips whose first frame is shown."""
    training: TrainConfig
    rows: int
    examined: int = 128
    """Clips of the scene world, in each examination, whose captions the model is given at its end."""

    @property
    def learning(self) -> Learning:
        """What the model learns from the latents."""
        return learning_of(self.predicts, unsaid=0.1, given=self.given)

    @property
    def autoencoding(self) -> "Autoencoding":
        """How its autoencoder is trained."""
        return Autoencoding(model=self.autoencoder, training=self.coding, rows=self.coding_rows)


@dataclass(frozen=True, kw_only=True)
class Autoencoding:
    """An autoencoder and its training."""

    model: AutoencoderConfig
    training: TrainConfig
    rows: int


RECIPES = {
    "tiny-video": Recipe(
        about="4 million parameters",
        shows="one large thing of rubber",
        frames=17,
        size=16,
        clips=4096,
        autoencoder=AutoencoderConfig(width=64, latent=6, space=2, time=1, wavelet=1, seen=1),
        dit=DiTConfig(channels=6, patch=(1, 4, 4), width=192, layers=6, heads=6, text_width=64, qk_norm=True),
        reader=LlamaConfig(
            vocabulary=1, width=64, layers=1, heads=2, kv_heads=2, hidden=176, context=64, rope_theta=1e4, tied=True
        ),
        coding=TrainConfig(
            steps=4000,
            optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0),
            schedule=Schedule(warmup=50, cooldown=0.4),
            save_every=200,
        ),
        coding_rows=2,
        training=TrainConfig(
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
    progress: Progress = lambda stage, done, total: None,
    examinations: Mapping[str, Clips] | None = None,
) -> tuple[Studio, dict[str, list[Examined]]]:
    """Train both models and leave in `out` a folder for `maquette generate`; the same call goes on from there.

    Args:
        recipe: what is trained.
        clips: to learn from.
        out: the folder.
        progress: told how far each stage is.
        examinations: sets of the scene world's clips, by name; the model is given their captions at the end, and the
            parser judges.

    Raises:
        UserError: as `maquette.train.loop.train`; the clips do not fit the recipe.
    """
    recipe.autoencoder.latent_shape(*clips.frames.shape[1:4])
    autoencoder = train_autoencoder(recipe.autoencoding, clips, out / "autoencoder", progress)
    model, batches, vocabulary = _made_of(recipe, autoencoder, clips, progress)
    trained = train(
        model,
        training_loss(recipe.learning.objective),
        count_frames,
        batches.batch,
        recipe.training,
        directory=out / "training",
        evaluate=lambda bare: loss_by_noise(bare, batches),
        progress=lambda done, total: progress("training", done, total),
        made_of={
            "dit": asdict(recipe.dit),
            "reader": asdict(recipe.reader),
            "words": list(vocabulary.words),
            "learning": asdict(recipe.learning),
        },
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
        examined[name], left_out = examine(
            studio, asked, progress=lambda done, total, name=name: progress(f"examining: {name}", done, total)
        )
        kept[name] = {"clips": len(asked.captions) - left_out, "asked for": [one.as_json() for one in examined[name]]}
    blind = blind_loss_by_noise(recipe.learning.objective)
    write_record(out, trained, recipe=asdict(recipe), clips=len(clips.captions), blind=blind, examinations=kept)
    return studio, examined


def _made_of(
    recipe: Recipe, autoencoder: Autoencoder, clips: Clips, progress: Progress
) -> tuple[TextToVideo, LatentBatches, Vocabulary]:
    """The model as it starts, what it learns from, and its words."""
    vocabulary = Vocabulary.of(clips.captions)
    batches = LatentBatches(
        latents=encode_all(autoencoder, clips, progress),
        words=vocabulary.encode(clips.captions),
        rows=recipe.rows,
        seed=recipe.training.seed,
        learning=recipe.learning,
    )
    model = TextToVideo(recipe.dit, replace(recipe.reader, vocabulary=len(vocabulary)))
    return model.initialise(torch_generator(recipe.training.seed, "initialise")), batches, vocabulary


def train_autoencoder(
    recipe: Autoencoding, clips: Clips, directory: Path, progress: Progress = lambda stage, done, total: None
) -> Autoencoder:
    """The autoencoder, with its latents' mean and deviation measured."""
    seed, rows = recipe.training.seed, recipe.rows

    def batch(step: int) -> dict[str, Tensor]:
        chosen = numpy_generator(seed, "autoencoder batch", step).integers(len(clips.captions), size=rows)
        return {"clips": as_numbers(clips.frames[chosen])}

    model = Autoencoder(recipe.model).initialise(torch_generator(seed, "initialise autoencoder"))
    train(
        model,
        reconstruction_loss,
        count_pixels,
        batch,
        recipe.training,
        directory=directory,
        progress=lambda done, total: progress("autoencoder", done, total),
        made_of={"autoencoder": asdict(recipe.model)},
    )
    model.eval().settle(as_numbers(clips.frames[:64]).to(next(model.parameters()).device))
    return model


def encode_all(
    autoencoder: Autoencoder,
    clips: Clips,
    progress: Progress = lambda stage, done, total: None,
    rows: int = 32,
) -> Tensor:
    """Latents of all clips, computed once."""
    device, found = next(autoencoder.parameters()).device, []
    with torch.no_grad():
        for start in range(0, len(clips.frames), rows):
            found.append(autoencoder.encode(as_numbers(clips.frames[start : start + rows]).to(device)).cpu())
            progress("encoding", min(start + rows, len(clips.frames)), len(clips.frames))
    return torch.cat(found)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Is it learning? What training on one batch over and over came to, and that batch's loss by noise."""

    losses: list[float]
    before: dict[str, float]
    after: dict[str, float]
    blind: dict[str, float]

    @property
    def share(self) -> float:
        """What is left of the loss: its mean over the last tenth of the steps, over the first step's."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) / self.losses[0]

    @property
    def learns(self) -> bool:
        """Whether the loss fell by more than half."""
        return self.share < 0.5


def diagnose(
    recipe: Recipe,
    clips: Clips,
    out: Path,
    progress: Progress = lambda stage, done, total: None,
    steps: int = 200,
) -> Diagnosis:
    """Train the autoencoder as `carry_out` does, which goes on from it, and then a model on one batch of its latents.

    Raises:
        UserError: as `carry_out`.
    """
    recipe.autoencoder.latent_shape(*clips.frames.shape[1:4])
    autoencoder = train_autoencoder(recipe.autoencoding, clips, out / "autoencoder", progress)
    model, batches, _ = _made_of(recipe, autoencoder, clips, progress)
    device = pick_device(recipe.training.device)
    one = lambda: loss_by_noise(model.to(device), batches, batch=0)  # noqa: E731
    before = one()
    told = lambda done, total: progress("one batch over and over", done, total)  # noqa: E731
    found = overfit(
        model, batches, steps, lr=recipe.training.optimizer.lr, device=recipe.training.device, progress=told
    )
    return Diagnosis(losses=found, before=before, after=one(), blind=blind_loss_by_noise(recipe.learning.objective))


def overfit(
    model: nn.Module,
    batches: LatentBatches,
    steps: int,
    lr: float = 2e-3,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Losses of training on one batch over and over: whatever cannot fall here has a mistake, not too little data."""
    one = batches.batch(0)
    run = TrainConfig(
        steps=steps,
        optimizer=OptimizerConfig(lr=lr, weight_decay=0.0),
        schedule=Schedule(warmup=5),
        log_every=1,
        device=device,
    )
    kept = Losses()
    loss = training_loss(batches.learning.objective)
    train(model, loss, count_frames, lambda step: one, run, sinks=[kept], progress=progress)
    return kept.values


class Losses:
    """A sink that keeps the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def write(self, step: int, values: dict[str, float]) -> None:
        """Keep one."""
        if "loss" in values:
            self.values.append(values["loss"])
