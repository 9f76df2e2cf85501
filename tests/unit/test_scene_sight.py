"""What a vision-language model is taught and asked, and the folder that it leaves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette.cli import commands, models
from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.language import vlm_folder, vlm_recipes
from maquette.language.prompts import padded
from maquette.language.scene_sight import (
    CAPTION,
    EVERY,
    LISTING,
    LONGEST,
    Sights,
    answer_loss,
    asked_about,
    examination,
    examine,
    replies,
    sight_tokenizer,
    tally,
    told_of,
    turns_on,
)
from maquette.language.scene_tables import ANY, Tables
from maquette.language.tokenizers import end_id
from maquette.language.vlm import VisionLanguage
from maquette.language.vlm_sizes import SIZES, vlm_config
from maquette.language.weighted import count_weights
from maquette.worlds.scene import vocabulary
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.vocabulary import is_held_out
from maquette.worlds.scene.words import interpreter
from maquette.worlds.scene.words.conversations import SO
from maquette.worlds.scene.words.questions import Question

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    return sight_tokenizer(512)


def sights(tokenizer, **changes):
    return Sights(
        **{"tokenizer": tokenizer, "pixels": 16, "pictures": 3, "asked": 4, "seed": 0, "drawn": 1000} | changes
    )


def kept_out(scene):
    return [(thing.colour, thing.shape) for thing in scene.things if is_held_out(thing.colour, thing.shape)]


def alike(scene):
    """Whether two things have the same name, so that nothing can be said of one of them."""
    return len({(thing.colour, thing.shape, thing.size) for thing in scene.things}) < len(scene.things)


def test_tables_of_one_task_and_layout():
    few = Tables(tasks=("reach",), robots=("pusher",), layout=Layout(distractors=1, zones=False, sizes=("small",)))
    for held_out in (False, True):
        scene = few.draw(numpy_generator(2, "test", 0), held_out=held_out)
        assert len(scene.things) == 2
        assert not scene.scenery
        assert bool(kept_out(scene)) == held_out
    assert {len(one.things) for one in examination(20, 1, tables=few).scenes} == {2}
    assert {len(one.things) for one in examination(20, 1).scenes} != {2}
    with pytest.raises(UserError, match="give at least one in which there are things"):
        Tables(tasks=("open-drawer",))
    with pytest.raises(UserError, match="ask for fewer things"):
        Tables(layout=Layout(distractors=60)).draw(numpy_generator(2, "test", 0), held_out=False)


def test_what_is_taught_is_true_and_never_what_is_asked_at_the_end():
    kinds = set()
    for i in range(60):
        rng = numpy_generator(1, "test", i)
        scene = ANY.draw(rng, held_out=False)
        assert not kept_out(scene)
        for one in told_of(scene, rng) + asked_about(scene, rng, 5):
            kinds.add(one.kind)
            thought, so, answer = one.answer.rpartition(SO)
            told = (one.answer,) if one.kind in (CAPTION, LISTING) else (one.prompt, *([thought] * bool(so)))
            assert not any(is_held_out(*pair) for text in told for pair in interpreter.combinations(text))
            if one.kind == CAPTION:
                assert interpreter.is_true(one.answer, scene)
            elif one.kind == LISTING:
                assert alike(scene) or interpreter.is_true(one.answer, scene)
                assert one.answer.count(".") == len(scene.things)
            else:
                assert interpreter.is_answer(one.prompt, answer, scene)
                assert not so or interpreter.is_true(thought, scene)
    assert kinds >= {CAPTION, LISTING, "yes/no", "colour", "shape", "count", "where", "which"}


@pytest.mark.parametrize(
    ("text", "names", "kind"),
    [
        ("is the red star larger than the box?", ("the red star", "the box"), "size"),
        ("is the red star the same colour as the box?", ("the red star", "the box"), "colour"),
        ("is the red star left of the leftmost thing?", ("the red star", "the leftmost thing"), "place"),
        ("is the red star in the blue area?", ("the red star",), "zone"),
        ("is the leftmost thing made of wood?", ("the leftmost thing",), "material"),
        ("is the leftmost thing a circle?", ("the leftmost thing",), "shape"),
        ("is the red star big?", ("the red star",), "size"),
    ],
)
def test_a_thought_tells_what_decides_the_question(text, names, kind):
    asked = Question(text=text, answer="yes", kind="yes/no", about=tuple(enumerate(names)))
    assert turns_on(asked) == kind


def test_every_second_table_of_the_examination_holds_what_was_kept_from_training():
    held = examination(40, 3)
    assert all(kept_out(scene) for scene in held.scenes[1::2])
    assert not any(kept_out(scene) for scene in held.scenes[::2])
    assert held.asked == examination(40, 3).asked
    assert len(held.asked) > 100


def test_the_judge_counts_right_answers_and_no_others():
    held = examination(30, 4)
    right = tally(held, [one.answer for _, one in held.asked])
    assert all(one.accuracy == 1 for one in right)
    *kinds, usual, new, together = right
    assert (usual.kind, new.kind, together.kind) == ("tables", "new tables", "all")
    assert together.n == len(held.asked) == sum(one.n for one in kinds) == usual.n + new.n
    wrong = {"yes": "no", "no": "yes"}
    denied = tally(held, [wrong.get(one.answer, "") for _, one in held.asked])
    assert all(one.right == 0 for one in denied)
    assert all(one.right == 0 for one in tally(held, ["red ball is is the"] * len(held.asked)))
    thought = [f"there are nine things, so {one.answer}" for _, one in held.asked]
    assert all(one.right == 0 for one in tally(held, thought)), "what is not so decides nothing"
    always = {one.kind: one for one in tally(held, ["yes"] * len(held.asked))}
    assert always["yes/no"].right in (always["yes/no"].majority, always["yes/no"].n - always["yes/no"].majority)
    assert always["all"].right == always["yes/no"].right == always["tables"].right + always["new tables"].right
    seeing = [one.answer if number % 2 == 0 else "" for number, one in held.asked]
    blind_to_new = {one.kind: one.accuracy for one in tally(held, seeing)}
    assert (blind_to_new["tables"], blind_to_new["new tables"]) == (1, 0)


def test_a_batch_follows_from_its_step_and_counts_answers_alone(tokenizer):
    source = sights(tokenizer)
    a, b, other = source.batch(1), source.batch(1), source.batch(2)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["images"], other["images"])
    assert a["images"].shape == (12, 1, 3, 16, 16)
    assert torch.equal(a["images"][0], a["images"][3])
    assert not torch.equal(a["images"][0], a["images"][4])
    end = end_id(tokenizer)
    assert (a["tokens"][:, 0] == end).all()
    assert torch.equal(a["tokens"][:, 1:], a["targets"][:, :-1])
    for row in range(12):
        learned = a["weights"][row] > 0
        length = int(learned.sum())
        assert learned[:length].all(), "nothing behind an answer's end counts"
        if length <= LONGEST:
            assert a["targets"][row, length - 1] == end
    whole = source.batch(EVERY - 1)
    assert len(whole["tokens"]) == 12
    assert float(count_weights(whole)) > 1.5 * float(count_weights(a)), "a picture is told at length"
    assert float(count_weights(a)) == pytest.approx(float(a["weights"].sum()))
    first = sights(tokenizer, telling=2).batch(1)
    assert len(first["images"].flatten(1).unique(dim=0)) == 12, "a picture a row"
    assert (first["prompt"][0] == first["prompt"]).all(), "and nothing but what it shows"
    mixed = sights(tokenizer, shuffled=True).batch(1)
    assert torch.equal(mixed["images"][4:], a["images"][:-4])
    assert all(torch.equal(a[name], mixed[name]) for name in a if name != "images")


def test_words_for_properties_are_misread_in_what_training_tells_and_nowhere_else(tokenizer):
    source = sights(tokenizer, pictures=8, telling=1)
    swapped = read = 0
    whole = source.batch(0)
    assert torch.equal(whole["tokens"], source.batch(0)["tokens"])
    for was, now in zip(whole["targets"][:, :-1].flatten(), whole["tokens"][:, 1:].flatten(), strict=True):
        words = tokenizer.decode([int(was)]).strip(), tokenizer.decode([int(now)]).strip()
        known = [
            kind
            for kind in (vocabulary.COLOURS, vocabulary.SHAPES, vocabulary.SIZES, vocabulary.MATERIALS)
            if words[0] in kind
        ]
        read += bool(known)
        if words[0] != words[1]:
            assert words[1] in known[0], "one for another of its kind"
            swapped += 1
    assert 0.08 * read < swapped < 0.16 * read, "some of those that are drawn anew stay as they are"
    for batch in (source.batch(1), source.batch(0, held_out=True)):
        assert torch.equal(batch["tokens"][:, 1:], batch["targets"][:, :-1]), "answers and examinations are as they are"


def test_two_pictures_are_learned_by_heart_and_told_apart(tokenizer):
    source = sights(tokenizer, pictures=2, asked=1)
    batch = source.batch(0)
    prompt, written = padded(tokenizer, ["what colour is it?"] * 2)
    ids, there = padded(tokenizer, [" red", " dark blue"])
    end = end_id(tokenizer)
    edge, ids = torch.full((2, 1), end), torch.where(there, ids, end)
    batch |= {"prompt": prompt, "written": written, "weights": torch.ones(2, ids.shape[1] + 1)}
    batch |= {"tokens": torch.cat((edge, ids), 1), "targets": torch.cat((ids, edge), 1)}
    model = VisionLanguage(vlm_config("tiny", pixels=16, vocabulary=tokenizer.get_vocab_size()))
    model.initialise(torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        answer_loss(model, batch).backward()
        optimizer.step()
    assert replies(model, tokenizer, batch["images"], ["what colour is it?"] * 2) == ["red", "dark blue"]
    swapped = replies(model, tokenizer, batch["images"].flip(0), ["what colour is it?"] * 2)
    assert swapped == ["dark blue", "red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that learned for two steps."""
    out = tmp_path_factory.mktemp("vlm") / "tiny-vlm"
    recipe = vlm_recipes.RECIPES["tiny-vlm"]
    train = replace(recipe.train, steps=2, device="cpu", precision="fp32", save_every=0, evaluate_every=0)
    recipe = replace(recipe, size="tiny", pixels=16, pictures=2, asked=2, examined=(5, 2), train=train)
    _, answered = vlm_recipes.carry_out(recipe, out)
    assert answered[-1].kind == "all"
    return out


