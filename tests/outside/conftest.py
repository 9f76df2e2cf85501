"""What other projects' readers and clients made of us, as one table; with `--record FILE` it is kept.

A test says whom it asks: `pytestmark = pytest.mark.against("transformers")`. The version is that of the installed
package; `python` names the interpreter of an environment that has it instead, `version` says it outright.
"""

import importlib.metadata
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from maquette.core.files import write_json
from maquette.core.provenance import commit, machine

HERE = Path(__file__).parent
WHOLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
"""How a session ends that ran all that it set out to run."""


@dataclass
class Check:
    """One test with all its parameters."""

    against: str
    version: str
    file: str
    check: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def note(self, report):
        """Count a report; of what passed only the call counts, not what came before and after it."""
        self.seconds += getattr(report, "duration", 0.0)
        self.failed += report.failed
        self.skipped += report.skipped
        self.passed += report.passed and report.when == "call"
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.reasons = sorted({*self.reasons, reason.removeprefix("Skipped: ")})

    @property
    def outcome(self):
        """In a word."""
        words = [f"{n} {word}" for word, n in (("failed", self.failed), ("skipped", self.skipped)) if n]
        return ", ".join(words) or "passed"


class Answers:
    """Listens to a session, prints its table, and keeps it."""

    def __init__(self, record):
        self.record = record
        self.checks = {}
        self.versions = {}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            if item.path.parent == HERE and item.get_closest_marker("against") is None:
                raise pytest.UsageError(f"{item.nodeid} does not say whom it asks; mark it with against(…).")

    def pytest_collectreport(self, report):
        if report.skipped:  # a file that asks for a package that is not there
            self.checks[report.nodeid] = check = Check("nobody", "", report.nodeid, "the whole file")
            check.note(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        if mark := item.get_closest_marker("against"):
            name = item.nodeid.partition("[")[0]
            if name not in self.checks:
                file, sentence = item.nodeid.partition("::")[0], item.originalname.removeprefix("test_")
                self.checks[name] = Check(mark.args[0], self.version(mark), file, sentence.replace("_", " "))
            self.checks[name].note(report)
        return report

    def version(self, mark):
        """Of the project that a mark names."""
        project = mark.args[0]
        if project not in self.versions:
            self.versions[project] = mark.kwargs.get("version") or version_of(project, mark.kwargs.get("python"))
        return self.versions[project]

    def pytest_terminal_summary(self, terminalreporter, exitstatus):
        checks = sorted(self.checks.values(), key=lambda one: (one.against.lower(), one.file))
        if not checks:
            return
        table = Table("against", "check", "result", "s", box=None)
        for before, one in zip([None, *checks], checks, strict=False):
            asked = f"{one.against} {one.version}" if before is None or before.against != one.against else ""
            table.add_row(asked, one.check, one.outcome, f"{one.seconds:.1f}")
        console = Console(width=terminalreporter._tw.fullwidth)
        with console.capture() as text:
            console.print(table)
        terminalreporter.section("what other projects' readers and clients say")
        terminalreporter.write(text.get())
        if self.record is not None and exitstatus in WHOLE:
            made = {"commit": commit(), "machine": machine(), "python": platform.python_version()}
            write_json(self.record, made | {"checks": [asdict(one) for one in checks]})
            terminalreporter.write_line(f"kept in {self.record}")


def version_of(project, python=None):
    """Of an installed package, in this environment or in that of another interpreter."""
    if python is None:
        try:
            return importlib.metadata.version(project)
        except importlib.metadata.PackageNotFoundError:
            return "(not installed)"
    code = f"import importlib.metadata; print(importlib.metadata.version({project!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True) if Path(python).exists() else None
    return done.stdout.strip() if done and done.returncode == 0 else "(not installed)"


def pytest_addoption(parser):
    parser.addoption("--record", type=Path, help="the JSON file that the table of other projects' answers is kept in")


def pytest_configure(config):
    config.pluginmanager.register(Answers(config.getoption("record")), "answers")
