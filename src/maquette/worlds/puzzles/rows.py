"""Puzzles as lines of JSON: what a row must hold for `grading` to judge replies to it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from maquette.core.errors import UserError
from maquette.worlds.puzzles import grading
from maquette.worlds.puzzles.expressions import LONGEST

_INTEGER = re.compile(rf"-?[0-9]{{1,{LONGEST - 1}}}")
"""As long as a reply may be."""


def check_rows(rows: Sequence[Mapping[str, Any]], source: object) -> None:
    """Refuse rows that are no puzzles before a model is asked them.

    Raises:
        UserError: one lacks its kind, or what replies of that kind are held against; the row is named, from 1.
    """
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("kind", ""), str):
            raise UserError(f"{source}, row {number}: its kind is {row['kind']!r}, not a name.")
        try:
            lacking = _lacking(row)
            grading.graded("", row)  # names kinds that there are none of
        except UserError as error:
            raise UserError(f"{source}, row {number}: {error}") from error
        if lacking:
            raise UserError(f"{source}, row {number} is no puzzle of kind {row['kind']!r}: {lacking}.")


def _lacking(row: Mapping[str, Any]) -> str:
    answer, numbers, target = (row.get(name) for name in ("answer", "numbers", "target"))
    match row.get("kind"):
        case "integer" if not _INTEGER.fullmatch(str(answer)):
            return f"its answer is {str(answer)[:60]!r}, not a whole number of at most {LONGEST - 1} digits"
        case "expression" if not (isinstance(numbers, list) and numbers and all(map(_is_integer, numbers))):
            return f"its numbers are {numbers!r}, not a list of whole numbers"
        case "expression" if not _is_integer(target):
            return f"its target is {target!r}, not a whole number"
        case "name" if not (isinstance(answer, str) and answer.strip()):
            return f"its answer is {answer!r}, not a name"
    return ""


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
