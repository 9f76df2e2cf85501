"""What a thing is: the shape, size and material whose drawing leaves least in a few good frames."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.geometry import area, reach, symmetry
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.parsing.windows import Windows
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, RADIUS, SHAPES, SIZES

SAMPLES = 2
"""Frames in which a thing is weighed: those in which most of it is seen."""
TURNS = 5
"""Angles tried within a shape's symmetry: the best is then near enough to be refined."""
AREAS = (0.62, 1.5)
"""Bounds on the area that was seen over that of a hypothesis."""
FINALISTS = 4
PERIOD = np.array([2 * math.pi / symmetry(shape) for shape in SHAPES])
_AREA = np.array([[area(shape) * RADIUS[size] ** 2 for size in SIZES] for shape in SHAPES])
_REACH = np.array([[reach(shape) * RADIUS[size] for size in SIZES] for shape in SHAPES])


class Sight:
    """A stack of frames, what is behind the things in each, and which pixels may tell of which thing."""

    def __init__(
        self,
        seen: Float32[Tensor, "frames pixels 3"],
        behind: Float32[Tensor, "frames pixels 3"],
        owner: Int[np.ndarray, "frames pixels"],
    ) -> None:
        self.seen, self.behind = seen, behind
        self.owner = owner
        """The number of the track that a pixel belongs to, -1 for any, -2 for none."""

    def weight(
        self, frame: Int[np.ndarray, " rows"], track: Int[np.ndarray, " rows"]
    ) -> Float32[Tensor, "rows pixels"]:
        """1 where nothing else is in front."""
        there = self.owner[frame]
        return torch.from_numpy(((there == -1) | (there == track[:, None])).astype(np.float32))

    def windows(
        self,
        frame: Int[np.ndarray, " rows"],
        track: Int[np.ndarray, " rows"],
        centre: Float[np.ndarray, "rows 2"],
        far: float,
    ) -> Windows:
        """The pixels about places."""
        return Windows(self.seen, self.behind, self.weight(frame, track), frame, centre, far)


def looks_of(hypotheses: Int[np.ndarray, "rows 4"]) -> Looks:
    """One thing a row, from places in `SHAPES`, `COLOURS`, `SIZES` and `MATERIALS`."""
    shape, colour, size, material = hypotheses.T[:, :, None]
    return Looks(shape=shape, colour=colour, size=size, material=material)


def identify(sight: Sight, tracks: Sequence[Track]) -> list[Thing | None]:
    """What each track is; None where nothing fits its area."""
    frames = len(tracks[0].mass) if tracks else 0
    choices = [_choices(track) for track in tracks]
    found: list[Thing | None] = [None] * len(tracks)
    for size in range(len(SIZES)):  # those of one largest size together, so that windows are no larger than need be
        group = [i for i, choice in enumerate(choices) if len(choice) and choice[:, 2].max() == size]
        if group:
            best = _weighed(sight, [tracks[i] for i in group], np.array(group), [choices[i] for i in group], frames)
            for i, (shape, colour, of_size, material) in zip(group, best, strict=True):
                found[i] = Thing(
                    shape=SHAPES[shape], colour=COLOURS[colour], size=SIZES[of_size], material=MATERIALS[material]
                )
    return found


def _choices(track: Track) -> Int[np.ndarray, "hypotheses 4"]:
    """Every shape, size and material that its largest blobs' area allows."""
    seen = float(np.sort(track.mass)[-SAMPLES:].mean())
    shapes, sizes = np.nonzero((seen > AREAS[0] * _AREA) & (seen < AREAS[1] * _AREA))
    pairs = np.stack([shapes, np.full(len(shapes), track.colour), sizes], axis=1).repeat(len(MATERIALS), 0)
    return np.concatenate([pairs, np.tile(np.arange(len(MATERIALS)), len(shapes))[:, None]], axis=1)


def _weighed(
    sight: Sight,
    tracks: Sequence[Track],
    numbers: Int[np.ndarray, " tracks"],
    choices: Sequence[Int[np.ndarray, "hypotheses 4"]],
    frames: int,
) -> list[tuple[int, ...]]:
    samples = [np.argsort(-track.mass, kind="stable")[:SAMPLES] for track in tracks]
    frame = np.concatenate([track.clip * frames + own for track, own in zip(tracks, samples, strict=True)])
    centre = np.concatenate([track.centre[own] for track, own in zip(tracks, samples, strict=True)])
    row_track = np.repeat(np.arange(len(tracks)), [len(own) for own in samples])
    far = max(_REACH[choice[:, 0], choice[:, 2]].max() for choice in choices)
    windows = sight.windows(frame, numbers[row_track], centre, far)
    # Each sample with every hypothesis at every angle.
    rows = np.concatenate([np.full(len(choices[t]) * TURNS, row) for row, t in enumerate(row_track)])
    tried = np.concatenate([choices[t].repeat(TURNS, 0) for t in row_track])
    which = np.concatenate([np.arange(len(choices[t])).repeat(TURNS) for t in row_track])
    angle = np.tile(np.arange(TURNS) / TURNS, len(rows) // TURNS) * PERIOD[tried[:, 0]]
    pose = np.concatenate([centre[rows], angle[:, None]], axis=1)
    loss = _in_parts(windows, rows, tried, pose).reshape(-1, TURNS)
    turn = loss.argmin(1)
    best_pose, loss = pose.reshape(-1, TURNS, 3)[np.arange(len(turn)), turn], loss.min(1)
    rows, tried, which = rows[::TURNS], tried[::TURNS], which[::TURNS]
    # The finalists, by their sums over the samples, are refined.
    final: list[int] = []
    for t, choice in enumerate(choices):
        mine = np.flatnonzero(row_track[rows] == t)
        sums = np.bincount(which[mine], loss[mine], len(choice))
        final += mine[np.isin(which[mine], np.argsort(sums)[:FINALISTS])].tolist()
    _, refined = windows.part(rows[final]).fit(looks_of(tried[final]), best_pose[final], 4)
    winners = []
    for t, choice in enumerate(choices):
        mine = row_track[rows[final]] == t
        sums = np.bincount(which[final][mine], refined[mine], len(choice))
        sums[np.bincount(which[final][mine], minlength=len(choice)) == 0] = np.inf
        winners.append(tuple(choice[sums.argmin()].tolist()))
    return winners


def _in_parts(
    windows: Windows, rows: Int[np.ndarray, " n"], tried: Int[np.ndarray, "n 4"], pose: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    at_once = max(1, 2**17 // windows.seen.shape[1])
    parts = [slice(first, first + at_once) for first in range(0, len(rows), at_once)]
    return np.concatenate([windows.part(rows[own]).loss(looks_of(tried[own]), pose[own]) for own in parts])
