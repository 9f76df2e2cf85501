"""language/tokenizers: lossless, deterministic, readable by transformers; and text prepared once."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from maquette.core.errors import UserError
from maquette.language.tokenizers import (
    END,
    byte_tokenizer,
    encoder,
    end_id,
    load,
    prepare,
    save,
    train_bpe,
)
from maquette.worlds.text.documents import Document
from maquette.worlds.text.outside import Folder
from maquette.worlds.text.packages import Packages

LINES = "def square(value):\n    return value * value  # the square of the value\n\n"
DOCUMENTS = [Document(path=str(k), text=LINES * 3 + f"value_{k} = square({k})\n") for k in range(40)]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return train_bpe(DOCUMENTS, 300)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_bytes_are_their_own_ids(text: str):
    tokenizer = byte_tokenizer()
    ids = list(next(iter(encoder(tokenizer)([text]))))
    assert ids == list(text.encode())
    assert tokenizer.decode(ids) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_bpe_loses_nothing(bpe: Tokenizer, text: str):
    (ids,) = encoder(bpe)([text])
    assert bpe.decode(ids) == text


def test_bpe_has_the_size_asked_for_and_compresses(bpe: Tokenizer):
    assert bpe.get_vocab_size() == 300
    (ids,) = encoder(bpe)([LINES])
    assert len(ids) < len(LINES) / 2


def test_every_byte_is_in_the_vocabulary_even_if_never_seen(bpe: Tokenizer):
    text = "".join(map(chr, range(1, 300))) + "漢字🙂"
    (ids,) = encoder(bpe)([text])
    assert bpe.decode(ids) == text


def test_a_literal_end_is_text_and_not_the_token(bpe: Tokenizer):
    for tokenizer in (bpe, byte_tokenizer()):
        text = f"before{END}after"
        (ids,) = encoder(tokenizer)([text])
        assert end_id(tokenizer) not in ids
        assert tokenizer.decode(ids) == text
        assert end_id(tokenizer) in tokenizer.encode(text).ids  # what a prompt's template relies on


def test_the_byte_tokenizer_ends_documents_with_256():
    assert end_id(byte_tokenizer()) == 256
    assert byte_tokenizer().get_vocab_size() == 257


TRAIN = """
import hashlib, sys
from maquette.language.tokenizers import train_bpe
from maquette.worlds.text.packages import Packages
documents = Packages(names=("mpmath",)).read().documents[:20]
print(hashlib.sha256(train_bpe(documents, 600).to_str().encode()).hexdigest())
"""


def test_training_is_the_same_in_every_process():
    documents = Packages(names=("mpmath",)).read().documents[:20]
    here = hashlib.sha256(train_bpe(documents, 600).to_str().encode()).hexdigest()
    there = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(UserError, match="vocabulary = 256 has no room"):
        train_bpe(DOCUMENTS, 256)


def test_saved_and_loaded_it_is_the_same(bpe: Tokenizer, tmp_path: Path):
    save(bpe, tmp_path)
    assert load(tmp_path).to_str() == bpe.to_str()


@pytest.mark.against("transformers")
def test_transformers_reads_what_was_saved(bpe: Tokenizer, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    text = LINES + "größer 漢字🙂 , it's . spaced  out !\n"
    for name, ours in (("bpe", bpe), ("bytes", byte_tokenizer())):
        save(ours, tmp_path / name)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / name)
        assert isinstance(theirs, transformers.PreTrainedTokenizerFast)
        assert theirs(text)["input_ids"] == ours.encode(text).ids
        assert theirs.decode(ours.encode(text).ids) == text
        assert theirs.eos_token_id == end_id(ours)
        assert len(theirs) == ours.get_vocab_size()
        direct = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / name / "tokenizer.json"))
        assert direct(text)["input_ids"] == ours.encode(text).ids


def test_missing_broken_and_foreign_tokenizers_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(UserError, match="not readable JSON"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(UserError, match="not a tokenizer"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"no token <\|end\|>"):
        end_id(Tokenizer(models.BPE()))


def test_a_prepared_text_decodes_to_its_documents(tmp_path: Path):
    text = tmp_path / "text"
    text.mkdir()
    for document in Packages(names=("mpmath",)).read().documents[:15]:
        (text / document.path.replace("/", "-")).write_text(document.text, encoding="utf-8", newline="")
    stages = []
    prepared = prepare(
        Folder(path=text), vocabulary=400, cache=tmp_path / "cache", progress=lambda *news: stages.append(news)
    )
    assert stages[0] == ("reading", 0.0)
    assert stages[-1] == ("tokenising validation", 1.0)
    for name, tokens in (("train", prepared.train), ("validation", prepared.validation)):
        ends = np.flatnonzero(tokens.ids == end_id(prepared.tokenizer))
        assert len(ends) == tokens.documents == prepared.manifest[name]["documents"]
        assert len(tokens.ids) == prepared.manifest[name]["tokens"]
        first = prepared.tokenizer.decode(tokens.ids[: ends[0]].tolist())
        assert any(first in path.read_text(encoding="utf-8") for path in text.iterdir())
    assert prepared.train.text_bytes == prepared.manifest["train"]["bytes"]
    assert prepared.tokenizer.get_vocab_size() == prepared.manifest["vocabulary"] == 400
    assert json.loads((prepared.directory / "manifest.json").read_text()) == prepared.manifest


def test_preparing_again_finds_it_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    part = Packages(names=("mpmath",))
    first = prepare(part, vocabulary=257, cache=tmp_path)
    written = (first.directory / "train.bin").stat().st_mtime_ns

    def refuse(source: object, validation: float) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("maquette.language.tokenizers.read_corpus", refuse)
    again = prepare(part, vocabulary=257, cache=tmp_path)
    assert (again.directory / "train.bin").stat().st_mtime_ns == written
    assert np.array_equal(again.train.ids, first.train.ids)
    assert again.train.bytes_per_token == pytest.approx(1, abs=1e-3)
    with pytest.raises(AssertionError, match="read again"):  # another vocabulary is another text
        prepare(part, vocabulary=258, cache=tmp_path)


def test_a_text_that_cannot_be_read_leaves_no_prepared_text(tmp_path: Path):
    (tmp_path / "text").mkdir()
    with pytest.raises(UserError, match="holds no text"):
        prepare(Folder(path=tmp_path / "text"), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("complete.json"))
