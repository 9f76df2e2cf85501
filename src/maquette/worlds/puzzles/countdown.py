"""Countdown and the Game of 24: make a target from numbers, each used exactly once, with + - * / and brackets."""

import functools
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, combinations_with_replacement
from typing import ClassVar

import numpy as np

from maquette.worlds.puzzles.expressions import read_expression
from maquette.worlds.puzzles.puzzle import Puzzle, Style, between

Numbers = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Countdown:
    """Countdown with 3 to 6 numbers of 1 to `largest`, and a target of 1 to `highest`; every one has a solution."""

    name: ClassVar[str] = "countdown"
    numbers: int = 3
    largest: int = 20
    highest: int = 100
    style: Style = "terse"

    def __post_init__(self) -> None:
        between("numbers", self.numbers, 2, 6)
        between("largest", self.largest, 1, 1000)
        between("highest", self.highest, 1, 10_000)

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """Numbers joined at random, in whole steps without negative ones, until the end is a target in range."""
        while True:
            numbers = [int(one) for one in generator.integers(1, self.largest + 1, size=self.numbers)]
            left = [(one, str(one)) for one in numbers]
            while len(left) > 1:
                i, j = generator.permutation(len(left))[:2]
                others = [one for k, one in enumerate(left) if k not in (i, j)]
                left = [*others, _joined(left[i], left[j], generator)]
            ((target, solution),) = left
            if 1 <= target <= self.highest:
                return puzzle_of(self.name, numbers, target, solution, self.style)


@dataclass(frozen=True, kw_only=True)
class GameOf24:
    """The Game of 24: four cards of 1 to 13, one of the 1,362 hands that can make 24."""

    name: ClassVar[str] = "game24"
    style: Style = "terse"

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """A hand, its cards in any order."""
        hands = solvable_hands()
        hand = hands[int(generator.integers(len(hands)))]
        solution = solve(hand, 24)
        assert solution is not None
        numbers = [int(one) for one in generator.permutation(hand)]
        return puzzle_of(self.name, numbers, 24, solution, self.style)


def puzzle_of(family: str, numbers: list[int], target: int, solution: str, style: Style) -> Puzzle:
    """The puzzle of these numbers and this target; the solution loses the brackets around all of it."""
    listed = " ".join(map(str, numbers))
    words = (
        f"Use each of the numbers {listed} exactly once, with + - * / and brackets, to make {target}. "
        "Answer with the expression alone."
    )
    return Puzzle(
        family=family,
        kind="expression",
        prompt=f"{listed}:{target}=" if style == "terse" else words,
        answer=solution[1:-1] if solution.startswith("(") else solution,
        working=" ".join(read_expression(solution).steps),
        key=f"{' '.join(map(str, sorted(numbers)))}:{target}",
        given={"numbers": sorted(numbers), "target": target},
    )


def _joined(one: tuple[int, str], other: tuple[int, str], generator: np.random.Generator) -> tuple[int, str]:
    """Two numbers joined by a sign that gives a whole number, not a negative one."""
    (a, first), (b, second) = (one, other) if one[0] >= other[0] else (other, one)
    values = {"+": a + b, "-": a - b, "*": a * b}
    if b and a % b == 0:
        values["/"] = a // b
    sign = list(values)[int(generator.integers(len(values)))]
    return values[sign], f"({first}{sign}{second})"


@functools.lru_cache(maxsize=4096)
def reachable(numbers: Numbers) -> dict[Fraction, str]:
    """Every value that these numbers, sorted, can make, each with one expression for it; all of them are used."""
    if len(numbers) == 1:
        return {Fraction(numbers[0]): str(numbers[0])}
    found: dict[Fraction, str] = {}
    for part, rest in _cuts(numbers):
        for a, first in reachable(part).items():
            for b, second in reachable(rest).items():
                found.setdefault(a + b, f"({first}+{second})")
                found.setdefault(a * b, f"({first}*{second})")
                found.setdefault(a - b, f"({first}-{second})")
                found.setdefault(b - a, f"({second}-{first})")
                if b:
                    found.setdefault(a / b, f"({first}/{second})")
                if a:
                    found.setdefault(b / a, f"({second}/{first})")
    return found


def solve(numbers: Numbers, target: int) -> str | None:
    """An expression that makes the target, or None: all values of one part, and for each the value the rest needs."""
    goal = Fraction(target)
    numbers = tuple(sorted(numbers))
    if len(numbers) == 1:
        return reachable(numbers).get(goal)
    for part, rest in _cuts(numbers):
        others = reachable(rest)
        for a, first in reachable(part).items():
            needs = [(goal - a, "+", False), (a - goal, "-", False), (goal + a, "-", True), (goal * a, "/", True)]
            needs += [(goal / a, "*", False)] if a else []
            needs += [(a / goal, "/", False)] if goal and a else []
            for b, sign, swapped in needs:
                if b in others and not (sign == "/" and not (a if swapped else b)):
                    second = others[b]
                    return f"({second}{sign}{first})" if swapped else f"({first}{sign}{second})"
    return None


@functools.cache
def solvable_hands() -> tuple[Numbers, ...]:
    """The hands of four cards, 1 to 13, that can make 24, in order: 1,362 of 1,820."""
    hands = combinations_with_replacement(range(1, 14), 4)
    return tuple(hand for hand in hands if solve(hand, 24) is not None)


def _cuts(numbers: Numbers) -> list[tuple[Numbers, Numbers]]:
    """Every way to cut a hand in two parts that are not empty, each once; the larger part is second."""
    found = {}
    for size in range(1, len(numbers) // 2 + 1):
        for places in combinations(range(len(numbers)), size):
            part = tuple(numbers[i] for i in places)
            rest = tuple(one for i, one in enumerate(numbers) if i not in places)
            if (rest, part) not in found:
                found[part, rest] = None
    return list(found)
