"""Questions answered from the state, and given answers judged."""

from maquette.core.errors import UserError
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.meaning import (
    At,
    Clause,
    Compared,
    Does,
    Exists,
    Has,
    Noun,
    Place,
    Predicate,
    Question,
    Reply,
    Statement,
)
from maquette.worlds.scene.words.interpreter.truth import (
    Talk,
    candidates,
    clause_time,
    statement_holds,
    the_one,
    time_of,
)
from maquette.worlds.scene.words.interpreter.world import Entity, World

FROM_MOST_TELLING = ("pass", "bounce", "swing", "float", "sink", "fly", "fall", "roll", "slide", "move", "rest")
"""Which of the verbs that are true answers "what does it do?"."""
DIRECTED = ("bounce", "fly", "roll", "slide", "move", "pass")


def answer_to(talk: Talk, question: Question) -> str:
    """The plainest right answer."""
    if question.kind == "yes/no":
        return "yes" if _is_so(talk, question) else "no"
    if question.kind == "count":
        return lexicon.NUMBERS[len(_satisfying(talk, question))]
    if question.kind == "which":
        return "the " + description(talk.world, _which(talk, question))
    if question.kind == "happens" and question.noun is None:
        return _next_event(talk, question)
    one = _subject(talk, question)
    if question.kind == "where":
        return lexicon.REGIONS[talk.world.region(one, question.when)][0]
    if question.kind == "way":
        goes = {way: _goes(talk, one, question.predicate, way) for way in lexicon.DIRECTIONS}
        for ways in (("left", "right"), ("up", "down")):
            true = [way for way in ways if goes[way]]
            if len(true) == 1:
                return lexicon.DIRECTIONS[true[0]][0]
            if true:
                break
        raise UserError("It does not go one way only; ask what it does.")
    if question.kind == "happens":
        return "it " + _doing(talk, one)
    return talk.world.value(one, question.kind) or _unasked(question.kind, one)


def answers(talk: Talk, question: Question, reply: Reply) -> bool:
    """Whether a reply answers the question rightly, in whatever words."""
    if reply.word in ("yes", "no") and not (question.kind == "count" and reply.word == "no"):
        if question.kind != "yes/no" or (reply.word == "yes") != _is_so(talk, question):
            return False
        return all(statement_holds(talk, statement) for statement in reply.said)
    if question.kind == "yes/no":
        return False
    if reply.said:
        return _is_relevant(question, reply.said) and _said_rightly(talk, question, reply)
    if question.kind == "count":
        return reply.word == str(len(_satisfying(talk, question)))
    if question.kind == "which":
        return reply.noun is not None and _is_named(reply.noun) and the_one(talk, reply.noun) == _which(talk, question)
    if question.kind == "happens":
        return False
    one = _subject(talk, question)
    if question.kind == "where":
        if reply.place is None or not _is_placed(reply.place):
            return False
        return _at(talk, one, At(place=reply.place, when=question.when))
    if question.kind == "way":
        return reply.word in lexicon.DIRECTIONS and _goes(talk, one, question.predicate, reply.word)
    value = talk.world.value(one, question.kind)
    if question.kind == "shape" and reply.noun is not None:
        return reply.noun.determiner == "a" and reply.noun.head == value and talk.world.fits(one, reply.noun)
    return reply.word == value


def description(world: World, entity: Entity) -> str:
    """The shortest name of its own: shape, else colour and shape, else more."""
    if entity.kind != "thing":
        colour = world.value(entity, "colour")
        return f"{colour} {entity.kind}" if colour else entity.kind
    thing = world.things[entity.number]
    for names in (("shape",), ("colour", "shape"), ("size", "shape"), ("size", "colour", "shape"), WORDY):
        said = [(name, getattr(thing, name)) for name in names]
        same = [i for i in world.visible if all(getattr(world.things[i], name) == value for name, value in said)]
        if len(same) == 1:
            return " ".join("wooden" if value == "wood" else value for _, value in said)
    raise UserError(f"Two things are a {thing.size} {thing.colour} {thing.shape} each; ask where they are.")


WORDY = ("size", "colour", "material", "shape")


def _is_so(talk: Talk, question: Question) -> bool:
    assert question.said is not None
    return statement_holds(talk, Statement(said=question.said))


def _satisfying(talk: Talk, question: Question) -> list[Entity]:
    if question.choices:
        pairs = (question.choices, question.choices[::-1])
        return [
            _known(talk, noun)
            for noun, other in pairs
            if time_of(talk, _known(talk, noun), Compared(how=question.how, noun=other)) is not None
        ]
    assert question.noun is not None
    found = candidates(talk, question.noun)
    if question.predicate is None:
        return found
    return [entity for entity in found if time_of(talk, entity, question.predicate) is not None]


def _which(talk: Talk, question: Question) -> Entity:
    found = _satisfying(talk, question)
    if len(found) != 1:
        raise UserError(f"That holds of {len(found)} things here; ask how many.")
    talk.it = found
    return found[0]


def _subject(talk: Talk, question: Question) -> Entity:
    assert question.noun is not None
    one = _known(talk, question.noun)
    talk.it = [one]
    return one


def _known(talk: Talk, noun: Noun) -> Entity:
    one = the_one(talk, noun)
    if one is None:
        raise UserError(f"There is no such thing as {noun.text!r} here; ask about what there is.")
    return one


def _unasked(name: str, entity: Entity) -> str:
    raise UserError(f"The {entity.kind} has no {name} that words can tell; ask about a thing.")


