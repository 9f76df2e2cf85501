"""How things move in a clip, read from where they are in each frame and from nothing else: no law, velocity or contact.

What verbs make of it is in `deeds`.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from maquette.worlds.scene.geometry import HAND, outline
from maquette.worlds.scene.state import Clip, Drawer, Ground, Pendulum, Ramp, Screen, Water
from maquette.worlds.scene.words import lexicon

SETTING_OUT = 0.006
"""Widths from the place where a movement is said to begin or end; a fifth of a pixel."""
MOVING = 0.04
"""Widths a second; what is slower is at rest."""
AT_SURFACE = 4
"""Frames at the end in which what floats is seen to."""
AXES = {"right": (0, 1.0), "left": (0, -1.0), "up": (1, 1.0), "down": (1, -1.0)}


class Motion:
    """A clip's tracks; a track's number is that of its thing, that of the robot's tip comes after them."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.dt = 1 / clip.fps
        self.frames = len(clip)
        self.axes = [clip.position[:, :, 0].T.tolist(), clip.position[:, :, 1].T.tolist()]
        self.angle = clip.angle.T.tolist()
        self.reach = [thing.reach for thing in clip.things]
        self.radius = [thing.radius for thing in clip.things]
        self.robot = len(clip.things)
        if clip.robots:
            for axis in (0, 1):
                self.axes[axis].append([robot.joints[-1][axis] for robot in clip.robots])
            self.reach.append(HAND)
            self.radius.append(HAND)
        self.bobs = {part.bob for part in clip.scenery if isinstance(part, Pendulum)}
        self.water = next((part.level for part in clip.scenery if isinstance(part, Water)), -math.inf)
        self.screens = [part for part in clip.scenery if isinstance(part, Screen)]
        self._gaps: dict[int, tuple[list[float], list[float]]] = {}

    # ---- how far ----

    def distance(self, i: int, frame: int) -> float:
        """From the first place."""
        xs, ys = self.axes[0][i], self.axes[1][i]
        return math.hypot(xs[frame] - xs[0], ys[frame] - ys[0])

    def moved(self, i: int) -> bool:
        """Whether it is ever clearly away from its first place."""
        return max(self.distance(i, k) for k in range(self.frames)) > lexicon.MOVED.middle

    def steps(self, i: int) -> list[tuple[float, float]]:
        """From each frame to the next."""
        xs, ys = self.axes[0][i], self.axes[1][i]
        return [(xs[k + 1] - xs[k], ys[k + 1] - ys[k]) for k in range(self.frames - 1)]

    def setting_out(self, i: int) -> float | None:
        """When it first leaves its place."""
        for k in range(self.frames):
            if self.distance(i, k) > lexicon.MOVED.middle:
                while k and self.distance(i, k - 1) > SETTING_OUT:
                    k -= 1
                return max(k - 1, 0) * self.dt
        return None

    def going(self, i: int, direction: str) -> float | None:
        """When it first sets out on a clear way in a direction."""
        return next((start * self.dt for start, _ in self.stretches(i, direction)), None)

    def stretches(self, i: int, direction: str) -> Iterator[tuple[int, int]]:
        """First and last frames of each clear way in a direction."""
        axis, sign = AXES[direction]
        along = [sign * value for value in self.axes[axis][i]]
        least, back, peak = along[0], 0, None
        for k, value in enumerate(along):
            if peak is not None and value > along[peak]:
                peak = k
            elif peak is not None and value < along[peak] - SETTING_OUT:
                yield back, peak
                least, back, peak = value, k, None
            elif peak is None:
                back = k if value < least + SETTING_OUT else back
                least = min(least, value)
                peak = k if value - least > lexicon.WENT.middle else None
        if peak is not None:
            yield back, peak

    def leading(self, i: int, direction: str | None) -> list[int]:
        """The steps that lead in a direction, or all."""
        if direction is None:
            return list(range(self.frames - 1))
        axis, sign = AXES[direction]
        return [k for k, step in enumerate(self.steps(i)) if sign * step[axis] > 0]

    def goes(self, i: int, steps: Sequence[int], direction: str) -> bool:
        """Whether some steps hold a clear way in a direction."""
        axis, sign = AXES[direction]
        along = self.axes[axis][i]
        way = longest = 0.0
        for k in steps:
            way = max(way + sign * (along[k + 1] - along[k]), 0.0)
            longest = max(longest, way)
        return longest > lexicon.WENT.middle

    def approach(self, i: int, j: int, sign: float) -> bool:
        """Whether the distance to another track shrinks (+1) or grows (-1) by a clear way."""
        first, *others = self.distances(i, j)
        return max((sign * (first - other) for other in others), default=0.0) > lexicon.WENT.middle

    def distances(self, i: int, j: int) -> list[float]:
        """Of two centres in each frame."""
        (xs, ys), (us, vs) = ((self.axes[0][n], self.axes[1][n]) for n in (i, j))
        return [math.hypot(x - u, y - v) for x, y, u, v in zip(xs, ys, us, vs, strict=True)]

    # ---- how fast ----

    def speeds(self, i: int) -> list[float]:
        """Of each step."""
        return [math.hypot(*step) / self.dt for step in self.steps(i)]

    def speed(self, i: int, steps: Sequence[int]) -> float:
        """The mean over some steps, while it moves."""
        speeds = self.speeds(i)
        moving = [speeds[k] for k in steps if speeds[k] > MOVING]
        return sum(moving) / len(moving) if moving else 0.0

    def quicker(self, i: int, j: int) -> bool:
        """Whether one is clearly faster than the other over the whole clip."""
        return self.moved(i) and sum(self.speeds(i)) > lexicon.FASTER.middle * sum(self.speeds(j))

    def changes_speed(self, i: int) -> float:
        """Speed in the last third of its movement over that in the first."""
        speeds = self.speeds(i)
        while speeds and speeds[0] <= MOVING:
            speeds.pop(0)
        third = len(speeds) // 3
        if third < 2 or not self.moved(i):
            return 1.0
        return sum(speeds[-third:]) / sum(speeds[:third])

    # ---- what it is on ----

    def gaps(self, i: int) -> tuple[list[float], list[float]]:
        """From its outline to the ground, and to the ramp; infinite where there is none underneath."""
        if i not in self._gaps:
            x, y = self.clip.position[:, i, 0], self.clip.position[:, i, 1]
            nowhere = [math.inf] * self.frames
            ground = next((part.height for part in self.clip.scenery if isinstance(part, Ground)), None)
            over_ground = nowhere if ground is None else (y - self._depth(i, 0.0, 1.0) - ground).tolist()
            ramp = next((part for part in self.clip.scenery if isinstance(part, Ramp)), None)
            over_ramp = nowhere
            if ramp is not None:
                (x0, y0), (x1, y1) = sorted((ramp.start, ramp.end))
                length = math.hypot(x1 - x0, y1 - y0)
                a, b = (y0 - y1) / length, (x1 - x0) / length
                height = a * (x - x0) + b * (y - y0) - self._depth(i, a, b)
                over_ramp = np.where((x > x0) & (x < x1), height, math.inf).tolist()
            self._gaps[i] = over_ground, over_ramp
        return self._gaps[i]

    def _depth(self, i: int, a: float, b: float) -> np.ndarray | float:
        """How far its outline reaches from its centre against the direction (a, b), in each frame."""
        thing = self.clip.things[i]
        if thing.shape == "ball":
            return thing.radius
        corners, angle = outline(thing.shape) * thing.radius, self.clip.angle[:, i]
        along = np.outer(np.cos(angle), corners @ (a, b)) + np.outer(np.sin(angle), corners @ (b, -a))
        return -along.min(axis=1)

    def on(self, i: int, frame: int) -> str:
        """ "ground", "ramp", "water" or "air"; "table" in the top view, "rod" where it hangs."""
        if self.clip.view == "top":
            return "table"
        if i in self.bobs:
            return "rod"
        ground, ramp = self.gaps(i)
        if min(ground[frame], ramp[frame]) < lexicon.TOUCHING.middle:
            return "ground" if ground[frame] < ramp[frame] else "ramp"
        return "water" if self.axes[1][i][frame] < self.water else "air"

    def way(self, i: int, direction: str | None, *where: str) -> tuple[float, float, float, list[int]]:
        """How far it goes on such ground, how much of that its turning makes up for, when it begins, in which steps.

        With a direction only what leads there counts.
        """
        on = [self.on(i, k) for k in range(self.frames)]
        far = turned = start = 0.0
        counted = []
        steps = self.steps(i)
        for k in self.leading(i, direction):
            if on[k] not in where or on[k + 1] not in where:
                continue
            if far <= SETTING_OUT:
                start = k * self.dt
            far += math.hypot(*steps[k])
            turned -= math.copysign(self.radius[i], steps[k][0]) * (self.angle[i][k + 1] - self.angle[i][k])
            counted.append(k)
        return far, turned, start, counted

    def distance_on(self, i: int, steps: Sequence[int], surface: str, direction: str | None = None) -> float:
        """How far it goes in some steps on one kind of ground; with a direction, how far of that leads there."""
        those, all_steps = {*self.leading(i, direction)}, self.steps(i)
        return sum(
            math.hypot(*all_steps[k]) for k in steps if k in those and self.on(i, k) == surface == self.on(i, k + 1)
        )

    def flights(self, i: int) -> Iterator[tuple[int, int]]:
        """First and last frames of the times in which nothing holds it."""
        start = None
        for k in range(self.frames + 1):
            free = k < self.frames and self.on(i, k) == "air"
            if free and start is None:
                start = k
            elif not free and start is not None:
                yield start, k - 1
                start = None

    def at_surface(self, i: int) -> list[bool]:
        """In which frames it is partly under water and partly above."""
        return [abs(y - self.water) < self.radius[i] for y in self.axes[1][i]]

    def stays_afloat(self, i: int) -> bool:
        """Whether it is so in all of the last frames, and stands on nothing."""
        return all(self.at_surface(i)[-AT_SURFACE:]) and self.on(i, self.frames - 1) != "ground"

    def hidden(self, i: int, screen: Screen) -> list[bool]:
        """In which frames its centre is behind a screen."""
        return [
            screen.left < x < screen.right and y < screen.top
            for x, y in zip(self.axes[0][i], self.axes[1][i], strict=True)
        ]

    def drawer_opens(self) -> float | None:
        """It is closed first and open in the end."""
        drawer = next((part for part in self.clip.scenery if isinstance(part, Drawer)), None)
        openings = self.clip.openings
        if drawer is None or not len(openings):
            return None
        clear = lexicon.AJAR.middle * drawer.travel
        if openings[0] > clear or openings[-1] < clear:
            return None
        return int(np.argmax(openings > clear)) * self.dt
