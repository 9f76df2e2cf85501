"""Clips of any size, aspect and duration in rows of one length, blind to one another."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core.errors import UserError
from maquette.nn.patches import Patch, grid_of, patchify
from maquette.nn.places import grid_places

Tokens = tuple[Float[Tensor, "b t width"], Int[Tensor, "b t"] | None]
"""Tokens, and which of the row's clips each belongs to, −1 to none; None where the row is one clip."""


class Packed(NamedTuple):
    """Rows of patches, of one clip each or of several."""

    patches: Float[Tensor, "rows tokens numbers"]
    places: Int[Tensor, "#rows tokens 3"]
    """Frame, row and column of the patch in its own clip."""
    clip: Int[Tensor, "rows tokens"] | None = None
    """Which of the row's clips, −1 where there is none; None where a row is one clip."""


def whole(x: Float[Tensor, "clips channels frames height width"], patch: Patch) -> Packed:
    """One clip a row, all of one size."""
    return Packed(patchify(x, patch), grid_places(*grid_of(x, patch))[None].to(x.device))


def pack(
    clips: Sequence[Float[Tensor, "channels _frames _height _width"]], patch: Patch, length: int
) -> tuple[Packed, list[tuple[int, slice, int]]]:
    """Clips in rows of `length` patches (NaViT, Dehghani et al. 2023, arXiv:2307.06304).

    The longest first, each into the first row with room for it.

    Returns:
        The rows, and for each clip its row, its tokens there, and which of the row's clips it is.

    Raises:
        UserError: a clip has more patches than a row.
    """
    pieces = [whole(clip[None], patch) for clip in clips]
    sizes = [piece.patches.shape[1] for piece in pieces]
    if max(sizes) > length:
        raise UserError(f"A clip of {max(sizes)} patches does not fit a row of {length}; give longer rows.")
    filled: list[int] = []
    held: list[int] = []
    where: list[tuple[int, slice, int]] = [(0, slice(0), 0)] * len(clips)
    for i in sorted(range(len(clips)), key=lambda i: -sizes[i]):
        row = next((r for r, used in enumerate(filled) if used + sizes[i] <= length), len(filled))
        if row == len(filled):
            filled.append(0)
            held.append(0)
        where[i] = (row, slice(filled[row], filled[row] + sizes[i]), held[row])
        filled[row] += sizes[i]
        held[row] += 1
    patches = clips[0].new_zeros(len(filled), length, pieces[0].patches.shape[2])
    places = torch.zeros(len(filled), length, 3, dtype=torch.long, device=patches.device)
    clip = torch.full((len(filled), length), -1, device=patches.device)
    for piece, (row, tokens, number) in zip(pieces, where, strict=True):
        patches[row, tokens], places[row, tokens], clip[row, tokens] = piece.patches[0], piece.places[0], number
    return Packed(patches, places, clip), where


def beside(*parts: Tokens) -> Tokens:
    """Tokens side by side in one row."""
    clips = None if all(clip is None for _, clip in parts) else torch.cat([_clips(part) for part in parts], 1)
    return torch.cat([x for x, _ in parts], 1), clips


def clip_mask(queries: Tokens, keys: Tokens) -> Bool[Tensor, "b 1 t s"] | None:
    """Tokens of a clip see one another and nothing else; None where all do, which the kernels do faster."""
    if queries[1] is None and keys[1] is None:
        return None
    q, k = _clips(queries), _clips(keys)
    return ((q[:, :, None] == k[:, None, :]) & (k >= 0)[:, None, :])[:, None]


def _clips(tokens: Tokens) -> Int[Tensor, "b t"]:
    x, clip = tokens
    return torch.zeros(x.shape[:2], dtype=torch.long, device=x.device) if clip is None else clip
