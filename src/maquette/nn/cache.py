"""Key-value caches: memory taken once, filled from the left."""

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

Kept = Float[Tensor, "batch heads all dim"]


class Cache(Protocol):
    """What attention asks of a cache."""

    @property
    def length(self) -> int:
        """Tokens that are filled before this pass."""

    @property
    def dtype(self) -> torch.dtype:
        """Of what is kept."""

    @property
    def ragged(self) -> bool:
        """Whether rows have lengths of their own."""

    def places(self, new: int) -> Int[Tensor, "#batch new"]:
        """Where the next `new` tokens will lie."""

    def extend(
        self, layer: int, keys: Float[Tensor, "batch heads new dim"], values: Float[Tensor, "batch heads new dim"]
    ) -> tuple[Kept, Kept]:
        """Write one layer's new keys and values; return all of them (views)."""


class KeyValueCache:
    """Keys and values of every layer for up to `capacity` tokens; `length` of them are filled, in all rows alike.

    Holds 2 · layers · batch · kv_heads · capacity · head_dim numbers.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        # Zeros, because a masked place still counts as 0 × what lies there, which must not be NaN.
        self.keys = torch.zeros(layers, batch, kv_heads, capacity, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.capacity = capacity
        self.length = 0
        self.ragged = False

    @property
    def dtype(self) -> torch.dtype:
        """Of what is kept."""
        return self.keys.dtype

    def places(self, new: int) -> Int[Tensor, "1 new"]:
        """Behind those it has."""
        return torch.arange(self.length, self.length + new, device=self.keys.device)[None]

    def extend(
        self, layer: int, keys: Float[Tensor, "batch heads new dim"], values: Float[Tensor, "batch heads new dim"]
    ) -> tuple[Kept, Kept]:
        """Write one layer's new keys and values behind those it has; return all of them (views).

        `length` moves when the last layer has written, so that every layer of a pass writes to the same place.

        Raises:
            ValueError: the new tokens do not fit.
        """
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} tokens do not fit a cache of {self.capacity}.")
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        start_of_all = self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        if layer == self.keys.shape[0] - 1:
            self.length = end
        return start_of_all


class Rows:
    """Some neighbouring rows of a cache whose rows have lengths of their own, for one pass.

    Token t of row b goes to place `positions[b, t]`; where that is the same for every row, they are one block.
    """

    def __init__(self, cache: KeyValueCache, first: int, positions: Int[Tensor, "rows new"]) -> None:
        rows, new = positions.shape
        reach = int(positions.max()) + 1
        self.keys, self.values = (kept[:, first : first + rows, :, :reach] for kept in (cache.keys, cache.values))
        self.length = reach - new
        self.ragged = not bool((positions == positions[:1]).all())
        self._rows = torch.arange(rows, device=positions.device)[:, None]
        self._positions = positions

    @property
    def dtype(self) -> torch.dtype:
        """Of what is kept."""
        return self.keys.dtype

    def places(self, new: int) -> Int[Tensor, "rows new"]:
        """As given."""
        return self._positions

    def extend(
        self, layer: int, keys: Float[Tensor, "batch heads new dim"], values: Float[Tensor, "batch heads new dim"]
    ) -> tuple[Kept, Kept]:
        """Write one layer's new keys and values to their places; return all up to the largest (views)."""
        for kept, new in ((self.keys[layer], keys), (self.values[layer], values)):
            if self.ragged:
                kept[self._rows, :, self._positions] = new.transpose(1, 2)
            else:
                kept[:, :, self.length :] = new
        return self.keys[layer], self.values[layer]
