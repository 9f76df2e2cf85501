"""The commands that speak with a checkpoint folder's model."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table

from maquette.cli import robots
from maquette.cli.arguments.models import Chat, Inspect, Serve
from maquette.core.devices import pick_device, prepare_process
from maquette.core.errors import UserError

if TYPE_CHECKING:
    from maquette.language.interface import LanguageModel, Message, Sampling

ROOM = 16
"""Tokens that are kept free for an answer."""


def serve(command: Serve) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    prepare_process()
    if robots.is_policy(command.directory):
        return robots.serve(command)
    if given := [name for name in robots.OF_POLICIES if getattr(command, name) is not None]:
        raise UserError(f"--{given[0]} is for policies, and {command.directory} is none; leave it out.")
    from maquette.language.loading import load_engine
    from maquette.serve.app import create_app
    from maquette.serve.gate import Limits
    from maquette.serve.server import TOKEN, listen, run, url_of

    token = os.environ.get(TOKEN, "").strip() or None
    limits = Limits(seconds=command.seconds)
    with listen(command.host, command.port, token=token) as listening:  # refused before the weights are read
        engine = load_engine(
            command.directory,
            rows=command.rows,
            context=command.context,
            dtype=command.dtype,
            device=str(pick_device(command.device)),
            invariant=command.invariant,
        )
        engine.name = command.name or engine.name
        words = (
            f"{engine.name}: {engine.rows} rows of {engine.context} tokens, a cache of {engine.memory / 2**20:.0f} MiB"
        )
        print(words, file=sys.stderr)
        app = create_app(engine, token=token, limits=limits)
        run(app, listening, ready=lambda: print(f"Serving {engine.name} at {url_of(listening)}", flush=True))
    return 0


def inspect(command: Inspect) -> int:
    """Print what a folder holds; 1 if something is wrong with it."""
    prepare_process()
    if robots.is_dataset(command.directory):
        return robots.inspect(command)
    if robots.is_policy(command.directory) and not command.sheet:
        return robots.inspect_policy(command)
    if command.sheet:
        raise UserError(f"--sheet draws datasets, and {command.directory} is none; leave it out.")
    from maquette.language.inspection import Inspection, checksums, inspect_folder

    if facts := _facts_of_others(command.directory):
        found = Inspection(facts=facts, files=checksums(command.directory), problems=())
    else:
        found = inspect_folder(command.directory, rows=command.rows, context=command.context)
    if command.json:
        print(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return 1 if found.problems else 0
    table = Table(box=None, show_header=False)
    for name, value in found.facts.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    for name, checksum in found.files.items():
        table.add_row(name, f"sha256 {checksum[:16]}…")
    Console().print(table)
    for problem in found.problems:
        print(f"broken: {problem}")
    return 1 if found.problems else 0


def _facts_of_others(directory: Path) -> dict[str, Any]:
    """What a folder holds that is neither language's nor a policy's; nothing where it is none of these.

    Raises:
        UserError: it is damaged.
    """
    from maquette.language import vlm_folder
    from maquette.nn.layers import parameters_of
    from maquette.video.studio import Studio, is_studio

    if (directory / vlm_folder.CARD).exists():
        seen = vlm_folder.load(directory)
        facts = {"model": "sees and answers", "size": seen.size, "pixels": seen.pixels}
        return facts | {"vocabulary": seen.tokenizer.get_vocab_size(), "parameters": parameters_of(seen.model)}
    if not is_studio(directory):
        return {}
    studio = Studio.load(directory)
    facts = {"model": "text to video", "predicts": studio.predicts, "words": len(studio.vocabulary.words)}
    return (
        facts
        | asdict(studio.format)
        | {
            f"parameters of the {name}": parameters_of(part)
            for name, part in (("autoencoder", studio.autoencoder), ("transformer and its reader", studio.model))
        }
    )


def chat(command: Chat) -> int:
    """Talk until the end of input; /new begins again."""
    prepare_process()
    from maquette.language import load
    from maquette.language.interface import Message, Sampling

    far = command.where.startswith(("http://", "https://"))
    model = load(command.where, model=command.model) if far else load(command.where, rows=1)
    sampling = Sampling(max_tokens=command.max_tokens, temperature=command.temperature, seed=command.seed)
    begin = [Message(role="system", content=command.system)] if command.system else []
    turns = list(begin)
    print(
        f"{model.name}: an empty line or Ctrl-D ends, Ctrl-C cuts an answer short, /new begins again", file=sys.stderr
    )
    while said := _asked():
        if said == "/new":
            turns = list(begin)
            continue
        asked = _with_room([*turns, Message(role="user", content=said)], model)
        if asked is None:
            print(f"That is more than {model.name} can hold: say less, or begin again with /new.", file=sys.stderr)
            continue
        if len(asked) <= len(turns):
            print("(What was said first is kept, the oldest of the rest forgotten for want of room.)", file=sys.stderr)
        turns, answer = asked, ""
        wrap = Wrapped(sys.stdout, shutil.get_terminal_size().columns if sys.stdout.isatty() else 0)
        with contextlib.suppress(KeyboardInterrupt):
            for piece in _answer(model, turns, sampling):
                answer += piece
                wrap.write(piece)
        wrap.close()
        turns.append(Message(role="assistant", content=answer))
    return 0


def _asked() -> str:
    """The next line, empty at the end of input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _with_room(turns: "list[Message]", model: "LanguageModel") -> "list[Message] | None":
    """The turns, or as many as leave room for an answer; None where the last alone leaves none."""
    from maquette.language.chat import shortened
    from maquette.language.engine.engine import Engine

    if not isinstance(model, Engine):
        return turns
    return shortened(turns, lambda kept: len(model.tokens(kept)) + ROOM <= model.context)


def _answer(model: "LanguageModel", turns: "list[Message]", sampling: "Sampling") -> "Iterator[str]":
    """The answer as it comes; from an endpoint all at once."""
    from maquette.language.engine.engine import Engine

    if isinstance(model, Engine):
        room = model.context - len(model.tokens(turns))
        yield from model.stream(turns, replace(sampling, max_tokens=min(sampling.max_tokens, room)))
    else:
        yield model.sample([turns], sampling)[0][0].text


class Wrapped:
    """Text written as it comes, in lines that break between words; 0 columns leaves it as it is."""

    def __init__(self, out: TextIO, columns: int) -> None:
        self._out, self._columns, self._column, self._word = out, columns, 0, ""

    def write(self, text: str) -> None:
        """Write all but the last word, which may not have ended yet."""
        if not self._columns:
            self._put(text)
            return
        for character in text:
            if character.isspace():
                self._flush()
                self._column = 0 if character == "\n" else self._column + 1
                self._put(character if self._column <= self._columns else "")
            else:
                self._word += character

    def close(self) -> None:
        """Write what is left, and end the line."""
        self._flush()
        self._put("\n")

    def _flush(self) -> None:
        if self._column and self._column + len(self._word) > self._columns:
            self._put("\n")
            self._column = 0
        self._put(self._word)
        self._column, self._word = self._column + len(self._word), ""

    def _put(self, text: str) -> None:
        print(text, end="", file=self._out, flush=True)
