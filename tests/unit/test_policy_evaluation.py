"""Evaluation on actors that are known to be good and known to be bad."""

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.core.media import read_clip
from maquette.robotics.collecting import Collection, attempts_of
from maquette.robotics.evaluation import ExpertActor, evaluate, robot_in, setting_of
from maquette.worlds.scene.actions.environment import Setting

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
    good = evaluate(ExpertActor(), REACH, episodes=12, execute=1, animations=tmp_path / "good")
    bad = evaluate(Still(), REACH, episodes=12, execute=4, animations=tmp_path / "bad")
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
