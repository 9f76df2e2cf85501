import ast
import importlib.util
import shutil
import sys

import pytest

from maquette.core import provenance
from maquette.core.provenance import source_hash

STUDY = '''
"""A study."""
import math
from dataclasses import dataclass
from model import width  # beside this file

TITLE = "about the paper"
DEPTH = 3

@dataclass(frozen=True)
class Config:
    """Its config."""
    size: int = 1

    @property
    def area(self):
        return self.size**2

def helper(x):
    return x * DEPTH

def trial(config: Config, seed: int) -> dict:
    """Runs."""
    return {"m": helper(width(config.area)) + seed}

def figure():
    return TITLE
'''
MODEL = '''
"""A model."""
from layers import norm

def width(x):
    """Width."""
    return norm(x) + 1

def unused():
    return 0
'''
LAYERS = "def norm(x):\n    return x / 2\n"


@pytest.fixture
def hash_of(tmp_path, monkeypatch):
    """Writes the three files, with replacements, and hashes the trial and its config."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(*replacements):
        texts = {"study": STUDY, "model": MODEL, "layers": LAYERS}
        for name, text in texts.items():
            for old, new in replacements:
                text = text.replace(old, new)
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        spec = importlib.util.spec_from_file_location("user_study", tmp_path / "study.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "user_study", module)
        spec.loader.exec_module(module)
        sys.dont_write_bytecode = before
        return source_hash(module.trial, module.Config)

    yield written
    for name in ("model", "layers"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "edit",
    [
        ('"""Runs."""', '"""Runs, and runs."""'),
        ('"""Its config."""', '"""Another."""'),
        ('"""A model."""', '"""A better model."""'),
        ('"""Width."""\n', '"""Width."""\n    # of the model\n'),
        ("# beside this file", ""),
        ("x / 2", "(x  /  2)"),
        ("seed: int) -> dict", "seed)"),
        ('"about the paper"', '"about another paper"'),
        ("return TITLE", "return TITLE + TITLE"),
    ],
)
def test_what_cannot_change_a_result_does_not_count(hash_of, edit):
    assert any(edit[0] in text for text in (STUDY, MODEL, LAYERS))
    assert hash_of(edit) == hash_of()


@pytest.mark.parametrize(
    "edit",
    [
        ('"m": helper', '"n": helper'),
        ("x * DEPTH", "x + DEPTH"),
        ("DEPTH = 3", "DEPTH = 4"),
        ("self.size**2", "self.size**3"),
        ("size: int = 1", "size: int = 2"),
        ("norm(x) + 1", "norm(x) + 2"),
        ("x / 2", "x / 3"),
    ],
)
def test_what_can_does(hash_of, edit):
    assert any(edit[0] in text for text in (STUDY, MODEL, LAYERS))
    assert hash_of(edit) != hash_of()


def test_our_own_modules_are_followed(monkeypatch, tmp_path):
    """A lazily imported module counts, with what it imports in turn; one that is not imported does not."""
    package = tmp_path / "maquette"
    for name, text in {
        "__init__": "",
        "nn/__init__": "",
        "nn/attention": "from . import rope\ndef attend(q):\n    'Attends.'\n    return rope.turn(q)\n",
        "nn/rope": "def turn(q):\n    return q\n",
        "nn/other": "X = 1\n",
        "studies/__init__": "",
        "studies/one": "def trial(c):\n    from maquette.nn import attention\n    return attention.attend(c)\n",
    }.items():
        (package / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", package)

    def edited(name, old, new):
        path = package / f"{name}.py"
        text = path.read_text()
        path.write_text(text.replace(old, new))
        walk = provenance._Walk()
        walk.read(provenance._Module(package / "studies" / "one.py"), "trial")
        path.write_text(text)
        return walk.seen

    same = edited("nn/rope", "", "")
    assert edited("nn/rope", "return q", "return -q") != same
    assert edited("nn/attention", "turn(q)", "turn(q) + 1") != same
    assert edited("nn/attention", "'Attends.'", "'Attends to it.'") == same
    assert edited("nn/other", "X = 1", "X = 2") == same


def test_in_the_package_itself_attention_counts_where_it_is_used_and_its_docstring_nowhere(monkeypatch, tmp_path):
    package = tmp_path / "maquette"
    shutil.copytree(provenance.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", package)
    stream = package / "nn" / "stream.py"
    text = stream.read_text()

    def code(name, function, edited=text):
        stream.write_text(edited)
        walk = provenance._Walk()
        walk.read(provenance._Module(package / name), function)
        return walk.seen

    definition = ast.get_source_segment(text, next(one for one in ast.parse(text).body if _named(one, "attend")))
    docstring = ast.get_docstring(ast.parse(definition).body[0], clean=False)
    better_said = text.replace(docstring, f"Once more, {docstring}")
    attends_otherwise = text.replace(definition, definition.replace("return ", "return -"))
    assert len({text, better_said, attends_otherwise}) == 3
    study, corpus = ("studies/language/scaling_laws.py", "trial"), ("worlds/text/packages.py", "Packages")
    assert code(*study, better_said) == code(*study)
    assert code(*study, attends_otherwise) != code(*study)
    assert code(*corpus, attends_otherwise) == code(*corpus)


@pytest.mark.parametrize("name", ["language/scaling_laws", "language/deepseek_r1", "video/dit", "robotics/pi0"])
def test_no_trial_depends_on_what_judges_it(name):
    """What the lab makes of trials may change without their being run again."""
    walk = provenance._Walk()
    walk.read(provenance._Module(provenance.PACKAGE / f"studies/{name}.py"), "trial")
    reached = {file.stem for file in walk.files if file.is_relative_to(provenance.PACKAGE / "lab")}
    assert not reached & {"bending", "campaign", "contract", "criticism", "improvement", "scales", "study", "verdicts"}


def _named(statement, name):
    return isinstance(statement, ast.FunctionDef) and statement.name == name


def test_machine_versions_and_commit_say_something(tmp_path):
    assert provenance.machine()["cores"] >= 1
    assert provenance.machine()["memory_gib"] > 0
    assert provenance.versions()["python"].startswith("3.")
    assert provenance.commit(tmp_path) == "unknown"


def test_processors_of_one_name_are_told_apart():
    zen = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: {}\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n"
    assert provenance.cpu_in(zen.format(17)) == "AMD EPYC, family 25, model 17"
    assert provenance.cpu_in(zen.format(1)) != provenance.cpu_in(zen.format(17))
    assert provenance.cpu_in("processor\t: 0\nBogoMIPS\t: 50.00\n")  # no name on some ARM
