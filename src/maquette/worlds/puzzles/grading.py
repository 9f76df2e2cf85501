"""Whether a reply is right: exact, by grammar, and not to be talked round.

A reply is an answer, or a thought and then an answer: `<think>…</think>answer`. Only the answer is graded, and all of
it: a right number among other words is wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from maquette.core.errors import UserError, did_you_mean
from maquette.worlds.puzzles.expressions import LONGEST, Malformed, read_expression, read_integer
from maquette.worlds.puzzles.puzzle import Puzzle

THINK, ANSWER = "<think>", "</think>"


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Whether a reply is right, whether it at least has the form of an answer, and what is wrong with it."""

    correct: bool
    formatted: bool
    why: str = ""


def grade(puzzle: Puzzle, reply: str) -> Grade:
    """See `graded`."""
    return graded(reply, puzzle.row())


def graded(reply: str, row: Mapping[str, Any]) -> Grade:
    """The grade of a reply to a puzzle, given as its `Puzzle.row`.

    Raises:
        UserError: the row is no puzzle.
    """
    check = CHECKERS.get(row.get("kind", ""))
    if check is None:
        if "kind" not in row:
            raise UserError(f"A puzzle's row names its kind and its answer; this one has {', '.join(row)}.")
        raise UserError(f"kind = {row['kind']!r} of a puzzle: {did_you_mean(str(row['kind']), CHECKERS)}")
    try:
        answer = answer_in(reply)
        wrong = check(answer, row)
    except Malformed as error:
        return Grade(correct=False, formatted=False, why=str(error))
    return Grade(correct=not wrong, formatted=True, why=wrong)


def is_sound(puzzle: Puzzle, reply: str) -> bool:
    """Whether a reply is right, and its thought has the steps of the puzzle's working, all of them and no other.

    A right answer may be found by luck, or by two mistakes; CoT-pass@k counts replies so (Wen et al. 2025,
    arXiv:2506.14245).
    """
    thought = reply.partition(ANSWER)[0].strip(" \n").removeprefix(THINK)
    return grade(puzzle, reply).correct and {*thought.split()} == {*puzzle.working.split()}


def answer_in(reply: str) -> str:
    """What stands behind the thought, or the whole reply where there is none; spaces and line ends around it go.

    Raises:
        Malformed: a thought that does not end, that begins late, or more than one.
    """
    opened, closed = reply.count(THINK), reply.count(ANSWER)
    if opened or closed:
        if (opened, closed) != (1, 1) or not reply.lstrip(" \n").startswith(THINK):
            raise Malformed(f"it is not one {THINK}…{ANSWER} with an answer behind it")
        reply = reply[reply.index(ANSWER) + len(ANSWER) :]
    answer = reply.strip(" \n")
    if not answer:
        raise Malformed("there is no answer")
    return answer


def reward(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 for a right answer, and a tenth for one that has the form of an answer: TinyZero's reward (Pan et al. 2025)."""
    found = graded(reply, row)
    return {"correct": float(found.correct), "format": 0.1 * (found.formatted and not found.correct)}


def _check_integer(answer: str, row: Mapping[str, Any]) -> str:
    value = read_integer(answer)
    return "" if value == int(row["answer"]) else f"it is {row['answer']}"


def _check_expression(answer: str, row: Mapping[str, Any]) -> str:
    """Every number once, worth the target; "= 24" may stand behind it, if that is true."""
    text, *claimed = answer.split("=")
    if len(claimed) > 1:
        raise Malformed("it has more than one =")
    found = read_expression(text)
    claims = [read_integer(one.strip(" ")) for one in claimed]
    if sorted(found.numbers) != sorted(row["numbers"]):
        return f"it uses {_listed(found.numbers)}, and {_listed(row['numbers'])} were given"
    if found.value != row["target"]:
        return f"it is worth {found.value}, not {row['target']}"
    if claims and claims[0] != row["target"]:
        return f"it says {claims[0]}, and the target is {row['target']}"
    return ""


def _check_name(answer: str, row: Mapping[str, Any]) -> str:
    if len(answer) > LONGEST or any(sign.isspace() for sign in answer):
        raise Malformed("it is more than one word")
    return "" if answer == row["answer"] else f"it is {row['answer']}"


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, sorted(numbers)))


CHECKERS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "integer": _check_integer,
    "expression": _check_expression,
    "name": _check_name,
}
"""By kind: what is wrong with an answer, or nothing; `Malformed` where it is no answer at all."""
