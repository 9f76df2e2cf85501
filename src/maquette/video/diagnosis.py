"""Is it learning? A text-to-video model on one batch over and over, and its loss by noise before and after."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from maquette.core.devices import pick_device
from maquette.train.loop import TrainConfig, train
from maquette.train.metrics import Losses
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video.clips import Clips
from maquette.video.recipes import Progress, Recipe, prepared
from maquette.video.text_to_video import (
    LatentBatches,
    blind_loss_by_noise,
    count_frames,
    loss_by_noise,
    training_loss,
)


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
    *,
    steps: int = 200,
    stage: Callable[[str], None] = lambda name: None,
    progress: Progress = lambda done, total: None,
) -> Diagnosis:
    """Train the autoencoder as `carry_out` does, which goes on from it, and then a model on one batch of its latents.

    Raises:
        UserError: as `carry_out`.
    """
    _, model, batches, _ = prepared(recipe, clips, out, stage, progress)
    device = pick_device(recipe.train.device)
    one = lambda: loss_by_noise(model.to(device), batches, batch=0)  # noqa: E731
    before = one()
    stage("one batch over and over")
    found = overfit(model, batches, steps, lr=recipe.train.optimizer.lr, device=recipe.train.device, progress=progress)
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
