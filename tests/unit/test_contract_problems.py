"""What is wrong with a study as it is written: one clear sentence each, before anything runs."""

import dataclasses
import functools
import math
from pathlib import Path

import pytest

from maquette.core.errors import UserError
from maquette.lab.contract import problems
from maquette.lab.study import Again, Among, Axis, Bend, Between, InRange, Ratio, Scale, Tie, load_study

BENT = Path(__file__).parents[1] / "contract" / "bent_study.py"
SOUND = load_study(str(BENT))
CLAIM = SOUND.claims[0]
NEAR = SOUND.arms["near"]
MADE = SOUND.artifacts["offset"]


def changed(thing, **parts):
    return dataclasses.replace(thing, **parts)


def claim(**parts):
    return {"claims": (changed(CLAIM, **parts),)}


def arms(**parts):
    return {"arms": {**SOUND.arms, **parts}}


def scales(**parts):
    return {"scales": changed(SOUND.scales, **parts)}


def laptop(**parts):
    return scales(laptop=changed(SOUND.scales.laptop, **parts))


def critique(**parts):
    return {"critique": changed(SOUND.critique, **parts)}


def search(**parts):
    return {"improve": changed(SOUND.improve, **parts)}


def told(trials):
    return {"height": 1.0}


FAR = SOUND.arms["far"]
PARTIAL = functools.partial(SOUND.trial)
TELLABLE = "take a number, a text, True, False, None, or a tuple of these."
CONTROL = (
    "the claim 'Nearer the vertex is higher' {} for its control; take an arm that has all of the treatment but what "
    "the paper says does the work."
)
WORSE = (
    "the claim 'Nearer the vertex is higher' asks to be {}, which a worse arm meets too; ask for a difference of 0 or "
    "more, for a ratio of 1 or more, or of 1 or less where lower is better."
)
PROBLEMS = [
    ({"name": "my paper"}, "its name must be a Python identifier."),
    ({"claims": ()}, "it makes no claim."),
    (
        claim(control=()),
        "the claim 'Nearer the vertex is higher' has no control; name an arm that must fail the same test.",
    ),
    (claim(arm="neer"), "the claim 'Nearer the vertex is higher' names the arm 'neer'; did you mean 'near'?"),
    (claim(than="fare"), "the claim 'Nearer the vertex is higher' names the arm 'fare'; did you mean 'far'?"),
    (
        claim(control="father"),
        "the claim 'Nearer the vertex is higher' names the arm 'father'; did you mean 'farther'?",
    ),
    (
        claim(checks=(Tie("height", "near", "nearagain", within=0.1, control=(), text="Ties"),)),
        "the claim 'Ties' names the arm 'nearagain'; did you mean 'near again'?",
    ),
    (
        {"claims": (Tie("height", "near", "far", within=-0.1, control="farther", text="Ties"),)},
        "the claim 'Ties' asks for an effect between 0.1 and -0.1, which every effect or none meets.",
    ),
    (
        {"claims": (InRange("height", "near", low=-math.inf, high=math.inf, control="far", text="Is"),)},
        "the claim 'Is' asks for an effect between -inf and inf, which every effect or none meets.",
    ),
    (
        claim(than="near"),
        "the claim 'Nearer the vertex is higher' compares 'near' with itself; name another arm to compare it with.",
    ),
    (claim(control="far"), CONTROL.format("names 'far'")),
    (claim(control="near"), CONTROL.format("names 'near'")),
    (claim(control=("farther", "near again")), CONTROL.format("names 'near again', which is configured as 'near'")),
    (
        {"arms": {**SOUND.arms, "placebo": SOUND.arms["far"]}, **claim(control="placebo")},
        CONTROL.format("names 'placebo', which is configured as 'far'"),
    ),
    (claim(by=-0.1), WORSE.format("higher by -0.1")),
    (claim(by=Ratio(0.9)), WORSE.format("higher by Ratio(factor=0.9)")),
    (claim(by=Ratio(1.1), direction="lower"), WORSE.format("lower by Ratio(factor=1.1)")),
    (claim(by=Ratio(-0.5), direction="lower"), WORSE.format("lower by Ratio(factor=-0.5)")),
    (arms(prediction=NEAR), "'prediction' is the name of what is foretold; no arm may bear it."),
    ({"foretold": ("far",)}, "foretell and foretold go together."),
    ({"foretell": told, "foretold": ("fare",)}, "foretold names the arm 'fare'; did you mean 'far'?"),
    (arms(**{"w/o noise": FAR}), "'w/o noise' names files too; write it without '/' and not empty."),
    (arms(**{"": FAR}), "'' names files too; write it without '/' and not empty."),
    (
        arms(Far=FAR),
        "'far' and 'Far' are one file on some systems; let more than case part them.",
    ),
    ({"trial": PARTIAL}, f"its trial is {PARTIAL!r}; write a function, with def."),
    (
        {"artifacts": {"offset": changed(MADE, make=PARTIAL)}},
        f"the artifact 'offset' is made by {PARTIAL!r}; write a function, with def.",
    ),
    (laptop(changes={"noise": Path("x")}), f"laptop changes 'noise' to {Path('x')!r}; {TELLABLE}"),
    (laptop(per_arm={"far": {"noise": [1]}}), f"laptop changes 'noise' to [1]; {TELLABLE}"),
    (critique(changes={"noise": {1: 2}}), f"its critique changes 'noise' to {{1: 2}}; {TELLABLE}"),
    (arms(**{"near again": Again(arm="neer")}), "the arm 'near again' is 'neer' again; did you mean 'near'?"),
    (
        arms(third=Again(arm="near again")),
        "the arm 'third' is 'near again' again, which is another again; name 'near'.",
    ),
    (
        {"artifacts": {"offset": changed(MADE, needs=("base",)), "base": MADE}},
        "the artifact 'offset' needs 'base', which must stand before it; known: none.",
    ),
    (
        {"artifacts": {"offset": changed(MADE, arms=("fare",))}},
        "the artifact 'offset' names the arm 'fare'; did you mean 'far'?",
    ),
    (
        {"artifacts": {"offset": changed(MADE, arms=("near",))}},
        "the artifact 'offset' serves one of 'near' and 'near again', which is that again; name both.",
    ),
    (critique(seeds=1), "its critique has 1 seeds; an interval takes at least 2."),
    (critique(axes=SOUND.critique.axes[:1] * 2), "two axes of its critique bear the name 'noise'."),
    (critique(changes={"nose": 1}), "its critique changes the field 'nose'; did you mean 'noise'?"),
    (
        critique(axes=[Axis.over("nose", (1,), objection="")]),
        "its critique bends the field 'nose'; did you mean 'noise'?",
    ),
    (
        critique(axes=[Axis(name="fewer", bends=[Bend(label="no far", without=("fare",))], objection="")]),
        "its critique leaves out the arm 'fare'; did you mean 'far'?",
    ),
    (
        critique(axes=[Axis.over("noise", (0.1,), arms=("fare",), objection="")]),
        "its critique bends the arm 'fare'; did you mean 'far'?",
    ),
    (
        critique(axes=[Axis.over("noise", (0.1,), arms=("near",), objection="")]),
        "its critique bends one of 'near' and 'near again', which is that again; name both.",
    ),
    (
        critique(axes=[Axis.over("noise", (0.0, 0.1), objection="", log=True)]),
        "the axis 'noise' of its critique is logarithmic, so its values must be above 0.",
    ),
    (search(seeds=0), "its search has 0 seeds; it needs at least 1."),
    (search(judges=1), "its search is judged on 1 seeds; it needs 2 to 5, the laptop scale's."),
    (search(judges=6), "its search is judged on 6 seeds; it needs 2 to 5, the laptop scale's."),
    (search(arm="neer"), "its search improves the arm 'neer'; did you mean 'near'?"),
    (search(tuned=("neer",)), "its search tunes the arm 'neer'; did you mean 'near'?"),
    (
        search(over={"plaice": Among(values=(1,))}),
        "its search tunes the field 'plaice', which no tuned arm has; did you mean 'place'?",
    ),
    (
        search(over={"offset": Among(values=(1,))}),  # the artifact's
        "its search tunes the field 'offset', which no tuned arm has; did you mean 'noise'?",
    ),
    (search(over={"place": Between(low=1, high=0)}), "its search tunes 'place' between 1 and 0; it needs low < high."),
    (
        search(over={"noise": Between(low=0, high=1, log=True)}),
        "its search tunes 'noise' between 0 and 1; it needs 0 < low < high.",
    ),
    (search(over={"place": Among(values=())}), "its search tunes 'place' among no values; give some."),
    (search(changes={"step": 1}), "its search changes the field 'step'; did you mean 'steps'?"),
    (scales(smoke=Scale(seeds=0)), "smoke has 0 seeds; it needs at least 1."),
    (scales(smoke=Scale(seeds=1, verdict=True)), "smoke decides nothing: verdict=False."),
    (scales(tour=Scale(seeds=2)), "tour decides nothing: verdict=False, and one seed."),
    (laptop(arms=("near", "fare")), "laptop names the arm 'fare'; did you mean 'far'?"),
    (laptop(changes={"step": 1}), "laptop changes the field 'step'; did you mean 'steps'?"),
    (laptop(per_arm={"fare": {}}), "laptop changes the arm 'fare'; did you mean 'far'?"),
    (laptop(per_arm={"far": {"step": 1}}), "laptop changes the field 'step'; did you mean 'steps'?"),
    (
        laptop(per_arm={"near": {"steps": 1}}),
        "laptop changes only one of 'near' and 'near again', which is that again; change both alike.",
    ),
    (
        {"plan": changed(SOUND.plan, first_seed=9_999)},
        "laptop judges on seeds from 10000 on, which belong to searches; lower the plan's first_seed.",
    ),
]


