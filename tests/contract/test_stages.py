"""Stages: what trials of one seed have in common, made once, its FLOPs counted for each."""

import contextlib
import time

import pytest

from maquette.core.errors import UserError
from maquette.lab.criticism import criticise
from maquette.lab.evidence import read_evidence
from maquette.lab.report.tables import cost_table
from maquette.lab.run import Run
from maquette.lab.runner import run_study

DRAW = "    draw = np.random.default_rng([seed, round(1000 + 100 * config.place)]).normal(0, config.noise)\n"
NEEDS = 'needs=("offset",)'
STAGED = (
    ("def trial(", '''@dataclass(frozen=True, kw_only=True)
class Luck:
    noise: float


def draw_luck(config: Luck, seed: int, run: Run) -> None:
    offset = (run.artifact("offset") / "offset.txt").read_text()
    with open(Path(__file__).with_name("drawn.txt"), "a") as notes:
        notes.write(f"{seed} {offset}\\n")
    run.flops(500)
    run.progress(1, 2)
    (run.directory / "luck.txt").write_text(str(np.random.default_rng(seed).normal(0, config.noise)))


def trial('''),
    (DRAW, f'''    folder = run.stage(draw_luck, Luck(noise=config.noise), seed, {NEEDS})
    draw = float((folder / "luck.txt").read_text())
'''),
)  # fmt: skip


def drawn(bent):
    """The seeds for which a stage was made, outside of rehearsals, and forgotten."""
    notes = bent.folder / "drawn.txt"
    lines = notes.read_text().splitlines() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return [int(line.split()[0]) for line in lines]


def test_it_is_made_once_for_all_arms_of_a_seed(bent):
    evidence = bent.write(*STAGED).do(run_study, "tour").evidence
    assert drawn(bent) == [0, 1_000_000], "three arms of one seed, and one arm over again"
    heights = {arm: evidence.records[arm, 0].measures["height"] for arm in ("near", "far")}
    assert heights["near"] - heights["far"] == pytest.approx(0.25 - 0.04)


def test_its_cost_is_part_of_each_trials_and_counts_once_in_all(bent):
    evidence = bent.write(*STAGED).do(run_study, "tour").evidence
    assert {record.cost.flops for record in evidence.records.values()} == {100}
    assert {record.whole_cost.flops for record in evidence.records.values()} == {600}
    assert evidence.cost.flops == 4 * 100 + 2 * 500 + 1e3
    again = read_evidence(bent.load(), "tour", bent.directory / "tour")
    assert again.cost == evidence.cost
    (stage,) = again.records["far", 0].stages.values()
    assert (stage.machine, stage.versions) == (again.records["far", 0].machine, again.records["far", 0].versions)
    assert "each one's cost and counts once" in cost_table(again, {}).caption


@pytest.mark.parametrize(
    ("edit", "made"),
    [
        (("steps: int = 100", "steps: int = 99"), 0),
        (("near again", "nearly again"), 0),
        (("run.flops(500)", "run.flops(501)"), 2),
        (("noise: float = 0.01", "noise: float = 0.02"), 2),
        (("offset: float = 0.1", "offset: float = 0.2"), 2),
    ],
)
def test_what_it_depends_on_makes_another_and_nothing_else_does(bent, edit, made):
    bent.write(*STAGED).do(run_study, "tour")
    drawn(bent)
    bent.write(*STAGED, edit).do(run_study, "tour")
    assert len(drawn(bent)) == made


def test_a_critic_finds_what_the_study_has_made(bent):
    axis = 'Axis.over("noise", (0.001, 0.01, 0.3, 1.0), objection="Noise hides it.", log=True)'
    bent.write(*STAGED, (axis, 'Axis.over("place", (-0.1, 0.1), arms=("far",), objection="How far?")'))
    bent.do(run_study, "laptop")
    drawn(bent)
    bent.do(criticise, axes=["place"])
    assert bent.ran
    assert set(drawn(bent)) == {0, 1_000_000}, "the rehearsal's own"


