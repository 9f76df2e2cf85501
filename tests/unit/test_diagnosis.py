"""The doctor: each fault planted into sound demonstrations is located, and sound ones give no alarm."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from maquette.cli import commands, robots
from maquette.core.errors import UserError
from maquette.core.files import read_json, write_json
from maquette.robotics.collecting import CAMERA, SOURCE, Collection, collect
from maquette.robotics.datasets.layout import ACTION, STATE, STATS
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.writer import DatasetWriter
from maquette.robotics.deployment import Deployed, load
from maquette.robotics.diagnosis.doctor import Diagnosis, diagnose
from maquette.robotics.diagnosis.findings import of_actions, shifted
from maquette.robotics.normalisation import Normaliser
from maquette.robotics.training import RECIPES, carry_out

torch.set_num_threads(1)
WRIST = "observation.images.wrist"


def own_features(dataset):
    """All but the bookkeeping."""
    return {name: f for name, f in dataset.info.features.items() if "index" not in name and name != "timestamp"}


def rewritten(source, directory, change=lambda frames, number: frames, *, known=True, second=False):
    """A copy of a dataset with every episode changed; without its source the world is not known."""
    dataset = Dataset(source)
    features = own_features(dataset)
    if second:
        features[WRIST] = features[CAMERA]
    with DatasetWriter(directory, fps=dataset.info.fps, features=features, robot_type="pusher") as writer:
        for episode in dataset.episodes:
            frames = {name: dataset.numbers(name)[episode.frames] for name, f in features.items() if not f.is_picture}
            frames[CAMERA] = dataset.pictures(CAMERA, episode)
            if second:  # from the other side, and darker
                frames[WRIST] = frames[CAMERA][:, ::-1, ::-1] // 3
            writer.add_episode(change(frames, episode.number), episode.tasks[0])
        if known:
            write_json(writer.part / SOURCE, read_json(source / SOURCE))
    return directory


def found_in(directory, deployed=None, steps=0):
    return Diagnosis(checks=tuple(diagnose(directory, deployed, steps=steps)))


def check(diagnosis, name):
    return next(one for one in diagnosis.checks if one.name == name)


def changed(name, change):
    return lambda frames, number: frames | {name: change(frames[name]).astype(frames[name].dtype)}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("diagnosis") / "sound"
    collect(Collection(tasks=("reach", "push-to"), episodes=5, size=32, seed=3), directory)
    return directory


PLANTED = {
    "delta": (ACTION, lambda a: np.diff(a, axis=0, prepend=0 * a[:1]), "replay", "action frame", "delta for absolute"),
    "sums": (ACTION, lambda a: a.cumsum(0), "replay", "action frame", "absolute for delta"),
    "sign": (
        ACTION,
        lambda a: a * np.array([1, -1]),
        "replay",
        "action frame",
        "number 1 of the actions",
    ),
    "scale": (ACTION, lambda a: a * 0.25, "replay", "action frame", "nothing that was tried explains it"),
    "late": (ACTION, lambda a: shifted(a, -3), "replay", "delay", "recorded 3 steps late"),
    "early": (ACTION, lambda a: shifted(a, 2), "replay", "delay", "recorded 2 steps early"),
    "mirrored": (CAMERA, lambda x: x[:, :, ::-1], "pictures", "camera", "mirrored left to right"),
    "upside down": (CAMERA, lambda x: x[:, ::-1], "pictures", "camera", "upside down"),
    "colours": (CAMERA, lambda x: x[..., ::-1], "pictures", "camera", "red and blue"),
    "black": (CAMERA, lambda x: x * 0, "pictures", "camera", "contact sheet"),
    "late pictures": (CAMERA, lambda x: shifted(x, -4), "pictures", "delay", "4 frames late"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_located(sound, tmp_path, name):
    feature, change, where, fault, words = PLANTED[name]
    diagnosis = found_in(rewritten(sound, tmp_path / "data", changed(feature, change)))
    assert diagnosis.faults == (fault,)
    assert check(diagnosis, where).fault == fault
    assert words in check(diagnosis, where).said


@pytest.mark.parametrize(
    "changes",
    [
        {"embodiment": "gripper", "tasks": ("sort-by-colour",), "seed": 1},
        {"embodiment": "arm", "tasks": ("reach",), "noise": 0.1},
        {"pictures": "video", "size": 64},
        {"control_hz": 25, "tasks": ("reach",)},
    ],
)
def test_sound_demonstrations_give_no_alarm(tmp_path, changes):
    collect(Collection(**({"episodes": 3, "size": 32} | changes)), tmp_path / "data")
    diagnosis = found_in(tmp_path / "data")
    assert diagnosis.faults == ()
    assert check(diagnosis, "replay").numbers["astray"] < 1e-4
    assert check(diagnosis, "replay").numbers["succeeded"] == 1
    assert check(diagnosis, "pictures").tried


def test_elsewhere_motion_alone_tells_of_a_delay(sound, tmp_path):
    healthy = found_in(rewritten(sound, tmp_path / "healthy", known=False))
    assert healthy.faults == ()
    assert not check(healthy, "replay").tried
    assert check(healthy, "motion").numbers["explained"] > 0.8
    late = found_in(rewritten(sound, tmp_path / "late", changed(ACTION, lambda a: shifted(a, -2)), known=False))
    assert late.faults == ("delay",)
    assert "moves 2 steps before" in check(late, "motion").said
    slow = rewritten(sound, tmp_path / "slow", changed(STATE, lambda s: shifted(s, -2)), known=False)
    assert found_in(slow).faults == (), "a robot may move some time after it is told"


def test_wrong_statistics_are_found(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "data")
    raw = read_json(tmp_path / "data" / STATS)
    raw[ACTION]["mean"] = [2.0, 0.0]
    write_json(tmp_path / "data" / STATS, raw)
    diagnosis = found_in(tmp_path / "data")
    assert diagnosis.faults == ("statistics",)
    assert "mean of action in meta/stats.json" in check(diagnosis, "statistics").said


def test_cameras_that_change_places_are_found(sound, tmp_path):
    assert found_in(rewritten(sound, tmp_path / "healthy", second=True)).faults == ()

    def swap(frames, number):
        return frames | {CAMERA: frames[WRIST], WRIST: frames[CAMERA]} if number in (1, 3) else frames

    diagnosis = found_in(rewritten(sound, tmp_path / "data", swap, second=True, known=False))
    assert diagnosis.faults == ("camera",)
    assert "exchanged in episode 1, and in 2 in all" in check(diagnosis, "cameras").said


@pytest.fixture(scope="module")
def learned(sound, tmp_path_factory):
    """Demonstrations by two cameras in no known world, and a policy that knows them by heart."""
    home = tmp_path_factory.mktemp("learned")

    rewritten(sound, home / "data", second=True, known=False)
    recipe = RECIPES["diffusion-policy"]
    train = replace(recipe.train, steps=200, precision="fp32", device="cpu", save_every=0, evaluate_every=0)
    recipe = replace(recipe, size="tiny", head="l1", chunk=4, pixels=32, rows=16, train=train)
    carry_out(recipe, home / "data", home / "policy")
    return home


def test_a_policy_that_knows_its_demonstrations_gives_no_alarm(learned):
    diagnosis = found_in(learned / "data", load(learned / "policy"))
    assert diagnosis.faults == ()
    assert check(diagnosis, "policy").numbers["error"] < 0.6
    assert check(diagnosis, "normalisation").numbers["off"] < 1e-6


OF_A_POLICY = {
    "delta": (changed(ACTION, lambda a: np.diff(a, axis=0, prepend=0 * a[:1])), "action frame", "delta for absolute"),
    "late": (changed(ACTION, lambda a: shifted(a, -4)), "delay", "recorded 4 steps late"),
    "mirrored": (changed(CAMERA, lambda x: x[:, :, ::-1]), "camera", f"{CAMERA}: pictures are mirrored"),
    "exchanged": (
        lambda frames, number: frames | {CAMERA: frames[WRIST], WRIST: frames[CAMERA]},
        "camera",
        f"{CAMERA} and {WRIST} are exchanged",
    ),
}


@pytest.mark.parametrize("name", OF_A_POLICY)
def test_a_policy_tells_what_has_changed(learned, tmp_path, name):
    change, fault, words = OF_A_POLICY[name]
    dataset = Dataset(learned / "data")
    with DatasetWriter(tmp_path / "data", fps=10, features=own_features(dataset)) as writer:
        for episode in dataset.episodes:
            frames = {camera: dataset.pictures(camera, episode) for camera in (CAMERA, WRIST)}
            frames |= {n: dataset.numbers(n)[episode.frames] for n in own_features(dataset) if n not in frames}
            writer.add_episode(change(frames, episode.number), episode.tasks[0])
    diagnosis = found_in(tmp_path / "data", load(learned / "policy"))
    assert check(diagnosis, "policy").fault == fault
    assert words in check(diagnosis, "policy").said


def test_a_policy_with_other_statistics_and_another_meaning_is_found(sound, learned):
    deployed = load(learned / "policy")
    far = replace(deployed.card, action=Normaliser(kind="mean-std", centre=(0.0, 0.0), scale=(200.0, 200.0)))
    diagnosis = found_in(learned / "data", Deployed(deployed.policy, deployed.tokenizer, far), steps=40)
    assert diagnosis.faults[0] == "statistics"
    assert "normalises action with other statistics" in check(diagnosis, "normalisation").said
    assert check(diagnosis, "by heart").fault == "learning", "nothing that is normalised so can be learned"
    three = replace(far, state=Normaliser(kind="mean-std", centre=(0.0,) * 3, scale=(1.0,) * 3))
    with pytest.raises(UserError, match="numbers of its state"):
        found_in(learned / "data", Deployed(deployed.policy, deployed.tokenizer, three))


def test_actions_of_another_meaning_are_found(sound, learned, tmp_path):
    data, deployed = rewritten(sound, tmp_path / "data", second=True), load(learned / "policy")
    theirs = read_json(sound / SOURCE)["action_meaning"]

    def found_with(meaning):
        return found_in(
            data, Deployed(deployed.policy, deployed.tokenizer, replace(deployed.card, action_meaning=meaning))
        )

    same = found_with(theirs)
    assert same.faults == ()
    assert check(same, "meaning").said == f"actions are {theirs}"
    other = found_with("positions in widths of the table")
    assert other.faults == ("action frame",)
    assert check(other, "meaning").fault == "action frame"
    assert "the policy's are positions in widths of the table" in check(other, "meaning").said
    assert "meaning" not in [one.name for one in found_with("").checks], "who says nothing contradicts nothing"


def test_an_episode_is_learned_by_heart(sound):
    diagnosis = found_in(sound, steps=150)
    assert diagnosis.faults == ()
    assert check(diagnosis, "by heart").numbers["error"] < 0.5


def test_an_episode_of_one_action_is_no_fault(sound, tmp_path):
    def straight(frames, number):
        return frames | {ACTION: np.full_like(frames[ACTION], 0.5)} if number == 0 else frames

    diagnosis = found_in(rewritten(sound, tmp_path / "data", straight, known=False), steps=150)
    assert check(diagnosis, "by heart").fault is None
    assert check(diagnosis, "by heart").numbers["error"] < 0.5


def test_suppositions_undo_each_other():
    a = np.random.default_rng(0).normal(size=(9, 2))
    delta, sums = of_actions(2)[:2]
    np.testing.assert_allclose(sums.undo(delta.undo(a)), a)
    assert shifted(shifted(a, 2), -2)[2:-2].tolist() == a[2:-2].tolist()


def test_the_command_says_it_in_80_columns(sound, learned, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robots, "prepare_process", lambda: "as it is")  # would start pytest anew
    monkeypatch.setenv("COLUMNS", "80")
    bad = rewritten(sound, tmp_path / "data", changed(CAMERA, lambda x: x[:, :, ::-1]))
    assert commands.run(["doctor", "--dataset", str(bad), "--steps", "0"]) == 1
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert said.endswith("faults: camera\n")
    assert (
        commands.run(["doctor", str(learned / "policy"), "--dataset", str(learned / "data"), "--steps", "0", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["faults"] == []
    assert [one["name"] for one in told["checks"]][:2] == ["data", "statistics"]
    for line, words in (
        (["doctor", "--dataset", str(tmp_path / "nowhere")], "is no folder"),
        (["doctor", str(sound), "--dataset", str(sound)], "has no policy.json"),
        (["doctor", "--dataset", str(sound), "--steps", "-1"], "--steps is -1"),
        (["doctor"], "--dataset"),
    ):
        with pytest.raises(UserError, match=words):
            commands.run(line)
