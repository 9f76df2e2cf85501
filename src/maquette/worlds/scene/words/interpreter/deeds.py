"""What a thing does and when: a verb holds of a phase of a clip, and so must all that is said of how it is done.

So "rolls through the air" is false also of a ball that flies first and rolls then.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.meaning import Does
from maquette.worlds.scene.words.interpreter.motion import SETTING_OUT, Motion

ON_WAY = {"along the ground": ("ground",), "down the ramp": ("ramp",), "up the ramp": ("ramp",)}
"""Paths over something solid: with one of them only what happens there counts."""


class Phase(NamedTuple):
    """A time in which a thing does something."""

    start: float
    """When it begins, in seconds."""
    steps: Sequence[int]
    """From which frames to the next it goes on."""
    at: int | None = None
    """The frame of a bounce."""
    still: bool = False
    """Whether it is a time of rest."""


Finder = Callable[[Motion, int, str | None, tuple[str, ...]], Iterator[Phase]]
"""The phases of one track; with a direction or some ground, those that lead there or are on it."""


def doing(motion: Motion, i: int, does: Does) -> float | None:
    """When a thing first does what takes no object, as the sentence says it does; None if it does not."""
    where = next((ON_WAY[path] for path in does.paths if path in ON_WAY), ())
    direction = does.direction
    if where == ("ramp",) and direction is None:
        direction = "down" if "down the ramp" in does.paths else "up"
    for phase in PHASES[does.verb](motion, i, direction, where):
        if is_so_done(motion, i, phase, does):
            return phase.start
    return None


def is_so_done(motion: Motion, i: int, phase: Phase, does: Does) -> bool:
    """Whether direction, manner and paths are as said while the thing does it."""
    if does.direction and not motion.goes(i, phase.steps, does.direction):
        return False
    if does.manner:
        speed = motion.speed(i, phase.steps)
        if not (speed > lexicon.FAST.middle if does.manner == "quickly" else 0 < speed < lexicon.SLOW.middle):
            return False
    return bool(phase.steps or not does.paths) and all(_takes(motion, i, phase, path) for path in does.paths)


# ---- over something ----


def _moves(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    if where:
        far, _, start, steps = motion.way(i, direction, *where)
        if far > lexicon.TRAVELLED.middle:
            yield Phase(start, steps)
        return
    start = motion.going(i, direction) if direction else motion.setting_out(i)
    if start is not None:
        yield Phase(start, motion.leading(i, direction))


def _rolls(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """A ball that goes over solid ground and turns as much as it goes."""
    if motion.clip.view == "top" or motion.clip.things[i].shape != "ball":
        return
    far, turned, start, steps = motion.way(i, direction, *(where or ("ground", "ramp")))
    if far > lexicon.TRAVELLED.middle and turned > lexicon.TURNED.middle * far:
        yield Phase(start, steps)


def _slides(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """What goes over something solid and hardly turns; on the table top whatever goes."""
    far, turned, start, steps = motion.way(i, direction, *(where or ("ground", "ramp", "table")))
    turns = motion.clip.view == "side" and abs(turned) > lexicon.TURNED.middle * far
    if far > lexicon.TRAVELLED.middle and not turns:
        yield Phase(start, steps)


# ---- in the air ----


def _flies(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It goes sideways in the air, for three frames at least."""
    xs = motion.axes[0][i]
    for start, end in motion.flights(i):
        if end - start >= 2 and abs(xs[end] - xs[start]) > lexicon.TRAVELLED.middle:
            yield Phase(start * motion.dt, range(start, end))


