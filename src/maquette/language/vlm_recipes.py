"""Named vision-language models: `maquette train tiny-vlm` teaches one to caption table tops and answer about them."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Unpack

from torch import nn

from maquette.core.seeds import torch_generator
from maquette.language import scene_sight
from maquette.language.answered import Answered
from maquette.language.scene_tables import ANY, Tables
from maquette.language.vlm import VisionLanguage
from maquette.language.vlm_folder import Sighted, save
from maquette.language.vlm_sizes import vlm_config
from maquette.language.weighted import count_weights
from maquette.train.checkpoint import steps_saved
from maquette.train.distributed import ALONE
from maquette.train.judging import mean_loss
from maquette.train.loop import Company, TrainConfig, Trained, train
from maquette.train.optimizers import OptimizerConfig
from maquette.train.record import write_record
from maquette.train.schedules import Schedule

JUDGED = 3
"""Batches of held-out tables, of each sort, whose loss is told while it trains."""


@dataclass(frozen=True, kw_only=True)
class VlmRecipe:
    """A model, what it sees, and how it is trained."""

    about: str
    size: str = "small"
    pixels: int = 64
    """Of 32, things are too small to tell a star from a cross."""
    vocabulary: int = 512
    pictures: int = 8
    """In a batch."""
    asked: int = 4
    """Texts about each of them."""
    tables: Tables = ANY
    """What the pictures show."""
    drawn: int = 16_384
    """Different pictures; drawing one takes as long as reading it once."""
    telling: float = 0.3
    """Share of the steps, the first ones, in which pictures are told whole and nothing is asked."""
    shuffled: bool = False
    """A control: texts of other pictures."""
    examined: tuple[int, int] = (250, 4)
    """Held-out tables that it is asked about at its end, and questions about each."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=14_000,
            optimizer=OptimizerConfig(kind="muon", lr=1e-3, muon_lr=3e-3),
            schedule=Schedule(warmup=100, cooldown=0.5),
            save_every=500,
            evaluate_every=500,
        )
    )


RECIPES = {"tiny-vlm": VlmRecipe(about="a small PaliGemma of the scene world's table tops")}


def carry_out(
    recipe: VlmRecipe,
    out: Path,
    *,
    stage: Callable[[str], None] = lambda name: None,
    helpers: Executor | None = None,
    **company: Unpack[Company],
) -> tuple[Trained, list[Answered]]:
    """Train, and leave the model's folder in `out`; its answers on held-out tables, by kind of question.

    Args:
        recipe: the model and its training.
        out: checkpoints to resume from lie in its folder `training`; the same call goes on from there.
        stage: told what is done now.
        helpers: draw what will be read, before the training; `helping_processes`, for instance.
        company: as `maquette.train.loop.train`'s; of several processes the first one examines.

    Raises:
        UserError: as `maquette.train.loop.train`.
    """
    stage("learning the vocabulary")
    tokenizer, seed = scene_sight.sight_tokenizer(recipe.vocabulary, recipe.tables), recipe.train.seed
    config = vlm_config(recipe.size, pixels=recipe.pixels, vocabulary=tokenizer.get_vocab_size())
    sights = scene_sight.Sights(
        tokenizer=tokenizer,
        pixels=recipe.pixels,
        pictures=recipe.pictures,
        asked=recipe.asked,
        seed=seed,
        telling=round(recipe.telling * recipe.train.steps),
        shuffled=recipe.shuffled,
        drawn=recipe.drawn,
        tables=recipe.tables,
    )
    if helpers:
        stage("drawing pictures")
        left = recipe.train.steps - max(steps_saved(out / "training"), default=0)
        sights.examples.draw_ahead(helpers, left * recipe.pictures)
    stage("training")
    trained = train(
        VisionLanguage(config).initialise(torch_generator(seed, "initialise")),
        scene_sight.answer_loss,
        count_weights,
        sights.batch,
        recipe.train,
        directory=out / "training",
        evaluate=_held_out_loss(sights),
        **company,
        made_of={"architecture": asdict(config), "tokenizer": tokenizer.to_str()},
    )
    if not company.get("world", ALONE).leads:
        return trained, []
    model = trained.model.cpu().eval()
    assert isinstance(model, VisionLanguage)
    save(Sighted(model=model, tokenizer=tokenizer, size=recipe.size, pixels=recipe.pixels), out)
    stage("examining")
    held = scene_sight.examination(*recipe.examined, tables=recipe.tables)
    answered = scene_sight.examine(model, tokenizer, held)
    write_record(out, trained, recipe=asdict(recipe), examination=[one.as_json() for one in answered])
    return trained, answered


def _held_out_loss(sights: scene_sight.Sights) -> Callable[[nn.Module], dict[str, float]]:
    """Nats a token about tables that training never sees: of answers, and of what tells them whole, learned first."""
    told, asked = replace(sights, telling=JUDGED), replace(sights, telling=0)
    held = {
        name: [source.batch(step, held_out=True) for step in range(JUDGED)]
        for name, source in (("validation_loss", asked), ("telling_loss", told))
    }
    return lambda model: {
        name: mean_loss(model, scene_sight.answer_loss, count_weights, batches) for name, batches in held.items()
    }
