"""The command line as a user meets it: exit codes, sentences, files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maquette.cli import commands, studies, training
from maquette.language import chat_recipes, vlm_recipes
from maquette.language import recipes as language
from maquette.robotics import training as robotics
from maquette.video import recipes as video

MAQUETTE = Path(sys.executable).with_name("maquette")
TOY = Path(__file__).parent.parent / "contract" / "toy_study.py"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def maquette(tmp_path):
    """Runs a command line in an empty folder that holds the toy study."""
    shutil.copy(TOY, tmp_path / "toy_study.py")

    def run(line):
        environment = os.environ | {"COLUMNS": "200"}
        done = subprocess.run([MAQUETTE, *line.split()], cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert "Traceback" not in done.stderr or done.returncode == 1  # a failed trial's own
        return done

    return run


def test_run_and_report(maquette, tmp_path):
    done = maquette("run toy_study.py --scale laptop")
    assert (done.returncode, "reproduced" in done.stdout) == (0, True)
    assert "toy at laptop scale: reproduced (n = 5, 20 trials, 20 of them run now)" in done.stdout
    assert "[20/20]" in done.stderr
    assert len(list(tmp_path.glob("runs/toy/laptop/trials/*.json"))) == 20
    done = maquette("report toy_study.py")
    assert done.stdout.strip() == "runs/toy/laptop/report.html"
    assert "maquette run toy_study.py --scale laptop" in (tmp_path / done.stdout.strip()).read_text()
    assert maquette("report toy_study.py --scale laptop --out page.html").returncode == 0
    assert (tmp_path / "page.html").exists()


def test_where_no_claim_has_its_arms_that_is_said_instead_of_a_table(maquette, tmp_path):
    path = tmp_path / "toy_study.py"
    text = path.read_text().replace("tour=Scale(seeds=1)", 'tour=Scale(seeds=1, arms=("high", "far"))')
    start, end = text.index("    analyse=lambda"), text.index("    picture=picture")
    path.write_text(text[:start] + "    analyse=lambda trials: {},\n" + text[end:])
    done = maquette("run toy_study.py --scale tour")
    assert done.returncode == 0, done.stderr
    assert "At this scale no claim has all the arms that it compares." in done.stdout
    assert "effect" not in done.stdout


def test_json_is_all_there_is_on_stdout(maquette, tmp_path):
    path = tmp_path / "toy_study.py"
    path.write_text(path.read_text().replace("    run.flops", '    print("chatter")\n    run.flops'))
    done = maquette("run toy_study.py --scale smoke --jobs 1 --json")
    outcome = json.loads(done.stdout)
    assert (outcome["verdict"], outcome["ran"], outcome["failures"]) == ("no verdict", 8, [])
    assert outcome["claims"][0]["text"] == "A higher mean scores higher."
    assert outcome["cost"]["flops"] == 80
    assert "chatter" in done.stderr


def test_a_failed_trial_is_told_and_exits_with_1(maquette, tmp_path):
    path = tmp_path / "toy_study.py"
    path.write_text(path.read_text().replace("    run.flops", "    assert config.mean != 2.0\n    run.flops"))
    done = maquette("run toy_study.py --scale smoke")
    assert done.returncode == 1
    assert "failed: far, seed 1, {'mean': 2.0" in done.stderr
    assert "AssertionError" in done.stderr


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("rnu toy", "no command 'rnu'; did you mean 'run'?"),
        ("run scaling_lows", "no study 'scaling_lows'; did you mean 'scaling_laws'?"),
        ("run nowhere.py", "nowhere.py does not exist"),
        ("run toy_study.py --scale laptp", "no scale 'laptp'; did you mean 'laptop'?"),
        ("run toy_study.py --scale gpu", "no scale 'gpu'"),
        ("run toy_study.py --jobs 0", "--jobs is 0; it must be at least 1"),
        ("run toy_study.py --jobs two", "--jobs"),
        ("run toy_study.py --seeds 13", "planned for at most 12"),
        ("run toy_study.py --job 2", "did you mean --jobs?"),
        ("run", "NAME"),
        ("report toy_study.py", "no records of toy in runs or results; make some"),
        ("report toy_study.py --scale huge", "no scale 'huge'"),
        ("list --jsn", "did you mean --json?"),
        ("plan --budget -3", "not a positive number"),
        ("plan --budget 1e20 --law a --runs b.csv", "leave one out"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(maquette, tmp_path, line, sentence):
    done = maquette(line)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.startswith("maquette: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    """As in `maquette list --json | head -1`: the reading end is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [MAQUETTE, "list", "--json"], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, env=buffered
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_folder_that_cannot_be_written(maquette, tmp_path):
    (tmp_path / "file").write_text("")
    done = maquette("run toy_study.py --scale smoke --records file")
    assert done.returncode == 2
    assert done.stderr.startswith("maquette: Cannot write")


