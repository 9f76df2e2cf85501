"""Clips of the side view, each made to show one law of motion: drawn by a seed, or staged to order."""

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Literal

import numpy as np

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.worlds.scene import checks
from maquette.worlds.scene.physics import simulate
from maquette.worlds.scene.staging import GAP, STAGES, Placed, Room, Stage, Unfit, half_width, standing
from maquette.worlds.scene.state import Clip, Pendulum, Ramp, Scene, Scenery, Screen, Thing
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
    is_held_out,
)

Direction = Literal["left", "right"]

EDGE = 0.01
"""Between the frame's edge and what stands or moves beside it."""
TRIES = 400
"""Stages drawn before a request counts as impossible."""
LONG, SOME = 4.0, 40
"""Seconds up to which a longer clip is sought of one too short for its law, and stages drawn of each length."""


MOST = 3
"""Bystanders; a fourth leaves room for hardly any law."""


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """What clips are drawn from.

    Raises:
        UserError: a number is out of range, or a word is not of the vocabulary.
    """

    frames: int = 16
    fps: float = 8.0
    objects: int = 0
    """Bystanders: things at rest that nothing touches."""
    speed: float = 1.0
    """Factor on the velocities that things start with; gravity stays."""
    colours: tuple[Colour, ...] = COLOURS
    shapes: tuple[Shape, ...] = SHAPES
    sizes: tuple[Size, ...] = SIZES
    materials: tuple[Material, ...] = MATERIALS
    held_out: bool | None = None
    """Only combinations of colour and shape that are kept for tests (True), only the others (False), or all."""

    def __post_init__(self) -> None:
        checks.whole("frames", self.frames, 2, 1000)
        checks.whole("objects", self.objects, 0, MOST, ": more leave a law no room")
        checks.number("fps", self.fps, 1, 240)
        checks.number("speed", self.speed, 0.01, 100)
        checks.kind("held_out", self.held_out, bool, NoneType)
        for name, known in (("colours", COLOURS), ("shapes", SHAPES), ("sizes", SIZES), ("materials", MATERIALS)):
            words = getattr(self, name)
            checks.kind(name, words, tuple)
            if not words:
                raise UserError(f"{name} = () leaves nothing to draw from; give at least one of {', '.join(known)}.")
            for word in words:
                checks.word(name, word, known)

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (self.frames - 1) / self.fps


def random_clip(seed: int, knobs: Knobs = Knobs()) -> Clip:
    """A clip of a law drawn by the seed, among those that the knobs allow.

    Raises:
        UserError: they allow none, or the seed is none.
    """
    checks.whole("seed", seed, 0, 2**63 - 1)
    checks.kind("knobs", knobs, Knobs)
    order = [LAWS[number] for number in numpy_generator(seed, "law").permutation(len(LAWS)).tolist()]
    for law in order:
        found = _found(law, seed, knobs)
        if isinstance(found, Clip):
            return found
    return law_clip(order[0], seed, knobs)  # says why not


def law_clip(
    law: Law,
    seed: int,
    knobs: Knobs = Knobs(),
    *,
    thing: Thing | None = None,
    other: Thing | None = None,
    direction: Direction | None = None,
) -> Clip:
    """A clip that shows a law; the same for the same arguments, on every machine up to rounding.

    Args:
        law: which.
        seed: draws what is left open.
        knobs: what it is drawn from.
        thing: the first thing of the clip, that the law acts on first; drawn if None.
        other: the second of a collision; drawn if None.
        direction: towards which side the first thing starts; drawn if None.

    Returns:
        The clip: its first things are those that the law acts on, then come the bystanders.

    Raises:
        UserError: words that contradict one another, or no stage could be found.
    """
    checks.word("law", law, LAWS)
    checks.whole("seed", seed, 0, 2**63 - 1)
    checks.kind("knobs", knobs, Knobs)
    if direction is not None:
        checks.word("direction", direction, ("left", "right"))
        if law == "buoyancy":
            raise UserError(
                f"direction = {direction!r} contradicts buoyancy, which moves things up or down; leave it out."
            )
    if other is not None and not law.endswith("collision"):
        raise UserError(f"other: only a collision has a second thing, {law} has none; leave it out.")
    for name, given in (("thing", thing), ("other", other)):
        if given is not None:
            checks.kind(name, given, Thing)
            _refuse(law, knobs, name, given)
    if law == "inelastic collision" and thing and other and "stone" not in (thing.material, other.material):
        raise UserError(
            f"thing, other: {thing.material} bounces off {other.material}, which contradicts {law}; "
            "let one of the two be of stone."
        )
    found = _found(law, seed, knobs, thing, other, direction)
    if isinstance(found, Clip):
        return found
    raise UserError(
        f"{_request(law, knobs, thing, other)} cannot be staged: {found}; ask for another or smaller thing, fewer "
        f"objects, or another length or speed{_longer(law, seed, knobs, thing, other)}."
    )


