"""Arithmetic read by a grammar, exactly: no `eval`, no floating point, no number that the writer did not write.

expression = term   { ("+" | "-") term }
term       = factor { ("*" | "/") factor }
factor     = number | "(" expression ")"
number     = digit { digit }          ASCII, at most 12 digits, no leading zero
"""

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 400
"""Characters of an expression."""
DIGITS = 12
DEEPEST = 40
"""Brackets within brackets."""
_TOKEN = re.compile(r"[ \t]*([0-9]+|[-+*/()])[ \t]*")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")


class Malformed(ValueError):
    """A text that the grammar does not have; it says why."""


@dataclass(frozen=True, kw_only=True)
class Expression:
    """What an expression is worth, the numbers it is made of, in order, and how it is reckoned."""

    value: Fraction
    numbers: tuple[int, ...]
    steps: tuple[str, ...]
    """What each sign does, in the order of reckoning: 4+8=12."""


def read_expression(text: str) -> Expression:
    """The text as an expression, all of it.

    Raises:
        Malformed: it is none, or divides by zero.
    """
    if len(text) > LONGEST:
        raise Malformed(f"it has more than {LONGEST} characters")
    reader = _Reader(_tokens(text))
    value = reader.expression()
    if reader.rest:
        raise Malformed(f"{reader.rest[-1]!r} stands where the expression should end")
    return Expression(value=value, numbers=tuple(reader.numbers), steps=tuple(reader.steps))


def read_integer(text: str) -> int:
    """The text as an integer in ASCII digits, without leading zeros, spaces or a plus.

    Raises:
        Malformed: it is none.
    """
    if len(text) > LONGEST:
        raise Malformed(f"it has more than {LONGEST} characters")
    if not _INTEGER.fullmatch(text) or text == "-0":
        raise Malformed("it is no integer")
    return int(text)


def _tokens(text: str) -> list[str]:
    found, place = [], 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise Malformed(f"{text[place]!r} is no part of an expression")
        found.append(token[1])
        place = token.end()
    return found


class _Reader:
    """Recursive descent over tokens that are taken from the end of `rest`."""

    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens[::-1]
        self.numbers: list[int] = []
        self.steps: list[str] = []
        self.depth = 0

    def expression(self) -> Fraction:
        value = self.term()
        while self.next in ("+", "-"):
            value = self.join(value, self.rest.pop(), self.term())
        return value

    def term(self) -> Fraction:
        value = self.factor()
        while self.next in ("*", "/"):
            value = self.join(value, self.rest.pop(), self.factor())
        return value

    def join(self, a: Fraction, sign: str, b: Fraction) -> Fraction:
        if sign == "/" and not b:
            raise Malformed("it divides by zero")
        value = a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a / b
        self.steps.append(f"{a}{sign}{b}={value}")
        return value

    def factor(self) -> Fraction:
        if not self.rest:
            raise Malformed("it ends where a number should stand")
        token = self.rest.pop()
        if token == "(":
            self.depth += 1
            if self.depth > DEEPEST:
                raise Malformed(f"it has more than {DEEPEST} brackets within brackets")
            value = self.expression()
            if self.next != ")":
                raise Malformed("a bracket is not closed")
            self.rest.pop()
            self.depth -= 1
            return value
        if not token[0].isdigit():
            raise Malformed(f"{token!r} stands where a number should")
        if len(token) > DIGITS or (len(token) > 1 and token[0] == "0"):
            raise Malformed(f"{token[:16]!r} is no number of at most {DIGITS} digits")
        self.numbers.append(int(token))
        return Fraction(self.numbers[-1])

    @property
    def next(self) -> str:
        return self.rest[-1] if self.rest else ""
