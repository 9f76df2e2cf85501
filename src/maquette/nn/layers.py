"""The small parts every model is made of."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.nn.linear import Linear


class RMSNorm(nn.Module):
    """Root-mean-square norm (Zhang & Sennrich 2019, arXiv:1910.07467): x / √(mean x² + ε) · g, taken in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        """Norm over the last axis; under autocast heads are in bfloat16, and their gains follow them."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


Gate = Literal["SiLU", "GELU"]
"""SwiGLU's, as Llama has it, or GeGLU's, as Gemma has it: there GELU is taken by its tanh formula."""


class GatedMLP(nn.Module):
    """Gated MLP (Shazeer 2020, arXiv:2002.05202): W_down (gate(W_gate x) ⊙ W_up x)."""

    def __init__(self, width: int, hidden: int, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.gate_up = Linear(width, hidden, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        """Apply to every token alone."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        opened = F.silu(gate) if self.gate == "SiLU" else F.gelu(gate, approximate="tanh")
        return self.down(opened * up)


def parameters_of(model: nn.Module) -> int:
    """How many numbers it has to learn."""
    return sum(p.numel() for p in model.parameters())
