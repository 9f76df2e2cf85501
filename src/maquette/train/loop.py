"""The one training loop. A model family brings a model, an objective and batches; everything else is here.

Batches are a pure function of the step, so the data's position is the step itself: a resumed run, or one on more
processes, sees the same global batches.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn

from maquette.core.devices import Precision, autocast, pick_device, pick_precision
from maquette.core.errors import UserError
from maquette.core.files import fingerprint, sole_writer
from maquette.core.seeds import seed_everything
from maquette.train import checkpoint
from maquette.train.distributed import (
    ALONE,
    World,
    refuse_sharded_muon,
    spread_model_state,
    spread_optimizer_state,
    whole,
    whole_model_state,
    whole_optimizer_state,
)
from maquette.train.ema import ExponentialMovingAverage
from maquette.train.metrics import JsonLines, Sink
from maquette.train.optimizers import OptimizerConfig, build_optimizers
from maquette.train.schedules import Schedule

Batch = dict[str, Tensor]


class Company(TypedDict, total=False):
    """Who takes part in a training and who is told of it, as everything that trains hands on to `train`."""

    sinks: Sequence[Sink]
    """Further places for the numbers."""
    progress: Callable[[int, int], None] | None
    """Told (steps done, steps in all) after every step."""
    world: World
    """The processes that train together."""


Objective = Callable[[nn.Module, Batch], Tensor]
"""A loss summed over what it counts, so that batches cut in any way add up to the same mean."""
Experience = Callable[[int, Batch], Batch]
"""Makes of this process's rows of a step's batch those that are trained on: the model's own samples, say.

