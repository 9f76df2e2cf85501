"""Trains a policy on a LeRobot dataset, whatever its cameras, its state and its actions."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from tokenizers import Tokenizer
from torch import nn

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import read_json, sha256
from maquette.core.seeds import torch_generator
from maquette.language.prompts import padded
from maquette.language.tokenizers import SMALLEST, train_bpe
from maquette.language.vlm_folder import load as load_vlm
from maquette.robotics.collecting import SOURCE
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.validation import validate
from maquette.robotics.deployment import Card, Deployed, Robot, load, refuse_mismatch, save
from maquette.robotics.moments import Moments, flat
from maquette.robotics.normalisation import OF_HEAD, normaliser
from maquette.robotics.policies.contract import chunk_loss, count_actions
from maquette.robotics.policies.heads import STEPS
from maquette.robotics.policies.making import USUAL_HEAD, Shape, make
from maquette.train.distributed import ALONE
from maquette.train.folders import WEIGHTS
from maquette.train.judging import mean_loss
from maquette.train.loop import Company, TrainConfig, Trained, train
from maquette.train.optimizers import OptimizerConfig
from maquette.train.record import write_record
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
    padded: int = 0
    """Numbers that states and actions are padded to, with room for robots that have more; 0 pads nothing."""
    pixels: int = 64
    evaluations: int = STEPS
    """Steps of sampling, for the heads that take any."""
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
    vlm: Path | None = None,
    reading: Progress = lambda done, total: None,
    **company: Unpack[Company],
) -> Trained:
    """Train on the dataset in `directory`, and leave the policy's folder in `out`.

    Args:
        recipe: the policy and its training.
        directory: a LeRobot dataset.
        out: checkpoints to resume from lie in its folder `training`; the same call goes on from there.
        parent: a policy's folder to begin with, instead of drawn weights.
        vlm: a vision-language model's folder (`maquette.language.vlm_folder`) that π0 begins with.
        reading: told (episodes read, episodes in all).
        company: as `maquette.train.loop.train`'s.

    Raises:
        UserError: the dataset is faulty, does not fit the recipe or the parent, or as `maquette.train.loop.train`.
    """
    if parent and vlm:
        raise UserError("A policy begins with one thing: give --parent or --vlm, not both.")
    dataset = _sound(directory)
    deployed = _inherited(parent, dataset) if parent else new_policy(recipe, dataset, vlm)
    moments = moments_of(deployed, dataset, reading)
    trained = fit(deployed, moments, recipe.train, recipe.rows, directory=out / "training", **company)
    if company.get("world", ALONE).leads:
        deployed.policy.cpu()
        save(deployed, out)
        write_record(out, trained, recipe=asdict(recipe), dataset=str(directory))
    return trained


def moments_of(deployed: Deployed, dataset: Dataset, reading: Progress = lambda done, total: None) -> Moments:
    """A dataset as the policy sees it."""
    card = deployed.card
    return Moments(
        dataset,
        cameras=card.cameras,
        pixels=card.shape.pixels,
        chunk=card.shape.chunk,
        tokenizer=deployed.tokenizer,
        state=card.state,
        action=card.action,
        progress=reading,
    )


def fit(
    deployed: Deployed,
    moments: Moments,
    config: TrainConfig,
    rows: int,
    *,
    directory: Path | None = None,
    **company: Unpack[Company],
) -> Trained:
    """Train the policy in place.

    Args:
        deployed: the policy.
        moments: what it learns from.
        config: of the loop.
        rows: moments in a batch.
        directory: where checkpoints to resume from lie; none are written without one.
        company: as `maquette.train.loop.train`'s.

    Raises:
        UserError: as `maquette.train.loop.train`.
    """
    policy, card = deployed.policy, deployed.card
    trained = train(
        policy.train(),
        chunk_loss,
        count_actions,
        lambda step: moments.batch(step, rows, config.seed, policy.draw),
        config,
        directory=directory,
        evaluate=_judge(moments, policy.draw),
        **company,
        made_of={"shape": asdict(card.shape), "dataset": card.dataset, "parent": card.parent},
    )
    policy.eval()
    return trained


def _sound(directory: Path) -> Dataset:
    """A dataset without faults."""
    if (faults := validate(directory)).problems:
        raise UserError(f"{directory} cannot be trained on: {faults.first(directory)}")
    return Dataset(directory)


def new_policy(recipe: PolicyRecipe, dataset: Dataset, vlm: Path | None = None) -> Deployed:
    """A policy made for a dataset, with weights drawn from the recipe's seed; π0's may begin with those of `vlm`.

    Raises:
        UserError: the dataset lacks what the recipe asks for, or `vlm` is none or not for this policy.
    """
    cameras, head = recipe.cameras or dataset.info.cameras, recipe.head or USUAL_HEAD[recipe.trunk]
    if not cameras and recipe.trunk == "pi0":
        raise UserError(f"{dataset.directory} has no camera, and pi0 needs at least one; take act or diffusion-policy.")
    if unknown := [name for name in cameras if name not in dataset.info.cameras]:
        raise UserError(
            f"cameras: {unknown[0]!r} is none of the dataset's; {did_you_mean(unknown[0], dataset.info.cameras)}"
        )
    if head not in OF_HEAD:
        raise UserError(f"head = {head!r} is none; {did_you_mean(head, OF_HEAD)}")
    if vlm and recipe.trunk != "pi0":
        raise UserError(f"A vision-language model is what pi0 begins with, and {recipe.trunk} has none; leave it out.")
    seen = load_vlm(vlm) if vlm else None
    states, actions = flat(dataset, STATE).numpy(), flat(dataset, ACTION).numpy()
    tokenizer = seen.tokenizer if seen else _tokenizer(dataset)
    shape = Shape(
        trunk=recipe.trunk,
        head=head,
        size=seen.size if seen else recipe.size,
        pixels=seen.pixels if seen else recipe.pixels,
        cameras=len(cameras),
        state=max(recipe.padded, states.shape[1]),
        numbers=max(recipe.padded, actions.shape[1]),
        chunk=recipe.chunk,
        vocabulary=tokenizer.get_vocab_size(),
        steps=recipe.evaluations,
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
        state=normaliser("mean-std", states, recipe.padded),
        action=normaliser(OF_HEAD[head], actions, recipe.padded),
        prompt=padded(tokenizer, dataset.tasks)[0].shape[1],
        dataset=dataset.identity,
        parent=seen.weights if seen else "",
        source=source,
    )
    policy = make(shape, torch_generator(recipe.train.seed, "initialise"))
    if seen:
        missing, unknown = policy.trunk.vlm.load_state_dict(seen.model.state_dict(), strict=False)
        assert not unknown, unknown
        assert all(".streams.1." in name for name in missing), "only the expert's weights stay as they were drawn"
    return Deployed(policy, tokenizer, card)


def _tokenizer(dataset: Dataset) -> Tokenizer:
    """Of the instructions."""
    documents = [Document(path=f"task {i}", text=task) for i, task in enumerate(dataset.tasks)]
    return train_bpe(documents, max(VOCABULARY, SMALLEST))


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

    return lambda policy: {"held_out_loss": mean_loss(policy, chunk_loss, count_actions, [batch])}


def _count(dataset: Dataset, name: str) -> int:
    return flat(dataset, name).shape[1]


def _names(dataset: Dataset, name: str) -> tuple[str, ...]:
    """What a vector's numbers are called; some datasets have them in a dictionary."""
    names = dataset.info.features[name].names
    if isinstance(names, dict):
        names = [one for part in names.values() for one in (part if isinstance(part, list) else [part])]
    count = _count(dataset, name)
    return tuple(map(str, names)) if isinstance(names, list) and len(names) == count else ()
