"""From sentences to their meaning: statements, questions and replies; the upper half of the grammar."""

import functools
from dataclasses import replace

from maquette.core.errors import UserError
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.meaning import (
    At,
    Clause,
    Compared,
    Does,
    Exists,
    Has,
    Link,
    Not,
    Noun,
    Ordered,
    Predicate,
    Question,
    Reply,
    Statement,
    When,
)
from maquette.worlds.scene.words.interpreter.reading import (
    COUNTS,
    SUBSTANCES,
    Reader,
    bare_noun,
    noun,
    nouns,
    place,
    properties,
    read,
    said_as,
    table,
    unknown,
)

THIRD = table((third, verb) for verb, forms in lexicon.VERBS.items() for third, _ in forms)
BASE = table(
    [
        *((base, verb) for verb, forms in lexicon.VERBS.items() for _, base in forms),
        *((base, verb) for verb, bases in lexicon.RECIPROCAL.items() for base in bases),
    ]
)
PASSIVE = said_as(lexicon.PASSIVE)
DIRECTIONS = said_as(lexicon.DIRECTIONS)
MANNERS = said_as(lexicon.MANNERS)
PATHS = said_as(lexicon.PATHS)
TOWARDS = said_as({**lexicon.TOWARDS, "to": lexicon.COMMANDS["into"]})
COMPARISONS = said_as(lexicon.COMPARISONS)
SPEEDS = said_as(lexicon.SPEEDS_OF_TWO)
LARGER, FASTER = (
    table(
        (phrase.removesuffix(" than"), how) for how, phrases in table_.items() for phrase in phrases if "than" in phrase
    )
    for table_ in (lexicon.COMPARISONS, lexicon.SPEEDS_OF_TWO)
)
OPENINGS = table([("open", "open"), ("closed", "closed")])
TIMES = table([("at the start", "start"), ("at the end", "end")])


@functools.lru_cache(maxsize=8192)
def statements(words: tuple[str, ...]) -> tuple[Statement, ...]:
    """What a sentence states."""
    return read(list(words), _statements)


@functools.lru_cache(maxsize=8192)
def question(words: tuple[str, ...]) -> Question:
    """What a sentence asks."""
    return read(list(words), _question)


@functools.lru_cache(maxsize=8192)
def reply(words: tuple[str, ...]) -> Reply:
    """What an answer gives: a piece of a sentence, or a statement."""
    return read(list(words), _reply)


def _statements(reader: Reader) -> tuple[Statement, ...] | None:
    later = reader.accept("after that") or reader.accept("then")
    for word in () if later else ("after", "before"):
        if reader.accept(word):
            one = reader.must(_plain_clause)
            reader.expect(",")
            return (_ordered(word, reader.must(_plain_clause), one),)
    if later or reader.accept("first"):
        reader.accept(",")
    when = None if later else reader.one_of(TIMES)
    if when:
        reader.accept(",")
    said = _timed(reader.must(_clause), when)
    if isinstance(said, Clause) and len(said.predicates) == 1:
        for word in ("after", "before"):
            if reader.accept(word):
                return (_ordered(word, said, reader.must(_plain_clause)),)
    found = [Statement(said=said, later=later)]
    while not reader.done:
        link = _link(reader)
        if link is None:
            break
        found.append(Statement(said=reader.must(_clause), later=link == "then"))
    return tuple(found)


def _ordered(word: str, one: Clause, other: Clause) -> Statement:
    """ "one after other", or "one before other"."""
    first, second = (other, one) if word == "after" else (one, other)
    return Statement(said=Ordered(first=first, second=second))


def _plain_clause(reader: Reader) -> Clause | None:
    subjects = nouns(reader)
    return Clause(subjects=subjects, predicates=(reader.must(_predicate),)) if subjects else None


def _clause(reader: Reader) -> Clause | Exists | None:
    for opener in ("there is", "there are", "you can see", "the picture shows"):
        if reader.accept(opener):
            return Exists(nouns=reader.must(nouns))
    where = reader.attempt(place)
    if where is not None:
        reader.accept(",")
        reader.expect("there is", "there are", "you can see")
        found = reader.must(nouns)
        return Exists(nouns=tuple(replace(one, places=(*one.places, where)) for one in found))
    subjects = nouns(reader)
    if subjects is None:
        return None
    predicates: list[Predicate] = [reader.must(_predicate)]
    links: list[Link] = []
    while True:
        start = reader.at
        link = _link(reader)
        more = reader.attempt(_predicate) if link else None
        if link and more is None and not isinstance(predicates[-1], Does | Not):
            more = reader.attempt(_complement)  # "is red and on the left"
        if link is None or more is None:
            reader.at = start
            break
        links.append(link)
        predicates.append(more)
    clause = Clause(subjects=subjects, predicates=tuple(predicates), links=tuple(links))
    return _timed(clause, reader.one_of(TIMES))


