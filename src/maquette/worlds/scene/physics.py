"""The side view's physics: what falls, slides, rolls, swings and floats, simulated by pymunk.

Inside pymunk a width of the frame is `SCALE` units, and steps are so short that nothing moves further than `TRAVEL` in
one, so that its tolerances, and how deep anything gets into anything else, are small beside a pixel.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pymunk

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.geometry import area, outline, pieces
from maquette.worlds.scene.impossible import refuse_impossible
from maquette.worlds.scene.state import (
    Clip,
    Contact,
    Ground,
    Pendulum,
    Point,
    Ramp,
    Scene,
    Thing,
    Water,
)
from maquette.worlds.scene.vocabulary import LAWS, Law, Material, Shape
from maquette.worlds.scene.water import DRAG as DRAG
from maquette.worlds.scene.water import Afloat
from maquette.worlds.scene.water import area_below as area_below

SCALE = 1000.0
"""Units of pymunk to a width of the frame."""
RATE, TRAVEL = 120.0, 0.004
"""Steps in a second, at least, and how far in widths two things may approach one another in one, at most."""
GRAVITY = 2 * 0.6 / 0.8**2
"""Widths / s²: a drop of 0.6 widths takes 0.8 s."""

DENSITY: dict[Material, float] = {"rubber": 1.4, "wood": 0.5, "stone": 2.5}
"""Of water, which has 1: wood floats half above it, rubber sinks slowly, stone fast."""
RESTITUTION: dict[Material, float] = {"rubber": 1.0, "wood": 0.6, "stone": 0.0}
"""That of two things that meet is the product of theirs."""
FRICTION: dict[Material, float] = {"rubber": 1.0, "wood": 0.4, "stone": 0.6}
"""The coefficient of two surfaces is the product of theirs."""
GROUND_RESTITUTION = 0.8
"""Of the ground, ramps and walls, unless a scene is simulated with another."""

TOLERANCE = 1e-3
"""Widths by which things may overlap at the start of a clip."""
TOUCH = 1e-5
"""Widths that what stands is to be put into the ground: contact by a hair would hang on the last bit."""
TREMBLE = 4
"""Steps apart after which two that touch again make a new contact."""
_SLOP = 0.02
_ITERATIONS = 6
_JOLT = 0.05
"""A change of velocity within a step, in widths / s, that no force makes: a collision."""


def mass(thing: Thing) -> float:
    """Density times area: 1 is that of a square of water one width wide."""
    return DENSITY[thing.material] * area(thing.shape) * thing.radius**2


def moment(thing: Thing) -> float:
    """Of inertia about the centre, in masses times widths²."""
    if thing.shape == "ball":
        return mass(thing) * thing.radius**2 / 2
    return abs(pymunk.moment_for_poly(mass(thing), (thing.radius * outline(thing.shape)).tolist()))


def new_space(*, gravity: float = 0.0) -> pymunk.Space:
    """An empty space, with gravity in widths / s² downwards and tolerances that are small beside a pixel."""
    space = pymunk.Space()
    space.gravity = (0.0, -gravity * SCALE)
    space.collision_slop = _SLOP
    space.iterations = _ITERATIONS
    return space


def add_thing(
    space: pymunk.Space,
    thing: Thing,
    *,
    position: Point,
    angle: float = 0.0,
    velocity: Point = (0.0, 0.0),
    spin: float = 0.0,
    upright: bool = False,
) -> pymunk.Body:
    """Put a thing into a space.

    Args:
        space: in units of `SCALE` to a width.
        thing: its shape, size and material.
        position: of its centre, in widths.
        angle: radians, counterclockwise.
        velocity: widths / s.
        spin: radians / s.
        upright: nothing turns it: its moment of inertia is infinite.

    Returns:
        The body, whose state is in units of `SCALE` to a width, as pymunk counts.
    """
    body = pymunk.Body(mass(thing), math.inf if upright else moment(thing) * SCALE**2)
    body.position = position[0] * SCALE, position[1] * SCALE
    body.velocity = velocity[0] * SCALE, velocity[1] * SCALE
    body.angle, body.angular_velocity = angle, spin
    corners = _scaled_pieces(thing.shape, thing.radius)
    shapes = [pymunk.Poly(body, piece) for piece in corners] or [pymunk.Circle(body, thing.radius * SCALE)]
    for shape in shapes:
        shape.elasticity, shape.friction = RESTITUTION[thing.material], FRICTION[thing.material]
    space.add(body, *shapes)
    return body


@functools.cache
def _scaled_pieces(shape: Shape, radius: float) -> list[list[Point]]:
    return [(piece * radius * SCALE).tolist() for piece in pieces(shape)]


def add_solid(space: pymunk.Space, corners: Sequence[Point], *, friction: float, restitution: float) -> pymunk.Poly:
    """Put a convex polygon that never moves into a space; corners in widths."""
    solid = pymunk.Poly(space.static_body, [(x * SCALE, y * SCALE) for x, y in corners])
    solid.friction, solid.elasticity = friction, restitution
    space.add(solid)
    return solid


def simulate(
    scene: Scene,
    *,
    frames: int = 16,
    fps: float = 8.0,
    gravity: float = GRAVITY,
    restitution: float = GROUND_RESTITUTION,
    upright: bool = False,
    walls: bool = False,
    law: Law | None = None,
) -> Clip:
    """What happens from a scene of the side view on.

    Args:
        scene: the first frame.
        frames: how many, the first included.
        fps: frames in a second.
        gravity: widths / s² downwards.
        restitution: of the ground, ramps and walls.
        upright: nothing ever turns.
        walls: solid walls at the left, right and upper edge of the frame.
        law: what the clip is to be called.

    Returns:
        The clip. A frame's velocity is that at its instant, to second order in the step; that of a frame on which two
        things collide is the one after.

    Raises:
        UserError: a scene from above or with what is no number, things that overlap, a pendulum without its bob.
    """
    checks.kind("scene", scene, Scene)
    checks.number("fps", fps, 0.01, 1e4)
    checks.whole("frames", frames, 1, 100_000)
    checks.number("gravity", gravity, -1e3, 1e3)
    checks.number("restitution", restitution, 0, 2)
    if law is not None:
        checks.word("law", law, LAWS)
    refuse_impossible(scene)
    world = _World.of(scene, gravity=gravity, restitution=restitution, upright=upright, walls=walls)
    world.refuse_overlaps()
    position, angle, velocity, spin = world.film(scene, frames=frames, fps=fps)
    clip = Clip(
        view=scene.view,
        things=scene.things,
        position=position,
        angle=angle,
        velocity=velocity,
        spin=spin,
        fps=fps,
        scenery=scene.scenery,
        law=law,
        gravity=gravity,
        contacts=tuple(world.contacts),
    )
    for part in clip.scenery:
        if isinstance(part, Pendulum):
            _turn_with_rod(clip, part)
    return clip


def _at_instant(before: Point, after: Point) -> Point:
    """The velocity between those of the two steps around an instant, or the latter if something hit in between."""
    if math.dist(before, after) > _JOLT * SCALE:
        return after
    return (before[0] + after[0]) / 2, (before[1] + after[1]) / 2


def _turn_with_rod(clip: Clip, rod: Pendulum) -> None:
    """Fasten the bob to its rod; its mass counts as in its centre, so that the pendulum is the textbook's."""
    arm = clip.position[:, rod.bob] - rod.pivot
    swung = np.unwrap(np.arctan2(arm[:, 0], -arm[:, 1]))
    clip.angle[:, rod.bob] = clip.angle[0, rod.bob] + swung - swung[0]
    velocity = clip.velocity[:, rod.bob]
    clip.spin[:, rod.bob] = (arm[:, 0] * velocity[:, 1] - arm[:, 1] * velocity[:, 0]) / (arm**2).sum(axis=1)


