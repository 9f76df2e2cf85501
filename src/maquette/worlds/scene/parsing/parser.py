"""Frames to state by analysis and synthesis: everything that is read is drawn again, and must look like the frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.parsing.drafts import Draft, all_tracks, behind, draft_of, hang_rods, hidden_by
from maquette.worlds.scene.parsing.identity import Identity, Sight, identify
from maquette.worlds.scene.parsing.judging import judged, named, velocities
from maquette.worlds.scene.parsing.layers import layers_of
from maquette.worlds.scene.parsing.machinery import machine_of
from maquette.worlds.scene.parsing.overlaps import FAINT, Look, changing, free_of, look_again
from maquette.worlds.scene.parsing.palette import NOTHING, unmix
from maquette.worlds.scene.parsing.poses import Path, expectation, follow
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.parsing.sightings import Track
from maquette.worlds.scene.state import Pendulum, Thing

AT_ONCE = 16
"""Clips read together."""
LOOKS = 2
"""At what was not explained, on the table top."""
ODD, FINE = 10.0, 0.5
"""Difference of a place, of 255, from which on it is looked at again where that of all is no more than so much."""
SURE = 4.0
"""Difference of a place up to which a second look settles a doubt whether a thing stays what it is."""


def read_clips(
    frames: UInt8[np.ndarray, "clips frames size size 3"], fps: float = 8.0, tolerance: float = 1.0
) -> list[Reading]:
    """What each clip shows, or why it was rejected.

    Args:
        frames: of square pictures from 16 to 128 pixels wide.
        fps: frames a second.
        tolerance: times the limits of how unlike the frames a drawing of what was read may be, which are for the
            world's own and what compression makes of them; what noise adds to them stays. More for a model's, which
            blurs.

    Raises:
        UserError: the frames are no such clips, fps is no rate, or the tolerance not from 1 to 10.
    """
    try:
        frames = np.asarray(frames)
    except ValueError as error:
        raise UserError("frames differ in size; give clips of one size and length.") from error
    if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[2] != frames.shape[3] or frames.shape[4] != 3:
        raise UserError(
            f"frames of {frames.dtype} and shape {frames.shape} cannot be read; "
            "give uint8 of shape (clips, frames, size, size, 3)."
        )
    if not 16 <= frames.shape[2] <= 128:
        raise UserError(f"frames of {frames.shape[2]} pixels cannot be read; give 16 to 128.")
    if not frames.shape[1]:
        raise UserError("Clips of no frames cannot be read; give at least one.")
    checks.number("fps", fps, 0.01, 1e4)
    checks.number("tolerance", tolerance, 1, 10)
    frames = np.require(frames, requirements=("C", "W"))  # views that are turned, cut or read-only are copied
    readings: list[Reading] = []
    for first in range(0, len(frames), AT_ONCE):
        readings += _read(frames[first : first + AT_ONCE], fps, tolerance)
    return readings


def _read(frames: UInt8[np.ndarray, "clips frames size size 3"], fps: float, tolerance: float) -> list[Reading]:
    count, length, size = frames.shape[:3]
    seen = torch.from_numpy(frames).view(count * length, size * size, 3).float()
    drafts = [draft_of(clip) for clip in frames]
    back, masked = torch.empty_like(seen), np.zeros((count * length, size * size), bool)
    for i, draft in enumerate(drafts):
        rows = slice(i * length, (i + 1) * length)
        back[rows] = behind(draft, length, size) if draft.why_not is None else seen[rows]
        masked[rows] = hidden_by(draft.scenery, size)
    label, share = (one.numpy() for one in unmix(seen, back))
    for i, draft in enumerate(drafts):
        if draft.view == "top":
            rows = slice(i * length, (i + 1) * length)
            draft.machine = machine_of(seen[rows], back[rows], label[rows], share[rows])
            if draft.machine:
                masked[rows] |= draft.machine.cover(size).numpy() > FAINT
    label = np.where(masked, NOTHING, label)
    tracks, owner = all_tracks(label, share, masked, count, length)
    for number, track in enumerate(tracks):
        drafts[track.clip].tracks += (number,)
    hang_rods(back, seen, owner, drafts, tracks, length)
    sight = Sight(seen, back, owner)
    things = _identified(sight, tracks, drafts)
    paths = follow(sight, tracks, things)
    for i, draft in enumerate(drafts):
        draft.tracks = tuple(i for i in draft.tracks if things[i] is not None)
        if draft.is_crowded:
            own = list(draft.tracks)
            known = [thing for thing in (things[n] for n in own) if thing is not None]
            filled = np.array([expectation(paths[n]) for n in own])
            rows = slice(i * length, (i + 1) * length)
            draft.layers = layers_of(seen[rows], back[rows], free_of(draft.machine, seen[rows]), known, filled)
    readings = judged(frames, [_reading(draft, things, paths, length, fps) for draft in drafts], tolerance)
    doubts = zip(readings, drafts, strict=True)
    readings = [one if one.rejected or not draft.doubt else Reading(rejected=draft.doubt) for one, draft in doubts]
    for _ in range(LOOKS):
        poor = [i for i, reading in enumerate(readings) if drafts[i].is_crowded and _is_poor(reading)]
        for i in poor:
            rows = slice(i * length, (i + 1) * length)
            _look_again(drafts[i], seen[rows], things, paths)
        if poor:
            again = judged(frames[poor], [_reading(drafts[i], things, paths, length, fps) for i in poor], tolerance)
            for i, reading in zip(poor, again, strict=True):
                rows = slice(i * length, (i + 1) * length)
                if readings[i].rejected is None:
                    readings[i] = _better(readings[i], reading)
                else:
                    readings[i] = _unless_changing(reading, drafts[i], seen[rows], things, paths)
    return readings


def _identified(sight: Sight, tracks: Sequence[Track], drafts: Sequence[Draft]) -> list[Thing | None]:
    """What each track is; a track that is nothing is a seam between two things, or is found out by the last check."""
    identities = identify(sight, tracks)
    for number, (track, identity) in enumerate(zip(tracks, identities, strict=True)):
        if identity is None:
            sight.owner[sight.owner == number] = -1
        elif identity.changes_to and drafts[track.clip].view == "top":
            drafts[track.clip].doubt = _changes(identity)
        elif identity.changes_to and not drafts[track.clip].why_not:
            drafts[track.clip].why_not = _changes(identity)
    return [identity.thing if identity else None for identity in identities]


def _changes(identity: Identity) -> str:
    assert identity.changes_to
    return f"what is {named(identity.thing)} turns into {named(identity.changes_to)}"


def _look_again(
    draft: Draft, seen: Float32[Tensor, "frames pixels 3"], things: list[Thing | None], paths: list[Path]
) -> None:
    """Improve a draft, and put its things and their paths after all others."""
    look = look_again(seen, _scenery(draft, seen), _look_of(draft, things, paths))
    draft.machine, draft.layers, draft.openings = look.machine, look.layers, look.opening
    draft.tracks = tuple(range(len(things), len(things) + len(look.things)))
    things += look.things
    paths += look.paths


def _is_poor(reading: Reading) -> bool:
    """Whether it is rejected, or some place is off where all the rest is explained."""
    return reading.rejected is not None or (reading.residual_peak > ODD and reading.residual_mean < FINE)


def _better(one: Reading, other: Reading) -> Reading:
    """The one whose drawing is more like the frames, if both were read."""
    return other if other.rejected is None and other.residual_mean < one.residual_mean else one


def _unless_changing(
    reading: Reading,
    draft: Draft,
    seen: Float32[Tensor, "frames pixels 3"],
    things: list[Thing | None],
    paths: list[Path],
) -> Reading:
    """The reading, or why not: a second look takes things for the same in all frames, which they may not be."""
    if reading.rejected is not None or not draft.tracks:
        return reading
    if draft.doubt and reading.residual_peak > SURE:
        return Reading(rejected=draft.doubt)
    changed = changing(seen, _scenery(draft, seen), _look_of(draft, things, paths))
    if changed is None:
        return reading
    draft.why_not = _changes(changed)
    return Reading(rejected=draft.why_not)


def _scenery(
    draft: Draft, seen: Float32[Tensor, "frames pixels 3"]
) -> Callable[[Float[np.ndarray, " frames"] | None], Float32[Tensor, "frames pixels 3"]]:
    """What is behind the things, from how far the drawer is open."""
    size = round(seen.shape[1] ** 0.5)
    return lambda opening: behind(replace(draft, openings=opening), len(seen), size)


def _look_of(draft: Draft, things: list[Thing | None], paths: list[Path]) -> Look:
    """What a draft holds."""
    return Look(
        machine=draft.machine,
        things=tuple(thing for thing in (things[n] for n in draft.tracks) if thing is not None),
        paths=[paths[n] for n in draft.tracks],
        layers=draft.layers,
        opening=draft.openings,
    )


def _reading(
    draft: Draft, things: Sequence[Thing | None], all_paths: Sequence[Path], length: int, fps: float
) -> Reading:
    if draft.why_not is not None:
        return Reading(rejected=draft.why_not)
    scenery = draft.scenery
    if any(isinstance(part, Pendulum) for part in scenery):
        if draft.bob not in draft.tracks:
            return Reading(rejected="a pendulum has no bob that is known")
        number = draft.tracks.index(draft.bob)
        scenery = tuple(replace(part, bob=number) if isinstance(part, Pendulum) else part for part in scenery)
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
        scenery=scenery,
        robots=draft.machine.robots() if draft.machine else (),
        openings=np.zeros(0) if draft.openings is None else draft.openings,
        layers=draft.layers,
    )