def _found(
    law: Law,
    seed: int,
    knobs: Knobs,
    thing: Thing | None = None,
    other: Thing | None = None,
    direction: Direction | None = None,
    tries: int = TRIES,
) -> Clip | str:
    """The clip, or the most frequent reason why there is none."""
    rng = numpy_generator(seed, "law", law)
    reasons: Counter[str] = Counter()
    for _ in range(tries):
        try:
            return _play(rng, law, knobs, _cast(rng, law, knobs, thing, other), direction)
        except Unfit as reason:
            reasons[str(reason)] += 1
    return reasons.most_common(1)[0][0]


def _longer(law: Law, seed: int, knobs: Knobs, thing: Thing | None, other: Thing | None) -> str:
    """A clause that says from how many frames on there is a clip, if a longer one would do."""
    for frames in range(knobs.frames + 1, math.ceil(LONG * knobs.fps)):
        if isinstance(_found(law, seed, replace(knobs, frames=frames), thing, other, tries=SOME), Clip):
            return f"; {frames} frames at {knobs.fps:g} a second are enough"
    return ""


_SHAPES: dict[Law, tuple[Shape, ...]] = {
    "friction": ("box", "triangle", "cross", "star"),
    "rolling": ("ball",),
    "elastic collision": ("ball", "box", "cross", "star"),
    "inelastic collision": ("ball", "box", "cross", "star"),
}
"""What can show a law, where not everything can: a ball does not slide, nothing else rolls, and a triangle slips under
what it meets."""
_MATERIALS: dict[Law, tuple[Material, ...]] = {"bounce": ("rubber", "wood"), "elastic collision": ("rubber",)}


def _refuse(law: Law, knobs: Knobs, name: str, thing: Thing) -> None:
    """Raise a UserError if a thing can never show a law."""
    shapes, materials = _SHAPES.get(law, SHAPES), _MATERIALS.get(law, MATERIALS)
    if thing.shape not in shapes:
        raise UserError(f"{name}: a {thing.shape} cannot show {law}; take a {' or '.join(shapes)}.")
    if thing.material not in materials:
        raise UserError(f"{name}: a thing of {thing.material} cannot show {law}; take {' or '.join(materials)}.")
    for one in ("colour", "shape", "size", "material"):
        allowed = getattr(knobs, f"{one}s")
        if getattr(thing, one) not in allowed:
            raise UserError(f"{name}: {getattr(thing, one)} contradicts {one}s = {allowed}; let both say the same.")
    if knobs.held_out is not None and is_held_out(thing.colour, thing.shape) != knobs.held_out:
        raise UserError(
            f"{name}: a {thing.colour} {thing.shape} is {'not ' if knobs.held_out else ''}held out, which contradicts "
            f"held_out = {knobs.held_out}; leave that None or take another colour."
        )


def _cast(rng: np.random.Generator, law: Law, knobs: Knobs, thing: Thing | None, other: Thing | None) -> list[Thing]:
    """The things that the law acts on."""
    shapes, materials = _SHAPES.get(law, SHAPES), _MATERIALS.get(law, MATERIALS)
    dead: tuple[Material, ...] = ("stone",) if law == "inelastic collision" else materials
    first = thing or _draw(rng, knobs, shapes, dead if other and other.material != "stone" else materials, other)
    if not law.endswith("collision"):
        return [first]
    return [first, other or _draw(rng, knobs, shapes, materials if first.material == "stone" else dead, first)]


