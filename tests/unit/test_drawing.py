"""Examples that are drawn when they are first read, or ahead by a helper."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from maquette.train.drawing import Drawn, helping_process


def squared(number: int) -> tuple[int, int]:
    """An example, and the process that drew it."""
    return number**2, os.getpid()


@pytest.mark.parametrize("first", [0, 4, 23])
def test_a_helper_changes_no_batch_wherever_training_goes_on_from(first: int) -> None:
    alone = Drawn(draw=lambda number: number**2, count=50)
    with ThreadPoolExecutor(1) as helper:
        helped = Drawn(draw=lambda number: number**2, count=50, helper=helper)
        for step in range(first, first + 20):
            rows = 4 if step < 9 else 7  # a later stage's order leaves off elsewhere
            assert helped.batch(step, rows, 0, "order") == alone.batch(step, rows, 0, "order")


def test_every_example_is_drawn_once_and_all_are_read_in_a_pass() -> None:
    drawn: list[int] = []

    def draw(number: int) -> int:
        drawn.append(number)
        return number

    examples = Drawn(draw=draw, count=12)
    passes = [[one for step in range(3 * n, 3 * n + 3) for one in examples.batch(step, 4, 1, "order")] for n in (0, 1)]
    assert sorted(drawn) == [*range(12)] == sorted(passes[0]) == sorted(passes[1])
    assert passes[0] != passes[1]


def test_another_process_draws_them() -> None:
    with helping_process() as helper:
        read = Drawn(draw=squared, count=40, helper=helper).batch(0, 40, 0)
    assert sorted(number for number, _ in read) == [number**2 for number in range(40)]
    assert os.getpid() not in {process for _, process in read}


def test_what_a_helper_cannot_draw_is_raised_where_it_is_read() -> None:
    with helping_process() as helper, pytest.raises(ZeroDivisionError):
        Drawn(draw=(1).__floordiv__, count=1, helper=helper).batch(0, 1, 0)
