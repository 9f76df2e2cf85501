"""What a puzzle is, how a family draws them, and which split each belongs to."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator

Split = Literal["train", "validation", "test"]
Style = Literal["terse", "words"]
"""Signs, for models that read nothing else, or an English sentence."""
Kind = Literal["integer", "expression", "name"]
"""What an answer is; `grading` has a checker for each."""
HELD_OUT = 0.1
"""Share of all puzzles in each of validation and test."""
PATIENCE = 2000
"""Draws without a new puzzle after which a family is held to have no more."""


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """A question, what is known of its answer, and one way to it."""

    family: str
    kind: Kind
    prompt: str
    answer: str
    """One right answer; an `expression` may be another that meets what was `given`."""
    working: str
    """Steps that lead to it."""
    key: str
    """Canonical form: two puzzles that ask the same have the same, 3 + 5 and 5 + 3 say."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the checker needs beside the answer, as JSON has it."""

    def row(self) -> dict[str, Any]:
        """The puzzle as a line of JSON, which `grading.graded` reads too."""
        shown = {"prompt": self.prompt, "answer": self.answer, "kind": self.kind}
        return {"family": self.family, "key": self.key, **shown, **self.given}

    def worked(self) -> str:
        """A reply that thinks first."""
        return f"<think>{self.working}</think>{self.answer}"


@runtime_checkable
class Family(Protocol):
    """A kind of puzzle at one difficulty."""

    name: ClassVar[str]
    """What its puzzles are called, whatever their difficulty."""

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """One puzzle."""


def split_of(family: str, key: str) -> Split:
    """The split that a puzzle belongs to, by the hash of what it asks: in every run, at every difficulty, the same."""
    share = int.from_bytes(hashlib.sha256(f"{family}/{key}".encode()).digest()[:8], "big") / 2**64
    return "test" if share < HELD_OUT else "validation" if share < 2 * HELD_OUT else "train"


def puzzles(
    family: Family,
    split: Split,
    count: int,
    seed: int = 0,
    *,
    accept: Callable[[Puzzle], bool] = lambda puzzle: True,
) -> list[Puzzle]:
    """So many puzzles of a split, no two the same; the first of them do not depend on how many are asked for.

    Raises:
        UserError: the family does not have so many.
    """
    if count < 1:
        raise UserError(f"count = {count}: give 1 puzzle or more.")
    generator = numpy_generator(seed, "puzzles", family.name, split)
    found: dict[str, Puzzle] = {}
    vain = 0
    while len(found) < count:
        puzzle = family.draw(generator)
        if puzzle.key in found or split_of(family.name, puzzle.key) != split or not accept(puzzle):
            vain += 1
            if vain > PATIENCE:
                raise UserError(
                    f"{family} has hardly more than {len(found)} puzzles in {split}, and {count} were asked for; "
                    "ask for fewer, or make them harder."
                )
            continue
        found[puzzle.key] = puzzle
        vain = 0
    return list(found.values())


def between(name: str, value: int, low: int, high: int) -> None:
    """Refuse a knob that is out of range.

    Raises:
        UserError: it is.
    """
    if not low <= value <= high:
        raise UserError(f"{name} = {value}: give {low} to {high}.")
