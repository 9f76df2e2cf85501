"""Is what was read what the frames show? It is drawn again and compared; what fits is given its velocities and law."""

import itertools
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

SHARED = 0.2
"""Share of the smaller of two things of one colour that they must have in common to be one blob."""


def judged(frames: UInt8[np.ndarray, "clips frames size size 3"], readings: list[Reading]) -> list[Reading]:
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
    for i, clip, of_mean, of_pixels in zip(fine, clips, mean.tolist(), peaks, strict=True):
        frame, row, column = np.unravel_index(of_pixels.argmax(), of_pixels.shape)
        peak, why = float(of_pixels.max()), ""
        most = min(PEAK, CLEAN + NOISE * of_mean) if clip.view == "top" else PEAK
        if peak > most or of_mean > MEAN:
            where = f"about ({(column + 0.5) / size:.2f}, {1 - (row + 0.5) / size:.2f})"
            why = (
                f"frame {frame} is not explained {where}: it is off by {peak:.0f} of 255 there, by {of_mean:.1f} in all"
            )
        elif peak > THING and (found := _unlike(clip, of_pixels)) is not None:
            number, frame, off_by = found
            thing = clip.things[number]
            looks = f"{thing.size} {thing.colour} {thing.shape}"
            why = f"frame {frame}: what is most like a {looks} is off by {off_by:.0f} of 255"
        elif found := _one_blob(readings[i], clip, size):
            a, b = (f"a {one.size} {one.colour} {one.shape}" for one in found)
            why = f"{a} and {b} are one blob in every frame"
        if why:
            readings[i] = Reading(rejected=why, residual_peak=peak, residual_mean=of_mean)
            continue
        residuals = law_residuals(readings[i])
        readings[i] = replace(
            readings[i], residual_peak=peak, residual_mean=of_mean, law=law_obeyed(residuals), law_residuals=residuals
        )
    return readings


def _one_blob(reading: Reading, clip: Clip, size: int) -> tuple[Thing, Thing] | None:
    """Two things of one colour that overlap whenever both are seen: what else they might be, nobody can tell."""
    paths = np.concatenate([clip.position, clip.angle[:, :, None]], axis=2).transpose(1, 0, 2)
    ground, flat = torch.zeros(len(clip), size * size, 3), np.zeros(clip.angle.shape, int)
    for pair in itertools.combinations(range(len(clip.things)), 2):
        a, b = (clip.things[number] for number in pair)
        both = reading.visible[:, pair].all(1)
        if a.colour != b.colour or not both.any():
            continue
        one, other = (
            covered(ground, clip.things, paths, flat, flat + np.arange(len(clip.things)) == number) for number in pair
        )
        shared = torch.minimum(one, other).sum(1) / torch.minimum(one.sum(1), other.sum(1)).clamp(min=1)
        if (shared.numpy()[both] > SHARED).all():
            return a, b
    return None


def _unlike(clip: Clip, off: Float32[np.ndarray, "frames size size"]) -> tuple[int, int, float] | None:
    """The thing that is least like its drawing, in which frame, and by how much, if that is too much."""
    paths = np.concatenate([clip.position, clip.angle[:, :, None]], axis=2).transpose(1, 0, 2)
    ground = torch.zeros(len(off), off[0].size, 3)
    flat = np.zeros(clip.angle.shape, int)
    worst = None
    for number in range(len(clip.things)):
        alone = np.zeros(clip.angle.shape, bool)
        alone[:, number] = True
        cover = covered(ground, clip.things, paths, flat, alone).numpy().reshape(off.shape)
        unlike = (off * cover).sum((1, 2)) / np.maximum(cover.sum((1, 2)), 1)
        frame = int(unlike.argmax())
        if unlike[frame] > (worst[2] if worst else THING):
            worst = number, frame, float(unlike[frame])
    return worst


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
