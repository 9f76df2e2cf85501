"""Where things that are known are in every frame, and how they are turned."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from maquette.worlds.scene.parsing.identity import PERIOD, TURNS, Sight
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.parsing.windows import CERTAIN, looks_in_rows
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.vocabulary import SHAPES, SIZES

VISIBLE = 0.15
"""Share of a thing's pixels that must be free of what is in front for its place to be read."""
LEEWAY, TURN = 1.5, 0.2
"""Pixels and radians by which a thing seen in part may be off what its whole sightings let expect, as deviations."""
ROUNDS = 3

Path = Float[np.ndarray, "frames 3"]
"""x, y and angle."""


def follow(sight: Sight, tracks: Sequence[Track], things: Sequence[Thing | None]) -> list[Path]:
    """Where each thing is in each frame; NaN where it is hidden.

    First where it is seen whole; then, near where these let expect it, where it is seen in part.
    """
    found = [np.full((len(track.mass), 3), np.nan) for track in tracks]
    for look in (_follow_whole, _follow_partly):
        for size in SIZES:  # those of one size together, so that windows are no larger than need be
            group = [i for i, thing in enumerate(things) if thing is not None and thing.size == size]
            group = [i for i in group if np.isnan(found[i][:, 0]).any()]
            if group:
                look(sight, tracks, things, group, found)
        for path, thing in zip(found, things, strict=True):
            if thing is not None:
                path[:, 2] = unturned(path[:, 2], thing)
    return found


def _follow_whole(
    sight: Sight, tracks: Sequence[Track], things: Sequence[Thing], group: Sequence[int], found: list[Path]
) -> None:
    own = [np.flatnonzero(tracks[i].whole) for i in group]
    which = np.repeat(group, [len(frames) for frames in own])
    frame = np.concatenate(own)
    stack = np.array([tracks[i].clip for i in which]) * len(tracks[0].mass) + frame
    centre = np.array([tracks[i].centre[f] for i, f in zip(which, frame, strict=True)])
    looks = looks_in_rows([things[i] for i in which])
    windows = sight.windows(stack, which, centre, max(things[i].reach for i in group))
    tried = [
        np.column_stack([centre, turn / TURNS * PERIOD[looks.shape[:, 0]]]) for turn in range(TURNS)
    ]
    best = np.argmin([windows.loss(looks, pose) for pose in tried], axis=0)
    poses, _ = windows.fit(looks, np.array(tried)[best, np.arange(len(best))], ROUNDS)
    for i, f, pose in zip(which, frame, poses, strict=True):
        found[i][f] = pose


def _follow_partly(
    sight: Sight, tracks: Sequence[Track], things: Sequence[Thing], group: Sequence[int], found: list[Path]
) -> None:
    own = [np.flatnonzero(np.isnan(found[i][:, 0])) for i in group]
    which = np.repeat(group, [len(frames) for frames in own])
    frame = np.concatenate(own)
    stack = np.array([tracks[i].clip for i in which]) * len(tracks[0].mass) + frame
    expected = np.concatenate([expectation(found[i])[frames] for i, frames in zip(group, own, strict=True)])
    looks = looks_in_rows([things[i] for i in which])
    windows = sight.windows(stack, which, expected[:, :2], max(things[i].reach for i in group))
    size = windows.size
    trust = np.array([size / LEEWAY, size / LEEWAY, 1 / TURN]) ** 2 * CERTAIN**2
    poses, _ = windows.fit(looks, expected, ROUNDS + 2, np.tile(trust, (len(expected), 1)))
    cover = windows.cover(looks, poses)
    free = (cover * windows.weight).sum(1) / cover.sum(1).clamp(min=1e-6)
    for i, f, pose, visible in zip(which, frame, poses, free.tolist(), strict=True):
        if visible >= VISIBLE:
            found[i][f] = pose


def expectation(path: Path) -> Path:
    """A path without gaps: straight on between and beyond what is known."""
    known = np.flatnonzero(np.isfinite(path[:, 0]))
    frames = np.arange(len(path))
    filled = np.stack([np.interp(frames, known, path[known, k]) for k in range(3)], axis=1)
    if len(known) > 1:
        for near, next_, beyond in ((known[0], known[1], frames < known[0]), (known[-1], known[-2], frames > known[-1])):
            pace = (path[near] - path[next_]) / (near - next_)
            filled[beyond] = path[near] + (frames[beyond] - near)[:, None] * pace
    return filled


def unturned(angle: Float[np.ndarray, " frames"], thing: Thing) -> Float[np.ndarray, " frames"]:
    """Angles that are known up to a shape's symmetry, made to follow one another as smoothly as they can."""
    period = PERIOD[SHAPES.index(thing.shape)]
    smooth = angle.copy()
    known = np.flatnonzero(np.isfinite(angle))
    if not len(known):
        return smooth
    first = angle[known[0]]
    smooth[known[0]] = first - period * np.round(first / period)
    for before, now in zip(known, known[1:], strict=False):
        smooth[now] = angle[now] - period * np.round((angle[now] - smooth[before]) / period)
    return smooth

