"""A study of nothing, in milliseconds: does a drawn number grow with its mean?"""

import math
import time
from dataclasses import dataclass

import numpy as np

from maquette.lab.study import (
    Better,
    BySeed,
    Figure,
    InRange,
    Measures,
    Paper,
    Plan,
    Run,
    Scale,
    Scales,
    Series,
    Study,
    Tie,
    Trials,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    mean: float = 0.0
    spread: float = 0.1
    steps: int = 100
    pause: float = 0.0


def trial(config: Config, seed: int, run: Run) -> Measures:
    """Draws around the config's mean."""
    draws = np.random.default_rng([seed, round(100 * config.mean) % 997]).normal(
        config.mean, config.spread, config.steps
    )
    for step in range(10):
        time.sleep(config.pause / 10)
        run.progress(step + 1, 10)
    run.flops(config.steps)
    run.tokens(2 * config.steps)
    return {"score": float(draws.mean()), "largest": float(draws.max())}


def analyse(trials: Trials) -> Trials:
    """The slope of the score in the mean, and the same with the arms exchanged."""
    slope = trials["high"]["score"] - trials["low"]["score"]
    law = {"law": {"slope": slope}, "shuffled": {"slope": -slope}}
    return law | ({"far": trials["far"]} if "far" in trials else {})


def foretell(trials: Trials) -> Measures:
    return {"score": 2 * trials["high"]["score"] - trials["low"]["score"]}


def figures(by_seed: BySeed) -> list[Figure]:
    means = [0.0, 1.0]
    arms = ("low", "high")
    rows = np.array([[trials[arm]["score"] for arm in arms] for trials in by_seed.values()])
    line = Series(x=means, y=rows.mean(0).tolist(), low=rows.min(0).tolist(), high=rows.max(0).tolist(), label="score")
    return [Figure(title="Score by mean", x="mean", y="score", series=[line], caption="The score follows the mean.")]


def picture(trials: Trials) -> Figure | None:
    if not {"low", "high"} <= set(trials):
        return None
    return Figure(title="First look", x="mean", y="score", series=[Series(x=[0, 1], y=[0, 1])])


STUDY = Study(
    name="toy",
    question="Does a drawn number grow with its mean?",
    family="language",
    paper=Paper(
        title="On Draws",
        authors="Nobody et al.",
        year=2024,
        venue="a test",
        url="https://example.org/draws",
        reports="+1.0",
    ),
    trial=trial,
    arms={
        "high": Config(mean=1.0),
        "low": Config(),
        "again": Config(mean=1.01),
        "far": Config(mean=2.0),
    },
    claims=(
        Better("score", "high", than="low", by=0.5, control="again_low", text="A higher mean scores higher."),
        Tie("score", "high", "again", within=0.2, control="low", text="Two equal means score alike."),
        InRange("slope", "law", low=0.5, high=math.inf, control="shuffled", text="The slope is at least a half."),
    ),
    plan=Plan(text="A pilot of five draws.", seeds=5, spread={"score": 0.01}, detects=0.05, flops=4e3, hours=0.001),
    scales=Scales(
        smoke=Scale(seeds=2, changes={"steps": 10}),
        tour=Scale(seeds=1),
        laptop=Scale(seeds=12, verdict=True, limits="A toy shows nothing of the world."),
    ),
    analyse=lambda trials: {**analyse(trials), "again_low": trials["low"]},
    foretell=foretell,
    foretold=("far",),
    figures=figures,
    picture=picture,
)
