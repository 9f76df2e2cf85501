"""Examples that are drawn when they are first read, or before, by other processes."""

import os

import pytest
import torch

from maquette.language.scene_chat import SceneConversations, chat_tokenizer
from maquette.language.scene_sight import Sights, sight_tokenizer
from maquette.train.drawing import Drawn, helping_processes


def squared(number: int) -> tuple[int, int]:
    """An example, and the process that drew it."""
    return number**2, os.getpid()


def test_every_example_is_drawn_once_and_all_are_read_in_a_pass() -> None:
    drawn: list[int] = []

    def draw(number: int) -> int:
        drawn.append(number)
        return number

    examples = Drawn(draw=draw, count=12)
    passes = [[one for step in range(3 * n, 3 * n + 3) for one in examples.batch(step, 4, 1, "order")] for n in (0, 1)]
    assert sorted(drawn) == [*range(12)] == sorted(passes[0]) == sorted(passes[1])
    assert passes[0] != passes[1]


def test_other_processes_draw_what_a_long_run_reads_and_the_batches_are_the_same() -> None:
    alone, helped, short = (Drawn(draw=squared, count=40) for _ in range(3))
    with helping_processes() as helpers:
        helped.draw_ahead(helpers, reads=40)
        short.draw_ahead(helpers, reads=39)
        with pytest.raises(ZeroDivisionError):
            Drawn(draw=(1).__floordiv__, count=1).draw_ahead(helpers, reads=1)
    for step in range(20):
        pairs = zip(helped.batch(step, 4, 0, "order"), alone.batch(step, 4, 0, "order"), strict=True)
        for (found, process), (expected, here) in pairs:
            assert found == expected
            assert process != os.getpid() == here
    assert {process for _, process in short.batch(0, 4, 0)} == {os.getpid()}


def test_conversations_and_pictures_can_be_drawn_by_other_processes():
    with helping_processes() as helpers:
        for make in (
            lambda: SceneConversations(tokenizer=chat_tokenizer(320), stages=[(9, 3, 40)], seed=3, conversations=3),
            lambda: Sights(tokenizer=sight_tokenizer(320), pixels=16, pictures=3, asked=2, seed=3, drawn=3),
        ):
            alone, helped = make(), make()
            helped.examples.draw_ahead(helpers, reads=3)
            one, other = alone.batch(0), helped.batch(0)
            assert all(torch.equal(one[name], other[name]) for name in one)
