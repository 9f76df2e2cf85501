"""Named training runs: `maquette train NAME` carries one out, on the default text or the user's own."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Unpack

from tokenizers import Tokenizer

from maquette.core.devices import compile_pays, pick_device
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.pretrain import pretrain, validation_loss
from maquette.train.distributed import ALONE
from maquette.train.loop import Company, TrainConfig, Trained
from maquette.train.optimizers import OptimizerConfig
from maquette.train.record import write_record
from maquette.train.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, its tokenizer's size, and how it is trained."""

    about: str
    model: LlamaConfig
    """Its `vocabulary` is the BPE's size."""
    rows: int
    train: TrainConfig

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run."""
        length = self.model.context
        return self.train.steps * self.rows * length * self.model.flops_per_token(length)


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
}


def carry_out(
    recipe: Recipe,
    text: tokenizers.Prepared,
    out: Path,
    **company: Unpack[Company],
) -> Trained:
    """Train, and leave in `out` a checkpoint folder in the Hugging Face layout, with its tokenizer and training.json.

    Checkpoints to resume from and metrics.jsonl lie in `out`/training; the same call goes on from there.

    Raises:
        UserError: as `maquette.train.loop.train`.
    """
    recipe, length = replace(recipe, model=fitted(recipe.model, text.tokenizer)), recipe.model.context
    trained = pretrain(
        text,
        recipe.model,
        compiled(recipe.train, recipe.flops),
        rows=recipe.rows,
        length=length,
        directory=out / "training",
        evaluate=validation_loss(text.validation, length=length, rows=recipe.rows, limit=64),
        **company,
    )
    if company.get("world", ALONE).leads:
        leave(trained, text.tokenizer, out)
        write_record(out, trained, recipe=asdict(recipe), text=text.manifest)
    return trained


def fitted(model: LlamaConfig, tokenizer: Tokenizer) -> LlamaConfig:
    """The model with as many tokens as the tokenizer has: fewer than asked for, where it learned from little."""
    return replace(model, vocabulary=tokenizer.get_vocab_size())


def compiled(config: TrainConfig, flops: float) -> TrainConfig:
    """The run as it is asked for, compiled too where one of so many FLOPs wins by it."""
    return replace(config, compile=config.compile or compile_pays(flops, pick_device(config.device)))


def leave(trained: Trained, tokenizer: Tokenizer, out: Path) -> None:
    """Write the checkpoint folder."""
    assert isinstance(trained.model, Llama)
    checkpoints.save(trained.model, out)
    tokenizers.save(tokenizer, out)