def _at(talk: Talk, one: Entity, predicate: At) -> bool:
    return time_of(talk, one, predicate) is not None


def _goes(talk: Talk, one: Entity, predicate: Predicate | None, way: str) -> bool:
    verb = predicate.verb if isinstance(predicate, Does) else "move"
    return time_of(talk, one, Does(verb=verb, direction=way)) is not None


def _doing(talk: Talk, one: Entity) -> str:
    """A verb, with its direction if there is just one."""
    for verb in FROM_MOST_TELLING:
        if time_of(talk, one, Does(verb=verb)) is None:
            continue
        third = lexicon.VERBS[verb][0][0] + (" behind the screen" if verb == "pass" else "")
        ways = [w for w in ("left", "right", "up", "down") if verb in DIRECTED and _goes(talk, one, Does(verb=verb), w)]
        sideways = [way for way in ways if way in ("left", "right")] or ways
        return f"{third} {lexicon.DIRECTIONS[sideways[0]][0]}" if len(sideways) == 1 else third
    raise UserError("It hardly moves and hardly stays still; ask about something else.")


def _next_event(talk: Talk, question: Question) -> str:
    assert isinstance(question.said, Clause)
    time = clause_time(talk, question.said)
    if time is None:
        raise UserError("What the question names does not happen; ask after what does.")
    found = []
    things = [Entity("thing", i) for i in talk.world.visible]
    for one in things:
        for verb in ("stop", "bounce", "pass", "sink", "float", "start"):
            found.append((time_of(talk, one, Does(verb=verb)), one, lexicon.VERBS[verb][0][0]))
        for other in things:
            if one != other:
                noun = _noun_of(talk.world, other)
                found.append((time_of(talk, one, Does(verb="hit", noun=noun)), one, f"hits {noun.text}"))
    later = [(when, one, text) for when, one, text in found if when is not None and when - time > lexicon.AFTER.middle]
    if not later:
        raise UserError("Nothing happens after that; ask what happens before.")
    _, one, text = min(later, key=lambda event: event[0])
    return f"the {description(talk.world, one)} {text}" + (" behind the screen" if text == "passes" else "")


def _noun_of(world: World, entity: Entity) -> Noun:
    thing = world.things[entity.number]
    text = f"the {description(world, entity)}"
    return Noun(
        head=thing.shape, determiner="the", text=text, colour=thing.colour, size=thing.size, material=thing.material
    )


def _is_relevant(question: Question, said: tuple[Statement, ...]) -> bool:
    """Whether a whole sentence speaks of what was asked."""
    kind = question.kind
    for statement in said:
        clause = statement.said
        if isinstance(clause, Exists):
            if kind != "count" or not all(_is_counted(question, noun) for noun in clause.nouns):
                return False
        elif isinstance(clause, Clause):
            has = [one for p in clause.predicates if isinstance(p, Has) for one in p.properties]
            named = {name for name, value in has if value != "thing"}
            does = any(isinstance(p, Does) for p in clause.predicates)
            at = any(isinstance(p, At) and _is_placed(p.place) for p in clause.predicates)
            counted = all(_is_counted(question, noun) for noun in clause.subjects)
            which = all(_is_named(noun) for noun in clause.subjects)
            fits = {"count": counted, "where": at, "happens": does, "way": does, "which": which}
            if not fits.get(kind, kind in named):
                return False
    return True


def _is_counted(question: Question, noun: Noun) -> bool:
    """Whether a noun has a number, and what it counts is what was asked after: "no ramps" are no balls."""
    if question.choices:
        return isinstance(noun.determiner, int)
    asked = question.noun
    assert asked is not None
    has = question.predicate.properties if isinstance(question.predicate, Has) else ()
    values = {asked.colour, asked.size, asked.material, *(value for _, value in has), None}
    said = {noun.colour, noun.size, noun.material}
    return isinstance(noun.determiner, int) and noun.head == asked.head and said <= values


def _is_number(reply: Reply, number: int) -> bool:
    """Whether all that a reply counts is so many: of two balls only one may be in the zone that was asked after."""
    counted = (one.said.nouns if isinstance(one.said, Exists) else _subjects(one) for one in reply.said)
    return all(noun.determiner == number for nouns in counted for noun in nouns)


def _subjects(statement: Statement) -> tuple[Noun, ...]:
    return statement.said.subjects if isinstance(statement.said, Clause) else ()


def _is_placed(place: Place) -> bool:
    """Whether a place is beside something that is there: all is "left of no box"."""
    return all(noun.determiner == "the" for noun in place.nouns)


def _is_named(noun: Noun) -> bool:
    """Whether a noun says which thing it is, by more than where."""
    return noun.head not in ("it", "thing") or any((noun.colour, noun.size, noun.material))


def _said_rightly(talk: Talk, question: Question, reply: Reply) -> bool:
    if question.kind == "count" or (question.kind == "happens" and question.noun is None):
        after = clause_time(talk, question.said) if isinstance(question.said, Clause) else None
        if question.kind == "happens" and after is None:
            return False
        if question.kind == "count" and not _is_number(reply, len(_satisfying(talk, question))):
            return False
        talk.last = after or 0.0
        later = question.kind == "happens"
        return all(
            statement_holds(talk, Statement(said=statement.said, later=later or statement.later))
            for statement in reply.said
        )
    one = _which(talk, question) if question.kind == "which" else _subject(talk, question)
    for statement in reply.said:
        subjects = _subjects(statement)
        if len(subjects) != 1 or the_one(talk, subjects[0]) != one or not statement_holds(talk, statement):
            return False
    return True
