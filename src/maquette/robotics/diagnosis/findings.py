"""What a check found, and the suppositions that it holds against the recorded numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

Fault = Literal["data", "statistics", "action frame", "camera", "delay", "learning"]
Actions = Float[np.ndarray, "frames a"]
LONGEST_DELAY = 5
"""Steps."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question to the data, and its answer."""

    name: str
    said: str
    """What was found, with its numbers; with a fault also the mend."""
    fault: Fault | None = None
    tried: bool = True
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Supposition:
    """A fault that would explain what is seen, and what undoes it."""

    fault: Fault
    said: str
    undo: Callable[[Actions], Actions]
    """From the recorded actions of an episode to the true ones."""


def of_actions(numbers: int) -> tuple[Supposition, ...]:
    """What may have happened to recorded actions of so many numbers."""
    return (
        Supposition(
            fault="action frame",
            said="actions are differences of the true ones (delta for absolute); add them up",
            undo=lambda a: a.cumsum(0),
        ),
        Supposition(
            fault="action frame",
            said="actions are sums of the true ones (absolute for delta); take their differences",
            undo=lambda a: np.diff(a, axis=0, prepend=0 * a[:1]),
        ),
        *(
            Supposition(
                fault="action frame",
                said=f"number {i} of the actions has the wrong sign; turn it round",
                undo=lambda a, i=i: np.where(np.arange(numbers) == i, -a, a),
            )
            for i in range(numbers)
        ),
        *(
            Supposition(
                fault="delay",
                said=f"actions are recorded {_steps(k)} late; move them back by {k}",
                undo=lambda a, k=k: shifted(a, k),
            )
            for k in range(1, LONGEST_DELAY + 1)
        ),
        *(
            Supposition(
                fault="delay",
                said=f"actions are recorded {_steps(k)} early; move them on by {k}",
                undo=lambda a, k=k: shifted(a, -k),
            )
            for k in range(1, LONGEST_DELAY + 1)
        ),
    )


OF_PICTURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "pictures are mirrored left to right; mirror them": lambda x: x[:, :, ::-1],
    "pictures are upside down; mirror them from top to bottom": lambda x: x[:, ::-1],
    "pictures are turned by half a turn; turn them": lambda x: x[:, ::-1, ::-1],
    "pictures have red and blue exchanged; exchange them": lambda x: x[..., ::-1],
}
"""What may have happened to pictures (frames, height, width, 3), and what undoes it."""


def shifted(a: Actions, k: int) -> Actions:
    """Each frame's action is the one k frames later; beyond the ends the last and the first are held."""
    return a[np.clip(np.arange(len(a)) + k, 0, len(a) - 1)]


def _steps(k: int) -> str:
    return f"{k} step{'s' if k > 1 else ''}"
