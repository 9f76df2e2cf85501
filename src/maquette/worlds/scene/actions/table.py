"""The physics of a table top, and the hand that acts on it.

Things lie on the table and stop soon when nothing pushes them: dry friction is a joint to what a thing rests on, whose
force is bounded by friction times weight. A hand is a disc that follows a commanded velocity with a bounded force, so
that it presses nothing into a wall. Closed, as a pusher always is, it stands on the table and pushes. Open, it hovers
and touches nothing. Closing, it takes what is between its jaws: the topmost thing, which it lifts, or the handle of the
drawer. What is held is above everything and touches only the walls. Let go over another thing's middle it comes to
rest on that one, else on the table, where it is pushed off what it overlaps.
"""

import math

import numpy as np
import pymunk
from jaxtyping import Float
from pymunk import batch

from maquette.worlds.scene.geometry import BAR, FRONT, HAND, SPREAD, STEM
from maquette.worlds.scene.physics import SCALE, add_solid, add_thing, mass, new_space
from maquette.worlds.scene.state import Drawer, Point, Scene

SUBSTEP = 1 / 50
"""The solver's longest step, in seconds; a hand moves less than its radius in it."""

DECELERATION = 6.0
"""By dry friction, in widths / s²: what slides at a hand's full speed stops within 0.03 widths."""

FORCE = 6.0
"""With which a hand follows its command, in masses (of `physics.mass`) times widths / s²: twice the friction of four
medium stones."""

ITERATIONS = 15
"""Of the solver: a hand is ten times as heavy as a small thing that it presses against a wall."""

HAND_MASS, DRAWER_MASS = 0.3, 0.1
RUBBING = 0.6
"""Friction of hands, walls and drawer, multiplied by that of the thing."""

CLOSED = 0.3
"""Grip up to which the jaws are a solid disc of radius `HAND`."""
CENTRED = 0.6
"""How far off its middle, in its radii, a thing can be taken."""
SLACK = 0.1
"""How much further than what they hold the jaws open before it falls, in grip."""
HANDLE = -1
"""Stands for the drawer's handle where otherwise a thing's number does."""

LYING_, RAISED_, WALL_, DRAWER_, FIST_ = 1, 2, 4, 8, 16
LYING = pymunk.ShapeFilter(categories=LYING_)
RAISED = pymunk.ShapeFilter(categories=RAISED_, mask=WALL_)
FIST = pymunk.ShapeFilter(categories=FIST_)
WALL = pymunk.ShapeFilter(categories=WALL_, mask=LYING_ | RAISED_ | FIST_)
SLIDING = pymunk.ShapeFilter(categories=DRAWER_, mask=LYING_ | FIST_)

_FIELDS = (
    batch.BodyFields.POSITION | batch.BodyFields.ANGLE | batch.BodyFields.VELOCITY | batch.BodyFields.ANGULAR_VELOCITY
)
_WIDTHS = np.array([1 / SCALE, 1 / SCALE, 1, 1 / SCALE, 1 / SCALE, 1])


