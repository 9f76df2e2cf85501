"""What small policies learn from and are judged by: experts who go to things, a backbone that sees, unseen tables.

Demonstrations and backbone are folders that are made once and used by many policies.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from maquette.core.seeds import child_seed, torch_generator
from maquette.language import vlm_folder, vlm_recipes
from maquette.language.scene_tables import Tables
from maquette.robotics.collecting import Collection, collect
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.deployment import Deployed
from maquette.robotics.moments import Moments
from maquette.robotics.policies.heads import HeadKind
from maquette.robotics.training import PolicyRecipe, fit, moments_of
from maquette.train.loop import TrainConfig
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.worlds.scene.actions.embodiments import Embodiment
from maquette.worlds.scene.actions.environment import Setting
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.layout import Combinations, Layout
from maquette.worlds.scene.actions.tasks import Task

HZ = 50
DATA, BACKBONE, TRAINING = "data", "vlm", "training"
TASK: Task = "reach"
IN_THE_WAY = 0.5
"""Share of the tables that are learnt from on which the other thing is."""

PADDED = 3
"""Numbers of a state and of an action, with room for a gripper's."""
EITHER, ONE = "either side", "one side"
SIGHTED, OTHERS = "vision and language", "others' words"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """A dataset of experts who go to one of two things, past the other where it is in the way."""

    collected: int = 3200
    pixels: int = 64
    either: bool = True
    """Whether experts pass it on either side, where both are equally good; else always on the same."""
    robot: Embodiment = "pusher"


def make_demonstrations(config: Demonstrations, directory: Path, progress: Progress) -> None:
    """Collect them, in the folder `data`."""
    collection = Collection(
        tasks=(TASK,),
        embodiment=config.robot,
        episodes=config.collected,
        size=config.pixels,
        control_hz=HZ,
        either=config.either,
        layout=layout_of(IN_THE_WAY),
    )
    if not (directory / DATA).exists():
        collect(collection, directory / DATA, progress=progress)


def layout_of(in_the_way: float, combinations: Combinations = "train") -> Layout:
    """Two small things and nothing else, one between the hand and the other on so many tables."""
    return Layout(distractors=1, zones=False, in_the_way=in_the_way, combinations=combinations, sizes=("small",))


def demonstrated(directory: Path, count: int) -> Dataset:
    """The first so many demonstrations."""
    dataset = copy.copy(Dataset(directory / DATA))
    dataset.episodes = dataset.episodes[:count]
    return dataset


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A backbone, and its training on tables like those that are acted on."""

    size: str = "tiny"
    pixels: int = 64
    seeing_steps: int = 6000
    pictures: int = 8
    asked: int = 4
    drawn: int = 8192
    shuffled: bool = False
    """Whether every picture has the words of another."""


def make_sight(config: Sight, directory: Path, progress: Progress) -> float:
    """Teach a backbone, in the folder `vlm`; the FLOPs of it."""
    recipe = vlm_recipes.RECIPES["tiny-vlm"]
    training = replace(recipe.train, steps=config.seeing_steps, device="cpu", precision="fp32", evaluate_every=0)
    recipe = replace(
        recipe,
        size=config.size,
        pixels=config.pixels,
        pictures=config.pictures,
        asked=config.asked,
        drawn=config.drawn,
        shuffled=config.shuffled,
        tables=Tables(tasks=(TASK,), robots=("pusher",), layout=layout_of(IN_THE_WAY)),
        examined=(50, 4),
        train=training,
    )
    vlm_recipes.carry_out(recipe, directory / BACKBONE, progress=progress)
    shape, tokens = vlm_folder.load(directory / BACKBONE).model.config, 24  # of a prompt and an answer, about
    return 3 * shape.flops(1, tokens) * config.seeing_steps * config.pictures * config.asked


@dataclass(frozen=True, kw_only=True)
class Training:
    """A policy and what it learns from: the same for all arms that are only tried otherwise."""

    head: HeadKind = "flow"
    timeless: bool = False
    """Whether a flow's network is never told the time."""
    begins: Literal["vision and language", "others' words", "nothing"] = SIGHTED
    sides: Literal["either side", "one side"] = EITHER
    instructions: Literal["own", "shuffled"] = "own"
    size: str = "tiny"
    pixels: int = 64
    demonstrations: int = 3200
    chunk: int = 50
    steps: int = 4000
    rows: int = 32
    lr: float = 1e-3

    def recipe(self, seed: int) -> PolicyRecipe:
        """What is trained, and how."""
        return PolicyRecipe(
            about="a small π0",
            trunk="pi0",
            head=self.head,
            size=self.size,
            chunk=self.chunk,
            padded=PADDED,
            pixels=self.pixels,
            rows=self.rows,
            train=TrainConfig(
                steps=self.steps,
                optimizer=OptimizerConfig(kind="muon", lr=self.lr, muon_lr=3 * self.lr, weight_decay=0.01),
                schedule=Schedule(kind="cosine", warmup=min(100, max(1, self.steps // 10)), floor=0.1),
                seed=seed,
                device="cpu",
                precision="fp32",  # not every processor has bfloat16
                save_every=500,
            ),
        )


def learn(
    deployed: Deployed,
    data: Dataset,
    config: Training,
    seed: int,
    directory: Path,
    progress: Progress,
    spent: Callable[[float], None],
) -> float:
    """Train a policy in place; the loss of what was held out.

    Args:
        deployed: the policy, of the kind that the config says.
        data: demonstrations.
        config: of the training.
        seed: of batches, and of whose instructions are whose.
        directory: where checkpoints to resume from lie, in the folder `training`.
        progress: told (steps done, steps in all).
        spent: told the FLOPs.
    """
    moments, recipe = moments_of(deployed, data), config.recipe(seed)
    if config.instructions == "shuffled":
        shuffle_instructions(moments, data, torch_generator(seed, "instructions of others"))
    place = directory / TRAINING
    trained = fit(deployed, moments, recipe.train, recipe.rows, directory=place, progress=progress)
    look, think = deployed.policy.trunk.config.flops(1, moments.prompts.shape[1])
    spent(3 * (look + think) * recipe.train.steps * recipe.rows)
    return trained.final["held_out_loss"]


def shuffle_instructions(moments: Moments, data: Dataset, generator: torch.Generator) -> None:
    """Give every episode the instruction of another."""
    given = [int(moments.tasks[episode.first]) for episode in data.episodes]
    for episode, other in zip(data.episodes, torch.randperm(len(given), generator=generator).tolist(), strict=True):
        moments.tasks[episode.frames] = given[other]


def of_another_table(setting: Setting) -> Callable[[Episode], str]:
    """What tells a policy the instruction of another table, always the same one for an episode."""

    @functools.cache
    def instruction(seed: int) -> str:
        return setting.episode(child_seed(seed, "another table") % 2**31).assignment.instruction

    return lambda episode: instruction(episode.assignment.seed)
