"""The commands that speak with a checkpoint folder's model."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from maquette.cli import robots
from maquette.cli.arguments import Chat, Inspect, Serve
from maquette.core.devices import pick_device, prepare_process
from maquette.core.errors import UserError

if TYPE_CHECKING:
    from maquette.language.interface import LanguageModel, Message, Sampling


def serve(command: Serve) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    prepare_process()
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
    from maquette.language.inspection import inspect_folder

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


def chat(command: Chat) -> int:
    """Talk until the end of input; /new begins again."""
    prepare_process()
    from maquette.language import load
    from maquette.language.engine.engine import Engine
    from maquette.language.interface import Message, Sampling

    far = command.where.startswith(("http://", "https://"))
    model = load(command.where, model=command.model) if far else load(command.where, rows=1)
    sampling = Sampling(max_tokens=command.max_tokens, temperature=command.temperature, seed=command.seed)
    begin = [Message(role="system", content=command.system)] if command.system else []
    turns = list(begin)
    hint = "an empty line or Ctrl-D ends, /new begins again"
    print(f"{model.name}: {hint}", file=sys.stderr)
    while said := _asked():
        if said == "/new":
            turns = list(begin)
            continue
        turns.append(Message(role="user", content=said))
        pieces = model.stream(turns, sampling) if isinstance(model, Engine) else _whole(model, turns, sampling)
        answer = ""
        for piece in pieces:
            print(piece, end="", flush=True)
            answer += piece
        print()
        turns.append(Message(role="assistant", content=answer))
    return 0


def _asked() -> str:
    """The next line, empty at the end of input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _whole(model: "LanguageModel", turns: "list[Message]", sampling: "Sampling") -> "Iterator[str]":
    yield model.sample([turns], sampling)[0][0].text