def test_a_folder_says_what_it_is_and_answers_as_the_model_did(folder):
    told = json.loads((folder / "training.json").read_text())
    assert told["examination"][-1]["n"] == 10
    assert np.isfinite(told["final"]["validation_loss"])
    seen = vlm_folder.load(folder)
    assert (seen.size, seen.pixels) == ("tiny", 16)
    held = examination(5, 2)
    assert [one.right for one in examine(seen.model, seen.tokenizer, held)] == [
        one["right"] for one in told["examination"]
    ]


def test_inspect_says_what_it_is(folder, capsys, monkeypatch):
    monkeypatch.setattr(models, "prepare_process", lambda: "")  # which may start the process anew
    assert commands.run(["inspect", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "sees and answers" in told
    assert "broken" not in told
    assert commands.run(["inspect", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert (facts["size"], facts["pixels"]) == ("tiny", 16)
    assert facts["parameters"] == sum(p.numel() for p in vlm_folder.load(folder).model.parameters())


def test_what_is_no_model_is_refused_in_a_sentence(folder, tmp_path):
    with pytest.raises(UserError, match=r"has no vlm\.json"):
        vlm_folder.load(tmp_path)
    for file in ("vlm.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights["norm.weight"] += 1
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"is not what vlm\.json was written with"):
        vlm_folder.load(tmp_path)
    (tmp_path / "vlm.json").write_text("{}")
    with pytest.raises(UserError, match="not a model's card"):
        vlm_folder.load(tmp_path)
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        vlm_config("tyni", pixels=16, vocabulary=9)


def test_flops_are_those_of_the_products():
    config = vlm_config("tiny", pixels=32, vocabulary=300)
    parameters = sum(p.numel() for name, p in VisionLanguage(config).named_parameters() if "embedding" not in name)
    tokens = config.vision.tokens + 8
    assert config.flops(1, 8) == pytest.approx(2 * tokens * parameters, rel=0.5)
    assert config.flops(2, 8) > 1.8 * config.flops(1, 8)
    assert [vlm_config(name, pixels=32, vocabulary=300).layers for name in SIZES] == [2, 4, 6]
