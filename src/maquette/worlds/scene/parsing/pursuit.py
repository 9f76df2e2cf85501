"""What a first look missed or mistook: sought by its drawing at every place of a frame, then traced through the others.

A matching pursuit: of all things that could stand somewhere, the one whose drawing explains most is taken, and what is
left is looked at again. So two things of one colour that touch, or one of which a robot leaves only pieces to be seen,
are told apart where blobs of colour are not.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor

from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.parsing.identity import PERIOD, TURNS, Sight, looks_of
from maquette.worlds.scene.parsing.layers import painted
from maquette.worlds.scene.parsing.palette import unmix
from maquette.worlds.scene.parsing.poses import LEEWAY, SPAN, TURN, VISIBLE, Path, unturned
from maquette.worlds.scene.parsing.sightings import LEAST, SMALLEST
from maquette.worlds.scene.parsing.windows import CERTAIN, looks_at, looks_in_rows
from maquette.worlds.scene.raster import shares
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, SIZES

COARSE = 32
"""Pixels across a frame in which a thing is sought."""
FINALISTS = 6
"""Things that explain most of one frame, of which the one is taken that explains most of all frames."""
ROUNDS = 4


def missing(
    seen: Float32[Tensor, "frames pixels 3"],
    drawn: Float32[Tensor, "frames pixels 3"],
    free: Float32[Tensor, "frames pixels"],
    hand: Float[np.ndarray, "frames 2"],
    most: int,
) -> list[tuple[Thing, Path]]:
    """Things that would explain what frames show beside what is drawn already.

    Args:
        seen: the frames.
        drawn: what is known of them, but for the robot.
        free: 1 where no robot is in front.
        hand: the robot's; what it holds moves with it.
        most: how often one is sought.
    """
    found: list[tuple[Thing, Path]] = []
    least = SMALLEST * LEAST * seen.shape[1]
    tried: set[tuple[int, int]] = set()
    for _ in range(most):
        label, share = unmix(seen, drawn)
        share = share * free
        amount = np.array([torch.where(label == colour, share, 0).sum(1).numpy() for colour in range(len(COLOURS))])
        for pair in tried:
            amount[pair] = 0
        colour, frame = np.unravel_index(amount.argmax(), amount.shape)
        if amount[colour, frame] < least:
            break
        tried.add((int(colour), int(frame)))
        things, poses = _sought(seen[frame], drawn[frame], free[frame], int(colour))
        sight = Sight(seen, drawn, np.where(free.numpy() > 0, -1, -2))
        first = np.full(len(things), frame)
        paths = trace(sight, np.zeros(len(things), int), things, first, poses, hand)
        pictures = [_alone(drawn, thing, path) for thing, path in zip(things, paths, strict=True)]
        left = [float(((picture - seen).square().sum(2) * free).sum()) for picture in (drawn, *pictures)]
        best = int(np.argmin(left))
        if best:
            drawn = pictures[best - 1]
            found.append((things[best - 1], paths[best - 1]))
    return found


def _alone(drawn: Float32[Tensor, "frames pixels 3"], thing: Thing, path: Path) -> Float32[Tensor, "frames pixels 3"]:
    """A thing over what is drawn."""
    flat = np.zeros((len(path), 1), int)
    return painted(drawn, [thing], path[None], flat, flat == 0)


def trace(
    sight: Sight,
    stack: Int[np.ndarray, " rows"],
    things: Sequence[Thing],
    first: Int[np.ndarray, " rows"],
    pose: Float[np.ndarray, "rows 3"],
    hand: Float[np.ndarray, "frames 2"],
    known: Float[np.ndarray, "rows frames 3"] | None = None,
) -> list[Path]:
    """Each thing from frame to frame, to either side of one in which it is known; NaN where it is hidden.

    It is expected to stay, to go on as it did, to go with the hand, or to be where it was known to be; whichever of
    these, when fitted, leaves least.
    """
    length, count = len(hand), len(things)
    which, ways = np.tile(np.arange(count), 2), np.repeat([1, -1], count)
    looks, far = looks_in_rows(things), max(thing.reach for thing in things) + SPAN
    paths = np.full((count, length, 3), np.nan)
    last, pace = pose[which], np.zeros((2 * count, 3))
    for step in range(length):
        frame = first[which] + step * ways
        on = np.flatnonzero((frame >= 0) & (frame < length))
        if not len(on):
            break
        w, f = which[on], frame[on]
        carried = np.column_stack([hand[f] - hand[np.clip(f - ways[on], 0, length - 1)], np.zeros(len(on))])
        starts = [last[on]] if not step else [last[on], last[on] + pace[on], last[on] + carried]
        if known is not None:
            there = known[w, f]
            starts.append(np.where(np.isnan(there), last[on], there))
        fits, visible = _fitted(sight, stack[w] * length + f, looks_at(looks, w), np.array(starts), far)
        pace[on], last[on] = (fits - last[on] if step else 0.0), fits
        paths[w, f] = np.where((visible >= VISIBLE)[:, None], fits, np.nan)
    for path, thing in zip(paths, things, strict=True):
        path[:, 2] = unturned(path[:, 2], thing)
    return list(paths)


def _fitted(
    sight: Sight,
    frame: Int[np.ndarray, " rows"],
    looks: Looks,
    starts: Float[np.ndarray, "starts rows 3"],
    far: float,
) -> tuple[Float[np.ndarray, "rows 3"], Float[np.ndarray, " rows"]]:
    """The best poses from several beginnings, and the shares of the things that nothing hides there."""
    count, rows = starts.shape[:2]
    again = np.tile(np.arange(rows), count)
    start, many = starts.reshape(-1, 3), looks_at(looks, again)
    windows = sight.windows(frame[again], np.zeros(len(again), int), start[:, :2], far)
    trust = np.array([windows.size / LEEWAY, windows.size / LEEWAY, 1 / TURN]) ** 2 * CERTAIN**2
    poses, loss = windows.fit(many, start, ROUNDS, np.tile(trust, (len(start), 1)))
    cover = windows.cover(many, poses)
    free = ((cover * windows.weight).sum(1) / cover.sum(1).clamp(min=1e-6)).numpy()
    # By what each explains, not by what it leaves: that also counts what else is in its window, and windows differ.
    best = (loss - windows.bare()).reshape(count, rows).argmin(0), np.arange(rows)
    return poses.reshape(starts.shape)[best], free.reshape(count, rows)[best]


def _sought(
    seen: Float32[Tensor, "pixels 3"],
    behind: Float32[Tensor, "pixels 3"],
    free: Float32[Tensor, " pixels"],
    colour: int,
) -> tuple[list[Thing], Float[np.ndarray, "things 3"]]:
    """The things of a colour that explain most of one frame, each at its best place and angle."""
    size = round(len(seen) ** 0.5)
    by = max(1, size // COARSE)
    hypotheses, angles, cover, paint = _templates(colour, size / by)
    shown, back, weight = (
        F.avg_pool2d(one.T.reshape(1, -1, size, size), by) for one in (seen / 255, behind / 255, free[:, None])
    )
    change = shown - back
    # With b what is behind, d what has changed, c a thing's cover and p its paint: d² - (d - p + c b)², of each pixel.
    images = [2 * change, -2 * (change * back).sum(1, keepdim=True), -torch.ones_like(weight)]
    images += [2 * back, -(back**2).sum(1, keepdim=True)]
    filters = [paint, cover, (paint**2).sum(1, keepdim=True), cover * paint, cover**2]
    gain = F.conv2d(weight * torch.cat(images, 1), torch.cat(filters, 1), padding=cover.shape[-1] // 2)[0]
    wide = gain.shape[-1]
    gain = gain.flatten(1).view(len(hypotheses), TURNS, -1).flatten(1)
    best, where = gain.max(1)
    chosen = best.argsort(descending=True)[:FINALISTS].numpy()
    turn, place = np.divmod(where.numpy()[chosen], wide**2)
    row, column = np.divmod(place, wide)
    x, y = (column + 0.5) * by / size, 1 - (row + 0.5) * by / size
    things = [
        Thing(shape=SHAPES[shape], colour=COLOURS[colour], size=SIZES[large], material=MATERIALS[material])
        for shape, _, large, material in hypotheses[chosen].tolist()
    ]
    return things, np.column_stack([x, y, angles[chosen, turn]])


@functools.cache
def _templates(
    colour: int, size: float
) -> tuple[Int[np.ndarray, "kinds 4"], Float[np.ndarray, "kinds turns"], Tensor, Tensor]:
    """Every thing of a colour at every angle, in the middle of a pixel: its cover (1 plane) and its paint (3)."""
    kinds = np.array([(s, colour, z, m) for s in range(len(SHAPES)) for z in range(len(SIZES)) for m in range(3)])
    angles = np.arange(TURNS) / TURNS * PERIOD[kinds[:, 0]][:, None]
    looks = looks_of(kinds.repeat(TURNS, 0))
    reach = max(Thing(shape=shape, colour="red", size="large").reach for shape in SHAPES)
    half = math.ceil(reach * size + 1)
    steps = torch.arange(-half, half + 1).float().expand(len(looks.shape), -1)
    ink = looks.ink()
    cover, inner, tone = shares(ink, np.ones_like(looks.shape, bool), steps, -steps, angles.reshape(-1, 1), round(size))
    rim, fill = (cover - inner) * tone, inner * tone
    paint = (rim[:, :, None] * ink.rim + fill[:, :, None] * ink.fill) / 255
    square = (len(cover), -1, 2 * half + 1, 2 * half + 1)
    return kinds, angles, cover.reshape(square), paint.transpose(1, 2).reshape(square)
