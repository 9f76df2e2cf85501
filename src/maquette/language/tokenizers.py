"""Byte and byte-level BPE tokenizers, as `tokenizer.json` files that transformers loads; text prepared with them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from maquette.core.errors import UserError
from maquette.core.files import fingerprint, read_json, replacing, sha256, write_json
from maquette.worlds import text
from maquette.worlds.text.corpus import Corpus, describe, read_corpus
from maquette.worlds.text.documents import Document, Source
from maquette.worlds.text.packages import Packages
from maquette.worlds.text.tokens import Tokens, built_once, cache_directory, read_tokens, write_tokens

END = "<|end|>"
"""Closes every document; also where generation stops."""
BYTES = 256
SMALLEST = BYTES + 1
"""Every byte and the end of a document: the byte tokenizer's vocabulary."""
SAMPLE = 8_000_000
"""Bytes of text that `prepare` trains a BPE on: its time grows with them, its merges hardly change."""


def byte_tokenizer() -> Tokenizer:
    """A token is a byte, its id the byte's value; `END` is 256."""
    tokenizer = Tokenizer(models.BPE(vocab=_byte_vocabulary(), merges=[]))
    return _byte_level(tokenizer)


def _byte_vocabulary() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte: itself if printable, else the next character from 256 on."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    printable = {ord(character): character for character in alphabet if ord(character) < BYTES}
    others = iter(alphabet[len(printable) :])
    return {printable.get(byte) or next(others): byte for byte in range(BYTES)}


def _byte_level(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # cuts words as GPT-2 does
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return tokenizer


def train_bpe(documents: Iterable[Document], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens, `END` and the 256 bytes included; text too short gives fewer.

    Raises:
        UserError: the vocabulary has no room for the bytes.
    """
    if vocabulary < SMALLEST:
        raise UserError(f"vocabulary = {vocabulary} has no room for {BYTES} bytes and {END}; give {SMALLEST} or more.")
    tokenizer = _byte_level(Tokenizer(models.BPE()))
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    return tokenizer


def end_id(tokenizer: Tokenizer) -> int:
    """The id of `END`.

    Raises:
        UserError: this tokenizer has none.
    """
    number = tokenizer.token_to_id(END)
    if number is None:
        raise UserError(f"The tokenizer has no token {END}; use one that Maquette wrote, or add the token to it.")
    return number


def encoder(tokenizer: Tokenizer) -> Callable[[list[str]], Iterable[Sequence[int]]]:
    """The tokenizer for training text, in which a literal "<|end|>" is ordinary characters, never the special token."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.encode_special_tokens = True
    return lambda texts: (encoding.ids for encoding in plain.encode_batch_fast(texts, add_special_tokens=False))


def save(tokenizer: Tokenizer, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, as transformers reads them."""
    with replacing(directory / "tokenizer.json") as temporary:
        temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "clean_up_tokenization_spaces": False}
    write_json(directory / "tokenizer_config.json", settings)


def load(directory: Path) -> Tokenizer:
    """Read tokenizer.json.

    Raises:
        UserError: it is missing, or not a tokenizer.
    """
    path = directory / "tokenizer.json"
    value = read_json(path)
    try:
        return Tokenizer.from_str(json.dumps(value))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path} is not a tokenizer ({error}); restore it from a copy.") from error


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A text ready for training: its tokenizer and both splits as tokens."""

    tokenizer: Tokenizer
    train: Tokens
    validation: Tokens
    manifest: dict[str, Any]
    """Sources, licences, splits, digests: what a record states of its data."""
    directory: Path


def prepare(
    source: Source | None = None,
    *,
    vocabulary: int = 1024,
    validation: float = 0.05,
    cache: Path | None = None,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Prepared:
    """Read, split and tokenise a text, or find that already done in the cache.

    Args:
        source: by default the pinned packages.
        vocabulary: size of the BPE; 257 is the byte tokenizer.
        validation: share of the documents held out.
        cache: by default `cache_directory()`.
        progress: told the stage and the share of it that is done.
    """
    source = source or Packages()
    code = [sha256(path) for path in (*sorted(Path(str(text.__file__)).parent.glob("*.py")), Path(__file__))]
    key = fingerprint([type(source).__name__, source.identity(), vocabulary, validation, code, tokenizers.__version__])
    directory = (cache or cache_directory()) / "text" / key

    def build(directory: Path) -> None:
        progress("reading", 0.0)
        corpus = read_corpus(source, validation)
        progress("learning the vocabulary", 0.0)
        tokenizer = byte_tokenizer() if vocabulary == SMALLEST else train_bpe(_sample(corpus), vocabulary)
        save(tokenizer, directory)
        _write_splits(directory, corpus, tokenizer, progress)

    built_once(directory, build)
    return Prepared(
        tokenizer=load(directory),
        train=read_tokens(directory / "train.bin"),
        validation=read_tokens(directory / "validation.bin"),
        manifest=read_json(directory / "manifest.json"),
        directory=directory,
    )


def _sample(corpus: Corpus) -> Iterable[Document]:
    """Training documents up to `SAMPLE` bytes; their order is by hash, so the first are as good as any."""
    size = 0
    for document in corpus.train:
        if size >= SAMPLE:
            return
        size += len(document.text.encode())
        yield document


def _write_splits(
    directory: Path, corpus: Corpus, tokenizer: Tokenizer, progress: Callable[[str, float], None]
) -> None:
    manifest = describe(corpus)
    for name, documents in (("train", corpus.train), ("validation", corpus.validation)):
        total = manifest[name]["bytes"]
        write_tokens(
            directory / f"{name}.bin",
            documents,
            encoder(tokenizer),
            end=end_id(tokenizer),
            vocabulary=tokenizer.get_vocab_size(),
            progress=lambda done, name=name, total=total: progress(f"tokenising {name}", done / total),
        )
        manifest[name]["tokens"] = len(read_tokens(directory / f"{name}.bin").ids)
    manifest["vocabulary"] = tokenizer.get_vocab_size()
    manifest["tokenizer_sha256"] = sha256(directory / "tokenizer.json")
    write_json(directory / "manifest.json", manifest)
