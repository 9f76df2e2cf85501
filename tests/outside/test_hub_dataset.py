"""A Hugging Face dataset as a source of text, read by the real `datasets` library from a folder on disk."""

import json

import pytest

datasets = pytest.importorskip("datasets")

from maquette.core.errors import UserError  # noqa: E402
from maquette.language.tokenizers import prepare  # noqa: E402
from maquette.worlds.text.outside import HubDataset  # noqa: E402

pytestmark = pytest.mark.against("datasets")


@pytest.fixture
def folder(tmp_path):
    rows = [{"text": f"Document {i}: " + " ".join(f"word{i * j % 97}" for j in range(60))} for i in range(60)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_dataset_becomes_tokens(folder, tmp_path):
    text = prepare(HubDataset(name=str(folder)), vocabulary=300, validation=0.2, cache=tmp_path / "cache")
    assert "Document" in text.tokenizer.decode(text.train.ids[:200].tolist())
    assert text.train.documents + text.validation.documents <= 60


def test_an_unknown_field_is_named(folder, tmp_path):
    with pytest.raises(UserError, match="body"):
        prepare(HubDataset(name=str(folder), field="body"), cache=tmp_path / "cache")
