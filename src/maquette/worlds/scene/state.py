"""The state of the world: things, what stands around them, and where everything is at each instant of a clip.

Lengths are in widths of the frame, x to the right and y up (on the table top: away from the viewer), both from 0 to 1;
angles are counterclockwise in radians, times in seconds.
"""

from dataclasses import dataclass, field, fields, replace
from types import NoneType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.geometry import reach
from maquette.worlds.scene.vocabulary import (
    COLOURS,
    LAWS,
    MATERIALS,
    RADIUS,
    SHAPES,
    SIZES,
    Colour,
    Law,
    Material,
    Shape,
    Size,
    View,
)

Point = tuple[float, float]
JOINTS = 4
"""As many as a robot can have: an arm with three links."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What does not change about something that moves."""

    shape: Shape
    colour: Colour
    size: Size = "medium"
    material: Material = "rubber"

    def __post_init__(self) -> None:
        for name, known in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("material", MATERIALS)):
            checks.word(name, getattr(self, name), known)

    @property
    def radius(self) -> float:
        """The size as a length."""
        return RADIUS[self.size]

    @property
    def reach(self) -> float:
        """The largest distance of its outline from its centre."""
        return self.radius * reach(self.shape)


_EXTENTS = ("half", "travel", "friction")
"""Fields of scenery that are not negative."""


class _Still:
    """Scenery: a part whose every length and place is a number near the frame, or a UserError."""

    def __post_init__(self) -> None:
        for part in fields(self):  # type: ignore[arg-type]
            where, value = f"{type(self).__name__}.{part.name}", getattr(self, part.name)
            if part.type is Point:
                checks.place(where, value)
            elif part.type is Colour:
                checks.word(where, value, COLOURS)
            elif part.type is int:
                checks.whole(where, value, 0, 1_000_000)
            else:
                checks.number(where, value, 0 if part.name in _EXTENTS else -10, 1e6)


@dataclass(frozen=True, kw_only=True)
class Ground(_Still):
    """Solid below `height`; in the side view."""

    height: float = 0.1
    friction: float = 1.0
    """Multiplied by that of the thing on it."""


@dataclass(frozen=True, kw_only=True)
class Ramp(_Still):
    """Solid below the line from `start` to `end`, down to the ground."""

    start: Point
    end: Point


@dataclass(frozen=True, kw_only=True)
class Water(_Still):
    """Fills the frame from the ground up to `level`."""

    level: float


@dataclass(frozen=True, kw_only=True)
class Screen(_Still):
    """An opaque panel in front of everything, from the ground to `top`."""

    left: float
    right: float
    top: float = 0.7


@dataclass(frozen=True, kw_only=True)
class Pendulum(_Still):
    """A rod from `pivot` to the centre of the thing number `bob`."""

    pivot: Point
    bob: int = 0


@dataclass(frozen=True, kw_only=True)
class Zone(_Still):
    """A coloured square painted on the table top."""

    colour: Colour
    centre: Point
    half: float = 0.14


