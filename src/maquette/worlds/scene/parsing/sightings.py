"""From labelled pixels to tracks: which thing, by its colour, was seen where and in which frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from maquette.worlds.scene.geometry import area
from maquette.worlds.scene.vocabulary import COLOURS, RADIUS, SHAPES

SMALLEST = min(area(shape) for shape in SHAPES) * min(RADIUS.values()) ** 2
LEAST, SLIVER = 0.35, 0.06
"""Shares of the smallest thing's area that a blob must have to be a thing, and to be a part of one that is known."""
SOLID = 0.35
"""Share of a pixel that belongs to a blob."""
OFTEN = 0.25
"""Share of the frames with any, from which on so many blobs of a colour are so many things."""
WHOLE = 0.75
"""Share of its usual area at which a thing is seen whole."""
EIGHT = np.zeros((3, 3, 3), int)
EIGHT[1] = 1


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """Connected pixels of one colour, each in one frame of one stack."""

    frame: Int[np.ndarray, " blobs"]
    centre: Float[np.ndarray, "blobs 2"]
    mass: Float[np.ndarray, " blobs"]
    """Area, in widths²."""
    number: Int[np.ndarray, "frames rows columns"]
    """Each pixel's blob, from 1; 0 where there is none."""


def blobs_of(
    label: Int[np.ndarray, "frames rows columns"], share: Float[np.ndarray, "frames rows columns"], colour: int
) -> Blobs:
    """All of one colour."""
    size = label.shape[1]
    mask = (label == colour) & (share > SOLID)
    number, count = ndimage.label(mask, EIGHT)
    frame, row, column = np.nonzero(mask)
    which = number[frame, row, column] - 1
    mass = share[frame, row, column]
    total = np.bincount(which, mass, count)
    sums = [np.bincount(which, mass * place, count) / np.maximum(total, 1e-9) for place in (column, row)]
    where = np.zeros(count, int)
    where[which] = frame
    centre = np.stack([(sums[0] + 0.5) / size, 1 - (sums[1] + 0.5) / size], axis=1)
    return Blobs(frame=where, centre=centre, mass=total / size**2, number=number)


@dataclass(kw_only=True)
class Track:
    """One thing through a clip, as blobs: NaN and 0 where none was found."""

    clip: int
    colour: int
    centre: Float[np.ndarray, "frames 2"]
    mass: Float[np.ndarray, " frames"]
    blob: Int[np.ndarray, " frames"]
    """Its blob's number in each frame, 0 for none."""

    @property
    def whole(self) -> Bool[np.ndarray, " frames"]:
        """Where it seems to be seen whole."""
        return self.mass > WHOLE * np.quantile(self.mass[self.mass > 0], 0.9)


def tracks_of(blobs: Blobs, colour: int, clip: int, frames: int) -> list[Track]:
    """The things of one colour in one clip, whose frames follow one another in the stack."""
    first = clip * frames
    here = np.flatnonzero((blobs.frame >= first) & (blobs.frame < first + frames) & (blobs.mass > SLIVER * SMALLEST))
    large = here[blobs.mass[here] > LEAST * SMALLEST]
    if not len(large):
        return []
    counts = np.bincount(blobs.frame[large] - first, minlength=frames)
    shown = counts[counts > 0]
    number = max(n for n in range(1, counts.max() + 1) if (shown >= n).mean() >= OFTEN)
    tracks = [
        Track(
            clip=clip,
            colour=colour,
            centre=np.full((frames, 2), np.nan),
            mass=np.zeros(frames),
            blob=np.zeros(frames, int),
        )
        for _ in range(number)
    ]
    last = np.full((number, 2), np.nan)
    begin = int(np.argmax(counts >= number)) if (counts >= number).any() else int(counts.argmax())
    for frame in (*range(begin, frames), *range(begin - 1, -1, -1)):
        if frame == begin - 1:
            last = np.array([track.centre[begin] for track in tracks])
        those = here[blobs.frame[here] == first + frame]
        those = those[np.argsort(-blobs.mass[those])][:number]
        for track, blob in _matched(last, blobs.centre[those]):
            tracks[track].centre[frame] = last[track] = blobs.centre[those[blob]]
            tracks[track].mass[frame], tracks[track].blob[frame] = blobs.mass[those[blob]], those[blob] + 1
    return tracks


def _matched(last: Float[np.ndarray, "tracks 2"], centres: Float[np.ndarray, "blobs 2"]) -> Sequence[tuple[int, int]]:
    apart = np.linalg.norm(last[:, None] - centres[None], axis=2)
    rows, columns = linear_sum_assignment(np.nan_to_num(apart, nan=1.0))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def colours_in(label: Int[np.ndarray, "frames rows columns"]) -> list[int]:
    """Those of which there is a pixel."""
    return [colour for colour in np.unique(label).tolist() if 0 <= colour < len(COLOURS)]
