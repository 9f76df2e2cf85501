"""The table of `make outside`: what passed, failed and was skipped is counted as such, by project and version."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "outside" / "conftest.py"
CHECKS = """
import pytest

pytestmark = pytest.mark.against("numpy")

@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_of_three_is_wrong(n):
    assert n != 2

@pytest.mark.against("nobodys-package")
def test_it_is_not_here():
    pytest.skip("no such package")

@pytest.mark.against("a list", version="of 1999")
def test_a_list_agrees():
    pass

@pytest.fixture
def broken():
    raise OSError("gone")

def test_its_setup_fails(broken):
    pass
"""


def ask(folder, *options):
    """What pytest prints there, with the table's own conftest."""
    shutil.copy(CONFTEST, folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which take seconds to load
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, timeout=120, env=environment
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    (folder / "test_some.py").write_text(CHECKS)
    (folder / "test_other.py").write_text('import pytest\n\npytest.importorskip("nobodys_package")\n')
    code, said = ask(folder, "--record", "record.json")
    return code, said, json.loads((folder / "record.json").read_text())


def test_every_test_is_counted_once_and_by_what_became_of_it(asked):
    code, _, record = asked
    assert code == 1
    found = {one["check"]: (one["passed"], one["failed"], one["skipped"]) for one in record["checks"]}
    assert found == {
        "one of three is wrong": (2, 1, 0),
        "it is not here": (0, 0, 1),
        "a list agrees": (1, 0, 0),
        "its setup fails": (0, 1, 0),
        "the whole file": (0, 0, 1),
    }


def test_projects_have_their_versions_and_skips_their_reasons(asked):
    import numpy

    record = asked[2]
    versions = {one["against"]: one["version"] for one in record["checks"]}
    assert versions["numpy"] == numpy.__version__
    assert (versions["a list"], versions["nobodys-package"]) == ("of 1999", "(not installed)")
    reasons = {one["check"]: one["reasons"] for one in record["checks"]}
    assert reasons["it is not here"] == ["no such package"]
    assert "nobodys_package" in reasons["the whole file"][0]
    assert record["machine"]["cores"] >= 1


def test_the_table_is_printed(asked):
    table = asked[1].partition("what other projects' readers and clients say")[2]
    rows = [line.split() for line in table.splitlines()]
    assert ["a", "list", "of", "1999", "a", "list", "agrees", "passed"] in [row[:-1] for row in rows]
    assert any("1 failed" in " ".join(row) for row in rows)


def test_a_test_that_does_not_say_whom_it_asks_is_refused(tmp_path):
    (tmp_path / "test_some.py").write_text("def test_something():\n    pass\n")
    code, _ = ask(tmp_path, "--record", "record.json")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert not (tmp_path / "record.json").exists()


def test_a_session_that_was_stopped_leaves_no_record(tmp_path):
    (tmp_path / "test_some.py").write_text(
        'import pytest\n\n@pytest.mark.against("numpy")\ndef test_something():\n    raise KeyboardInterrupt\n'
    )
    code, _ = ask(tmp_path, "--record", "record.json")
    assert code == pytest.ExitCode.INTERRUPTED
    assert not (tmp_path / "record.json").exists()
