"""Frames to state by analysis and synthesis: everything that is read is drawn again, and must look like the frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy import ndimage
from torch import Tensor

from maquette.core.errors import UserError
from maquette.worlds.scene.drawing import SKY, TABLE, rods
from maquette.worlds.scene.parsing.backdrop import Unexplained, scene_of, side_scenery, still
from maquette.worlds.scene.parsing.identity import Sight, identify
from maquette.worlds.scene.parsing.least_squares import fit
from maquette.worlds.scene.parsing.machinery import Machine, machine_of
from maquette.worlds.scene.parsing.motion import law_obeyed, law_residuals
from maquette.worlds.scene.parsing.overlaps import FAINT, Look, look_again
from maquette.worlds.scene.parsing.palette import FIXTURE, NOTHING, unmix
from maquette.worlds.scene.parsing.poses import Path, expectation, follow
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.parsing.sightings import Track, blobs_of, colours_in, tracks_of
from maquette.worlds.scene.parsing.tabletop import drawer_of, drawn, zones_of
from maquette.worlds.scene.raster import paint_boxes
from maquette.worlds.scene.render import frames_of_many
from maquette.worlds.scene.state import Clip, Drawer, Pendulum, Scenery, Screen, Thing
from maquette.worlds.scene.vocabulary import COLOURS, View

AT_ONCE = 16
"""Clips read together."""
PEAK, MEAN = 30.0, 6.0
"""Largest differences, of 255, between frames and their drawing that count as explained: of any 3 × 3 pixels' mean
colour, and of all pixels' mean."""

LOOKS = 2
"""At what was not explained, on the table top."""


