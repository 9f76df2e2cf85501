"""What things of the scene world are called, and which combinations of words are never trained on."""

import hashlib
from typing import Literal, get_args

Shape = Literal["ball", "box", "triangle", "cross", "star"]
Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Size = Literal["small", "medium", "large"]
Material = Literal["rubber", "wood", "stone"]
View = Literal["side", "top"]
Law = Literal[
    "inertia",
    "parabola",
    "bounce",
    "elastic collision",
    "inelastic collision",
    "friction",
    "rolling",
    "pendulum",
    "buoyancy",
    "occlusion",
]

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
MATERIALS: tuple[Material, ...] = get_args(Material)
LAWS: tuple[Law, ...] = get_args(Law)

RADIUS: dict[Size, float] = {"small": 0.08, "medium": 0.115, "large": 0.16}
"""Of a ball, in widths of the frame; the other shapes have the size of the ball of that radius (`geometry`)."""

RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (214, 40, 48),
    "orange": (245, 140, 30),
    "yellow": (248, 214, 60),
    "green": (56, 158, 76),
    "cyan": (64, 196, 208),
    "blue": (32, 98, 206),
    "purple": (140, 52, 156),
    "pink": (242, 130, 180),
}

HELD_OUT = 1 / 8
"""Share of combinations that are kept for tests of generalisation."""


def is_held_out(*words: str, share: float = HELD_OUT) -> bool:
    """Whether a combination, `("red", "star")` or `("blue", "left of")` say, is kept out of training.

    Decided by a hash of the words in the order given, never by hand, so a new word moves no old combination.
    """
    digest = hashlib.sha256(" × ".join(words).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
