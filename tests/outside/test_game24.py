"""The Game of 24 against the list of hands and the GPT-4 logs of the Tree of Thoughts repository (Yao et al. 2023)."""

import csv
import json
import os
from pathlib import Path

import pytest

from maquette.language.reasoning.estimators import best_of_k, curve, pass_at_k
from maquette.worlds.puzzles.countdown import solvable_hands
from maquette.worlds.puzzles.grading import graded

DATA = Path(os.environ.get("MAQUETTE_OUTSIDE_DATA", "")) / "game24"
pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="MAQUETTE_OUTSIDE_DATA holds no game24"),
    pytest.mark.against("tree-of-thought-llm", version="its list of hands and its logs of GPT-4"),
]


def test_the_hands_are_those_of_the_list():
    with open(DATA / "24.csv", encoding="utf-8") as file:
        listed = [tuple(sorted(map(int, row["Puzzles"].split()))) for row in csv.DictReader(file)]
    assert len(listed) == 1362
    assert sorted(listed) == list(solvable_hands())


@pytest.fixture(scope="module")
def logs():
    """By problem, GPT-4's 100 answers, our verdicts on them and their authors'.

    The authors read an answer up to its first "=", so do we here.
    """
    with open(DATA / "24.csv", encoding="utf-8") as file:
        hands = [[int(one) for one in row["Puzzles"].split()] for row in csv.DictReader(file)]
    found = []
    for problem in json.loads((DATA / "gpt-4_cot_100x100.json").read_text(encoding="utf-8")):
        row = {"kind": "expression", "numbers": hands[problem["idx"]], "target": 24, "answer": ""}
        answers = [text.strip().rsplit("\n", 1)[-1].removeprefix("Answer: ") for text in problem["ys"]]
        ours = [graded(one.split("=")[0], row).correct for one in answers]
        found.append((row, answers, ours, [bool(one["r"]) for one in problem["infos"]]))
    return found


def test_gpt_4s_answers_are_graded_as_by_their_authors(logs):
    assert [ours for _, _, ours, _ in logs] == [theirs for *_, theirs in logs]
    assert sum(sum(ours) for _, _, ours, _ in logs) == 403


def test_a_grader_that_reads_the_whole_answer_differs_in_one_of_10_000(logs):
    told = [
        answer
        for row, answers, ours, _ in logs
        for answer, verdict in zip(answers, ours, strict=True)
        if graded(answer, row).correct != verdict
    ]
    assert told == ["(13 - 9) * (12 - 6) = 48"], "it makes 24, and says 48"


def test_what_100_samples_are_worth_is_what_was_published(logs):
    by_k = {k: [pass_at_k(100, sum(correct), k) for _, _, correct, _ in logs] for k in (1, 4, 16, 64, 100)}
    found = {one.k: one.accuracy for one in curve(by_k, 1.0)}
    for k, expected in {1: 4.0, 4: 12.3, 16: 26.9, 64: 43.7, 100: 49.0}.items():
        assert 100 * found[k].mean == pytest.approx(expected, abs=0.05)
        assert found[k].low < found[k].mean < found[k].high
    assert 100 * found[1].mean == pytest.approx(4.03)
    best = [best_of_k([float(one) for one in correct], correct, 100) for _, _, correct, _ in logs]
    assert sum(best) == pytest.approx(49)