def overlap(scene: Scene) -> float:
    """How deep, in widths, the deepest of all things gets into another or into the ground or a ramp; 0 if none does."""
    return _World.of(scene, gravity=0.0, restitution=0.0, upright=False, walls=False).deepest()[0]


class _World:
    """A scene inside pymunk."""

    def __init__(self, space: pymunk.Space, bodies: list[pymunk.Body], afloat: list[Afloat], floor: float) -> None:
        self.space, self.bodies, self.afloat, self.floor = space, bodies, afloat, floor
        self.contacts: list[Contact] = []
        self.frame = self._steps = 0
        self._number = {body: i for i, body in enumerate(bodies)}
        self._touching: dict[tuple[int, int | None], int] = {}
        self._parted: dict[tuple[int, int | None], int] = {}
        handler = space.add_default_collision_handler()
        handler.begin, handler.separate = self._begin, self._separate

    @classmethod
    def of(cls, scene: Scene, *, gravity: float, restitution: float, upright: bool, walls: bool) -> "_World":
        space = new_space(gravity=gravity)
        bodies = [
            add_thing(
                space,
                thing,
                position=tuple(scene.position[i].tolist()),
                angle=float(scene.angle[i]),
                velocity=tuple(scene.velocity[i].tolist()),
                spin=float(scene.spin[i]),
                upright=upright,
            )
            for i, thing in enumerate(scene.things)
        ]
        grounds = [part for part in scene.scenery if isinstance(part, Ground)]
        floor, friction = (grounds[0].height, grounds[0].friction) if grounds else (0.0, 1.0)
        solids = [_block(-1, -1, 2, ground.height) for ground in grounds]
        afloat = []
        for part in scene.scenery:
            if isinstance(part, Ramp):
                solids.append(_wedge(part, floor))
            elif isinstance(part, Water):
                afloat = [
                    Afloat(body=body, thing=thing, level=part.level, gravity=gravity, scale=SCALE)
                    for body, thing in zip(bodies, scene.things, strict=True)
                ]
            elif isinstance(part, Pendulum):
                pivot = part.pivot[0] * SCALE, part.pivot[1] * SCALE
                joint = pymunk.PinJoint(space.static_body, bodies[part.bob], pivot, (0, 0))
                joint.error_bias = 0.5**RATE  # at most half of what is wrong is left after a step
                space.add(joint)
        if walls:
            solids += [_block(-1, -1, 0, 2), _block(1, -1, 2, 2), _block(-1, 1, 2, 2)]
        for corners in solids:
            add_solid(space, corners, friction=friction, restitution=restitution)
        return cls(space, bodies, afloat, floor)

    def film(self, scene: Scene, *, frames: int, fps: float) -> tuple[np.ndarray, ...]:
        """Position, angle, velocity and spin at every frame, the scene's at the first, in widths."""
        steps = math.ceil(max(RATE, self.fastest() / TRAVEL) / fps)
        dt = 1 / (fps * steps)
        self.start(dt)
        position, angle, velocity, spin = (np.zeros((frames, len(self.bodies), *more)) for more in ((2,), (), (2,), ()))
        for self.frame in range(1, frames):
            self.run(steps - 1, dt)
            before = [body.velocity for body in self.bodies]
            self.run(1, dt)
            for i, body in enumerate(self.bodies):
                position[self.frame, i], angle[self.frame, i] = body.position, body.angle
                velocity[self.frame, i] = _at_instant(before[i], body.velocity)
                spin[self.frame, i] = body.angular_velocity
        position, velocity = position / SCALE, velocity / SCALE
        position[0], angle[0], velocity[0], spin[0] = scene.position, scene.angle, scene.velocity, scene.spin
        return position, angle, velocity, spin

    def fastest(self) -> float:
        """How fast two things may approach one another, in widths / s, when they have fallen to the floor."""
        gravity = -self.space.gravity.y
        speeds = []
        for body in self.bodies:
            lowest = min(shape.cache_bb().bottom for shape in body.shapes)
            falls = max(0.0, lowest - self.floor * SCALE)
            speeds.append(math.hypot(body.velocity.length, math.sqrt(2 * gravity * falls)) / SCALE)
        # Water brakes.
        return sum(sorted(speeds)[-2:]) / (2 if self.afloat else 1)

    def start(self, dt: float) -> None:
        """Let every velocity be that of half a step later, and nothing else.

        pymunk moves things by the velocity they have and then changes that. Velocities half a step ahead make this the
        leapfrog method: free flight is exact, and any smooth motion is so to second order in the step.
        """
        before = [(body.position, body.angle) for body in self.bodies]
        self.run(1, dt / 2)
        self._steps = 0
        for body, (position, angle) in zip(self.bodies, before, strict=True):
            body.position, body.angle = position, angle

    def run(self, steps: int, dt: float) -> None:
        """Take some steps."""
        step = self.space.step
        for _ in range(steps):
            for thing in self.afloat:
                thing.push()
            step(dt)
            self._steps += 1

    def deepest(self) -> tuple[float, int, int | None]:
        """The deepest overlap in widths, of which thing, and with which or what (None) that does not move."""
        worst: tuple[float, int, int | None] = (0.0, 0, None)
        solids = [(None, shape, shape.cache_bb()) for shape in self.space.static_body.shapes]
        things = [(i, shape, shape.cache_bb()) for i, body in enumerate(self.bodies) for shape in body.shapes]
        for i, shape, box in things:
            for j, other, its in solids + things:
                if (j is None or j > i) and box.intersects(its):
                    points = shape.shapes_collide(other).points
                    depth = max((-point.distance / SCALE for point in points), default=0.0)
                    worst = max(worst, (depth, i, j), key=lambda found: found[0])
        return worst

    def refuse_overlaps(self) -> None:
        """Raise a UserError if things overlap."""
        depth, i, j = self.deepest()
        if depth > TOLERANCE:
            what = "what stands there" if j is None else f"thing {j}"
            raise UserError(f"position: thing {i} is {depth:.3f} widths inside {what} at the start; move it away.")

    def _begin(self, arbiter: pymunk.Arbiter, space: pymunk.Space, data: Any) -> bool:
        pair = self._pair(arbiter)
        apart = self._touching.get(pair, 0) == 0 and self._steps - self._parted.get(pair, -math.inf) > TREMBLE
        self._touching[pair] = self._touching.get(pair, 0) + 1
        # What touches in the first step touched before.
        contact = Contact(frame=self.frame if self._steps else 0, thing=pair[0], other=pair[1])
        if apart and contact not in self.contacts:
            self.contacts.append(contact)
        return True

    def _separate(self, arbiter: pymunk.Arbiter, space: pymunk.Space, data: Any) -> None:
        pair = self._pair(arbiter)
        self._touching[pair] -= 1
        self._parted[pair] = self._steps

    def _pair(self, arbiter: pymunk.Arbiter) -> tuple[int, int | None]:
        numbers = sorted(self._number[shape.body] for shape in arbiter.shapes if shape.body in self._number)
        return numbers[0], numbers[1] if len(numbers) > 1 else None


def _block(left: float, bottom: float, right: float, top: float) -> list[Point]:
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def _wedge(ramp: Ramp, floor: float) -> list[Point]:
    return [ramp.start, ramp.end, (ramp.end[0], floor), (ramp.start[0], floor)]
