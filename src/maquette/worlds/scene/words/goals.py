"""What can be asked for on the table top: data only, shared by words, tasks and interpreter.

Whether a goal is achieved is said once, by `interpreter.achieved`.
"""

from dataclasses import dataclass

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.vocabulary import (
    COLOURS,
    MATERIALS,
    SHAPES,
    SIZES,
    Colour,
    Material,
    Shape,
    Size,
)


@dataclass(frozen=True, kw_only=True)
class Referent:
    """The one thing of a scene that has these properties; None leaves one open."""

    shape: Shape | None = None
    colour: Colour | None = None
    size: Size | None = None
    material: Material | None = None

    def __post_init__(self) -> None:
        if not (self.shape or self.colour or self.size or self.material):
            raise UserError("A referent with no property names no thing; give a shape, colour, size or material.")
        for name, known in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("material", MATERIALS)):
            if getattr(self, name) is not None:
                checks.word(name, getattr(self, name), known)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The robot's tip comes to the thing."""

    thing: Referent

    def __post_init__(self) -> None:
        checks.kind("thing", self.thing, Referent)


@dataclass(frozen=True, kw_only=True)
class PushTo:
    """The thing's centre comes to lie in the zone."""

    thing: Referent
    zone: Colour

    def __post_init__(self) -> None:
        checks.kind("thing", self.thing, Referent)
        checks.word("zone", self.zone, COLOURS)


@dataclass(frozen=True, kw_only=True)
class SortByColour:
    """Every thing (of one shape, if given) that has a zone of its colour comes to lie in it."""

    shape: Shape | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            checks.word("shape", self.shape, SHAPES)


@dataclass(frozen=True, kw_only=True)
class StackIn:
    """The things' centres come to lie in the zone, each next to another of them."""

    things: tuple[Referent, ...]
    zone: Colour

    def __post_init__(self) -> None:
        if len(self.things) < 2:
            raise UserError(f"things = {self.things} makes no stack; name at least two.")
        checks.each("things", self.things, Referent)
        checks.word("zone", self.zone, COLOURS)


@dataclass(frozen=True, kw_only=True)
class OpenDrawer:
    """The drawer comes to be open."""


@dataclass(frozen=True, kw_only=True)
class Then:
    """The first, and when it is done the second."""

    first: "Goal"
    second: "Goal"


Goal = Reach | PushTo | SortByColour | StackIn | OpenDrawer | Then
