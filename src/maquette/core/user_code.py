"""The user's own Python file, imported as a module: only ever a file that they named."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError


def import_file(path: Path) -> Any:
    """The module of a `.py` file; its neighbours can be imported, as from a script.

    Raises:
        UserError: there is no such file, or it is not Python. What the file itself raises comes through.
    """
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    spec = importlib.util.spec_from_file_location(f"maquette_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file.")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def functions_of(path: Path, *, needed: str, optional: tuple[str, ...] = ()) -> dict[str, Callable[..., Any]]:
    """Functions of a user's file by name.

    Raises:
        UserError: it cannot be imported, or lacks the one that is needed.
    """
    try:
        module = import_file(path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    found = {name: getattr(module, name, None) for name in (needed, *optional)}
    if not callable(found[needed]):
        raise UserError(f"{path} defines no function {needed}; write def {needed}(reply, row): …")
    return {name: one for name, one in found.items() if callable(one)}
