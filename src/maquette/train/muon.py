"""Muon as torch has it, but with all matrices of one shape orthogonalised together: many small ones cost as few."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonalised(
    matrices: Float[Tensor, "n rows columns"], coefficients: tuple[float, float, float], steps: int, eps: float
) -> Float[Tensor, "n rows columns"]:
    """Each matrix with its singular values near 1, by Newton and Schulz's iteration of fifth order (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon): X ← aX + b(XXᵀ)X + c(XXᵀ)²X, in bfloat16.

    Args:
        matrices: no more rows than columns.
        coefficients: a, b and c.
        steps: iterations.
        eps: the smallest Frobenius norm divided by.
    """
    a, b, c = coefficients
    x = matrices.bfloat16()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)  # no singular value is above 1
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Muon):
    """torch's optimiser with its arguments, its state and, up to bfloat16's rounding, its steps."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
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
        buffers, momentum = [state["momentum_buffer"] for state in states], group["momentum"]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        updates = torch._foreach_lerp(gradients, buffers, momentum) if group["nesterov"] else buffers
        tall = [one.shape[0] > one.shape[1] for one in parameters]
        wide = torch.stack([one.T if so else one for one, so in zip(updates, tall, strict=True)])
        found = orthogonalised(wide, group["ns_coefficients"], group["ns_steps"], group["eps"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for parameter, update, so in zip(parameters, found, tall, strict=True):
            rows, columns = parameter.shape
            rate = group["lr"] * math.sqrt(max(1, rows / columns))
            parameter.add_(update.T if so else update, alpha=-rate)