class Table:
    """One table top, its things, its drawer if it has one, and a hand.

    Args:
        scene: where everything is at the start.
        hand: where the hand's middle is.
        grip: how far it is open, from 0 to 1.
    """

    def __init__(self, scene: Scene, hand: Point, grip: float) -> None:
        self.things = scene.things
        self.drawer = next((part for part in scene.scenery if isinstance(part, Drawer)), None)
        self.grip = grip
        """How far the jaws are apart, from 0 to 1."""
        self.held: int | None = None
        """The number of the thing in the jaws, or `HANDLE`."""
        self._space = _walled_space()
        self._things = [
            add_thing(self._space, thing, position=tuple(centre.tolist()), angle=float(angle))
            for thing, centre, angle in zip(scene.things, scene.position, scene.angle, strict=True)
        ]
        self._rests_on: list[int | None] = [None] * len(self.things)
        self._joints: list[list[pymunk.Constraint]] = [[] for _ in self.things]
        for i in range(len(self.things)):
            self._lay(i, None)
        self._hand, self._motor, self._fist = _add_hand(self._space, hand)
        self._fist_filter = self._fist.filter = FIST if self.is_closed else RAISED
        self._drawer = _add_drawer(self._space, self.drawer) if self.drawer else None
        self._hold: list[pymunk.Constraint] = []
        self._stops = [*(thing.radius / SPREAD for thing in self.things), BAR[0] / SPREAD]
        """Grips of jaws that touch each thing and, last, the handle."""
        self._buffer = batch.Buffer()
        self.read()

    @property
    def is_closed(self) -> bool:
        """Whether the hand stands on the table as a solid disc."""
        return self.grip <= CLOSED and self.held is None

    @property
    def position(self) -> Float[np.ndarray, "things 2"]:
        """Of the things' centres."""
        return self._state[: len(self.things), :2]

    @property
    def angle(self) -> Float[np.ndarray, " things"]:
        """Of the things."""
        return self._state[: len(self.things), 2]

    @property
    def velocity(self) -> Float[np.ndarray, "things 2"]:
        """Of the things' centres."""
        return self._state[: len(self.things), 3:5]

    @property
    def spin(self) -> Float[np.ndarray, " things"]:
        """The things' angular velocities."""
        return self._state[: len(self.things), 5]

    @property
    def hand(self) -> Float[np.ndarray, " 2"]:
        """The hand's middle."""
        return self._state[len(self.things), :2]

    @property
    def opening(self) -> float:
        """How far the drawer is open; 0 where there is none."""
        return min(max(1 - float(self._state[-2, 1]), 0.0), self.drawer.travel) if self.drawer else 0.0

    @property
    def handle(self) -> Point:
        """The middle of the bar of the drawer's handle."""
        assert self.drawer
        return self.drawer.centre, 1 - self.opening - FRONT - STEM[1] - BAR[1] / 2

    def layer(self, i: int) -> int:
        """0 for a thing on the table, 1 for one that lies on it, and so on; the thing held is above all."""
        if i == self.held:
            return len(self.things)
        below = self._rests_on[i]
        return 0 if below is None else 1 + self.layer(below)

    def layers(self) -> list[int]:
        """Of every thing."""
        if self.held is None and all(below is None for below in self._rests_on):
            return [0] * len(self.things)
        return [self.layer(i) for i in range(len(self.things))]

    def rests_on(self, i: int) -> int | None:
        """The thing on which thing number `i` lies; None for the table and the jaws."""
        return self._rests_on[i]

    def gap(self, i: int) -> float:
        """Widths between the hand's disc and the outline of thing number `i`; negative where they overlap."""
        middle = tuple(self.hand * SCALE)
        return min(shape.point_query(middle).distance for shape in self._things[i].shapes) / SCALE - HAND

    def move(self, velocity: Point, squeeze: float, seconds: float, steps: int = 1) -> None:
        """Take some steps of the solver; `read` makes what they did readable.

        Args:
            velocity: the hand's, as commanded, in widths / s.
            squeeze: by how much the jaws open in each step, in grip.
            seconds: a step's length, at most `SUBSTEP`.
            steps: how many.
        """
        self._motor.velocity = velocity[0] * SCALE, velocity[1] * SCALE
        for _ in range(steps):
            if squeeze:
                self._squeeze(squeeze)
            self._space.step(seconds)

    def where_hand_is(self) -> Point:
        """Its middle after the last step."""
        x, y = self._hand.position
        return x / SCALE, y / SCALE

    def read(self) -> None:
        """Make what the last steps did readable."""
        self._buffer.clear()
        batch.get_space_bodies(self._space, _FIELDS, self._buffer)
        self._state = np.frombuffer(self._buffer.float_buf()).reshape(-1, len(_WIDTHS)) * _WIDTHS

    def _squeeze(self, by: float) -> None:
        before, self.grip = self.grip, min(max(self.grip + by, 0.0), 1.0)
        if self.held is not None:
            stop = self._stops[self.held]
            if self.grip > stop + SLACK:
                self._let_go()
            elif by < 0:
                self.grip = max(self.grip, stop)
        elif any(before >= stop >= self.grip for stop in self._stops):
            for found in self._between_jaws():
                stop = self._stops[found]
                if before >= stop >= self.grip:
                    self.grip = stop
                    self._take(found)
                    break
        filter_ = FIST if self.is_closed else RAISED
        if self._fist_filter is not filter_:
            self._fist.filter = self._fist_filter = filter_

    def _between_jaws(self) -> list[int]:
        """What could be taken here, the most likely first."""
        hand = self._hand.position / SCALE
        away = [(body.position / SCALE).get_distance(hand) for body in self._things]
        near = [i for i, thing in enumerate(self.things) if away[i] < CENTRED * thing.radius]
        found = sorted(near, key=lambda i: (-self.layer(i), away[i]))
        if self._drawer:
            off = hand - (self._drawer.position / SCALE - (0, FRONT + STEM[1] + BAR[1] / 2))
            if abs(off.x) < BAR[0] and abs(off.y) < HAND:
                found.append(HANDLE)
        return found

    def _take(self, what: int) -> None:
        self.held = what
        if what == HANDLE:
            assert self._drawer
            at = self._drawer.world_to_local(self._hand.position)
            self._hold = [pymunk.PivotJoint(self._hand, self._drawer, (0, 0), at)]
        else:
            body = self._things[what]
            self._rest(what, None, RAISED, [])
            self._hold = [
                pymunk.PivotJoint(self._hand, body, (0, 0), (0, 0)),
                pymunk.GearJoint(self._hand, body, body.angle - self._hand.angle, 1),
            ]
        self._space.add(*self._hold)

    def _let_go(self) -> None:
        what, self.held = self.held, None
        self._space.remove(*self._hold)
        if what is not None and what != HANDLE:
            self._lay(what, self._support(what))

    def _support(self, i: int) -> int | None:
        """The topmost thing over whose middle the centre of thing `i` is, itself and what lies on it left out."""
        centre = self._things[i].position
        under = [
            j
            for j, thing in enumerate(self.things)
            if not self._carries(i, j) and centre.get_distance(self._things[j].position) < thing.radius * SCALE
        ]
        return max(under, key=self.layer, default=None)

    def _carries(self, below: int, i: int | None) -> bool:
        while i is not None and i != below:
            i = self._rests_on[i]
        return i is not None

    def _lay(self, i: int, support: int | None) -> None:
        """Put thing `i` on the table or on another one: dry friction holds it there."""
        below, body = self._space.static_body if support is None else self._things[support], self._things[i]
        force = mass(self.things[i]) * DECELERATION * SCALE
        slide = pymunk.PivotJoint(below, body, body.position)
        turn = pymunk.GearJoint(below, body, 0, 1)
        slide.max_force, turn.max_force = force, force * 2 / 3 * self.things[i].radius * SCALE
        slide.max_bias = turn.max_bias = 0
        self._rest(i, support, LYING if support is None else RAISED, [slide, turn])

    def _rest(self, i: int, support: int | None, layer: pymunk.ShapeFilter, joints: list[pymunk.Constraint]) -> None:
        self._space.remove(*self._joints[i])
        self._space.add(*joints)
        self._rests_on[i], self._joints[i] = support, joints
        for shape in self._things[i].shapes:
            shape.filter = layer


