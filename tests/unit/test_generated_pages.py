"""What docs/ tells of the sources: the drawing of the layers, the API reference, lines and budgets."""

import ast
import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
MODULE = '''
"""What it is. More of it."""

import os

LIMIT = 3
"""How many.

And why."""
_hidden = 4
UNSAID = 5

class Thing(Base):
    """A thing.

    Args:
        size: its size.
    """

    size: int = 1
    """In metres."""
    _secret: int = 2

    def __init__(self, size: "Float[Tensor, 'a b']") -> None:
        self.size = size

    def __repr__(self):
        return ""

    @property
    def double(self) -> int:
        """Twice."""
        return 2 * self.size

    def _own(self): ...

async def ask(what: str, *, times: int = 3) -> list[str]:
    """Ask.

    Raises:
        OSError: nobody answers.
    """
    return []

def _helper(): ...
'''
STUB = '''LIMIT = 3
"""How many."""

class Thing(Base):
    """A thing."""

    size: int = 1
    """In metres."""

    def __init__(self, size: "Float[Tensor, 'a b']") -> None: ...
    @property
    def double(self) -> int:
        """Twice."""

async def ask(what: str, *, times: int = 3) -> list[str]:
    """Ask."""'''


def script(name):
    """A module of scripts/."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def house(tmp_path):
    """A package of three layers, with its trees."""
    files = {
        "top/__init__.py": '"""Above all. It has more to say."""',
        "top/one.py": "from house.middle.two import x\nfrom house import low\nimport house.low.three",
        "middle/__init__.py": '"""Between."""',
        "middle/two.py": "def f():\n    from house.low.three import y\n    import housekeeping.top",
        "low/__init__.py": '"""Below."""',
        "low/three.py": MODULE,
        "__init__.py": "from house.top import one",
    }
    package = tmp_path / "src" / "house"
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package, {file: ast.parse(file.read_bytes()) for file in sorted(package.rglob("*.py"))}


def test_the_drawing_has_the_imports_that_no_longer_way_says(house):
    lines = [line.strip() for line in script("layers").drawing(*house).splitlines()]
    assert [line for line in lines if "-->" in line] == ["middle --> low", "top --> middle"]
    assert 'top["<b>top</b><br/>Above all"]' in lines


def test_the_reference_shows_what_is_public_and_nothing_else(house):
    pages = script("reference").pages(*house)
    assert sorted(pages) == ["README.md", "low.md", "middle.md", "top.md"]
    assert pages["low.md"].partition("```python\n")[2].partition("\n```")[0] == STUB
    assert "## [`house.low.three`](../../src/house/low/three.py)\n\nWhat it is. More of it.\n" in pages["low.md"]
    assert "| [`house.top`](top.md) | Above all. It has more to say. |" in pages["README.md"]
    assert "## [`house.middle.two`]" in pages["middle.md"]
    assert "##" not in pages["top.md"], "it offers nothing"


def test_reading_leaves_the_trees_as_they_are(house):
    before = {file: ast.dump(tree) for file, tree in house[1].items()}
    script("reference").pages(*house)
    assert {file: ast.dump(tree) for file, tree in house[1].items()} == before


def test_the_longest_are_named_with_their_limits():
    costs = script("costs")
    name = costs.SOURCE / "language" / "llama.py"
    text = costs.budgets({name: ast.parse(name.read_bytes())} | studies(costs))
    rules = costs.architecture()
    lines = len(name.read_text(encoding="utf-8").splitlines())
    assert f"| a file with a torch module | {rules.LINES_OF_A_MODEL} | {lines} | `language/llama.py` |" in text
    assert f"| a function | {rules.LINES_OF_A_FUNCTION} |" in text
    assert "of `scaling_laws`" in text


def studies(costs):
    files = [*(costs.SOURCE / "studies").glob("*/[a-z]*.py"), costs.SOURCE / "core" / "files.py"]
    return {file: ast.parse(file.read_bytes()) for file in files}


def test_systems_are_counted_from_their_files():
    costs = script("costs")
    text = costs.systems()
    lines = len((costs.SOURCE / "language" / "llama.py").read_text(encoding="utf-8").splitlines())
    assert f"| Llama 3, Mistral, Qwen2.5, Qwen3 | [{round(lines, -1)}](../src/maquette/language/llama.py) |" in text
    for parts in costs.SYSTEMS.values():
        for file in [one for files in parts for one in files]:
            assert (costs.ROOT / file).exists(), file
    compile(costs.listing(), "octo.py", "exec")


@pytest.mark.parametrize("page", ["scene.md", "chat.md", "sight.md", "video.md", "own-things.md"])
def test_a_page_shows_its_records(page, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    generate = script("generate_docs")
    told = (SCRIPTS.parent / "docs" / page).read_text(encoding="utf-8")
    assert generate.filled(told, generate.TABLES[page]) == told, "scripts/generate_docs.py was not run"
