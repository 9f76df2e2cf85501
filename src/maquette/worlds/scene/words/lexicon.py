"""The shared vocabulary: every word and its synonyms, and how clear a state must be before it is spoken of. Data only.

The first surface of a meaning is the plain one; interpreters answer with it, generators choose among all.
"""

from dataclasses import dataclass

Surfaces = dict[str, tuple[str, ...]]
"""Meaning → the ways to say it."""


@dataclass(frozen=True, kw_only=True)
class Margin:
    """From where on a measure speaks clearly: the generator says yes from `yes` on, no from `no` on, else nothing.

    The interpreter decides half way, so that neither rounding nor half a pixel can part them.
    """

    no: float
    yes: float
    why: str

    @property
    def middle(self) -> float:
        """Where the interpreter decides."""
        return (self.no + self.yes) / 2


# Lengths are in widths of the frame: 1/32 is one pixel of the 32-pixel picture that words must be read from.
SIDE = Margin(no=0.0, yes=0.06, why="difference of centres in the direction of a relation; two pixels apart is seen")
NEAR = Margin(no=0.16, yes=0.08, why="distance of centres less both radii; a gap of half a small thing is not near")
FAR = Margin(no=0.4, yes=0.5, why="distance of centres; half the picture")
RESTS_ON = Margin(no=0.07, yes=0.02, why="height of a thing's lowest point over the other's top; less than a pixel")
ABREAST = Margin(no=1.0, yes=0.7, why="sideways distance of centres over the lower one's radius; beyond 1 it would tip")
ALIGNED = Margin(no=0.2, yes=0.1, why="distance from the line through two things of what lies between them")
THIRD = Margin(no=0.08, yes=0.14, why="distance from the middle of the picture, which is then cut in 39 : 22 : 39")
INSIDE = Margin(no=-0.03, yes=0.03, why="depth of a thing's centre inside a zone; a pixel on either side of its rim")
AJAR = Margin(no=0.25, yes=0.75, why="a drawer's opening over its travel; open, or hardly")
REACHED = Margin(no=0.04, yes=0.012, why="gap between the robot's closed hand and a thing's outline; a pixel is seen")

MOVED = Margin(no=0.015, yes=0.06, why="largest distance from the first place; half a pixel is still, two are not")
WENT = Margin(no=0.02, yes=0.08, why="longest way in one direction; two and a half pixels cannot be missed")
TRAVELLED = Margin(no=0.03, yes=0.09, why="way on the ground, a ramp or in the air; a shorter one shows no manner")
TURNED = Margin(no=0.25, yes=0.75, why="turned angle times radius over way: rolling has 1, sliding 0")
TOUCHING = Margin(no=0.045, yes=0.012, why="gap to what is underneath; a pixel of air is seen")
REBOUND = Margin(no=0.02, yes=0.06, why="height over the ground before and after a bounce; two pixels of each")
CLOSING = Margin(no=0.03, yes=0.1, why="speed of approach in widths a second; three pixels a second are seen")
STRUCK = Margin(no=0.0, yes=0.05, why="change of speed by a hit, along the line of centres; a pixel in half a second")
PUSHED = Margin(no=0.02, yes=0.08, why="way that both go while they touch; two and a half pixels")
RESTED = Margin(no=0.04, yes=0.012, why="largest distance from the last place in the time at the end")
STOPPED = Margin(no=0.3, yes=0.45, why="seconds at rest at the end before one says that a thing has stopped")
FAST = Margin(no=0.3, yes=0.42, why="mean speed; the picture is crossed in little more than two seconds")
SLOW = Margin(no=0.24, yes=0.17, why="mean speed; the picture takes six seconds to cross")
FASTER = Margin(no=1.0, yes=1.4, why="ratio of mean speeds; less than a third is not seen with certainty")
SLOWS = Margin(no=0.85, yes=0.6, why="speed late in a movement over that early in it")
SPEEDS = Margin(no=1.15, yes=1.6, why="speed late in a movement over that early in it")
SUBMERGED = Margin(no=-0.02, yes=0.02, why="depth of a point under the water's surface")
AFTER = Margin(no=0.0, yes=0.3, why="seconds between two events; three frames at 8 a second")

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = tuple(str(number) for number in range(11))

NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "ball": (("ball", "balls"), ("circle", "circles")),
    "box": (("box", "boxes"), ("square", "squares"), ("block", "blocks")),
    "triangle": (("triangle", "triangles"),),
    "cross": (("cross", "crosses"),),
    "star": (("star", "stars"),),
    "thing": (("thing", "things"), ("object", "objects")),
}
"""Singular and plural; "thing" leaves the shape open."""

FIXTURES: dict[str, tuple[tuple[str, str], ...]] = {
    "zone": (("zone", "zones"), ("area", "areas")),
    "robot": (("robot", "robots"),),
    "drawer": (("drawer", "drawers"),),
    "ramp": (("ramp", "ramps"), ("slope", "slopes")),
    "water": (("water", "water"),),
    "screen": (("screen", "screens"),),
    "ground": (("ground", "ground"), ("floor", "floor")),
}

