"""What things, scenery and robots look like: from state to the ink and the boxes that `raster` turns into pixels."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import ArrayLike
from torch import Tensor

from maquette.worlds.scene.geometry import BAR, FRONT, HAND, SPREAD, STEM
from maquette.worlds.scene.raster import Boxes, Canvas, Ink, paint_below, paint_boxes
from maquette.worlds.scene.state import (
    Clip,
    Drawer,
    Ground,
    Pendulum,
    Ramp,
    Robot,
    Scene,
    Scenery,
    Screen,
    Thing,
    Water,
    Zone,
)
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, RADIUS, RGB, SHAPES, SIZES, View

Part = TypeVar("Part", Pendulum, Drawer, Screen)

SKY = (229, 239, 246)
SOIL = (171, 158, 141)
ICE = (200, 209, 216)
"""Ground without friction."""
WATER = (173, 207, 228)
PANEL = (92, 102, 114)
ROD = (72, 68, 66)
TABLE = (232, 221, 203)
DRAWER, HANDLE, INSIDE = (166, 134, 100), (128, 100, 72), (106, 84, 64)
ROBOT, JOINT = (46, 48, 54), (122, 126, 134)

TINT, BORDER = 0.42, 0.8
"""How much of a zone's colour is painted on the table in its middle, and along its border."""
PIVOT = 0.018
"""Radius of a pendulum's and of an arm's joints."""
ROD_WIDTH, LINK_WIDTH = 0.016, 0.044
JAW, PALM = (0.02, 0.04), 0.01
"""Half the thickness and length of a jaw, two of which together are about as large as a closed hand; half the thickness
of what carries them."""

_FILL = np.array([RGB[colour] for colour in COLOURS], np.float32)
_RADIUS = np.array([RADIUS[size] for size in SIZES])
_SURFACES = {
    "rubber": (0.0, _FILL, _FILL),
    "wood": (0.2, 0.6 * _FILL, _FILL),
    "stone": (0.3, _FILL, 255 - 0.4 * (255 - _FILL)),
}
"""Width of the rim in radii, its colours and those within: wood has a darker rim, stone a paler core."""
_INSET = np.array([_SURFACES[material][0] for material in MATERIALS])
_RIM, _CORE = (torch.from_numpy(np.stack([_SURFACES[material][i] for material in MATERIALS])) for i in (1, 2))


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What decides how things are drawn, as places in `SHAPES`, `COLOURS`, `SIZES` and `MATERIALS`."""

    shape: Int[np.ndarray, "*things"]
    colour: Int[np.ndarray, "*things"]
    size: Int[np.ndarray, "*things"]
    material: Int[np.ndarray, "*things"]

    @classmethod
    def of(cls, things: Sequence[Thing]) -> Self:
        """Those of things in their order."""
        return cls(
            shape=np.array([SHAPES.index(thing.shape) for thing in things], int),
            colour=np.array([COLOURS.index(thing.colour) for thing in things], int),
            size=np.array([SIZES.index(thing.size) for thing in things], int),
            material=np.array([MATERIALS.index(thing.material) for thing in things], int),
        )

    def ink(self) -> Ink:
        """What `raster` paints them with."""
        return Ink(
            shape=self.shape,
            radius=_RADIUS[self.size],
            inset=_INSET[self.material],
            rim=_RIM[self.material, self.colour],
            fill=_CORE[self.material, self.colour],
        )


def backdrop(view: View, scenery: Sequence[Scenery], size: int) -> Float32[Tensor, "3 pixels"]:
    """What stands still behind the things, as a row of a canvas (`raster`): all but rods, drawers and screens."""
    return _backdrop(view, tuple(part for part in scenery if not isinstance(part, Drawer | Screen)), size)


@functools.lru_cache(maxsize=512)
def _backdrop(view: View, scenery: tuple[Scenery, ...], size: int) -> Float32[Tensor, "3 pixels"]:
    canvas = torch.tensor(SKY if view == "side" else TABLE).float()[None, :, None].repeat(1, 1, size * size)
    for kind in (Water, Ramp, Ground, Zone, Pendulum):  # from the back to the front
        for part in scenery:
            if isinstance(part, kind):
                _paint(canvas, part, size)
    return canvas[0]


def _paint(canvas: Canvas, part: Scenery, size: int) -> None:
    if isinstance(part, Ramp):
        paint_below(canvas, part.start, part.end, SOIL, size)
    elif isinstance(part, Water):
        paint_boxes(canvas, [_upright(0.5, 1.5, -1, part.level, WATER)], size)
    elif isinstance(part, Ground):
        paint_boxes(canvas, [_upright(0.5, 1.5, -1, part.height, SOIL if part.friction else ICE)], size)
    elif isinstance(part, Pendulum):
        paint_boxes(canvas, [_discs(np.array([part.pivot]), PIVOT, ROD)], size)
    elif isinstance(part, Zone):
        for share, inset in ((BORDER, 0.0), (TINT, 0.02)):
            rgb = np.array(TABLE) + share * (np.array(RGB[part.colour]) - TABLE)
            square = Boxes(centre=np.array([part.centre]), half=part.half - inset, rgb=rgb, rounding=0.04 - inset)
            paint_boxes(canvas, [square], size)


def rods(
    scenes: Sequence[Scene | Clip],
    row: Int[np.ndarray, " frames"],
    position: Float[np.ndarray, "frames things 2"],
) -> Iterator[Boxes]:
    """The pendulums' rods, from their pivots to their bobs; frame i shows the scene number `row[i]`."""
    for slot in _slots(scenes, Pendulum):
        pivot = np.array([part.pivot if part else (np.nan, np.nan) for part in slot])[row]
        bob = np.array([part.bob if part else 0 for part in slot])[row]
        yield _bars(pivot, position[np.arange(len(row)), bob], ROD_WIDTH, ROD)


