"""What a value must be, or one clear sentence: shared by all in the scene world that takes numbers and words."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from types import NoneType
from typing import Any

import numpy as np

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
        names = ("None" if one is NoneType else f"a {one.__name__}" for one in kinds)
        raise UserError(f"{field} = {value!r:.60} must be {' or '.join(names)}.")


def each(field: str, values: Any, *kinds: type) -> None:
    """Refuse what is no tuple or list of things of some types.

    Raises:
        UserError: it is none, or holds another.
    """
    if not isinstance(values, tuple | list):
        raise UserError(f"{field} = {values!r:.60} must be a tuple of {' or '.join(one.__name__ for one in kinds)}.")
    for value in values:
        kind(field, value, *kinds)


def place(field: str, value: Any) -> None:
    """Refuse what is no point of the frame or near it.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise UserError(f"{field} = {value!r:.60} must be a place, (x, y).")
    for one in value:
        number(field, one, -10, 10)


def numbers(field: str, value: Any, shape: tuple[int, ...], why: str = "", of: str = "fiu") -> None:
    """Refuse what is no array of numbers of a shape; they may be NaN.

    Args:
        field: what the array is called where it is given.
        value: what was given.
        shape: what it must have.
        why: who needs that shape, `"2 things"`.
        of: kinds of numpy's numbers that it may hold.

    Raises:
        UserError: it is something else.
    """
    try:
        found = np.asarray(value)
    except ValueError as error:  # rows of several lengths
        raise UserError(f"{field} has rows of several lengths; {why} need {shape}.") from error
    if found.shape != shape:
        raise UserError(f"{field} has the shape {found.shape}; {why} need {shape}.")
    if found.dtype.kind not in of:
        names = "numbers; give floats" if "f" in of else "whole numbers; give them"
        raise UserError(f"{field} holds {found.dtype.name}, not {names}.")
