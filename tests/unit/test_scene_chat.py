"""How tiny-chat's conversations begin, and how it is examined on them."""

import re
from collections import Counter

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.language.chat_recipes import RECIPES, carry_out
from maquette.language.interface import Completion, Message
from maquette.language.scene_chat import (
    SAID,
    TEMPLATE,
    WAYS,
    SceneConversations,
    begun,
    chat_tokenizer,
    conversation_row,
    drawn_way,
    examination,
    examine,
)
from maquette.language.tokenizers import END, end_id
from maquette.train.distributed import World
from maquette.worlds.scene.words.conversations import GREETINGS, OFFER


class Parrot:
    """Says what the generator would have said, or the same to everything."""

    context = 10**6

    def __init__(self, conversations, always=None):
        self.begun = [begun(one, [*WAYS][i % len(WAYS)], GREETINGS[i % 3])[1] for i, one in enumerate(conversations)]
        self.told, self.always = [one.told for one in conversations], always

    def tokens(self, messages):
        return "".join(one.content for one in messages)

    def sample(self, histories, sampling):
        assert sampling.temperature == 0
        return [(Completion(text=self.always or self.reply(history), finish="stop"),) for history in histories]

    def reply(self, history):
        text = " ".join(one.content for one in history)
        number = sum(one.role == "assistant" for one in history)
        greeted = len(history) == 1 and text.startswith(GREETINGS)
        said = [
            turn.reply
            for told, turns in zip(self.told, self.begun, strict=True)
            for turn in turns[number : number + 1]
            if (greeted or told[0] in text) and turn.said == history[-1].content
        ]
        return said[0]


@pytest.fixture(scope="module")
def conversations():
    return examination(15, 6)


def test_who_answers_as_the_generator_does_is_right_however_it_is_told(conversations):
    found = {one.kind: one for one in examine(Parrot(conversations), conversations)}
    assert {one.accuracy for one in found.values()} == {1.0}
    ways = [found[f"told {way}"] for way in WAYS]
    kinds = [one for name, one in found.items() if name[:2] not in ("to", "of", "al")]
    everything = found["all"]
    assert sum(one.n for one in ways) == sum(one.n for one in kinds) == everything.n
    assert 0 < found["of what is new"].n < everything.n
    assert [*found][-1] == "all"


def test_who_says_one_thing_is_right_as_often_as_is_told_beside_it(conversations):
    found = {one.kind: one for one in examine(Parrot(conversations, "at the top."), conversations)}
    assert found["where"].right <= found["where"].majority
    assert found["all"].right == found["where"].right + sum(one.right for name, one in found.items() if name == "it"), (
        "nothing but places is answered by one"
    )


def test_a_scene_is_told_whole_in_every_way(conversations):
    one = next(one for one in conversations if len(one.told) > 2)
    for way in WAYS:
        before, turns = begun(one, way)
        texts = [*(message.content for message in before), *(turn.said for turn in turns)]
        assert all(any(part in text for text in texts) for part in one.told)
        assert turns[-1] is one.turns[-1]
    assert begun(one, "after a greeting", "hi")[1][0].reply == OFFER
    drawn = Counter(drawn_way(np.random.default_rng(seed))[0] for seed in range(300))
    assert drawn == {way: pytest.approx(300 * share, abs=30) for way, share in WAYS.items()}


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer(640)


def test_rows_grow_at_the_end_and_hold_the_same_conversations(tokenizer):
    short = SceneConversations(tokenizer=tokenizer, stages=[(2, 3, 16), (5, 2, 40)], seed=3, conversations=3)
    assert [tuple(short.batch(step)["tokens"].shape) for step in range(8)] == [(3, 16)] * 2 + [(2, 40)] * 6
    begins = {tuple(row[:16].tolist()) for step in (2, 3, 4) for row in short.batch(step)["tokens"]}
    assert begins == {tuple(row.tolist()) for row in short.batch(0)["tokens"]}


def test_replies_count_whole_what_else_is_said_less_and_what_tells_first_not_at_all(tokenizer):
    for number in range(20):
        row = conversation_row(tokenizer, 0, number, held_out=False)
        text = tokenizer.decode(row.ids, skip_special_tokens=False)
        said = re.findall(r"<\|(\w+)\|>(.*?)<\|end\|>", text)
        messages = [Message(role=role, content=content) for role, content in said]
        assert TEMPLATE.render_closed(messages) == text
        replies = [False] * len(row.ids)
        for i, message in enumerate(messages):
            if message.role == "assistant":  # from just behind the tokens of its prompt to what closes it
                prompt, closed = TEMPLATE.render(messages[:i]), TEMPLATE.render_closed(messages[: i + 1])
                begin, end = (len(tokenizer.encode(one, add_special_tokens=False).ids) for one in (prompt, closed))
                replies[begin:end] = [True] * (end - begin)
        assert [count == 1 for count in row.counts] == replies
        first = row.ids.index(end_id(tokenizer)) + 1
        assert {*row.counts[:first]} == {0}
        assert {*row.counts[first:]} == {1, SAID}
        held = conversation_row(tokenizer, 0, number, held_out=True)
        assert {*held.counts} == {0, 1}


def test_a_shortened_row_tells_the_scene_and_goes_on_at_any_turn_that_hangs_on_none(tokenizer):
    row = next(
        row
        for n in range(99)
        if " it" in tokenizer.decode((row := conversation_row(tokenizer, 0, n, held_out=False)).ids)
    )
    opening, beginnings = row.turns[0], set()
    for seed in range(60):
        ids, counts = row.shortened(257, np.random.default_rng(seed))
        turn = len(row.ids) - len(ids) + opening
        assert (ids, counts) == (row.ids[:opening] + row.ids[turn:], row.counts[:opening] + row.counts[turn:])
        assert len(ids) >= 257, "no row is emptier than it must be"
        beginnings.add(turn)
    assert beginnings == {turn for turn in row.turns if opening + len(row.ids) - turn >= 257}
    assert len(beginnings) > 3
    asked = [tokenizer.decode(row.ids[turn:], skip_special_tokens=False).partition(END)[0] for turn in row.turns]
    assert not any(re.search(r"\bit\b", one) for one in asked), "nobody could say what it is"
    assert row.shortened(10**6, np.random.default_rng(0)) == (row.ids, row.counts), "there is no more than all"


def test_the_recipes_stages_are_all_its_steps_and_end_at_the_models_context():
    recipe = RECIPES["tiny-chat"]
    assert sum(steps for steps, _, _ in recipe.stages) == recipe.train.steps
    assert recipe.stages[-1][2] == recipe.model.context > recipe.stages[0][2]


def test_rows_that_cannot_be_shared_out_are_refused_before_anything_is_learnt(tmp_path):
    with pytest.raises(UserError, match="Batches of 8 and 5 rows cannot be cut into 2 processes"):
        carry_out(RECIPES["tiny-chat"], tmp_path / "model", world=World(size=2))
    assert not (tmp_path / "model").exists()
