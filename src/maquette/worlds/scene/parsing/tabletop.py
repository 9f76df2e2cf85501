"""Zones and the drawer of a clip of the table top."""

import functools

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy import ndimage
from torch import Tensor

from maquette.worlds.scene.drawing import BORDER, DRAWER, HANDLE, INSIDE, TABLE, TINT, drawers
from maquette.worlds.scene.parsing.backdrop import OUTLIER, plausible, scene_of, still
from maquette.worlds.scene.parsing.least_squares import fit
from maquette.worlds.scene.parsing.palette import nearest
from maquette.worlds.scene.raster import paint_boxes
from maquette.worlds.scene.state import Drawer, Zone
from maquette.worlds.scene.vocabulary import COLOURS, RGB

WITHIN = 18.0
"""How far, of 255, a pixel may be from a paint to count as it."""
SHOWN, BARE = 0.15, 0.12
"""Shares of a zone that must be seen at least, and that may look like bare table at most."""
HALF = Zone(colour="red", centre=(0.5, 0.5)).half
NUDGES = np.stack(np.meshgrid(*[np.linspace(-1, 1, 5)] * 2), axis=2).reshape(-1, 2)
"""In pixels, tried about the first guess at a zone's place."""
OPENINGS = 17
"""Of a drawer, tried in each frame: a pixel of 64 apart or less."""


def zones_of(frames: Float32[np.ndarray, "frames size size 3"]) -> tuple[Zone, ...]:
    """Those of which enough is seen, from the median of the frames, one of a colour at most."""
    median = np.median(frames, axis=0)
    size = len(median)
    table = np.array(TABLE, float)
    paints = np.array([table + share * (np.array(RGB[c]) - table) for share in (TINT, BORDER) for c in COLOURS])
    kind = nearest(median, np.concatenate([paints, table[None]]), WITHIN)
    width = round(2 * HALF * size)
    around = functools.partial(ndimage.uniform_filter, size=width, mode="constant")
    found: list[tuple[str, tuple[float, float]]] = []
    for number, colour in enumerate(COLOURS):
        tinted, bare = kind == number, kind == len(paints)
        if tinted.sum() < SHOWN * (2 * HALF * size) ** 2:
            continue
        painted = tinted | (kind == number + len(COLOURS))
        score = around(painted - 1.0 * bare)
        rows, columns = np.nonzero(score > score.max() - 1e-6)
        middle = rows[0], columns[0]
        if around(1.0 * bare)[middle] > BARE or around(1.0 * tinted)[middle] < SHOWN:
            continue
        shift = 0.5 if width % 2 else 0.0
        found.append((colour, ((columns.mean() + shift) / size, 1 - (rows.mean() + shift) / size)))
    if not found:
        return ()
    colours = [colour for colour, _ in found]

    def draw(rows: Float[np.ndarray, "rows numbers"]) -> Tensor:
        return torch.stack([still("top", zones(row), size).reshape(-1) for row in rows])

    def zones(row: Float[np.ndarray, " numbers"]) -> tuple[Zone, ...]:
        centres = row.reshape(-1, 2).tolist()
        return tuple(Zone(colour=c, centre=(x, y)) for c, (x, y) in zip(colours, centres, strict=True))  # pyrefly: ignore

    seen = torch.from_numpy(median.reshape(1, -1)).float()
    start = np.array([[number for _, centre in found for number in centre]])
    for own in range(0, start.shape[1], 2):  # what hides an edge also hides from a fit that it is there
        tried = start.repeat(len(NUDGES), 0)
        tried[:, own : own + 2] += NUDGES / size
        start = tried[[np.argmin([_off(zones(row), median[None]) for row in tried])]]
    for step in (0.5, 0.15):
        weight = plausible(seen.view(size, size, 3), draw(start).view(size, size, 3)).view(1, -1, 1)
        weight = weight.expand(-1, -1, 3).reshape(1, -1)
        start, _ = fit(draw, start, seen, weight, step=np.full(start.shape[1], step / size), rounds=4)
    return _needed(zones(start[0]), frames)


