"""Scenes and clips to frames: anti-aliased, many at a time, row 0 at the top of the world.

Things stand before scenery, rods and drawers, and behind screens and robots. Among things a later one stands before an
earlier one, unless their layers say otherwise. A frame has the same bits alone and beside others.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.drawing import Looks, backdrop, drawers, robots, robots_of, rods, screens
from maquette.worlds.scene.raster import paint_boxes, paint_things
from maquette.worlds.scene.state import JOINTS, Clip, Drawer, Pendulum, Scene, Scenery, Screen, refuse_lost_bobs
from maquette.worlds.scene.vocabulary import View

SMALLEST, LARGEST = 8, 512
"""Widths of a frame in pixels; from 16 on a person can tell what is in it."""
AT_ONCE = 2**18
"""Pixels drawn at a time, few enough for the processor's cache."""


def frame_of(scene: Scene, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """A scene as a picture."""
    return frames_of_scenes([scene], size)[0]


def frames_of_scenes(scenes: Sequence[Scene], size: int) -> UInt8[np.ndarray, "scenes size size 3"]:
    """Scenes as pictures.

    Raises:
        UserError: there is no scene, or the size is out of range.
    """
    checks.each("scenes", scenes, Scene)
    return _pictures(scenes, 1, size)[:, 0]


def frames_of(clip: Clip, size: int) -> UInt8[np.ndarray, "frames size size 3"]:
    """A clip as pictures."""
    return frames_of_many([clip], size)[0]


def frames_of_many(clips: Sequence[Clip], size: int) -> UInt8[np.ndarray, "clips frames size size 3"]:
    """Clips of one length as pictures.

    Raises:
        UserError: there is no clip, their lengths differ, or the size is out of range.
    """
    checks.each("clips", clips, Clip)
    lengths = {len(clip) for clip in clips} or {0}
    if len(lengths) > 1:
        raise UserError(f"clips have from {min(lengths)} to {max(lengths)} frames; give clips of one length.")
    return _pictures(clips, lengths.pop(), size)


def draw(
    background: Float32[Tensor, "batch size size 3"],
    looks: Looks,
    position: Float[np.ndarray, "batch things 2"],
    angle: Float[np.ndarray, "batch things"],
) -> Float32[Tensor, "batch size size 3"]:
    """Hypotheses: things drawn over backgrounds, values from 0 to 255 that are not yet rounded.

    Args:
        background: what is behind the things in each hypothesis, as `background` gives it; it stays as it is.
        looks: batch × things; not the same in every hypothesis, if you like.
        position: of the things' centres; nothing is drawn where it is NaN.
        angle: of the things.
    """
    batch, size = background.shape[:2]
    canvas = background.permute(0, 3, 1, 2).reshape(batch, 3, -1).contiguous().clone()
    ink = looks.ink()
    for rows in _chunks(batch, size):
        paint_things(canvas[rows], ink[rows], position[rows], angle[rows], size)
    return canvas.view(batch, 3, size, size).permute(0, 2, 3, 1)


def background(view: View, scenery: Sequence[Scenery], size: int) -> Float32[Tensor, "size size 3"]:
    """What stands still behind the things: all but pendulums' rods, drawers and screens."""
    return backdrop(view, scenery, size).view(3, size, size).permute(1, 2, 0)


class Painter:
    """Draws the same worlds again and again: what stands still in them is drawn once.

    Args:
        scenes: one a world; their positions do not matter.
        size: width of the frames in pixels.

    Raises:
        UserError: there is no scene, or the size is out of range.
    """

    def __init__(self, scenes: Sequence[Scene | Clip], size: int) -> None:
        checks.whole("size", size, SMALLEST, LARGEST, " pixels")
        if not scenes:
            raise UserError("There is nothing to draw; give at least one scene or clip.")
        self.size = size
        self._scenes = list(scenes)
        self._backdrops = torch.zeros(len(scenes), 3, size * size)
        self._looks = np.full((4, len(scenes), max(len(scene.things) for scene in scenes)), -1)
        for world, scene in enumerate(scenes):
            self.set(world, scene)

    def set(self, world: int, scene: Scene | Clip) -> None:
        """Put another scene in the place of a world's, after its reset say."""
        missing = len(scene.things) - self._looks.shape[2]
        if missing > 0:
            self._looks = np.pad(self._looks, ((0, 0), (0, 0), (0, missing)), constant_values=-1)
        looks = Looks.of(scene.things)
        self._looks[:, world] = -1
        self._looks[:, world, : len(scene.things)] = looks.shape, looks.colour, looks.size, looks.material
        self._backdrops[world] = backdrop(scene.view, scene.scenery, self.size)
        self._scenes[world] = scene

    def draw(
        self,
        position: Float[np.ndarray, "frames things 2"],
        angle: Float[np.ndarray, "frames things"],
        *,
        world: Int[np.ndarray, " frames"] | None = None,
        layers: Int[np.ndarray, "frames things"] | None = None,
        opening: Float[np.ndarray, " frames"] | None = None,
        joints: Float[np.ndarray, "frames joints 2"] | None = None,
        grip: Float[np.ndarray, " frames"] | None = None,
        out: UInt8[np.ndarray, "frames size size 3"] | None = None,
    ) -> UInt8[np.ndarray, "frames size size 3"]:
        """The worlds as pictures, with things and robots where they are now.

        Args:
            position: of the things' centres; nothing is drawn where it is NaN, or where a world has no such thing.
            angle: of the things.
            world: which world each frame shows; frame i shows world i, if not given.
            layers: of the things: higher ones are drawn later.
            opening: how far drawers are open; as far as in their scenes where it is NaN or not given.
            joints: of robots, as in `state.Robot`, NaN where a robot has fewer; no robot is drawn, if not given.
            grip: of robots; open, if not given.
            out: where the pictures go; a new array, if not given.
        """
        frames, things = position.shape[:2]
        world = np.arange(frames) if world is None else world
        looks = self._looks[:, world, :things]
        position = np.where(looks[0, :, :, None] < 0, np.nan, position)
        bobs = position
        if layers is not None and layers.any():
            order = np.argsort(layers, axis=1, kind="stable")
            position = np.take_along_axis(position, order[:, :, None], 1)
            angle = np.take_along_axis(angle, order, 1)
            looks = np.take_along_axis(looks, order[None], 2)
        shape, colour, size, material = looks
        ink = Looks(shape=shape, colour=colour, size=size, material=material).ink()
        opening = np.full(frames, np.nan) if opening is None else opening
        grip = np.ones(frames) if grip is None else grip
        pictures = np.empty((frames, self.size, self.size, 3), np.uint8) if out is None else out
        for rows in _chunks(frames, self.size):
            canvas = self._backdrops[world[rows]]
            shown, row = np.unique(world[rows], return_inverse=True)
            scenes = [self._scenes[i] for i in shown]
            kinds = {type(part) for scene in scenes for part in scene.scenery}
            behind = [*rods(scenes, row, bobs[rows])] if Pendulum in kinds else []
            behind += drawers(scenes, row, opening[rows]) if Drawer in kinds else ()
            before = [*screens(scenes, row)] if Screen in kinds else []
            before += () if joints is None else robots(scenes, row, joints[rows], grip[rows])
            paint_boxes(canvas, behind, self.size)
            paint_things(canvas, ink[rows], position[rows], angle[rows], self.size)
            paint_boxes(canvas, before, self.size)
            red, green, blue = canvas.add_(0.5).to(torch.uint8).view(-1, 3, self.size, self.size).unbind(1)
            torch.stack([red, green, blue], -1, out=torch.from_numpy(pictures[rows]))
        return pictures


def _pictures(
    worlds: Sequence[Scene] | Sequence[Clip], frames: int, size: int
) -> UInt8[np.ndarray, "worlds frames size size 3"]:
    """Every frame of every world; a scene has one."""
    painter = Painter(worlds, size)
    things = max(len(world.things) for world in worlds)
    position, angle = np.full((len(worlds), frames, things, 2), np.nan), np.zeros((len(worlds), frames, things))
    layers, opening = np.zeros_like(angle, int), np.full((len(worlds), frames), np.nan)
    joints, grip = np.full((len(worlds), frames, JOINTS, 2), np.nan), np.ones((len(worlds), frames))
    for i, world in enumerate(worlds):
        n = len(world.things)
        _refuse_nowhere(world)
        position[i, :, :n], angle[i, :, :n] = world.position, world.angle
        if np.size(world.layers):
            layers[i, :, :n] = world.layers
        if isinstance(world, Clip) and len(world.openings):
            opening[i] = world.openings
        for frame, robot in enumerate(robots_of(world)):
            joints[i, frame, : len(robot.joints)], grip[i, frame] = np.reshape(robot.joints, (-1, 2)), robot.grip
    flat = (
        one.reshape(len(worlds) * frames, *one.shape[2:]) for one in (position, angle, layers, opening, joints, grip)
    )
    position, angle, layers, opening, joints, grip = flat
    row = np.repeat(np.arange(len(worlds)), frames)
    rest = {"joints": joints, "grip": grip} if any(map(robots_of, worlds)) else {}
    pictures = painter.draw(position, angle, world=row, layers=layers, opening=opening, **rest)
    return pictures.reshape(len(worlds), frames, size, size, 3)


def _refuse_nowhere(world: Scene | Clip) -> None:
    """Raise a UserError if a thing is nowhere; one whose place is NaN is hidden."""
    refuse_lost_bobs(world)
    if np.isinf(world.position).any():
        raise UserError("position holds infinity; give places in widths, and NaN for what is hidden.")
    if not np.isfinite(np.asarray(world.angle)[np.isfinite(world.position).all(axis=-1)]).all():
        raise UserError("angle holds NaN or infinity for a thing that is there; give it in radians.")


def _chunks(frames: int, size: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // size**2)
    return (slice(first, first + step) for first in range(0, frames, step))
