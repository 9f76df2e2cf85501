"""A second look at clips of the table top in which things lie on one another, or under a robot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.parsing.identity import Sight
from maquette.worlds.scene.parsing.least_squares import Numbers, fit
from maquette.worlds.scene.parsing.machinery import Machine, machine_of
from maquette.worlds.scene.parsing.palette import unmix
from maquette.worlds.scene.parsing.poses import Path, expectation, follow
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.raster import paint_things
from maquette.worlds.scene.state import Thing

FAINT = 0.02
"""Share of a pixel from which on what is in front hides what is behind it."""

TOGETHER = 4
"""Rounds in which all of a frame is fitted at once."""
POOR = 4.0
"""A frame is fitted again if it leaves so many times what a good one of its clip does."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at one clip's frames found."""

    machine: Machine | None
    paths: list[Path]
    layers: Int[np.ndarray, "frames things"]
    opening: Float[np.ndarray, " frames"] | None


def look_again(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Callable[[Float[np.ndarray, " frames"] | None], Float32[Tensor, "frames pixels 3"]],
    tracks: Sequence[Track],
    things: Sequence[Thing],
    last: Look,
) -> Look:
    """The robot before all things, and each thing before those below it; then all at once.

    Args:
        seen: the frames.
        behind: the scenery in them, from how far the drawer is open.
        tracks: of its things.
        things: what they are.
        last: what was found so far.
    """
    size = round(seen.shape[1] ** 0.5)
    scenery = behind(last.opening)
    filled = np.array([expectation(path) for path in last.paths]).reshape(len(things), len(seen), 3)
    layers = layers_of(tracks, things, filled)
    with_things = painted(scenery, things, filled, layers, layers >= 0)
    label, share = (one.numpy() for one in unmix(seen, with_things))
    machine = machine_of(seen, with_things, label, share, doubt=False)
    cover = machine.cover(size) if machine else torch.zeros(seen.shape[:2])
    back, owner = [], []
    for number in range(len(things)):
        below, above = layers < layers[:, number, None], layers > layers[:, number, None]
        hidden = (cover + covered(seen, things, filled, layers, above)).numpy() > FAINT
        back.append(painted(scenery, things, filled, layers, below))
        owner.append(np.where(hidden, -2, -1))
    alone = [replace(track, clip=number) for number, track in enumerate(tracks)]
    paths = follow(Sight(seen.repeat(len(things), 1, 1), torch.cat(back), np.concatenate(owner)), alone, things)
    return _together(seen, behind, things, Look(machine=machine, paths=paths, layers=layers, opening=last.opening))


def _together(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Callable[[Float[np.ndarray, " frames"] | None], Float32[Tensor, "frames pixels 3"]],
    things: Sequence[Thing],
    look: Look,
) -> Look:
    """Every pose, the robot and the drawer fitted at once, so that edges over edges come out right."""
    size, count, machine = round(seen.shape[1] ** 0.5), len(things), look.machine
    filled = np.array([expectation(path) for path in look.paths])
    start = [filled.transpose(1, 0, 2).reshape(len(seen), -1)]
    steps = [0.1 / size, 0.1 / size, 0.05] * count
    if machine:
        start.append(machine.numbers)
        steps += [step / size for step in machine.steps]
    if look.opening is not None:
        start.append(look.opening[:, None])
        steps.append(0.15 / size)
    ends = np.cumsum([one.shape[1] for one in start])[:-1]

    def parts(numbers: Numbers) -> list[Numbers]:
        return np.split(numbers, ends, axis=1)

    def fitted(start: Numbers, frames: Int[np.ndarray, " some"]) -> tuple[Numbers, Float[np.ndarray, " some"]]:
        def draw(numbers: Numbers) -> Tensor:
            of_things, *rest = parts(numbers)
            picture = behind(rest[-1][:, 0] if look.opening is not None else None)[: len(frames)]
            poses = of_things.reshape(len(frames), count, 3).transpose(1, 0, 2)
            picture = painted(picture, things, poses, look.layers[frames], look.layers[frames] >= 0)
            return (machine.over(picture, rest[0]) if machine else picture).flatten(1)

        weight = torch.ones(len(frames), seen.shape[1] * 3)
        return fit(draw, start, seen[frames].flatten(1), weight, step=np.array(steps), rounds=TOGETHER)

    best, loss = fitted(np.concatenate(start, axis=1), np.arange(len(seen)))
    for way in (0, 1, -1, 1, -1):
        poor = np.flatnonzero(loss > POOR * np.quantile(loss, 0.25) + seen.shape[1])
        if not len(poor):
            break
        if way:  # from the frame before or after
            again = np.roll(best, way, axis=0)[poor]
        else:  # or from what those that came out well let expect
            fine = best.copy()
            fine[poor] = np.nan
            again = expectation(fine)[poor]
        better, left = fitted(again, poor)
        helped = left < loss[poor]
        best[poor[helped]], loss[poor[helped]] = better[helped], left[helped]
    of_things, *rest = parts(best)
    poses = of_things.reshape(len(seen), count, 3).transpose(1, 0, 2)
    hidden = np.isnan(np.array(look.paths))
    return Look(
        machine=replace(machine, numbers=rest[0]) if machine else None,
        paths=list(np.where(hidden, np.nan, poses)),
        layers=look.layers,
        opening=None if look.opening is None else rest[-1][:, 0],
    )


def superfluous(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Float32[Tensor, "frames pixels 3"],
    things: Sequence[Thing],
    paths: Sequence[Path],
) -> list[int]:
    """The things without which the frames are better explained: of seams and shadows one takes for things."""
    filled = np.array([expectation(path) for path in paths]).reshape(len(things), len(seen), 3)
    flat, kept = np.zeros((len(seen), len(things)), int), np.ones(len(things), bool)

    def unlike() -> float:
        those = np.broadcast_to(kept, flat.shape)
        return float((seen - painted(behind, things, filled, flat, those)).abs().sum())

    least = unlike()
    for number in range(len(things)):
        kept[number] = False
        without = unlike()
        kept[number] = without > least
        least = min(least, without)
    return np.flatnonzero(~kept).tolist()


def layers_of(
    tracks: Sequence[Track], things: Sequence[Thing], paths: Float[np.ndarray, "things frames 3"]
) -> Int[np.ndarray, "frames things"]:
    """Which thing lies on which: of two that overlap, that of which more is seen."""
    share = np.array([track.mass / max(track.mass.max(), 1e-9) for track in tracks]).T
    reach = np.array([thing.reach for thing in things])
    apart = np.linalg.norm(paths[:, None, :, :2] - paths[None, :, :, :2], axis=3).transpose(2, 0, 1)
    meet = apart < reach[:, None] + reach
    over = meet & (share[:, :, None] > share[:, None, :] + 0.05)
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
