"""Instructions and plans: from imperative sentences to commands, and from commands to goals."""

import functools
from dataclasses import replace

from maquette.core.errors import UserError
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.interpreter.meaning import Command, Instruction, Noun, Place
from maquette.worlds.scene.words.interpreter.reading import REGIONS, Reader, bare_noun, read, said_as

COMMANDS = {verb: said_as({verb: phrases}) for verb, phrases in lexicon.COMMANDS.items()}
INTO = COMMANDS.pop("into")


@functools.lru_cache(maxsize=8192)
def instruction(words: tuple[str, ...]) -> Instruction:
    """What a sentence orders."""
    return read(list(words), _instruction)


def is_order(words: tuple[str, ...]) -> bool:
    """Whether a sentence begins like an instruction."""
    start = 2 if words[:2] == ("can", "you") else 0
    while start < len(words) and words[start] in ("first", "then", ","):
        start += 1
    return words[start : start + 1] != () and any(words[start] in phrases for phrases in COMMANDS.values())


def steps(sentences: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The sentences of a numbered plan.

    Raises:
        UserError: the steps are not numbered 1, 2, 3, …
    """
    found = sentences[1::2]
    if not found or sentences[::2] != [(str(n),) for n in range(1, len(found) + 1)]:
        raise UserError("A plan is '1. …. 2. ….'; number its steps from 1, without a gap.")
    return found


def _instruction(reader: Reader) -> Instruction | None:
    polite = reader.accept("can you")
    if not polite:
        reader.attempt(
            lambda r: (r.accept("first ,") or r.accept("first") or r.accept("then ,") or r.accept("then")) or None
        )
    found = [reader.must(_command)]
    while any(
        reader.accept(link) for link in (", and then", "and then", ", then", ", after that", "and after that", "and")
    ):
        reader.accept(",")
        found.append(reader.must(_command))
    return Instruction(commands=tuple(found))


def _command(reader: Reader) -> Command | None:
    for part in (_reach, _sort, _push, _stack, _open):
        found = reader.attempt(part)
        if found is not None:
            return found
    return None


def _reach(reader: Reader) -> Command | None:
    return Command(verb="reach", nouns=(reader.must(_named),)) if reader.one_of(COMMANDS["reach"]) else None


def _named(reader: Reader) -> Noun | None:
    """A noun phrase, with a region but no other place: "the box in the blue zone" would leave no zone to push to."""
    found = bare_noun(reader)
    region = reader.one_of(REGIONS) if found else None
    return replace(found, places=(Place(relation="region", region=region),)) if found and region else found


def _push(reader: Reader) -> Command | None:
    if not reader.one_of(COMMANDS["push"]):
        return None
    what = reader.must(_named)
    if not reader.one_of(INTO):
        reader.give_up()
    if what.determiner == "every":
        reader.expect("the zone of its colour", "the area of its colour")
        return _sorting(what)
    return Command(verb="push", nouns=(what,), zone=_zone(reader))


def _sort(reader: Reader) -> Command | None:
    if not reader.one_of(COMMANDS["sort"]):
        return None
    what = reader.must(_named)
    reader.expect("by colour")
    return _sorting(what)


def _sorting(what: Noun) -> Command:
    """By shape alone: a goal says no more."""
    if what.colour or what.size or what.material or what.extreme or what.places or what.determiner != "every":
        raise UserError(f"{what.text!r} cannot be sorted; say 'the things', or those of one shape, as in 'the boxes'.")
    all_of_them = what.text.split()[0] in ("all", "every", "each")
    return Command(verb="sort", nouns=(what,), without_exception=all_of_them)


def _stack(reader: Reader) -> Command | None:
    if not reader.one_of(COMMANDS["stack"]):
        return None
    what = _bare_nouns(reader)
    reader.expect("in", "inside")
    return Command(verb="stack", nouns=what, zone=_zone(reader))


def _bare_nouns(reader: Reader) -> tuple[Noun, ...]:
    found = [reader.must(_named)]
    while any(reader.accept(link) for link in (", and", ",", "and")):
        found.append(reader.must(_named))
    return tuple(found)


def _open(reader: Reader) -> Command | None:
    if not reader.one_of(COMMANDS["open"]):
        return None
    what = reader.must(bare_noun)
    return Command(verb="open") if what.head == "drawer" else reader.give_up()


def _zone(reader: Reader) -> Noun:
    zone = reader.must(bare_noun)
    return zone if zone.head == "zone" else reader.give_up()
