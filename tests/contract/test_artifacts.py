"""Artifacts: made once, shared, found again by their content, paid for once."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from maquette.core.errors import UserError
from maquette.lab.artifacts import artifact_record
from maquette.lab.evidence import read_evidence
from maquette.lab.runner import run_study

MAKE = 'def make(config: Offset, run: Run) -> None:\n    run.flops(1e3)\n    (run.directory / "offset.txt")'
MAKER = '''
"""What both studies stand on."""
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Offset:
    """What the artifact holds."""
    offset: float = 0.1
    steps: int = 20

def make(config, run):
    """Makes it."""
    run.flops(1e3)
    (run.directory / "offset.txt").write_text(str(config.offset))
'''


def in_make(*lines):
    """A replacement that has lines run before the artifact is written."""
    return (MAKE, MAKE.replace("    (run", "".join(f"    {line}\n" for line in lines) + "    (run"))


@pytest.fixture
def pair(bent, monkeypatch):
    """Two studies whose artifact another file makes; `pair.write()` writes that file, with replacements."""
    own = bent.path.read_text().split("@dataclass")[1].split("\n\n\n")[0]
    here = (
        ("@dataclass" + own, "from offsets import Offset, make"),
        ("def make(config: Offset, run: Run) -> None:\n    run.flops(1e3)\n", "def unused(config, run):\n"),
    )

    class Pair:
        one, two = bent.write(*here), bent.other("another").write(*here)

        def write(self, *replacements):
            text = MAKER
            for old, new in replacements:
                assert old in text
                text = text.replace(old, new)
            (bent.folder / "offsets.py").write_text(text)
            sys.modules.pop("offsets", None)
            return self

        def run(self):
            for study in (self.one, self.two):
                study.do(run_study, "tour")
            return len(self.one.made), len(self.two.made)

    yield Pair().write()
    sys.modules.pop("offsets", None)


def test_it_is_made_before_the_first_trial_and_never_again(bent):
    outcome = bent.do(run_study, "smoke")
    assert bent.made == ["offset"]
    assert bent.said.index("the artifact offset: done") < bent.said.index("seed 0: done")
    assert "[5/5]" in bent.said  # four trials and the artifact
    assert outcome.evidence.records["far", 0].measures["height"] == pytest.approx(0.75 + 0.1, abs=0.1)
    bent.do(run_study, "smoke")
    assert (bent.ran, bent.made) == (0, [])


def test_its_cost_is_counted_once_and_shown_apart(bent):
    evidence = bent.do(run_study, "smoke").evidence
    assert {record.cost.flops for record in evidence.records.values()} == {10}
    assert evidence.artifacts["offset"].cost.flops == 1e3
    assert evidence.cost.flops == 4 * 10 + 1e3
    again = read_evidence(bent.load(), "smoke", bent.directory / "smoke")
    assert again.cost == evidence.cost
    assert bent.do(run_study, "smoke").evidence.cost == evidence.cost


def test_two_studies_that_ask_for_the_same_share_it(pair):
    assert pair.run() == (1, 0)
    records = [read_evidence(s.load(), "tour", s.directory / "tour").artifacts["offset"] for s in (pair.one, pair.two)]
    assert [(record.study, record.arm, record.cost.flops) for record in records] == [
        ("bent", "offset", 1e3),
        ("another", "offset", 1e3),
    ]
    assert records[0].key == records[1].key
    assert records[0].started == records[1].started


@pytest.mark.parametrize(
    ("edit", "made", "trials"),
    [
        (('"""Makes it."""', '"""Makes it, and well."""'), 0, 0),
        (("str(config.offset)", "str(2 * config.offset)"), 1, 4),
        (("offset: float = 0.1", "offset: float = 0.2"), 1, 4),
        (("steps: int = 20", "steps: int = 20\n    colour: str = 'red'"), 1, 4),
    ],
)
def test_other_code_or_another_config_makes_another(pair, edit, made, trials):
    pair.run()
    assert pair.write(edit).run() == (made, 0)
    assert (pair.one.ran, pair.two.ran) == (trials, trials)


def test_a_scale_reaches_its_config(bent):
    study = bent.load()
    assert study.artifact_config("offset", study.scales.smoke.changes).steps == 10
    bent.do(run_study, "smoke")
    bent.do(run_study, "tour")
    assert bent.made == ["offset"]  # with 20 steps, not 10
    assert len([folder for folder in bent.artifacts.iterdir() if artifact_record(folder)]) == 2


def test_only_arms_that_stand_on_it_run_again_with_it(bent):
    near = (
        ("float(Path(", "0.0 if config.place != 0.3 else float(Path("),
        ("config=Offset())", 'config=Offset(), arms=("near", "near again"))'),
    )
    evidence = bent.write(*near).do(run_study, "tour").evidence
    assert evidence.records["far", 0].measures["height"] == pytest.approx(0.75, abs=0.05)
    bent.write(*near, ("str(config.offset)", "str(3 * config.offset)")).do(run_study, "tour")
    assert bent.made == ["offset"]
    assert bent.ran == 2


def test_what_an_artifact_needs_is_made_first_and_counts(bent):
    needing = (
        ('artifacts={"offset": Artifact(make=make, config=Offset())}', 'artifacts={"first": Artifact(make=first, '
         'config=Offset(offset=0.5), arms=()), "offset": Artifact(make=make, config=Offset(), needs=("first",))}'),
        ("str(config.offset)", '(run.artifact("first") / "first.txt").read_text()'),
        ("def trial(", 'def first(config, run):\n    (run.directory / "first.txt").write_text(str(config.offset))\n\n\n'
         "def trial("),
    )  # fmt: skip
    evidence = bent.write(*needing).do(run_study, "tour").evidence
    assert bent.made == ["first", "offset"]
    assert evidence.records["far", 0].measures["height"] == pytest.approx(0.75 + 0.5, abs=0.05)
    bent.write(*needing, ("offset=0.5", "offset=0.7")).do(run_study, "tour")
    assert (bent.made, bent.ran) == (["first", "offset"], 4)


def test_a_making_that_fails_stops_the_run_and_says_why(bent):
    bent.write(in_make('raise ValueError("no such luck")'))
    with pytest.raises(
        UserError, match=r"The artifact 'offset', on which trials stand, could not be made: (?s:.*)luck"
    ):
        bent.do(run_study, "smoke")
    assert not bent.trials("smoke")
    bent.write(in_make('from maquette.core.errors import UserError\n    raise UserError("no corpus.")'))
    with pytest.raises(
        UserError, match=r"^The artifact 'offset', on which trials stand, could not be made: no corpus.$"
    ):
        bent.do(run_study, "smoke")
    bent.write().do(run_study, "smoke")
    assert (bent.ran, bent.made) == (4, ["offset"])


def test_a_trial_gets_only_what_its_arm_stands_on(bent):
    bent.write(('run.artifact("offset")', 'run.artifact("ofset")'))
    with pytest.raises(UserError, match=r"asked for the artifact 'ofset', .* did you mean 'offset'\?"):
        bent.do(run_study, "smoke")
    bent.write(("config=Offset())", 'config=Offset(), arms=("near", "near again"))'))
    with pytest.raises(UserError, match="artifact 'offset', on which its arm does not stand; known: none"):
        bent.do(run_study, "smoke")


def test_a_killed_making_goes_on_in_its_own_folder_and_pays_for_both_attempts(bent, monkeypatch):
    monkeypatch.setattr("maquette.lab.run.SAVE_EVERY", 0.0)
    half_way = (
        "half = run.directory / 'half-way'",
        "run.progress(1, 2)",
        "if not half.exists():",
        "    half.touch()",
        "    raise KeyboardInterrupt",
    )
    bent.write(in_make("import time", "time.sleep(0.05)", *half_way))
    with pytest.raises(KeyboardInterrupt):
        bent.do(run_study, "smoke")
    assert not list(bent.artifacts.glob("*/offset.txt"))
    evidence = bent.do(run_study, "smoke").evidence
    assert evidence.artifacts["offset"].cost.wall_seconds > 0.09
    folder = bent.artifacts / evidence.artifacts["offset"].key
    assert sorted(path.name for path in folder.iterdir()) == ["artifact.json", "half-way", "offset.txt"]


def test_two_that_ask_at_once_make_it_once(pair, monkeypatch):
    """Threads stand for processes: the kernel's lock belongs to an open file."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # which either thread redirects
    pair.write(("run.flops(1e3)", "run.flops(1e3)\n    __import__('time').sleep(0.3)"))
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda study: study.do(run_study, "smoke"), (pair.one, pair.two)))
    assert [outcome.ran for outcome in outcomes] == [4, 4]
    assert pair.one.made + pair.two.made == ["offset"]


