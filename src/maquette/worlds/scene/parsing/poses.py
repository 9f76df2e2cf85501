"""Where things that are known are in every frame, and how they are turned."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.parsing.identity import PERIOD, TURNS, Sight
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.parsing.windows import CERTAIN, Windows, looks_at, looks_in_rows
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.vocabulary import SHAPES, SIZES

VISIBLE = 0.15
"""Share of a thing's pixels that must be free of what is in front for its place to be read."""
LEEWAY, TURN = 1.5, 0.2
"""Pixels and radians by which a thing seen in part may be off what its whole sightings let expect, as deviations."""
ROUNDS = 3
POOR = 4.0
"""A pose is fitted again if it leaves so many times what a good one of its thing does, beside 1 of 255 a pixel; if it
still does, the thing is not seen whole there."""
SPAN = 0.06
"""Widths beyond its reach about which a thing that is seen in part is looked for."""

Path = Float[np.ndarray, "frames 3"]
"""x, y and angle."""


def follow(sight: Sight, tracks: Sequence[Track], things: Sequence[Thing | None]) -> list[Path]:
    """Where each thing is in each frame; NaN where it is hidden.

    First where it is seen whole; then, near where these let expect it, where it is seen in part.
    """
    found = [np.full((len(track.mass), 3), np.nan) for track in tracks]
    known = {i: thing for i, thing in enumerate(things) if thing is not None}
    for look in (_follow_whole, _follow_partly):
        for size in SIZES:  # those of one size together, so that windows are no larger than need be
            group = [i for i, thing in known.items() if thing.size == size and np.isnan(found[i][:, 0]).any()]
            if group:
                look(sight, tracks, known, group, found)
        for i, thing in known.items():
            found[i][:, 2] = unturned(found[i][:, 2], thing)
    return found


def _follow_whole(
    sight: Sight, tracks: Sequence[Track], things: Mapping[int, Thing], group: Sequence[int], found: list[Path]
) -> None:
    which, frame = _rows(group, [np.flatnonzero(tracks[i].whole) for i in group])
    centre = np.array([tracks[i].centre[f] for i, f in zip(which, frame, strict=True)])
    looks = looks_in_rows([things[i] for i in which])
    windows = sight.windows(_stacked(tracks, which, frame), which, centre, max(things[i].reach for i in group))
    poses, loss = windows.fit(looks, turned(windows, looks, centre, []), ROUNDS)

    def poor() -> Int[np.ndarray, " some"]:
        good = {i: np.quantile(loss[which == i], 0.25) for i in np.unique(which)}
        fine = loss <= POOR * np.array([good[i] for i in which]) + windows.seen.shape[1]
        for i, f, pose in zip(which[fine], frame[fine], poses[fine], strict=True):
            found[i][f] = pose
        return np.flatnonzero(~fine)

    if len(again := poor()):
        expected = np.array([expectation(found[i])[f] for i, f in zip(which[again], frame[again], strict=True)])
        for start in (poses[again], expected):
            better, left = windows.part(again).fit(looks_at(looks, again), start, 2 * ROUNDS)
            helped = left < loss[again]
            poses[again[helped]], loss[again[helped]] = better[helped], left[helped]
        poor()


def _follow_partly(
    sight: Sight, tracks: Sequence[Track], things: Mapping[int, Thing], group: Sequence[int], found: list[Path]
) -> None:
    which, frame = _rows(group, [np.flatnonzero(np.isnan(found[i][:, 0])) for i in group])
    expected = np.array([expectation(found[i])[f] for i, f in zip(which, frame, strict=True)])
    centre = np.array([tracks[i].centre[f] for i, f in zip(which, frame, strict=True)])
    centre = np.where(np.isnan(centre), expected[:, :2], centre)
    looks = looks_in_rows([things[i] for i in which])
    stack, reach = _stacked(tracks, which, frame), max(things[i].reach for i in group)
    best, least, visible = expected, np.full(len(which), np.inf), np.zeros(len(which))
    for about in (expected[:, :2], centre):
        windows = sight.windows(stack, which, (expected[:, :2] + centre) / 2, reach + SPAN)
        start = turned(windows, looks, about, [expected[:, 2]])
        trust = np.array([windows.size / LEEWAY, windows.size / LEEWAY, 1 / TURN]) ** 2 * CERTAIN**2
        poses, loss = windows.fit(looks, start, ROUNDS + 2, np.tile(trust, (len(start), 1)))
        cover = windows.cover(looks, poses)
        free = ((cover * windows.weight).sum(1) / cover.sum(1).clamp(min=1e-6)).numpy()
        better = loss < least
        best, least = np.where(better[:, None], poses, best), np.where(better, loss, least)
        visible = np.where(better, free, visible)
    for i, f, pose, share in zip(which, frame, best, visible.tolist(), strict=True):
        if share >= VISIBLE:
            found[i][f] = pose


def _rows(
    group: Sequence[int], frames: Sequence[Int[np.ndarray, " some"]]
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    return np.repeat(group, [len(own) for own in frames]), np.concatenate(frames)


def _stacked(
    tracks: Sequence[Track], which: Int[np.ndarray, " rows"], frame: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, " rows"]:
    """Numbers of frames in the stack of all clips."""
    return np.array([tracks[i].clip for i in which]) * len(tracks[0].mass) + frame


def turned(
    windows: Windows, looks: Looks, centre: Float[np.ndarray, "rows 2"], angles: list[Float[np.ndarray, " rows"]]
) -> Float[np.ndarray, "rows 3"]:
    """Poses at places, at the best of some angles."""
    period = PERIOD[looks.shape[:, 0]]
    tried = [np.column_stack([centre, angle]) for angle in (*angles, *(turn / TURNS * period for turn in range(TURNS)))]
    best = np.argmin([windows.loss(looks, pose) for pose in tried], axis=0)
    return np.array(tried)[best, np.arange(len(best))]


def expectation(path: Float[np.ndarray, "frames numbers"]) -> Float[np.ndarray, "frames numbers"]:
    """A path without gaps: straight on between and beyond what is known."""
    known = np.flatnonzero(np.isfinite(path[:, 0]))
    frames = np.arange(len(path))
    filled = np.stack([np.interp(frames, known, path[known, k]) for k in range(path.shape[1])], axis=1)
    if len(known) > 1:
        for near, next_, beyond in (
            (known[0], known[1], frames < known[0]),
            (known[-1], known[-2], frames > known[-1]),
        ):
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
    for before, now in itertools.pairwise(known):
        smooth[now] = angle[now] - period * np.round((angle[now] - smooth[before]) / period)
    return smooth
