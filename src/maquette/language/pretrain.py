"""Pretraining a Llama on prepared text: what the recipes, the studies and the benchmarks share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Unpack

from torch import nn

from maquette.core.seeds import torch_generator
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.language.tokenizers import Prepared
from maquette.train import checkpoint
from maquette.train.judging import mean_loss
from maquette.train.loop import Company, TrainConfig, Trained, train
from maquette.worlds.text.tokens import PackedTokens, Tokens, validation_batches


def pretrain(
    text: Prepared,
    model: LlamaConfig,
    config: TrainConfig,
    *,
    rows: int,
    length: int,
    directory: Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    **company: Unpack[Company],
) -> Trained:
    """Train a new Llama on batches of `rows` × `length` tokens; seed, data order and start all follow `config.seed`."""
    batches = PackedTokens(tokens=text.train, length=length, rows=rows, seed=config.seed)
    return train(
        Llama(model).initialise(torch_generator(config.seed, "initialise")),
        next_token_loss,
        count_targets,
        batches.batch,
        config,
        directory=directory,
        evaluate=evaluate,
        **company,
        made_of={"architecture": asdict(model), "text": text.manifest},
    )


def pretrain_at_lengths(
    text: Prepared,
    model: LlamaConfig,
    config: TrainConfig,
    lengths: Sequence[int],
    *,
    rows: int,
    length: int,
    directory: Path,
    evaluate: Callable[[nn.Module], dict[str, float]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[int, dict[str, float]], int]:
    """Finished runs of several lengths for little more than the longest one, in steps; for warmup-stable-decay only.

    Up to its cool-down a shorter run is the longer one (Hu et al. 2024, arXiv:2404.06395), so it starts from the longer
    run's checkpoint there; the result is that of a run of its own, bit for bit.

    Returns:
        The last evaluation by length, and the steps taken in all.
    """
    *shorter, longest = sorted(lengths)
    forks = {steps: config.schedule.stable_until(steps) for steps in shorter}
    total = longest + sum(steps - fork for steps, fork in forks.items())
    finals, done = {}, 0
    for steps in (longest, *shorter):
        place, fork = directory / f"steps-{steps}", forks.get(steps, 0)
        if fork:
            checkpoint.fork(directory / f"steps-{longest}", fork, place)
        trained = pretrain(
            text,
            model,
            replace(config, steps=steps, save_at=() if fork else tuple(forks.values())),
            rows=rows,
            length=length,
            directory=place,
            evaluate=evaluate,
            progress=lambda step, _, before=done - fork: progress(before + step, total),
        )
        finals[steps] = trained.final
        done += steps - fork
    return finals, total


def validation_loss(
    tokens: Tokens, *, length: int, rows: int, limit: int | None
) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation: nats a token and bits a byte over the first `limit` batches of the held-out text."""
    batches = validation_batches(tokens, length=length, rows=rows, limit=limit)

    def evaluate(model: nn.Module) -> dict[str, float]:
        nats = mean_loss(model, next_token_loss, count_targets, batches)
        return {"validation_loss": nats, "bits_per_byte": nats / math.log(2) / tokens.bytes_per_token}

    return evaluate
