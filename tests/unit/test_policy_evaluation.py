"""Evaluation on actors that are known to be good and known to be bad."""

from dataclasses import replace

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.core.media import read_clip
from maquette.robotics.collecting import Collection, attempts_of
from maquette.robotics.evaluation import (
    SHOWN_STILL,
    Animations,
    ExpertActor,
    evaluate,
    robot_in,
    setting_of,
    side_by_side,
)
from maquette.robotics.testbed import of_another_table
from maquette.worlds.scene.actions.environment import Setting
from maquette.worlds.scene.actions.episode import Episode

REACH = Setting(tasks=("reach", "push-to"), embodiment="pusher", size=16)


class Still:
    """Does nothing; its chunks are longer than what is executed."""

    def chunks(self, episodes, images, state, seed):
        self.seen = images, state, [episode.assignment.seed for episode in episodes]
        return np.zeros((len(episodes), 6, 2))


class Broken(Still):
    def chunks(self, episodes, images, state, seed):
        return np.full((len(episodes), 6, 2), np.nan)


def test_the_expert_succeeds_and_who_stands_still_does_not(tmp_path):
    good = evaluate(ExpertActor(), REACH, episodes=12, execute=1, show=Animations(tmp_path / "good", 10))
    bad = evaluate(Still(), REACH, episodes=12, execute=4, show=Animations(tmp_path / "bad", 10))
    assert (good.successes, good.failures) == (12, {})
    assert bad.successes == 0
    assert sum(bad.failures.values()) == 12
    assert set(bad.failures) <= {"timeout", "out of reach"}
    assert {task: n for task, (_, n) in good.by_task.items()} == {task: n for task, (_, n) in bad.by_task.items()}
    assert bad.interval.low == 0 < bad.interval.high < good.interval.low < good.interval.high == 1
    assert sorted(path.name for path in (tmp_path / "good").iterdir()) == [f"success-{i}.gif" for i in (1, 2, 3)]
    films = sorted((tmp_path / "bad").iterdir())
    assert len(films) == 3
    assert all(path.name.startswith("failure-") for path in films)
    frames = read_clip(films[0]).frames
    assert (frames[0] == frames[-1]).all(), "it stood still"
    moved = read_clip(tmp_path / "good/success-1.gif").frames
    assert (moved[0] != moved[-1]).any()


def test_initial_states_are_fixed_and_no_demonstrations():
    seeds = []
    for _ in range(2):
        actor = Still()
        evaluate(actor, Setting(tasks=("reach",), embodiment="pusher", size=16), episodes=5, execute=200)
        seeds.append(actor.seen[2])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 5
    attempts = attempts_of(Collection(tasks=("reach",)))
    assert not {next(attempts).assignment.seed for _ in range(20)} & set(seeds[0])


def test_actions_that_are_no_numbers_are_refused():
    with pytest.raises(UserError, match="not finite"):
        evaluate(Broken(), REACH, episodes=1)
    with pytest.raises(UserError, match="episodes = 0"):
        evaluate(Still(), REACH, episodes=0)


class Counting:
    """Says which chunk an action is of, and its place there."""

    def __init__(self, length):
        self.length, self.states = length, []

    def chunks(self, episodes, images, state, seed):
        call = len(self.states)
        self.states.append(state[0].copy())
        places = np.arange(self.length) / 100
        return np.repeat(np.stack([np.full(self.length, call / 10), places], axis=1)[None], len(episodes), axis=0)


def test_a_late_policy_acts_from_its_last_chunk_meanwhile(monkeypatch):
    done, felt = [], []
    act = Episode.act

    def noted(episode, action):
        felt.append(episode.body.feels())
        done.append([round(10 * action[0]), round(100 * action[1])])
        act(episode, action)

    monkeypatch.setattr(Episode, "act", noted)
    setting, actor = Setting(tasks=("reach",), embodiment="pusher", size=16), Counting(9)
    assert evaluate(actor, setting, episodes=1, execute=5, delay=2).delay == 2
    assert done[:15] == [[0, i] for i in range(5)] + [[1, i] for i in range(2, 7)] + [[2, i] for i in range(2, 7)]
    for call, place in ((0, 0), (1, 3), (2, 8)):  # it was seen two actions before the last of the chunk before ended
        np.testing.assert_allclose(actor.states[call], felt[place], atol=1e-6)
    done.clear()
    evaluate(Counting(9), setting, episodes=1, execute=5)
    assert done[:10] == [[0, i] for i in range(5)] + [[1, i] for i in range(5)]


@pytest.mark.parametrize(
    ("execute", "delay", "words"), [(5, 6, "delay = 6"), (5, -1, "delay = -1"), (6, 4, "9 actions")]
)
def test_a_delay_must_fit_the_chunk(execute, delay, words):
    with pytest.raises(UserError, match=words):
        evaluate(Counting(9), REACH, episodes=1, execute=execute, delay=delay)


def test_films_stand_below_one_another_with_what_was_asked():
    films = []
    setting = replace(REACH, control_hz=50)
    evaluate(ExpertActor(), setting, episodes=3, execute=1, show=lambda *one: films.append(one))
    frames, fps = side_by_side(films, 50)
    assert fps == 25
    assert len(frames) == max(-(-len(film) // 2) for _, film in films) + SHOWN_STILL
    assert (frames[-1] == frames[-2]).all()
    assert frames.shape[1] > 3 * 128
    assert (frames[0] != frames[-1]).any()


def test_what_a_policy_is_told_can_be_another_tables():
    say = of_another_table(REACH)
    episodes = [REACH.episode(seed) for seed in range(20)]
    told = [say(episode) for episode in episodes]
    assert told == [say(episode) for episode in episodes]
    assert sum(a == b.assignment.instruction for a, b in zip(told, episodes, strict=True)) < 3


def test_a_policy_is_tried_where_it_learned():
    collection = Collection(tasks=("push-to",), embodiment="gripper", size=32)
    source = {"world": "scene", "tasks": ["push-to"], "embodiment": "gripper", "size": 32, "control_hz": 10}
    source["layout"] = {"distractors": 1, "sizes": ["small", "medium"]}
    assert setting_of(source) == collection.setting
    assert robot_in(collection.setting).action_names == ("x", "y", "grip")
    with pytest.raises(UserError, match="which world"):
        setting_of({})
    with pytest.raises(UserError, match="lacks 'layout'"):
        setting_of({name: value for name, value in source.items() if name != "layout"})
