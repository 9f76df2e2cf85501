"""The scaffold: a study in one file that runs as it stands, for whoever begins one of their own."""

import importlib.util
import keyword
from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.files import write_text

TEMPLATE = Path(__file__).parent / "templates" / "study.py.txt"
TEMPLATE_NAME = "my_paper"
"""What the template calls its study."""


def write_scaffold(name: str, folder: Path) -> Path:
    """Write the scaffold of a study called `name` into `folder`; the file's path.

    Raises:
        UserError: the name cannot be a study's, the file is there already, or the folder cannot be written.
    """
    plain = name.replace("-", "_")
    if not plain.isidentifier() or keyword.iskeyword(plain) or plain.startswith("_"):
        raise UserError(f"The name {name!r} cannot be a study's; take letters, digits and dashes, such as my-paper.")
    path = folder / f"{plain}.py"
    if path.exists():
        raise UserError(f"{path} is there already; choose another name, or move the file away.")
    if importlib.util.find_spec(plain):  # the file would hide the module from all that is imported beside it
        raise UserError(f"The name {name!r} is that of a Python module; choose another, such as my-{name}.")
    write_text(path, TEMPLATE.read_text(encoding="utf-8").replace(TEMPLATE_NAME, plain))
    return path
