"""What systems cost in lines, and the house's budgets beside the longest that there is, for docs/adding-a-system.md."""

import ast
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "maquette"
PAGE = ROOT / "docs" / "adding-a-system.md"
COLUMNS = ("model", "weights' names, both ways", "parity and worked cases", "study")
SYSTEMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Llama 3, Mistral, Qwen2.5, Qwen3": (
        ("src/maquette/language/llama.py",),
        ("src/maquette/language/checkpoints.py", "src/maquette/language/config_json.py"),
        ("tests/parity/test_llama_transformers.py",),
        ("src/maquette/studies/language/scaling_laws.py",),
    ),
    "DiT; with words as a second stream an MM-DiT": (
        ("src/maquette/video/dit.py", "src/maquette/video/conditions.py"),
        ("src/maquette/video/checkpoints.py",),
        ("tests/parity/test_dit_diffusers.py",),
        ("src/maquette/studies/video/dit.py",),
    ),
    "PaliGemma": (
        ("src/maquette/language/vlm.py", "src/maquette/language/vision.py"),
        ("src/maquette/language/vlm_layout.py",),
        ("tests/parity/test_pi0_transformers.py",),
        (),
    ),
    "π0 on it": (
        ("src/maquette/robotics/policies/pi0.py",),
        ("src/maquette/robotics/policies/pi0_layout.py",),
        ("tests/parity/test_pi0_transformers.py",),
        ("src/maquette/studies/robotics/pi0.py",),
    ),
    "ACT": (("src/maquette/robotics/policies/act.py",), (), ("tests/unit/test_policies.py",), ()),
    "Diffusion Policy": (
        ("src/maquette/robotics/policies/diffusion_policy.py",),
        (),
        ("tests/unit/test_policies.py",),
        (),
    ),
}
SWITCH = r"\bqk_norm|\b[qk]_norm"
"""Qwen3's norms of queries and keys, by what the code calls them."""


def systems() -> str:
    """A row for each system: its own lines, file by file, and those of the listing on the page itself."""
    rows = ["| system | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, parts in SYSTEMS.items():
        rows.append(f"| {name} | " + " | ".join(" + ".join(map(link, files)) or "none" for files in parts) + " |")
    model, proof = len(listing().splitlines()), link("tests/unit/test_adding_a_system.py")
    return "\n".join([*rows, f"| Octo-like, below | {tens(model)} | none | {proof} | none |"])


def link(file: str) -> str:
    """A file's lines, leading to it."""
    return f"[{tens(len((ROOT / file).read_text(encoding='utf-8').splitlines()))}](../{file})"


def tens(lines: int) -> str:
    """To the nearest ten, so that the page changes with the code and not with every line of it."""
    return f"{round(lines, -1)}"


def listing() -> str:
    """The walk's model: the first Python block of the page."""
    return PAGE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]


def switch() -> str:
    """Which files know of one switch of one relative of Llama, and in how many lines."""
    found = {}
    for folder in ("nn", "language"):
        for file in sorted((SOURCE / folder).rglob("*.py")):
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if re.search(SWITCH, line)]
            if lines and "modulation" not in file.name:
                found[file.relative_to(SOURCE).as_posix()] = len(lines)
    return ", ".join(f"`{file}` {lines}" for file, lines in found.items())


def budgets(trees: Mapping[Path, ast.Module]) -> str:
    """The limits that test_architecture.py counts, the longest of each kind, and the exceptions with their reasons."""
    rules = architecture()
    longest: dict[str, tuple[int, str]] = {}
    declared = []
    for file, tree in trees.items():
        name, lines = rules.name_of(file), len(file.read_text(encoding="utf-8").splitlines())
        study = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STUDY"]
        kind = "a study" if study else "a file with a torch module" if rules.defines_a_model(tree) else "another file"
        longest[kind] = max(longest.get(kind, (0, "")), (lines, name))
        declared += [f"{length(node)} of the {lines} of `{file.stem}`" for node in study]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found = length(node), f"{name}::{node.name}"
                longest["a function"] = max(longest.get("a function", (0, "")), found)
    limits = {
        "a file with a torch module": rules.LINES_OF_A_MODEL,
        "a study": rules.LINES_OF_A_FILE,
        "another file": rules.LINES_OF_A_FILE,
        "a function": rules.LINES_OF_A_FUNCTION,
    }
    rows = ["| | lines at most | the longest | |", "|---|---|---|---|"]
    rows += [f"| {kind} | {most} | {longest[kind][0]} | `{longest[kind][1]}` |" for kind, most in limits.items()]
    excused = [f"`{name}` may have {lines} lines: {why}" for name, (lines, why) in rules.RATCHET.items()]
    rows += ["", *(excused or ["`make check` counts them, and there is no exception."])]
    return "\n".join([*rows, "", f"Lines of studies that only declare (`STUDY = …`): {', '.join(declared)}."])


def length(node: ast.stmt) -> int:
    """Lines of a statement."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def architecture() -> ModuleType:
    """The test that counts, so that limits stand in one place."""
    spec = importlib.util.spec_from_file_location("test_architecture", ROOT / "tests/unit/test_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