def test_list_names_every_study(maquette):
    rows = json.loads(maquette("list --json").stdout)
    studies = {path.stem for path in ROOT.glob("src/maquette/studies/*/[a-z]*.py")}
    assert {row["name"] for row in rows} == studies
    for row in rows:
        assert row["family"] in ("language", "video", "robotics")
        assert row["question"].endswith("?")


@pytest.mark.parametrize("command", ["", "list", "run", "report", "tour", "plan", "world", "serve", "chat", "inspect"])
def test_help_has_an_example(maquette, command):
    done = maquette(f"{command} --help")
    assert done.returncode == 0
    assert "Example: maquette" in done.stdout


def test_the_command_line_knows_every_recipe(maquette):
    """It names them without importing the families, so that help is quick."""
    told = set(re.findall(r"[\w-]+", maquette("train --help").stdout))
    kinds = {
        training.WORDS: language.RECIPES,
        training.TALKS: chat_recipes.RECIPES,
        training.CLIPS: video.RECIPES,
        training.PICTURES: vlm_recipes.RECIPES,
        training.POLICIES: robotics.RECIPES,
    }
    for named, recipes in kinds.items():
        assert set(named) == set(recipes)
        assert set(named) <= told


def test_help_and_list_import_nothing_heavy():
    code = (
        "import sys; from maquette.cli import commands; commands.run(['list']); import contextlib\n"
        "with contextlib.suppress(SystemExit): commands.run(['--help'])\n"
        "assert not {'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_tour_tells_every_study_and_ends_with_a_page(monkeypatch, tmp_path, capfd):
    toy, second = tmp_path / "toy_study.py", tmp_path / "second.py"
    toy.write_text(TOY.read_text())
    second.write_text(TOY.read_text().replace('name="toy"', 'name="second"').replace("draws.mean()", "math.nan"))
    monkeypatch.setattr(studies, "prepare_process", lambda: "as it is")  # would start pytest anew
    monkeypatch.setattr(studies, "known_studies", lambda: {"toy": str(toy), "second": str(second)})
    monkeypatch.chdir(tmp_path)
    assert commands.run(["tour", "--jobs", "1"]) == 1  # the second one's trials fail; the first is told all the same
    said = capfd.readouterr()
    assert "toy (language): Does a drawn number grow with its mean?" in said.out
    assert "picture after" in said.err
    assert "failed: high, seed 0" in said.err
    page = (tmp_path / "runs" / "tour" / "index.html").read_text()
    assert str(tmp_path / "runs" / "tour" / "index.html") in said.out
    assert "tells the story with 1 seed" in page
    assert "no verdict" in page


def test_version(maquette):
    assert maquette("--version").stdout.startswith("maquette 0.")


def test_plan_wires_the_lab(maquette):
    rows = json.loads(
        maquette("plan --parameters 405B --tokens 15.6T --device-hours 30.84M --devices 16384 --json").stdout
    )
    assert rows["flops"] == pytest.approx(3.8e25, rel=0.01)
    assert rows["mfu"] == pytest.approx(0.345, abs=0.001)
    assert "15.6T" in maquette("plan --parameters 405B --tokens 15.6T").stdout


def test_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_docs.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
