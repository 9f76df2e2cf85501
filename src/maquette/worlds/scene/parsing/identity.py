"""What a thing is: the shape, size and material whose drawing leaves least in a few good frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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

MUCH = 0.7
"""Share of its largest area that must be seen of a thing in a frame in which it is weighed."""
TURNS = 5
"""Angles tried within a shape's symmetry: the best is then near enough to be refined."""
AREAS = (0.5, 1.5)
"""Bounds on the area that was seen over that of a hypothesis."""
FINALISTS = 3
DOUBT = 5000.0
"""Sum of squares, beside half of what noise leaves, by which a thing may look more like another in one frame."""
CLEAR = 4.0
"""Times what is left of the better frame, beside `DOUBT`, from which on nothing fits the other: it is half hidden."""
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


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a thing is, and what else it is in some frame, if it does not stay the same."""

    thing: Thing
    changes_to: Thing | None = None


def identify(sight: Sight, tracks: Sequence[Track]) -> list[Identity | None]:
    """What each track is; None where nothing fits its area."""
    choices = [_choices(track) for track in tracks]
    found: list[Identity | None] = [None] * len(tracks)
    for size in range(len(SIZES)):  # those of one largest size together, so that windows are no larger than need be
        group = [i for i, choice in enumerate(choices) if len(choice) and choice[:, 2].max() == size]
        if group:
            best = _weighed(sight, [tracks[i] for i in group], np.array(group), [choices[i] for i in group])
            for i, identity in zip(group, best, strict=True):
                found[i] = identity
    return found


def _samples(track: Track) -> list[int]:
    """The frame of each half of the clip in which most of it is seen, where that is much."""
    half = len(track.mass) // 2
    halves = [part for part in (np.arange(half), np.arange(half, len(track.mass))) if len(part)]
    best = [int(part[track.mass[part].argmax()]) for part in halves]
    return [frame for frame in best if track.mass[frame] > MUCH * track.mass.max()]


def _choices(track: Track) -> Int[np.ndarray, "hypotheses 4"]:
    """Every shape, size and material that its area in the samples allows."""
    seen = track.mass[_samples(track)]
    shapes, sizes = np.nonzero((seen.max() > AREAS[0] * _AREA) & (seen.min() < AREAS[1] * _AREA))
    pairs = np.stack([shapes, np.full(len(shapes), track.colour), sizes], axis=1).repeat(len(MATERIALS), 0)
    return np.concatenate([pairs, np.tile(np.arange(len(MATERIALS)), len(shapes))[:, None]], axis=1)


def _weighed(
    sight: Sight,
    tracks: Sequence[Track],
    numbers: Int[np.ndarray, " tracks"],
    choices: list[Int[np.ndarray, "hypotheses 4"]],
) -> list[Identity]:
    samples = [_samples(track) for track in tracks]
    row_track = np.repeat(np.arange(len(tracks)), [len(own) for own in samples])
    centre = np.concatenate([track.centre[own] for track, own in zip(tracks, samples, strict=True)])
    frame = np.concatenate(
        [track.clip * len(track.mass) + np.array(own) for track, own in zip(tracks, samples, strict=True)]
    )
    far = max(_REACH[choice[:, 0], choice[:, 2]].max() for choice in choices)
    windows = sight.windows(frame, numbers[row_track], centre, far)
    # Each sample with every hypothesis at every angle; the finalists of each are refined.
    rows = np.concatenate([np.full(len(choices[t]) * TURNS, row) for row, t in enumerate(row_track)])
    tried = np.concatenate([choices[t].repeat(TURNS, 0) for t in row_track])
    angle = np.tile(np.arange(TURNS) / TURNS, len(rows) // TURNS) * PERIOD[tried[:, 0]]
    pose = np.concatenate([centre[rows], angle[:, None]], axis=1)
    loss = _in_parts(windows, rows, tried, pose).reshape(-1, TURNS)
    pose, loss = pose.reshape(-1, TURNS, 3)[np.arange(len(loss)), loss.argmin(1)], loss.min(1)
    tried, edges = tried[::TURNS], np.cumsum([0, *(len(choices[t]) for t in row_track)])
    tables: list[np.ndarray] = [
        np.stack([loss[edges[row] : edges[row + 1]] for row in np.flatnonzero(row_track == t)])
        for t in range(len(tracks))
    ]
    kept: list[np.ndarray] = [np.unique(np.argsort(table, axis=1)[:, :FINALISTS]) for table in tables]
    final = np.concatenate([edges[row] + kept[t] for row, t in enumerate(row_track)])
    row_of = np.repeat(np.arange(len(row_track)), [len(kept[t]) for t in row_track])
    _, refined = windows.part(row_of).fit(looks_of(tried[final]), pose[final], 4)
    return [
        _decided(choices[t][kept[t]], refined[row_track[row_of] == t].reshape(len(samples[t]), -1))
        for t in range(len(tracks))
    ]


def _decided(choice: Int[np.ndarray, "hypotheses 4"], left: Float[np.ndarray, "samples hypotheses"]) -> Identity:
    """The hypothesis that leaves least in all samples that any fits, and one that is far better in one, if there is."""
    left = left[left.min(1) <= DOUBT + CLEAR * left.min()]
    best = int(left.sum(0).argmin())
    excess = left[:, best] - left.min(1)
    sample = int(excess.argmax())
    thing, other = (_thing(choice[i]) for i in (best, int(left[sample].argmin())))
    return Identity(thing=thing, changes_to=other if excess[sample] > DOUBT + left[sample].min() / 2 else None)


def _thing(hypothesis: Int[np.ndarray, " 4"]) -> Thing:
    shape, colour, size, material = hypothesis.tolist()
    return Thing(shape=SHAPES[shape], colour=COLOURS[colour], size=SIZES[size], material=MATERIALS[material])


def _in_parts(
    windows: Windows, rows: Int[np.ndarray, " n"], tried: Int[np.ndarray, "n 4"], pose: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    at_once = max(1, 2**17 // windows.seen.shape[1])
    parts = [slice(first, first + at_once) for first in range(0, len(rows), at_once)]
    return np.concatenate([windows.part(rows[own]).loss(looks_of(tried[own]), pose[own]) for own in parts])
