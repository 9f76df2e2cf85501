"""What things do in a clip, read from where they are in each frame and from nothing else: no law, velocity or contact.

Every question is answered with the time of the first occurrence in seconds, or None where there is none.
"""

import math
from collections.abc import Iterator

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
        self.robot = len(clip.things)
        if clip.robots:
            for axis in (0, 1):
                self.axes[axis].append([robot.joints[-1][axis] for robot in clip.robots])
            self.reach.append(HAND)
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
        axis, sign = AXES[direction]
        along = [sign * value for value in self.axes[axis][i]]
        least, back = along[0], 0
        for k, value in enumerate(along):
            if value < least + SETTING_OUT:
                back = k
            least = min(least, value)
            if value - least > lexicon.WENT.middle:
                return back * self.dt
        return None

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

    def speed(self, i: int) -> float:
        """The mean while it moves."""
        moving = [speed for speed in self.speeds(i) if speed > MOVING]
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

    def way(self, i: int, direction: str | None, *where: str) -> tuple[float, float, float]:
        """How far it goes on such ground, how much of that its turning makes up for, and when it begins.

        With a direction only what leads there counts.
        """
        on = [self.on(i, k) for k in range(self.frames)]
        radius = self.clip.things[i].radius
        far = turned = 0.0
        start = math.inf
        for k, (dx, dy) in enumerate(self.steps(i)):
            if on[k] not in where or on[k + 1] not in where:
                continue
            if direction and (dx, dy)[AXES[direction][0]] * AXES[direction][1] <= 0:
                continue
            length = math.hypot(dx, dy)
            far += length
            turned -= math.copysign(radius, dx) * (self.angle[i][k + 1] - self.angle[i][k])
            if length > SETTING_OUT:
                start = min(start, k * self.dt)
        return far, turned, start

    def rolls(self, i: int, direction: str | None, *where: str) -> float | None:
        """A ball that goes over solid ground and turns as much as it goes."""
        if self.clip.view == "top" or self.clip.things[i].shape != "ball":
            return None
        far, turned, start = self.way(i, direction, *(where or ("ground", "ramp")))
        return start if far > lexicon.TRAVELLED.middle and turned > lexicon.TURNED.middle * far else None

    def slides(self, i: int, direction: str | None, *where: str) -> float | None:
        """What goes over something solid and hardly turns; on the table top whatever goes."""
        far, turned, start = self.way(i, direction, *(where or ("ground", "ramp", "table")))
        turns = self.clip.view == "side" and abs(turned) > lexicon.TURNED.middle * far
        return start if far > lexicon.TRAVELLED.middle and not turns else None

    # ---- in the air ----

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

    def flies(self, i: int, direction: str | None) -> float | None:
        """It goes sideways in the air, for three frames at least."""
        xs = self.axes[0][i]
        for start, end in self.flights(i):
            way = xs[end] - xs[start]
            if direction in ("left", "right"):
                way *= AXES[direction][1]
            if end - start >= 2 and abs(way) > lexicon.TRAVELLED.middle and (direction is None or way > 0):
                return start * self.dt
        return None

    def falls(self, i: int) -> float | None:
        """It loses height in the air."""
        ys = self.axes[1][i]
        for start, end in self.flights(i):
            top = max(range(start, end + 1), key=ys.__getitem__)
            if ys[top] - min(ys[top : end + 2]) > lexicon.TRAVELLED.middle:
                return top * self.dt
        return None

    def bounces(self, i: int) -> float | None:
        """It comes down to something solid and goes up again."""
        if i in self.bobs or self.clip.view == "top":
            return None
        ys, (ground, ramp) = self.axes[1][i], self.gaps(i)
        for k in range(1, self.frames - 1):
            if not (ys[k] <= ys[k - 1] and ys[k] < ys[k + 1]) or ys[k] < self.water:
                continue
            before, after = k, k
            while before and ys[before - 1] >= ys[before]:
                before -= 1
            while after < self.frames - 1 and ys[after + 1] > ys[after]:
                after += 1
            # It may have touched between two frames, while it went as fast as in the step before.
            step = max(ys[max(k - 2, 0)] - ys[k - 1], ys[k - 1] - ys[k], ys[k + 1] - ys[k])
            gap = min(ground[k], ramp[k])
            over = min(ys[before], ys[after]) - (ys[k] - gap)
            if gap < lexicon.TOUCHING.middle + 0.6 * step and over > lexicon.REBOUND.middle:
                return k * self.dt
        return None

    # ---- water, rods, rest ----

    def swings(self, i: int) -> float | None:
        """It hangs on a rod and moves."""
        return self.setting_out(i) if i in self.bobs else None

    def floats(self, i: int) -> float | None:
        """In the last frames it is always partly under water and partly above, and stands on nothing."""
        radius = self.clip.things[i].radius
        at_surface = [abs(y - self.water) < radius for y in self.axes[1][i]]
        if not all(at_surface[-AT_SURFACE:]) or self.on(i, self.frames - 1) == "ground":
            return None
        return at_surface.index(True) * self.dt

    def sinks(self, i: int) -> float | None:
        """It goes down in the water, and in the end it is wholly under it or on the ground."""
        ys, radius = self.axes[1][i], self.clip.things[i].radius
        wet = [k for k, y in enumerate(ys) if y - radius < self.water]
        if not wet or ys[-1] > self.water:
            return None
        if ys[-1] + radius > self.water and self.on(i, self.frames - 1) != "ground":
            return None
        return wet[0] * self.dt if ys[wet[0]] - ys[-1] > lexicon.TRAVELLED.middle else None

    def enters_water(self, i: int) -> float | None:
        """It is above the water first and in it later."""
        ys, radius = self.axes[1][i], self.clip.things[i].radius
        if ys[0] - radius < self.water + lexicon.SUBMERGED.no:
            return None
        return next((k * self.dt for k, y in enumerate(ys) if y < self.water), None)

    def stops(self, i: int) -> float | None:
        """It has moved, and rests at the end for a while."""
        if not self.moved(i):
            return None
        xs, ys = self.axes[0][i], self.axes[1][i]
        k = self.frames - 1
        while k and math.hypot(xs[k - 1] - xs[-1], ys[k - 1] - ys[-1]) < lexicon.RESTED.middle:
            k -= 1
        if (self.frames - 1 - k) * self.dt < lexicon.STOPPED.middle:
            return None
        while math.hypot(xs[k] - xs[-1], ys[k] - ys[-1]) > SETTING_OUT:
            k += 1
        return k * self.dt

    def starts(self, i: int) -> float | None:
        """It rests for a while and then moves."""
        when = self.setting_out(i)
        return when if when is not None and when > lexicon.STOPPED.middle else None

    def hidden(self, i: int) -> float | None:
        """When its centre first goes behind a screen from beside it."""
        xs, ys = self.axes[0][i], self.axes[1][i]
        for screen in self.screens:
            behind = [screen.left < x < screen.right and y < screen.top for x, y in zip(xs, ys, strict=True)]
            if True in behind and not behind[0]:
                return behind.index(True) * self.dt
        return None

    def passes(self, i: int) -> float | None:
        """It goes behind a screen on one side and comes out on the other."""
        xs = self.axes[0][i]
        for screen in self.screens:
            if min(xs[0], xs[-1]) < screen.left and max(xs[0], xs[-1]) > screen.right:
                return self.hidden(i)
        return None

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
