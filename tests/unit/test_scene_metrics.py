"""Scores on what the parser read: on right clips, on wrong ones, and against those who would rather be rejected."""

from dataclasses import replace

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.worlds.scene.laws import Knobs, law_clip, random_clip
from maquette.worlds.scene.metrics import (
    Asked,
    Description,
    attribute_accuracy,
    frechet_distance,
    frechet_of_states,
    law_deviation,
    state_vector,
    states_of,
)
from maquette.worlds.scene.parsing.parser import read_clips
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.parsing.relations import Related
from maquette.worlds.scene.render import frames_of_many
from maquette.worlds.scene.vocabulary import LAWS

GARBAGE = Reading(rejected="noise")


def readings_of(seeds, **knobs):
    return [Reading.of(random_clip(seed, Knobs(objects=seed % 2, **knobs))) for seed in seeds]


@pytest.fixture(scope="module")
def reference():
    return readings_of(range(200))


@pytest.fixture(scope="module")
def others():
    return readings_of(range(200, 400))


@pytest.fixture(scope="module")
def clips():
    return [law_clip(law, 40 + number, Knobs(objects=1)) for number, law in enumerate(LAWS)]


def test_what_was_asked_for_is_there(clips):
    readings = read_clips(frames_of_many(clips, 32))
    accuracy = attribute_accuracy(readings, [Asked.of(clip) for clip in clips])
    assert {name: one.accuracy for name, one in accuracy.items()} == dict.fromkeys(accuracy, 1.0)
    assert accuracy["law"].n == len(clips)
    assert accuracy["shape"].n == sum(len(clip.things) for clip in clips)
    assert accuracy["relation"].n > 0


def test_each_wrong_attribute_is_counted_in_its_own_column(clips):
    truth = Reading.of(clips[0])
    thing = truth.things[0]
    asked = [Asked.of(clips[0])]
    for name, other in (("shape", "star"), ("colour", "pink"), ("size", "large"), ("material", "wood")):
        if getattr(thing, name) == other:
            continue
        wrong = replace(truth, things=(replace(thing, **{name: other}), *truth.things[1:]))
        accuracy = attribute_accuracy([wrong], asked)
        assert accuracy[name].right == accuracy[name].n - 1
        for attribute in {"shape", "colour", "size", "material", "count", "law"} - {name}:
            assert accuracy[attribute].right == accuracy[attribute].n


def test_a_missing_thing_is_wrong_in_all_and_a_rejected_clip_too(clips):
    clip = clips[0]
    truth, asked = Reading.of(clip), [Asked.of(clip)]
    alone = replace(truth, things=truth.things[:1], position=truth.position[:, :1], angle=truth.angle[:, :1])
    accuracy = attribute_accuracy([alone], asked)
    assert accuracy["shape"].right == accuracy["colour"].right == 1
    assert accuracy["count"].right == 0
    assert accuracy["relation"].right == 0
    rejected = attribute_accuracy([GARBAGE], asked)
    assert all(one.right == 0 for one in rejected.values())
    assert {name: one.n for name, one in rejected.items()} == {name: one.n for name, one in accuracy.items()}


def test_half_garbage_is_half_as_accurate(clips):
    truth, asked = [Reading.of(clip) for clip in clips], [Asked.of(clip) for clip in clips]
    clean = attribute_accuracy(truth, asked)
    mixed = attribute_accuracy(truth + [GARBAGE] * len(clips), asked * 2)
    for name, one in clean.items():
        assert one.accuracy == 1.0
        assert mixed[name].accuracy == pytest.approx(0.5)


def test_a_relation_asked_for_the_wrong_way_round_is_wrong():
    truth = Reading.of(law_clip("inertia", 1, Knobs(objects=1)))
    descriptions = tuple(Description(shape=thing.shape, colour=thing.colour) for thing in truth.things)
    left, right = np.argsort(truth.position[0, :, 0]).tolist()
    for subject, target, is_right in ((left, right, 1), (right, left, 0)):
        related = frozenset({Related(subject=subject, relation="left of", object=target)})
        accuracy = attribute_accuracy([truth], [Asked(things=descriptions, relations=related)])
        assert accuracy["relation"].right == is_right


def test_frames_that_are_garbage_count_as_errors_in_every_score(clips):
    """Through the parser: frames of noise beside good ones are half as accurate, and farther from the clean ones."""
    clean = frames_of_many(clips, 32)
    noise = np.random.default_rng(0).integers(0, 256, clean.shape, np.uint8)
    read = read_clips(np.concatenate([clean, noise]))
    asked, half = [Asked.of(clip) for clip in clips], len(clips)
    alone, mixed = attribute_accuracy(read[:half], asked), attribute_accuracy(read, asked * 2)
    assert {name: one.accuracy for name, one in mixed.items()} == {
        name: one.accuracy / 2 for name, one in alone.items()
    }
    laws = [clip.law for clip in clips]
    assert law_deviation(read, laws * 2) > law_deviation(read[:half], laws)
    truth = [Reading.of(clip) for clip in clips]
    assert frechet_distance(read, truth).value > frechet_distance(read[:half], truth).value