COLOURS: Surfaces = {c: (c,) for c in ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")}
SIZES: Surfaces = {"small": ("small", "little"), "medium": ("medium",), "large": ("large", "big")}
MATERIALS: Surfaces = {"rubber": ("rubber",), "wood": ("wooden",), "stone": ("stone",)}
SUBSTANCES: Surfaces = {"rubber": ("rubber",), "wood": ("wood",), "stone": ("stone",)}
"""As in "made of …"."""
PROPERTIES: dict[str, Surfaces] = {"colour": COLOURS, "size": SIZES, "material": MATERIALS}

DIRECTIONS: Surfaces = {
    "right": ("to the right", "rightwards"),
    "left": ("to the left", "leftwards"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
RELATIONS: Surfaces = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "next to": ("next to", "beside", "close to"),
    "far from": ("far from", "far away from"),
    "on": ("on", "on top of"),
}
"""With a thing; "between" takes two."""
REGIONS: Surfaces = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "middle": ("in the middle", "in the centre"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "top left": ("at the top left", "in the top left corner"),
    "top right": ("at the top right", "in the top right corner"),
    "bottom left": ("at the bottom left", "in the bottom left corner"),
    "bottom right": ("at the bottom right", "in the bottom right corner"),
}
"""Left, middle and right say nothing of the height, top and bottom nothing of the side."""
WITHIN: Surfaces = {"in": ("in", "inside"), "behind": ("behind",), "on": ("on",)}
"""With a zone or water; with the screen; with the ground or a ramp."""

VERBS: dict[str, tuple[tuple[str, str], ...]] = {
    "move": (("moves", "move"), ("goes", "go"), ("travels", "travel")),
    "roll": (("rolls", "roll"),),
    "slide": (("slides", "slide"), ("glides", "glide")),
    "fly": (("flies", "fly"),),
    "fall": (("falls", "fall"), ("drops", "drop")),
    "rise": (("rises", "rise"),),
    "bounce": (("bounces", "bounce"),),
    "swing": (("swings", "swing"),),
    "float": (("floats", "float"),),
    "sink": (("sinks", "sink"),),
    "stop": (("stops", "stop"), ("comes to rest", "come to rest")),
    "start": (("starts to move", "start to move"), ("begins to move", "begin to move")),
    "rest": (("stays still", "stay still"), ("stands still", "stand still"), ("rests", "rest")),
    "slow down": (("slows down", "slow down"),),
    "speed up": (("speeds up", "speed up"),),
    "hit": (("hits", "hit"), ("strikes", "strike")),
    "push": (("pushes", "push"), ("shoves", "shove")),
    "collide": (("collides with", "collide with"), ("crashes into", "crash into")),
    "pass": (("passes", "pass"),),
    "open": (("opens", "open"),),
    "bring": (("brings", "bring"),),
    "hold": (("holds", "hold"),),
}
"""Third person and base. "pass" takes "behind the screen"; "bring" and "hold" the robot alone."""
RECIPROCAL: Surfaces = {"collide": ("collide",)}
"""As in "the ball and the box …"."""
PASSIVE: Surfaces = {"hit": ("hit", "struck"), "push": ("pushed", "shoved")}
TRANSITIVE = ("hit", "push", "collide", "bring", "hold")
MANNERS: Surfaces = {"quickly": ("quickly", "fast"), "slowly": ("slowly",)}
PATHS: Surfaces = {
    "down the ramp": ("down the ramp", "down the slope"),
    "up the ramp": ("up the ramp", "up the slope"),
    "along the ground": ("along the ground", "on the ground", "along the floor"),
    "through the air": ("through the air",),
    "to the ground": ("to the ground", "to the floor"),
    "off the ground": ("off the ground", "off the floor"),
    "into the water": ("into the water",),
    "in the water": ("in the water",),
    "to the surface": ("to the surface",),
    "behind the screen": ("behind the screen",),
    "on a rod": ("on a rod",),
    "from side to side": ("from side to side",),
}
TOWARDS: Surfaces = {"towards": ("towards",), "away from": ("away from",)}
COMPARISONS: Surfaces = {
    "larger": ("larger than", "bigger than"),
    "smaller": ("smaller than",),
    "same colour": ("the same colour as",),
    "same shape": ("the same shape as",),
    "same size": ("the same size as",),
}
SPEEDS_OF_TWO: Surfaces = {"faster": ("faster than",), "slower": ("slower than",)}
EXTREMES: Surfaces = {
    "largest": ("largest", "biggest"),
    "smallest": ("smallest",),
    "leftmost": ("leftmost",),
    "rightmost": ("rightmost",),
}

COMMANDS: Surfaces = {
    "reach": ("go to", "reach", "touch", "move to"),
    "push": ("push", "move", "bring", "take", "put"),
    "into": ("to", "into", "in", "inside"),
    "sort": ("sort",),
    "stack": ("stack", "pile up"),
    "open": ("open", "pull open", "pull out"),
}

GRAMMAR = (
    *("a", "an", "the", "it", "no", "none", "every", "each", "all", "is", "are", "there", "not", "does", "do", "and"),
    *("or", "then", "first", "after", "before", "that", "by", "of", "made", "at", "start", "end", "starts", "ends"),
    *("between", "what", "which", "where", "how", "many", "way", "happens", "to", "colour", "shape", "size"),
    *("material", "its", "can", "you", "see", "picture", "shows", "yes", "ok", "closed", ".", ",", "?"),
)
"""The words that no table holds."""


def _words() -> tuple[str, ...]:
    tables = (
        COLOURS,
        SIZES,
        MATERIALS,
        SUBSTANCES,
        DIRECTIONS,
        RELATIONS,
        REGIONS,
        WITHIN,
        RECIPROCAL,
        PASSIVE,
        MANNERS,
    )
    more = (PATHS, TOWARDS, COMPARISONS, SPEEDS_OF_TWO, EXTREMES, COMMANDS)
    phrases = [phrase for table in (*tables, *more) for surfaces in table.values() for phrase in surfaces]
    phrases += [
        form for table in (NOUNS, FIXTURES, VERBS) for forms in table.values() for pair in forms for form in pair
    ]
    return tuple(sorted({word for phrase in (*phrases, *NUMBERS, *DIGITS, *GRAMMAR) for word in phrase.split()}))


WORDS = _words()
"""Every word, number and mark that a text can hold, sorted: the vocabulary for a tokenizer."""
