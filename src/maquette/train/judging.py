"""An objective's mean over batches that are kept from training."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from maquette.train.loop import Batch, Objective


def mean_loss(
    model: nn.Module, objective: Objective, count: Callable[[Batch], Tensor], batches: Sequence[Batch]
) -> float:
    """The objective over all batches, divided by what they count; they are moved to where the model is."""
    device = next(model.parameters()).device
    moved = ({name: value.to(device) for name, value in batch.items()} for batch in batches)
    return sum(float(objective(model, batch)) for batch in moved) / sum(float(count(batch)) for batch in batches)
