"""Things drawn over what is behind them and over one another, and which of them lies on which."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.raster import paint_things
from maquette.worlds.scene.state import Thing


def layers_of(
    seen: Float32[Tensor, "frames pixels 3"],
    scenery: Float32[Tensor, "frames pixels 3"],
    free: Float32[Tensor, "frames pixels"],
    things: Sequence[Thing],
    paths: Float[np.ndarray, "things frames 3"],
) -> Int[np.ndarray, "frames things"]:
    """Which thing lies on which: of two that meet, in that order which looks more like the frames.

    It stays as long as they meet: what lies below does not come to lie above without being taken away first.
    """
    reach = np.array([thing.reach for thing in things])
    apart = np.linalg.norm(paths[:, None, :, :2] - paths[None, :, :, :2], axis=3)
    meet = apart < (reach[:, None] + reach)[:, :, None]
    over = np.zeros((len(seen), len(things), len(things)), int)
    for i, j in itertools.combinations(range(len(things)), 2):
        frames = np.flatnonzero(meet[i, j])
        if not len(frames):
            continue
        two, where = [things[i], things[j]], paths[[i, j]][:, frames]
        left = []
        for order in ((1, 0), (0, 1)):
            layers = np.tile(order, (len(frames), 1))
            picture = painted(scenery[frames], two, where, layers, layers >= 0)
            left.append(((seen[frames] - picture).square().sum(2) * free[frames]).sum(1).numpy())
        for run in np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > 1) + 1):
            above, below = (i, j) if left[0][run].sum() < left[1][run].sum() else (j, i)
            over[frames[run], above, below] = 1
    return over.sum(2)


def painted(
    behind: Float32[Tensor, "frames pixels 3"],
    things: Sequence[Thing],
    paths: Float[np.ndarray, "things frames 3"],
    layers: Int[np.ndarray, "frames things"],
    those: Bool[np.ndarray, "frames things"],
) -> Float32[Tensor, "frames pixels 3"]:
    """Some of the things over what is behind them, lower ones first."""
    size = round(behind.shape[1] ** 0.5)
    order = np.argsort(layers, axis=1, kind="stable")
    pose = np.take_along_axis(paths.transpose(1, 0, 2), order[:, :, None], 1)
    pose = np.where(np.take_along_axis(those, order, 1)[:, :, None], pose, np.nan)
    looks = Looks.of(things)
    looks = Looks(
        shape=looks.shape[order], colour=looks.colour[order], size=looks.size[order], material=looks.material[order]
    )
    canvas = behind.transpose(1, 2).contiguous().clone()
    paint_things(canvas, looks.ink(), pose[:, :, :2], pose[:, :, 2], size)
    return canvas.transpose(1, 2)


def covered(
    seen: Float32[Tensor, "frames pixels 3"],
    things: Sequence[Thing],
    paths: Float[np.ndarray, "things frames 3"],
    layers: Int[np.ndarray, "frames things"],
    those: Bool[np.ndarray, "frames things"],
) -> Float32[Tensor, "frames pixels"]:
    """The share of each pixel that some of the things cover."""
    black, white = (painted(torch.full_like(seen, tone), things, paths, layers, those) for tone in (0.0, 255.0))
    return 1 - (white - black).mean(2) / 255
