"""Is what was read what the frames show? It is drawn again and compared; what fits is given its velocities and law."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from scipy import ndimage

from maquette.worlds.scene.parsing.layers import covered
from maquette.worlds.scene.parsing.motion import law_obeyed, law_residuals
from maquette.worlds.scene.parsing.poses import expectation
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.render import frames_of_many
from maquette.worlds.scene.state import Clip, Thing

PEAK, MEAN, THING = 30.0, 4.0, 10.5
"""Largest differences, of 255, between frames and their drawing that count as explained: of any place, of all, and of
the pixels of one thing in one frame. All are of the mean colours of 3 × 3 pixels: what is unlike is unlike over more
than a pixel, noise is not. A thing of a colour just between the two nearest ones is off by 11."""
CLEAN, NOISE = 16.0, 8.0
"""On the table top a place may be off by `CLEAN`, and by `NOISE` times what all are off on average: what noise and
compression do, they do everywhere, and in frames that are else as drawn less than `PEAK` tells one shape of a small
thing from another. In the side view, where nobody asks which of two things that touch lies in front, that alone is as
much."""

TINGE, OF_ALL = 5.0, 4.0
"""Largest differences, of 255, between the colour of a thing and of its drawing, over all frames: of itself, and times
what all are off on average. It counts only if it is there in what the thing covers and is not made up for by what lies
about it: what blur and compression take from a thing they give to its surroundings, and noise averages out; a paint
that is none of the vocabulary's, though nearly that of another material, does neither."""
CHANGE, FRAMES = 4.0, 3
"""Largest difference, of 255, between how unlike its drawing a thing is before some frame and from it on, with so many
frames at least to either side: what is unlike all along may be blurred, what begins to be unlike is another thing."""
AROUND = 5 / 32
"""Width of what lies about a place, in widths of a frame."""
SHARED = 0.2
"""Share of the smaller of two things of one colour that they must have in common to be one blob."""


def judged(
    frames: UInt8[np.ndarray, "clips frames size size 3"], readings: list[Reading], tolerance: float
) -> list[Reading]:
    """Those whose drawing looks like the frames, with their laws; the others rejected."""
    size = frames.shape[2]
    fine = [i for i, reading in enumerate(readings) if reading.rejected is None]
    if not fine:
        return readings
    clips = [drawable(readings[i]) for i in fine]
    drawn = frames_of_many(clips, size)
    off = frames[fine].astype(np.float32) - drawn
    smooth = np.abs(ndimage.uniform_filter(off, (0, 0, 3, 3, 0)))
    mean, peaks = smooth.mean(axis=(1, 2, 3, 4)), smooth.max(-1)
    for i, clip, unlike, of_mean, of_pixels in zip(fine, clips, off, mean.tolist(), peaks, strict=True):
        if why := _why_not(readings[i], clip, unlike, of_mean, of_pixels, tolerance):
            readings[i] = Reading(rejected=why, residual_peak=float(of_pixels.max()), residual_mean=of_mean)
            continue
        peak = float(of_pixels.max())
        residuals = law_residuals(readings[i])
        readings[i] = replace(
            readings[i], residual_peak=peak, residual_mean=of_mean, law=law_obeyed(residuals), law_residuals=residuals
        )
    return readings


def _why_not(
    reading: Reading,
    clip: Clip,
    off: Float32[np.ndarray, "frames size size 3"],
    mean: float,
    smooth: Float32[np.ndarray, "frames size size"],
    tolerance: float,
) -> str:
    """What the drawing of a clip does not explain, if there is anything; what counts may be so many times larger."""
    size = len(smooth[0])
    frame, row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    peak = float(smooth.max())
    most, thing_most = tolerance * PEAK, tolerance * THING
    if peak > (min(most, tolerance * CLEAN + NOISE * mean) if clip.view == "top" else most) or mean > tolerance * MEAN:
        where = f"about ({(column + 0.5) / size:.2f}, {1 - (row + 0.5) / size:.2f})"
        return f"frame {frame} is not explained {where}: it is off by {peak:.0f} of 255 there, by {mean:.1f} in all"
    colours = [thing.colour for thing in clip.things]
    if float(np.abs(off).max()) <= tolerance * min(THING, TINGE, CHANGE) and len(set(colours)) == len(colours):
        return ""  # no mean of these is more than the most
    covers = _covers(clip, size)
    if peak > thing_most and (found := _unlike(covers, smooth, thing_most)) is not None:
        number, frame, off_by = found
        return f"frame {frame}: what is most like {named(clip.things[number])} is off by {off_by:.0f} of 255"
    for thing, cover in zip(clip.things, covers, strict=True):
        if (off_by := _tinge(cover, off)) > tolerance * TINGE + OF_ALL * mean:
            return f"the colour of what is most like {named(thing)} is off by {off_by:.0f} of 255"
    for thing, cover in zip(clip.things, covers, strict=True):
        frame, change = _turning(cover, smooth)
        if change > tolerance * CHANGE + OF_ALL * mean:
            return f"what is most like {named(thing)} changes at frame {frame}: it is off by {change:.0f} more or less"
    if pair := _one_blob(reading, covers):
        a, b = (named(clip.things[number]) for number in pair)
        return f"{a} and {b} are one blob in every frame"
    return ""