def _needed(zones: tuple[Zone, ...], frames: Float32[np.ndarray, "frames size size 3"]) -> tuple[Zone, ...]:
    """Without those without which the frames are no worse explained: what moves may leave a tint in the median.

    One after the other: a false one at the place of a true one would make either look needless.
    """
    least = _off(zones, frames)
    while zones:
        fewer = [zones[:i] + zones[i + 1 :] for i in range(len(zones))]
        off = [_off(those, frames) for those in fewer]
        if min(off) > least:
            break
        zones, least = fewer[int(np.argmin(off))], min(off)
    return zones


def _off(zones: tuple[Zone, ...], frames: Float32[np.ndarray, "frames size size 3"]) -> float:
    picture = still("top", zones, frames.shape[1]).view(*frames.shape[1:]).numpy()
    return float(np.minimum(np.abs(frames - picture), OUTLIER).sum())


def drawer_of(
    frames: Float32[np.ndarray, "frames size size 3"], behind: Float32[Tensor, "pixels 3"]
) -> tuple[Drawer, Float[np.ndarray, " frames"]] | None:
    """The drawer and how far it is open in each frame, or None where there is none."""
    length, size = frames.shape[:2]
    kind = nearest(frames[:, : size // 2], np.array([DRAWER, HANDLE, INSIDE], float), WITHIN)
    front = kind == 0
    columns = np.flatnonzero(front.any(1).mean(0) > 0.5)
    if np.median(front.sum((1, 2))) < SHOWN * size or len(columns) < SHOWN * size:
        return None
    centre = float(columns[0] + columns[-1] + 1) / 2 / size
    seen = torch.from_numpy(frames).reshape(length, size * size, 3)
    openings = np.linspace(0, Drawer(centre=0.5).travel, OPENINGS)
    start = np.column_stack([np.full(length, centre), _tried(seen, behind, centre, openings)])

    def draw(numbers: Float[np.ndarray, "rows 2"]) -> Tensor:
        return drawn(behind, numbers[:, 0], numbers[:, 1]).flatten(1)

    for _ in range(2):
        pictures = draw(start).view(-1, size, size, 3)
        weight = torch.stack([plausible(a, b) for a, b in zip(seen.view(-1, size, size, 3), pictures, strict=True)])
        weight = weight.view(length, -1, 1).expand(-1, -1, 3).flatten(1)
        numbers, _ = fit(draw, start, seen.flatten(1), weight, step=np.full(2, 0.15 / size), rounds=3)
        start = np.column_stack([np.full(length, np.median(numbers[:, 0])), numbers[:, 1]])
    return Drawer(centre=float(start[0, 0]), opening=float(start[0, 1])), start[:, 1]


def drawn(
    behind: Float32[Tensor, "pixels 3"], centre: Float[np.ndarray, " rows"], opening: Float[np.ndarray, " rows"]
) -> Float32[Tensor, "rows pixels 3"]:
    """A drawer over a backdrop, once for each place and opening."""
    canvas = behind.T[None].repeat(len(centre), 1, 1)
    scenes = [scene_of("top", (Drawer(centre=float(x)),)) for x in centre]
    boxes = [*drawers(scenes, np.arange(len(scenes)), opening)]
    paint_boxes(canvas, boxes, round(canvas.shape[2] ** 0.5))
    return canvas.transpose(1, 2)


def _tried(
    seen: Float32[Tensor, "frames pixels 3"],
    behind: Float32[Tensor, "pixels 3"],
    centre: float,
    openings: Float[np.ndarray, " tried"],
) -> Float[np.ndarray, " frames"]:
    pictures = drawn(behind, np.full(len(openings), centre), openings)
    off = [(seen - picture).abs_().clamp_(max=OUTLIER).sum((1, 2)) for picture in pictures]
    return openings[torch.stack(off).argmin(0).numpy()]
