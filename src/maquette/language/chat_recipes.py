"""Named models to talk with: `maquette train tiny-chat` teaches one to converse about scenes that it is told of."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Unpack

from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.seeds import torch_generator
from maquette.language import scene_chat, tokenizers
from maquette.language.answered import Answered
from maquette.language.chat import save_template
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.loading import load_engine
from maquette.language.looking_back import look_back
from maquette.language.recipes import compiled, fitted, leave
from maquette.language.weighted import count_weights
from maquette.train.checkpoint import steps_saved
from maquette.train.distributed import ALONE
from maquette.train.loop import Company, TrainConfig, Trained, train
from maquette.train.optimizers import OptimizerConfig
from maquette.train.record import write_record
from maquette.train.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The first steps of a training whose context grows at its end (Llama 3: arXiv:2407.21783, section 3.4.2)."""

    share: float
    """Of all steps."""
    rows: int
    length: int


@dataclass(frozen=True, kw_only=True)
class ChatRecipe:
    """A model, its tokenizer's size, how it is trained, and examined."""

    about: str
    model: LlamaConfig
    """Its `vocabulary` is the BPE's size."""
    rows: int
    train: TrainConfig
    beginning: Beginning
    """More and shorter conversations before those as long as the context."""
    examined: tuple[int, int] = (200, 10)
    """Held-out scenes that it is asked about at its end, and turns about each."""

    @property
    def stages(self) -> list[tuple[int, int, int]]:
        """One after the other: steps, and the rows and their length in each of them."""
        first = self.beginning
        early = round(first.share * self.train.steps)
        return [(early, first.rows, first.length), (self.train.steps - early, self.rows, self.model.context)]

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run."""
        return sum(steps * rows * length * self.model.flops_per_token(length) for steps, rows, length in self.stages)


RECIPES = {
    "tiny-chat": ChatRecipe(
        about="1 million parameters that talk about scenes they are told of: about ten minutes on two cores",
        model=LlamaConfig(
            vocabulary=640,
            width=128,
            layers=5,
            heads=4,
            kv_heads=4,
            hidden=256,
            context=384,
            tied=True,
            qk_norm=True,
        ),
        rows=5,
        beginning=Beginning(share=0.85, rows=8, length=256),
        train=TrainConfig(
            steps=5600,
            # at higher rates some runs find things late
            optimizer=OptimizerConfig(kind="muon", lr=7e-4, muon_lr=3e-3),
            save_every=200,
            evaluate_every=1500,
            schedule=Schedule(warmup=50, cooldown=0.4),
        ),
    ),
}


def fresh_model(config: LlamaConfig, seed: int) -> Llama:
    """A model whose heads look back, and for what is like them: the two halves of looking something up."""
    generator = torch_generator(seed, "initialise")
    return look_back(Llama(config).initialise(generator, alike=1.0), generator)


def carry_out(
    recipe: ChatRecipe,
    out: Path,
    *,
    stage: Callable[[str], None] = lambda name: None,
    helpers: Executor | None = None,
    **company: Unpack[Company],
) -> tuple[Trained, list[Answered]]:
    """Train, and leave in `out` what `recipes.carry_out` does, with a chat template; its answers on held-out scenes.

    Args:
        recipe: the model and its training.
        out: checkpoints to resume from lie in its folder `training`; the same call goes on from there.
        stage: told what is done now.
        helpers: draw what will be read, before the training; `helping_processes`, for instance.
        company: as `maquette.train.loop.train`'s; of several processes the first one examines.

    Raises:
        UserError: a stage's rows cannot be shared out among the processes; and as `maquette.train.loop.train`.
    """
    together, batches = company.get("world", ALONE).size, [str(rows) for _, rows, _ in recipe.stages]
    if any(int(rows) % together for rows in batches):  # now, not when the last stage begins
        raise UserError(f"Batches of {' and '.join(batches)} rows cannot be cut into {together} processes; start one.")
    stage("learning the vocabulary")
    tokenizer = scene_chat.chat_tokenizer(recipe.model.vocabulary)
    recipe = replace(recipe, model=fitted(recipe.model, tokenizer))
    seed = recipe.train.seed
    source = scene_chat.SceneConversations(tokenizer=tokenizer, stages=recipe.stages, seed=seed)
    if helpers:
        stage("drawing conversations")
        left = recipe.train.steps - max(steps_saved(out / "training"), default=0)
        source.examples.draw_ahead(helpers, left * recipe.rows)
    stage("training")
    trained = train(
        fresh_model(recipe.model, seed),
        scene_chat.conversation_loss,
        count_weights,
        source.batch,
        compiled(recipe.train, recipe.flops),
        directory=out / "training",
        # as long as the first rows: of places that it has not read yet a model knows nothing, whatever it has learned
        evaluate=scene_chat.held_out_loss(tokenizer, length=recipe.beginning.length, conversations=40),
        **company,
        made_of={
            "architecture": asdict(recipe.model),
            "tokenizer": tokenizer.to_str(),
            "stages": recipe.stages[:-1],  # which end earlier where there are fewer steps
        },
    )
    if not company.get("world", ALONE).leads:
        return trained, []
    leave(trained, tokenizer, out)
    save_template(scene_chat.TEMPLATE, out)
    write_json(out / "generation_config.json", {"eos_token_id": tokenizers.end_id(tokenizer)})
    stage("examining")
    scenes, turns = recipe.examined
    answered = scene_chat.examine(load_engine(out), scene_chat.examination(scenes, turns))
    answers = [one.as_json() for one in answered]
    write_record(out, trained, recipe=asdict(recipe), stages=recipe.stages, examination=answers)
    return trained, answered
