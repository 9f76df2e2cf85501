"""Trains a policy on a LeRobot dataset, whatever its cameras, its state and its actions."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import read_json, sha256, write_json
from maquette.core.provenance import commit, machine, versions
from maquette.core.seeds import torch_generator
from maquette.language.tokenizers import SMALLEST, train_bpe
from maquette.robotics.collecting import SOURCE
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.validation import validate
from maquette.robotics.deployment import WEIGHTS, Card, Deployed, Robot, load, refuse_mismatch, save
from maquette.robotics.moments import Moments, encoded, flat
from maquette.robotics.normalisation import OF_HEAD, normaliser
from maquette.robotics.policies.contract import chunk_loss, count_actions
from maquette.robotics.policies.making import USUAL_HEAD, Shape, make
from maquette.train.distributed import World
from maquette.train.loop import TrainConfig, Trained, train
from maquette.train.metrics import Sink
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.worlds.text.documents import Document

VOCABULARY = 512
"""Of the instructions' tokenizer, at most."""
JUDGED = 256
"""Held-out moments that judge."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PolicyRecipe:
    """A policy, and how it is trained."""

    about: str
    trunk: str
    size: str = "small"
    head: str = ""
    """Another than the trunk's usual one."""
    chunk: int = 50
    pixels: int = 64
    rows: int = 32
    cameras: tuple[str, ...] = ()
    """Of the dataset; all of them, if none is named."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=3000,
            optimizer=OptimizerConfig(lr=1e-3, weight_decay=0.01),
            schedule=Schedule(kind="cosine", warmup=100, floor=0.1),
            save_every=500,
            evaluate_every=500,
        )
    )


RECIPES = {
    "pi0": PolicyRecipe(about="a vision-language model with an action expert", trunk="pi0"),
    "diffusion-policy": PolicyRecipe(about="a U-Net that denoises actions", trunk="diffusion-policy", chunk=16),
    "act": PolicyRecipe(about="a transformer that decodes a chunk at once", trunk="act"),
}


def robot_of(dataset: Dataset) -> Robot:
    """What a dataset's robot has to offer."""
    info, source = dataset.info, source_of(dataset)
    return Robot(
        cameras=info.cameras,
        state=_count(dataset, STATE),
        action=_count(dataset, ACTION),
        control_hz=info.fps,
        state_names=_names(dataset, STATE) or None,
        action_names=_names(dataset, ACTION) or None,
        action_meaning=source.get("action_meaning"),
    )


def source_of(dataset: Dataset) -> dict[str, Any]:
    """How its demonstrations were made, where it says."""
    path = dataset.directory / SOURCE
    raw = read_json(path) if path.exists() else {}
    return raw if isinstance(raw, dict) else {}


def carry_out(
    recipe: PolicyRecipe,
    directory: Path,
    out: Path,
    *,
    parent: Path | None = None,
    sinks: Sequence[Sink] = (),
    reading: Progress = lambda done, total: None,
    progress: Progress | None = None,
    world: World | None = None,
) -> Trained:
    """Train on the dataset in `directory`, and leave the policy's folder in `out`.

    Args:
        recipe: the policy and its training.
        directory: a LeRobot dataset.
        out: checkpoints to resume from lie in its folder `training`; the same call goes on from there.
        parent: a policy's folder to begin with, instead of drawn weights.
        sinks: further places for the numbers.
        reading: told (episodes read, episodes in all).
        progress: told (steps done, steps in all).
        world: the processes that train together.

    Raises:
        UserError: the dataset is faulty, does not fit the recipe or the parent, or as `maquette.train.loop.train`.
    """
    dataset = _sound(directory)
    deployed = _inherited(parent, dataset) if parent else _new(recipe, dataset)
    card, policy, seed = deployed.card, deployed.policy, recipe.train.seed
    moments = Moments(
        dataset,
        cameras=card.cameras,
        pixels=card.shape.pixels,
        chunk=card.shape.chunk,
        tokenizer=deployed.tokenizer,
        state=card.state,
        action=card.action,
        progress=reading,
    )
    trained = train(
        policy.train(),
        chunk_loss,
        count_actions,
        lambda step: moments.batch(step, recipe.rows, seed, policy.draw),
        recipe.train,
        directory=out / "training",
        evaluate=_judge(moments, policy.draw),
        sinks=tuple(sinks),
        progress=progress,
        world=world,
        made_of={"shape": asdict(card.shape), "dataset": card.dataset, "parent": card.parent},
    )
    if (world or World()).leads:
        policy.cpu()
        save(Deployed(policy, deployed.tokenizer, card), out)
        told = {"recipe": asdict(recipe), "final": trained.final, "dataset": str(directory)}
        told |= {"machine": machine(), "versions": versions(), "commit": commit()}
        write_json(out / "training.json", told)
    return trained