def read_clips(frames: UInt8[np.ndarray, "clips frames size size 3"], fps: float = 8.0) -> list[Reading]:
    """What each clip shows, or why it was rejected.

    Raises:
        UserError: the frames are no clips of square pictures from 16 to 128 pixels wide.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[2] != frames.shape[3] or frames.shape[4] != 3:
        raise UserError(
            f"frames of {frames.dtype} and shape {frames.shape} cannot be read; "
            "give uint8 of shape (clips, frames, size, size, 3)."
        )
    if not 16 <= frames.shape[2] <= 128:
        raise UserError(f"frames of {frames.shape[2]} pixels cannot be read; give 16 to 128.")
    if not frames.shape[1]:
        raise UserError("Clips of no frames cannot be read; give at least one.")
    readings: list[Reading] = []
    for first in range(0, len(frames), AT_ONCE):
        readings += _read(frames[first : first + AT_ONCE], fps)
    return readings


@dataclass(kw_only=True)
class _Draft:
    """What is known of a clip so far."""

    view: View
    scenery: tuple[Scenery, ...] = ()
    openings: Float[np.ndarray, " frames"] | None = None
    machine: Machine | None = None
    tracks: tuple[int, ...] = ()
    layers: Int[np.ndarray, "frames things"] = field(default_factory=lambda: np.zeros((0, 0), int))
    why_not: str | None = None


def _read(frames: UInt8[np.ndarray, "clips frames size size 3"], fps: float) -> list[Reading]:
    count, length, size = frames.shape[:3]
    seen = torch.from_numpy(frames).view(count * length, size * size, 3).float()
    drafts = [_draft(clip) for clip in frames]
    behind, masked = torch.empty_like(seen), np.zeros((count * length, size * size), bool)
    for i, draft in enumerate(drafts):
        rows = slice(i * length, (i + 1) * length)
        behind[rows] = _behind(draft, length, size) if draft.why_not is None else seen[rows]
        masked[rows] = _before(draft.scenery, size)
    label, share = (one.numpy() for one in unmix(seen, behind))
    for i, draft in enumerate(drafts):
        if draft.view == "top":
            rows = slice(i * length, (i + 1) * length)
            draft.machine = machine_of(seen[rows], behind[rows], label[rows], share[rows])
            if draft.machine:
                masked[rows] |= draft.machine.cover(size).numpy() > FAINT
    label = np.where(masked, NOTHING, label)
    tracks, owner = _tracks(label, share, masked, count, length)
    for number, track in enumerate(tracks):
        drafts[track.clip].tracks += (number,)
    _with_rods(behind, seen, owner, drafts, tracks, length)
    sight = Sight(seen, behind, owner)
    things = identify(sight, tracks)
    for number, thing in enumerate(things):
        if thing is None:  # a seam between two others, or what the last check will find unexplained
            owner[owner == number] = -1
    paths = follow(sight, tracks, things)
    readings = []
    for draft in drafts:
        draft.tracks = tuple(i for i in draft.tracks if things[i] is not None)
        readings.append(_reading(draft, things, paths, length, fps))
    readings = _judged(frames, readings)
    for _ in range(LOOKS):
        again = [
            i
            for i, draft in enumerate(drafts)
            if readings[i].rejected and draft.why_not is None and draft.view == "top" and draft.tracks
        ]
        for i in again:
            draft, rows, own = drafts[i], slice(i * length, (i + 1) * length), list(drafts[i].tracks)
            last = Look(
                machine=draft.machine, paths=[paths[n] for n in own], layers=draft.layers, opening=draft.openings
            )
            look = look_again(
                seen[rows],
                lambda opening, draft=draft: _behind(replace(draft, openings=opening), length, size),
                [tracks[n] for n in own],
                [things[n] for n in own],
                last,
            )
            draft.machine, draft.layers, draft.openings = look.machine, look.layers, look.opening
            for n, path in zip(own, look.paths, strict=True):
                paths[n] = path
        judged = _judged(frames[again], [_reading(drafts[i], things, paths, length, fps) for i in again])
        for i, reading in zip(again, judged, strict=True):
            readings[i] = reading
    return readings


def _draft(frames: UInt8[np.ndarray, "frames size size 3"]) -> _Draft:
    """View and scenery."""
    colours = frames.reshape(-1, 3).astype(np.float32)
    view: View = "side" if _near(colours, SKY) >= _near(colours, TABLE) else "top"
    draft = _Draft(view=view)
    try:
        if view == "side":
            draft.scenery = side_scenery(frames.astype(np.float32))
        else:
            _set_table(draft, frames.astype(np.float32))
    except Unexplained as reason:
        draft.why_not = str(reason)
    return draft


def _set_table(draft: _Draft, frames: Float32[np.ndarray, "frames size size 3"]) -> None:
    draft.scenery = zones_of(np.median(frames, axis=0))
    if found := drawer_of(frames, still("top", draft.scenery, frames.shape[1])):
        drawer, draft.openings = found
        draft.scenery += (drawer,)


def _behind(draft: _Draft, length: int, size: int) -> Float32[Tensor, "frames pixels 3"]:
    """The scenery in every frame, but for rods."""
    picture = still(draft.view, draft.scenery, size)
    if draft.openings is None:
        return picture.expand(length, -1, -1)
    centre = next(part.centre for part in draft.scenery if isinstance(part, Drawer))
    return drawn(picture, np.full(length, centre), draft.openings)


def _near(colours: Float32[np.ndarray, "pixels 3"], paint: tuple[int, int, int]) -> int:
    return int((np.abs(colours - np.array(paint, np.float32)).max(1) < 25).sum())


def _before(scenery: Sequence[Scenery], size: int) -> Bool[np.ndarray, " pixels"]:
    """The pixels of screens, that hide what is behind them."""
    row, column = np.indices((size, size)).reshape(2, -1)
    x, y = (column + 0.5) / size, 1 - (row + 0.5) / size
    hidden = np.zeros(size * size, bool)
    rim = 0.5 / size
    for part in scenery:
        if isinstance(part, Screen):
            hidden |= (x > part.left - rim) & (x < part.right + rim) & (y < part.top + rim)
    return hidden


def _tracks(
    label: Int[np.ndarray, "frames pixels"],
    share: Float32[np.ndarray, "frames pixels"],
    masked: Bool[np.ndarray, "frames pixels"],
    clips: int,
    length: int,
) -> tuple[list[Track], Int[np.ndarray, "frames pixels"]]:
    """All tracks of all clips, and the track that each pixel belongs to (`identity.Sight`)."""
    size = round(label.shape[1] ** 0.5)
    picture, shares = (one.reshape(-1, size, size) for one in (label, share))
    owner = np.where(masked | (label == FIXTURE), -2, -1)
    tracks: list[Track] = []
    for colour in colours_in(label):
        blobs = blobs_of(picture, shares, colour)
        of_blob = np.full(len(blobs.mass) + 1, -1)
        for clip in range(clips):
            for track in tracks_of(blobs, colour, clip, length):
                of_blob[track.blob[track.blob > 0]] = len(tracks)
                tracks.append(track)
        owned = of_blob[blobs.number].reshape(label.shape)
        owner = np.where(owned >= 0, owned, owner)
    return tracks, owner


def _with_rods(
    behind: Float32[Tensor, "frames pixels 3"],
    seen: Float32[Tensor, "frames pixels 3"],
    owner: Int[np.ndarray, "frames pixels"],
    drafts: Sequence[_Draft],
    tracks: Sequence[Track],
    length: int,
) -> None:
    """Hang what swings most on each pendulum, find its pivot to a fraction of a pixel, and draw its rod."""
    size = round(behind.shape[1] ** 0.5)
    for i, draft in enumerate(drafts):
        pivots = [part for part in draft.scenery if isinstance(part, Pendulum)]
        if not pivots or not draft.tracks:
            continue
        swings = [float(np.nanvar(tracks[n].centre, axis=0).sum()) for n in draft.tracks]
        bob = int(np.argmax(swings))
        path = expectation(np.column_stack([tracks[draft.tracks[bob]].centre, np.zeros(length)]))[:, None, :2]
        rows = slice(i * length, (i + 1) * length)
        others = tuple(part for part in draft.scenery if part is not pivots[0])

        def draw(numbers: Float[np.ndarray, "rows 2"]) -> Tensor:
            drawn = []
            for x, y in numbers.tolist():
                scenery = (*others, Pendulum(pivot=(x, y), bob=0))
                canvas = still("side", scenery, size).T[None].repeat(length, 1, 1)
                scene = scene_of("side", scenery)
                paint_boxes(canvas, [*rods([scene], np.zeros(length, int), path)], size)
                drawn.append(canvas.transpose(1, 2).reshape(-1))
            return torch.stack(drawn)

        weight = torch.from_numpy((owner[rows] < 0)[:, :, None].repeat(3, 2).reshape(1, -1)).float()
        start = np.array([pivots[0].pivot])
        pivot, _ = fit(draw, start, seen[rows].reshape(1, -1), weight, step=np.full(2, 0.15 / size), rounds=4)
        behind[rows] = draw(pivot).view(length, size * size, 3)
        draft.scenery = (*others, Pendulum(pivot=(float(pivot[0, 0]), float(pivot[0, 1])), bob=bob))


def _reading(
    draft: _Draft, things: Sequence[Thing | None], all_paths: Sequence[Path], length: int, fps: float
) -> Reading:
    if draft.why_not is not None:
        return Reading(rejected=draft.why_not)
    paths = [all_paths[i] for i in draft.tracks]
    position = np.array([path[:, :2] for path in paths]).reshape(-1, length, 2).transpose(1, 0, 2)
    angle = np.array([path[:, 2] for path in paths]).reshape(-1, length).T
    return Reading(
        view=draft.view,
        things=tuple(thing for thing in (things[i] for i in draft.tracks) if thing is not None),
        position=position,
        angle=angle,
        velocity=velocities(position, fps),
        fps=fps,
        scenery=draft.scenery,
        robots=draft.machine.robots() if draft.machine else (),
        openings=np.zeros(0) if draft.openings is None else draft.openings,
        layers=draft.layers,
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


def _judged(frames: UInt8[np.ndarray, "clips frames size size 3"], readings: list[Reading]) -> list[Reading]:
    """Those whose drawing looks like the frames, with their laws; the others rejected."""
    length, size = frames.shape[1:3]
    fine = [i for i, reading in enumerate(readings) if reading.rejected is None]
    if not fine:
        return readings
    drawn = frames_of_many([_drawable(readings[i]) for i in fine], size)
    off = frames[fine].astype(np.float32) - drawn
    mean = np.abs(off).mean(axis=(1, 2, 3, 4))
    peaks = np.abs(ndimage.uniform_filter(off, (0, 0, 3, 3, 0))).max(-1)
    for i, of_mean, of_pixels in zip(fine, mean.tolist(), peaks, strict=True):
        frame, row, column = np.unravel_index(of_pixels.argmax(), of_pixels.shape)
        peak = float(of_pixels.max())
        if peak > PEAK or of_mean > MEAN:
            where = f"about ({(column + 0.5) / size:.2f}, {1 - (row + 0.5) / size:.2f})"
            readings[i] = Reading(
                rejected=f"frame {frame} is not explained {where}: drawn again it is off by {peak:.0f} of 255 there, "
                f"and by {of_mean:.1f} on average",
                residual_peak=peak,
                residual_mean=of_mean,
            )
            continue
        residuals = law_residuals(readings[i])
        readings[i] = replace(
            readings[i], residual_peak=peak, residual_mean=of_mean, law=law_obeyed(residuals), law_residuals=residuals
        )
    return readings


def _drawable(reading: Reading) -> Clip:
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
