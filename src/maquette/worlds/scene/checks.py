"""What a value must be, or one clear sentence: shared by all in the scene world that takes numbers and words."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from maquette.core.errors import UserError, did_you_mean


def whole(field: str, value: Any, low: int, high: int, why: str = "") -> None:
    """Refuse what is no whole number from `low` to `high`.

    Args:
        field: what the value is called where it is given.
        value: what was given.
        low: the least it may be.
        high: the most it may be.
        why: a clause that is said too, `": a fifth finds no room"`.

    Raises:
        UserError: it is something else.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise UserError(f"{field} = {value!r} must be a whole number from {low:,} to {high:,}{why}.")


def number(field: str, value: Any, low: float, high: float = math.inf) -> None:
    """Refuse what is no finite number from `low` to `high`.

    Raises:
        UserError: it is something else.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= float(value) <= min(high, 1e300):
        to = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise UserError(f"{field} = {value!r} must be a number {to}.")


def word(field: str, value: Any, known: Iterable[str]) -> None:
    """Refuse what is none of some words.

    Raises:
        UserError: it is none.
    """
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{field} = {value!r} is none of this world; {did_you_mean(str(value), known)}")


def kind(field: str, value: Any, *kinds: type) -> None:
    """Refuse what is not of one of some types.

    Raises:
        UserError: it is of another.
    """
    if not isinstance(value, kinds):
        raise UserError(f"{field} = {value!r:.60} must be a {' or a '.join(one.__name__ for one in kinds)}.")
