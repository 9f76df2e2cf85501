"""What a reply is worth, by a plain Python function of the user's, and whether that makes it right."""

import math
from collections.abc import Callable, Mapping

from maquette.core.errors import UserError
from maquette.language.posttrain.examples import Row

Reward = Callable[[str, Row], float | Mapping[str, float]]
"""From a reply and the row it answers to its worth, or to the parts that add up to it; `correct` is a part's name."""
DRAW = "draw"
"""What a row also has where it is trained on: a number of the reply's own, for rewards that leave some to chance."""


def worth(reward: Reward, text: str, row: Row) -> dict[str, float]:
    """The parts of a reply's reward.

    Raises:
        UserError: the function failed, or gave no number, or a `correct` between right and wrong.
    """
    try:
        given = reward(text, dict(row))
    except UserError:
        raise
    except Exception as error:
        where = f"the reply {text[:40]!r} to a row of {', '.join(row)}"
        raise UserError(f"The reward function failed on {where}: {type(error).__name__}: {error}") from error
    parts = dict(given) if isinstance(given, Mapping) else {"reward": given}
    if not parts:
        raise UserError(f"The reward function gave no part for {text[:40]!r}; return a number, or one by name.")
    found: dict[str, float] = {}
    for name, value in parts.items():
        try:
            found[name] = math.nan if isinstance(value, str) else float(value)
        except (TypeError, ValueError):
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise UserError(f"The reward function gave {value!r} for {name} of {text[:40]!r}; return finite numbers.")
    if found.get("correct", 0.0) not in (0.0, 1.0):
        raise UserError(f"The reward function gave correct = {found['correct']:g}; it is 1 or 0, right or not.")
    return found


def total(parts: Mapping[str, float]) -> float:
    """The reward that the parts add up to, rounded once: ten tenths are one."""
    return math.fsum(parts.values())


def is_right(parts: Mapping[str, float]) -> bool:
    """Whether a reply is right: by its part `correct`, else by a reward of 1 or more."""
    return bool(parts["correct"]) if "correct" in parts else total(parts) >= 1
