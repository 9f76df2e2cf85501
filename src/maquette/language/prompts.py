"""Questions and instructions as rows of tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor


def padded(
    tokenizer: Tokenizer, texts: Sequence[str], length: int = 0
) -> tuple[Int[Tensor, "texts t"], Bool[Tensor, "texts t"]]:
    """Texts as tokens, padded behind, to `length` if that is longer; and where they are written."""
    ids = [one.ids or [0] for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    longest = max(length, *(len(one) for one in ids))
    tokens, written = torch.zeros(len(ids), longest, dtype=torch.long), torch.zeros(len(ids), longest, dtype=torch.bool)
    for row, one in enumerate(ids):
        tokens[row, : len(one)], written[row, : len(one)] = torch.tensor(one), True
    return tokens, written
