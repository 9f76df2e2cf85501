"""Captions held against what was read: on right clips, on wrong ones, and where nothing can be judged."""

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.video.judging import Judged, held_against, judge, tally
from maquette.worlds.scene.laws import Knobs, law_clip
from maquette.worlds.scene.metrics import Description
from maquette.worlds.scene.parsing.parser import read_clips
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.render import frames_of_many
from maquette.worlds.scene.state import Thing
from maquette.worlds.scene.words.captions import caption
from maquette.worlds.scene.words.interpreter.wishes import asked_for

BALL = Thing(shape="ball", colour="red", size="large", material="rubber")
BOX = ("box", None, "small", "wood")


@pytest.fixture(scope="module")
def bounce():
    return law_clip("bounce", 3, Knobs(frames=17), thing=BALL, direction="right")


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("a large red ball bounces to the right.", [("ball", "red", "large", None)]),
        (
            "a red thing hits two little wooden boxes.",
            [(None, "red", None, None)] + [("box", None, "small", "wood")] * 2,
        ),
        ("there is a star. the star falls. a box is left of it.", [("star", *[None] * 3), ("box", *[None] * 3)]),
        ("the robot opens the drawer.", []),
    ],
)
def test_a_caption_asks_for_the_things_that_it_names(text, things):
    named = [Description(shape=s, colour=c, size=z, material=m) for s, c, z, m in things]
    assert list(asked_for(text).things) == named


@pytest.mark.parametrize("text", ["a red half stays.", "is there a ball?", "a red red ball rolls."])
def test_what_cannot_be_read_asks_for_nothing_and_says_so(text, bounce):
    with pytest.raises(UserError):
        asked_for(text)
    judged = held_against(text, Reading.of(bounce))
    assert judged.asked is judged.holds is None
    assert judged.unread
    assert judged.n == 0
    assert "not judged" in judged.in_words()


def test_captions_of_true_clips_are_found_to_hold(bounce):
    clips = [bounce] + [law_clip(law, 5, Knobs(frames=17)) for law in ("inertia", "rolling", "parabola")]
    for length in ("short", "medium"):
        captions = [caption(clip, length, numpy_generator(i, "caption")) for i, clip in enumerate(clips)]
        found = judge(captions, frames_of_many(clips, 32), bounce.fps)
        assert all(one.holds and one.right == one.n > 0 for one in found)
        counted = tally(found)
        assert counted["sentence"].accuracy == counted["all"].accuracy == 1
        assert counted["all"].n == sum(counted[name].n for name in ("shape", "colour", "size", "material"))


def test_each_wrong_word_is_found(bounce):
    reading = Reading.of(bounce)
    right = held_against("a large red ball bounces to the right.", reading)
    assert (right.right, right.n, right.holds) == (3, 3, True)
    assert right.as_json()["asked"] == ["large red ball"]
    for wrong in ("a small red ball bounces.", "a large blue ball bounces.", "a large red box bounces."):
        found = held_against(wrong, reading)
        assert (found.right, found.n, found.holds) == (2, 3, False)
    away = held_against("a large red ball bounces to the left.", reading)
    assert (away.right, away.holds) == (3, False)
    assert "what it says is not so" in away.in_words()


def test_a_rejected_clip_has_nothing_of_what_was_asked_and_says_why():
    noise = numpy_generator(0, "noise").integers(0, 256, (1, 9, 32, 32, 3), np.uint8)
    (found,) = judge(["a red ball rolls."], noise, 8.0)
    assert (found.right, found.n, found.holds) == (0, 2, False)
    assert found.as_json()["read"]["rejected"] == found.reading.rejected
    assert f"rejected: {found.reading.rejected}" in found.in_words()
    (large,) = judge(["a red ball rolls."], np.zeros((1, 2, 256, 256, 3), np.uint8), 8.0)
    assert "256 pixels" in large.in_words()


def test_a_thing_that_was_hidden_goes_straight_in_the_state_that_is_judged():
    clip = law_clip("occlusion", 1, Knobs(frames=17))
    (reading,) = read_clips(frames_of_many([clip], 32), clip.fps)
    assert reading.rejected is None
    state = reading.clip()
    assert np.isfinite(state.position).all()
    seen = reading.visible
    assert not seen.all()
    assert np.array_equal(state.position[seen], reading.position[seen])
    with pytest.raises(ValueError, match="not read"):
        Reading(rejected="noise").clip()


def test_only_captions_that_can_be_read_are_counted():
    counted = tally([Judged(caption="?", reading=Reading(rejected="noise"), unread="no words")])
    assert {one.n for one in counted.values()} == {0}