@dataclass(frozen=True, kw_only=True)
class Drawer(_Still):
    """A drawer in the table's far edge, pulled towards the viewer by its handle."""

    centre: float
    """x of its middle."""
    half: float = 0.16
    travel: float = 0.2
    """How far it can be pulled out."""
    opening: float = 0.0
    """How far it is, at the start of a clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("Drawer.opening", self.opening, -1e-6, self.travel + 1e-6)


Scenery = Ground | Ramp | Water | Screen | Pendulum | Zone | Drawer


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What acts on the table top, as points: a pusher's or gripper's centre, or an arm's joints from base to tip."""

    embodiment: Literal["pusher", "gripper", "arm"]
    joints: tuple[Point, ...]
    grip: float = 1.0
    """1 is open, 0 is closed."""

    def __post_init__(self) -> None:
        checks.word("embodiment", self.embodiment, ("pusher", "gripper", "arm"))
        checks.number("grip", self.grip, -0.5, 1.5)
        checks.each("joints", self.joints, tuple, list)
        if self.joints:
            checks.numbers("joints", self.joints, (min(len(self.joints), JOINTS), 2), f"a robot's, {JOINTS} at most,")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The world at one instant."""

    view: View
    things: tuple[Thing, ...]
    position: Float[np.ndarray, "things 2"]
    angle: Float[np.ndarray, " things"]
    velocity: Float[np.ndarray, "things 2"]
    spin: Float[np.ndarray, " things"]
    scenery: tuple[Scenery, ...] = ()
    robot: Robot | None = None
    held: int | None = None
    """The thing that the robot holds."""
    layers: Int[np.ndarray, " things"] = field(default_factory=lambda: np.zeros(0, int))
    """What lies on what: 0 on the table, a higher thing over lower ones; empty where all are 0."""

    def __post_init__(self) -> None:
        _refuse_shapes(self, ())
        checks.kind("robot", self.robot, Robot, NoneType)
        _refuse_held(self.held, self.things)


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Two things that began to touch, or a thing and something that does not move."""

    frame: int
    thing: int
    other: int | None
    """None for the ground, a ramp or a wall."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A scene at every frame."""

    view: View
    things: tuple[Thing, ...]
    position: Float[np.ndarray, "frames things 2"]
    angle: Float[np.ndarray, "frames things"]
    velocity: Float[np.ndarray, "frames things 2"]
    spin: Float[np.ndarray, "frames things"]
    fps: float
    scenery: tuple[Scenery, ...] = ()
    law: Law | None = None
    """What it was made to show; None where it shows a task."""
    gravity: float = 0.0
    contacts: tuple[Contact, ...] = ()
    robots: tuple[Robot, ...] = ()
    """One a frame, or none."""
    openings: Float[np.ndarray, " frames"] = field(default_factory=lambda: np.zeros(0))
    """How far the drawer is open, or empty."""
    held: tuple[int | None, ...] = ()
    """The thing that the robot holds, one a frame, or empty."""
    layers: Int[np.ndarray, "frames things"] = field(default_factory=lambda: np.zeros((0, 0), int))
    """As in `Scene`, or empty."""

    def __post_init__(self) -> None:
        frames = np.shape(self.position)[:1]
        _refuse_shapes(self, frames)
        checks.number("fps", self.fps, 0.01, 1e4)
        checks.number("gravity", self.gravity, -1e3, 1e3)
        if self.law is not None:
            checks.word("law", self.law, LAWS)
        checks.each("contacts", self.contacts, Contact)
        checks.each("robots", self.robots, Robot)
        for thing in self.held:
            _refuse_held(thing, self.things)
        for name in ("robots", "openings", "held"):
            if len(getattr(self, name)) not in (0, *frames):
                raise UserError(f"{name} has {len(getattr(self, name))} entries for {frames[0]} frames.")

    def __len__(self) -> int:
        return len(self.position)

    def scene(self, frame: int) -> Scene:
        """The world at one frame, counted from the end where it is negative.

        Raises:
            UserError: there is no such frame.
        """
        checks.whole("frame", frame, -len(self), len(self) - 1)
        scenery = tuple(
            replace(part, opening=float(self.openings[frame]))
            if isinstance(part, Drawer) and len(self.openings)
            else part
            for part in self.scenery
        )
        return Scene(
            view=self.view,
            things=self.things,
            position=self.position[frame],
            angle=self.angle[frame],
            velocity=self.velocity[frame],
            spin=self.spin[frame],
            scenery=scenery,
            robot=self.robots[frame] if self.robots else None,
            held=self.held[frame] if self.held else None,
            layers=self.layers[frame] if len(self.layers) else np.zeros(0, int),
        )

    def of(self, kind: type[Scenery]) -> list[Scenery]:
        """The parts of the scenery of one kind."""
        return [part for part in self.scenery if isinstance(part, kind)]


def _refuse_shapes(state: Scene | Clip, frames: tuple[int, ...]) -> None:
    """Raise a UserError if there is no such view, or not every thing has its place, angle, velocity and spin."""
    checks.word("view", state.view, get_args(View))
    checks.each("things", state.things, Thing)
    checks.each("scenery", state.scenery, *get_args(Scenery))
    for part in state.scenery:
        if isinstance(part, Zone | Drawer) != (state.view == "top"):
            raise UserError(f"scenery = {part} is none of the {state.view} view; leave it out.")
    things, who = (*frames, len(state.things)), f"{len(state.things)} things"
    for name, shape in (("position", (*things, 2)), ("angle", things), ("velocity", (*things, 2)), ("spin", things)):
        checks.numbers(name, getattr(state, name), shape, who)
    if np.size(state.layers):
        checks.numbers("layers", state.layers, things, who, of="iu")


def _refuse_held(held: int | None, things: tuple[Thing, ...]) -> None:
    """Raise a UserError if what is held is none of the things."""
    if held is not None:
        checks.whole("held", held, 0, len(things) - 1)


def refuse_lost_bobs(state: Scene | Clip) -> None:
    """Raise a UserError if a pendulum's bob is none of the things."""
    for rod in state.scenery:
        if isinstance(rod, Pendulum) and rod.bob >= len(state.things):
            raise UserError(f"Pendulum.bob = {rod.bob} is not one of the {len(state.things)} things; name one of them.")
