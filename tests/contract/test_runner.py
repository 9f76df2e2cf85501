"""The runner's contract, on a study that takes milliseconds."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from maquette.core.errors import UserError
from maquette.core.files import sole_writer
from maquette.core.records import Prediction, Record, read_record, write_record
from maquette.lab.evidence import find_evidence, read_evidence, settings
from maquette.lab.report.contents import section
from maquette.lab.report.page import write_page
from maquette.lab.runner import run_study
from maquette.lab.store import Store
from maquette.lab.study import load_study
from maquette.lab.terminal import Display
from maquette.lab.verdicts import Verdict

TOY = Path(__file__).with_name("toy_study.py").read_text()


@pytest.fixture
def toy(tmp_path):
    """Writes the toy study, with replacements, and runs it; `toy.said` is what the terminal saw."""

    class Toy:
        path = tmp_path / "toy_study.py"
        records = tmp_path / "runs"
        directory = records / "toy"

        def write(self, *replacements):
            text = TOY
            for old, new in replacements:
                assert old in text
                text = text.replace(old, new)
            self.path.write_text(text)
            return self

        def run(self, scale="smoke", records=None, **options):
            terminal = io.StringIO()
            display = Display(Console(file=terminal, width=200))
            places = {"records": records or self.records, "scratch": tmp_path / "scratch"}
            outcome = run_study(str(self.path), scale, display, **places, **options)
            self.said = terminal.getvalue()
            return outcome

        def trials(self, scale="smoke"):
            return {path.stem: read_record(path, Record) for path in self.directory.glob(f"{scale}/trials/*.json")}

    return Toy().write()


def test_arms_by_seeds_each_with_its_record(toy):
    outcome = toy.run()
    assert outcome.ran == 8
    assert not outcome.failures
    assert set(toy.trials()) == {f"{arm}.{seed}" for arm in ("high", "low", "again", "far") for seed in (0, 1)}
    record = toy.trials()["high.1"]
    assert record.config == {"mean": 1.0, "spread": 0.1, "steps": 10, "pause": 0.0}  # the scale's change included
    assert (record.cost.flops, record.cost.tokens) == (10, 20)
    assert record.cost.wall_seconds > 0
    assert record.machine["cores"] >= 1
    assert record.versions["numpy"]
    assert record.started <= record.finished
    assert outcome.evidence.verdict is Verdict.NONE
    assert not list(toy.path.parent.glob("scratch/toy/smoke/*.*.*"))  # gone with the record


def test_one_process_or_two_measure_the_same(toy, tmp_path):
    toy.run(jobs=1)
    one = {name: record.measures for name, record in toy.trials().items()}
    outcome = toy.run(jobs=2, records=tmp_path / "two")
    two = {f"{arm}.{seed}": record.measures for (arm, seed), record in outcome.evidence.records.items()}
    assert one == two


def test_threads_are_shared_fairly(toy):
    toy.write(("return {", 'import os\n    return {"threads": float(os.environ["OMP_NUM_THREADS"]), '))
    outcome = toy.run(jobs=2)
    share = max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else None
    for record in outcome.evidence.records.values():
        assert record.threads == record.measures["threads"]
        assert share is None or record.threads == share


def test_a_finished_trial_is_not_run_again_and_a_changed_one_is(toy):
    assert toy.run().ran == 8
    assert toy.run().ran == 0
    toy.write(('"""Draws around', '"""Draws, once more, around'), ("On Draws", "On Drawing"))
    assert toy.run().ran == 0
    toy.write(('"again": Config(mean=1.01)', '"again": Config(mean=1.02)'))
    assert toy.run().ran == 4  # that arm, and the foretold one: its prediction rests on other trials
    toy.write(('"again": Config(mean=1.01)', '"again": Config(mean=1.02)'), ("draws.max()", "draws.min()"))
    assert toy.run().ran == 8


def test_looks_go_on_only_while_undecided(toy):
    assert {record.seed for record in (toy.run("laptop"), toy.trials("laptop"))[1].values()} == set(range(5))
    toy.write(("by=0.5", "by=1.0"))  # the effect itself: never decided
    outcome = toy.run("laptop")
    assert outcome.evidence.verdict is Verdict.UNDECIDED
    assert len(outcome.evidence.by_seed) == 12
    assert "undecided at n = 5; going on" in toy.said
    assert "undecided at n = 8; going on" in toy.said
    assert outcome.ran == 4 * 7  # the first five seeds were there


def test_looks_may_go_on_until_every_claim_is_decided(toy):
    toy.write(("within=0.2", "within=0.01"))  # the difference itself: never decided
    assert len(toy.run("laptop").evidence.by_seed) == 5, "the primary claim is"
    toy.write(("within=0.2", "within=0.01"), ("verdict=True", 'verdict=True, until="all"'))
    outcome = toy.run("laptop")
    assert len(outcome.evidence.by_seed) == 12
    assert [one.verdict for one in outcome.evidence.judgements][:2] == [Verdict.REPRODUCED, Verdict.UNDECIDED]
    toy.write(("verdict=True", 'verdict=True, until="all"'))
    assert toy.run("laptop", seeds=5).ran == 0


def test_fewer_seeds_decide_nothing_and_more_than_planned_are_refused(toy):
    outcome = toy.run("laptop", seeds=3)
    assert outcome.evidence.verdict is Verdict.UNDECIDED
    assert outcome.evidence.judgements[0].test.interval is None
    with pytest.raises(UserError, match="planned for at most 12"):
        toy.run("laptop", seeds=13)
    with pytest.raises(UserError, match="at least 1"):
        toy.run("laptop", seeds=0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_raising_trial_is_reported_and_takes_none_down(toy, jobs):
    toy.write(
        (
            "    run.flops",
            '    if config.mean == 1.01 and seed == 1:\n        raise ValueError("no such luck")\n    run.flops',
        )
    )
    outcome = toy.run(jobs=jobs)
    (first, foretold) = outcome.failures
    assert (first.arm, first.seed, first.config["mean"]) == ("again", 1, 1.01)
    assert "no such luck" in first.text
    assert "toy_study.py" in first.text
    assert (foretold.arm, foretold.seed) == ("far", 1)  # its prediction could not be made
    assert len(toy.trials()) == 6
    assert set(outcome.evidence.by_seed) == {0}
    assert toy.write().run(jobs=jobs).ran == 8  # mended: other code, so all anew


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('float("nan")', "the measure 'largest' is nan; give a finite number"),
        ('float("-inf")', "the measure 'largest' is -inf; give a finite number"),
        ("[1, 2]", "the measure 'largest' is [1, 2], which is no number"),
    ],
)
def test_a_measure_that_is_no_number_is_a_failed_trial(toy, value, said):
    toy.write(('"largest": float(draws.max())', f'"largest": {value} if config.mean == 2 else 0.0'))
    outcome = toy.run()
    assert {(failure.arm, failure.seed) for failure in outcome.failures} == {("far", 0), ("far", 1)}
    assert outcome.failures[0].text == outcome.failures[0].in_short == said


def test_a_killed_worker_is_reported_and_replaced(toy):
    toy.write(
        (
            "    run.flops",
            "    if config.mean == 0 and seed == 0:\n        import os\n        os.kill(os.getpid(), 9)\n    run.flops",
        )
    )
    outcome = toy.run(jobs=2)
    killed = next(failure for failure in outcome.failures if failure.arm == "low")
    assert (killed.seed, killed.config["mean"]) == (0, 0.0)
    assert "SIGKILL" in killed.text
    assert len(toy.trials()) == 6


def test_bad_input_in_a_trial_stops_the_run(toy):
    toy.write(
        (
            "    run.flops",
            '    from maquette.core.errors import UserError\n    raise UserError("corpus is empty.")\n    run.flops',
        )
    )
    for jobs in (1, 2):
        with pytest.raises(UserError, match="corpus is empty"):
            toy.run(jobs=jobs)
    assert not toy.trials()


def test_a_full_disk_stops_the_run(toy):
    toy.write(("    run.flops", '    raise OSError(28, "No space left on device")\n    run.flops'))
    with pytest.raises(UserError, match="The disk is full"):
        toy.run()


def test_a_trial_goes_on_in_its_own_folder_and_pays_for_both_attempts(toy, monkeypatch):
    monkeypatch.setattr("maquette.lab.run.SAVE_EVERY", 0.0)
    toy.write(
        (
            "    run.flops",
            "    mark = run.directory / 'half-way'\n"
            "    if config.mean == 2 and not mark.exists():\n"
            "        mark.touch()\n"
            "        raise KeyboardInterrupt\n"
            "    run.flops",
        ),
        ("pause: float = 0.0", "pause: float = 0.1"),
    )
    for seed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            toy.run()
        assert len(toy.trials()) == 4 * seed + 3
    assert toy.run().ran == 1
    assert all(toy.trials()[f"far.{seed}"].cost.wall_seconds > 0.18 for seed in (0, 1))


def test_the_foretold_waits_for_its_prediction(toy):
    toy.run(jobs=2)
    trials = toy.trials()
    for seed in (0, 1):
        said = read_record(toy.directory / "smoke" / "predictions" / f"{seed}.json", Prediction)
        basis = {arm: trials[f"{arm}.{seed}"] for arm in ("high", "low", "again")}
        assert said.basis == {arm: record.key for arm, record in basis.items()}
        assert max(record.finished for record in basis.values()) <= said.made <= trials[f"far.{seed}"].started
        assert trials[f"far.{seed}"].prediction == said.digest
        assert trials[f"low.{seed}"].prediction is None
        high, low = (basis[arm].measures["score"] for arm in ("high", "low"))
        assert said.measures == {"score": 2 * high - low}


def test_what_was_foretold_is_evidence_beside_its_prediction_only(toy):
    toy.run()
    study, folder = load_study(str(toy.path)), toy.directory / "bends"
    known, store = settings(study, study.scales.smoke), Store(directory=folder, study="toy", shared=True)
    for record in toy.trials().values():
        store.write_trial(record, known[record.arm])
    said = read_record(toy.directory / "smoke" / "predictions" / "0.json", Prediction)
    write_record(store.prediction_path(0, known), said)
    found = find_evidence(study, "smoke", study.scales.smoke, folder, shared=True)
    assert {seed for arm, seed in found.records if arm == "far"} == {0}
    assert {seed for arm, seed in found.records if arm == "low"} == {0, 1}


def test_another_prediction_needs_the_foretold_trial_again(toy):
    toy.run()
    before = {path: path.read_text() for path in toy.directory.glob("smoke/predictions/*")}
    toy.write(('return {"score": 2 * trials["high"]', 'return {"score": 2.0 * trials["high"]'))
    assert toy.run().ran == 0  # other words for the same
    toy.write(('return {"score": 2 * trials["high"]', 'return {"score": (2 + 1e-9) * trials["high"]'))
    assert toy.run().ran == 0  # another machine's rounding
    for path, text in before.items():
        said, once = json.loads(path.read_text()), json.loads(text)
        assert (said["made"], said["measures"]) == (once["made"], once["measures"])
    toy.write(('return {"score": 2 * trials["high"]', 'return {"score": 3 * trials["high"]'))
    assert toy.run().ran == 2
    trials = toy.trials()
    for path in before:
        said = read_record(path, Prediction)
        assert said.made <= trials[f"far.{said.seed}"].started


@pytest.mark.parametrize(
    "damage", [lambda text: text[: len(text) // 2], lambda text: "", lambda text: "[]", lambda text: "{}"]
)
def test_a_damaged_record_is_named(toy, damage):
    toy.run()
    path = toy.directory / "smoke" / "trials" / "low.1.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"low\.1\.json"):
        toy.run()


def test_a_record_edited_by_hand_is_named(toy):
    toy.run()
    path = toy.directory / "smoke" / "trials" / "low.1.json"
    values = json.loads(path.read_text())
    values["measures"]["score"] += 0.5
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"low\.1\.json was changed after it was written"):
        read_evidence(load_study(str(toy.path)), "smoke", toy.directory / "smoke")
    other = toy.directory / "smoke" / "trials" / "high.1.json"
    path.write_text(other.read_text())
    with pytest.raises(UserError, match=r"low\.1\.json records toy high, seed 1"):
        toy.run()


def test_two_runs_in_one_directory(toy):
    with sole_writer(toy.directory / "smoke"), pytest.raises(UserError, match="in use by another run"):
        toy.run()
    assert toy.run().ran == 8


def test_pictures_are_published_while_it_runs(toy):
    toy.run("tour")
    assert "First look" in toy.said
    folder = toy.directory / "tour" / "pictures"
    assert (folder / "first-look.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "first-look.svg").read_text().startswith("<svg")
    toy.write(("    run.flops", '    run.picture(Figure(title="Own", x="x", y="y", series=[]))\n    run.flops'))
    toy.run("tour", jobs=2)
    assert (folder.parent / "exhibits" / "own.png").exists()


def test_a_picture_that_fails_ends_nothing(toy):
    toy.write(("Series(x=[0, 1], y=[0, 1])", "Series(x=[0, 1], y=[0])"))
    assert toy.run().ran == 8
    assert "no picture yet" in toy.said


def workers_of(reference):
    """Process ids of the workers that serve a study (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"maquette.lab.worker" in words and str(reference).encode() in words:
            found.append(int(folder.name))
    return found


def eventually(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@pytest.mark.parametrize(("jobs", "ending"), [(1, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGINT)])
def test_a_killed_run_loses_at_most_the_running_trials(toy, jobs, ending):
    toy.write(("pause: float = 0.0", "pause: float = 0.15"))
    maquette = Path(sys.executable).with_name("maquette")
    command = [maquette, "run", str(toy.path), "--scale", "smoke", "--jobs", str(jobs)]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit deafness to it
    with subprocess.Popen(command, cwd=toy.path.parent, stderr=subprocess.PIPE) as process:
        eventually(lambda: len(list(toy.directory.glob("smoke/trials/*.json"))) >= 2)
        sent = time.monotonic()
        process.send_signal(ending)
        said = process.stderr.read()
    signal.signal(signal.SIGINT, heard)
    assert time.monotonic() - sent < 5
    assert process.returncode == (130 if ending == signal.SIGINT else -9)
    assert b"Traceback" not in said
    if sys.platform == "linux":
        eventually(lambda: not workers_of(toy.path))
    kept = {name: record.finished for name, record in toy.trials().items()}
    assert 2 <= len(kept) < 8
    toy.write(("pause: float = 0.0", "pause: float = 0.15"))
    outcome = toy.run(jobs=jobs)
    assert outcome.ran == 8 - len(kept)
    assert {name: toy.trials()[name].finished for name in kept} == kept
    assert not outcome.failures


def test_the_report_stands_alone(toy):
    outcome = toy.run("laptop")
    page = toy.path.parent / "report.html"
    write_page(page, [section(outcome.evidence, "maquette run toy --scale laptop")])
    html = page.read_text()
    assert html.count("<svg") == 2
    for outside in ("<link", "<script", "@import", 'src="http', "url(http", "<img", "<iframe", "<!DOCTYPE svg"):
        assert outside not in html
    for said in ("A higher mean scores higher.", "<td>fails</td>", "maquette run toy --scale laptop", "reproduced"):
        assert said in html
    assert "A toy shows nothing of the world." in html
    assert outcome.evidence.records["low", 0].commit in html


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", "defines no STUDY"),
        ("import nothing_of_that_name\n", "cannot be imported: ModuleNotFoundError"),
        ("x =\n", "SyntaxError"),
    ],
)
def test_a_file_that_holds_no_study(tmp_path, text, sentence):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        load_study(str(path))
