"""How good are generated clips? Scores on what the parser read; a rejected clip is an error in every one of them.

Nothing here is learned. What the parser itself gets wrong is measured in docs/scene.md; it bounds what a difference in
these scores can mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from maquette.core.errors import UserError
from maquette.core.statistics import Interval, wilson_interval
from maquette.worlds.scene.parsing.reading import Direction, Reading
from maquette.worlds.scene.parsing.relations import Related, relations
from maquette.worlds.scene.state import Clip
from maquette.worlds.scene.vocabulary import COLOURS, LAWS, MATERIALS, SHAPES, SIZES, Colour, Law, Material, Shape, Size

Attribute = Literal["shape", "colour", "size", "material", "direction", "count", "law", "relation"]
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)


@dataclass(frozen=True, kw_only=True)
class Description:
    """A thing as asked for; None where nothing was said."""

    shape: Shape | None = None
    colour: Colour | None = None
    size: Size | None = None
    material: Material | None = None
    direction: Direction | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a clip was to show."""

    things: tuple[Description, ...] = ()
    count: int | None = None
    law: Law | None = None
    relations: frozenset[Related] = frozenset()
    """Between the things, by their numbers in `things`, in the first frame."""

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """Everything that can be said of a clip whose state is known."""
        truth = Reading.of(clip)
        return cls(
            things=tuple(
                Description(
                    shape=thing.shape,
                    colour=thing.colour,
                    size=thing.size,
                    material=thing.material,
                    direction=truth.direction(number),
                )
                for number, thing in enumerate(clip.things)
            ),
            count=len(clip.things),
            law=clip.law,
            relations=relations(truth.position[0]),
        )


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How much of what was asked for is there."""

    right: int
    n: int

    @property
    def value(self) -> float:
        """The share, NaN if nothing was asked."""
        return self.right / self.n if self.n else float("nan")

    @property
    def interval(self) -> Interval:
        """Wilson's, at 95 %, as though each were drawn on its own."""
        return wilson_interval(self.right, self.n)


def attribute_accuracy(readings: Sequence[Reading], asked: Sequence[Asked]) -> dict[Attribute, Accuracy]:
    """Of everything asked for, the share that is there, by attribute; `n` counts things, clips or relations asked for.

    The things found are paired with those asked for so that most attributes agree; one that is missing is wrong in each
    of its attributes, and in its relations.

    Raises:
        UserError: there is not one reading for each clip asked for.
    """
    if len(readings) != len(asked):
        raise UserError(f"readings = {len(readings)} and asked = {len(asked)} must be as many; give one for each clip.")
    right, n = dict.fromkeys(ATTRIBUTES, 0), dict.fromkeys(ATTRIBUTES, 0)
    for reading, wish in zip(readings, asked, strict=True):
        for attribute, answers in _answers(reading, wish).items():
            right[attribute] += sum(answers)
            n[attribute] += len(answers)
    return {attribute: Accuracy(right=right[attribute], n=n[attribute]) for attribute in ATTRIBUTES}


def _answers(reading: Reading, asked: Asked) -> dict[Attribute, list[bool]]:
    """For each attribute that was asked for, whether it is there."""
    fine = reading.rejected is None
    agree = [[_agreement(wish, reading, i) for i in range(len(reading.things))] for wish in asked.things]
    partner = _pairs(agree)
    answers: dict[Attribute, list[bool]] = {}
    for number, wish in enumerate(asked.things):
        for attribute in _said(wish):
            found = number in partner and agree[number][partner[number]][attribute]
            answers.setdefault(attribute, []).append(fine and found)
    if asked.count is not None:
        answers["count"] = [fine and len(reading.things) == asked.count]
    if asked.law is not None:
        answers["law"] = [fine and reading.law == asked.law]
    if asked.relations:
        seen = relations(reading.position[0]) if fine and len(reading) else frozenset()
        answers["relation"] = [
            fine and (partner.get(one.subject), one.relation, partner.get(one.object)) in {r.triple for r in seen}
            for one in asked.relations
        ]
    return answers
