"""What leaves a conversation for want of room."""

import pytest

from maquette.language.chat import shortened
from maquette.language.interface import Message


@pytest.mark.parametrize(
    ("most", "left"),
    [(8, "sua ua ua u"), (7, "sua ua u"), (6, "sua ua u"), (5, "sua u"), (4, "sua u"), (3, None)],
)
def test_what_leaves_a_conversation_are_its_oldest_exchanges_but_the_first(most, left):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    talk = [Message(role=roles[one], content=str(i)) for i, one in enumerate("suauauau")]
    kept = shortened(talk, lambda messages: len(messages) <= most)
    if left is None:
        assert kept is None
    else:
        expected = left.replace(" ", "")
        assert "".join(one.role[0] for one in kept) == expected
        assert kept[:3] == talk[:3]
        assert kept[3:] == talk[len(talk) - len(expected) + 3 :]
