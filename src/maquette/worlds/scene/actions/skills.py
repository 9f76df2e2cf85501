"""What a hand can do on the table, as generators of motions, one an action, that look at the table before each.

Where two ways are equally good they take one or the other: on which side to go round a thing that is to be pushed from
behind or is in the way, which of two things comes first, and from which side to hook the drawer's handle.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from maquette.worlds.scene.actions.embodiments import BASE, LINKS, SPEED
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.layout import one_of
from maquette.worlds.scene.actions.routes import discs_of, is_free, length, route, touching
from maquette.worlds.scene.actions.table import CLOSED, HANDLE
from maquette.worlds.scene.actions.tasks import Step, is_done, lies_in
from maquette.worlds.scene.geometry import BAR, HAND, STEM
from maquette.worlds.scene.state import Drawer, Point, Zone

Motion = tuple[float, float, float]
"""The hand's velocity in widths / s, and how fast the jaws open, from -1 to 1."""
Discs = Float[np.ndarray, "discs 3"]

STILL: Motion = (0.0, 0.0, 0.0)
CLEAR, BESIDE = 0.015, 0.02
"""Widths that a hand keeps from what it should not touch, and from which it begins to push."""
EDGE = HAND + 0.005
"""Widths from the table's edges at which a hand touches none."""
INMOST, OUTMOST = 0.15, sum(LINKS) - 0.02
"""Widths from an arm's base at which its hand is not too near or too far to be moved well."""
ARRIVED, NEAR_SPOT = 0.012, 0.02
"""Widths from where a hand or a thing is to be at which that is good enough."""
ROOM = (1.0, 0.85, 0.7)
"""Shares of the discs around things out of which a way keeps; the next where there is none."""
BERTH = (1.4, 1.0)
"""The same for a hand that passes a thing on its way: wide, if there is room."""
EQUAL = 1.3
"""Ways whose lengths have at most this ratio are equally good."""
SPOT = 0.075
"""Widths from a zone's middle to the spots of several things in it, along each axis."""
TURNS = [math.radians(sign * angle) for angle in range(0, 91, 15) for sign in ((1, -1) if angle else (1,))]
"""Away from the straight way, in which a thing is pushed where no hand fits behind it."""
ASKEW = math.cos(math.radians(50))
"""Cosine between the push and the way from hand to thing, below which the hand goes behind it anew."""
STEERING = 6.0
"""How fast a hand moves sideways for each width that it is off the line of the push, per second."""
DISTURBED = 0.02
"""Widths that a push may move other things."""
STRAY = 0.2
"""Widths from a spot at which a thing that does not belong there is in the way."""
VAIN = 2
"""Pushes without effect after which a hand starts over from somewhere else."""
STALLED = 0.8
"""Seconds without progress after which something is begun anew."""
PULLED = 0.9
"""Share of its travel to which a drawer is pulled."""


