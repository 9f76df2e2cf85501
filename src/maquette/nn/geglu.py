"""An MLP that is gated by GELU, as Gemma's is, where `layers.SwiGLU` is gated by SiLU; and blocks that have it."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.nn.linear import Linear
from maquette.nn.stream import Block, Stream, StreamConfig


class GeGLU(nn.Module):
    """Gated MLP (Shazeer 2020, arXiv:2002.05202): W_down (GELU(W_gate x) ⊙ W_up x), GELU by its tanh formula."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = Linear(width, hidden, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        """Apply to every token alone."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.gelu(gate, approximate="tanh") * up)


def geglu_block(*streams: StreamConfig) -> Block:
    """A block whose streams have this MLP."""
    block = Block(*streams)
    for stream in block.streams:
        assert isinstance(stream, Stream)
        stream.register_module("mlp", GeGLU(stream.config.width, stream.config.hidden))
    return block
