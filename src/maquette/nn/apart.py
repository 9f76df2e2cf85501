"""One stream of a block alone, and what it leaves for others to look at.

Where no token of a stream looks at a later stream (`masks.blockwise_mask`), the streams need not run together: the
first runs once, its keys and values are kept, and the second runs over them as often as it likes. The result is that
of `Block`, and unlike a `KeyValueCache`, which is written over, what is kept can be differentiated through.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.nn.stream import Rotary, Stream, attend


class Kept(NamedTuple):
    """One layer's keys and values of the tokens so far."""

    keys: Float[Tensor, "b s k d"]
    values: Float[Tensor, "b s k d"]


def alone(
    stream: Stream,
    x: Float[Tensor, "b t width"],
    rotary: Rotary | None,
    mask: Bool[Tensor, "..."] | None = None,
    past: Kept | None = None,
) -> tuple[Float[Tensor, "b t width"], Kept]:
    """A stream's tokens through one layer, with an eye on those before them; and all that there is to look at now."""
    q, k, v = stream.project(x, rotary)
    kept = Kept(k, v) if past is None else Kept(torch.cat((past.keys, k), dim=1), torch.cat((past.values, v), dim=1))
    return stream.absorb(x, attend(q, *kept, mask)), kept


def look(stream: Stream, x: Float[Tensor, "b t width"], rotary: Rotary | None, past: Kept | None = None) -> Kept:
    """Only what `alone` would keep, for a last layer whose own tokens nobody reads."""
    _, k, v = stream.project(x, rotary)
    return Kept(k, v) if past is None else Kept(torch.cat((past.keys, k), dim=1), torch.cat((past.values, v), dim=1))
