"""What a study derives from a seed's trials, kept beside their records where it takes long: fitting laws, say."""

import contextlib
import functools
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.provenance import source_hash
from maquette.core.records import read_checked, write_checked
from maquette.lab.claims import Trials
from maquette.lab.study import Study

FILE = "derived.json"
SLOW = 0.5
"""Seconds of deriving from which it is kept."""


def with_derived(study: Study, trials: Trials, directory: Path | None = None) -> Trials:
    """One seed's trials together with the derived arms, which may have been kept in `directory`.

    Raises:
        UserError: `analyse` fails, or gives what is not a finite number; or what was kept was changed.
    """
    key = fingerprint(trials)
    known = _kept(study, directory) if directory else {}
    if key in known:
        return {**trials, **known[key]}
    began = time.perf_counter()
    found = _derived(study, trials)
    if directory and time.perf_counter() - began > SLOW:
        new = {arm: measures for arm, measures in found.items() if measures is not trials.get(arm)}
        _keep(study, directory, {**_kept(study, directory), key: new})
    return found


def _derived(study: Study, trials: Trials) -> Trials:
    try:
        return study.trials_of(trials)
    except UserError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"analyse of {study.name!r} failed on the arms {', '.join(trials)}: {type(error).__name__}: {error} "
            f"({Path(where.filename).name}, line {where.lineno})"
        ) from error


def _kept(study: Study, directory: Path) -> dict[str, Any]:
    """By the trials' fingerprint, as far as it is of today's code; checked as records are, for verdicts rest on it."""
    path = directory / FILE
    if study.analyse is None or not path.exists():
        return {}
    kept = read_checked(path, "file of what was derived")
    return kept["derived"] if kept["code"] == _code(study.analyse) else {}


def _keep(study: Study, directory: Path, derived: dict[str, Any]) -> None:
    assert study.analyse is not None, "nothing takes no time"
    with contextlib.suppress(UserError, OSError):  # of records that may only be read it is derived each time
        write_checked(directory / FILE, {"code": _code(study.analyse), "derived": derived})


@functools.lru_cache
def _code(analyse: Callable[..., Any]) -> str:
    return source_hash(analyse)
