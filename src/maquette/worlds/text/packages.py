"""The default text: the files that people wrote inside exactly pinned packages, the same on every machine."""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from maquette.core.errors import UserError, did_you_mean
from maquette.worlds.text.documents import Document, Origin, Reading, digest_of


class Pin(NamedTuple):
    """One exact release and the digest of its text files."""

    version: str
    files: int
    sha256: str


PINS = {
    "mpmath": Pin("1.3.0", 87, "b156a0a1b3821922d6fd4fd165a9c0b0fe26be81eb85e9f292edb845cc2374c3"),
    "networkx": Pin("3.6.1", 580, "44b5fe40b4b6aa7447cdf26712a90bc1a7619c7a98803ccef71a143d226e3f87"),
    "sympy": Pin("1.14.0", 1534, "90fc9ea6ff064e24504667abaeef8ab17ae1eec3326dcc46d5e273442c4d5405"),
}
"""The releases that pyproject.toml pins, as their wheels hold them."""

TEXT_SUFFIXES = (".py", ".txt", ".rst", ".md")
LETTERS_AT_LEAST = 0.5
"""Share of letters and underscores among characters that are not white space; below it a file is a table of numbers
or of symbols, whose loss would distort a scaling law."""
SHORTEST = 64
"""Characters that are not white space; a shorter file says nothing and cannot be tested for near duplicates."""
GENERATED = re.compile(r"do not (\w+ )?edit", re.IGNORECASE)


def is_readable(text: str) -> bool:
    """Whether a person would read it: long enough, not marked as generated, at least half of it letters."""
    dense = "".join(text.split())
    letters = sum(map(str.isalpha, dense)) + dense.count("_")
    return len(dense) >= SHORTEST and letters >= LETTERS_AT_LEAST * len(dense) and not GENERATED.search(text[:1000])


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The readable source and documentation files inside installed packages, checked against `PINS`."""

    names: tuple[str, ...] = ("mpmath", "networkx", "sympy")

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in PINS:
                raise UserError(f"packages: {name!r} is not a pinned text; {did_you_mean(name, PINS)}")
        if not self.names or len(set(self.names)) < len(self.names):
            raise UserError(
                f"packages = {self.names!r} must name at least one package, each once; known: {sorted(PINS)}."
            )

    def identity(self) -> object:
        """The pins, after checking that these versions are the ones installed."""
        return [(name, *PINS[name]) for name in sorted(self.names) if _distribution(name)]

    def read(self) -> Reading:
        """The readable files, by path.

        Raises:
            UserError: a package is absent, of another version, or differs from its release.
        """
        documents, origins = [], []
        for name in sorted(self.names):
            files = _package_files(name)
            digest = digest_of(files)
            if (len(files), digest) != PINS[name][1:]:
                raise UserError(
                    f"The installed {name} {PINS[name].version} differs from its release ({len(files)} text files with "
                    f"digest {digest[:12]}, expected {PINS[name].files} with {PINS[name].sha256[:12]}); reinstall it: "
                    f"pip install --force-reinstall --no-deps {name}=={PINS[name].version}."
                )
            texts = [Document(path=path, text=data.decode("utf-8")) for path, data in files]
            kept = [document for document in texts if is_readable(document.text)]
            documents += kept
            origins.append(
                Origin(
                    name=name,
                    version=PINS[name].version,
                    licence=_licence(name),
                    files=len(files),
                    left_out=len(files) - len(kept),
                    bytes=sum(len(data) for _, data in files),
                    sha256=digest,
                )
            )
        return Reading(documents, origins)


def _distribution(name: str) -> metadata.Distribution:
    version = PINS[name].version
    mend = f"install the pinned one: pip install {name}=={version}."
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise UserError(f"The text of {name} {version} is not installed; {mend}") from error
    if distribution.version != version:
        raise UserError(f"{name} {distribution.version} is installed, but the text is that of {version}; {mend}")
    return distribution


def _package_files(name: str) -> list[tuple[str, bytes]]:
    """The package's text files as its installer recorded them: what was merely dropped into the folder is not text."""
    distribution = _distribution(name)
    paths = sorted(path.as_posix() for path in distribution.files or ())
    texts = [path for path in paths if path.startswith(f"{name}/") and path.endswith(TEXT_SUFFIXES)]
    try:
        return [(path, Path(str(distribution.locate_file(path))).read_bytes()) for path in texts]
    except OSError as error:
        raise UserError(f"{name}: {error.filename} cannot be read ({error.strerror}); reinstall {name}.") from error


def _licence(name: str) -> str:
    """The package's own words: its licence expression, else its licence field."""
    entries = _distribution(name).metadata.json
    return str(entries.get("license_expression") or entries.get("license") or "not stated")
