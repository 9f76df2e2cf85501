"""What small policies learn from and are judged by: experts' demonstrations, a backbone that sees, unseen tables.

Demonstrations and backbone are folders that are made once and used by many policies.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from maquette.core.seeds import child_seed
from maquette.language import vlm_folder, vlm_recipes
from maquette.robotics.collecting import Collection, collect
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.moments import Moments
from maquette.worlds.scene.actions.embodiments import Embodiment
from maquette.worlds.scene.actions.environment import Setting
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.layout import Combinations, Layout
from maquette.worlds.scene.actions.tasks import Task
from maquette.worlds.scene.words import lexicon

HZ = 50
DATA, BACKBONE = "data", "vlm"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """A dataset of experts, on tables on which a hand that is to push starts on the wrong side of the thing."""

    tasks: tuple[Task, ...] = ("reach", "push-to")
    collected: int = 400
    pixels: int = 32
    distractors: int = 1
    either: bool = True
    """Whether experts go round either side, where both are equally good; else always round the same."""
    robot: Embodiment = "pusher"


def make_demonstrations(config: Demonstrations, directory: Path, progress: Progress) -> None:
    """Collect them, in the folder `data`."""
    collection = Collection(
        tasks=config.tasks,
        embodiment=config.robot,
        episodes=config.collected,
        size=config.pixels,
        control_hz=HZ,
        either=config.either,
        layout=layout_of(config.distractors),
    )
    if not (directory / DATA).exists():
        collect(collection, directory / DATA, progress=progress)


def layout_of(distractors: int, combinations: Combinations = "train") -> Layout:
    """With the hand always in the way of what it is to push."""
    return Layout(distractors=distractors, head_on=1.0, combinations=combinations)


def demonstrated(directory: Path, count: int) -> Dataset:
    """The first so many demonstrations."""
    dataset = copy.copy(Dataset(directory / DATA))
    dataset.episodes = dataset.episodes[:count]
    return dataset


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A backbone and its training."""

    size: str = "tiny"
    pixels: int = 32
    seeing_steps: int = 4000
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
        examined=(50, 4),
        train=training,
    )
    vlm_recipes.carry_out(recipe, directory / BACKBONE, progress=progress)
    shape, tokens = vlm_folder.load(directory / BACKBONE).model.config, 24  # of a prompt and an answer, about
    return 3 * shape.flops(1, tokens) * config.seeing_steps * config.pictures * config.asked


def shuffle_instructions(moments: Moments, data: Dataset, generator: torch.Generator) -> None:
    """Give every episode the instruction of another of its task; that of pushing names a zone."""
    given = [int(moments.tasks[episode.first]) for episode in data.episodes]
    zones = {word for pair in lexicon.FIXTURES["zone"] for word in pair}
    pushes = [not zones.isdisjoint(data.tasks[task].strip(".?").split()) for task in given]
    for kind in (True, False):
        mine = [number for number, so in enumerate(pushes) if so == kind]
        order = torch.randperm(len(mine), generator=generator).tolist()
        for number, other in zip(mine, order, strict=True):
            moments.tasks[data.episodes[number].frames] = given[mine[other]]


def of_another_table(setting: Setting) -> Callable[[Episode], str]:
    """What tells a policy the instruction of another table, always the same one for an episode."""

    @functools.cache
    def instruction(seed: int) -> str:
        return setting.episode(child_seed(seed, "another table") % 2**31).assignment.instruction

    return lambda episode: instruction(episode.assignment.seed)
