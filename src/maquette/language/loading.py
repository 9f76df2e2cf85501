"""A checkpoint folder as an engine: its weights, its tokenizer, its chat template and the tokens that end its texts."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import read_json
from maquette.language import checkpoints, tokenizers
from maquette.language.chat import read_template, special_tokens
from maquette.language.engine.engine import ROWS, Engine
from maquette.language.llama import Llama

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_engine(
    directory: Path,
    *,
    rows: int = ROWS,
    context: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    invariant: bool = False,
) -> Engine:
    """An engine for a folder in the Hugging Face layout; for the options see `Engine`.

    Raises:
        UserError: not such a folder, or a broken one: what is missing or wrong is named.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype = {dtype!r}: {did_you_mean(dtype, DTYPES)}")
    if not directory.is_dir():
        raise UserError(f"{directory} is no folder; give a checkpoint folder, or an endpoint's URL.")
    model = checkpoints.load(directory, DTYPES[dtype])
    refuse_broken(model, directory)
    tokenizer = tokenizers.load(directory)
    if (size := tokenizer.get_vocab_size()) > model.config.vocabulary:
        raise UserError(
            f"{directory}: tokenizer.json has {size} tokens and the model {model.config.vocabulary}; the two do not "
            "belong together."
        )
    return Engine(
        model.to(device),
        tokenizer,
        name=directory.name or str(directory),
        ends=ends_of(directory, tokenizer),
        template=read_template(directory),
        rows=rows,
        context=context,
        invariant=invariant,
    )


def refuse_broken(model: Llama, directory: Path) -> None:
    """Refuse weights that are no numbers.

    Raises:
        UserError: a tensor holds NaN or infinity.
    """
    for name, tensor in checkpoints.to_layout(model).items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{directory}: the weights {name} hold NaN or infinity; download the folder again.")


def ends_of(directory: Path, tokenizer: Tokenizer) -> list[int]:
    """The tokens that end a text, from generation_config.json, config.json and tokenizer_config.json together."""
    found: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        if (path := directory / file).exists():
            raw: Any = read_json(path)
            value = raw.get("eos_token_id") if isinstance(raw, dict) else None
            found |= {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)}
    if (path := directory / "tokenizer_config.json").exists():
        raw = read_json(path)
        text = special_tokens(raw).get("eos_token") if isinstance(raw, dict) else None
        number = tokenizer.token_to_id(text) if text else None
        found |= {number} if number is not None else set()
    return sorted(found)
