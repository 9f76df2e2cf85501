"""What is known of clips before their things are: view, scenery, blobs of colour."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from maquette.worlds.scene.drawing import SKY, TABLE, rods
from maquette.worlds.scene.parsing.backdrop import Unexplained, scene_of, side_scenery, still
from maquette.worlds.scene.parsing.least_squares import fit
from maquette.worlds.scene.parsing.machinery import Machine
from maquette.worlds.scene.parsing.palette import FIXTURE
from maquette.worlds.scene.parsing.poses import expectation
from maquette.worlds.scene.parsing.sightings import Track, blobs_of, colours_in, tracks_of
from maquette.worlds.scene.parsing.tabletop import drawer_of, drawn, zones_of
from maquette.worlds.scene.raster import paint_boxes
from maquette.worlds.scene.state import Drawer, Pendulum, Scenery, Screen
from maquette.worlds.scene.vocabulary import View

OPEN = 0.05
"""Share of all pixels that must be sky or table."""
MOST = 14
"""Blobs of colour that a clip may have for any to count as a thing."""


@dataclass(kw_only=True)
class Draft:
    """What is known of a clip so far."""

    view: View
    scenery: tuple[Scenery, ...] = ()
    openings: Float[np.ndarray, " frames"] | None = None
    machine: Machine | None = None
    tracks: tuple[int, ...] = ()
    bob: int | None = None
    """The track that hangs on the pendulum."""
    layers: Int[np.ndarray, "frames things"] = field(default_factory=lambda: np.zeros((0, 0), int))
    why_not: str | None = None
    doubt: str | None = None
    """Why not, unless a second look finds that it is two things."""

    @property
    def is_crowded(self) -> bool:
        """Whether things may lie on one another, or under a robot."""
        return self.why_not is None and self.view == "top" and bool(self.tracks)


def draft_of(frames: UInt8[np.ndarray, "frames size size 3"]) -> Draft:
    """View and scenery."""
    colours = frames.reshape(-1, 3).astype(np.float32)
    sky, table = _near(colours, SKY), _near(colours, TABLE)
    view: View = "side" if sky >= table else "top"
    draft = Draft(view=view)
    try:
        if max(sky, table) < OPEN * len(colours):
            raise Unexplained("neither sky nor table top is to be seen")
        if view == "side":
            draft.scenery = side_scenery(frames.astype(np.float32))
        else:
            _set_table(draft, frames.astype(np.float32))
    except Unexplained as reason:
        draft.why_not = str(reason)
    return draft


def _set_table(draft: Draft, frames: Float32[np.ndarray, "frames size size 3"]) -> None:
    draft.scenery = zones_of(frames)
    if found := drawer_of(frames, still("top", draft.scenery, frames.shape[1])):
        drawer, draft.openings = found
        draft.scenery += (drawer,)


def behind(draft: Draft, length: int, size: int) -> Float32[Tensor, "frames pixels 3"]:
    """The scenery in every frame, but for rods."""
    picture = still(draft.view, draft.scenery, size)
    if draft.openings is None:
        return picture.expand(length, -1, -1)
    centre = next(part.centre for part in draft.scenery if isinstance(part, Drawer))
    return drawn(picture, np.full(len(draft.openings), centre), draft.openings)


def _near(colours: Float32[np.ndarray, "pixels 3"], paint: tuple[int, int, int]) -> int:
    return int((np.abs(colours - np.array(paint, np.float32)).max(1) < 25).sum())


def hidden_by(scenery: Sequence[Scenery], size: int) -> Bool[np.ndarray, " pixels"]:
    """The pixels of screens, that hide what is behind them."""
    row, column = np.indices((size, size)).reshape(2, -1)
    x, y = (column + 0.5) / size, 1 - (row + 0.5) / size
    hidden = np.zeros(size * size, bool)
    rim = 0.5 / size
    for part in scenery:
        if isinstance(part, Screen):
            hidden |= (x > part.left - rim) & (x < part.right + rim) & (y < part.top + rim)
    return hidden


def all_tracks(
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
    blobs = {colour: blobs_of(picture, shares, colour) for colour in colours_in(label)}
    tracks: list[Track] = []
    for clip in range(clips):
        found = [track for colour, those in blobs.items() for track in tracks_of(those, colour, clip, length)]
        tracks += found if len(found) <= MOST else []
    for colour, those in blobs.items():
        of_blob = np.full(len(those.mass) + 1, -1)
        for number, track in enumerate(tracks):
            if track.colour == colour:
                of_blob[track.blob[track.blob > 0]] = number
        owned = of_blob[those.number].reshape(label.shape)
        owner = np.where(owned >= 0, owned, owner)
    return tracks, owner


def hang_rods(
    behind: Float32[Tensor, "frames pixels 3"],
    seen: Float32[Tensor, "frames pixels 3"],
    owner: Int[np.ndarray, "frames pixels"],
    drafts: Sequence[Draft],
    tracks: Sequence[Track],
    length: int,
) -> None:
    """Hang what swings most on each pendulum, find its pivot to a fraction of a pixel, and draw its rod."""
    for i, draft in enumerate(drafts):
        if draft.tracks and any(isinstance(part, Pendulum) for part in draft.scenery):
            swings = [float(np.nanvar(tracks[n].centre, axis=0).sum()) for n in draft.tracks]
            draft.bob = draft.tracks[int(np.argmax(swings))]
            rows = slice(i * length, (i + 1) * length)
            where = np.column_stack([tracks[draft.bob].centre, np.zeros(length)])
            draft.scenery, behind[rows] = _hung(draft.scenery, seen[rows], owner[rows] < 0, expectation(where))


def _hung(
    scenery: Sequence[Scenery],
    seen: Float32[Tensor, "frames pixels 3"],
    counts: Bool[np.ndarray, "frames pixels"],
    path: Float[np.ndarray, "frames 3"],
) -> tuple[tuple[Scenery, ...], Float32[Tensor, "frames pixels 3"]]:
    """Scenery with its pivot in place, and the picture of it with the rod."""
    length, size = len(seen), round(seen.shape[1] ** 0.5)
    pivot = next(part for part in scenery if isinstance(part, Pendulum))
    others = tuple(part for part in scenery if part is not pivot)

    def draw(numbers: Float[np.ndarray, "rows 2"]) -> Tensor:
        drawn = []
        for x, y in numbers.tolist():
            hung = (*others, Pendulum(pivot=(x, y), bob=0))
            canvas = still("side", hung, size).T[None].repeat(length, 1, 1)
            paint_boxes(canvas, [*rods([scene_of("side", hung)], np.zeros(length, int), path[:, None, :2])], size)
            drawn.append(canvas.transpose(1, 2).reshape(-1))
        return torch.stack(drawn)

    weight = torch.from_numpy(counts[:, :, None].repeat(3, 2).reshape(1, -1)).float()
    found, _ = fit(draw, np.array([pivot.pivot]), seen.reshape(1, -1), weight, step=np.full(2, 0.15 / size), rounds=4)
    x, y = found[0].tolist()
    return (*others, Pendulum(pivot=(x, y))), draw(found).view(length, size * size, 3)
