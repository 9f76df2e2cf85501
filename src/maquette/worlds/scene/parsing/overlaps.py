"""A second look at clips of the table top in which things lie on one another, or under a robot."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.parsing.identity import Sight
from maquette.worlds.scene.parsing.machinery import robot_of
from maquette.worlds.scene.parsing.palette import unmix
from maquette.worlds.scene.parsing.poses import Path, expectation, follow
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.raster import paint_things
from maquette.worlds.scene.state import Robot, Thing

FAINT = 0.02
"""Share of a pixel from which on what is in front hides what is behind it."""


def look_again(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Float32[Tensor, "frames pixels 3"],
    tracks: Sequence[Track],
    things: Sequence[Thing],
    paths: Sequence[Path],
) -> tuple[tuple[Robot, ...], list[Path], Int[np.ndarray, "frames things"]]:
    """The robot before all things, each thing before those below it, and the layers of one clip.

    Args:
        seen: its frames.
        behind: the scenery in them.
        tracks: of its things.
        things: what they are.
        paths: where they seemed to be.
    """
    length = len(seen)
    filled = np.array([expectation(path) for path in paths])
    layers = layers_of(tracks, things, filled)
    robots: tuple[Robot, ...] = ()
    cover = torch.zeros(seen.shape[:2])
    everything = torch.ones(length, len(things), dtype=torch.bool).numpy()
    with_things = painted(behind, things, filled, layers, everything)
    label, share = (one.numpy() for one in unmix(seen, with_things))
    robots, cover = robot_of(seen, with_things, label, share, doubt=False)
    stack, back, owner = [], [], []
    for number in range(len(things)):
        below, above = layers < layers[:, number, None], layers > layers[:, number, None]
        hidden = (cover + covered(seen, things, filled, layers, above)).numpy() > FAINT
        stack.append(seen)
        back.append(painted(behind, things, filled, layers, below))
        owner.append(np.where(hidden, -2, -1))
    alone = [replace(track, clip=number) for number, track in enumerate(tracks)]
    sight = Sight(torch.cat(stack), torch.cat(back), np.concatenate(owner))
    return robots, follow(sight, alone, things), layers


def layers_of(
    tracks: Sequence[Track], things: Sequence[Thing], paths: Float[np.ndarray, "things frames 3"]
) -> Int[np.ndarray, "frames things"]:
    """Which thing lies on which: of two that overlap, that of which more is seen."""
    share = np.array([track.mass / max(track.mass.max(), 1e-9) for track in tracks]).T
    reach = np.array([thing.reach for thing in things])
    apart = np.linalg.norm(paths[:, None, :, :2] - paths[None, :, :, :2], axis=3).transpose(2, 0, 1)
    meet = apart < reach[:, None] + reach
    over = meet & ((share[:, :, None] > share[:, None, :] + 0.05))
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
