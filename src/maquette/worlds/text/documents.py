"""What every source of text yields: documents, and a record of where they came from."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

SECTION = 64 * 1024
"""Characters; a longer document of the user's is cut at line ends, so that one book still has a validation split."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text and where it came from."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What was read from one source: enough to name it, to credit it and to know it again."""

    name: str
    version: str
    """The release or revision; empty for a folder."""
    licence: str
    """As the source itself states it."""
    files: int
    """Text files found."""
    left_out: int
    """Files found and not read: generated code and tables of numbers in a package, binary files in a folder."""
    bytes: int
    """UTF-8 bytes of the files found."""
    sha256: str
    """Digest over every (path, sha256 of its bytes), sorted by path."""


class Reading(NamedTuple):
    """The documents of a source and the record of where they came from."""

    documents: list[Document]
    origins: list[Origin]


@runtime_checkable
class Source(Protocol):
    """Anything that yields documents."""

    def identity(self) -> object:
        """JSON-like value that changes whenever the text does; cheap enough to ask for on every run."""

    def read(self) -> Reading:
        """Every document, in an order that does not depend on the machine."""


def digest_of(files: Iterable[tuple[str, bytes]]) -> str:
    """One digest over every (path, sha256 of its bytes), in the order given."""
    whole = hashlib.sha256()
    for path, data in files:
        whole.update(f"{path}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return whole.hexdigest()


def cut(documents: list[Document]) -> list[Document]:
    """Long documents cut at line ends; the less text there is, the smaller, so that each split gets some."""
    size = min(SECTION, max(1024, sum(len(document.text) for document in documents) // 32))
    return [
        Document(path=f"{document.path}#{number}", text=part) if len(document.text) > size else document
        for document in documents
        for number, part in enumerate(sections(document.text, size))
    ]


def sections(text: str, size: int) -> list[str]:
    """Pieces of at most `size` characters, cut after a line end where there is one; joined, they are `text`."""
    pieces, start = [], 0
    while len(text) - start > size:
        end = text.rfind("\n", start, start + size) + 1 or start + size
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]] if start < len(text) else pieces
