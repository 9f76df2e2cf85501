"""What a sentence means, before anybody asks whether it is true."""

from dataclasses import dataclass, field
from typing import Literal

When = Literal["start", "end"]
Link = Literal["and", "then"]


@dataclass(frozen=True, kw_only=True)
class Noun:
    """A noun phrase: "the large red ball on the left"."""

    head: str
    """A shape, "thing", a fixture or "it"."""
    determiner: str | int
    """"the", "a", "every", "it", "which" (a question's unknown) or an exact count."""
    text: str
    """As it was read."""
    colour: str | None = None
    size: str | None = None
    material: str | None = None
    extreme: str | None = None
    places: tuple["Place", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A region of the picture, or a relation to other things."""

    relation: str
    """A relation, "between", "in", "behind", or "region"."""
    region: str = ""
    nouns: tuple[Noun, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Has:
    """ "is large and red", "is made of wood", "is a ball", "is open"."""

    properties: tuple[tuple[str, str], ...]
    """Names (colour, size, material, shape, opening) and values."""


@dataclass(frozen=True, kw_only=True)
class At:
    """ "is left of the box", "ends on the right"."""

    place: Place
    when: When = "start"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """ "is larger than the box", "moves faster than the ball"."""

    how: str
    noun: Noun


@dataclass(frozen=True, kw_only=True)
class Does:
    """ "rolls quickly to the right along the ground"."""

    verb: str
    noun: Noun | None = None
    """The object."""
    passive: bool = False
    direction: str | None = None
    manner: str | None = None
    paths: tuple[str, ...] = ()
    goals: tuple[tuple[str, Noun], ...] = ()
    """ "to", "towards" or "away from", and what."""


@dataclass(frozen=True, kw_only=True)
class Not:
    """A predicate denied."""

    predicate: "Predicate"


Predicate = Has | At | Compared | Does | Not


@dataclass(frozen=True, kw_only=True)
class Clause:
    """Subjects, each of which does all that is said."""

    subjects: tuple[Noun, ...]
    predicates: tuple[Predicate, ...]
    links: tuple[Link, ...] = ()
    """Between one predicate and the next."""


@dataclass(frozen=True, kw_only=True)
class Exists:
    """ "there is a red ball and two boxes"."""

    nouns: tuple[Noun, ...]


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """One clause's event before another's."""

    first: Clause
    second: Clause


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A sentence that is true or false."""

    said: Clause | Exists | Ordered
    later: bool = False
    """Said to happen after what the sentence before tells."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A sentence that wants an answer."""

    kind: str
    """yes/no, colour, shape, size, material, count, where, which, way or happens."""
    noun: Noun | None = None
    """What it is about; of "which" and "count" the unknown."""
    predicate: Predicate | None = None
    said: Clause | Exists | None = None
    when: When = "start"
    choices: tuple[Noun, ...] = ()
    """Of "which is larger, this or that", with the comparison that it asks for."""
    how: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """An order: reach, push (to a zone), sort, stack (in a zone) or open."""

    verb: str
    nouns: tuple[Noun, ...] = ()
    zone: Noun | None = None
    without_exception: bool = False
    """Whether it is said of all things or of every one."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """Orders, one after the other."""

    commands: tuple[Command, ...]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A piece of a sentence that answers a question: "yes", "red", "on the left", "two", "the red ball"."""

    word: str = ""
    """yes, no, ok, a property, a direction or a number."""
    place: Place | None = None
    noun: Noun | None = None
    said: tuple[Statement, ...] = field(default=())