def _draw(
    rng: np.random.Generator,
    knobs: Knobs,
    shapes: Sequence[Shape],
    materials: Sequence[Material],
    *others: Thing | None,
) -> Thing:
    """A thing that the knobs allow, unlike the others in colour."""
    taken = {other.colour for other in others if other}
    looks = [(colour, shape) for colour, shape in _looks(knobs) if shape in shapes and colour not in taken]
    fit = [material for material in knobs.materials if material in materials]
    if not looks:
        raise Unfit(f"no combination of colour and shape is left for a {' or '.join(shapes)}")
    if not fit:
        raise Unfit(f"it needs {' or '.join(materials)}")
    colour, shape = looks[rng.integers(len(looks))]
    size, material = knobs.sizes[rng.integers(len(knobs.sizes))], fit[rng.integers(len(fit))]
    return Thing(shape=shape, colour=colour, size=size, material=material)


@functools.cache
def _looks(knobs: Knobs) -> list[tuple[Colour, Shape]]:
    return [
        (colour, shape)
        for colour in knobs.colours
        for shape in knobs.shapes
        if knobs.held_out is None or is_held_out(colour, shape) == knobs.held_out
    ]


def _play(rng: np.random.Generator, law: Law, knobs: Knobs, actors: list[Thing], direction: Direction | None) -> Clip:
    """The law acting in the room that bystanders leave."""
    materials = MATERIALS if law != "buoyancy" else ("rubber", "stone")
    # Several bystanders are as small as they may be, to leave room.
    sizes = knobs.sizes if knobs.objects < 2 else (min(knobs.sizes, key=RADIUS.__getitem__),)
    things, stands = list(actors), list[Placed]()
    edges = [EDGE, 1 - EDGE]
    for _ in range(knobs.objects):
        thing = _draw(rng, replace(knobs, sizes=sizes), SHAPES, materials, *things)
        side = rng.integers(2)
        inwards = 1 - 2 * side
        stands.append(Placed(position=(float(edges[side] + inwards * half_width(thing)), standing(thing))))
        edges[side] += inwards * (2 * half_width(thing) + GAP)
        things.append(thing)
    if edges[0] >= edges[1]:
        raise Unfit("the bystanders leave no room")
    room = Room(left=edges[0], right=edges[1], seconds=knobs.seconds, fps=knobs.fps, speed=knobs.speed, rng=rng)
    stage = STAGES[law](room, actors)
    stage = replace(stage, start=(*stage.start, *stands))
    if direction == "left" or (direction is None and rng.random() < 0.5):
        stage = _mirrored(stage)
    return simulate(
        _scene(things, stage),
        frames=knobs.frames,
        fps=knobs.fps,
        restitution=stage.restitution,
        upright=stage.upright,
        law=law,
    )


def _scene(things: Sequence[Thing], stage: Stage) -> Scene:
    return Scene(
        view="side",
        things=tuple(things),
        position=np.array([placed.position for placed in stage.start]),
        angle=np.array([placed.angle for placed in stage.start]),
        velocity=np.array([placed.velocity for placed in stage.start]),
        spin=np.array([placed.spin for placed in stage.start]),
        scenery=stage.scenery,
    )


def _mirrored(stage: Stage) -> Stage:
    """Left and right exchanged; every shape is its own mirror image."""
    start = tuple(
        Placed(
            position=(1 - placed.position[0], placed.position[1]),
            velocity=(-placed.velocity[0], placed.velocity[1]),
            angle=-placed.angle,
            spin=-placed.spin,
        )
        for placed in stage.start
    )
    return replace(stage, start=start, scenery=tuple(_mirrored_part(part) for part in stage.scenery))


def _mirrored_part(part: Scenery) -> Scenery:
    match part:
        case Ramp(start=(x0, y0), end=(x1, y1)):
            return Ramp(start=(1 - x0, y0), end=(1 - x1, y1))
        case Screen():
            return replace(part, left=1 - part.right, right=1 - part.left)
        case Pendulum(pivot=(x, y)):
            return replace(part, pivot=(1 - x, y))
        case _:
            return part


def _request(law: Law, knobs: Knobs, thing: Thing | None, other: Thing | None) -> str:
    said = [
        f"{name} = {given.size} {given.colour} {given.material} {given.shape}"
        for name, given in (("thing", thing), ("other", other))
        if given
    ]
    said.append(f"frames = {knobs.frames}, fps = {knobs.fps:g}, speed = {knobs.speed:g}, objects = {knobs.objects}")
    return f"law = {law!r} with {', '.join(said)}"
