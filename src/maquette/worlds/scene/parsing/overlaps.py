"""A second look at clips of the table top in which things lie on one another, or under a robot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.parsing.identity import DOUBT, Identity, Sight, identify
from maquette.worlds.scene.parsing.layers import covered, layers_of, painted
from maquette.worlds.scene.parsing.least_squares import Numbers, fit
from maquette.worlds.scene.parsing.machinery import Machine, machine_of
from maquette.worlds.scene.parsing.palette import unmix
from maquette.worlds.scene.parsing.poses import Path, expectation, turned
from maquette.worlds.scene.parsing.pursuit import missing, trace
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.parsing.windows import looks_in_rows
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.vocabulary import COLOURS

FAINT = 0.02
"""Share of a pixel from which on what is in front hides what is behind it."""
UNLIKE = 10.5
"""Difference from its drawing, of 255, from which on a thing is not what it was taken for."""
MOST = 6
"""How often a missing thing is sought."""
TOGETHER = 4
"""Rounds in which all of a frame is fitted at once."""
POOR = 4.0
"""A frame is fitted again if it leaves so many times what a good one of its clip does."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at one clip's frames found."""

    machine: Machine | None
    things: tuple[Thing, ...]
    paths: list[Path]
    layers: Int[np.ndarray, "frames things"]
    opening: Float[np.ndarray, " frames"] | None


def look_again(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Callable[[Float[np.ndarray, " frames"] | None], Float32[Tensor, "frames pixels 3"]],
    last: Look,
) -> Look:
    """Things that are not what they were taken for are sought anew; then the robot, each thing, and all at once.

    Args:
        seen: the frames.
        behind: the scenery in them, from how far the drawer is open.
        last: what was found so far.
    """
    scenery = behind(last.opening)
    hand = last.machine.hand if last.machine else np.zeros((len(seen), 2))
    free = free_of(last.machine, seen)
    right = _right(seen, scenery, free, last)
    things, paths = [last.things[i] for i in right], [last.paths[i] for i in right]
    filled, layers = _filled(paths, len(seen)), last.layers[:, right]
    new = missing(seen, painted(scenery, things, filled, layers, layers >= 0), free, hand, MOST)
    things, paths = [*things, *(thing for thing, _ in new)], [*paths, *(path for _, path in new)]
    if not things:
        return replace(last, things=(), paths=[], layers=layers)
    filled = _filled(paths, len(seen))
    layers = layers_of(seen, scenery, free, things, filled)
    look = Look(machine=last.machine, things=tuple(things), paths=paths, layers=layers, opening=last.opening)
    look = _needed(seen, scenery, _traced(seen, scenery, hand, look))
    return _together(seen, behind, look) if look.things else look


def _traced(
    seen: Float32[Tensor, "frames pixels 3"],
    scenery: Float32[Tensor, "frames pixels 3"],
    hand: Float[np.ndarray, "frames 2"],
    look: Look,
) -> Look:
    """The robot before all things, and each thing, from the frame in which it is clearest, before those below it."""
    things, layers, filled = look.things, look.layers, _filled(look.paths, len(seen))
    with_things = painted(scenery, things, filled, layers, layers >= 0)
    label, share = (one.numpy() for one in unmix(seen, with_things))
    machine = machine_of(seen, with_things, label, share, doubt=False, last=look.machine)
    cover = machine.cover(round(seen.shape[1] ** 0.5)) if machine else torch.zeros(seen.shape[:2])
    unlike = _unlike(seen, machine.over(with_things) if machine else with_things, things, filled, cover)
    shown = np.isfinite(np.array([path[:, 0] for path in look.paths]))
    first = np.where(shown, unlike.T, np.inf).argmin(1)
    sight = _each_alone(seen, scenery, look, filled, cover)
    start = filled[np.arange(len(things)), first]
    paths = trace(sight, np.arange(len(things)), things, first, start, hand, np.array(look.paths))
    there = [i for i, path in enumerate(paths) if np.isfinite(path[:, 0]).any()]
    return _only(replace(look, machine=machine, paths=paths), there)


def _each_alone(
    seen: Float32[Tensor, "frames pixels 3"],
    scenery: Float32[Tensor, "frames pixels 3"],
    look: Look,
    filled: Float[np.ndarray, "things frames 3"],
    cover: Float32[Tensor, "frames pixels"],
) -> Sight:
    """All frames once for each thing, before what is below it, without the pixels of what is above it."""
    back, owner = [], []
    for number in range(len(look.things)):
        below, above = (
            look.layers < look.layers[:, number, None],
            look.layers > look.layers[:, number, None],
        )
        hidden = (cover + covered(seen, look.things, filled, look.layers, above)).numpy() > FAINT
        back.append(painted(scenery, look.things, filled, look.layers, below))
        owner.append(np.where(hidden, -2, -1))
    return Sight(seen.repeat(len(look.things), 1, 1), torch.cat(back), np.concatenate(owner))


def changing(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Callable[[Float[np.ndarray, " frames"] | None], Float32[Tensor, "frames pixels 3"]],
    look: Look,
) -> Identity | None:
    """A thing that looks much more like another one in some frame in which it is clearly seen."""
    size, filled = round(seen.shape[1] ** 0.5), _filled(look.paths, len(seen))
    cover = look.machine.cover(size) if look.machine else torch.zeros(seen.shape[:2])
    sight = _each_alone(seen, behind(look.opening), look, filled, cover)
    free = (sight.owner == -1).reshape(len(look.things), *seen.shape[:2])
    tracks = []
    for number, thing in enumerate(look.things):
        only = np.zeros_like(look.layers, bool)
        only[:, number] = True
        shown = covered(seen, look.things, filled, np.zeros_like(look.layers), only).numpy() * free[number]
        mass = np.where(np.isnan(look.paths[number][:, 0]), 0, shown.sum(1) / size**2)
        tracks.append(
            Track(
                clip=number,
                colour=COLOURS.index(thing.colour),
                centre=filled[number, :, :2],
                mass=mass,
                blob=np.zeros(len(seen), int),
            )
        )
    for number, (thing, identity) in enumerate(zip(look.things, identify(sight, tracks), strict=True)):
        if identity and identity.changes_to:
            return identity
        if identity and identity.thing != thing and _is_rather(sight, tracks[number], identity.thing, thing):
            return Identity(thing=thing, changes_to=identity.thing)
    return None


