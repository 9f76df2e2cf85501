"""Captions as numbers: one a word, for worlds whose language is small."""

import re
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from maquette.core.errors import UserError, did_you_mean

NOTHING, END = "<nothing>", "<end>"
"""Padding, and what every caption ends with; a caption of END alone asks for anything."""


class Vocabulary:
    """The words a model knows, each with its number."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = (NOTHING, END, *sorted(set(words) - {NOTHING, END}))
        self._number = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def of(cls, captions: Iterable[str]) -> "Vocabulary":
        """All words of some captions."""
        return cls(word for caption in captions for word in split(caption))

    def __len__(self) -> int:
        return len(self.words)

    def unknown(self, caption: str) -> list[str]:
        """The words of a caption that the model has never seen, each once."""
        return [word for word in dict.fromkeys(split(caption)) if word not in self._number]

    def encode(self, captions: Sequence[str]) -> Int[Tensor, "captions words"]:
        """Numbers of the words, with END behind them, padded to the longest.

        Raises:
            UserError: a word is unknown; it is never left out in silence.
        """
        for caption in captions:
            if unknown := self.unknown(caption):
                raise UserError(
                    f"The prompt's word {unknown[0]!r} was in no caption that the model learnt from; "
                    f"{did_you_mean(unknown[0], self.words[2:])}"
                )
        numbers = [[*(self._number[word] for word in split(caption)), 1] for caption in captions]
        longest = max(map(len, numbers))
        return torch.tensor([row + [0] * (longest - len(row)) for row in numbers])


def split(caption: str) -> list[str]:
    """Words and marks, in small letters."""
    return re.findall(r"[\w'-]+|[^\w\s]", caption.lower())
