"""The house rules that a machine can count. `make check` runs the import contracts beside this.

A limit is met by making files smaller. Where that must wait, RATCHET names the file or function with its size and the
reason; an entry larger than the truth fails too, so the numbers only fall.
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "maquette"
FILES = sorted(SOURCE.rglob("*.py"))

LINES_OF_A_FILE = 400
LINES_OF_A_MODEL = 300
LINES_OF_A_FUNCTION = 60
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "base", "common"}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

RATCHET: dict[str, tuple[int, str]] = {}
"""`path` or `path::function` → (lines allowed, why)."""


def name_of(path):
    return path.relative_to(SOURCE).as_posix()


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node):
    """`a.b.c` of a name or an attribute; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def defines_a_model(tree):
    return any(
        dotted(b) in ("nn.Module", "torch.nn.Module")
        for n in ast.walk(tree)
        if isinstance(n, ast.ClassDef)
        for b in n.bases
    )


def too_long(files):
    """Every file and function over its limit, with its size."""
    found = {}
    for path in files:
        text, tree = path.read_text(encoding="utf-8"), tree_of(path)
        lines = len(text.splitlines())
        if lines > (LINES_OF_A_MODEL if defines_a_model(tree) else LINES_OF_A_FILE):
            found[name_of(path)] = lines
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > LINES_OF_A_FUNCTION:
                    found[f"{name_of(path)}::{node.name}"] = lines
    return found


def unsafe(tree):
    """What would run code out of data: pickles, `eval`, `exec`, torch's and NumPy's own loaders."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PICKLES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in PICKLES:
                yield node.module
            if node.module == "torch":
                yield from (f"torch.{alias.name}" for alias in node.names if alias.name in ("load", "save"))
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in ("eval", "exec", "compile", "__import__", "torch.load", "torch.save", "os.system", "globals"):
                yield name
            for keyword in node.keywords:
                on = not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                if keyword.arg in ("allow_pickle", "trust_remote_code", "shell") and on:
                    yield f"{name}({keyword.arg}=…)"


def test_there_is_something_to_count():
    assert {"nn/stream.py", "train/loop.py", "language/llama.py"} <= {name_of(path) for path in FILES}
    assert defines_a_model(tree_of(SOURCE / "language" / "llama.py"))
    assert not defines_a_model(tree_of(SOURCE / "core" / "files.py"))


def test_files_and_functions_are_short():
    found = too_long(FILES)
    over = {name: lines for name, lines in found.items() if lines > RATCHET.get(name, (0, ""))[0]}
    assert not over, f"make these shorter: {over}"


def test_the_ratchet_only_tightens():
    found = too_long(FILES)
    loose = {name: allowed for name, (allowed, _) in RATCHET.items() if found.get(name) != allowed}
    assert not loose, f"these entries allow more than there is; lower or delete them: {loose}"
    assert all(len(reason) > 20 for _, reason in RATCHET.values()), "an exception says why"


def test_files_are_named_for_what_they_hold():
    named = [name_of(path) for path in FILES if path.stem in NAMELESS or path.parent.name in NAMELESS]
    assert not named


def test_no_data_is_run_as_code():
    found = {name_of(path): calls for path in FILES if (calls := sorted(set(unsafe(tree_of(path)))))}
    assert not found


def test_annotations_are_real():
    """jaxtyping's checks read them at run time."""
    late = [name_of(path) for path in FILES if "from __future__ import annotations" in path.read_text(encoding="utf-8")]
    assert not late


def test_every_folder_says_what_it_is():
    for folder in sorted({path.parent for path in FILES}):
        front = folder / "__init__.py"
        assert front.exists(), f"{name_of(folder)} has no __init__.py"
        assert ast.get_docstring(tree_of(front)), f"{name_of(front)} has no docstring"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from pickle import loads", ["pickle"]),
        ("from torch import load", ["torch.load"]),
        ("torch.load(path)", ["torch.load"]),
        ("eval(answer)", ["eval"]),
        ("exec(text)", ["exec"]),
        ("np.load(path, allow_pickle=True)", ["np.load(allow_pickle=…)"]),
        ("subprocess.run(text, shell=True)", ["subprocess.run(shell=…)"]),
        ("np.load(path, allow_pickle=False)", []),
        ("model.eval()", []),
        ("re.compile(text)", []),
        ("torch.compile(model)", []),
        ("safetensors.torch.load_file(path)", []),
    ],
)
def test_the_search_for_unsafe_code_finds_it(code, found):
    assert list(unsafe(ast.parse(code))) == found


def test_the_count_sees_what_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)
    body = "\n".join(f"    x = {i}" for i in range(LINES_OF_A_FUNCTION))
    (tmp_path / "long.py").write_text(f"def f():\n{body}\n")
    (tmp_path / "model.py").write_text("class M(nn.Module):\n    pass\n" + "#\n" * LINES_OF_A_MODEL)
    (tmp_path / "file.py").write_text("#\n" * (LINES_OF_A_FILE + 1))
    (tmp_path / "fine.py").write_text("#\n" * LINES_OF_A_FILE)
    found = too_long(sorted(tmp_path.glob("*.py")))
    assert found == {"long.py::f": 61, "model.py": 302, "file.py": 401}
