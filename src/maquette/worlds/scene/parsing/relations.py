"""How things stand to one another, from their places alone."""

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

Relation = Literal["left of", "right of", "above", "below"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

CLEAR = 0.06
"""Difference of centres, in widths, from which on a relation holds: two pixels of 32, as captions have it."""


@dataclass(frozen=True, kw_only=True)
class Related:
    """One thing's relation to another, both by their numbers."""

    subject: int
    relation: Relation
    object: int

    @property
    def triple(self) -> tuple[int, Relation, int]:
        """Subject, relation, object."""
        return self.subject, self.relation, self.object


def relations(position: Float[np.ndarray, "things 2"]) -> frozenset[Related]:
    """Every relation that clearly holds; a thing that is hidden (NaN) has none.

    On the table top "above" is away from the viewer, as in the picture.
    """
    found = set[Related]()
    for i, j in itertools.permutations(range(len(position)), 2):
        x, y = position[j] - position[i]
        for relation, way in (("left of", x), ("right of", -x), ("above", -y), ("below", y)):
            if way >= CLEAR:
                found.add(Related(subject=i, relation=relation, object=j))
    return frozenset(found)
