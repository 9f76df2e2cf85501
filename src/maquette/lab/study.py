"""A study: a question, its arms, and what would count as an answer, written before it is run."""

import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.core.errors import UserError, did_you_mean
from maquette.core.user_code import import_file
from maquette.lab.artifacts import Artifact
from maquette.lab.bending import Among, Axis, Bend, Between, Critique, Search
from maquette.lab.claims import Better, BySeed, Claim, InRange, Measures, Ratio, Tie, Trials
from maquette.lab.contract import problems
from maquette.lab.figures import Figure, Series
from maquette.lab.run import Run
from maquette.lab.scales import SCALES, Scale, Scales

__all__ = [
    "PREDICTION",
    "SCALES",
    "Again",
    "Among",
    "Artifact",
    "Axis",
    "Bend",
    "Better",
    "Between",
    "BySeed",
    "Claim",
    "Critique",
    "Figure",
    "InRange",
    "Measures",
    "Paper",
    "Plan",
    "Ratio",
    "Run",
    "Scale",
    "Scales",
    "Search",
    "Series",
    "Study",
    "Tie",
    "Trials",
    "load_study",
]

PREDICTION = "prediction"
"""The arm under which `analyse`, claims and figures find what `foretell` said."""
AGAIN = 1_000_000
"""How far the seeds of an arm that is run again lie from those of the arm itself."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What is reproduced, and the number it reports."""

    title: str
    authors: str
    year: int
    venue: str
    url: str
    reports: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """From a pilot that was thrown away: the spread seen, seeds needed, effect detectable, the whole study's cost.

    `spread` is the standard deviation over seeds of each measure that the plan rests on, `detects` the distance from a
    claim's region that the planned seeds find with the chance `power`. Seeds below `first_seed` were seen by pilots.
    """

    text: str
    seeds: int
    spread: Mapping[str, float]
    detects: float
    flops: float
    hours: float
    tokens: float = 0.0
    power: float = 0.8
    first_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Again:
    """An arm that is another one over again, on other seeds: the A/A pair that must tie."""

    arm: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """See the design, *A study*. The first claim is the primary one: its verdict is the study's.

    - `trial(config, seed, run)`: pure in config and seed, so that it can be cached, resumed, and run in any process.
    - `analyse(trials of one seed)`: derived arms with their measures, a fitted law say; claims may name them.
    - `foretell(trials of one seed)`: for a seed, the arms in `foretold` start only after all others are done and this
      prediction is on disk; `analyse` and claims find it under the arm "prediction".
    - `figures(measures by seed and arm)`: what the report shows.
    - `picture(trials of one seed so far)`: a figure worth showing while the study runs, or None for not yet.
    - `artifacts`: what trials stand on, by the name they ask `run.artifact` for.
    - `critique`: along which axes to bend the world; `improve`: what may be tuned.

    Raises:
        UserError: a claim without control, an unknown arm or field, a scale that cannot decide what it should.
    """

    name: str
    question: str
    family: Literal["language", "video", "robotics"]
    paper: Paper
    trial: Callable[[Any, int, Run], Measures]
    arms: Mapping[str, Any]
    claims: Sequence[Claim]
    plan: Plan
    scales: Scales
    analyse: Callable[[Trials], Trials] | None = None
    foretell: Callable[[Trials], Measures] | None = None
    foretold: tuple[str, ...] = ()
    figures: Callable[[BySeed], Sequence[Figure]] | None = None
    picture: Callable[[Trials], Figure | None] | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    critique: Critique | None = None
    improve: Search | None = None

    def __post_init__(self) -> None:
        for problem in problems(self):
            raise UserError(f"The study {self.name!r}: {problem}")

    def scale(self, name: str) -> Scale:
        """A scale by name.

        Raises:
            UserError: there is none.
        """
        known = dict(self.scales)
        if name not in known:
            raise UserError(f"{self.name!r} has no scale {name!r}; {did_you_mean(name, known)}")
        return known[name]

    def judging(self, scale: Scale) -> range | None:
        """The seeds that a scale is judged on; None at one that decides nothing, which shows whatever there is."""
        return range(self.plan.first_seed, self.plan.first_seed + scale.seeds) if scale.verdict else None

    def configs(self, scale: Scale) -> dict[str, Any]:
        """The arms' configs at a scale."""
        return {arm: self.config(arm, scale.changes_to(arm)) for arm in scale.arms or self.arms}

    def config(self, arm: str, changes: Mapping[str, Any]) -> Any:
        """One arm's config, changed in the fields that it has."""
        return _changed(self.arms[self.again.get(arm, arm)], changes)

    def artifact_config(self, name: str, changes: Mapping[str, Any]) -> Any:
        """An artifact's config, changed in the fields that it has."""
        return _changed(self.artifacts[name].config, changes)

    @property
    def again(self) -> dict[str, str]:
        """The arms that are others run again, with those."""
        return {arm: config.arm for arm, config in self.arms.items() if isinstance(config, Again)}

    def seed_of(self, arm: str, seed: int) -> int:
        """The seed that an arm's trial gets: the paired one, but another for an arm that is run again."""
        return seed + AGAIN if arm in self.again else seed

    def artifacts_of(self, arm: str) -> list[str]:
        """The artifacts that an arm stands on, those they need themselves included, in the order they are made in."""
        asked = [name for name, one in self.artifacts.items() if one.arms is None or arm in one.arms]
        return [name for name in self.artifacts if name in {need for one in asked for need in self._needs(one)}]

    def _needs(self, artifact: str) -> Iterator[str]:
        yield artifact
        for need in self.artifacts[artifact].needs:
            yield from self._needs(need)

    def trials_of(self, trials: Trials) -> Trials:
        """One seed's trials together with the derived arms.

        Raises:
            UserError: `analyse` gave a measure that is not a finite number.
        """
        derived = self.analyse(trials) if self.analyse else {}
        for arm, measures in derived.items():
            for measure, value in measures.items():
                if not math.isfinite(value):
                    raise UserError(
                        f"analyse of {self.name!r} gave {measure} = {value} for {arm!r}; mend it and report again."
                    )
        return {**trials, **derived}


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    names = {one.name for one in dataclasses.fields(config)}
    return dataclasses.replace(config, **{name: value for name, value in changes.items() if name in names})


def load_study(reference: str) -> Study:
    """The `STUDY` of a module (`maquette.studies.…`) or of a `.py` file.

    Raises:
        UserError: there is no such file, it cannot be imported, or it defines no study.
    """
    try:
        module = import_file(Path(reference)) if reference.endswith(".py") else importlib.import_module(reference)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{reference} cannot be imported: {type(error).__name__}: {error}") from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise UserError(f"{reference} defines no STUDY; end it with STUDY = Study(name=..., ...).")
    return study