@pytest.mark.parametrize(
    ("parts", "sentence"), PROBLEMS, ids=[sentence.replace(repr(PARTIAL), "a partial")[:60] for _, sentence in PROBLEMS]
)
def test_each_problem_is_told_in_its_sentence_and_told_alone(monkeypatch, parts, sentence):
    with pytest.raises(UserError, match="The study '") as refused:
        dataclasses.replace(SOUND, **parts)
    assert str(refused.value) == f"The study {parts.get('name', 'bent')!r}: {sentence}"
    monkeypatch.setattr(type(SOUND), "__post_init__", lambda study: None)
    assert list(problems(dataclasses.replace(SOUND, **parts))) == [sentence]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"artifacts": {"base": MADE, "offset": changed(MADE, needs=("base",), arms=("near", "near again"))}},
        {"analyse": lambda trials: {}, **claim(arm="derived", than="law", control="shuffled")},
        {"foretell": told, "foretold": ("far",), **claim(than="prediction")},
        laptop(per_arm={"near": {"steps": 1}, "near again": {"steps": 1}}),
        laptop(changes={"offset": 0.3}),  # the artifact's
        laptop(changes={"noise": None, "steps": (1, "a", 0.5, True)}),
        critique(axes=[Axis.over("noise", (0.0, 0.1), objection=""), Axis.over("offset", (0.1,), objection="")]),
        critique(axes=[Axis(name="n", bends=[Bend(label="none"), Bend(label=True)], objection="", log=True)]),
        search(over={"noise": Between(low=0.1, high=1, log=True), "place": Among(values=("a", 1))}),
        {"critique": None, "improve": None, "artifacts": {}},
        {"claims": (InRange("height", "near", low=0, high=math.inf, control="far", text="Is"),)},
        claim(by=0),
        claim(by=Ratio(1.1)),
        claim(by=Ratio(0.5), direction="lower"),
        {"arms": {**SOUND.arms, "placebo": SOUND.arms["far"]}, **claim(control="placebo")}
        | laptop(per_arm={"placebo": {"noise": 1.0}}),
    ],
)
def test_what_is_sound_is_accepted(parts):
    assert list(problems(dataclasses.replace(SOUND, **parts))) == []


def test_the_command_line_says_it_in_one_sentence(tmp_path):
    path = tmp_path / "wrong_study.py"
    path.write_text(BENT.read_text().replace('control="farther"', 'control="father"'))
    with pytest.raises(UserError) as refused:
        load_study(str(path))
    assert "names the arm 'father'; did you mean 'farther'?" in str(refused.value)
    assert "\n" not in str(refused.value)
