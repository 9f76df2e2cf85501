"""Guidance: away from what the model says without the condition."""

import math

from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError
from maquette.generative.objectives import Denoiser, Shaped
from maquette.generative.paths import Times


def classifier_free(conditional: Shaped, unconditional: Shaped, scale: float) -> Shaped:
    """u + s (c − u) (Ho & Salimans 2022, arXiv:2207.12598, with s = w + 1): 1 is plain conditioning, 0 none.

    All predictions are linear, so it is the same rule for noise, velocity or data.
    """
    return unconditional + scale * (conditional - unconditional)


def rescaled(
    guided: Float[Tensor, "rows *shape"], conditional: Float[Tensor, "rows *shape"], share: float
) -> Float[Tensor, "rows *shape"]:
    """A `share` of the guided prediction with the conditional one's deviation (Lin et al. 2023, arXiv:2305.08891)."""
    axes = tuple(range(1, guided.ndim))
    matched = guided * (conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
    return share * matched + (1 - share) * guided


def guide(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: float,
    *,
    between: tuple[float, float] = (0.0, math.inf),
    rescale: float = 0.0,
) -> Denoiser:
    """A denoiser guided at the times `between` (Kynkäänniemi et al. 2024, arXiv:2404.07724), elsewhere conditional.

    Raises:
        UserError: scale or rescale out of range.
    """
    if not scale >= 0:
        raise UserError(f"guidance = {scale}: give 0 or more; 1 is none beyond the condition.")
    if not 0 <= rescale <= 1:
        raise UserError(f"rescale = {rescale}: give a share between 0 and 1.")

    def denoise(x: Shaped, t: Times) -> Shaped:
        with_it = conditional(x, t)
        if scale == 1 or not between[0] <= float(t.max()) <= between[1]:
            return with_it
        guided = classifier_free(with_it, unconditional(x, t), scale)
        return rescaled(guided, with_it, rescale) if rescale else guided

    return denoise
