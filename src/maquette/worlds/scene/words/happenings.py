"""What can be said of what happens: deeds of things in a clip, from velocities, contacts and law as well as places."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from maquette.worlds.scene.geometry import HAND
from maquette.worlds.scene.state import Clip
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.facts import Facts, clearly
from maquette.worlds.scene.words.tracks import PACE, WAYS, Tracks

CREEPING = 0.01
"""Widths a second up to which a thing rests beyond doubt."""
STOPPED, AT_ONCE = 0.003, lexicon.AFTER.yes / 2
"""Widths from its last place at which it has stopped beyond doubt, and seconds in which it must come to that."""


ROBOT = -1
"""Stands for the robot where otherwise a thing's number does."""


@dataclass(frozen=True, kw_only=True)
class Deed:
    """Something that one thing or the robot does, beyond doubt."""

    thing: int
    verb: str
    time: float
    """When it begins, in seconds."""
    direction: str | None = None
    path: str | None = None
    other: int | None = None
    """The thing that it does it to."""
    zone: str | None = None
    """The colour of the zone that it brings that thing to."""
    steps: tuple[int, ...] = ()
    """From which frames to the next it goes on; none given: in the whole clip."""
    told: bool = True
    """Worth telling in a caption; else true but for questions only."""


class Happenings:
    """A clip's deeds."""

    def __init__(self, clip: Clip) -> None:
        self.clip, self.tracks = clip, Tracks(clip)
        self.dt, self.last = self.tracks.dt, self.tracks.last
        self.position, self.velocity = clip.position, clip.velocity

    # ---- deeds ----

    @cached_property
    def deeds(self) -> list[Deed]:
        """Everything that clearly happens, in the order of time."""
        found: list[Deed] = []
        for i in range(len(self.clip.things)):
            if self.tracks.moves(i) is False:
                found.append(Deed(thing=i, verb="rest", time=0.0))
            elif self.tracks.moves(i):
                found += self._deeds_of(i)
        found += self._meetings() + self._of_robot()
        return sorted(found, key=lambda deed: deed.time)

    def of(self, i: int) -> list[Deed]:
        """What one thing does."""
        return [deed for deed in self.deeds if deed.thing == i]

    def _deeds_of(self, i: int) -> list[Deed]:
        if i in self.tracks.bobs:
            both = self.tracks.goes(i, "left") and self.tracks.goes(i, "right")
            path, way = ("from side to side", None) if both else ("on a rod", self.tracks.only_way(i))
            return [Deed(thing=i, verb="swing", time=self.onset(i), direction=way, path=path)]
        found = self._stops(i)
        if self.clip.view == "top":
            return found + self._moves(i)
        found += self._on_ground(i) + self._on_ramp(i) + self._in_air(i) + self._in_water(i) + self._behind(i)
        if not any(deed.told for deed in found):
            found += self._moves(i)
        start = self.onset(i)
        if start >= lexicon.STOPPED.yes:
            found.append(Deed(thing=i, verb="start", time=start, told=not any(deed.told for deed in found)))
        return found

    def onset(self, i: int) -> float:
        """When it leaves its place."""
        away = np.linalg.norm(self.position[:, i] - self.position[0, i], axis=1)
        return max(int(np.argmax(away > lexicon.MOVED.no / 2)) - 1, 0) * self.dt

    def _moves(self, i: int) -> list[Deed]:
        return [Deed(thing=i, verb="move", time=self.onset(i), direction=self.tracks.only_way(i))]

    def _stops(self, i: int) -> list[Deed]:
        left = np.linalg.norm(self.position[:, i] - self.position[-1, i], axis=1)
        moving = np.flatnonzero(left > lexicon.RESTED.yes)
        if not len(moving) or (self.last - moving[-1] - 1) * self.dt < lexicon.STOPPED.yes:
            return []
        crept = np.flatnonzero(left > STOPPED)
        if float(np.abs(self.velocity[-3:, i]).max()) > CREEPING or (crept[-1] - moving[-1]) * self.dt > AT_ONCE:
            return []
        return [Deed(thing=i, verb="stop", time=float(moving[-1] + 1) * self.dt)]

    def _on_ground(self, i: int) -> list[Deed]:
        """Rolling and sliding, one deed for each direction, of what never leaves the ground."""
        if not self.tracks.on_ground(i).all():
            return []
        x, turn = self.position[:, i, 0], self.clip.angle[:, i]
        steps = np.diff(x)
        signs = np.sign(np.where(np.abs(steps) > PACE / 2 * self.dt, steps, 0))
        found = []
        for sign, way in ((1, "right"), (-1, "left")):
            mine = signs == sign
            far = float(np.abs(steps[mine]).sum())
            if far < lexicon.TRAVELLED.yes or not self.tracks.goes(i, way):
                continue
            share = float(-np.diff(turn)[mine].sum() * self.clip.things[i].radius / steps[mine].sum())
            rolls = clearly(abs(share), lexicon.TURNED)
            if rolls is None or (rolls and (share < 0 or self.clip.things[i].shape != "ball")):
                continue
            begin = float(np.argmax(mine)) * self.dt
            verb = "roll" if rolls else "slide"
            found.append(
                Deed(thing=i, verb=verb, time=begin, direction=way, path="along the ground", steps=_steps(mine))
            )
        return found

    def _on_ramp(self, i: int) -> list[Deed]:
        on = self.tracks.on_ramp(i)
        both = on[:-1] & on[1:]
        steps = np.diff(self.position[:, i], axis=0)
        far = float(np.linalg.norm(steps[both], axis=1).sum())
        if far < lexicon.TRAVELLED.yes or not (steps[both, 1] < 0).all():
            return []
        spun = float(np.abs(np.diff(self.clip.angle[:, i])[both]).sum()) * self.clip.things[i].radius
        rolls = clearly(spun / far, lexicon.TURNED)
        if rolls is None:
            return []
        way = "right" if steps[both, 0].sum() > 0 else "left"
        begin = float(np.argmax(both)) * self.dt
        verb = "roll" if rolls else "slide"
        clear = self.tracks.goes(i, way)
        way = way if clear else None
        return [Deed(thing=i, verb=verb, time=begin, direction=way, path="down the ramp", steps=_steps(both))]

    def _in_air(self, i: int) -> list[Deed]:
        free, (x, y) = self.tracks.in_air(i), self.position[:, i].T
        found: list[Deed] = []
        for start, end in runs_of(free):
            way = "right" if x[end - 1] > x[start] else "left"
            sideways = abs(float(x[end - 1] - x[start]))
            top = start + int(np.argmax(y[start:end]))
            drop = float(y[top] - y[top : end + 1].min())
            if end - start >= 3 and sideways >= lexicon.TRAVELLED.yes and self.tracks.goes(i, way):
                steps = tuple(range(start, end - 1))
                found.append(
                    Deed(
                        thing=i,
                        verb="fly",
                        time=start * self.dt,
                        direction=way,
                        path="through the air",
                        steps=steps,
                    )
                )
            if drop >= lexicon.TRAVELLED.yes and not any(deed.verb == "fall" for deed in found):
                landed = end <= self.last and bool(self.tracks.on_ground(i)[end:].any())
                wet = (
                    self.tracks.water is not None
                    and y[end : end + 2].min(initial=1) < self.tracks.water - lexicon.SUBMERGED.yes
                )
                path = "into the water" if wet else "to the ground" if landed else None
                steps = tuple(range(top, min(end, self.last)))
                found.append(Deed(thing=i, verb="fall", time=top * self.dt, path=path, steps=steps))
        return found + self._bounces(i)

    def _bounces(self, i: int) -> list[Deed]:
        y, air = self.position[:, i, 1], self.tracks.air(i)
        touched = [contact.frame for contact in self.clip.contacts if contact.thing == i and contact.other is None]
        for frame in touched:
            if not 1 <= frame < self.last:
                continue
            low = frame if y[frame] <= y[frame - 1] else frame - 1
            if not 0 < low < self.last or y[low - 1] < y[low] or y[low + 1] <= y[low]:
                continue
            # The lowest frame may be one in which it is still, or again, over the ground.
            over = float(y[low] - air[low])
            after, before = low + self._climb(y[low:]), low - self._climb(y[low::-1])
            rise, drop = float(y[after]) - over, float(y[before]) - over
            near = float(air[low]) <= lexicon.TOUCHING.yes + 0.5 * np.abs(np.diff(y[max(low - 2, 0) : low + 2])).max()
            dry = self.tracks.water is None or y[low] > self.tracks.water + lexicon.SUBMERGED.yes
            if min(rise, drop) >= lexicon.REBOUND.yes and near and dry:
                way = self.tracks.only_way(i)
                aside = abs(float(self.position[after, i, 0] - self.position[before, i, 0]))
                sideways = way if way in ("left", "right") and aside >= lexicon.WENT.yes else None
                steps = tuple(range(before, after))
                time = low * self.dt
                return [Deed(thing=i, verb="bounce", time=time, direction=sideways, path="off the ground", steps=steps)]
        return []

    @staticmethod
    def _climb(heights: Float[np.ndarray, " frames"]) -> int:
        """How many frames it climbs before it first comes down."""
        falling = np.flatnonzero(np.diff(heights) < 0)
        return int(falling[0]) if len(falling) else len(heights) - 1

    def _in_water(self, i: int) -> list[Deed]:
        if self.tracks.water is None:
            return []
        y, thing = self.position[:, i, 1], self.clip.things[i]
        found = []
        under = np.flatnonzero(y < self.tracks.water - lexicon.SUBMERGED.yes)
        surfaced = np.abs(y - self.tracks.water) <= 0.85 * thing.radius
        if surfaced[-5:].all() and float(self.tracks.air(i)[-1]) >= lexicon.TOUCHING.no:
            if self.tracks.goes(i, "up") and y[0] < self.tracks.water - thing.reach:
                steps = tuple(range(round(self.onset(i) / self.dt), int(np.argmax(y))))
                found.append(Deed(thing=i, verb="rise", time=self.onset(i), path="to the surface", steps=steps))
            found.append(Deed(thing=i, verb="float", time=float(np.argmax(surfaced)) * self.dt, path="in the water"))
        gone = y[-1] + thing.reach < self.tracks.water - lexicon.SUBMERGED.yes or self.tracks.on_ground(i)[-1]
        if len(under) and gone:
            begin = max(under[0] - 1, 0)
            begin = begin if y[begin] - thing.radius < self.tracks.water - lexicon.SUBMERGED.yes else under[0]
            if y[begin] - y[-1] >= lexicon.TRAVELLED.yes:
                time, steps = float(under[0]) * self.dt, tuple(range(begin, self.last))
                found.append(Deed(thing=i, verb="sink", time=time, path="in the water", steps=steps))
        return found

    def _behind(self, i: int) -> list[Deed]:
        if self.tracks.screen is None:
            return []
        x, half = self.position[:, i, 0], self.clip.things[i].radius / 2
        hidden = (x - half > self.tracks.screen.left) & (x + half < self.tracks.screen.right)
        hidden &= self.position[:, i, 1] + half < self.tracks.screen.top
        low, high = sorted((float(x[0]), float(x[-1])))
        if not hidden.any() or low + half > self.tracks.screen.left or high - half < self.tracks.screen.right:
            return []
        begin = float(np.argmax((x > self.tracks.screen.left) & (x < self.tracks.screen.right))) * self.dt
        return [Deed(thing=i, verb="pass", time=begin, path="behind the screen", direction=self.tracks.only_way(i))]

    # ---- meetings ----

    def _meetings(self) -> list[Deed]:
        found: list[Deed] = []
        for contact in self.clip.contacts:
            i, j, k = contact.thing, contact.other, contact.frame
            if j is None or not 2 <= k <= self.last - 1:
                continue
            line = self.position[k - 1, j] - self.position[k - 1, i]
            line = line / np.linalg.norm(line)
            before = (self.velocity[k - 1, [i, j]] @ line).tolist()
            after = (self.velocity[min(k + 1, self.last), [i, j]] @ line).tolist()
            if before[0] - before[1] < lexicon.CLOSING.yes:
                continue
            if min(before[0] - after[0], after[1] - before[1]) < lexicon.STRUCK.yes:
                continue
            time = (k - 1) * self.dt
            hitting = [clearly(before[0], lexicon.CLOSING), clearly(-before[1], lexicon.CLOSING)]
            pairs = [(i, j), (j, i)]
            found += [
                Deed(thing=a, other=b, verb="hit", time=time) for (a, b), so in zip(pairs, hitting, strict=True) if so
            ]
            if True in hitting:
                found.append(Deed(thing=i, other=j, verb="collide", time=time, told=False))
                found += self._pushes(i, j, k)
        return found

    def _pushes(self, i: int, j: int, frame: int) -> list[Deed]:
        """The one behind pushes the one in front, if they go on together."""
        together = self.velocity[frame + 1 :, i] - self.velocity[frame + 1 :, j]
        if len(together) < 3 or float(np.abs(together).max()) > lexicon.STRUCK.yes / 3:
            return []
        line = self.position[-1, j] - self.position[-1, i]
        line = line / np.linalg.norm(line)
        ways = (self.position[-1] - self.position[frame + 1])[[i, j]] @ line
        pace = (self.velocity[frame + 1 :, [i, j]] @ line).ravel()
        if abs(float(ways.mean())) < lexicon.PUSHED.yes or float(np.abs(pace).min()) < PACE:
            return []
        behind, front = (i, j) if ways.mean() > 0 else (j, i)
        return [Deed(thing=behind, other=front, verb="push", time=frame * self.dt)]

    # ---- the robot ----

    def _of_robot(self) -> list[Deed]:
        """What the robot moves, and where it brings it; the drawer that it opens."""
        if not self.clip.robots:
            return []
        facts, found = Facts(self.clip), list[Deed]()
        for i in range(len(self.clip.things)):
            run = self._robot_moves(i) if self.tracks.moves(i) else None
            if run is None:
                continue
            start, end = run
            zone = facts.zone_of(i, end=True)
            brought = zone is not None and facts.in_zone(i, zone) is False
            if zone and brought:
                found.append(Deed(thing=ROBOT, verb="bring", other=i, time=start * self.dt, zone=zone.colour))
            way = self.tracks.only_way(i)
            if way:
                axis, sign = WAYS[way]
                far = sign * float(self.position[end, i, axis] - self.position[start, i, axis])
                way = way if far >= lexicon.WENT.yes else None
            push = Deed(thing=ROBOT, verb="push", other=i, time=start * self.dt, direction=way, told=not brought)
            found.append(push)
        travel = facts.drawer.travel if facts.drawer else 1.0
        ajar = [clearly(float(opening) / travel, lexicon.AJAR) for opening in self.clip.openings]
        if ajar and ajar[0] is False and ajar[-1]:
            time = float(np.argmax(self.clip.openings > lexicon.AJAR.middle * travel)) * self.dt
            found.append(Deed(thing=ROBOT, verb="open", time=time))
        return found

    def _robot_moves(self, i: int) -> tuple[int, int] | None:
        """First and last frames in which the robot clearly moves a thing, unless it may have done so before."""
        tips = np.array([robot.joints[-1] for robot in self.clip.robots])
        steps = np.linalg.norm(np.diff(self.position[:, i], axis=0), axis=1)
        gap = np.linalg.norm(self.position[1:, i] - tips[1:], axis=1) - self.clip.things[i].reach - HAND

        def runs(within: float, far: float) -> list[tuple[int, int]]:
            return [
                run for run in runs_of((gap < within) & (steps > PACE * self.dt)) if steps[slice(*run)].sum() >= far
            ]

        sure, perhaps = runs(0.0, lexicon.PUSHED.yes), runs(lexicon.TOUCHING.no, lexicon.PUSHED.no)
        if not sure or (sure[0][0] - perhaps[0][0]) * self.dt > AT_ONCE:
            return None
        return sure[0]


def _steps(so: Bool[np.ndarray, " steps"]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(so).tolist())


def runs_of(so: Bool[np.ndarray, " frames"]) -> list[tuple[int, int]]:
    """First frames of the times in which something is so, and the frames after them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], so.astype(int), [0]])))
    return [(start, end) for start, end in edges.reshape(-1, 2).tolist()]