def drawers(
    scenes: Sequence[Scene | Clip], row: Int[np.ndarray, " frames"], opening: Float[np.ndarray, " frames"]
) -> Iterator[Boxes]:
    """The drawers' boxes, handles and fronts, as far open as given, else (NaN) as they are in their scenes."""
    for slot in _slots(scenes, Drawer):
        stated = [(part.centre, part.half, part.opening) if part else (np.nan,) * 3 for part in slot]
        x, half, pulled = np.array(stated)[row].T
        far = 1 - np.where(np.isnan(opening), pulled, opening)
        near = far - FRONT
        tip = near - STEM[1]
        yield _upright(x, half, far, 1.1, DRAWER)
        yield _upright(x, half - 0.02, far, 1.1, INSIDE)
        yield _upright(x, STEM[0], tip, near, HANDLE)
        yield _upright(x, BAR[0], tip - BAR[1], tip, HANDLE)
        yield _upright(x, half, near, far, DRAWER)


def screens(scenes: Sequence[Scene | Clip], row: Int[np.ndarray, " frames"]) -> Iterator[Boxes]:
    """The panels before everything."""
    grounds = ([part.height for part in scene.scenery if isinstance(part, Ground)] for scene in scenes)
    bottom = np.array([min(heights, default=0.0) for heights in grounds])
    for slot in _slots(scenes, Screen):
        stated = [(part.left, part.right, part.top) if part else (np.nan,) * 3 for part in slot]
        left, right, top = np.array(stated)[row].T
        yield _upright((left + right) / 2, (right - left) / 2, bottom[row], top, PANEL)


def robots_of(scene: Scene | Clip) -> tuple[Robot, ...]:
    """A robot for each frame, or none."""
    return scene.robots if isinstance(scene, Clip) else (scene.robot,) if scene.robot else ()


def robots(
    scenes: Sequence[Scene | Clip],
    row: Int[np.ndarray, " frames"],
    joints: Float[np.ndarray, "frames joints 2"],
    grip: Float[np.ndarray, " frames"],
) -> Iterator[Boxes]:
    """Pushers, grippers and arms with their joints, NaN where there is none, where `state.Robot` has them."""
    kind = np.array([next((one.embodiment for one in robots_of(scene)), "none") for scene in scenes])[row]
    if (pusher := kind == "pusher").any():
        yield _discs(_only(pusher, joints[:, 0]), HAND, ROBOT)
    if (arm := kind == "arm").any():
        for i in range(joints.shape[1] - 1):
            yield _bars(_only(arm, joints[:, i]), joints[:, i + 1], LINK_WIDTH, ROBOT)
        x, y = (joints[:, -1] - joints[:, -2]).T
        palm, *jaws = _hand(_only(arm, joints[:, -1]), np.arctan2(y, x) - np.pi / 2, grip)
        yield palm
        for i in range(joints.shape[1] - 1):
            yield _discs(_only(arm, joints[:, i]), PIVOT, JOINT)
        yield from jaws
    if (gripper := kind == "gripper").any():
        yield from _hand(_only(gripper, joints[:, 0]), np.zeros(len(joints)), grip)


def _hand(
    centre: Float[np.ndarray, "frames 2"], angle: Float[np.ndarray, " frames"], grip: Float[np.ndarray, " frames"]
) -> tuple[Boxes, Boxes, Boxes]:
    """The palm, and beside the centre the two jaws that it carries, in axes turned by `angle`."""
    across, ahead = (np.stack([np.cos(one), np.sin(one)], axis=1) for one in (angle, angle + np.pi / 2))
    apart = (grip * SPREAD)[:, None] + JAW[0]
    palm = np.concatenate([apart, np.full_like(apart, PALM)], axis=1)
    left, right = (
        Boxes(centre=centre + side * across * apart, half=JAW, rgb=ROBOT, angle=angle, rounding=JAW[0])
        for side in (-1, 1)
    )
    return Boxes(centre=centre - ahead * (JAW[1] - PALM), half=palm, rgb=JOINT, angle=angle), left, right


def _slots(scenes: Sequence[Scene | Clip], kind: type[Part]) -> Iterator[tuple[Part | None, ...]]:
    """The first part of a kind in every scene, then the second …"""
    return zip_longest(*([part for part in scene.scenery if isinstance(part, kind)] for scene in scenes))


def _only(those: Bool[np.ndarray, " frames"], points: Float[np.ndarray, "frames 2"]) -> Float[np.ndarray, "frames 2"]:
    return np.where(those[:, None], points, np.nan)


def _discs(centre: Float[np.ndarray, "frames 2"], radius: float, rgb: ArrayLike) -> Boxes:
    return Boxes(centre=centre, half=radius, rgb=rgb, rounding=radius)


def _upright(x: ArrayLike, half: ArrayLike, bottom: ArrayLike, top: ArrayLike, rgb: ArrayLike) -> Boxes:
    """Boxes about x between two heights."""
    x, half, bottom, top = np.broadcast_arrays(*map(np.atleast_1d, (x, half, bottom, top)))
    return Boxes(centre=np.stack([x, (bottom + top) / 2], 1), half=np.stack([half, (top - bottom) / 2], 1), rgb=rgb)


def _bars(
    start: Float[np.ndarray, "frames 2"], end: Float[np.ndarray, "frames 2"], width: float, rgb: ArrayLike
) -> Boxes:
    """Bars with round ends."""
    x, y = (end - start).T
    half = np.stack([np.hypot(x, y) / 2 + width / 2, np.full(len(x), width / 2)], axis=1)
    return Boxes(centre=(start + end) / 2, half=half, rgb=rgb, angle=np.arctan2(y, x), rounding=width / 2)
