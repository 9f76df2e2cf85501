"""DiT (Peebles & Xie 2022, arXiv:2212.09748) for images and clips: noisy spacetime patches in, a prediction out.

Four ways for the time and the label to reach the patches, as in the paper's Figure 3, and two more for the words of a
text: cross-attention (Movie Gen, Cosmos) or a stream of their own that attends with the patches (HunyuanVideo).

    b rows · n patches · k conditions of a row (one; one a clip, where several are packed; or one a frame)
"""

from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.nn.linear import Linear
from maquette.nn.modulation import (
    CrossAttention,
    SteeredConfig,
    SteeredStream,
    Steering,
    modulate,
    per_token,
)
from maquette.nn.packing import Packed, beside, clip_mask, whole
from maquette.nn.patches import Patch, grid_of, unpatchify
from maquette.nn.places import axial_angles, image_embedding, split_axes
from maquette.nn.stream import Rotary, attend
from maquette.video.conditions import FREQUENCIES, Conditioner, Conditions, Text

Conditioning = Literal["in-context", "cross-attention", "adaLN", "adaLN-Zero"]
Reading = Literal["pooled", "cross-attention", "joint"]


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """The architecture's numbers."""

    channels: int = 4
    """Of the latents that come in."""
    out_channels: int = 0
    """Of what goes out; 0 means as many."""
    patch: Patch = (1, 2, 2)
    width: int
    layers: int
    heads: int
    mlp_ratio: int = 4
    conditioning: Conditioning = "adaLN-Zero"
    classes: int = 0
    """Labels; one more stands for none, to train guidance with."""
    text_width: int = 0
    """Of a text's features; 0 means no text. Their mean joins the label."""
    reading: Reading = "pooled"
    """How single words reach the patches besides."""
    positions: Literal["rope", "sincos"] = "rope"
    """Rotary over time, height and width; or DiT's own table, for images only."""
    rope_theta: float = 256.0
    qk_norm: bool = False
    attention_norm_eps: float = 1e-6
    mlp_norm_eps: float = 1e-6
    frequency_shift: int = 0
    """Of the time's embedding: 0 in DiT, 1 in diffusers."""

    def __post_init__(self) -> None:
        for name in ("channels", "width", "layers", "heads", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)} in a DiT config: give 1 or more.")
        if min(self.patch) < 1:
            raise UserError(f"patch = {self.patch} in a DiT config: give 1 or more for each axis.")
        if self.width % self.heads:
            raise UserError(f"heads = {self.heads} in a DiT config: must divide width = {self.width}.")
        if self.positions == "rope" and self.head_dim % 2:
            raise UserError(f"head_dim = {self.head_dim} in a DiT config: RoPE turns pairs, so it must be even.")
        if self.positions == "sincos" and self.width % 4:
            raise UserError(f"width = {self.width} in a DiT config: sincos needs a multiple of 4.")
        if self.reading != "pooled" and not self.text_width:
            raise UserError(f"reading = {self.reading!r} in a DiT config: there is no text without text_width.")

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    @property
    def numbers(self) -> tuple[int, int]:
        """Numbers of a patch, coming in and going out."""
        t, h, w = self.patch
        return self.channels * t * h * w, (self.out_channels or self.channels) * t * h * w

    @property
    def steered(self) -> bool:
        """Whether conditions act through norms."""
        return self.conditioning in ("adaLN", "adaLN-Zero")

    @property
    def attends_across(self) -> bool:
        """Whether blocks have cross-attention."""
        return "cross-attention" in (self.conditioning, self.reading)

    def forward_flops(self, patches: int, words: int = 0) -> float:
        """FLOPs of the products of one pass over a clip, two a multiply-add; the paper counts one."""
        w, layers = self.width, self.layers
        into, out = self.numbers
        told = 2 if self.classes or self.text_width else 1
        among = patches + (told if self.conditioning == "in-context" else 0)
        across = (told if self.conditioning == "cross-attention" else 0) + (
            words if self.reading == "cross-attention" else 0
        )
        joint = words if self.reading == "joint" else 0
        block = (4 + 2 * self.mlp_ratio) * w * w * (among + joint) + 2 * w * (among + joint) ** 2
        if self.attends_across:
            block += 2 * w * w * (among + across) + 2 * w * among * across
        steering = (6 if self.conditioning == "adaLN-Zero" else 4) * w * w * (2 if joint else 1) if self.steered else 0
        ends = patches * w * (into + out) + (FREQUENCIES + w) * w + (2 * w * w if self.steered else 0)
        text = self.text_width * w * (1 + (words if self.reading != "pooled" else 0))
        return 2.0 * (layers * (block + steering) + ends + text)


