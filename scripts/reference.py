"""The API reference: a page for each layer, with every public name, its signature and the first line of its docstring.

Read from the sources as text; nothing is imported. A page shows a module as a stub file would.
"""

import ast
import copy
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

LEFT_OUT = ("cli", "studies")
"""Nobody imports these: `maquette --help` tells of the one, RESULTS.md of the other."""
NOTICE = "Generated from the sources by `make docs`."
CUT = "# next module"
WIDTH = 110
"""Of a line, about what GitHub shows without scrolling."""
LONGEST = 80
"""Characters of a constant's value; of longer ones the name is enough."""
Defined = TypeVar("Defined", ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def pages(package: Path, trees: Mapping[Path, ast.Module]) -> dict[str, str]:
    """Pages by file name: one for each layer, and README.md, which lists them."""
    fronts = [package / name / "__init__.py" for name in sorted({file.relative_to(package).parts[0] for file in trees})]
    layers = [front.parent for front in fronts if front in trees and front.parent.name not in LEFT_OUT]
    stubs = {file: stub(tree) for file, tree in trees.items() if any(file.is_relative_to(one) for one in layers)}
    public = [file for file, code in stubs.items() if code]
    codes = dict(zip(public, formatted([stubs[file] for file in public]), strict=True))
    index, found = ["# API reference", "", NOTICE, "", "| layer | |", "|---|---|"], {}
    for layer in layers:
        name, about = f"{package.name}.{layer.name}", first_line(trees[layer / "__init__.py"])
        index.append(f"| [`{name}`]({layer.name}.md) | {about} |")
        parts = [f"# `{name}`", f"{about} {NOTICE}"]
        for file in [one for one in public if one.is_relative_to(layer)]:
            module = file.relative_to(package.parent).with_suffix("")
            title = ".".join(module.parts).removesuffix(".__init__")
            parts += [f"## [`{title}`](../../src/{module.as_posix()}.py)", first_line(trees[file])]
            parts += [f"```python\n{codes[file]}\n```"]
        found[f"{layer.name}.md"] = "\n\n".join(parts) + "\n"
    return {"README.md": "\n".join(index) + "\n"} | found


def stub(tree: ast.Module) -> str:
    """A module's stub; empty where nothing is public."""
    return ast.unparse(ast.Module(list(shown(tree.body)), []))


def shown(body: Sequence[ast.stmt], within: bool = False) -> Iterator[ast.stmt]:
    """What is public of a module, or `within` a class, with first lines in place of docstrings and code."""
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if is_public(statement.name) or (within and statement.name in ("__init__", "__call__")):
                yield with_body(statement, line(first_line(statement)))
        elif isinstance(statement, ast.ClassDef):
            if is_public(statement.name):
                yield with_body(statement, [*line(first_line(statement)), *shown(statement.body, within=True)])
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            names = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            said = text_of(following)
            if (said or within) and all(isinstance(name, ast.Name) and is_public(name.id) for name in names):
                kept = copy.copy(statement)
                if kept.value is not None and len(ast.unparse(kept.value)) > LONGEST:
                    kept.value = ast.Constant(...)
                yield from (kept, *line(said.strip().partition("\n")[0]))


def is_public(name: str) -> bool:
    """Whether a name is meant for others."""
    return not name.startswith("_")


def with_body(statement: Defined, body: list[ast.stmt]) -> Defined:
    """A function or a class with another body."""
    changed = copy.copy(statement)
    changed.body = body or [ast.Expr(ast.Constant(...))]
    return changed


def text_of(statement: ast.stmt | None) -> str:
    """The words of a docstring; empty for any other statement."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Of its docstring; empty where there is none."""
    return (ast.get_docstring(node) or "").partition("\n")[0]


def line(said: str) -> list[ast.stmt]:
    """A docstring of one line, or nothing."""
    return [ast.Expr(ast.Constant(said))] if said else []


def formatted(codes: Sequence[str]) -> list[str]:
    """Stubs in the house format, all in one call of ruff."""
    ruff = str(Path(sys.executable).with_name("ruff"))
    command = [ruff, "format", "--isolated", "--line-length", str(WIDTH), "--stdin-filename", "stub.pyi", "-"]
    text = f"\n{CUT}\n".join(codes)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    text = re.sub(r'^( *)"(?!")(.+)"$', r'\1"""\2"""', done.stdout, flags=re.MULTILINE)  # docstrings of attributes
    return [code.strip() for code in text.split(f"{CUT}\n")]
