"""What patches are told: the time, and a label or a text."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from maquette.nn.linear import Linear
from maquette.nn.places import sinusoid

FREQUENCIES = 256
"""Channels of the time's sinusoids."""


class Text(NamedTuple):
    """Features of a text's words, from any encoder."""

    features: Float[Tensor, "rows words width"]
    clip: Int[Tensor, "rows words"]
    """Which of the row's clips a word speaks of; −1 is padding."""


class Conditions(NamedTuple):
    """k conditions of a row: one, one for each clip packed into it, or one for each frame of its clip."""

    steer: Float[Tensor, "rows k width"]
    """SiLU of time plus label, what modulations read."""
    of: Int[Tensor, "rows tokens"] | None
    """Which of the k is a patch's; None where there is one."""
    tokens: Float[Tensor, "rows told width"]
    """Times and labels as tokens of their own."""
    clip: Int[Tensor, "rows told"] | None
    """Which clip they belong to; None where a row is one clip."""
    words: Float[Tensor, "rows words width"] | None
    words_clip: Int[Tensor, "rows words"] | None
    words_of: Int[Tensor, "rows words"] | None
    """Which of the k is a word's."""


class Conditioner(nn.Module):
    """Embeds times, and labels or texts, at the model's width."""

    def __init__(self, width: int, classes: int, text_width: int, *, words: bool, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.time_in, self.time_out = Linear(FREQUENCIES, width, bias=True), Linear(width, width, bias=True)
        self.labels = nn.Embedding(classes + 1, width) if classes else None
        self.pooled = Linear(text_width, width, bias=True) if text_width else None
        self.words = Linear(text_width, width, bias=True) if words else None

    def forward(
        self,
        time: Float[Tensor, "b k"],
        label: Int[Tensor, "b #k"] | None,
        text: Text | None,
        of: Int[Tensor, "b n"] | None,
        clip: Int[Tensor, "b k"] | None = None,
    ) -> Conditions:
        """Embed.

        Args:
            time: the path's labels of t.
            label: classes.
            text: what the clips should show; its words in the mean stand where a label would.
            of: which of the k is a patch's, if they are several.
            clip: which of the packed clips each of the k is, if they are that.

        Raises:
            ValueError: a label or a text for a model without, or none for a model with.
        """
        if (label is None) != (self.labels is None) or (text is None) != (self.pooled is None):
            raise ValueError("A model takes labels or a text exactly where it was made for them.")
        waves = sinusoid(time, FREQUENCIES, cosine_first=True, shift=self.shift)
        parts = [self.time_out(F.silu(self.time_in(waves)))]
        if label is not None and self.labels is not None:
            parts.append(self.labels(label).expand_as(parts[0]))
        words = words_of = None
        if text is not None and self.pooled is not None:
            clips = torch.zeros_like(time, dtype=torch.long) if clip is None else clip
            share = (clips[:, :, None] == text.clip[:, None, :]).to(text.features)
            parts.append(self.pooled(share @ text.features / share.sum(-1, keepdim=True).clamp(min=1)))
            words = None if self.words is None else self.words(text.features)
            if time.shape[1] > 1:
                # Frames of one clip: the last is never cleaner than the others.
                words_of = torch.full_like(text.clip, time.shape[1] - 1) if clip is None else text.clip.clamp(min=0)
        return Conditions(
            steer=F.silu(torch.stack(parts).sum(0)),
            of=of,
            tokens=torch.cat(parts, 1),
            clip=None if clip is None else clip.repeat(1, len(parts)),
            words=words,
            words_clip=None if text is None else text.clip,
            words_of=words_of,
        )