def _timed(said: Clause | Exists, when: str | None) -> Clause | Exists:
    """The same of another time; of a clause only, and there of places only."""
    if when != "end":
        return said
    if isinstance(said, Exists) or not all(isinstance(p, At) for p in said.predicates):
        raise UserError("'at the end' goes with where a thing is; leave it out.")
    return replace(said, predicates=tuple(replace(p, when=when) for p in said.predicates if isinstance(p, At)))


def _link(reader: Reader) -> Link | None:
    for phrase in (", and then", "and then", ", then"):
        if reader.accept(phrase):
            return "then"
    return "and" if any(reader.accept(phrase) for phrase in (", and", "and", ",")) else None


def _predicate(reader: Reader) -> Predicate | None:
    if reader.accept("is") or reader.accept("are"):
        denied = reader.accept("not")
        said = reader.must(_complement)
        return Not(predicate=said) if denied else said
    if reader.accept("does not") or reader.accept("do not"):
        return Not(predicate=reader.must(_base))
    if found := _verb(reader, THIRD) or _verb(reader, BASE):
        return found
    for words, when in (("starts", "start"), ("start", "start"), ("ends", "end"), ("end", "end")):
        if reader.accept(words):
            return _at(reader, when)
    return None


def _base(reader: Reader) -> Predicate | None:
    return _verb(reader, BASE)


def _at(reader: Reader, when: str) -> At:
    return At(place=reader.must(place), when="end" if when == "end" else "start")


def _complement(reader: Reader) -> Predicate | None:
    if verb := reader.one_of(PASSIVE):
        reader.expect("by")
        return Does(verb=verb, noun=reader.must(noun), passive=True)
    if how := reader.one_of(COMPARISONS):
        return Compared(how=how, noun=reader.must(noun))
    if substance := reader.one_of(SUBSTANCES):
        return Has(properties=(("material", substance),))
    if opening := reader.one_of(OPENINGS):
        return Has(properties=(("opening", opening),))
    if where := reader.attempt(place):
        return At(place=where)
    said = properties(reader)
    if said:
        more = reader.attempt(_more) or {}
        if both := said.keys() & more.keys():
            (name,) = both
            raise UserError(f"A thing has one {name}, not both {said[name]!r} and {more[name]!r}; leave one out.")
        return Has(properties=tuple({**said, **more}.items()))
    kind = reader.attempt(bare_noun)
    if kind is not None and kind.determiner == "a" and kind.head in lexicon.NOUNS and not kind.extreme:
        named = (("colour", kind.colour), ("size", kind.size), ("material", kind.material))
        return Has(properties=(("shape", kind.head), *((name, value) for name, value in named if value)))
    return None


def _more(reader: Reader) -> dict[str, str] | None:
    return (properties(reader) or None) if reader.accept("and") else None


def _verb(reader: Reader, forms: dict[str, list[tuple[list[str], str]]]) -> Predicate | None:
    """A verb with what it takes: object, manner, direction, path and goal."""
    verb = reader.one_of(forms)
    if verb is None:
        return None
    takes = verb in lexicon.TRANSITIVE or verb == "open"
    found = Does(verb=verb, noun=reader.attempt(bare_noun) if takes else None)
    while True:
        if manner := reader.one_of(MANNERS):
            found = replace(found, manner=manner)
        elif path := reader.one_of(PATHS):
            found = replace(found, paths=(*found.paths, path))
        elif how := reader.one_of(SPEEDS):
            return Compared(how=how, noun=reader.must(noun))
        elif goal := reader.attempt(_goal):
            found = replace(found, goals=(*found.goals, goal))
        elif reader.attempt(place) is not None:
            reader.give_up()  # "rolls on the left": no verb takes a place
        elif direction := reader.one_of(DIRECTIONS):
            found = replace(found, direction=direction)
        else:
            return found


def _goal(reader: Reader) -> tuple[str, Noun] | None:
    how = reader.one_of(TOWARDS)
    return (how, reader.must(noun)) if how else None


def _question(reader: Reader) -> Question | None:
    for part in (_asked_exists, _asked_whether, _asked_property, _asked_count, _asked_where, _asked_which, _asked_what):
        found = reader.attempt(part)
        if found is not None:
            return found
    return None


def _asked_exists(reader: Reader) -> Question | None:
    if not (reader.accept("is there") or reader.accept("are there") or reader.accept("can you see")):
        return None
    return Question(kind="yes/no", said=Exists(nouns=reader.must(nouns)))


def _asked_whether(reader: Reader) -> Question | None:
    if reader.accept("is") or reader.accept("are"):
        subject = reader.must(bare_noun)
        predicate = reader.must(_complement)
        when = reader.one_of(TIMES)
        if when == "end" and isinstance(predicate, At):
            predicate = replace(predicate, when=when)
    elif reader.accept("does") or reader.accept("do"):
        subject = reader.must(noun)
        also = reader.must(bare_noun) if reader.accept("and") else None
        predicate = reader.must(_base)
        if also is not None:
            return Question(kind="yes/no", said=Clause(subjects=(subject, also), predicates=(predicate,)))
    else:
        return None
    return Question(kind="yes/no", said=Clause(subjects=(subject,), predicates=(predicate,)))


