"""How each thing of a clip moves and what holds it, beyond doubt: from velocities as well as from places."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from maquette.worlds.scene.geometry import outline
from maquette.worlds.scene.state import Clip, Ground, Pendulum, Ramp, Screen, Water
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.facts import clearly

WAYS = {"right": (0, 1), "left": (0, -1), "up": (1, 1), "down": (1, -1)}
PACE = 0.06
"""Widths a second that are a movement beyond doubt."""


class Tracks:
    """The ways of a clip's things."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.dt = 1 / clip.fps
        self.last = len(clip) - 1
        self.position, self.velocity = clip.position, clip.velocity
        self.away = np.linalg.norm(clip.position - clip.position[0], axis=2).max(axis=0).tolist()
        self.rises, self.drops = self._excursions()
        ground = next((part for part in clip.scenery if isinstance(part, Ground)), None)
        self.ground = ground.height if ground else -math.inf
        self.ramp = next((part for part in clip.scenery if isinstance(part, Ramp)), None)
        self.water = next((part.level for part in clip.scenery if isinstance(part, Water)), None)
        self.screen = next((part for part in clip.scenery if isinstance(part, Screen)), None)
        self.bobs = [part.bob for part in clip.scenery if isinstance(part, Pendulum)]

    def _excursions(self) -> tuple[Float[np.ndarray, "things 2"], Float[np.ndarray, "things 2"]]:
        """The longest ways up and down each axis."""
        p = self.position
        return (
            (p - np.minimum.accumulate(p, axis=0)).max(axis=0),
            (np.maximum.accumulate(p, axis=0) - p).max(axis=0),
        )

    # ---- traits of one thing's way ----

    def moves(self, i: int) -> bool | None:
        """Whether a thing moves at all."""
        return clearly(self.away[i], lexicon.MOVED)

    def goes(self, i: int, way: str) -> bool | None:
        """Whether it ever goes that way."""
        axis, sign = WAYS[way]
        return clearly(float((self.rises if sign > 0 else self.drops)[i, axis]), lexicon.WENT)

    def only_way(self, i: int) -> str | None:
        """The one direction of its movement: sideways if it goes sideways, else up or down."""
        for ways in (("left", "right"), ("up", "down")):
            goes = [self.goes(i, way) for way in ways]
            if True in goes:
                return ways[goes.index(True)] if False in goes else None
            if None in goes:
                return None
        return None

    def path_length(self, i: int) -> float:
        """The way it goes, from frame to frame."""
        return float(np.linalg.norm(np.diff(self.position[:, i], axis=0), axis=1).sum())

    def pace(self, i: int, steps: Sequence[int] = ()) -> str | None:
        """quickly or slowly, if its mean speed is so in the whole clip and in some steps of it, one more or less."""
        some = np.array(steps or range(self.last))
        paces = {
            self._pace(i, those, least)
            for those in (np.arange(self.last), some, some[1:], some[:-1])
            for least in (PACE / 2, PACE)
        }
        return paces.pop() if len(paces) == 1 else None

    def _pace(self, i: int, steps: Int[np.ndarray, " some"], least: float) -> str | None:
        """The same by its velocities and by its places, where these are above some least."""
        speeds = np.linalg.norm(self.velocity[:, i], axis=1)[np.unique([steps, steps + 1])]
        ways = (np.linalg.norm(np.diff(self.position[:, i], axis=0), axis=1) / self.dt)[steps]
        moving, going = speeds[speeds > least], ways[ways > least]
        if not len(moving) or not len(going) or self.moves(i) is not True:
            return None
        means = float(moving.mean()), float(going.mean())
        if min(means) >= lexicon.FAST.yes:
            return "quickly"
        return "slowly" if max(means) <= lexicon.SLOW.yes else None

    def faster(self, i: int, j: int) -> bool | None:
        """Whether one thing is faster than another over the whole clip."""
        if self.moves(i) is False:
            return False
        ratio = self.path_length(i) / max(self.path_length(j), 1e-9)
        return clearly(ratio, lexicon.FASTER) if self.moves(i) else None

    # ---- what holds a thing ----

    def air(self, i: int) -> Float[np.ndarray, " frames"]:
        """Height of its lowest point over the ground."""
        thing, y, angle = self.clip.things[i], self.position[:, i, 1], self.clip.angle[:, i]
        if thing.shape == "ball":
            return y - thing.radius - self.ground
        a, b = (outline(thing.shape) * thing.radius).T
        return (y[:, None] + np.sin(angle)[:, None] * a + np.cos(angle)[:, None] * b).min(axis=1) - self.ground

    def on_ground(self, i: int) -> Bool[np.ndarray, " frames"]:
        """Frames in which it clearly stands or lies on the ground."""
        return (np.abs(self.air(i)) <= lexicon.TOUCHING.yes) & ~self.over_ramp(i)

    def on_ramp(self, i: int) -> Bool[np.ndarray, " frames"]:
        """Frames in which a ball clearly lies on the ramp."""
        if self.ramp is None or self.clip.things[i].shape != "ball":
            return np.zeros(self.last + 1, bool)
        start, end = np.array(self.ramp.start), np.array(self.ramp.end)
        along = (end - start) / np.linalg.norm(end - start)
        off = self.position[:, i] - start
        height = np.abs(along[0] * off[:, 1] - along[1] * off[:, 0])
        within = (off @ along > 0) & (off @ along < np.linalg.norm(end - start))
        return (np.abs(height - self.clip.things[i].radius) <= lexicon.TOUCHING.yes) & within & self.over_ramp(i)

    def over_ramp(self, i: int) -> Bool[np.ndarray, " frames"]:
        """Frames in which its centre is over the ramp."""
        if self.ramp is None:
            return np.zeros(self.last + 1, bool)
        left, right = sorted((self.ramp.start[0], self.ramp.end[0]))
        return (self.position[:, i, 0] > left) & (self.position[:, i, 0] < right)

    def in_air(self, i: int) -> Bool[np.ndarray, " frames"]:
        """Frames in which clearly nothing is underneath."""
        high = self.air(i) >= lexicon.TOUCHING.no
        if self.ramp is not None:
            (x0, y0), (x1, y1) = sorted((self.ramp.start, self.ramp.end))
            surface = np.interp(self.position[:, i, 0], (x0, x1), (y0, y1), left=self.ground, right=self.ground)
            high &= self.position[:, i, 1] - surface > 1.5 * self.clip.things[i].reach + lexicon.TOUCHING.no
        if self.water is not None:
            high &= self.position[:, i, 1] > self.water + lexicon.SUBMERGED.yes
        return high & (i not in self.bobs) & (self.clip.view == "side")

    # ---- what does not happen ----

    def never(self, i: int) -> list[str]:
        """Verbs that clearly are not true of a thing."""
        found = []
        if self.moves(i) is False:
            found = ["move", "roll", "slide", "fly", "fall", "bounce", "swing", "stop", "start", "rise", "sink"]
        elif self.moves(i):
            found = ["rest"]
            height = float(np.ptp(self.position[:, i, 1]))
            if height <= lexicon.REBOUND.no:
                found += ["bounce", "fall", "sink", "rise"]
            spun = float(np.abs(np.diff(self.clip.angle[:, i])).sum()) * self.clip.things[i].radius
            if self.clip.things[i].shape != "ball" or spun < lexicon.TURNED.no * lexicon.TRAVELLED.no:
                found.append("roll")
            if i not in self.bobs:
                found.append("swing")
            late = self.position[self.last - math.floor(lexicon.STOPPED.no / self.dt) :, i] - self.position[-1, i]
            if float(np.linalg.norm(late, axis=1).max()) >= lexicon.RESTED.no:
                found.append("stop")
        if self.water is None and self.moves(i) is not None:
            found.append("float")
        return found

    def never_meet(self, i: int, j: int) -> bool:
        """Whether two things clearly stay apart."""
        apart = np.linalg.norm(self.position[:, i] - self.position[:, j], axis=1)
        fast = np.linalg.norm(np.diff(self.position[:, [i, j]], axis=0), axis=2).sum(axis=1).max()
        things = self.clip.things
        return float(apart.min()) > things[i].reach + things[j].reach + lexicon.NEAR.no + fast
