"""Who may look at whom: boolean masks, True where a query may attend to a key.

Plain causal attention passes no mask at all (`causal=True` in `attend`), because the fused kernels are faster so.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def causal_mask(queries: int, keys: int) -> Bool[Tensor, "queries keys"]:
    """Each query sees the keys up to its own place; the last query sits at the last key (a cache may precede it)."""
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def place_mask(
    places: Int[Tensor, "*batch queries"], keys: int, window: int = 0
) -> Bool[Tensor, "*batch queries keys"]:
    """The same for queries at places of their own; with a `window` each sees the last so many only, itself included."""
    behind = places[..., None] - torch.arange(keys, device=places.device)
    return (behind >= 0) & (behind < window) if window else behind >= 0


def prefix_mask(prefix: int, tokens: int) -> Bool[Tensor, "tokens tokens"]:
    """Prefix-LM (Raffel et al. 2020): the first `prefix` tokens see one another whole, the rest are causal."""
    mask = causal_mask(tokens, tokens)
    mask[:prefix, :prefix] = True
    return mask


def blockwise_mask(block: Int[Tensor, "*batch tokens"]) -> Bool[Tensor, "*batch tokens tokens"]:
    """Tokens see their own block and the blocks before it (π0's prefix, state and actions: blocks 0, 1, 2)."""
    return block[..., :, None] >= block[..., None, :]


def document_mask(document: Int[Tensor, "batch tokens"]) -> Bool[Tensor, "batch 1 tokens tokens"]:
    """Causal, and blind to the other documents packed into the same row."""
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & causal_mask(document.shape[1], document.shape[1]).to(document.device)
