"""Examples that a program draws: each when it is first read, or all before a training, by processes that share it."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from maquette.core.provenance import cores
from maquette.core.seeds import rows_of_batch

Example = TypeVar("Example")

TOGETHER = 32
"""Examples that a helper draws before it hands them over."""


@dataclass(frozen=True, kw_only=True)
class Drawn(Generic[Example]):
    """So many examples, pass after pass over all of them; kept, because drawing is dear beside learning."""

    draw: Callable[[int], Example]
    """The example of a number, the same every time; a helper in another process needs to unpickle it."""
    count: int
    _kept: dict[int, Example] = field(default_factory=dict, init=False, repr=False)

    def batch(self, step: int, rows: int, seed: int, *names: str | int) -> list[Example]:
        """A step's examples; every pass has an order of its own, which seed and names draw."""
        numbers = rows_of_batch(step, rows, self.count, seed, *names)
        for number in numbers:
            if number not in self._kept:
                self._kept[number] = self.draw(number)
        return [self._kept[number] for number in numbers]

    def draw_ahead(self, helpers: Executor, reads: int) -> None:
        """Have all drawn now, if so many will be read that each is; a shorter run draws those that it reads."""
        if reads >= self.count:
            numbers = range(self.count)
            self._kept.update(zip(numbers, helpers.map(self.draw, numbers, chunksize=TOGETHER), strict=True))


@contextmanager
def helping_processes() -> Iterator[Executor]:
    """A process a core; they end with the block."""
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # who interrupts a training ends them with it
    pool = ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn"), ignoring)
    try:
        pool.submit(int)  # they start now, and not when they are first needed
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