SIZES = {
    f"dit-{name}/{p}": DiTConfig(
        width=width,
        layers=layers,
        heads=heads,
        patch=(1, p, p),
        classes=1000,
        out_channels=8,
        positions="sincos",
    )
    for name, width, layers, heads in (("s", 384, 12, 6), ("b", 768, 12, 12), ("l", 1024, 24, 16), ("xl", 1152, 28, 16))
    for p in (2, 4, 8)
}
"""The paper's Table 1; eight channels go out because a variance is predicted beside the noise."""


class DiTBlock(nn.Module):
    """One layer: patches (and words that have a stream) attend together, look at a context, and are fed."""

    def __init__(self, c: DiTConfig, last: bool) -> None:
        super().__init__()
        stream = SteeredConfig(
            width=c.width,
            hidden=c.mlp_ratio * c.width,
            heads=c.heads,
            head_dim=c.head_dim,
            condition=c.width if c.steered else 0,
            gated=c.conditioning == "adaLN-Zero",
            qk_norm=c.qk_norm,
            attention_norm_eps=c.attention_norm_eps,
            mlp_norm_eps=c.mlp_norm_eps,
        )
        both = (stream, replace(stream, last=last)) if c.reading == "joint" else (stream,)
        self.streams = nn.ModuleList(SteeredStream(config) for config in both)
        self.cross = CrossAttention(c.width, c.heads, c.head_dim) if c.attends_across else None

    def forward(
        self,
        xs: tuple[Float[Tensor, "b _t width"], ...],
        rotary: Rotary | None,
        told: Conditions,
        mask: Bool[Tensor, "b 1 t t"] | None,
        context: Float[Tensor, "b s width"] | None,
        across: Bool[Tensor, "b 1 n s"] | None,
    ) -> tuple[Float[Tensor, "b _t width"], ...]:
        """`mask` is over all streams' tokens, `across` from patches to the context."""
        streams = cast("list[SteeredStream]", list(self.streams))
        by = [s.steering(told.steer, of) for s, of in zip(streams, (told.of, told.words_of), strict=False)]
        angles = (rotary, None)[: len(streams)]
        projected = [s.project(x, r, b[0]) for s, x, r, b in zip(streams, xs, angles, by, strict=True)]
        q, k, v = (parts[0] if len(parts) == 1 else torch.cat(parts, 1) for parts in zip(*projected, strict=True))
        shares = attend(q, k, v, mask).split([x.shape[1] for x in xs], dim=1)
        xs = tuple(s.absorb(x, share, b[0]) for s, x, share, b in zip(streams, xs, shares, by, strict=True))
        if self.cross is not None and context is not None:
            xs = (self.cross(xs[0], context, across), *xs[1:])
        return tuple(s.feed(x, b[1]) for s, x, b in zip(streams, xs, by, strict=True))