def _asked_property(reader: Reader) -> Question | None:
    for name in ("colour", "shape", "size", "material"):
        for opener in (f"what {name} is", f"which {name} is", f"what is the {name} of"):
            if reader.accept(opener):
                return Question(kind=name, noun=reader.must(noun))
    if reader.accept("how big is") or reader.accept("how large is"):
        return Question(kind="size", noun=reader.must(noun))
    if reader.accept("what is"):
        subject = reader.must(bare_noun)
        reader.expect("made of")
        return Question(kind="material", noun=subject)
    return None


def _asked_count(reader: Reader) -> Question | None:
    if not reader.accept("how many"):
        return None
    counted = reader.must(unknown)
    if reader.accept("are there") or reader.accept("can you see"):
        where = reader.attempt(place)
        return Question(kind="count", noun=replace(counted, places=(where,) if where else ()))
    if reader.accept("are"):
        return Question(kind="count", noun=counted, predicate=reader.must(_complement))
    return Question(kind="count", noun=counted, predicate=reader.must(_base))


def _asked_where(reader: Reader) -> Question | None:
    if reader.accept("where is"):
        subject = reader.must(noun)
        when: When = "end" if reader.one_of(TIMES) == "end" else "start"
        return Question(kind="where", noun=subject, when=when)
    if reader.accept("where does"):
        subject = reader.must(noun)
        reader.expect("start", "end")
        return Question(kind="where", noun=subject, when="end" if reader.words[reader.at - 1] == "end" else "start")
    if reader.accept("which way does"):
        return Question(kind="way", noun=reader.must(noun), predicate=reader.must(_base))
    return None


def _asked_which(reader: Reader) -> Question | None:
    found = reader.attempt(_asked_of_two)
    if found is not None:
        return found
    if reader.accept("which"):
        return Question(kind="which", noun=reader.must(unknown), predicate=reader.must(_predicate))
    if reader.accept("what"):
        thing = Noun(head="thing", determiner="which", text="thing")
        return Question(kind="which", noun=thing, predicate=reader.must(_predicate))
    return None


def _asked_of_two(reader: Reader) -> Question | None:
    """ "which is larger, the ball or the box"."""
    if reader.accept("which is"):
        how = reader.one_of(LARGER)
    else:
        reader.expect("which moves", "what moves")
        how = reader.one_of(FASTER)
    if how is None:
        return None
    reader.expect(",")
    one = reader.must(noun)
    reader.expect("or")
    return Question(kind="which", choices=(one, reader.must(noun)), how=how)


def _asked_what(reader: Reader) -> Question | None:
    if reader.accept("what does"):
        subject = reader.must(noun)
        reader.expect("do")
        return Question(kind="happens", noun=subject)
    if reader.accept("what happens to"):
        return Question(kind="happens", noun=reader.must(noun))
    if reader.accept("what happens first"):
        return Question(kind="happens")
    if reader.accept("what happens after"):
        return Question(kind="happens", said=reader.must(_plain_clause))
    return None


def _reply(reader: Reader) -> Reply | None:
    for word in ("yes", "no", "ok"):
        if reader.accept(word) and (reader.done or reader.accept(",")):
            return Reply(word=word, said=() if reader.done else reader.must(_statements))
    reader.at = 0
    for part in (_fragment, _replied_noun):
        found = reader.attempt(part)
        if found is not None:
            return found
    return Reply(said=reader.must(_statements))


def _fragment(reader: Reader) -> Reply | None:
    """A number, a property, a shape, a direction or a place, and nothing more."""
    number = COUNTS.get(reader.words[0]) if len(reader.words) == 1 else None
    if number is not None:
        return Reply(word=_finished(reader, 1, str(number)))
    start = reader.at
    said = properties(reader)
    if len(said) == 1 and reader.done:
        return Reply(word=next(iter(said.values())))
    for phrases in (SUBSTANCES_ALONE, SHAPES_ALONE, DIRECTIONS):
        reader.at = start
        if (word := reader.one_of(phrases)) and reader.done:
            return Reply(word=word)
    reader.at = start
    return Reply(place=where) if (where := reader.attempt(place)) and reader.done else None


def _finished(reader: Reader, steps: int, word: str) -> str:
    reader.at += steps
    return word


def _replied_noun(reader: Reader) -> Reply | None:
    found = noun(reader)
    return Reply(noun=found) if found and reader.done else None


SUBSTANCES_ALONE = said_as(lexicon.SUBSTANCES)
SHAPES_ALONE = table((one, head) for head, forms in lexicon.NOUNS.items() for one, _ in forms if head != "thing")