def _is_rather(sight: Sight, track: Track, other: Thing, thing: Thing) -> bool:
    """Whether, in the frame in which most of it is seen, it looks far more like something else."""
    frame = int(track.mass.argmax())
    rows, where = np.full(2, track.clip * len(track.mass) + frame), track.centre[[frame, frame]]
    windows = sight.windows(rows, np.zeros(2, int), where, max(thing.reach, other.reach))
    looks = looks_in_rows([thing, other])
    left = windows.fit(looks, turned(windows, looks, where, []), TOGETHER)[1]
    return left[0] - left[1] > DOUBT + left[1] / 2


def _needed(seen: Float32[Tensor, "frames pixels 3"], scenery: Float32[Tensor, "frames pixels 3"], look: Look) -> Look:
    """Without the things without which the drawing is no worse: what they explain, others explain."""
    filled = _filled(look.paths, len(seen))

    def left(those: list[int]) -> float:
        layers = look.layers[:, those]
        picture = painted(scenery, [look.things[i] for i in those], filled[those], layers, layers >= 0)
        return float(((look.machine.over(picture) if look.machine else picture) - seen).square().sum())

    kept = list(range(len(look.things)))
    least = left(kept)
    while kept:
        fewer = [[i for i in kept if i != out] for out in kept]
        lefts = [left(those) for those in fewer]
        if min(lefts) > least:
            break
        kept, least = fewer[int(np.argmin(lefts))], min(lefts)
    return _only(look, kept)


def _only(look: Look, those: Sequence[int]) -> Look:
    """Some of the things."""
    return replace(
        look,
        things=tuple(look.things[i] for i in those),
        paths=[look.paths[i] for i in those],
        layers=look.layers[:, those],
    )


def free_of(machine: Machine | None, seen: Float32[Tensor, "frames pixels 3"]) -> Float32[Tensor, "frames pixels"]:
    """1 where no robot is in front."""
    if machine is None:
        return torch.ones(seen.shape[:2])
    return (machine.cover(round(seen.shape[1] ** 0.5)) <= FAINT).float()


def _filled(paths: Sequence[Path], length: int) -> Float[np.ndarray, "things frames 3"]:
    return np.array([expectation(path) for path in paths]).reshape(len(paths), length, 3)


def _right(
    seen: Float32[Tensor, "frames pixels 3"],
    scenery: Float32[Tensor, "frames pixels 3"],
    free: Float32[Tensor, "frames pixels"],
    look: Look,
) -> list[int]:
    """The things that look like their drawing in most of the frames in which they are seen."""
    filled = _filled(look.paths, len(seen))
    drawn = painted(scenery, look.things, filled, look.layers, look.layers >= 0)
    unlike = _unlike(seen, drawn, look.things, filled, 1 - free)
    shown = np.isfinite(np.array([path[:, 0] for path in look.paths]).reshape(-1, len(seen)))
    return [i for i, one in enumerate(shown) if one.any() and np.median(unlike[one, i]) < UNLIKE]


def _unlike(
    seen: Float32[Tensor, "frames pixels 3"],
    drawn: Float32[Tensor, "frames pixels 3"],
    things: Sequence[Thing],
    filled: Float[np.ndarray, "things frames 3"],
    hidden: Float32[Tensor, "frames pixels"],
) -> Float[np.ndarray, "frames things"]:
    """Mean difference, of 255, from the drawing over what is seen of each thing and what is just beside it."""
    size = round(seen.shape[1] ** 0.5)
    off = (seen - drawn).abs().amax(2) * (1 - hidden)
    flat = np.zeros((len(seen), len(things)), int)
    found = np.zeros(flat.shape)
    for number in range(len(things)):
        cover = covered(seen, things, filled, flat, flat + np.arange(len(things)) == number)
        about = F.max_pool2d(cover.view(-1, 1, size, size), 3, 1, 1).flatten(1)
        seen_of_it = (cover * (1 - hidden)).sum(1).clamp(min=1)
        found[:, number] = ((off * about).sum(1) / seen_of_it).numpy()
    return found


def _together(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Callable[[Float[np.ndarray, " frames"] | None], Float32[Tensor, "frames pixels 3"]],
    look: Look,
) -> Look:
    """Every pose, the robot and the drawer fitted at once, so that edges over edges come out right."""
    size, things, machine = round(seen.shape[1] ** 0.5), look.things, look.machine
    count = len(things)
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
        stays = np.concatenate([again[:, : 3 * count], best[poor, 3 * count :]], axis=1)  # all but the things
        for start_again in (again, stays):
            better, left = fitted(start_again, poor)
            helped = left < loss[poor]
            best[poor[helped]], loss[poor[helped]] = better[helped], left[helped]
    of_things, *rest = parts(best)
    poses = of_things.reshape(len(seen), count, 3).transpose(1, 0, 2)
    hidden = np.isnan(np.array(look.paths))
    return Look(
        machine=replace(machine, numbers=rest[0]) if machine else None,
        things=things,
        paths=list(np.where(hidden, np.nan, poses)),
        layers=look.layers,
        opening=None if look.opening is None else rest[-1][:, 0],
    )
