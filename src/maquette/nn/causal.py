"""Convolutions over clips that never look ahead in time, and the Haar wavelet that can stand before them.

Frame 0 is repeated in front, so that an image is a clip of one frame, and 1 + r·n frames become 1 + n under a stride r.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Clip = Float[Tensor, "b channels frames height width"]


class CausalConv(nn.Conv3d):
    """A convolution of odd size whose frame t sees the frames up to t only (Yu et al. 2023, arXiv:2310.05737).

    Of `time` frames, its own and those before; of as many as it sees pixels along a side, if not given.
    """

    def __init__(
        self, into: int, out: int, size: int = 3, stride: tuple[int, int, int] = (1, 1, 1), time: int | None = None
    ) -> None:
        time = size if time is None else time
        super().__init__(into, out, (time, size, size), stride, padding=(0, size // 2, size // 2))
        self.before = time - 1

    def forward(self, input: Clip) -> Clip:
        """Convolve."""
        return super().forward(repeat_first(input, self.before))


class ChannelNorm(nn.Module):
    """Root-mean-square norm over the channels of each pixel alone, as Wan has it: a tile does not feel its size."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Clip) -> Clip:
        """Norm."""
        scale = torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps)
        return x * scale * self.gain[:, None, None, None]


class ResidualBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x))))))."""

    def __init__(self, into: int, out: int, time: int = 3) -> None:
        super().__init__()
        self.norm_in, self.norm_out = ChannelNorm(into), ChannelNorm(out)
        self.conv_in, self.conv_out = CausalConv(into, out, time=time), CausalConv(out, out, time=time)
        self.skip = CausalConv(into, out, size=1) if into != out else nn.Identity()

    def forward(self, x: Clip) -> Clip:
        """Two convolutions and a way past them."""
        y = self.conv_in(F.silu(self.norm_in(x)))
        return self.skip(x) + self.conv_out(F.silu(self.norm_out(y)))


def repeat_first(x: Clip, times: int) -> Clip:
    """The clip behind `times` more of its first frame."""
    return torch.cat((x[:, :, :1].expand(-1, -1, times, -1, -1), x), 2) if times else x


def enlarge(x: Clip, time: int, space: int) -> Clip:
    """Nearest neighbours; in time 1 + n frames become 1 + r·n."""
    if space > 1:
        x = x.repeat_interleave(space, 3).repeat_interleave(space, 4)
    return x.repeat_interleave(time, 2)[:, :, time - 1 :] if time > 1 else x


def haar(x: Clip, *, time: bool, space: bool = True) -> Clip:
    """The orthonormal Haar transform of pairs of pixels, of pairs of frames, or both: halves axes, keeps the energy.

    Cosmos puts it before its tokenizers (arXiv:2501.03575, section 3.2). Frame 0 pairs with itself.

    Returns:
        Bands among the channels, the mean of all axes first: 8 times as many, 4 without time, 2 without space.
    """
    if time:
        x = _split(repeat_first(x, 1), 2)
    return _split(_split(x, 3), 4) if space else x


def inverse_haar(x: Clip, *, time: bool, space: bool = True) -> Clip:
    """Undo `haar`."""
    if space:
        x = _join(_join(x, 4), 3)
    return _join(x, 2)[:, :, 1:] if time else x


def _split(x: Clip, axis: int) -> Clip:
    first, second = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
    return torch.cat((first + second, first - second), 1) * 0.5**0.5


def _join(x: Clip, axis: int) -> Clip:
    low, high = x.chunk(2, dim=1)
    return torch.stack((low + high, low - high), axis + 1).flatten(axis, axis + 1) * 0.5**0.5
