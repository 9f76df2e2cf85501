"""Many small pictures fitted at once, each by a few numbers that it was drawn from."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

Numbers = Float[np.ndarray, "rows numbers"]
Picture = Float32[Tensor, "rows values"]
Drawing = Callable[[Numbers], Picture]

DAMPING, LOOSER, TIGHTER = 1e-2, 0.3, 8.0
"""Levenberg's, as a share of the diagonal, and its factors after a step that helped and one that did not."""


def fit(
    draw: Drawing,
    start: Numbers,
    seen: Picture,
    weight: Picture,
    *,
    step: Float[np.ndarray, " numbers"],
    rounds: int,
    stiffness: Numbers | None = None,
) -> tuple[Numbers, Float[np.ndarray, " rows"]]:
    """The numbers whose drawing is nearest to what was seen, by Levenberg and Marquardt's method.

    Args:
        draw: pictures from numbers, each row alone.
        start: where each row begins.
        seen: the pictures, values from 0 to 255.
        weight: of each value in the sum of squares.
        step: over which derivatives are differences; a round changes a number by eight of them at most.
        rounds: how often each row takes a step, if it helps.
        stiffness: weight of the squared way from the start; none, if not given.

    Returns:
        The numbers, and the weighted sum of squares that is left in each row.
    """
    stiff = np.zeros_like(start) if stiffness is None else stiffness
    best, picture = start.copy(), draw(start)
    loss = _loss(picture, seen, weight)
    damping = np.full(len(start), DAMPING)
    for turn in range(rounds):
        # To either side in turn: an edge that lies just between two pixels is felt by one of them only.
        ways = np.diag(step) * (-1) ** turn
        slopes = torch.stack([(draw(best + way) - picture) / float(way.sum()) for way in ways])
        weighted = (slopes * weight).transpose(0, 1)
        slopes = slopes.transpose(0, 1)
        normal = (weighted @ slopes.transpose(1, 2)).double().numpy()
        pull = (weighted @ (seen - picture)[:, :, None]).double().numpy()[:, :, 0] - stiff * (best - start)
        diagonal = np.einsum("rii->ri", normal)
        diagonal += stiff
        diagonal *= 1 + damping[:, None]
        diagonal += 1e-6 + 1e-9 * diagonal.max(1, keepdims=True)
        trial = best + np.clip(np.linalg.solve(normal, pull[:, :, None])[:, :, 0], -8 * step, 8 * step)
        drawn = draw(trial)
        after = _loss(drawn, seen, weight) + (stiff * (trial - start) ** 2).sum(1)
        better = after < loss
        best[better], loss[better] = trial[better], after[better]
        damping *= np.where(better, LOOSER, TIGHTER)
        picture = torch.where(torch.from_numpy(better)[:, None], drawn, picture)
    return best, loss


def _loss(picture: Picture, seen: Picture, weight: Picture) -> Float[np.ndarray, " rows"]:
    return (picture - seen).square_().mul_(weight).sum(1).double().numpy()
