"""Exponential moving average of the weights."""

import torch
from torch import Tensor, nn

from maquette.train.distributed import cut_like


class ExponentialMovingAverage:
    """w̄ ← β w̄ + (1 − β) w after each step, in float32; a copy on the parameters' own devices (and shards)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards the model's weights."""
        current = [p.detach() for _, p in model.named_parameters()]
        torch._foreach_lerp_(list(self.weights.values()), current, 1 - self.decay)

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over saved averages, given in one piece."""
        for name, weight in self.weights.items():
            weight.copy_(cut_like(weights[name], weight))
