"""Targets that count more or less: cross-entropy by weights that lie beside them in a batch."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def weighted_loss(logits: Float[Tensor, "b t v"], batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over the batch's `targets` by what each counts in `weights`."""
    nats = F.cross_entropy(logits.flatten(0, 1).float(), batch["targets"].flatten(), reduction="none")
    return (nats * batch["weights"].flatten()).sum()


def count_weights(batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """What the targets count together."""
    return batch["weights"].sum()