def _falls(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It loses height in the air."""
    ys = motion.axes[1][i]
    for start, end in motion.flights(i):
        top = max(range(start, end + 1), key=ys.__getitem__)
        if ys[top] - min(ys[top : end + 2]) > lexicon.TRAVELLED.middle:
            yield Phase(top * motion.dt, range(top, min(end + 1, motion.frames - 1)))


def _rises(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """Up in the side view; what goes away from the viewer on the table top does not rise."""
    for start, end in motion.stretches(i, "up") if motion.clip.view == "side" else ():
        yield Phase(start * motion.dt, range(start, end))


def _bounces(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It comes down to something solid and goes up again."""
    if i in motion.bobs or motion.clip.view == "top":
        return
    ys, (ground, ramp) = motion.axes[1][i], motion.gaps(i)
    for k in range(1, motion.frames - 1):
        if not (ys[k] <= ys[k - 1] and ys[k] < ys[k + 1]) or ys[k] < motion.water:
            continue
        before, after = k, k
        while before and ys[before - 1] >= ys[before]:
            before -= 1
        while after < motion.frames - 1 and ys[after + 1] > ys[after]:
            after += 1
        # It may have touched between two frames, while it went as fast as in the step before.
        step = max(ys[max(k - 2, 0)] - ys[k - 1], ys[k - 1] - ys[k], ys[k + 1] - ys[k])
        gap = min(ground[k], ramp[k])
        over = min(ys[before], ys[after]) - (ys[k] - gap)
        if gap < lexicon.TOUCHING.middle + 0.6 * step and over > lexicon.REBOUND.middle:
            yield Phase(k * motion.dt, range(before, after), at=k)


# ---- water, rods, rest ----


def _swings(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It hangs on a rod and moves."""
    start = motion.setting_out(i)
    if i in motion.bobs and start is not None:
        yield Phase(start, range(motion.frames - 1))


def _floats(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """In the last frames it is always partly under water and partly above, and stands on nothing."""
    if motion.stays_afloat(i):
        first = motion.at_surface(i).index(True)
        yield Phase(first * motion.dt, range(first, motion.frames - 1))


def _sinks(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It goes down in the water, and in the end it is wholly under it or on the ground."""
    ys, radius = motion.axes[1][i], motion.radius[i]
    wet = [k for k, y in enumerate(ys) if y - radius < motion.water]
    if not wet or ys[-1] > motion.water:
        return
    if ys[-1] + radius > motion.water and motion.on(i, motion.frames - 1) != "ground":
        return
    if ys[wet[0]] - ys[-1] > lexicon.TRAVELLED.middle:
        under = next(k for k, y in enumerate(ys) if k >= wet[0] and y <= motion.water)
        yield Phase(under * motion.dt, range(max(under - 1, wet[0]), motion.frames - 1))


def _stops(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It has moved, and rests at the end for a while."""
    if not motion.moved(i):
        return
    xs, ys = motion.axes[0][i], motion.axes[1][i]
    k = motion.frames - 1
    while k and math.hypot(xs[k - 1] - xs[-1], ys[k - 1] - ys[-1]) < lexicon.RESTED.middle:
        k -= 1
    if (motion.frames - 1 - k) * motion.dt < lexicon.STOPPED.middle:
        return
    while math.hypot(xs[k] - xs[-1], ys[k] - ys[-1]) > SETTING_OUT:
        k += 1
    yield Phase(k * motion.dt, range(k, motion.frames - 1), still=True)


def _starts(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It rests for a while and then moves."""
    start = motion.setting_out(i)
    if start is not None and start > lexicon.STOPPED.middle:
        yield Phase(start, range(round(start / motion.dt), motion.frames - 1))


def _rests(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    if not motion.moved(i):
        yield Phase(0.0, range(motion.frames - 1), still=True)


def _slows_down(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    if motion.changes_speed(i) < lexicon.SLOWS.middle:
        yield Phase(0.0, range(motion.frames - 1))


def _speeds_up(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    if motion.changes_speed(i) > lexicon.SPEEDS.middle:
        yield Phase(0.0, range(motion.frames - 1))


def _passes(motion: Motion, i: int, direction: str | None, where: tuple[str, ...]) -> Iterator[Phase]:
    """It goes behind a screen on one side and comes out on the other."""
    xs = motion.axes[0][i]
    for screen in motion.screens:
        if min(xs[0], xs[-1]) < screen.left and max(xs[0], xs[-1]) > screen.right:
            hidden = motion.hidden(i, screen)
            if True in hidden and not hidden[0]:
                yield Phase(hidden.index(True) * motion.dt, range(motion.frames - 1))


PHASES: dict[str, Finder] = {
    "move": _moves,
    "roll": _rolls,
    "slide": _slides,
    "fly": _flies,
    "fall": _falls,
    "rise": _rises,
    "bounce": _bounces,
    "swing": _swings,
    "float": _floats,
    "sink": _sinks,
    "stop": _stops,
    "start": _starts,
    "rest": _rests,
    "slow down": _slows_down,
    "speed up": _speeds_up,
    "pass": _passes,
}
"""Verbs that take no object."""


# ---- paths ----


def _takes(motion: Motion, i: int, phase: Phase, path: str) -> bool:
    """Whether the path is the one that is taken in the phase."""
    first, last = phase.steps[0], phase.steps[-1] + 1
    frames = [*phase.steps, last]
    if path == "on a rod":
        return i in motion.bobs
    if path in ON_WAY:
        return _over(motion, i, phase, path)
    if path == "through the air":
        return motion.distance_on(i, phase.steps, "air") > lexicon.TRAVELLED.middle
    if path == "off the ground" and phase.at is not None:
        ground, ramp = motion.gaps(i)
        return ground[phase.at] < ramp[phase.at]
    if path in ("to the ground", "off the ground"):
        before, after = (motion.on(i, k) == "ground" for k in (first, last))
        return before != after == (path == "to the ground")
    if path == "behind the screen":
        hidden = [motion.hidden(i, screen) for screen in motion.screens]
        return any(one[last] if phase.still else not one[first] and any(one[k] for k in frames) for one in hidden)
    if path == "from side to side":
        return all(motion.goes(i, phase.steps, way) for way in ("left", "right"))
    return _in_water(motion, i, frames, path)


def _over(motion: Motion, i: int, phase: Phase, path: str) -> bool:
    """Along the ground, or up or down the ramp; what rests there is on it."""
    (surface,) = ON_WAY[path]
    if phase.still:
        return surface == "ground" and all(motion.on(i, k) == surface for k in (phase.steps[0], phase.steps[-1] + 1))
    direction = path.split()[0] if surface == "ramp" else None
    return motion.distance_on(i, phase.steps, surface, direction) > lexicon.TRAVELLED.middle


def _in_water(motion: Motion, i: int, frames: list[int], path: str) -> bool:
    """Into the water, in it, or from below to its surface."""
    ys, radius, water = motion.axes[1][i], motion.radius[i], motion.water
    if path == "into the water":
        return ys[frames[0]] >= water and any(ys[k] < water for k in frames)
    if path == "in the water":
        return sum(ys[k] - radius < water for k in frames) > len(frames) / 2
    below = ys[frames[0]] + radius < water
    return below and motion.stays_afloat(i) and any(motion.at_surface(i)[k] for k in frames)
