"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): PyTorch's own steps, but all matrices of one
shape are orthogonalised together, so that many small ones cost little more than one."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

COEFFICIENTS, ITERATIONS, EPS = (3.4445, -4.7750, 2.0315), 5, 1e-7
"""Of the post: singular values end between 0.7 and 1.2."""


def orthogonalised(matrices: Float[Tensor, "n rows columns"]) -> Float[Tensor, "n rows columns"]:
    """Each matrix with its singular values near 1, by Newton and Schulz's iteration of fifth order, in bfloat16:
    X ← aX + b(XXᵀ)X + c(XXᵀ)²X.

    Args:
        matrices: no more rows than columns; of smaller Frobenius norm than 1e-7 they stay small.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPS)  # no singular value is above 1
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` for matrices, equal to it up to bfloat16's rounding, with Nesterov's momentum."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all matrices that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike = defaultdict[tuple[int, int], list[Tensor]](list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    short, long = sorted(parameter.shape)
                    alike[short, long].append(parameter)
            for parameters in alike.values():
                self._step(parameters, group)
        return loss

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [one.grad for one in parameters if one.grad is not None]
        states = [self.state[one] for one in parameters]
        for state, gradient in zip(states, gradients, strict=True):
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
        averages = [state["momentum_buffer"] for state in states]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, averages, group["momentum"])
        tall = [one.shape[0] > one.shape[1] for one in parameters]
        wide = torch.stack([one.T if so else one for one, so in zip(updates, tall, strict=True)])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for parameter, update, so in zip(parameters, orthogonalised(wide), tall, strict=True):
            rows, columns = parameter.shape
            parameter.add_(update.T if so else update, alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))
