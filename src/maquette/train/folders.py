"""A trained model's folder: its weights, and a card that is written last and knows their hash."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from maquette.core.errors import UserError
from maquette.core.files import replacing, sha256, write_json

WEIGHTS = "model.safetensors"


def write_card(
    directory: Path, name: str, card: Mapping[str, Any], model: nn.Module, beside: Callable[[Path], object]
) -> None:
    """Write the weights, by `beside` what else belongs there, then the card with their hash.

    A folder with a card is whole: an old one is gone before the first file changes.

    Raises:
        UserError: it cannot be written.
    """
    (directory / name).unlink(missing_ok=True)
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    with replacing(directory / WEIGHTS) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    beside(directory)
    write_json(directory / name, {**card, "weights": sha256(directory / WEIGHTS)})


def check_weights(directory: Path, name: str, card: Mapping[str, Any]) -> None:
    """Raise a UserError where the weights are missing, or others than the card was written with."""
    path = directory / WEIGHTS
    if not path.exists() or sha256(path) != card.get("weights"):
        raise UserError(f"{path} is not what {name} was written with; restore both from one copy.")


def read_weights(directory: Path, name: str, model: nn.Module) -> None:
    """Load the weights into a model that was made as the card says.

    Raises:
        UserError: they do not fit it.
    """
    path = directory / WEIGHTS
    try:
        model.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise UserError(f"{path} does not fit {name} ({str(error).splitlines()[0]}); restore both.") from error
