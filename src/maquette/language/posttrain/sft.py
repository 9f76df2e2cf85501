"""Supervised fine-tuning: the replies of examples are learned, their prompts only read.

Examples lie several to a row, each blind to the others and counting its places from 0; the loss is that of rows of one
example each, up to rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.seeds import rows_of_batch
from maquette.language.llama import count_targets
from maquette.language.posttrain.examples import Example
from maquette.language.posttrain.policy import Policy
from maquette.nn.masks import document_mask
from maquette.train.loop import Batch, Company, Objective, TrainConfig, Trained, train


@dataclass(frozen=True, kw_only=True)
class SftConfig:
    """One run of fine-tuning."""

    train: TrainConfig
    rows: int = 8
    """Of a step, over all processes."""
    length: int = 0
    """Tokens of a row; 0 takes the longest example's. Longer examples are refused."""
    packed: bool = True
    """Several examples to a row, where they fit."""

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UserError(f"rows = {self.rows}: give 1 or more.")
        if self.length < 0:
            raise UserError(f"length = {self.length}: give a number of tokens, or 0 for the longest example's.")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Rows of examples, in a new order every epoch; a batch is a function of the step."""

    examples: Sequence[Example]
    rows: Sequence[Sequence[int]]
    """Which examples lie in each row."""
    batch: int
    seed: int

    def __call__(self, step: int) -> Batch:
        """`tokens`, `targets`, `document` and `positions`, as wide as the fullest of these rows."""
        read = rows_of_batch(step, self.batch, len(self.rows), self.seed, "order of rows")
        return laid_out([[self.examples[i] for i in self.rows[row]] for row in read])


def pack(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Rows of at most `most` tokens: the longest first, each where the least room is left (best-fit decreasing)."""
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        room = min((room for room, found in by_room.items() if room >= lengths[i] and found), default=most)
        if by_room.get(room):
            row = by_room[room].pop()
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(i)
        by_room.setdefault(room - lengths[i], []).append(row)
    return rows


def laid_out(rows: Sequence[Sequence[Example]]) -> Batch:
    """Rows of examples as tensors; a token that is not learned has the target −100, padding the document −1."""
    width = max(sum(map(len, row)) for row in rows)
    batch = {
        "tokens": torch.zeros(len(rows), width, dtype=torch.long),
        "targets": torch.full((len(rows), width), -100),
        "document": torch.full((len(rows), width), -1),
        "positions": torch.zeros(len(rows), width, dtype=torch.long),
    }
    for r, row in enumerate(rows):
        begin = 0
        for number, example in enumerate(row):
            end, first = begin + len(example), begin + len(example.prompt) - 1
            batch["tokens"][r, begin:end] = torch.tensor(example.prompt + example.reply)
            batch["targets"][r, first : end - 1] = torch.tensor(example.reply)
            batch["document"][r, begin:end] = number
            batch["positions"][r, begin:end] = torch.arange(end - begin)
            begin = end
    return batch


def reply_logits(model: nn.Module, batch: Batch) -> Float[Tensor, "r t v"]:
    """Next-token logits of rows that may hold several examples."""
    alone = not bool((batch["document"] > 0).any())  # padding lies behind, where causal attention does not look
    mask = None if alone else document_mask(batch["document"])
    return model(batch["tokens"], mask, batch["positions"])


def reply_loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross-entropy of the replies' tokens, their ends included, summed."""
    logits = reply_logits(model, batch).float()
    return F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="sum")


def sft(
    policy: Policy,
    examples: Sequence[Example],
    config: SftConfig,
    *,
    objective: Objective = reply_loss,
    directory: Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    made_of: Mapping[str, Any] | None = None,
    **company: Unpack[Company],
) -> Trained:
    """Train `policy.model` in place on the examples' replies; see `maquette.train.loop.train`.

    `made_of` is what else a checkpoint must have been made of to be gone on from: by default not the first weights.

    Raises:
        UserError: no examples, one that is too long, and as `maquette.train.loop.train`.
    """
    return train(
        policy.model,
        objective,
        count_targets,
        rows_of(policy, examples, config),
        config.train,
        directory=directory,
        evaluate=evaluate,
        **company,
        made_of={
            "architecture": asdict(policy.model.config),
            "examples": fingerprint([asdict(one) for one in examples]),
            "packing": [config.rows, config.length, config.packed],
            **(made_of or {}),
        },
    )


def rows_of(policy: Policy, examples: Sequence[Example], config: SftConfig) -> Packed:
    """The examples in rows.

    Raises:
        UserError: there are none, or one is longer than a row.
    """
    if not examples:
        raise UserError("There are no examples to learn from; give at least one.")
    lengths = [len(one) for one in examples]
    most = min(config.length or max(lengths), policy.model.config.context)
    if (longest := max(lengths)) > most:
        raise UserError(
            f"Example {lengths.index(longest) + 1} has {longest} tokens, and a row holds {most}; shorten it, leave it "
            "out, or give a larger length as far as the model's context goes."
        )
    rows = pack(lengths, most) if config.packed else [[i] for i in range(len(examples))]
    return Packed(examples=examples, rows=rows, batch=config.rows, seed=config.train.seed)
