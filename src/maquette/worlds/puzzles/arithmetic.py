"""Sums, products and nested modular arithmetic."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maquette.worlds.puzzles.puzzle import Puzzle, Style, between

Tree = int | tuple[str, "Tree", "Tree"]
"""A number, or a sign between two trees."""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """The sum of two numbers of `digits` digits."""

    name: ClassVar[str] = "addition"
    digits: int = 3
    style: Style = "terse"

    def __post_init__(self) -> None:
        between("digits", self.digits, 1, 100)

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """The working adds digit by digit from the right, with the carry (Lee et al. 2023, arXiv:2307.03381)."""
        a, b = _number(generator, self.digits), _number(generator, self.digits)
        steps, carry = [], 0
        for one, other in zip(reversed(str(a)), reversed(str(b)), strict=True):
            total = int(one) + int(other) + carry
            steps.append(f"{one}+{other}{'+1' * carry}={total}")
            carry = total // 10
        return Puzzle(
            family=self.name,
            kind="integer",
            prompt=f"{a}+{b}=" if self.style == "terse" else f"What is {a} + {b}?",
            answer=str(a + b),
            working=" ".join(steps),
            key=f"{min(a, b)}+{max(a, b)}",
        )


@dataclass(frozen=True, kw_only=True)
class Multiplication:
    """The product of two numbers of `digits` digits."""

    name: ClassVar[str] = "multiplication"
    digits: int = 2
    style: Style = "terse"

    def __post_init__(self) -> None:
        between("digits", self.digits, 1, 50)

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """The working adds up the products with each digit of the second number."""
        a, b = _number(generator, self.digits), _number(generator, self.digits)
        steps, total = [], 0
        for place, digit in enumerate(reversed(str(b))):
            part = int(digit) * 10**place
            steps.append(f"{a}*{part}={a * part}")
            if place:
                steps.append(f"{total}+{a * part}={total + a * part}")
            total += a * part
        return Puzzle(
            family=self.name,
            kind="integer",
            prompt=f"{a}*{b}=" if self.style == "terse" else f"What is {a} × {b}?",
            answer=str(a * b),
            working=" ".join(steps),
            key=f"{min(a, b)}*{max(a, b)}",
        )


@dataclass(frozen=True, kw_only=True)
class Modular:
    """Sums, differences and products in brackets, `operations` of them, modulo a number."""

    name: ClassVar[str] = "modular"
    operations: int = 3
    modulus: int = 10
    style: Style = "terse"

    def __post_init__(self) -> None:
        between("operations", self.operations, 1, 100)
        between("modulus", self.modulus, 2, 1000)

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """The working takes every operation's result modulo the number at once, innermost first."""
        tree = self._tree(generator, self.operations)
        steps: list[str] = []
        answer = self._worth(tree, steps)
        asked = f"{_written(tree)} mod {self.modulus}"
        return Puzzle(
            family=self.name,
            kind="integer",
            prompt=f"{asked}=" if self.style == "terse" else f"What is {asked}?",
            answer=str(answer),
            working=" ".join(steps),
            key=f"{_canonical(tree)} mod {self.modulus}",
        )

    def _tree(self, generator: np.random.Generator, operations: int) -> Tree:
        if not operations:
            return int(generator.integers(self.modulus))
        left = int(generator.integers(operations))
        sign = "+-*"[generator.integers(3)]
        return sign, self._tree(generator, left), self._tree(generator, operations - 1 - left)

    def _worth(self, tree: Tree, steps: list[str]) -> int:
        if isinstance(tree, int):
            return tree
        sign, *sides = tree
        a, b = (self._worth(side, steps) for side in sides)
        value = reckon(sign, a, b) % self.modulus
        steps.append(f"{a}{sign}{b}={value}")
        return value


def reckon(sign: str, a: int, b: int) -> int:
    """The sum, difference or product of two numbers."""
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def _written(tree: Tree) -> str:
    if isinstance(tree, int):
        return str(tree)
    sign, a, b = tree
    return f"({_written(a)}{sign}{_written(b)})"


def _canonical(tree: Tree) -> str:
    """The same for trees that differ by the order or the grouping of their sums and products."""
    if isinstance(tree, int):
        return str(tree)
    sign, a, b = tree
    if sign == "-":
        return f"({_canonical(a)}-{_canonical(b)})"
    return f"({sign.join(sorted(map(_canonical, _operands(tree, sign))))})"


def _operands(tree: Tree, sign: str) -> list[Tree]:
    """What a chain of the same sign joins."""
    if isinstance(tree, int) or tree[0] != sign:
        return [tree]
    return [*_operands(tree[1], sign), *_operands(tree[2], sign)]


def _number(generator: np.random.Generator, digits: int) -> int:
    """Of so many digits, the first not zero unless it is the only one; of any size, which NumPy's integers are not."""
    first = generator.integers(0 if digits == 1 else 1, 10)
    return int("".join(map(str, (first, *generator.integers(10, size=digits - 1)))))