def _walled_space() -> pymunk.Space:
    space = new_space()
    space.iterations = ITERATIONS
    for left, bottom, right, top in ((-1, -1, 0, 2), (1, -1, 2, 2), (0, -1, 1, 0), (0, 1, 1, 2)):
        corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
        add_solid(space, corners, friction=RUBBING, restitution=0.0).filter = WALL
    return space


def _add_hand(space: pymunk.Space, at: Point) -> tuple[pymunk.Body, pymunk.Body, pymunk.Circle]:
    """The hand, the motor whose velocity it follows with a bounded force, and its disc."""
    motor = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
    hand = pymunk.Body(HAND_MASS, math.inf)
    motor.position = hand.position = at[0] * SCALE, at[1] * SCALE
    disc = pymunk.Circle(hand, HAND * SCALE)
    disc.friction = RUBBING
    drive = pymunk.PivotJoint(motor, hand, (0, 0), (0, 0))
    drive.max_force, drive.max_bias = FORCE * SCALE, 0
    space.add(hand, disc, motor, drive)
    return hand, motor, disc


def _add_drawer(space: pymunk.Space, drawer: Drawer) -> pymunk.Body:
    """A body that slides in y, at y = 1 - opening; nothing gets in front of or behind its sides into it."""
    body = pymunk.Body(DRAWER_MASS, math.inf)
    body.position = drawer.centre * SCALE, (1 - drawer.opening) * SCALE
    parts = (
        (drawer.half, -FRONT, drawer.travel),
        (STEM[0], -FRONT - STEM[1], -FRONT),
        (BAR[0], -FRONT - STEM[1] - BAR[1], -FRONT - STEM[1]),
    )
    shapes = []
    for half, near, far in parts:
        corners = [(-half, near), (half, near), (half, far), (-half, far)]
        shape = pymunk.Poly(body, [(x * SCALE, y * SCALE) for x, y in corners])
        shape.friction, shape.filter = RUBBING, SLIDING
        shapes.append(shape)
    x = drawer.centre * SCALE
    rail = pymunk.GrooveJoint(space.static_body, body, (x, (1 - drawer.travel) * SCALE), (x, SCALE), (0, 0))
    drag = pymunk.PivotJoint(space.static_body, body, body.position)
    drag.max_force, drag.max_bias = DRAWER_MASS * DECELERATION * SCALE, 0
    space.add(body, *shapes, rail, drag)
    return body
