"""The key-value cache: memory taken once, filled from the left."""

import torch
from jaxtyping import Float
from torch import Tensor


class KeyValueCache:
    """Keys and values of every layer for up to `capacity` tokens; `length` of them are filled.

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
        self.keys = torch.empty(layers, batch, kv_heads, capacity, head_dim, dtype=dtype, device=device)
        self.values = torch.empty_like(self.keys)
        self.capacity = capacity
        self.length = 0

    def extend(
        self, layer: int, keys: Float[Tensor, "batch heads new dim"], values: Float[Tensor, "batch heads new dim"]
    ) -> tuple[Float[Tensor, "batch heads all dim"], Float[Tensor, "batch heads all dim"]]:
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