def test_trials_that_have_records_do_not_need_it_made_again(bent):
    before = bent.do(run_study, "smoke").evidence
    for folder in bent.artifacts.iterdir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    after = bent.do(run_study, "smoke").evidence
    assert (bent.ran, bent.made) == (0, [])
    assert after.cost == before.cost
    (bent.directory / "smoke" / "trials" / "far.0.json").unlink()
    bent.do(run_study, "smoke")
    assert (bent.ran, bent.made) == (1, ["offset"])


def test_a_workers_artifact_is_made_while_other_trials_run(bent):
    bent.write(
        ("float(Path(", "0.0 if config.place == 0.3 else float(Path("),
        ("config=Offset())", 'config=Offset(), arms=("far", "farther"))'),
        ("run.flops(config.steps)", "run.flops(config.steps)\n    __import__('time').sleep(0.2)"),
    )
    outcome = bent.do(run_study, "smoke", jobs=2)
    assert not outcome.failures
    assert (bent.ran, bent.made) == (4, ["offset"])


def test_a_record_of_making_that_was_edited_is_named(bent):
    evidence = bent.do(run_study, "smoke").evidence
    path = bent.artifacts / evidence.artifacts["offset"].key / "artifact.json"
    path.write_text(path.read_text().replace("1000.0", "1.0"))
    with pytest.raises(UserError, match=r"artifact\.json was changed after it was written"):
        bent.do(run_study, "smoke")
