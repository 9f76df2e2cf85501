"""A study of nothing in milliseconds that can be criticised and improved: is a parabola's vertex where it was put?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.lab.study import (
    Again,
    Artifact,
    Axis,
    Bend,
    Better,
    Between,
    Critique,
    Measures,
    Paper,
    Plan,
    Run,
    Scale,
    Scales,
    Search,
    Study,
    Tie,
)


@dataclass(frozen=True, kw_only=True)
class Offset:
    """What the artifact holds."""

    offset: float = 0.1
    steps: int = 20


@dataclass(frozen=True, kw_only=True)
class Config:
    place: float = 0.0
    noise: float = 0.01
    steps: int = 100


def make(config: Offset, run: Run) -> None:
    run.flops(1e3)
    (run.directory / "offset.txt").write_text(str(config.offset))


def trial(config: Config, seed: int, run: Run) -> Measures:
    offset = float(Path(run.artifact("offset") / "offset.txt").read_text())
    run.flops(config.steps)
    draw = np.random.default_rng([seed, round(1000 + 100 * config.place)]).normal(0, config.noise)
    return {"height": 1 - (config.place - 0.5) ** 2 + offset + draw}


STUDY = Study(
    name="bent",
    question="Is the vertex where it was put?",
    family="language",
    paper=Paper(title="Vertices", authors="Nobody", year=2024, venue="a test", url="https://example.org", reports="1"),
    trial=trial,
    arms={"near": Config(place=0.3), "near again": Again(arm="near"), "far": Config(), "farther": Config(place=-0.2)},
    claims=(
        Better(
            "height",
            "near",
            than="far",
            by=0.1,
            control="farther",
            text="Nearer the vertex is higher",
            checks=(Tie("height", "near", "near again", within=0.1, control=(), text="The same arm again ties"),),
        ),
    ),
    plan=Plan(text="A pilot.", seeds=5, spread={"height": 0.01}, detects=0.05, flops=4e3, hours=0.001, first_seed=3),
    scales=Scales(
        smoke=Scale(seeds=1, changes={"steps": 10}),
        tour=Scale(seeds=1),
        laptop=Scale(seeds=5, verdict=True, limits="A toy."),
    ),
    artifacts={"offset": Artifact(make=make, config=Offset())},
    critique=Critique(
        axes=(
            Axis.over("noise", (0.001, 0.01, 0.3, 1.0), objection="Noise hides it.", log=True),
            Axis(name="fewer arms", bends=(Bend(label="no far", without=("far",)),), objection="Who needs far?"),
        ),
        seeds=3,
    ),
    improve=Search(
        arm="near",
        measure="height",
        direction="higher",
        by=0.005,
        over={"place": Between(low=0.0, high=1.0)},
        tuned=("near",),
        question="Where is it higher still?",
        seeds=2,
    ),
)