It may look at the model as it stands, and must be a function of the step, the batch and the weights, or a resumed run
would see other rows; it may remember between steps what no checkpoint parts.
"""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    steps: int
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: Schedule = field(default_factory=Schedule)
    accumulate: int = 1
    """Parts a global batch is cut into; the gradient is that of the whole batch."""
    clip: float = 1.0
    """Largest gradient norm; 0 leaves gradients alone."""
    ema: float = 0.0
    """Decay of the averaged weights; 0 keeps none."""
    precision: Precision = "auto"
    compile: bool = False
    seed: int = 0
    device: str = "auto"
    log_every: int = 20
    evaluate_every: int = 0
    """0 evaluates at the end only."""
    save_every: int = 0
    """0 saves at `save_at` and at the end only."""
    save_at: tuple[int, ...] = ()
    """Steps whose checkpoints are kept for good."""
    keep: int = 2
    """How many of the other checkpoints stay."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps = {self.steps}: give 1 or more.")
        if self.accumulate < 1:
            raise UserError(f"accumulate = {self.accumulate}: give 1 or more.")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema = {self.ema}: give a decay in [0, 1).")
        if not self.clip >= 0:
            raise UserError(f"clip = {self.clip}: give a norm above 0, or 0 for none.")
        for name, least in (("keep", 1), ("log_every", 1), ("save_every", 0), ("evaluate_every", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: give {least} or more.")

    def identity(self, step: int) -> dict[str, Any]:
        """What must be the same for a run to go on from the checkpoint of `step`: all that shaped the steps before."""
        shaping = asdict(self)
        if step <= self.schedule.stable_until(self.steps):
            del shaping["steps"]
        for name in ("log_every", "evaluate_every", "save_every", "save_at", "keep", "device", "accumulate"):
            del shaping[name]
        return shaping


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a run leaves in memory; the files hold the same."""

    model: nn.Module
    """The one that was given, with the trained weights; where it was sharded, on the leading process only."""
    averaged: dict[str, Tensor] | None
    """The moving average of the weights, where one was kept."""
    final: dict[str, float]
    """The last evaluation."""
    seconds: float
    """Wall time spent in this process's share of the steps."""


def train(
    model: nn.Module,
    objective: Objective,
    count: Callable[[Batch], Tensor],
    batches: Callable[[int], Batch],
    config: TrainConfig,
    *,
    directory: Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    sinks: Sequence[Sink] = (),
    progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
    made_of: Mapping[str, Any] | None = None,
    experience: Experience | None = None,
    watch: Callable[[], dict[str, float]] | None = None,
) -> Trained:
    """Train `model`, from the newest checkpoint in `directory` if there is one.

    Args:
        model: initialised; moved to the device and trained in place.
        objective: the summed loss; `count` says over how many items, from the batch alone.
        batches: step → global batch, every tensor with rows first; each process takes its own rows.
        config: the run.
        directory: where checkpoints and `metrics.jsonl` go; nothing is written without one.
        evaluate: called on the unwrapped model in evaluation mode.
        sinks: further places for the numbers.
        progress: told (steps done, steps in all) after every step.
        world: the processes that train together.
        made_of: by name, what else must be the same for a checkpoint to be gone on from: an architecture, a text.
        experience: for learning from what the model does; by default the batch's own rows are trained on.
        watch: further numbers, asked for on every process when the loss is logged.

    Raises:
        UserError: the loss is not finite (the batch is named), a checkpoint is broken or of another run, the
            directory is in use, the disk is full.
    """
    refuse_sharded_muon(config.optimizer.kind, world)
    held = sole_writer(directory) if directory is not None and world.leads else contextlib.nullcontext()
    with held:
        return _Run(
            model,
            objective,
            count,
            batches,
            config,
            directory=directory,
            evaluate=evaluate,
            sinks=sinks,
            progress=progress,
            world=world,
            made_of=made_of or {},
            experience=experience,
            watch=watch,
        ).go()


class _Run:
    """The state of one call of `train`."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        count: Callable[[Batch], Tensor],
        batches: Callable[[int], Batch],
        config: TrainConfig,
        *,
        directory: Path | None,
        evaluate: Callable[[nn.Module], dict[str, float]] | None,
        sinks: Sequence[Sink],
        progress: Callable[[int, int], None] | None,
        world: World,
        made_of: Mapping[str, Any],
        experience: Experience | None,
        watch: Callable[[], dict[str, float]] | None,
    ) -> None:
        self.made_of, self.experience, self.watch = made_of, experience, watch
        self.data = _fingerprint_of_batch(batches(0)) if directory else ""
        seed_everything(config.seed)
        self.device = pick_device(config.device)
        # Decided here, so that checkpoints hold it: a run goes on in the precision it began in, or not at all.
        self.config = config = replace(config, precision=pick_precision(config.precision, self.device))
        self.count, self.batches = count, batches
        self.directory, self.evaluate, self.progress, self.world = directory, evaluate, progress, world
        self.given = model.to(self.device)
        self.bare = world.shard(self.given)
        self.model = world.replicate(self.bare, self.device)
        if config.compile:
            torch.compiler.reset()  # or another size of the same class counts against the compiler's patience
        # The loss is compiled with its model; what DDP and FSDP wrap about a model wants it compiled by itself.
        alone = world.size == 1
        self.objective = torch.compile(objective) if config.compile and alone else objective
        self.forward = cast("nn.Module", torch.compile(self.model)) if config.compile and not alone else self.model
        self.optimizers = build_optimizers(self.bare, config.optimizer)
        self.ema = ExponentialMovingAverage(self.bare, config.ema) if config.ema else None
        self.parameters = [p for p in self.bare.parameters() if p.requires_grad]
        self.step = self._resume()
        self.sinks = list(sinks)
        if directory is not None and world.leads:
            self.sinks.append(JsonLines(directory / "metrics.jsonl", self.step))

    def go(self) -> Trained:
        """Run the remaining steps."""
        config = self.config
        self.first_bad = torch.full((), -1, device=self.device)
        self.logged = torch.zeros((), device=self.device)
        self.logged_steps, self.started = 0, time.perf_counter()
        began, final = self.started, {}
        self.model.train()
        while self.step < config.steps:
            loss, norm = self._one_step()
            self.step += 1
            self._log(loss, norm)
            last = self.step == config.steps
            if self.evaluate and (last or (config.evaluate_every and self.step % config.evaluate_every == 0)):
                final = self._evaluate()
            if last or self.step in config.save_at or (config.save_every and self.step % config.save_every == 0):
                self._save()
            if self.progress:
                self.progress(self.step, config.steps)
        seconds = time.perf_counter() - began
        if self.evaluate and not final:  # the run was already complete
            final = self._evaluate(write=False)
        self.world.gather(self.bare, self.given)
        averaged = {name: whole(weight) for name, weight in self.ema.weights.items()} if self.ema else None
        return Trained(model=self.given, averaged=averaged, final=final, seconds=seconds)

    def _one_step(self) -> tuple[Tensor, Tensor]:
        """One update from one global batch; its mean loss and gradient norm, left on the device."""
        share = self.config.schedule.share(self.step, self.config.steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
        parts = self._parts(self.batches(self.step))
        items = self.world.sum(torch.stack([self.count(part) for part in parts]).sum())
        total = torch.zeros((), device=self.device)
        for part in parts:
            with autocast(self.device, self.config.precision):
                loss = self.objective(self.forward, part) / items
            # DDP and FSDP average gradients over processes; the loss is a sum over them.
            (loss * self.world.size if self.world.size > 1 else loss).backward()
            total += loss.detach()
        self.world.sum(total)
        limit = self.config.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.parameters, limit, foreach=True)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.bare)
        return total, norm

    def _parts(self, batch: Batch) -> list[Batch]:
        """This process's rows of the global batch, cut for accumulation."""
        rows = len(next(iter(batch.values())))
        pieces = self.world.size * self.config.accumulate
        if rows % pieces:
            raise UserError(
                f"A batch of {rows} rows cannot be cut into {self.world.size} processes × accumulate = "
                f"{self.config.accumulate}; choose a batch that {pieces} divides."
            )
        own = _cut(batch, self.world.size)[self.world.rank]
        if self.experience:
            own = self.experience(self.step, own)
        return [
            {name: value.to(self.device, non_blocking=True) for name, value in part.items()}
            for part in _cut(own, self.config.accumulate)
        ]

    def _log(self, loss: Tensor, norm: Tensor) -> None:
        """Add to the running mean; at a logging step check for NaN (no other step waits for the device) and write."""
        healthy = torch.isfinite(loss) & torch.isfinite(whole(norm))
        self.first_bad = torch.where((self.first_bad < 0) & ~healthy, self.step - 1, self.first_bad)
        self.logged += loss
        self.logged_steps += 1
        config = self.config
        saves = self.step in config.save_at or (config.save_every and self.step % config.save_every == 0)
        if not (self.step % config.log_every == 0 or self.step == config.steps or saves):
            return
        if (bad := int(self.first_bad)) >= 0:
            raise UserError(
                f"The loss stopped being finite at step {bad} (the batch `batches({bad})`, learning rate "
                f"{config.optimizer.lr * config.schedule.share(bad, config.steps):.2g}); lower the rate or look at "
                "that batch. Nothing was saved after it."
            )
        if self.step % config.log_every == 0 or self.step == config.steps:
            now = time.perf_counter()
            self._write(
                {
                    "loss": float(self.logged) / self.logged_steps,
                    "gradient_norm": float(whole(norm)),
                    "lr": self.optimizers[0].param_groups[0]["lr"],
                    "seconds_per_step": (now - self.started) / self.logged_steps,
                    **(self.watch() if self.watch else {}),
                }
            )
            self.logged, self.logged_steps, self.started = torch.zeros_like(self.logged), 0, now

    def _evaluate(self, write: bool = True) -> dict[str, float]:
        assert self.evaluate is not None
        self.model.eval()
        with torch.no_grad(), autocast(self.device, self.config.precision):
            values = self.evaluate(self.bare)
        self.model.train()
        if write:
            self._write(values)
        return values

    def _write(self, values: dict[str, float]) -> None:
        if self.world.leads:
            for sink in self.sinks:
                sink.write(self.step, values)

    def _identity(self, step: int) -> dict[str, Any]:
        shapes = {name: list(p.shape) for name, p in self.bare.named_parameters()}
        known = {"model": fingerprint(shapes), "data": self.data}
        return self.config.identity(step) | known | {name: fingerprint(value) for name, value in self.made_of.items()}

    def _save(self) -> None:
        if self.directory is None:
            return
        parts = {"model": whole_model_state(self.bare, self.world), "rng": checkpoint.random_state()}
        for i, optimizer in enumerate(self.optimizers):
            parts[f"optimizer-{i}"] = whole_optimizer_state(self.bare, optimizer, self.world)
        if self.ema:
            parts["ema"] = {name: whole(weight) for name, weight in self.ema.weights.items()}
        if self.world.leads:
            checkpoint.write(self.directory, self.step, self._identity(self.step), parts)
            checkpoint.prune(self.directory, self.config.keep, self.config.save_at)
        self.world.wait()

    def _resume(self) -> int:
        """Load the newest checkpoint; the step to go on from."""
        saved = checkpoint.steps_saved(self.directory) if self.directory else []
        if not saved:
            return 0
        assert self.directory is not None
        if saved[-1] > self.config.steps:
            raise UserError(
                f"{self.directory} holds a run that is at step {saved[-1]}, beyond steps = {self.config.steps}; give "
                "this one a directory of its own."
            )
        path = checkpoint.folder(self.directory, saved[-1])
        step, identity, parts = checkpoint.read(path)
        if differing := _differing(identity, self._identity(step)):
            raise UserError(
                f"{path} was made with another {' and '.join(differing)}; give this run a directory of its own, or the "
                "configuration it began with."
            )
        spread_model_state(self.bare, parts["model"], self.world)
        for i, optimizer in enumerate(self.optimizers):
            spread_optimizer_state(self.bare, optimizer, parts[f"optimizer-{i}"])
        if self.ema:
            self.ema.load(parts["ema"])
        checkpoint.restore_random_state(parts["rng"])
        return step


def _cut(batch: Batch, pieces: int) -> list[Batch]:
    """A batch in so many pieces of as many rows each."""
    size = len(next(iter(batch.values()))) // pieces
    return [{name: value[i * size : (i + 1) * size] for name, value in batch.items()} for i in range(pieces)]


def _fingerprint_of_batch(batch: Batch) -> str:
    """Stands for the data: other text, another order or another shape gives another first batch."""
    raw = {name: value.contiguous().cpu().view(torch.uint8).numpy().tobytes() for name, value in batch.items()}
    return fingerprint({name: [list(batch[name].shape), hashlib.sha256(b).hexdigest()] for name, b in raw.items()})


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in {**one, **other} if json.dumps(one.get(key)) != json.dumps(other.get(key))]
