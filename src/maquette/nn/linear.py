"""The matrix product y = x Wᵀ + b, where the time of every model here goes."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maquette.core.provenance import cpu_model


class Linear(nn.Module):
    """One or several projections of one input as a single matrix product.

    `parts` are the output widths, in order: one product of a small model costs less than three. Checkpoint formats that
    store the parts apart split the rows.
    """

    def __init__(self, width: int, *parts: int, bias: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.weight = nn.Parameter(torch.empty(sum(parts), width))
        self.bias = nn.Parameter(torch.zeros(sum(parts))) if bias else None
        nn.init.normal_(self.weight, std=width**-0.5)

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any out"]:
        """Over the last axis."""
        if ONEDNN and _plain(x) and self.weight.dtype == torch.float32:
            rows = x.flatten(0, -2)  # autograd's own function costs more than a product of few rows
            product = _OneDnnProduct.apply if torch.is_grad_enabled() else _product
            y: Tensor = product(rows, self.weight).unflatten(0, x.shape[:-1])
            return y if self.bias is None else y + self.bias
        return F.linear(x, self.weight, self.bias)


class _OneDnnProduct(torch.autograd.Function):
    """x Wᵀ in float32 through oneDNN.

    PyTorch gives float32 products to MKL, which leaves half of an AMD processor's vector width unused; oneDNN, which
    PyTorch brings too and gives bfloat16 to, is faster there and the same up to rounding. On Intel's own processors MKL
    is the faster one. `benchmarks/lm_training.py` measures by how much.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return _product(x, weight)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyrefly: ignore[bad-override] - of PyTorch's own decorator
        x, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        (grad,) = grad_outputs
        return (  # oneDNN reads turned matrices as they lie, in less time than a copy takes
            _product(grad, weight.T) if needs_x else None,
            _product(grad.T, x.T) if needs_weight else None,
        )


def _plain(x: Tensor) -> bool:
    """Rows of float32 on a CPU, outside autocast; the compiler knows PyTorch's own product only."""
    rows = x.dtype == torch.float32 and x.device.type == "cpu" and x.ndim > 1 and x.numel() > 0
    return rows and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def _product(a: Float[Tensor, "m k"], b: Float[Tensor, "n k"]) -> Float[Tensor, "m n"]:
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


ONEDNN = cpu_model().startswith("AMD") and torch.backends.mkldnn.is_available()
"""Whether float32 products on a CPU go to oneDNN."""
