"""A bank of samples: each is drawn once, kept under what it was drawn from, and serves every later question.

Samples of a prompt come in blocks of 1, 1, 2, 4, 8, …, each with a seed of its own, so that asking for more later draws
only what is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.files import fingerprint, sha256
from maquette.core.seeds import child_seed
from maquette.language.interface import Completion, LanguageModel, Prompt, Sampling
from maquette.language.wrappers import AT_ONCE, Cached
from maquette.train.record import NAME as RECORD


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Samples of one model in a folder; without the model only what is there."""

    directory: Path
    identity: str
    """What the model is, weights and all: another model's samples lie apart."""
    model: LanguageModel | None = None

    def samples(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        n: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[list[Completion]]:
        """The first `n` samples of each prompt; `progress` is told how many have been seen to, of how many.

        Raises:
            UserError: n below 1, or, without a model, samples that were never drawn.
        """
        if n < 1:
            raise UserError(f"n = {n} samples: give 1 or more.")
        found: list[list[Completion]] = [[] for _ in prompts]
        done = 0
        for number, size in enumerate(blocks(n)):
            cached = Cached(directory=self.directory / self.identity / f"block-{number}", model=self.model)
            seeded = sampling if sampling.seed is None else replace(sampling, seed=block_seed(sampling.seed, number))
            for begin in range(0, len(prompts), AT_ONCE):
                some = prompts[begin : begin + AT_ONCE]
                for kept, drawn in zip(found[begin:], cached.sample(some, seeded, size), strict=False):
                    kept += drawn
                done += len(some) * size
                progress(done, sum(blocks(n)) * len(prompts))
        return [some[:n] for some in found]


def blocks(n: int) -> list[int]:
    """Sizes of the blocks that hold the first `n` samples."""
    sizes = [1]
    while sum(sizes) < n:
        sizes.append(sum(sizes))
    return sizes


def block_seed(seed: int, number: int) -> int:
    """What a block is drawn with."""
    return child_seed(seed, "block", number)


def identity_of(where: str, model: str = "") -> str:
    """What tells models apart: the content of a checkpoint folder, or an endpoint's address and its name for the model.

    Raises:
        UserError: it is no folder and no URL.
    """
    if where.startswith(("http://", "https://")):
        return fingerprint([where, model])
    directory = Path(where)
    if not directory.is_dir():
        raise UserError(f"{where} is no folder; give a checkpoint folder, or an endpoint's URL.")
    files = sorted(path for path in directory.iterdir() if path.suffix in (".json", ".safetensors", ".jinja"))
    return fingerprint({path.name: sha256(path) for path in files if path.name != RECORD})
