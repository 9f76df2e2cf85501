"""Where a number comes from: the machine, the libraries, the commit, and the source code it depends on."""

import ast
import hashlib
import importlib.metadata
import inspect
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "numpy", "scipy", "tokenizers", "safetensors", "transformers")


def cores() -> int:
    """The CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """CPU model, cores, memory in GiB, system, and the GPU if torch is loaded and sees one."""
    gpu, torch = None, sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return {"cpu": cpu_model(), "cores": cores(), "memory_gib": round(memory, 1), "gpu": gpu, "system": system}


def cpu_model() -> str:
    """Its name with family and model: clouds give one name to processors that round otherwise."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
        return cpu_in(Path("/proc/cpuinfo").read_text())
    except (OSError, subprocess.SubprocessError):
        return platform.processor() or "unknown"


def cpu_in(cpuinfo: str) -> str:
    """The first processor of Linux's /proc/cpuinfo: AMD EPYC, family 25, model 17."""
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    named = [facts.get("model name") or platform.processor() or "unknown"]
    named += [f"{word} {facts[name]}" for word, name in (("family", "cpu family"), ("model", "model")) if name in facts]
    return ", ".join(named)


def versions() -> dict[str, str]:
    """Versions of Python, Maquette and the libraries this process has loaded."""
    loaded = {name: importlib.metadata.version(name) for name in LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), "maquette": importlib.metadata.version("maquette"), **loaded}


def commit(place: Path = PACKAGE) -> str:
    """The git commit that a folder or a file is at, with `+dirty` where it differs; `unknown` outside a repository."""
    try:
        folder, name = (place, ".") if place.is_dir() else (place.parent, place.name)
        run = {"cwd": folder, "capture_output": True, "text": True, "timeout": 20, "check": True}
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        dirty = subprocess.run(["git", "status", "--porcelain", "--", name], **run).stdout.strip()
        return head + ("+dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def circumstances() -> dict[str, Any]:
    """Where and by what a result was made, for its record: machine, versions and commit."""
    return {"machine": machine(), "versions": versions(), "commit": commit()}


def source_hash(*things: Callable[..., Any] | ModuleType) -> str:
    """Hash of the code that `things` run: what a cached result depends on.

    For a function or a class: its definition and the definitions it uses in its own module. Then every module these
    import, wholly and transitively, as far as it belongs to Maquette or lies beside the thing's own file. Docstrings,
    comments, layout, the annotations of functions and what only a type checker imports do not count.
    """
    walk = _Walk()
    for thing in things:
        file = Path(inspect.getsourcefile(thing) or "").resolve()
        module = _Module(file)
        name = None if isinstance(thing, ModuleType) else thing.__qualname__.split(".")[0]
        walk.read(module, None if name is None or name not in module.bindings else name)
    return hashlib.sha256("\n".join(sorted(walk.seen)).encode()).hexdigest()[:16]


class _Plain(ast.NodeTransformer):
    """Takes away what cannot change a result: docstrings, those of constants too, and what only type checkers read."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_string(statement)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


def _is_string(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


class _Module:
    """A source file: its statements by the name they bind, and where its imports lead."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ours = file.is_relative_to(PACKAGE)
        self.root = PACKAGE.parent if self.ours else file.parent
        parts = file.relative_to(self.root).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        tree = _Plain().visit(ast.parse(file.read_bytes()))
        self.body = [part for statement in tree.body for part in _one_name_each(statement)]
        self.bindings: dict[str, list[ast.stmt]] = {}
        self.loose: list[ast.stmt] = []
        for statement in self.body:
            names = list(_bound(statement))
            for name in names:
                self.bindings.setdefault(name, []).append(statement)
            if not names:
                self.loose.append(statement)

    def leads_to(self, statement: ast.AST) -> Iterator[Path]:
        """Files of the modules that the import statements in `statement` name."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._files(alias.name)
            elif isinstance(node, ast.ImportFrom):
                package = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
                above = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield from self._files(base)
                for alias in node.names:
                    yield from self._files(f"{base}.{alias.name}")

    def _files(self, name: str) -> Iterator[Path]:
        parts = name.split(".")
        root = PACKAGE.parent if parts[0] == PACKAGE.name else self.root
        if self.ours and parts[0] != PACKAGE.name:
            return
        for depth in range(1, len(parts) + 1):
            stem = root.joinpath(*parts[:depth])
            yield from (file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())


@dataclass
class _Walk:
    """The code reached so far, as text."""

    seen: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def read(self, module: _Module, name: str | None) -> None:
        """Take in what `name` in `module` uses, or all of it."""
        if name is None:
            statements = module.body
            self.files.add(module.file)
        else:
            statements = _uses(module, name)
        self.seen.add("\n".join([module.name, *map(ast.dump, statements)]))
        for file in [file for statement in statements for file in module.leads_to(statement)]:
            if file not in self.files:
                self.read(_Module(file), None)


def _uses(module: _Module, name: str) -> list[ast.stmt]:
    """The statements of a module that `name` depends on and those that always run, in the file's order."""
    chosen: list[ast.stmt] = []
    waiting = [*module.loose, *module.bindings[name]]
    while waiting:
        statement = waiting.pop()
        if not any(statement is one for one in chosen):
            chosen.append(statement)
            names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            waiting += [other for name in names for other in module.bindings.get(name, [])]
    return [statement for statement in module.body if any(statement is one for one in chosen)]


def _one_name_each(statement: ast.stmt) -> list[ast.stmt]:
    """`from a import b, c` as two statements, so that who uses b does not depend on c."""
    if isinstance(statement, ast.Import):
        return [ast.Import(names=[alias]) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [
            ast.ImportFrom(module=statement.module, names=[alias], level=statement.level) for alias in statement.names
        ]
    return [statement]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names a top-level statement does nothing but bind."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).split(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign):
        nodes = [node for target in statement.targets for node in getattr(target, "elts", [target])]
        if all(isinstance(node, ast.Name) for node in nodes):
            yield from (node.id for node in nodes if isinstance(node, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id
