"""The language family: Llama, its tokenizers, checkpoints and recipes, and how all speak to a language model."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from maquette.language.interface import LanguageModel


def load(where: str | Path, *, model: str = "", **options: Any) -> "LanguageModel":
    """A language model: a checkpoint folder in the Hugging Face layout, or an endpoint's URL.

    For a folder the options are those of `maquette.language.loading.load_engine`, for a URL those of
    `maquette.language.endpoint.Endpoint`, of which `model` is the name that the endpoint calls it by.

    Raises:
        UserError: no such folder, a broken one, or no such URL; an option that there is not.
    """
    if str(where).startswith(("http://", "https://")):
        from maquette.language.endpoint import Endpoint

        _refuse_unknown(options, Endpoint)
        return Endpoint(str(where), model, **options)
    from maquette.language.loading import load_engine

    _refuse_unknown(options, load_engine)
    return load_engine(Path(where), **options)


def _refuse_unknown(options: dict[str, Any], maker: Callable[..., Any]) -> None:
    parameters = inspect.signature(maker).parameters.values()
    known = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise UserError(f"There is no option {name!r}; {did_you_mean(name, known)}")
