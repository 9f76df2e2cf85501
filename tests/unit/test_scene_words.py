"""Sentences about the scene world: true ones are read as true, false ones are caught, bad ones refused clearly.

benchmarks/scene_words.py does the same over 50,000 scenes (results/scene/words.json).
"""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.worlds.scene.laws import Knobs, law_clip, random_clip
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.captions import caption
from maquette.worlds.scene.words.dialogue import dialogue
from maquette.worlds.scene.words.interpreter import answer, goal_of, is_answer, is_true, is_true_dialogue

ROOT = Path(__file__).parents[2]
SCENES = 300


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("scene_words", ROOT / "benchmarks" / "scene_words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clip():
    red = Thing(shape="box", colour="red", size="small", material="stone")
    return law_clip("inertia", 3, Knobs(objects=1, colours=("red", "blue")), thing=red, direction="right")


def test_true_sentences_are_true_and_false_ones_are_caught(benchmark):
    right, n = Counter(), Counter()
    for seed in range(SCENES):
        for kind, is_right, _ in benchmark.checks(seed):
            group = "false" if kind.startswith("false") else kind
            n[group] += 1
            right[group] += is_right
    assert {kind: right[kind] for kind in n if kind != "false"} == {kind: n[kind] for kind in n if kind != "false"}
    assert set(n) == {"caption", "description", "answer", "instruction", "plan", "false"}
    assert n["false"] > 5 * SCENES
    assert right["false"] >= 0.99 * n["false"]


def test_dialogues_end_right_and_a_wrong_end_is_heard():
    for seed in range(60):
        state, rng = random_clip(seed, Knobs(objects=2)), np.random.default_rng(seed)
        turns = dialogue(state, rng)
        assert is_true_dialogue(turns, state)
        asked = [i for i, turn in enumerate(turns[:-1]) if turn.endswith("?") and turns[i + 1] in ("yes.", "no.")]
        for i in asked[-1:]:
            if i + 2 == len(turns):
                wrong = (*turns[:-1], "no." if turns[-1] == "yes." else "yes.")
                assert not is_true_dialogue(wrong, state)


def test_a_caption_can_be_said_in_many_ways(clip):
    said = {caption(clip, "short", np.random.default_rng(seed)) for seed in range(100)}
    assert len(said) >= 10
    lengths = [
        np.mean([len(caption(clip, length, np.random.default_rng(s)).split()) for s in range(30)])
        for length in ("short", "medium", "dense")
    ]
    assert lengths[0] < lengths[1] < lengths[2]


def test_the_vocabulary_is_small_and_holds_every_word_that_is_said():
    assert len(lexicon.WORDS) < 400
    for seed in range(60):
        text = caption(random_clip(seed), "dense", np.random.default_rng(seed))
        words = text.replace(".", " .").replace(",", " ,").split()
        assert set(words) <= set(lexicon.WORDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the magenta box moves.", "magenta"),
        ("colourless green ideas sleep.", "."),
        ("is the box red?", "question"),
        ("", "."),
    ],
)
def test_what_cannot_be_read_is_refused(clip, text, message):
    with pytest.raises(UserError, match=message):
        is_true(text, clip)


def test_questions_and_orders_that_make_no_sense_are_refused(clip):
    with pytest.raises(UserError):
        answer("the box is red.", clip)
    with pytest.raises(UserError):
        answer("what colour is the purple star?", clip)
    with pytest.raises(UserError):
        goal_of("push the red box to the blue zone.", clip)
    assert is_answer("what colour is the small box?", "it is red.", clip)
    assert not is_answer("what colour is the small box?", "blue.", clip)
