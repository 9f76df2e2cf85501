"""The Game of 24 against the list of hands and the GPT-4 logs of the Tree of Thoughts repository (Yao et al. 2023)."""

import csv
import os
from pathlib import Path

import pytest

from maquette.worlds.puzzles.countdown import solvable_hands

DATA = Path(os.environ.get("MAQUETTE_OUTSIDE_DATA", "")) / "game24"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="MAQUETTE_OUTSIDE_DATA holds no game24")


def test_the_hands_are_those_of_the_list():
    with open(DATA / "24.csv", encoding="utf-8") as file:
        listed = [tuple(sorted(map(int, row["Puzzles"].split()))) for row in csv.DictReader(file)]
    assert len(listed) == 1362
    assert sorted(listed) == list(solvable_hands())
