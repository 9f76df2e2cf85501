"""How the baselines see and read: a small residual network for pictures, a small transformer for the instruction.

Neither Diffusion Policy nor ACT reads; where a table has several tasks they are told apart by words, so both get the
same reader here.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from maquette.nn.rope import frequencies, rotary_angles
from maquette.nn.stream import Block, StreamConfig

GROUPS = 8
"""Of a group norm, in place of the batch norm, which does not go with averaged weights (Chi et al. 2023, III-B)."""


class Residual(nn.Module):
    """The basic block of ResNet-18 (He et al. 2016, arXiv:1512.03385) with group norms."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.first_norm = nn.GroupNorm(GROUPS, outs)
        self.second = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.second_norm = nn.GroupNorm(GROUPS, outs)
        self.skip = nn.Conv2d(ins, outs, 1, stride, bias=False) if stride > 1 or ins != outs else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _c _h _w"]:
        """Half the size where the stride is 2."""
        y = self.first_norm(self.first(x)).relu()
        return (self.skip(x) + self.second_norm(self.second(y))).relu()


class Eye(nn.Module):
    """A residual network down to an eighth of the size, for the small pictures that are used here.

    Args:
        width: channels at the end.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width // 4, 3, 1, 1)
        stages = ((width // 4, width // 4, 2), (width // 4, width // 2, 2), (width // 2, width, 2))
        self.stages = nn.Sequential(*(Residual(*stage) for stage in stages))

    def forward(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b width _h _w"]:
        """A map of features."""
        return self.stages(self.stem(images.to(self.stem.weight.dtype) / 127.5 - 1))


def keypoints(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b twice"]:
    """Spatial softmax (Levine et al. 2016): where each channel is strongest, x then y, between −1 and 1."""
    h, w = features.shape[2:]
    share = features.flatten(2).softmax(-1).unflatten(-1, (h, w))
    x, y = (torch.linspace(-1, 1, n, device=features.device, dtype=features.dtype) for n in (w, h))
    return torch.cat(((share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)), dim=1)


class Reader(nn.Module):
    """An instruction as one vector: two transformer blocks, all words see one another, their mean.

    Args:
        vocabulary: of the tokenizer.
        width: of the vector.
    """

    def __init__(self, vocabulary: int, width: int, heads: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        shape = {"heads": heads, "kv_heads": heads, "head_dim": width // heads}
        self.blocks = nn.ModuleList(Block(StreamConfig(width=width, hidden=2 * width, **shape)) for _ in range(2))
        self.register_buffer("frequency", frequencies(width // heads, 10_000.0), persistent=False)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, prompt: Int[Tensor, "b t"], written: Bool[Tensor, "b t"]) -> Float[Tensor, "b width"]:
        """Padding counts for nothing."""
        x, mask = self.embedding(prompt), written[:, None, None, :]
        rotary = rotary_angles(
            torch.arange(prompt.shape[1], device=prompt.device)[None], cast("Tensor", self.frequency)
        )
        for block in self.blocks:
            (x,) = block((x,), (rotary,), mask)
        share = written / written.sum(1, keepdim=True).clamp(min=1)
        return (x * share[..., None].to(x.dtype)).sum(1)
