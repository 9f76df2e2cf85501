"""A vision-language model's folder: model.safetensors, tokenizer.json and vlm.json; policies may begin with it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from maquette.core.errors import UserError
from maquette.core.files import read_json
from maquette.language import tokenizers
from maquette.language.vlm import VisionLanguage
from maquette.language.vlm_sizes import vlm_config
from maquette.train.folders import check_weights, read_weights, write_card

CARD = "vlm.json"


@dataclass(frozen=True, kw_only=True)
class Sighted:
    """A model from its folder."""

    model: VisionLanguage
    tokenizer: Tokenizer
    size: str
    pixels: int
    weights: str = ""
    """SHA-256 of its file, where there is one."""


def save(sighted: Sighted, directory: Path) -> None:
    """Write a model's folder.

    Raises:
        UserError: it cannot be written.
    """
    card = {"size": sighted.size, "pixels": sighted.pixels}
    write_card(directory, CARD, card, sighted.model, partial(tokenizers.save, sighted.tokenizer))


def load(directory: Path) -> Sighted:
    """Read a model's folder.

    Raises:
        UserError: it is none, or a file of it is missing or damaged.
    """
    if not (directory / CARD).exists():
        raise UserError(f"{directory} has no {CARD}; give a folder that maquette train tiny-vlm made.")
    card = read_json(directory / CARD)
    if not isinstance(card, dict) or not {"size", "pixels", "weights"} <= card.keys():
        raise UserError(f"{directory / CARD} is not a model's card; restore it from a copy.")
    check_weights(directory, CARD, card)
    tokenizer = tokenizers.load(directory)
    model = VisionLanguage(vlm_config(card["size"], pixels=card["pixels"], vocabulary=tokenizer.get_vocab_size()))
    read_weights(directory, CARD, model)
    return Sighted(
        model=model.eval(), tokenizer=tokenizer, size=card["size"], pixels=card["pixels"], weights=card["weights"]
    )
