"""Encoding and decoding by tiles, for clips that do not fit memory at once: the same result, a piece at a time.

Every tile is computed with a halo as wide as what its latents or pixels depend on, so that nothing has to be blended.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from maquette.core.errors import UserError
from maquette.nn.causal import Clip
from maquette.video.autoencoder import Autoencoder

Tile = tuple[int, int, int]
"""Latents along time, height and width."""


class _Span(NamedTuple):
    """Latents [first, last) of one axis, computed from those in [low, high)."""

    low: int
    first: int
    last: int
    high: int


def encode_tiled(model: Autoencoder, x: Clip, tile: Tile) -> Clip:
    """What `encode` gives, up to rounding, a tile of latents at a time.

    Raises:
        UserError: the clip's length or sides do not fit, or the tile is empty.
    """
    c = model.config
    shape = c.latent_shape(*x.shape[2:])
    latents = x.new_empty(len(x), *shape)
    for t, h, w in _tiles(shape[1:], tile, c.halo):
        frames = slice(c.time * t.low, c.time * (t.high - 1) + 1)
        rows, columns = (slice(c.space * s.low, c.space * s.high) for s in (h, w))
        part = model.encode(x[:, :, frames, rows, columns])
        inner = (slice(s.first - s.low, s.last - s.low) for s in (t, h, w))
        latents[(..., *(slice(s.first, s.last) for s in (t, h, w)))] = part[(..., *inner)]
    return latents


def decode_tiled(model: Autoencoder, latents: Clip, tile: Tile) -> Clip:
    """What `decode` gives, up to rounding, a tile of latents at a time.

    Raises:
        UserError: the tile is empty.
    """
    c = model.config
    counts = latents.shape[2:]
    sides = (c.space * side for side in counts[1:])
    x = latents.new_empty(len(latents), c.channels, 1 + c.time * (counts[0] - 1), *sides)
    for t, h, w in _tiles(tuple(counts), tile, c.halo):
        part = model.decode(latents[(..., *(slice(s.low, s.high) for s in (t, h, w)))])
        frames, inner = (slice(_frame(t.first - at, c.time), _frame(t.last - at, c.time)) for at in (0, t.low))
        rows, columns = (slice(c.space * s.first, c.space * s.last) for s in (h, w))
        inside = (slice(c.space * (s.first - s.low), c.space * (s.last - s.low)) for s in (h, w))
        x[:, :, frames, rows, columns] = part[(..., inner, *inside)]
    return x


def _frame(latent: int, time: int) -> int:
    """The first frame of a latent: the first latent has one, every other `time`."""
    return 0 if latent == 0 else 1 + time * (latent - 1)


def _tiles(counts: tuple[int, ...], tile: Tile, halo: tuple[int, int]) -> Iterator[tuple[_Span, ...]]:
    if min(tile) < 1:
        raise UserError(f"tile = {tile}: give 1 latent or more along time, height and width.")
    back, around = halo
    axes = [
        [
            _Span(max(first - before, 0), first, min(first + size, count), min(first + size + after, count))
            for first in range(0, count, size)
        ]
        for count, size, before, after in zip(counts, tile, (back, around, around), (0, around, around), strict=True)
    ]
    return product(*axes)
