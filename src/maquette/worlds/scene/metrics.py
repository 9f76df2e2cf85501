"""How good are generated clips? Scores on what the parser read; a rejected clip is an error in every one of them.

Nothing here is learned. What the parser itself gets wrong is measured in docs/scene.md; it bounds what a difference in
these scores can mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from maquette.core.errors import UserError
from maquette.core.statistics import Share
from maquette.worlds.scene import checks
from maquette.worlds.scene.parsing.motion import law_residuals
from maquette.worlds.scene.parsing.reading import DIRECTIONS, Direction, Reading
from maquette.worlds.scene.parsing.relations import Related, relations
from maquette.worlds.scene.state import Clip
from maquette.worlds.scene.vocabulary import (
    COLOURS,
    LAWS,
    MATERIALS,
    SHAPES,
    SIZES,
    Colour,
    Law,
    Material,
    Shape,
    Size,
)

Attribute = Literal["shape", "colour", "size", "material", "direction", "count", "law", "relation"]
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)
OF_THINGS: tuple[Attribute, ...] = ("shape", "colour", "size", "material", "direction")
MOST = 100
"""Things that a clip may be asked to show."""
LEAST_DEVIATION = 0.05
"""Of a number of a state in the reference, below which it is not divided by it."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A thing as asked for; None where nothing was said."""

    shape: Shape | None = None
    colour: Colour | None = None
    size: Size | None = None
    material: Material | None = None
    direction: Direction | None = None

    def __post_init__(self) -> None:
        for name, known in zip(OF_THINGS, (SHAPES, COLOURS, SIZES, MATERIALS, DIRECTIONS), strict=True):
            if getattr(self, name) is not None:
                checks.word(name, getattr(self, name), known)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a clip was to show."""

    things: tuple[Description, ...] = ()
    count: int | None = None
    law: Law | None = None
    relations: frozenset[Related] = frozenset()
    """Between the things, by their numbers in `things`, in the first frame."""

    def __post_init__(self) -> None:
        checks.each("things", self.things, Description)
        if self.count is not None:
            checks.whole("count", self.count, 0, MOST)
        if self.law is not None:
            checks.word("law", self.law, LAWS)
        checks.each("relations", tuple(self.relations), Related)
        for one in self.relations:
            for number in (one.subject, one.object):
                checks.whole("relations: thing", number, 0, len(self.things) - 1)

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
class Accuracy(Share):
    """How much of the `n` things asked for is there, their recall, and how much of what is there was asked for."""

    found: int = 0
    """That are there, in clips of which any was asked for."""

    @property
    def precision(self) -> float:
        """The share of what is there; NaN if nothing is."""
        return self.right / self.found if self.found else float("nan")

    @property
    def f1(self) -> float:
        """The harmonic mean of both, which what is there too much lowers as well; NaN if there is neither."""
        both = self.n + self.found
        return 2 * self.right / both if both else float("nan")


def attribute_accuracy(readings: Sequence[Reading], asked: Sequence[Asked]) -> dict[Attribute, Accuracy]:
    """Of everything asked for, the share that is there, by attribute; `n` counts things, clips or relations asked for.

    The things found are paired with those asked for so that most attributes agree; one that is missing is wrong in each
    of its attributes, and in its relations. What is there beside it lowers `precision` and `f1`, which mean something
    where all that a clip shall show was asked for, as in `Asked.of`.

    Raises:
        UserError: there is not one reading for each clip asked for.
    """
    checks.each("readings", readings, Reading)
    checks.each("asked", asked, Asked)
    if len(readings) != len(asked):
        raise UserError(f"readings = {len(readings)} and asked = {len(asked)} must be as many; give one for each clip.")
    right, n, found = (dict.fromkeys(ATTRIBUTES, 0) for _ in range(3))
    for reading, wish in zip(readings, asked, strict=True):
        for attribute, answers in _answers(reading, wish).items():
            right[attribute] += sum(answers)
            n[attribute] += len(answers)
            found[attribute] += _shown(reading, attribute)
    return {one: Accuracy(right=right[one], n=n[one], found=found[one]) for one in ATTRIBUTES}


def _shown(reading: Reading, attribute: Attribute) -> int:
    """How many there are in a clip."""
    if reading.rejected is not None:
        return 0
    if attribute == "relation":
        return len(relations(reading.position[0])) if len(reading) else 0
    if attribute == "law":
        return int(reading.law is not None)
    return len(reading.things) if attribute in OF_THINGS else 1


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


def _said(wish: Description) -> list[Attribute]:
    """What was asked of a thing."""
    return [name for name in OF_THINGS if getattr(wish, name) is not None]


def _agreement(wish: Description, reading: Reading, thing: int) -> dict[Attribute, bool]:
    """In which of the attributes asked for a thing that was found is as it was to be."""
    found = reading.things[thing]
    return {
        name: getattr(wish, name) == (reading.direction(thing) if name == "direction" else getattr(found, name))
        for name in _said(wish)
    }


def _pairs(agree: list[list[dict[Attribute, bool]]]) -> dict[int, int]:
    """Which thing found each one asked for is taken to be, so that as much as can agrees."""
    if not agree or not agree[0]:
        return {}
    rows, columns = linear_sum_assignment([[-sum(one.values()) for one in row] for row in agree])
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def law_deviation(readings: Sequence[Reading], laws: Sequence[Law]) -> float:
    """The mean residual of each clip from the law that it was to obey, in [0, 1]; 1 for a rejected clip.

    Raises:
        UserError: there is not one law for each reading, or none at all, or a law is unknown.
    """
    if len(readings) != len(laws) or not laws:
        raise UserError(f"readings = {len(readings)} and laws = {len(laws)} must be as many, and one at least.")
    for law in laws:
        checks.word("law", law, LAWS)
    return float(np.mean([law_residuals(reading)[law] for reading, law in zip(readings, laws, strict=True)]))


@dataclass(frozen=True, kw_only=True)
class Frechet:
    """How far the states in one set of clips are from those in another."""

    states: float
    """Between the clips of both sets that could be read."""
    rejected: float
    """What the rejected ones add."""

    @property
    def value(self) -> float:
        """Of the whole set: both together."""
        return self.states + self.rejected


def frechet_distance(readings: Sequence[Reading], reference: Sequence[Reading]) -> Frechet:
    """Fréchet distance between Gaussians fitted to the states of two sets (Heusel et al. 2017, equation 6).

    A state is `state_vector` over the reference's deviations. A rejected clip has no state. It counts as one that is as
    far from the mean as the farthest clip of the reference, in a direction of its own, so it can only add: what is
    garbage neither hides among the others nor makes their spread look right, and a reference in which some are rejected
    excuses none. Small sets come out too far apart: compare sets of one size.

    Raises:
        UserError: fewer than two clips of the reference could be read.
    """
    return frechet_of_states(states_of(readings), states_of(reference))


def states_of(readings: Sequence[Reading]) -> Float[np.ndarray, "clips numbers"]:
    """`state_vector` of each clip; a rejected one has NaN."""
    checks.each("readings", readings, Reading)
    nothing = np.full(len(state_vector(Reading())), np.nan)
    states = [nothing if one.rejected is not None else state_vector(one) for one in readings]
    return np.array(states).reshape(len(states), len(nothing))


def frechet_of_states(
    states: Float[np.ndarray, "clips numbers"], reference: Float[np.ndarray, "others numbers"]
) -> Frechet:
    """The same of what `states_of` gave, which can be kept.

    Raises:
        UserError: fewer than two clips of the reference could be read, or the two have not the same numbers.
    """
    for name, those in (("states", states), ("reference", reference)):
        checks.numbers(name, those, (*np.shape(those)[:1], *(np.shape(reference)[1:2] or (1,))), "states of clips")
    known, found = (those[np.isfinite(those).all(axis=1)] for those in (reference, states))
    if len(known) < 2:
        raise UserError(f"{len(known)} readable clips of the reference are too few; give two at least.")
    mean, scale = known.mean(axis=0), np.maximum(known.std(axis=0), LEAST_DEVIATION)
    known, found = (known - mean) / scale, (found - mean) / scale
    if len(found) < 2:
        return Frechet(states=float("inf"), rejected=float("inf"))
    farthest = float((known**2).sum(axis=1).max())
    rejected = 1 - len(found) / len(
        states
    )  # of a flag that is 1 for these: its mean squared and its variance, p² + p - p²
    return Frechet(states=_between(found, known), rejected=farthest * rejected)


def _between(one: Float[np.ndarray, "n numbers"], other: Float[np.ndarray, "m numbers"]) -> float:
    """|m - m'|² + tr(C + C' - 2 (C C')^½)."""
    c, d = np.cov(one.T), np.cov(other.T)
    values, vectors = np.linalg.eigh(c)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ d @ root), 0)).sum()
    apart = one.mean(axis=0) - other.mean(axis=0)
    return max(float(apart @ apart + np.trace(c) + np.trace(d) - 2 * cross), 0.0)


def state_vector(reading: Reading) -> Float[np.ndarray, " numbers"]:
    """What a clip holds, in numbers: how many things, of what kinds, where they begin and end, and how they move."""
    kinds = [
        sum(getattr(thing, name) == word for thing in reading.things)
        for name, words in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("material", MATERIALS))
        for word in words
    ]
    places, paces = [], []
    for number in range(len(reading.things)):
        seen = reading.position[reading.visible[:, number], number]
        if len(seen):
            ways = np.linalg.norm(np.diff(seen, axis=0), axis=1) * reading.fps
            places.append([*seen[0], *seen[-1]])
            paces.append([ways.mean() if len(ways) else 0.0, ways.max(initial=0.0), ways.std() if len(ways) else 0.0])
    where = np.array(places).reshape(-1, 4)
    moves = np.array(paces).reshape(-1, 3)
    summary = [where.mean(axis=0), where.std(axis=0), moves.max(axis=0)] if len(where) else [np.zeros(11)]
    return np.concatenate([[len(reading.things)], kinds, *summary]).astype(float)
