"""Weights under other projects' names: where each of their tensors lies in ours, and both ways through that list."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maquette.core.errors import UserError


class Part(NamedTuple):
    """One of their tensors: some rows of one of ours."""

    theirs: str
    ours: str
    rows: slice = slice(None)
    shape: tuple[int, ...] | None = None
    """Theirs, where it is another: a convolution's kernel is a row of ours."""
    centred: bool = False
    """Gemma's norms store their weight less one."""


def to_layout(model: nn.Module, parts: Iterator[Part]) -> dict[str, Tensor]:
    """A model's weights under their names."""
    state, found = model.state_dict(), {}
    for part in parts:
        tensor = state[part.ours][part.rows]
        found[part.theirs] = (tensor - 1 if part.centred else tensor).reshape(part.shape or tensor.shape).clone()
    return found


@torch.no_grad()
def from_layout(model: nn.Module, parts: Iterator[Part], theirs: Mapping[str, Tensor]) -> None:
    """Fill a model with their weights.

    Raises:
        UserError: one is missing, or has another shape.
    """
    state = model.state_dict()
    for part in parts:
        if part.theirs not in theirs:
            raise UserError(f"The tensor {part.theirs} is missing; give all weights of the layout.")
        target, source = state[part.ours][part.rows], theirs[part.theirs]
        if tuple(source.shape) != (part.shape or tuple(target.shape)):
            raise UserError(
                f"{part.theirs} has the shape {tuple(source.shape)}, ours {tuple(target.shape)}; they differ."
            )
        target.copy_(source.reshape(target.shape) + 1 if part.centred else source.reshape(target.shape))
