"""How often a model's answers to each kind of question are right, beside what always giving the commonest reaches."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maquette.core.statistics import Share


@dataclass(frozen=True, kw_only=True)
class Answered(Share):
    """Right answers to one kind of question; the questions about one scene are taken as independent."""

    kind: str
    majority: int
    """How often the answer that is right most often was."""


def by_kind(
    kinds: Sequence[str], answers: Sequence[str], right: Sequence[bool], always: Mapping[str, int] | None = None
) -> list[Answered]:
    """Question by question its kind, its right answer, and whether the model's was right.

    `always` says how often one and the same answer is right to questions of a kind that have several right ones each.

    Returns:
        One a kind, by name, and at the end one of all together.
    """
    found = []
    for kind in sorted(set(kinds)):
        mine = [row for row, one in enumerate(kinds) if one == kind]
        ((_, commonest),) = Counter(answers[row] for row in mine).most_common(1)
        majority = (always or {}).get(kind, commonest)
        found.append(Answered(kind=kind, right=sum(right[row] for row in mine), n=len(mine), majority=majority))
    majority = sum(one.majority for one in found)
    return [*found, Answered(kind="all", right=sum(right), n=len(right), majority=majority)]
