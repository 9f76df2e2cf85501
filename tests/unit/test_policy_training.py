"""From a LeRobot dataset to a policy's folder, and what that folder refuses."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette.core.errors import UserError
from maquette.core.files import sha256
from maquette.language import vlm_folder, vlm_recipes
from maquette.language.prompts import padded
from maquette.language.tokenizers import byte_tokenizer
from maquette.robotics import deployment
from maquette.robotics.datasets.layout import ACTION, STATE, Feature
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.writer import DatasetWriter
from maquette.robotics.deployment import Robot, for_robot, refuse_mismatch
from maquette.robotics.moments import Moments, fitted, is_held_out
from maquette.robotics.normalisation import normaliser, normaliser_from_json
from maquette.robotics.policies.making import Shape
from maquette.robotics.training import RECIPES, carry_out, new_policy, robot_of
from maquette.train import checkpoint

torch.set_num_threads(1)
CAMERAS = ("observation.images.left", "observation.images.right")
LENGTHS = (6, 9, 4)


def write(directory, lengths=LENGTHS, fps=15, state=4, names=("a", "b", "c"), first_action=0.0):
    features = {
        STATE: Feature(dtype="float32", shape=(state,)),
        ACTION: Feature(dtype="float32", shape=(len(names),), names=list(names)),
        CAMERAS[0]: Feature(dtype="image", shape=(24, 32, 3)),
        CAMERAS[1]: Feature(dtype="image", shape=(16, 16, 3)),
    }
    rng = np.random.default_rng(0)
    with DatasetWriter(directory, fps=fps, features=features) as writer:
        for number, length in enumerate(lengths):
            episode = {
                STATE: rng.normal(3, 2, (length, state)),
                ACTION: np.stack([np.arange(length) + 100 * number + first_action] * len(names), axis=1),
                CAMERAS[0]: rng.integers(0, 256, (length, 24, 32, 3), dtype=np.uint8),
                CAMERAS[1]: np.full((length, 16, 16, 3), 10 * number % 250, np.uint8),
            }
            writer.add_episode(episode, f"do the thing {number % 2}")
    return directory


def a_recipe(kind, steps=3, **changes):
    recipe = RECIPES[kind]
    train = replace(recipe.train, steps=steps, precision="fp32", device="cpu", log_every=1, save_every=0)
    return replace(recipe, size="tiny", chunk=8, pixels=16, rows=4, train=train, **changes)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A dataset and a policy trained on it for three steps."""
    folder = tmp_path_factory.mktemp("home")
    write(folder / "data")
    carry_out(a_recipe("pi0"), folder / "data", folder / "policy")
    return folder


def moments_of(directory):
    dataset = Dataset(directory)
    same = {"state": normaliser("mean-std", np.array([[-1.0] * 4, [1.0] * 4]))}
    same["action"] = normaliser("mean-std", np.array([[-1.0] * 3, [1.0] * 3]))
    return Moments(dataset, cameras=CAMERAS, pixels=16, chunk=5, tokenizer=byte_tokenizer(), **same)


def nothing_drawn(rows, generator):
    return {}


# ---- moments


def test_a_moment_has_what_was_seen_and_the_actions_that_followed(home):
    moments = moments_of(home / "data")
    batch = moments.at(torch.tensor([3, 6, 14]))
    assert batch["actions"][..., 0].tolist() == [
        [3, 4, 5, 5, 5],
        [100, 101, 102, 103, 104],
        [108, 108, 108, 108, 108],
    ]
    assert batch["counted"].sum(1).tolist() == [3, 5, 1]
    assert batch["images"].shape == (3, 2, 3, 16, 16)
    assert batch["images"][:, 1].float().mean((1, 2, 3)).tolist() == [0, 10, 10]
    words = bytes(batch["prompt"][1][batch["written"][1]].tolist()).decode()
    assert words == "do the thing 1"


