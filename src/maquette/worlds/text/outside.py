"""Text from outside: the user's own folder, or a Hugging Face dataset."""

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.worlds.text.documents import Document, Origin, Reading, cut, digest_of

FOLDER_LIMIT = 1_000_000_000
"""Bytes of a folder that are read into memory at most."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The user's own text: a folder, with everything below it, or one file.

    Hidden entries and `__pycache__` are passed over; a file with a zero byte near its start is binary (git's rule) and
    counted as left out; everything else is text and must be UTF-8: one file that is not stops the reading and is named.
    """

    path: Path

    def identity(self) -> object:
        """The digest of what the folder holds now."""
        return [asdict(origin) for origin in self.read().origins]

    def read(self) -> Reading:
        """The files by path, the long ones cut into sections.

        Raises:
            UserError: missing, unreadable, empty, without text, too large, or a text file that is not UTF-8.
        """
        files = self._files()
        size = sum(path.stat().st_size for path in files)
        if size > FOLDER_LIMIT:
            raise UserError(
                f"{self.path} holds {size:,} bytes; at most {FOLDER_LIMIT:,} are read: give a smaller folder."
            )
        try:
            contents = [(path.relative_to(self._root).as_posix(), path.read_bytes()) for path in files]
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read ({error.strerror}); allow it or move it away.") from error
        found = [(path, data) for path, data in contents if not _is_binary(data)]
        documents = [Document(path=path, text=_decode(path, data)) for path, data in found]
        documents = [document for document in documents if document.text.strip()]
        if not documents:
            raise UserError(
                f"{self.path} holds no text ({len(files)} files, none with words in UTF-8); name another folder."
            )
        origin = Origin(
            name=self.path.resolve().name,
            version="",
            licence="the user's own",
            files=len(found),
            left_out=len(files) - len(found),
            bytes=sum(len(data) for _, data in found),
            sha256=digest_of(found),
        )
        return Reading(cut(documents), [origin])

    @property
    def _root(self) -> Path:
        return self.path.parent if self.path.is_file() else self.path

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        if not self.path.is_dir():
            raise UserError(f"text: {self.path} does not exist; name a folder of text files, or one text file.")
        inside = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return [
            self.path / path
            for path in sorted(inside, key=Path.as_posix)
            if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
        ]


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:8000] and data[:2] not in (b"\xff\xfe", b"\xfe\xff")  # UTF-16 text is text, in need of a mend


def _decode(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); convert it, for example with "
            "`iconv -f latin1 -t utf-8`, or move it out of the folder."
        ) from error


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """The first `max_bytes` of text in one split of a Hugging Face dataset; needs the extra `hub`."""

    name: str
    subset: str | None = None
    split: str = "train"
    field: str = "text"
    revision: str = "main"
    """A commit makes it reproducible; a branch may move."""
    max_bytes: int = 100_000_000

    def identity(self) -> object:
        """The dataset's address: asking for its text on every run would need the network on every run."""
        return asdict(self)

    def read(self) -> Reading:
        """Rows in the dataset's order, as a stream, until `max_bytes` are reached.

        Raises:
            UserError: `datasets` is absent, the dataset cannot be had, or it has no such text field.
        """
        try:
            load_dataset = importlib.import_module("datasets").load_dataset
        except ImportError as error:
            raise UserError("A Hugging Face dataset needs the extra `hub`: bash scripts/setup.sh hub.") from error
        try:
            rows = load_dataset(self.name, self.subset, split=self.split, revision=self.revision, streaming=True)
            documents = list(self._documents(rows))
        except UserError:
            raise
        except Exception as error:  # the hub, its network and its file formats share no narrower class
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"The dataset {self.name!r} cannot be read: {reason}") from error
        if not documents:
            raise UserError(f"The dataset {self.name!r} ({self.split}) holds no text; name another split or field.")
        origin = Origin(
            name=self.name,
            version=self.revision,
            licence=str(getattr(rows.info, "license", "") or "see the dataset's card"),
            files=len(documents),
            left_out=0,
            bytes=sum(len(document.text.encode()) for document in documents),
            sha256=digest_of((document.path, document.text.encode()) for document in documents),
        )
        return Reading(cut(documents), [origin])

    def _documents(self, rows: Iterable[dict[str, Any]]) -> Iterator[Document]:
        size = 0
        for number, row in enumerate(rows):
            text = row.get(self.field)
            if not isinstance(text, str):
                raise UserError(f"{self.name} has no text field {self.field!r}; its fields are {sorted(row)}.")
            if text.strip():
                yield Document(path=f"{self.name}/{number}", text=text)
                size += len(text.encode())
            if size >= self.max_bytes:
                return
