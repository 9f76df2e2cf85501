"""How often a model's answers to each kind of question are right, beside what always giving the commonest reaches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from maquette.core.statistics import Share


@dataclass(frozen=True, kw_only=True)
class Answered(Share):
    """Right answers to one kind of question; the questions about one scene are taken as independent."""

    kind: str
    majority: int
    """How often the kind's commonest right answer was right."""


def by_kind(kinds: Sequence[str], answers: Sequence[str], right: Sequence[bool]) -> list[Answered]:
    """Question by question its kind, its right answer, and whether the model's was right.

    Returns:
        One a kind, by name, and at the end one of all together.
    """
    found = []
    for kind in sorted(set(kinds)):
        mine = [row for row, one in enumerate(kinds) if one == kind]
        ((_, commonest),) = Counter(answers[row] for row in mine).most_common(1)
        found.append(Answered(kind=kind, right=sum(right[row] for row in mine), n=len(mine), majority=commonest))
    majority = sum(one.majority for one in found)
    return [*found, Answered(kind="all", right=sum(right), n=len(right), majority=majority)]