class Skills:
    """What the hand of an episode can do.

    Args:
        episode: where.
        rng: of the choices between equally good ways.
        either: whether it chooses; else it always takes the first, on the same side.
    """

    def __init__(self, episode: Episode, rng: np.random.Generator, *, either: bool = True) -> None:
        self._episode, self._rng, self._either_way = episode, rng, either
        self._table, self._hz = episode.table, episode.control_hz
        self._embodiment = episode.embodiment
        self._vain = 0

    def all_steps(self) -> Iterator[Motion]:
        """The steps of the task in turn, and again whatever has come undone."""
        progress = self._episode.progress
        while True:
            for number, step in enumerate(progress.steps):
                if step.kind != "reach" or number >= progress.current:
                    spots = self._spots(step)
                    while not is_done(step, self._table, self._embodiment):
                        yield from self._further(step, spots)
            yield STILL

    def _further(self, step: Step, spots: Mapping[int, Point]) -> Iterator[Motion]:
        """Something towards a step's goal; at least one motion."""
        drawer = self._table.drawer
        if step.kind == "open" and drawer:
            yield from self._hook_open(drawer) if self._embodiment == "pusher" else self._grasp_and_open(drawer)
        elif step.kind == "reach":
            yield from self._touch(step.things[0])
        elif step.kind == "stack" and self._embodiment != "pusher":
            yield from self._pile_up(step)
        else:
            left = [i for i, zone in zip(step.things, step.zones, strict=True) if not lies_in(self._table, i, zone)]
            i = self._nearest(left or step.things, spots)
            spot, stray = spots[i], self._stray_at(spots[i], step)
            if stray is not None:
                i, spot = stray, self._aside(stray)
            yield from self._carry(i, spot) if self._embodiment == "gripper" else self._push(i, spot)
        yield STILL

    # ---- what it sees ----

    def _hand(self) -> Point:
        x, y = self._table.hand.tolist()
        return x, y

    def _place(self, i: int) -> Point:
        x, y = self._table.position[i].tolist()
        return x, y

    def _spots(self, step: Step) -> dict[int, Point]:
        """Where in their zones things are to lie: clear of the others, and several in one in opposite corners first."""
        spots = {}
        for zone in dict.fromkeys(step.zones):
            things = [i for i, its in zip(step.things, step.zones, strict=True) if its == zone]
            x, y = zone.centre
            corners = [(x + a * SPOT, y + b * SPOT) for a, b in ((1, 1), (-1, -1), (1, -1), (-1, 1))]
            choices = {1: [[zone.centre]], 2: [corners[:2], corners[1::-1], corners[2:], corners[:1:-1]]}
            ways = choices.get(len(things)) or [list(way) for way in itertools.permutations(corners, len(things))]
            if len(things) == 1:
                ways += [[((x + a) / 2, (y + b) / 2)] for a, b in corners]
            best = min(ways, key=lambda way: self._trouble(dict(zip(things, way, strict=True)), step))
            spots |= dict(zip(things, best, strict=True))
        return spots

    def _trouble(self, spots: Mapping[int, Point], step: Step) -> float:
        """Widths that things go to their spots, more where other things are in the way there."""
        total = 0.0
        for i, spot in spots.items():
            total += math.dist(self._place(i), spot)
            for j, thing in enumerate(self._table.things):
                if j not in step.things:
                    total += 3 * max(0.0, thing.reach + self._table.things[i].reach - math.dist(self._place(j), spot))
        return total

    def _stray_at(self, spot: Point, step: Step) -> int | None:
        """Another thing that has come to lie in a step's zone, near a spot there."""
        things = [i for i in range(len(self._table.things)) if i not in step.things]
        strays = [i for i in things if any(lies_in(self._table, i, zone) for zone in step.zones)]
        return next((i for i in strays if math.dist(self._place(i), spot) < STRAY), None)

    def _aside(self, i: int) -> Point:
        """The nearest place for a thing out of every zone and clear of the others."""
        zones = [part for part in self._episode.assignment.scene.scenery if isinstance(part, Zone)]
        discs = self._obstacles(radius=self._table.things[i].reach, but=i)
        steps = np.linspace(0.2, 0.8, 13).tolist()
        free = [
            (x, y)
            for x, y in itertools.product(steps, steps)
            if all(max(abs(x - zone.centre[0]), abs(y - zone.centre[1])) > zone.half + CLEAR for zone in zones)
            and is_free((x, y), (x, y), discs)
        ]
        return min(free, key=lambda place: math.dist(place, self._place(i)), default=(0.5, 0.5))

    def _nearest(self, things: Sequence[int], spots: Mapping[int, Point]) -> int:
        """The thing that takes the least way."""
        ways = [math.dist(self._hand(), self._place(i)) + math.dist(self._place(i), spots[i]) for i in things]
        return things[self._good(ways)]

    def _good(self, lengths: Sequence[float]) -> int:
        """The number of the shortest, or of any that is about as short."""
        good = [i for i, its in enumerate(lengths) if its <= EQUAL * min(lengths)]
        return one_of(good, self._rng) if self._either_way else good[0]

    def _obstacles(self, *, radius: float, but: int | None = None) -> Discs:
        """Where the middle of a disc that is to touch nothing must not be."""
        table = self._table
        discs = [(*self._place(i), thing.reach) for i, thing in enumerate(table.things) if i != but]
        if table.drawer:
            discs += discs_of(table.drawer, table.opening, table.handle)
        return np.array(discs).reshape(-1, 3) + np.array([0, 0, radius + CLEAR])

    def _has_room(self, points: Float[np.ndarray, "points 2"]) -> Bool[np.ndarray, " points"]:
        """Where a hand can be: on the table, and for an arm neither too far out nor too near its base."""
        on_table = ((points >= EDGE) & (points <= 1 - EDGE)).all(axis=1)
        away = np.linalg.norm(points - BASE, axis=1)
        return on_table & ((away < OUTMOST) & (away > INMOST) | (self._embodiment != "arm"))

    def _is_room(self, point: Point) -> bool:
        return bool(self._has_room(np.array([point]))[0])

    # ---- going ----

    def _go(self, goal: Point, squeeze: float = 0.0) -> Iterator[Motion]:
        """Straight there, or as far as nothing holds the hand up."""
        held_up, left = 0, math.dist(self._hand(), goal)
        while left > ARRIVED and held_up < 2:
            x, y = self._hand()
            rate = min(SPEED / left, self._hz)
            yield (goal[0] - x) * rate, (goal[1] - y) * rate, squeeze
            before, left = left, math.dist(self._hand(), goal)
            held_up = held_up + 1 if left > before - 0.1 * min(SPEED / self._hz, before) else 0

    def _follow(self, way: Sequence[Point]) -> Iterator[Motion]:
        for point in way:
            yield from self._go(point)

    def _back_off(self) -> Iterator[Motion]:
        """Away from whatever the hand has just pushed."""
        x, y = self._hand()
        for a, b, radius in self._obstacles(radius=HAND).tolist():
            away = math.dist((x, y), (a, b))
            if 0 < away < radius:
                clear = x + (x - a) * (radius / away - 1), y + (y - b) * (radius / away - 1)
                if self._is_room(clear):
                    yield from self._go(clear)

    def _go_round(self, i: int, ahead: Point, goal: Point) -> Iterator[Motion]:
        """To a place behind thing `i`, on its left or its right, touching nothing; an arm can also go over it."""
        yield from self._back_off()
        x, y = self._place(i)
        out = self._table.things[i].reach + HAND + CLEAR
        outside = x - out * ahead[0], y - out * ahead[1]
        ends = [outside, goal] if out > math.dist(goal, (x, y)) and self._is_room(outside) else [goal]
        rooms = ROOM[:1] if self._embodiment == "arm" else ROOM
        ways = (self._either(ends[0], (x, y), ahead, room) for room in rooms)
        way = next(filter(None, ways), None)
        if way is None and self._embodiment == "arm":
            yield from self._open_jaws()
        yield from self._follow([*(way or []), *ends])

    def _either(self, goal: Point, round_it: Point, ahead: Point, room: float) -> list[Point] | None:
        """A way that passes a place on its left as one looks ahead, or on its right."""
        (x, y), hand, discs = round_it, self._hand(), self._obstacles(radius=HAND) * (1, 1, room)
        barriers = [((x, y), (x - 3 * side * ahead[1], y + 3 * side * ahead[0])) for side in (1, -1)]
        ways = [route(hand, goal, discs, margin=EDGE, may_be=self._has_room, barrier=its) for its in barriers]
        return ways[self._good([length(hand, way) for way in ways])]

    # ---- pushing ----

    def _push(self, i: int, spot: Point) -> Iterator[Motion]:
        """A thing to a spot, past the others; as many pushes as one way without trouble takes."""
        if self._vain >= VAIN:
            self._vain = 0
            yield from self._start_over()
        at, margin = self._place(i), self._table.things[i].reach + 2 * HAND
        discs = self._obstacles(radius=self._table.things[i].reach, but=i)
        way = next(filter(None, (route(at, spot, discs * (1, 1, room), margin=margin) for room in ROOM)), None)
        for target in way or [spot]:
            if target != spot and math.dist(self._place(i), target) < 3 * NEAR_SPOT:
                continue
            ahead = self._direction(i, target)
            behind = self._behind(i, ahead)
            if math.dist(self._hand(), behind) > ARRIVED:
                yield from self._go_round(i, ahead, behind)
            while not self._table.is_closed:
                yield 0.0, 0.0, -1.0
            yield from self._shove(i, target, ahead)
            if math.dist(self._place(i), target) > 2 * NEAR_SPOT:
                break
        self._vain = self._vain + 1 if math.dist(self._place(i), at) < NEAR_SPOT else 0

    def _start_over(self) -> Iterator[Motion]:
        """To any place where nothing is; an arm above everything, so that its joints come free."""
        yield from self._back_off()
        discs = self._obstacles(radius=HAND)
        for x, y in self._rng.uniform(0.2, 0.8, (20, 2)).tolist():
            place = x, y
            if self._is_room(place) and is_free(place, place, discs):
                if self._embodiment == "arm":
                    yield from self._open_jaws()
                    yield from self._go(place)
                else:
                    yield from self._follow(route(self._hand(), place, discs, margin=EDGE) or [])
                return

    def _behind(self, i: int, ahead: Point) -> Point:
        """Where a hand stands that is about to push a thing."""
        x, y = self._place(i)
        thing, angle = self._table.things[i], float(self._table.angle[i])
        away = BESIDE + touching(thing.shape, thing.radius, math.atan2(-ahead[1], -ahead[0]) - angle)
        return x - ahead[0] * away, y - ahead[1] * away

    def _direction(self, i: int, target: Point) -> Point:
        """In which to push a thing: straight to the target, or as near to that as a hand fits behind the thing."""
        x, y = self._place(i)
        straight = math.atan2(target[1] - y, target[0] - x)
        ways = [(math.cos(straight + turn), math.sin(straight + turn)) for turn in TURNS]
        return next((ahead for ahead in ways if self._fits_behind(i, ahead)), ways[0])

    def _fits_behind(self, i: int, ahead: Point) -> bool:
        behind = self._behind(i, ahead)
        return self._is_room(behind) and is_free(behind, behind, self._obstacles(radius=HAND, but=i))

    def _shove(self, i: int, target: Point, ahead: Point) -> Iterator[Motion]:
        """From behind a thing forwards until it is there, slips away sideways or moves no more."""
        straight = self._ahead(i, target) == ahead
        patience, nearest, before = STALLED * self._hz, math.inf, self._table.position
        while patience > 0:
            moved = np.abs(self._table.position - before).max(axis=1)
            moved[i] = 0
            if moved.max() > DISTURBED:
                return
            (x, y), (a, b) = self._place(i), self._hand()
            left = math.dist((x, y), target)
            if left < NEAR_SPOT:
                return
            if straight:
                ahead = self._ahead(i, target)
            elif self._fits_behind(i, self._ahead(i, target)):
                return
            if (x - a) * ahead[0] + (y - b) * ahead[1] < ASKEW * math.dist((x, y), (a, b)):
                return
            patience = STALLED * self._hz if left < nearest - 0.005 else patience - 1
            nearest = min(left, nearest)
            off = min(STEERING, 0.7 * self._hz) * ((a - x) * -ahead[1] + (b - y) * ahead[0])
            speed = min(SPEED, max(0.1, 0.8 * left * self._hz))
            yield speed * ahead[0] + off * ahead[1], speed * ahead[1] - off * ahead[0], 0.0

    def _ahead(self, i: int, target: Point) -> Point:
        x, y = self._place(i)
        straight = math.atan2(target[1] - y, target[0] - x)
        return math.cos(straight), math.sin(straight)

    def _touch(self, i: int) -> Iterator[Motion]:
        """Come to a thing: an open hand over it, a closed one past the others."""
        way = None
        if self._table.is_closed:
            yield from self._back_off()
            way = self._past_others(i)
        yield from self._follow(way or [self._place(i)])

    def _past_others(self, i: int) -> list[Point] | None:
        """A way to a thing, on either side round the first that is straight before it."""
        hand, goal, discs = self._hand(), self._place(i), self._obstacles(radius=HAND)
        before = [j for j in range(len(self._table.things)) if j != i and not is_free(hand, goal, discs[j : j + 1])]
        if before:
            first = min(before, key=lambda j: math.dist(hand, self._place(j)))
            ahead = np.subtract(goal, hand) / math.dist(hand, goal)
            ways = (self._either(goal, self._place(first), tuple(ahead.tolist()), room) for room in BERTH)
            if way := next(filter(None, ways), None):
                return way
        return route(hand, goal, self._obstacles(radius=HAND, but=i), margin=EDGE, may_be=self._has_room)

    # ---- with jaws ----

    def _open_jaws(self) -> Iterator[Motion]:
        while self._table.grip < 1 or self._table.held is not None:
            yield 0.0, 0.0, 1.0

    def _take(self, at: Point) -> Iterator[Motion]:
        """Close the jaws on what is there."""
        yield from self._open_jaws()
        yield from self._go(at)
        while self._table.held is None and self._table.grip > CLOSED:
            yield 0.0, 0.0, -1.0

    def _carry(self, i: int, spot: Point) -> Iterator[Motion]:
        """A thing through the air."""
        yield from self._take(self._place(i))
        if self._table.held == i:
            yield from self._go(spot, squeeze=-1.0)
        yield from self._open_jaws()

    def _pile_up(self, step: Step) -> Iterator[Motion]:
        """Another thing of a pile: the first to the middle of the zone, the next onto it."""
        zone, table = step.zones[0], self._table
        base = [i for i in step.things if lies_in(table, i, zone) and table.rests_on(i) not in step.things]
        if not base:
            i = self._nearest(step.things, dict.fromkeys(step.things, zone.centre))
            yield from self._carry(i, zone.centre)
        else:
            others = [i for i in step.things if i != base[0]]
            left = [i for i in others if table.rests_on(i) not in step.things] or others
            i = self._nearest(left, dict.fromkeys(left, self._place(base[0])))
            yield from self._carry(i, self._place(base[0]))

    # ---- the drawer ----

    def _grasp_and_open(self, drawer: Drawer) -> Iterator[Motion]:
        yield from self._take(self._table.handle)
        while self._table.held == HANDLE and self._table.opening < PULLED * drawer.travel:
            yield 0.0, -SPEED, -1.0
        yield from self._open_jaws()

    def _hook_open(self, drawer: Drawer) -> Iterator[Motion]:
        """Behind the handle's bar, from the left or the right of its stem, pull, and out again."""
        x, y = self._table.handle
        behind, beside, at_stem = (BAR[1] + STEM[1]) / 2, BAR[0] + 2 * HAND, STEM[0] + HAND + 0.01
        discs, hand, sides = self._obstacles(radius=HAND), self._hand(), (1, -1)
        ends = [(x + side * beside, y + behind) for side in sides]
        ways = [route(hand, end, discs, margin=EDGE, may_be=self._has_room) for end in ends]
        taken = self._good([length(hand, way) for way in ways])
        side = sides[taken]
        yield from self._follow([*(ways[taken] or []), ends[taken], (x + side * at_stem, y + behind)])
        patience, widest = STALLED * self._hz, -1.0
        while self._table.opening < PULLED * drawer.travel and patience > 0:
            patience = STALLED * self._hz if self._table.opening > widest + 0.002 else patience - 1
            widest = max(widest, self._table.opening)
            yield (x + side * at_stem - self._hand()[0]) * 0.5 * self._hz, -SPEED, 0.0
        out = self._table.handle[1] + behind
        yield from self._follow([(self._hand()[0], out), (x + side * beside, out)])
