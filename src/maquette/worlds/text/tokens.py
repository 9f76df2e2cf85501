"""Documents to token files, and token files to batches that are a pure function of the step."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Integer
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import read_json, replacing, sole_writer, write_json
from maquette.core.seeds import numpy_generator
from maquette.worlds.text.documents import Document, sections

Encode = Callable[[list[str]], Iterable[Sequence[int]]]
"""Texts to token ids, one sequence a text."""

PIECE = 1024 * 1024
"""Characters tokenised at once, at most about twice; a longer document is cut at line ends."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """One stream of token ids, every document closed by the end token."""

    ids: Integer[np.ndarray, " tokens"]
    """Read-only and memory-mapped: uint16, or uint32 for a vocabulary above 65,536."""
    text_bytes: int
    """UTF-8 bytes of the documents."""
    documents: int

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text to a token, end tokens counted: bits per byte = nats per token / (this · ln 2)."""
        return self.text_bytes / len(self.ids)


def write_tokens(
    path: Path,
    documents: Iterable[Document],
    encode: Encode,
    *,
    end: int,
    vocabulary: int,
    progress: Callable[[int], None] = lambda text_bytes: None,
) -> None:
    """Tokenise into `path` (raw little-endian ids) and `path`.json (their description), in bounded memory, atomically.

    Args:
        path: the file of ids.
        documents: read once, in order.
        encode: the tokenizer, without special tokens.
        end: id written after every document.
        vocabulary: ids lie below it.
        progress: told the bytes of text done so far.
    """
    dtype = "<u2" if vocabulary <= 2**16 else "<u4"
    tokens = text_bytes = count = 0
    with replacing(path) as temporary:
        with open(temporary, "wb") as file:
            for batch in _batches(documents):
                for (text, last), ids in zip(batch, encode([text for text, _ in batch]), strict=True):
                    closed = np.array([*ids, end] if last else ids, dtype=dtype)
                    closed.tofile(file)
                    tokens, text_bytes, count = tokens + len(closed), text_bytes + len(text.encode()), count + last
                progress(text_bytes)
        write_json(
            path.with_suffix(".json"),
            {"dtype": dtype, "tokens": tokens, "text_bytes": text_bytes, "documents": count},
        )


def _batches(documents: Iterable[Document]) -> Iterator[list[tuple[str, bool]]]:
    """Lists of (piece, whether it ends its document), each list of at most about two `PIECE`s."""
    batch: list[tuple[str, bool]] = []
    size = 0
    for document in documents:
        pieces = sections(document.text, PIECE) or [""]
        for number, piece in enumerate(pieces, start=1):
            batch.append((piece, number == len(pieces)))
            size += len(piece)
            if size >= PIECE:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def read_tokens(path: Path) -> Tokens:
    """Map what `write_tokens` wrote.

    Raises:
        UserError: a file is missing or not of the length its description states.
    """
    described = read_json(path.with_suffix(".json"))
    dtype = np.dtype(described["dtype"])
    stated, found = described["tokens"] * dtype.itemsize, path.stat().st_size if path.is_file() else 0
    if not found or found != stated:
        raise UserError(
            f"{path} holds {found:,} bytes of {stated:,}; delete the folder {path.parent} to make it again."
        )
    ids = np.memmap(path, dtype=dtype, mode="r")
    return Tokens(ids=ids, text_bytes=described["text_bytes"], documents=described["documents"])


def cache_directory() -> Path:
    """Where prepared text is kept: MAQUETTE_CACHE, else ~/.cache/maquette."""
    return Path(os.environ.get("MAQUETTE_CACHE") or Path.home() / ".cache" / "maquette")


def built_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """`directory` after one `build(directory)`, even when several processes ask or an earlier one was killed."""
    complete = directory / "complete.json"
    if not complete.exists():
        with sole_writer(directory, wait=True):
            if not complete.exists():
                for torn in directory.glob(".*.part"):
                    torn.unlink()
                build(directory)
                write_json(complete, {"complete": True})
    return directory


@dataclass(frozen=True, kw_only=True)
class PackedTokens:
    """Training batches: windows of `length` + 1 tokens, disjoint within an epoch, in an order drawn for each epoch.

    The windows' common offset is drawn anew each epoch too, so that epochs cut the text in different places. A batch
    depends on the step alone: resuming needs no other state, and every number of processes sees the same batches.
    """

    tokens: Tokens
    length: int
    rows: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("length", "rows"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)} must be at least 1.")
        if self.windows < 1:
            raise UserError(
                f"The text has {len(self.tokens.ids):,} tokens, but windows of length = {self.length} need at least "
                f"{2 * self.length + 1:,}; give more text or a smaller length."
            )

    @property
    def windows(self) -> int:
        """Windows in an epoch, the same for every offset from 0 to `length`."""
        return (len(self.tokens.ids) - self.length) // (self.length + 1)

    def batch(self, step: int) -> dict[str, Tensor]:
        """The global batch of a step: tokens and targets, each (rows, length) int64; it may straddle epochs."""
        numbers = np.arange(step * self.rows, (step + 1) * self.rows)
        epochs, places = np.divmod(numbers, self.windows)
        starts = np.concatenate(
            [
                _epoch_starts(self.seed, int(epoch), self.windows, self.length)[places[epochs == epoch]]
                for epoch in np.unique(epochs)
            ]
        )
        return _cut_out(self.tokens, starts, self.length)


@functools.lru_cache(maxsize=4)
def _epoch_starts(seed: int, epoch: int, windows: int, length: int) -> Int64[np.ndarray, " windows"]:
    generator = numpy_generator(seed, "windows", epoch)
    offset = generator.integers(length + 1)
    return offset + (length + 1) * generator.permutation(windows)


def validation_batches(tokens: Tokens, *, length: int, rows: int, limit: int | None = None) -> list[dict[str, Tensor]]:
    """The first `limit` batches (all, if None) of (rows, length) in the text's order; every target is predicted once.

    A remainder that does not fill a batch is left out, unless it is all there is.

    Raises:
        UserError: the text is shorter than one window.
    """
    windows = (len(tokens.ids) - 1) // length
    if windows < 1:
        raise UserError(
            f"The validation text has {len(tokens.ids):,} tokens, fewer than one window of length = {length} and its "
            "target; give more text, a larger validation share or a smaller length."
        )
    rows = min(rows, windows)
    count = windows // rows if limit is None else min(limit, windows // rows)
    starts = length * np.arange(count * rows).reshape(count, rows)
    return [_cut_out(tokens, row, length) for row in starts]


def _cut_out(tokens: Tokens, starts: Int64[np.ndarray, " rows"], length: int) -> dict[str, Tensor]:
    window = torch.from_numpy(tokens.ids[starts[:, None] + np.arange(length + 1)].astype(np.int64))
    return {"tokens": window[:, :-1].contiguous(), "targets": window[:, 1:].contiguous()}
