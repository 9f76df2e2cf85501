"""Clips as tokens: spacetime patches."""

from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError

Patch = tuple[int, int, int]
"""Frames, height and width of a patch."""


def grid_of(clip: Float[Tensor, "*any frames height width"], patch: Patch) -> tuple[int, int, int]:
    """How many patches there are along each axis.

    Raises:
        UserError: a side is no multiple of the patch's.
    """
    sides = clip.shape[-3:]
    if any(side % part for side, part in zip(sides, patch, strict=True)):
        raise UserError(
            f"A clip of {sides[0]} frames of {sides[1]} × {sides[2]} cannot be cut into patches of "
            f"{patch[0]} × {patch[1]} × {patch[2]}; give sides that these divide."
        )
    frames, height, width = (side // part for side, part in zip(sides, patch, strict=True))
    return frames, height, width


def patchify(
    x: Float[Tensor, "clips channels frames height width"], patch: Patch
) -> Float[Tensor, "clips tokens numbers"]:
    """Cut clips into patches, first along time, then height, then width; a patch's channels come first in it."""
    (frames, height, width), (t, h, w) = grid_of(x, patch), patch
    parts = x.reshape(*x.shape[:2], frames, t, height, h, width, w)
    return parts.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(len(x), frames * height * width, -1)


def unpatchify(
    x: Float[Tensor, "clips tokens numbers"], patch: Patch, grid: tuple[int, int, int]
) -> Float[Tensor, "clips channels frames height width"]:
    """Undo `patchify`."""
    parts = x.reshape(len(x), *grid, -1, *patch).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return parts.reshape(*parts.shape[:2], *(n * part for n, part in zip(grid, patch, strict=True)))
