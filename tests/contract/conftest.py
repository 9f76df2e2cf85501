"""The bent study, written anew for each test, with replacements."""

import functools
import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from maquette.core.records import Record, read_record
from maquette.lab import keys, rehearsal, worker
from maquette.lab.pool import InProcess
from maquette.lab.study import load_study
from maquette.lab.terminal import Display

BENT = Path(__file__).with_name("bent_study.py").read_text()


class Bent:
    """A study's file, and what the terminal saw of the last command on it."""

    def __init__(self, folder, name="bent"):
        self.folder, self.name = folder, name
        self.path = folder / f"{name}_study.py"
        self.records, self.scratch, self.artifacts = folder / "runs", folder / "scratch", folder / "artifacts"
        self.directory = self.records / name
        self.said = ""

    def write(self, *replacements):
        text = BENT.replace('name="bent"', f'name="{self.name}"')
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        self.path.write_text(text)
        return self

    def other(self, name):
        """Another study beside it, which shares its artifacts."""
        return Bent(self.folder, name)

    def load(self):
        return load_study(str(self.path))

    def do(self, command, *words, **options):
        terminal = io.StringIO()
        display = Display(Console(file=terminal, width=200))
        try:
            return command(str(self.path), *words, display, records=self.records, scratch=self.scratch, **options)
        finally:
            self.said = terminal.getvalue()

    @property
    def ran(self):
        """Trials that the last command ran."""
        return len(re.findall(r"seed \d+: done", self.said))

    @property
    def made(self):
        """Artifacts that the last command made."""
        return re.findall(r"the artifact (.+): done", self.said)

    def trials(self, where="laptop"):
        return {path.stem: read_record(path, Record) for path in sorted(self.directory.glob(f"{where}/trials/*.json"))}


@pytest.fixture(autouse=True)
def rehearsed_here(monkeypatch):
    """Starting a process for each rehearsal would take minutes; test_rehearsal.py has its own."""
    monkeypatch.setattr(rehearsal, "fresh_pool", lambda study, *_: InProcess(study))


@pytest.fixture
def bent(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files are written anew within one tick of their clock
    monkeypatch.setattr(sys, "path", list(sys.path))  # to which a study's folder is added
    monkeypatch.setattr("os.fsync", lambda file: None)  # nobody pulls the plug
    for place, name in ((worker, "versions"), (keys, "commit")):  # slow to ask for, and the same throughout
        monkeypatch.setattr(place, name, functools.cache(getattr(place, name)))
    return Bent(tmp_path).write()
