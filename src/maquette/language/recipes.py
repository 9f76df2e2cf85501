"""Named training runs: `maquette train NAME` carries one out, on the default text, the user's own, or conversations."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from maquette.core.devices import compile_pays, pick_device
from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.seeds import torch_generator
from maquette.language import checkpoints, scene_chat, tokenizers
from maquette.language.answered import Answered
from maquette.language.chat import save_template
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.loading import load_engine
from maquette.language.pretrain import pretrain, validation_loss
from maquette.language.weighted import count_weights
from maquette.train.distributed import ALONE, World
from maquette.train.loop import TrainConfig, Trained, train
from maquette.train.metrics import Sink
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
class Recipe:
    """A model, its tokenizer's size, and how it is trained."""

    about: str
    model: LlamaConfig
    """Its `vocabulary` is the BPE's size."""
    rows: int
    train: TrainConfig
    beginning: Beginning | None = None
    """More and shorter conversations before those as long as the context."""
    learns: Literal["text", "conversations"] = "text"
    """Text, the default one or the user's own; or the scene world's conversations."""
    examined: tuple[int, int] = (200, 10)
    """Held-out scenes that a model of conversations is asked about at its end, and turns about each."""

    @property
    def stages(self) -> list[tuple[int, int, int]]:
        """One after the other: steps, and the rows and their length in each of them."""
        first = self.beginning
        early = round(first.share * self.train.steps) if first else 0
        last = (self.train.steps - early, self.rows, self.model.context)
        return [(early, first.rows, first.length), last] if first else [last]

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run."""
        return sum(steps * rows * length * self.model.flops_per_token(length) for steps, rows, length in self.stages)


RECIPES = {
    "tiny-llama": Recipe(
        about="0.9 million parameters on 2.5 million tokens: a few minutes on two cores",
        model=LlamaConfig(
            vocabulary=1024, width=128, layers=4, heads=4, kv_heads=2, hidden=352, context=128, tied=True
        ),
        rows=16,
        train=TrainConfig(
            steps=1200, optimizer=OptimizerConfig(lr=5e-3), save_every=200, evaluate_every=400, schedule=Schedule()
        ),
    ),
    "small-llama": Recipe(
        about="6 million parameters on 13 million tokens: about an hour on two cores",
        model=LlamaConfig(
            vocabulary=4096, width=256, layers=6, heads=8, kv_heads=4, hidden=704, context=256, tied=True
        ),
        rows=16,
        train=TrainConfig(
            steps=3200, optimizer=OptimizerConfig(lr=3e-3), save_every=200, evaluate_every=400, schedule=Schedule()
        ),
    ),
    "tiny-chat": Recipe(
        about="1 million parameters that talk about scenes they are told of: ten minutes on two cores",
        model=LlamaConfig(
            vocabulary=640,
            width=128,
            layers=5,
            heads=4,
            kv_heads=4,
            hidden=288,
            context=384,
            tied=True,
            qk_norm=True,
        ),
        rows=5,
        beginning=Beginning(share=0.85, rows=8, length=256),
        train=TrainConfig(
            steps=8200,
            optimizer=OptimizerConfig(kind="muon", lr=2e-3, muon_lr=5e-3),
            save_every=200,
            evaluate_every=400,
            schedule=Schedule(warmup=50, cooldown=0.4),
        ),
        learns="conversations",
    ),
}


def carry_out(
    recipe: Recipe,
    text: tokenizers.Prepared,
    out: Path,
    *,
    sinks: Sequence[Sink] = (),
    progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
) -> Trained:
    """Train, and leave in `out` a checkpoint folder in the Hugging Face layout, with its tokenizer and training.json.

    Checkpoints to resume from and metrics.jsonl lie in `out`/training; the same call goes on from there.

    Raises:
        UserError: as `maquette.train.loop.train`.
    """
    recipe = _fitted(recipe, text.tokenizer)
    device, length = pick_device(recipe.train.device), recipe.model.context
    trained = pretrain(
        text,
        recipe.model,
        replace(recipe.train, compile=recipe.train.compile or compile_pays(recipe.flops, device)),
        rows=recipe.rows,
        length=length,
        directory=out / "training",
        evaluate=validation_loss(text.validation, length=length, rows=recipe.rows, limit=64),
        sinks=tuple(sinks),
        progress=progress,
        world=world,
    )
    if world.leads:
        _leave(trained, text.tokenizer, out)
        write_record(out, trained, recipe=asdict(recipe), text=text.manifest)
    return trained


def carry_out_chat(
    recipe: Recipe,
    out: Path,
    *,
    sinks: Sequence[Sink] = (),
    stage: Callable[[str], None] = lambda name: None,
    progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
) -> tuple[Trained, list[Answered]]:
    """The same for a recipe that learns conversations; at the end its answers on held-out scenes, by kind of question.

    Args:
        recipe: one that learns conversations.
        out: as for `carry_out`; the folder holds a chat template too.
        sinks: further places for the numbers.
        stage: told what is done now.
        progress: told (steps done, steps in all) after every step.
        world: the processes that train together; the first one examines.

    Raises:
        UserError: a stage's rows cannot be shared out among the processes; and as `maquette.train.loop.train`.
    """
    together, rows = world.size, [str(count) for _, count, _ in recipe.stages]
    if any(int(count) % together for count in rows):  # now, not when the last stage begins
        raise UserError(f"Batches of {' and '.join(rows)} rows cannot be cut into {together} processes; start one.")
    stage("learning the vocabulary")
    tokenizer = scene_chat.chat_tokenizer(recipe.model.vocabulary)
    recipe = _fitted(recipe, tokenizer)
    length, seed = recipe.model.context, recipe.train.seed
    compile = recipe.train.compile or compile_pays(recipe.flops, pick_device(recipe.train.device))
    stage("training")
    trained = train(
        Llama(recipe.model).initialise(torch_generator(seed, "initialise"), alike=1.0),
        scene_chat.conversation_loss,
        count_weights,
        scene_chat.SceneConversations(tokenizer=tokenizer, stages=recipe.stages, seed=seed).batch,
        replace(recipe.train, compile=compile),
        directory=out / "training",
        evaluate=scene_chat.held_out_loss(tokenizer, length=length, conversations=40),
        sinks=tuple(sinks),
        progress=progress,
        world=world,
        made_of={
            "architecture": asdict(recipe.model),
            "tokenizer": tokenizer.to_str(),
            "stages": recipe.stages[:-1],  # which end earlier where there are fewer steps
        },
    )
    if not world.leads:
        return trained, []
    _leave(trained, tokenizer, out)
    save_template(scene_chat.TEMPLATE, out)
    write_json(out / "generation_config.json", {"eos_token_id": tokenizers.end_id(tokenizer)})
    stage("examining")
    scenes, turns = recipe.examined
    answered = scene_chat.examine(load_engine(out), scene_chat.examination(scenes, turns))
    answers = [one.as_json() for one in answered]
    write_record(out, trained, recipe=asdict(recipe), stages=recipe.stages, examination=answers)
    return trained, answered


def _fitted(recipe: Recipe, tokenizer: Tokenizer) -> Recipe:
    """A text too short for the vocabulary asked for has a smaller tokenizer, and the model follows it."""
    return replace(recipe, model=replace(recipe.model, vocabulary=tokenizer.get_vocab_size()))


def _leave(trained: Trained, tokenizer: Tokenizer, out: Path) -> None:
    assert isinstance(trained.model, Llama)
    checkpoints.save(trained.model, out)
    tokenizers.save(tokenizer, out)
