"""A corpus: documents without copies, split by their content, with no near copy on both sides of the split."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt64

from maquette.core.errors import UserError
from maquette.worlds.text.documents import Document, Origin, Source
from maquette.worlds.text.packages import LETTERS_AT_LEAST, SHORTEST, Packages

SHINGLE = 64
"""Characters that are not white space in one shingle: about the 13 words of GPT-3's contamination test
(Brown et al., 2020, appendix C). A power of two, see `shingles`."""
KEEP_EVERY = 8
"""Of the shingles, those whose hash this divides are kept (the sampling of Schleimer et al., 2003, section 3)."""
OVERLAP = 0.2
"""A validation document with more than this share of its shingles in training is dropped."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Training and validation documents, ordered by the hash of their content, so that any prefix is a fair sample."""

    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    origins: tuple[Origin, ...]
    duplicates: int
    """Documents dropped because another has the same words."""
    near_duplicates: int
    """Validation documents dropped because more than `OVERLAP` of their shingles are in training."""
    leakage: float
    """Share of the remaining validation shingles that are also in training: common idioms, licence headers."""
    fingerprint: str
    """Digest of both splits' text."""


def read_corpus(source: Source | None = None, validation: float = 0.05) -> Corpus:
    """Read `source` (by default the pinned packages) and split it.

    Args:
        source: where the text comes from.
        validation: share of the documents held out, by their hash.

    Raises:
        UserError: the source cannot be read, or nothing is left for one of the splits.
    """
    documents, origins = (source or Packages()).read()
    return split_corpus(documents, origins, validation)


def split_corpus(documents: Iterable[Document], origins: Iterable[Origin] = (), validation: float = 0.05) -> Corpus:
    """Drop copies, split by content hash, drop from validation what training nearly holds."""
    if not 0 < validation < 1:
        raise UserError(f"validation = {validation} must lie between 0 and 1; 0.05 holds out one document in twenty.")
    documents = list(documents)
    unique: dict[str, Document] = {}
    for document in documents:
        unique.setdefault(content_hash(document.text), document)
    ordered = sorted(unique.items())
    # The hash is uniform, so its leading digits are a fair lottery; a small corpus draws at least one document.
    held = max(1, sum(int(digest[:13], 16) < validation * 16**13 for digest, _ in ordered))
    candidates = [document for _, document in ordered[:held]]
    train = [document for _, document in ordered[held:]]
    if not train:
        raise UserError("The text is a single short piece, too little to train on and to validate; give more text.")

    known = np.unique(np.concatenate([shingles(document.text) for document in train]))
    kept, shared, total = [], 0, 0
    for document in candidates:
        own = shingles(document.text)
        seen = count_shared(own, known)
        if seen <= OVERLAP * len(own):
            kept.append(document)
            shared, total = shared + seen, total + len(own)
    if not kept:
        raise UserError(
            "The text repeats itself: nothing is left to validate on that training has not seen; vary the text."
        )
    return Corpus(
        train=tuple(train),
        validation=tuple(kept),
        origins=tuple(origins),
        duplicates=len(documents) - len(ordered),
        near_duplicates=len(candidates) - len(kept),
        leakage=shared / max(1, total),
        fingerprint=_fingerprint(train, kept),
    )


def content_hash(text: str) -> str:
    """Digest of a text's words, whatever the white space between them and wherever the file lies."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def shingles(text: str) -> UInt64[np.ndarray, " shingles"]:
    """Sorted hashes of a sample of the `SHINGLE`-byte windows over a text without its white space.

    A window's hash is a polynomial in its bytes, built by doubling: h₂ₖ[i] = hₖ[i]·pᵏ + hₖ[i+k].
    """
    hashes = np.frombuffer("".join(text.split()).encode(), np.uint8).astype(np.uint64)
    if len(hashes) < SHINGLE:
        return hashes[:0]
    power, width = np.array([0x9E3779B97F4A7C15], np.uint64), 1  # arrays wrap around in silence, scalars warn
    while width < SHINGLE:
        hashes = hashes[:-width] * power + hashes[width:]
        power, width = power * power, 2 * width
    hashes ^= hashes >> np.uint64(32)  # a polynomial's low bits are weak: fold the high ones in before sampling
    hashes *= np.uint64(0xD6E8FEB86659FD93)
    hashes ^= hashes >> np.uint64(32)
    return np.unique(hashes[hashes % np.uint64(KEEP_EVERY) == 0])


def count_shared(own: UInt64[np.ndarray, " own"], known: UInt64[np.ndarray, " known"]) -> int:
    """How many of `own` are in the sorted `known`."""
    if not len(known):
        return 0
    places = np.minimum(np.searchsorted(known, own), len(known) - 1)
    return int((known[places] == own).sum())


def describe(corpus: Corpus) -> dict[str, Any]:
    """The manifest, as JSON: what was read, under which licence, and what became of it."""
    return {
        "sources": [asdict(origin) for origin in corpus.origins],
        "train": _size(corpus.train),
        "validation": _size(corpus.validation),
        "duplicates": corpus.duplicates,
        "near_duplicates": corpus.near_duplicates,
        "leakage": corpus.leakage,
        "fingerprint": corpus.fingerprint,
    }


def describe_markdown(corpus: Corpus) -> str:
    """The tables of docs/text.md."""
    lines = [
        "| source | version | licence | text files | left out | bytes | sha256 |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {o.name} | {o.version} | {o.licence} | {o.files:,} | {o.left_out:,} | {o.bytes:,} | `{o.sha256[:16]}` |"
        for o in corpus.origins
    ]
    lines += ["", "| split | documents | bytes |", "|---|---:|---:|"]
    for name, documents in (("train", corpus.train), ("validation", corpus.validation)):
        size = _size(documents)
        lines.append(f"| {name} | {size['documents']:,} | {size['bytes']:,} |")
    lines += [
        "",
        f"Left out while reading: files of less than {SHORTEST} characters, generated files, and files less than "
        f"{LETTERS_AT_LEAST:.0%} letters. Dropped as exact copies: {corpus.duplicates}. Dropped from validation "
        f"as near copies of training (more than {OVERLAP:.0%} of their {SHINGLE}-character shingles in common): "
        f"{corpus.near_duplicates}. Leakage that remains: {corpus.leakage:.2%} of the validation shingles. "
        f"Fingerprint: `{corpus.fingerprint}`.",
    ]
    return "\n".join(lines) + "\n"


def _size(documents: Iterable[Document]) -> dict[str, int]:
    sizes = [len(document.text.encode()) for document in documents]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def _fingerprint(*splits: Iterable[Document]) -> str:
    whole = hashlib.sha256()
    for split in splits:
        for document in split:
            whole.update(hashlib.sha256(document.text.encode()).digest())
        whole.update(b"end of split")
    return whole.hexdigest()[:16]
