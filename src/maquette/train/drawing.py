"""Examples that a program draws: each when it is first read, or before, by a process that helps the training."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from maquette.core.seeds import rows_of_batch

Example = TypeVar("Example")

TOGETHER = 32
"""Examples that a helper draws before it hands them over."""


@dataclass(kw_only=True)
class Drawn(Generic[Example]):
    """So many examples, pass after pass over all of them; kept, because drawing is dear beside learning."""

    draw: Callable[[int], Example]
    """The example of a number, the same every time; a helper in another process needs to unpickle it."""
    count: int
    helper: Executor | None = None
    """Draws, in the order in which they will be read, examples that are still to come."""
    _kept: dict[int, Example] = field(default_factory=dict, init=False, repr=False)
    _coming: Iterator[tuple[int, Example]] | None = field(default=None, init=False, repr=False)

    def batch(self, step: int, rows: int, seed: int, *names: str | int) -> list[Example]:
        """A step's examples; every pass has an order of its own, which seed and names draw."""
        if self._coming is None:
            passes = (rows_of_batch(step + i, rows, self.count, seed, *names) for i in range(-(-self.count // rows)))
            self._coming = self._drawn_ahead([*dict.fromkeys(chain.from_iterable(passes))]) if self.helper else iter(())
        return [self._read(number) for number in rows_of_batch(step, rows, self.count, seed, *names)]

    def _drawn_ahead(self, numbers: list[int]) -> Iterator[tuple[int, Example]]:
        assert self.helper is not None
        return zip(numbers, self.helper.map(self.draw, numbers, chunksize=TOGETHER), strict=True)

    def _read(self, number: int) -> Example:
        while number not in self._kept:
            found, example = next(self._coming or iter(()), (number, None))
            self._kept[found] = self.draw(number) if example is None else example
        return self._kept[number]


@contextmanager
def helping_process() -> Iterator[Executor]:
    """A process that takes only what others leave idle of the processors, and ends with the block."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _stand_back)
    try:
        pool.submit(int)  # it starts now, and not when it is first needed
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _stand_back() -> None:
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts a training ends it with the block
