"""The rehearsal: what a study's smoke scale shows before hours are spent, and whether old records still hold."""

import json

import pytest

from maquette.core.errors import UserError
from maquette.core.records import Trace, read_record
from maquette.lab import rehearsal
from maquette.lab.criticism import criticise, read_criticism
from maquette.lab.evidence import read_evidence
from maquette.lab.improvement import improve, read_improvement
from maquette.lab.rehearsal import is_current, same_measures
from maquette.lab.runner import run_study

FRESH = rehearsal.fresh_pool
DRAW = "draw = np.random.default_rng([seed, round(1000 + 100 * config.place)]).normal(0, config.noise)"
HEIGHT = "1 - (config.place - 0.5) ** 2"
FORETOLD = (
    ("    trial=trial,\n", "    trial=trial,\n    foretell=foretell,\n    foretold=('farther',),\n"),
    (
        "STUDY =",
        "def foretell(trials):\n    return {'height': 2 * trials['far']['height']}\n\n\nSTUDY =",
    ),
)
CHECK = 'Tie("height", "near", "near again"'


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(rehearsal, "cores", lambda: 1)


def refused(bent, sentence):
    """The run at laptop scale is refused with this sentence, before anything of it is done."""
    with pytest.raises(UserError, match=sentence):
        bent.do(run_study, "laptop")
    assert not bent.trials()
    assert not (bent.directory / "laptop" / "trace.json").exists()


def current(bent, evidence=None, beside=""):
    """Whether the file as it is now gives the records of the laptop scale; nothing beside them is touched."""
    directory, study = bent.directory / "laptop" / beside, bent.load()
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    def asked(reference, display, *, records, scratch):
        found = evidence or read_evidence(study, "laptop", directory)
        return is_current(reference, study, found, directory, display, scratch=scratch)

    answer = bent.do(asked)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    return answer


@pytest.mark.parametrize(
    ("old", "new", "gave"),
    [
        (DRAW, "draw = np.random.default_rng().normal()", r"height = \S+ and \S+"),
        ("+ offset + draw", "+ offset + next(COUNT)", r"height = \S+ and \S+"),
        ("+ draw}", "+ draw} | ({'luck': 1.0} if next(COUNT) < 4 else {})", "luck = 1.0 and None"),
        ("+ draw}", "+ draw} | ({} if next(COUNT) < 4 else {'luck': 1.0})", "luck = None and 1.0"),
    ],
)
def test_an_impure_trial_is_refused_before_anything_else(bent, old, new, gave):
    bent.write((old, new), ("def trial(", "COUNT = iter(range(99))  # four trials a rehearsal\n\n\ndef trial("))
    refused(
        bent, f"trial of bent is not a function of config and seed: run twice, 'near' with seed 0 gave {gave}; draw"
    )
    bent.write().do(run_study, "laptop", seeds=1)
    assert len(bent.trials()) == 4


@pytest.mark.parametrize(
    "luck",
    [
        "@functools.cache\ndef luck():\n    return int.from_bytes(os.urandom(4))",  # the same in all of one process
        "COUNT = iter(range(99))\n\n\ndef luck():\n    return next(COUNT)",  # the same in each process, in order
    ],
)
def test_what_a_process_remembers_is_no_function_of_the_seed(bent, monkeypatch, luck):
    monkeypatch.setattr(rehearsal, "fresh_pool", FRESH)
    bent.write(("+ draw}", "+ draw + luck()}"), ("def trial(", f"import functools, os\n\n\n{luck}\n\n\ndef trial("))
    refused(bent, "run twice, 'near' with seed 0 gave height =")


def test_a_pure_trial_is_the_same_in_a_process_of_its_own(bent, monkeypatch):
    monkeypatch.setattr(rehearsal, "fresh_pool", FRESH)
    bent.do(run_study, "laptop", seeds=1)
    assert len(bent.trials()) == 4