def test_a_rehearsal_makes_its_own_and_sees_luck_that_no_seed_gives(bent):
    bent.write(*STAGED, ("default_rng(seed)", "default_rng()"))
    with pytest.raises(UserError, match="not a function of config and seed"):
        bent.do(run_study, "laptop")


def test_it_gets_only_what_it_says_it_needs(bent):
    bent.write(*STAGED, (NEEDS, "needs=()"))
    with pytest.raises(UserError, match="A stage asked for the artifact 'offset', which is none of its needs"):
        bent.do(run_study, "tour")


def test_two_that_are_made_of_the_same_config_are_two(bent):
    other = (
        "def draw_more(config: Luck, seed: int, run: Run) -> None:\n    draw_luck(config, seed, run)\n\n\ndef trial("
    )
    both = f"    run.stage(draw_more, Luck(noise=config.noise), seed, {NEEDS})\n    folder ="
    bent.write(
        *STAGED, ("def trial(", other), ("    folder =", both), ("STUDY = ", "assert draw_more and draw_luck\nSTUDY = ")
    )
    bent.do(run_study, "tour")
    assert drawn(bent) == [0, 0, 1_000_000, 1_000_000]


def test_what_it_publishes_every_trial_publishes(bent):
    picture = """run.table("What was drawn", ["seed"], [[str(seed)]])
    run.animation("Moving", np.zeros((2, 8, 8, 3), np.uint8), 2.0)
    run.flops(500)"""
    bent.write(*STAGED, ("run.flops(500)", picture)).do(run_study, "tour")
    exhibit = bent.directory / "tour" / "exhibits" / "what-was-drawn.json"
    assert "tour/exhibits/moving.gif" in bent.said, "not where the stage keeps it"
    exhibit.unlink()
    (bent.directory / "tour" / "trials" / "near.0.json").unlink()
    bent.do(run_study, "tour")
    assert bent.ran == 1
    assert exhibit.exists()
    assert exhibit.with_name("moving.gif").exists()


def killed_once(config, seed, run):
    """A stage that is killed half way, and goes on."""
    half = run.directory / "half-way"
    run.progress(1, 2)
    if not half.exists():
        half.touch()
        time.sleep(0.05)
        run.progress(1, 2)
        raise KeyboardInterrupt
    run.flops(7)


def test_a_killed_one_goes_on_in_its_folder_and_pays_for_both_attempts(bent, tmp_path, monkeypatch):
    monkeypatch.setattr("maquette.lab.run.SAVE_EVERY", 0.0)
    config = bent.load().arms["near"]
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "trial", stages=tmp_path / "stages").stage(killed_once, config, 0)
    again = Run(tmp_path / "trial", stages=tmp_path / "stages")
    folder = again.stage(killed_once, config, 0)
    assert (folder / "half-way").exists()
    (made,) = again.stages.values()
    assert made.cost.flops == 7
    assert made.cost.wall_seconds > 0.05
    other = Run(tmp_path / "other", stages=tmp_path / "stages")
    assert other.stage(killed_once, config, 0) == folder
    assert other.stages == again.stages


def test_a_trial_that_is_killed_after_it_pays_for_it_once(bent, tmp_path, monkeypatch):
    monkeypatch.setattr("maquette.lab.run.SAVE_EVERY", 0.0)
    config = bent.load().arms["near"]
    for _ in range(3):
        run = Run(tmp_path / "trial", stages=tmp_path / "stages")
        with contextlib.suppress(KeyboardInterrupt):
            run.stage(killed_once, config, 0)
            run.stage(killed_once, config, 0)
        run.progress(1, 2)
    assert run.cost.flops == 0
    assert [stage.cost.flops for stage in run.stages.values()] == [7]
    assert run.cost.wall_seconds < 0.05, "the stage's time is the stage's"


def test_a_function_that_may_see_more_than_its_arguments_is_refused(bent, tmp_path):
    def make(config, seed, run):
        pass

    with pytest.raises(UserError, match="made by a function of a module"):
        Run(tmp_path).stage(make, bent.load().arms["near"], 0)