def test_batches_follow_from_the_step_alone_and_held_out_episodes_stay_out(tmp_path):
    moments = moments_of(write(tmp_path / "data", lengths=(3,) * 40))
    a, b, c = (moments.batch(step, 16, 0, nothing_drawn) for step in (5, 5, 6))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["state"], c["state"])
    held = {e.number for e in Dataset(tmp_path / "data").episodes if is_held_out(e)}
    assert 0 < len(held) < 10
    assert set((moments.held_out // 3).tolist()) == held
    assert not held & set((moments.training // 3).tolist())


def test_pictures_keep_their_shape():
    wide = np.zeros((2, 10, 20, 3), np.uint8)
    wide[:, :, :10] = 200
    found = fitted(wide, 8)
    assert found.shape == (2, 3, 8, 8)
    assert (found[:, :, :2] == 0).all()
    assert (found[:, :, -2:] == 0).all()
    assert (found[:, :, 3:5, :3] == 200).all()
    assert (found[:, :, 3:5, 5:] == 0).all()
    assert torch.equal(fitted(wide[:, :, :10], 10)[0, 0], torch.full((10, 10), 200, dtype=torch.uint8))


def test_instructions_are_padded_and_say_so():
    tokens, written = padded(byte_tokenizer(), ["ab", "abcd"], length=6)
    assert tokens.shape == (2, 6)
    assert written.sum(1).tolist() == [2, 4]


@pytest.mark.parametrize("kind", ["mean-std", "min-max", "quantiles"])
def test_normalising_is_undone_and_a_constant_does_not_explode(kind):
    values = np.random.default_rng(0).normal(5, 3, (1000, 3))
    values[:, 2] = 7.0
    found = normaliser(kind, values)
    x = torch.tensor(values, dtype=torch.float32)
    torch.testing.assert_close(found.undo(found.apply(x)), x)
    made = found.apply(x)
    assert (made[:, 2] == 0).all()
    if kind == "mean-std":
        torch.testing.assert_close(made[:, :2].std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)
    else:
        share = float((made[:, :2].abs() <= 1 + 1e-5).float().mean())
        assert share == (1.0 if kind == "min-max" else pytest.approx(0.98, abs=0.003))
    assert normaliser_from_json(json.loads(json.dumps(found.as_json())), "here") == found


def test_a_robot_with_fewer_numbers_is_padded_and_cut_back():
    values = np.random.default_rng(0).normal(5, 3, (100, 2))
    found = normaliser("mean-std", values, 4)
    x = torch.tensor(values, dtype=torch.float32)
    made = found.apply(x)
    assert made.shape == (100, 4)
    assert (made[:, 2:] == 0).all()
    torch.testing.assert_close(made[:, :2], normaliser("mean-std", values).apply(x))
    torch.testing.assert_close(found.undo(made + torch.tensor([0, 0, 9, 9])), x)
    more = found.extended(3)
    y = torch.cat((x, torch.full((100, 1), 0.5)), dim=1)
    torch.testing.assert_close(more.apply(y)[:, :3], torch.cat((made[:, :2], y[:, 2:]), dim=1))
    torch.testing.assert_close(more.undo(more.apply(y)), y)
    assert normaliser_from_json(json.loads(json.dumps(more.as_json())), "here") == more
    old = {name: value for name, value in more.as_json().items() if name != "width"}
    assert normaliser_from_json(old, "here").width == 0


# ---- training and folders


@pytest.mark.parametrize("kind", RECIPES)
def test_any_dataset_trains_every_policy(home, tmp_path, kind):
    trained = carry_out(a_recipe(kind, steps=2), home / "data", tmp_path / "policy")
    assert np.isfinite(trained.final["held_out_loss"])
    deployed = deployment.load(tmp_path / "policy")
    images = {name: np.zeros((2, 20, 30, 3), np.uint8) for name in CAMERAS}
    chunk = deployed.act(images, np.zeros((2, 4), np.float32), ["do the thing 0", "something never said before"])
    assert chunk.shape == (2, 8, 3)
    assert np.isfinite(chunk).all()


def test_a_folder_acts_as_the_policy_did_and_resumes_to_the_same_bits(home, tmp_path):
    card = json.loads((home / "policy/policy.json").read_text())
    assert (card["control_hz"], card["cameras"]) == (15, list(CAMERAS))
    assert card["action_names"] == ["a", "b", "c"]
    assert card["dataset"] == Dataset(home / "data").identity
    assert card["weights"] == sha256(home / "policy/model.safetensors")
    recipe = a_recipe("pi0")
    recipe = replace(recipe, train=replace(recipe.train, save_every=1, keep=9))
    carry_out(recipe, home / "data", tmp_path / "again")
    for lost in (checkpoint.folder(tmp_path / "again/training", 3), tmp_path / "again/model.safetensors"):
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    steps = []
    carry_out(recipe, home / "data", tmp_path / "again", progress=lambda done, total: steps.append(done))
    assert steps == [3]
    a, b = (load_file(folder / "model.safetensors") for folder in (home / "policy", tmp_path / "again"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    first, second = deployment.load(home / "policy"), deployment.load(tmp_path / "again")
    images = {name: np.full((1, 16, 16, 3), 90, np.uint8) for name in CAMERAS}
    chunks = [one.act(images, np.ones((1, 4), np.float32), ["do the thing 1"], seed=3) for one in (first, second)]
    assert (chunks[0] == chunks[1]).all()
    other = first.act(images, np.ones((1, 4), np.float32), ["do the thing 1"], seed=4)
    assert (other != chunks[0]).any()


def test_a_child_names_its_parent_and_keeps_its_numbers(home, tmp_path):
    write(tmp_path / "more", lengths=(5, 5))
    carry_out(a_recipe("pi0", steps=1), tmp_path / "more", tmp_path / "child", parent=home / "policy")
    parent, child = (json.loads((f / "policy.json").read_text()) for f in (home / "policy", tmp_path / "child"))
    assert child["parent"] == parent["weights"] == sha256(home / "policy/model.safetensors")
    assert child["action"] == parent["action"]
    assert child["dataset"] != parent["dataset"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fps": 30}, "actions a second: 15 and 30"),
        ({"names": ("x", "y", "z")}, "names of its actions: a, b, c and x, y, z"),
        ({"names": ("a", "b")}, "numbers of an action: 3 and 2"),
        ({"state": 5}, "numbers of its state: 4 and 5"),
    ],
)
def test_another_robot_is_refused_in_a_sentence(home, tmp_path, changes, words):
    write(tmp_path / "other", **changes)
    with pytest.raises(UserError, match=words) as caught:
        carry_out(a_recipe("pi0", steps=1), tmp_path / "other", tmp_path / "child", parent=home / "policy")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "child").exists()


def test_a_missing_camera_and_another_meaning_are_refused(home):
    card = deployment.load(home / "policy").card
    robot = robot_of(Dataset(home / "data"))
    refuse_mismatch(card, robot, "the same robot")
    with pytest.raises(UserError, match=r"looks through the camera observation\.images\.left"):
        refuse_mismatch(card, replace(robot, cameras=CAMERAS[1:]), "another")
    positions = replace(card, action_meaning="positions")
    with pytest.raises(UserError, match="meaning of its actions"):
        refuse_mismatch(positions, replace(robot, action_meaning="velocities"), "another")
    refuse_mismatch(positions, Robot(cameras=CAMERAS, state=4, action=3), "one that says little")


def damaged(file, damage):
    def do(folder):
        path = folder / file
        path.write_text(json.dumps(damage(json.loads(path.read_text()))))

    return do


def other_weights(folder):
    weights = load_file(folder / "model.safetensors")
    weights["head.out.bias"] += 1
    save_file(weights, folder / "model.safetensors")


DAMAGES = {
    "no card": (lambda folder: (folder / "policy.json").unlink(), "has no policy.json"),
    "other weights": (other_weights, "is not what policy.json was written with"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "is not what"),
    "no format": (damaged("policy.json", lambda card: card | {"format": 9}), "no format that is read here"),
    "a field missing": (
        damaged("policy.json", lambda card: {k: v for k, v in card.items() if k != "control_hz"}),
        "control_hz",
    ),
    "another shape": (
        damaged("policy.json", lambda card: card | {"shape": card["shape"] | {"numbers": 2}}),
        "does not fit",
    ),
    "no scale": (
        damaged("policy.json", lambda card: card | {"action": card["action"] | {"scale": [0, 1, 1]}}),
        "normalisation",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_in_a_sentence(home, tmp_path, name):
    folder = tmp_path / "policy"
    folder.mkdir()
    for file in ("policy.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((home / "policy" / file).read_bytes())
    damage, words = DAMAGES[name]
    damage(folder)
    with pytest.raises(UserError, match=words) as caught:
        deployment.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "flwo"}, "did you mean 'flow'"),
        ({"cameras": ("observation.images.top",)}, "is none of the dataset's"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(home, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        carry_out(a_recipe("pi0", **changes), home / "data", tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_faulty_data_is_refused_before_anything_is_written(tmp_path):
    write(tmp_path / "data")
    path = tmp_path / "data/meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fps": 10}))
    with pytest.raises(UserError, match="cannot be trained on: timestamp"):
        carry_out(a_recipe("pi0"), tmp_path / "data", tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_an_unknown_shape_is_refused():
    with pytest.raises(UserError, match="did you mean 'pi0'"):
        Shape(trunk="pi00", head="flow", cameras=1, state=1, numbers=1, chunk=1, vocabulary=1)


def test_a_padded_policy_meets_a_robot_with_more_numbers(home, tmp_path):
    carry_out(a_recipe("pi0", padded=6), home / "data", tmp_path / "policy")
    deployed = deployment.load(tmp_path / "policy")
    assert (deployed.card.shape.state, deployed.card.shape.numbers) == (6, 6)
    images = {name: np.zeros((2, 20, 30, 3), np.uint8) for name in CAMERAS}
    assert deployed.act(images, np.zeros((2, 4), np.float32), ["do", "it"]).shape == (2, 8, 3)
    refuse_mismatch(deployed.card, robot_of(Dataset(home / "data")), "its own robot")
    other = Robot(cameras=CAMERAS, state=5, action=5, action_names=("a", "b", "c", "d", "e"))
    moved = for_robot(deployed, other, "stranger")
    refuse_mismatch(moved.card, other, "the stranger")
    state = np.ones((2, 5), np.float32)
    chunk = moved.act(images, state, ["do", "it"])
    assert chunk.shape == (2, 8, 5)
    theirs, ours = (one.observe(images, state[:, :n], ["do", "it"]) for one, n in ((moved, 5), (deployed, 4)))
    np.testing.assert_allclose(theirs.state[:, :4], ours.state[:, :4])
    assert (theirs.state[:, 4] == 1).all(), "what it does not know stays as it is"
    for numbers in (2, 7):
        with pytest.raises(UserError, match=f"has {numbers} numbers of its state, and the policy has room for 4 to 6"):
            for_robot(deployed, replace(other, state=numbers), "stranger")


def test_a_policy_begins_with_a_vision_language_model(home, tmp_path):
    recipe = vlm_recipes.RECIPES["tiny-vlm"]
    train = replace(recipe.train, steps=1, device="cpu", precision="fp32", save_every=0, evaluate_every=0)
    vlm_recipes.carry_out(
        replace(recipe, size="tiny", pixels=16, pictures=2, asked=2, examined=(2, 2), train=train), tmp_path / "vlm"
    )
    seen, dataset = vlm_folder.load(tmp_path / "vlm"), Dataset(home / "data")
    deployed = new_policy(a_recipe("pi0"), dataset, tmp_path / "vlm")
    ours, theirs = deployed.policy.trunk.vlm.state_dict(), seen.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(".streams.1." in name for name in ours.keys() - theirs.keys())
    assert deployed.card.parent == seen.weights == sha256(tmp_path / "vlm/model.safetensors")
    assert deployed.tokenizer.to_str() == seen.tokenizer.to_str()
    carry_out(a_recipe("pi0", steps=2), home / "data", tmp_path / "policy", vlm=tmp_path / "vlm")
    trained = deployment.load(tmp_path / "policy")
    assert trained.card.parent == seen.weights
    assert any(not torch.equal(trained.policy.trunk.vlm.state_dict()[name], theirs[name]) for name in theirs)
    with pytest.raises(UserError, match="is what pi0 begins with"):
        new_policy(a_recipe("act"), dataset, tmp_path / "vlm")
    with pytest.raises(UserError, match="begins with one thing"):
        carry_out(a_recipe("pi0"), home / "data", tmp_path / "both", vlm=tmp_path / "vlm", parent=home / "policy")
