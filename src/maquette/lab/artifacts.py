"""What trials stand on, a pretrained model or a made dataset: made once, addressed by content, shared by studies."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.provenance import source_hash
from maquette.core.records import Record, read_record

if TYPE_CHECKING:
    from maquette.lab.run import Run


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """`make(config, run)` leaves files in `run.directory`, the same for the same config; `needs` names others it uses.

    A scale's changes reach its config as they reach an arm's. `arms` are those that stand on it, all of them if None:
    its cost is part of theirs.
    """

    make: Callable[[Any, "Run"], None]
    config: Any
    needs: tuple[str, ...] = ()
    arms: tuple[str, ...] | None = None


def plain(config: Any) -> dict[str, Any]:
    """A config as JSON has it."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def artifact_key(artifact: Artifact, config: Any, needs: Mapping[str, str]) -> str:
    """What an artifact's content depends on: the code that makes it, its config, and the artifacts it uses."""
    code = source_hash(artifact.make, type(config))
    return fingerprint({"code": code, "config": plain(config), "needs": needs})


def stage_key(make: Callable[[Any, int, "Run"], None], config: Any, seed: int, needs: Mapping[str, str]) -> str:
    """What a stage's content (`Run.stage`) depends on: as an artifact's, and the seed.

    Raises:
        UserError: `make` is defined within another function, whose variables it may see.
    """
    name = f"{make.__module__}.{make.__qualname__}"
    if "<" in name:
        raise UserError(f"A stage is made by a function of a module, which {name} is not; move it to the top level.")
    code = _code_of_stage(make, type(config))
    return fingerprint({"make": name, "code": code, "config": plain(config), "seed": seed, "needs": needs})


@cache
def _code_of_stage(make: Callable[..., None], kind: type) -> str:
    """By every trial anew it would be asked for, and takes a second."""
    return source_hash(make, kind)


def artifact_record(folder: Path) -> Record | None:
    """The record of a finished artifact in its folder, or None when it has not been made."""
    path = folder / "artifact.json"
    return read_record(path, Record) if path.exists() else None