def test_law_deviation_is_small_for_right_motion_and_whole_for_garbage(clips):
    truth = [Reading.of(clip) for clip in clips]
    right = law_deviation(truth, LAWS)
    assert right < 0.03
    assert law_deviation(truth, [*LAWS[1:], LAWS[0]]) > 0.3
    assert law_deviation([GARBAGE], ["inertia"]) == 1.0
    assert law_deviation(truth + [GARBAGE] * len(truth), [*LAWS, *LAWS]) == pytest.approx((right + 1) / 2)


def test_frechet_distance_is_nothing_to_itself_and_grows_with_what_differs(reference, others):
    assert frechet_distance(reference, reference).value == pytest.approx(0, abs=1e-6)
    same_law = frechet_distance(others, reference).value
    few_colours = frechet_distance(readings_of(range(400, 600), colours=("red", "blue", "green")), reference).value
    no_large = frechet_distance(readings_of(range(400, 600), sizes=("small",)), reference).value
    frozen = [replace(one, position=np.repeat(one.position[:1], len(one), axis=0)) for one in others]
    at_rest = frechet_distance(frozen, reference).value
    assert same_law < min(few_colours, no_large, at_rest) / 2


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_garbage_makes_a_set_worse_than_its_clean_part_alone(reference, others, share):
    clean = frechet_distance(others, reference)
    garbage = round(len(others) * share / (1 - share))
    mixed = frechet_distance(others + [GARBAGE] * garbage, reference)
    assert mixed.states == clean.states
    assert mixed.value > clean.value + 0.5 * share * max(np.square(state_vector(others[0])).mean(), 0.1)


def test_rejection_never_pays(reference, others):
    """Where a set is bad, having its worst clips rejected makes it no better."""
    fast = readings_of(range(400, 600), speed=1.5)
    shown = frechet_distance(fast, reference)
    pace = [np.nanmax(np.abs(one.velocity)) for one in fast]
    fastest = set(np.argsort(pace)[-40:].tolist())
    hidden = frechet_distance([GARBAGE if i in fastest else one for i, one in enumerate(fast)], reference)
    assert hidden.value > shown.value


@pytest.mark.parametrize("share", [0.16, 0.5])
def test_a_reference_that_is_rejected_too_excuses_no_garbage(reference, others, share):
    count = round(len(reference) * share / (1 - share))
    dirty = reference + [GARBAGE] * count
    clean = frechet_distance(others, dirty)
    assert clean == frechet_distance(others, reference)
    assert frechet_distance(others + [GARBAGE] * count, dirty).value > clean.value + 1


def test_nothing_but_garbage_is_infinitely_far(reference):
    assert frechet_distance([GARBAGE] * 5, reference).value == float("inf")


def test_scores_refuse_what_they_cannot_count(reference):
    for nothing in ([GARBAGE, GARBAGE], []):
        with pytest.raises(UserError, match="too few"):
            frechet_distance(reference, nothing)
    assert frechet_distance([], reference).value == float("inf")
    with pytest.raises(UserError, match="as many"):
        attribute_accuracy(reference[:2], [Asked()])
    with pytest.raises(UserError, match="as many"):
        law_deviation(reference[:2], ["inertia"])


def test_states_that_were_kept_give_the_same_distance(reference, others):
    some = [*others[:50], GARBAGE, GARBAGE]
    kept = states_of(some)
    assert np.isnan(kept[-2:]).all()
    assert np.isfinite(kept[:-2]).all()
    assert frechet_of_states(kept, states_of(reference)) == frechet_distance(some, reference)


def with_more(reading, count):
    """A reading with things too many, which stand where the first does."""
    return replace(
        reading,
        things=reading.things + reading.things[:1] * count,
        position=np.concatenate([reading.position, *[reading.position[:, :1]] * count], axis=1),
        angle=np.concatenate([reading.angle, *[reading.angle[:, :1]] * count], axis=1),
        velocity=np.concatenate([reading.velocity, *[reading.velocity[:, :1]] * count], axis=1),
    )


def test_what_is_there_too_much_is_no_recall_but_costs_precision(clips):
    truth, asked = [Reading.of(clip) for clip in clips], [Asked.of(clip) for clip in clips]
    clean = attribute_accuracy(truth, asked)
    crowded = attribute_accuracy([with_more(one, 2) for one in truth], asked)
    more = attribute_accuracy([with_more(one, 4) for one in truth], asked)
    for name in ("shape", "colour", "size", "material", "direction", "relation"):
        assert clean[name].precision == clean[name].f1 == 1.0
        assert crowded[name].accuracy == 1.0
        assert more[name].precision < crowded[name].precision < 1.0
        assert more[name].f1 < crowded[name].f1 < 1.0
    things = sum(len(clip.things) for clip in clips)
    assert crowded["shape"].precision == pytest.approx(things / (things + 2 * len(clips)))
    assert crowded["count"].right == 0


def test_nothing_there_is_no_precision_and_no_f1(clips):
    nothing = attribute_accuracy([GARBAGE] * len(clips), [Asked.of(clip) for clip in clips])
    assert all(np.isnan(one.precision) for one in nothing.values())
    assert all(one.f1 == 0 for one in nothing.values())
    half = attribute_accuracy([Reading.of(clips[0]), *[GARBAGE] * (len(clips) - 1)], [Asked.of(clip) for clip in clips])
    assert half["colour"].precision == 1.0
    assert 0 < half["colour"].f1 < 1