class DiT(nn.Module):
    """Noisy clips, their time and what they should show in; a prediction of their shape out."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = c = config
        into, out = c.numbers
        self.patch_in = Linear(into, c.width, bias=True)
        self.conditioner = Conditioner(
            c.width, c.classes, c.text_width, words=c.reading != "pooled", shift=c.frequency_shift
        )
        self.blocks = nn.ModuleList(DiTBlock(c, last=layer == c.layers - 1) for layer in range(c.layers))
        self.norm = nn.LayerNorm(c.width, 1e-6, elementwise_affine=not c.steered)
        self.modulation = Linear(c.width, c.width, c.width, bias=True) if c.steered else None
        self.head = Linear(c.width, out, bias=True)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "DiT":
        """The paper's start (section 3.2 and its code): Xavier, small embeddings, nothing predicted at first.

        With adaLN-Zero every block starts as the identity.
        """
        closed = ("modulation.weight",) if self.config.conditioning == "adaLN-Zero" else ()
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            elif name.endswith(("head.weight", "cross.out.weight", *closed)):
                parameter.zero_()
            elif name.startswith("conditioner") or name.endswith("modulation.weight"):
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                nn.init.xavier_uniform_(parameter, generator=generator)
        return self

    def forward(
        self,
        x: Float[Tensor, "b channels frames height width"],
        time: Float[Tensor, "b *frames"],
        label: Int[Tensor, " b"] | None = None,
        text: Text | None = None,
    ) -> Float[Tensor, "b out frames height width"]:
        """Clips of one size.

        Args:
            x: noisy latents.
            time: the path's label of t, of each clip or of each frame of patches.
            label: classes; the number of classes itself stands for none.
            text: what the clips should show.

        Raises:
            UserError: x cannot be cut into patches, or the model knows no time and x has some.
            ValueError: the model was made for other conditions.
        """
        c = self.config
        grid, packed = grid_of(x, c.patch), whole(x, c.patch)
        of = None
        if time.ndim == 2:
            if not c.steered or time.shape[1] != grid[0]:
                raise ValueError(f"{time.shape[1]} times for {grid[0]} frames of patches, or conditions without adaLN.")
            of = packed.places[..., 0].expand(len(x), -1)
        told = self.conditioner(time.reshape(len(x), -1), None if label is None else label[:, None], text, of)
        return unpatchify(self.through(packed, told), c.patch, grid)

    def over_packed(
        self,
        packed: Packed,
        time: Float[Tensor, "b k"],
        label: Int[Tensor, "b k"] | None = None,
        text: Text | None = None,
    ) -> Float[Tensor, "b n out"]:
        """The same for rows of several clips, with a time and a label for each of a row's k; patches out."""
        if packed.clip is None:
            raise ValueError("over_packed takes packed rows; call the model with clips of one size.")
        clips = torch.arange(time.shape[1], device=time.device).expand(time.shape)
        return self.through(packed, self.conditioner(time, label, text, packed.clip.clamp(min=0), clips))

    def through(self, packed: Packed, told: Conditions) -> Float[Tensor, "b n out"]:
        """Patches through the blocks, told what they are to become."""
        c = self.config
        x, places, clip = self.patch_in(packed.patches), packed.places, packed.clip
        if c.positions == "sincos":
            if int(places[..., 0].max()) > 0:
                raise UserError("positions = 'sincos' knows no time: give images, or a model with 'rope'.")
            x = x + image_embedding(places, c.width).to(x)
        if c.conditioning == "in-context":
            x, clip = beside((told.tokens, told.clip), (x, clip))
            places = torch.cat((places.new_zeros(len(places), told.tokens.shape[1], 3), places), 1)
        rotary = axial_angles(places, split_axes(c.head_dim), c.rope_theta) if c.positions == "rope" else None
        mine, looked_at = (x, clip), []
        if c.conditioning == "cross-attention":
            looked_at.append((told.tokens, told.clip))
        xs, everyone = (x,), mine
        if told.words is not None and c.reading == "cross-attention":
            looked_at.append((told.words, told.words_clip))
        elif told.words is not None:
            xs, everyone = (x, told.words), beside(mine, (told.words, told.words_clip))
        context = beside(*looked_at) if looked_at else None
        mask = clip_mask(everyone, everyone)
        across = None if context is None else clip_mask(mine, context)
        for block in self.blocks:
            xs = block(xs, rotary, told, mask, None if context is None else context[0], across)
        x = self.norm(xs[0][:, -packed.patches.shape[1] :])
        if self.modulation is not None:
            x = modulate(x, Steering(*per_token(self.modulation(told.steer), told.of).chunk(2, -1)))
        return self.head(x)
