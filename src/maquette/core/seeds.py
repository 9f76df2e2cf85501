"""Seeds: every random stream is named, so that adding one never shifts another."""

import hashlib
import random

import numpy as np
import torch


def child_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` under `seed`; the same on every machine."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for the named stream."""
    return torch.Generator().manual_seed(child_seed(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator (PCG64) for the named stream."""
    return np.random.Generator(np.random.PCG64(child_seed(seed, *names)))


def rows_of_batch(step: int, rows: int, count: int, seed: int, *names: str | int) -> list[int]:
    """Which of `count` rows a step's batch holds: pass after pass over all of them, each in an order of its own."""
    places = range(step * rows, (step + 1) * rows)
    orders = {n: numpy_generator(seed, *names, n).permutation(count) for n in {place // count for place in places}}
    return [int(orders[place // count][place % count]) for place in places]


def seed_everything(seed: int) -> None:
    """Seed the process-wide generators of Python, NumPy and PyTorch, for code that asks for no generator."""
    random.seed(seed)
    np.random.seed(child_seed(seed, "numpy") % 2**32)
    torch.manual_seed(child_seed(seed, "torch"))