def _sound(directory: Path) -> Dataset:
    """A dataset without faults."""
    if problems := validate(directory).problems:
        more = f" ({len(problems) - 1} more: maquette inspect {directory})" if len(problems) > 1 else ""
        raise UserError(f"{directory} cannot be trained on: {problems[0]}{more}")
    return Dataset(directory)


def _new(recipe: PolicyRecipe, dataset: Dataset) -> Deployed:
    """A policy made for a dataset, with weights drawn from the recipe's seed."""
    cameras, head = recipe.cameras or dataset.info.cameras, recipe.head or USUAL_HEAD[recipe.trunk]
    if not cameras:
        raise UserError(f"{dataset.directory} has no camera; a policy needs at least one.")
    if unknown := [name for name in cameras if name not in dataset.info.cameras]:
        raise UserError(
            f"cameras: {unknown[0]!r} is none of the dataset's; {did_you_mean(unknown[0], dataset.info.cameras)}"
        )
    if head not in OF_HEAD:
        raise UserError(f"head = {head!r} is none; {did_you_mean(head, OF_HEAD)}")
    documents = [Document(path=f"task {i}", text=task) for i, task in enumerate(dataset.tasks)]
    tokenizer = train_bpe(documents, max(VOCABULARY, SMALLEST))
    shape = Shape(
        trunk=recipe.trunk,
        head=head,
        size=recipe.size,
        pixels=recipe.pixels,
        cameras=len(cameras),
        state=_count(dataset, STATE),
        numbers=_count(dataset, ACTION),
        chunk=recipe.chunk,
        vocabulary=tokenizer.get_vocab_size(),
    )
    source = source_of(dataset)
    card = Card(
        shape=shape,
        control_hz=dataset.info.fps,
        cameras=tuple(cameras),
        state_names=_names(dataset, STATE),
        action_names=_names(dataset, ACTION),
        action_meaning=str(source.get("action_meaning", "")),
        robot=dataset.info.robot_type or "",
        state=normaliser("mean-std", flat(dataset, STATE).numpy()),
        action=normaliser(OF_HEAD[head], flat(dataset, ACTION).numpy()),
        prompt=encoded(tokenizer, dataset.tasks)[0].shape[1],
        dataset=dataset.identity,
        source=source,
    )
    return Deployed(make(shape, torch_generator(recipe.train.seed, "initialise")), tokenizer, card)


def _inherited(parent: Path, dataset: Dataset) -> Deployed:
    """A policy that was trained before, for a dataset of the same robot; it keeps its own normalisation."""
    deployed = load(parent)
    refuse_mismatch(deployed.card, robot_of(dataset), str(dataset.directory))
    card = replace(deployed.card, dataset=dataset.identity, parent=sha256(parent / WEIGHTS))
    return Deployed(deployed.policy, deployed.tokenizer, card)


def _judge(
    moments: Moments, draw: Callable[[int, torch.Generator], dict[str, Any]]
) -> Callable[[nn.Module], dict[str, float]]:
    """The loss of held-out moments, always the same ones with the same noise."""
    generator = torch_generator(0, "held-out moments")
    order = torch.randperm(len(moments.held_out), generator=generator)[:JUDGED]
    batch = moments.at(moments.held_out[order])
    batch |= draw(len(order), generator)

    def judge(policy: nn.Module) -> dict[str, float]:
        device = next(policy.parameters()).device
        moved = {name: value.to(device) for name, value in batch.items()}
        return {"held_out_loss": float(chunk_loss(policy, moved) / count_actions(moved))}

    return judge


def _count(dataset: Dataset, name: str) -> int:
    return flat(dataset, name).shape[1]


def _names(dataset: Dataset, name: str) -> tuple[str, ...]:
    """What a vector's numbers are called; some datasets have them in a dictionary."""
    names = dataset.info.features[name].names
    if isinstance(names, dict):
        names = [one for part in names.values() for one in (part if isinstance(part, list) else [part])]
    count = _count(dataset, name)
    return tuple(map(str, names)) if isinstance(names, list) and len(names) == count else ()