def test_a_trial_that_fails_is_refused_with_its_config(bent):
    bent.write((DRAW, f"{DRAW}\n    if config.place < 0:\n        raise ValueError('no such luck')"))
    refused(
        bent,
        "rehearsal of bent at smoke scale failed, so nothing else was run: farther with {'place'(?s:.*)no such luck",
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'Better(\n            "height"',
            'Better(\n            "heigth"',
            "the measure 'heigth' of 'near'; did you mean 'height'",
        ),
        (CHECK, CHECK.replace("height", "heigth"), "'The same arm again ties' names the measure 'heigth'"),
        ('than="far"', 'than="fare"', "names the arm 'fare'; did you mean 'far'"),
        ('control="farther"', 'control="father"', "names the arm 'father'; did you mean 'farther'"),
        ('"near again", within', '"near agian", within', "names the arm 'near agian'; did you mean 'near again'"),
    ],
)
def test_a_claim_about_what_is_not_measured_is_refused_before_anything_else(bent, old, new, sentence):
    deriving = ("    trial=trial,\n", "    trial=trial,\n    analyse=lambda trials: {'best': trials['near']},\n")
    bent.write((old, new), deriving)  # analyse may derive any arm, so that loading cannot tell
    refused(bent, sentence)


def test_a_claim_that_is_mended_wrongly_is_found_without_rehearsing(bent):
    bent.do(run_study, "laptop", seeds=1)
    assert "rehearsing" in bent.said
    bent.write(('Better(\n            "height"', 'Better(\n            "depth"'))
    with pytest.raises(UserError, match="the measure 'depth' of 'near'; known: height"):
        bent.do(run_study, "laptop")
    assert "rehearsing" not in bent.said
    assert len(bent.trials()) == 4


def test_analysis_that_fails_is_a_sentence(bent):
    bent.write(("    trial=trial,\n", "    trial=trial,\n    analyse=lambda trials: {'x': trials['nowhere']},\n"))
    refused(bent, r"^analyse of 'bent' failed on the arms near, .*: KeyError: 'nowhere' \(bent_study.py, line \d+\)$")


def test_claims_about_arms_that_smoke_leaves_out_are_not_asked(bent):
    bent.write(('changes={"steps": 10})', 'changes={"steps": 10}, arms=("near", "far"))'))
    bent.do(run_study, "laptop", seeds=1)
    assert len(bent.trials()) == 4


def test_a_ratio_to_nothing_at_smoke_scale_does_not_stop_the_study(bent):
    """A model of some steps may well score 0; that decides nothing yet."""
    bent.write(
        ("by=0.1", "by=Ratio(1.1)"),
        ("    Plan,\n", "    Plan,\n    Ratio,\n"),
        ("+ offset + draw}", "+ offset + draw if config.steps > 10 else 0.0}"),
    )
    bent.do(run_study, "laptop", seeds=1)
    assert len(bent.trials()) == 4


def test_the_trace_is_kept_while_the_code_is_the_same(bent):
    bent.do(run_study, "laptop", seeds=1)
    path = bent.directory / "laptop" / "trace.json"
    trace, written = read_record(path, Trace), path.stat().st_mtime_ns
    assert set(trace.measures) == {"near", "near again", "far", "farther"}
    assert trace.commit == bent.trials()["far.3"].commit
    bent.write(('"""What the artifact holds."""', '"""What it holds."""')).do(run_study, "laptop", seeds=1)
    assert (bent.ran, path.stat().st_mtime_ns) == (0, written)
    assert "rehearsing" not in bent.said


@pytest.mark.parametrize(
    "edit",
    [
        (HEIGHT, "1 - (config.place - 0.4) ** 2"),
        ("str(config.offset)", "str(2 * config.offset)"),
        ("offset: float = 0.1", "offset: float = 0.2"),
        ("2 * trials['far']", "3 * trials['far']"),
    ],
)
def test_the_trace_is_taken_again_with_other_code(bent, edit):
    bent.write(*FORETOLD).do(run_study, "laptop", seeds=1)
    path = bent.directory / "laptop" / "trace.json"
    before = read_record(path, Trace)
    bent.write(*FORETOLD, edit).do(run_study, "laptop", seeds=1)
    assert "rehearsing" in bent.said
    assert read_record(path, Trace).measures != before.measures


