"""`maquette new`: what it writes runs from where it stands; the contract's own tests take it too."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maquette.cli import commands
from maquette.core.errors import UserError

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


@pytest.fixture
def maquette(tmp_path):
    """Runs a command line in an empty folder."""

    def run(line):
        done = subprocess.run([BIN / "maquette", *line], cwd=tmp_path, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done

    return run


def refused(done):
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.slow
def test_what_it_writes_is_reproduced_as_it_stands(maquette, tmp_path):
    done = maquette(["new", "my-first_paper"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "maquette run my_first_paper.py --scale smoke" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["my_first_paper.py"]
    done = maquette(["run", "./my_first_paper.py", "--jobs", "1", "--json"])
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["study"], outcome["seeds"]) == ("my_first_paper", 5)
    assert [claim["verdict"] for claim in outcome["claims"]] == ["reproduced", "reproduced"]
    assert {control["verdict"] for claim in outcome["claims"] for control in claim["controls"]} == {"refuted"}


def test_a_second_one_leaves_the_first_as_it_is(maquette, tmp_path):
    (tmp_path / "my_paper.py").write_text("an afternoon's work")
    assert "my_paper.py is there already" in refused(maquette(["new", "my-paper"]))
    assert (tmp_path / "my_paper.py").read_text() == "an afternoon's work"


def test_the_package_s_own_studies_are_not_begun_again(tmp_path):
    with pytest.raises(UserError, match="one of Maquette's own studies"):
        commands.run(["new", "scaling-laws", "--out", str(tmp_path / "folder")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["my paper", "2nd-paper", "a/b", "", "__main__", "class", "torch", "statistics"])
def test_a_name_that_no_study_can_bear_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=re.escape(repr(name))):
        commands.run(["new", name, "--out", str(tmp_path / "folder")])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(maquette, tmp_path):
    (tmp_path / "file").write_text("")
    assert "Cannot write" in refused(maquette(["new", "my-paper", "--out", "file"]))
    assert maquette(["new", "my-paper", "--out", "some/folder"]).returncode == 0
    assert (tmp_path / "some" / "folder" / "my_paper.py").exists()


def test_it_is_written_as_the_package_is(maquette, tmp_path):
    maquette(["new", "my-paper"])
    for check in (["check"], ["format", "--check"]):
        line = [BIN / "ruff", *check, "--no-cache", "--config", ROOT / "pyproject.toml", "my_paper.py"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
