"""The small parts every model is made of."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class FusedLinear(nn.Linear):
    """Several projections of one input as one matrix product; `parts` are their output widths, in order.

    One product of a small model costs less than three. Checkpoint formats that store the parts apart split the rows.
    """

    def __init__(self, width: int, parts: tuple[int, ...], bias: bool = False) -> None:
        super().__init__(width, sum(parts), bias=bias)
        self.parts = parts


class RMSNorm(nn.Module):
    """Root-mean-square norm (Zhang & Sennrich 2019, arXiv:1910.07467): x / √(mean x² + ε) · g, taken in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        """Norm over the last axis."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class SwiGLU(nn.Module):
    """Gated MLP (Shazeer 2020, arXiv:2002.05202): W_down (SiLU(W_gate x) ⊙ W_up x)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = FusedLinear(width, (hidden, hidden))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        """Apply to every token alone."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)