@pytest.mark.parametrize(
    ("old", "new", "smoke"),
    [
        ('"""What the artifact holds."""', '"""What it holds."""', 0),
        ("Is the vertex where it was put?", "Where is the vertex?", 0),
        (HEIGHT, "1.0 - (config.place - 0.5) ** 2", 4),
        ("run.flops(1e3)", "run.flops(1000)", 4),
        ("    noise: float", "    colour: str = 'red'\n    noise: float", 4),
        ("2 * trials['far']", "2.0 * trials['far']", 4),
    ],
)
def test_records_hold_while_the_code_is_the_same_or_gives_the_same_numbers(bent, old, new, smoke):
    bent.write(*FORETOLD).do(run_study, "laptop", seeds=1)
    assert current(bent.write(*FORETOLD, (old, new)))
    assert bent.ran == smoke


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HEIGHT, "1 - (config.place - 0.5001) ** 2"),
        ("+ offset + draw}", "+ offset + draw, 'width': 1.0}"),
        ("Config(place=0.3)", "Config(place=0.31)"),
        ("steps: int = 100", "steps: int = 120"),  # which smoke overrides, so that the trace is the same
        ("str(config.offset)", "str(2 * config.offset)"),
        ("offset: float = 0.1", "offset: float = 0.2"),
        ("2 * trials['far']", "2.1 * trials['far']"),
    ],
)
def test_records_are_stale_once_a_run_would_give_others(bent, old, new):
    bent.write(*FORETOLD).do(run_study, "laptop", seeds=1)
    assert current(bent)
    assert not current(bent.write(*FORETOLD, (old, new)))


def test_records_of_an_arm_that_stands_on_something_new(bent):
    """Their artifact has no record: the trace tells."""
    bent.do(run_study, "laptop", seeds=1)
    second = 'config=Offset()), "second": Artifact(make=make, config=Offset(offset=0.3))}'
    assert current(bent.write(("config=Offset())}", second)))
    assert not current(bent.write(("config=Offset())}", second), ('run.artifact("offset")', 'run.artifact("second")')))


def test_records_without_a_trace_hold_by_their_code_alone(bent):
    bent.do(run_study, "laptop", seeds=1)
    (bent.directory / "laptop" / "trace.json").unlink()
    assert current(bent)
    assert not current(bent.write((HEIGHT, "1.0 - (config.place - 0.5) ** 2")))


@pytest.mark.parametrize(
    ("other", "tolerance", "same"),
    [
        ({"a": {"x": 2.0, "y": -1.0}}, 0.0, True),
        ({"a": {"x": 2.001, "y": -1.0}}, 1e-3, True),
        ({"a": {"x": 2.001, "y": -1.0}}, 0.0, False),
        ({"a": {"x": 2.01, "y": -1.0}}, 1e-3, False),
        ({"a": {"x": 2.0, "y": 1.0}}, 1e-3, False),
        ({"a": {"x": 2.0}}, 1e-3, False),
        ({"a": {"x": 2.0, "y": -1.0}, "b": {}}, 1e-3, False),
        ({}, 1e-3, False),
    ],
)
def test_same_measures(other, tolerance, same):
    assert same_measures({"a": {"x": 2.0, "y": -1.0}}, other, tolerance) is same


def test_on_another_machine_the_trace_need_only_be_near(bent, monkeypatch):
    bent.do(run_study, "laptop", seeds=1)
    edit = (HEIGHT, "(1 + 1e-5) * (1 - (config.place - 0.5) ** 2)")
    assert not current(bent.write(edit))
    monkeypatch.setattr("maquette.lab.worker.machine", lambda: {"cpu": "another"})
    assert current(bent)


def test_a_trace_edited_by_hand_is_named(bent):
    bent.do(run_study, "laptop", seeds=1)
    path = bent.directory / "laptop" / "trace.json"
    values = json.loads(path.read_text())
    values["measures"]["far"]["height"] += 0.1
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"trace\.json was changed after it was written"):
        bent.do(run_study, "laptop", seeds=1)
    bent.write((HEIGHT, "1.0 - (config.place - 0.5) ** 2"))
    with pytest.raises(UserError, match=r"trace\.json was changed after it was written"):
        current(bent)


@pytest.mark.parametrize(
    ("work", "options", "read", "folder"),
    [(criticise, {}, read_criticism, "critique"), (improve, {"trials": 1}, read_improvement, "improve")],
)
def test_criticism_and_search_are_rehearsed_and_their_records_stay_true(bent, work, options, read, folder):
    bent.write((DRAW, "draw = np.random.default_rng().normal()"))
    with pytest.raises(UserError, match="is not a function of config and seed"):
        bent.do(work, **options)
    assert not bent.trials(f"laptop/{folder}")
    bent.write().do(work, **options)

    def as_it_stands():
        return read(bent.load(), bent.directory / "laptop").evidence

    assert current(bent, as_it_stands(), folder)
    bent.write((DRAW, f"{DRAW} + 0"))  # other words for the same
    assert current(bent, as_it_stands(), folder)
    bent.write((DRAW, f"{DRAW} + 1"))
    assert not current(bent, as_it_stands(), folder)
