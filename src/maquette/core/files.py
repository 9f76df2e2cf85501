"""Files that are whole or absent: atomic writes, checksums, one writer per directory."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from maquette.core.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it takes `path`'s place in one step, else it vanishes.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise as_user_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def as_user_error(error: OSError | SafetensorError, path: Path) -> UserError:
    """The sentence for an operating system's refusal to write `path`."""
    if isinstance(error, OSError):
        number, reason = error.errno, error.strerror or str(error)
    else:  # safetensors words the refusal itself, so the number has to be read from its text
        found = re.search(r"os error (\d+)", str(error))
        number, reason = int(found[1]) if found else None, str(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"The disk is full: {path} was not written; free some space and run the command again.")
    return UserError(f"Cannot write {path}: {reason}; choose a folder you may write to.")


def refuse_unwritable(directory: Path) -> None:
    """Before long work whose results go to `directory`, which need not be there.

    Raises:
        UserError: it could not be made, or nothing be written in it.
    """
    nearest = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise as_user_error(NotADirectoryError(errno.ENOTDIR, f"{nearest} is a file"), directory)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise as_user_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), directory)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinities are refused, because no JSON reader is obliged to take them."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); delete it or restore it from a copy.") from error


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any, length: int = 16) -> str:
    """Short hex digest of a JSON-like value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@contextlib.contextmanager
def sole_writer(directory: Path, wait: bool = False) -> Iterator[None]:
    """Hold `directory` for this process alone; the kernel lets go when the process dies, however it dies.

    Raises:
        UserError: another process holds it and `wait` is false.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = open(directory / ".lock", "a+")  # noqa: SIM115 - closed below; closing is what unlocks
    except OSError as error:
        raise as_user_error(error, directory) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UserError(
                f"{directory} is in use by another run; wait for it to end, or give this one a directory of its own."
            ) from error
        yield
    finally:
        lock.close()