def named(thing: Thing) -> str:
    """A thing as a reason for rejecting a clip speaks of it."""
    return f"a {thing.size} {thing.colour} {thing.shape} of {thing.material}"


def _covers(clip: Clip, size: int) -> list[Float32[np.ndarray, "frames size size"]]:
    """The share of each pixel that each thing alone covers."""
    paths = np.concatenate([clip.position, clip.angle[:, :, None]], axis=2).transpose(1, 0, 2)
    ground, flat = torch.zeros(len(clip), size * size, 3), np.zeros(clip.angle.shape, int)
    those = (flat + np.arange(len(clip.things)) == number for number in range(len(clip.things)))
    return [covered(ground, clip.things, paths, flat, one).numpy().reshape(-1, size, size) for one in those]


def _one_blob(reading: Reading, covers: Sequence[Float32[np.ndarray, "frames size size"]]) -> tuple[int, int] | None:
    """Two things of one colour that overlap whenever both are seen: what else they might be, nobody can tell."""
    for a, b in itertools.combinations(range(len(covers)), 2):
        both = reading.visible[:, (a, b)].all(1)
        if reading.things[a].colour != reading.things[b].colour or not both.any():
            continue
        area = np.minimum(covers[a].sum((1, 2)), covers[b].sum((1, 2)))
        shared = np.minimum(covers[a], covers[b]).sum((1, 2)) / np.maximum(area, 1)
        if (shared[both] > SHARED).all():
            return a, b
    return None


def _unlike(
    covers: Sequence[Float32[np.ndarray, "frames size size"]],
    off: Float32[np.ndarray, "frames size size"],
    most: float,
) -> tuple[int, int, float] | None:
    """The thing that is least like its drawing, in which frame, and by how much, if that is more than the most."""
    worst = None
    for number, cover in enumerate(covers):
        unlike = _by_frame(cover, off)
        frame = int(unlike.argmax())
        if unlike[frame] > (worst[2] if worst else most):
            worst = number, frame, float(unlike[frame])
    return worst


def _by_frame(
    cover: Float32[np.ndarray, "frames size size"], off: Float32[np.ndarray, "frames size size"]
) -> Float32[np.ndarray, " frames"]:
    """The mean difference over what a thing covers."""
    return (off * cover).sum((1, 2)) / np.maximum(cover.sum((1, 2)), 1)


def _turning(
    cover: Float32[np.ndarray, "frames size size"], off: Float32[np.ndarray, "frames size size"]
) -> tuple[int, float]:
    """The frame from which on a thing is more or less unlike its drawing, and by how much on average."""
    unlike = _by_frame(cover, off)
    turns = range(FRAMES, len(unlike) - FRAMES + 1)
    found = {turn: float(abs(unlike[:turn].mean() - unlike[turn:].mean())) for turn in turns}
    return max(found.items(), key=lambda one: one[1], default=(0, 0.0))


def _tinge(cover: Float32[np.ndarray, "frames size size"], off: Float32[np.ndarray, "frames size size 3"]) -> float:
    """How far a thing's colour is from its drawing's over all frames, in the channel in which it is farthest."""
    about = ndimage.maximum_filter(cover, (0, *[round(AROUND * cover.shape[1])] * 2))
    own, all_ = (np.einsum("fyx,fyxc->c", part, off) / max(cover.sum(), 1) for part in (cover, about))
    return float(np.where(own * all_ > 0, np.minimum(np.abs(own), np.abs(all_)), 0).max())


def drawable(reading: Reading) -> Clip:
    """What was read as a clip; what is hidden goes straight on."""
    paths = np.concatenate([reading.position, reading.angle[:, :, None]], axis=2)
    filled = np.stack([expectation(path) for path in paths.transpose(1, 0, 2)], 1) if reading.things else paths
    return Clip(
        view=reading.view or "side",
        things=reading.things,
        position=filled[:, :, :2],
        angle=filled[:, :, 2],
        velocity=np.zeros_like(filled[:, :, :2]),
        spin=np.zeros(filled.shape[:2]),
        fps=reading.fps,
        scenery=reading.scenery,
        robots=reading.robots,
        openings=reading.openings,
        layers=reading.layers,
    )


def velocities(position: Float[np.ndarray, "frames things 2"], fps: float) -> Float[np.ndarray, "frames things 2"]:
    """By differences over each run of frames in which a thing is seen; NaN where it is hidden or seen once."""
    velocity = np.full_like(position, np.nan)
    for thing in range(position.shape[1]):
        seen = np.flatnonzero(np.isfinite(position[:, thing, 0]))
        for run in np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1):
            if len(run) > 1:
                order = 2 if len(run) > 2 else 1
                velocity[run, thing] = np.gradient(position[run, thing], 1 / fps, axis=0, edge_order=order)
    return velocity
