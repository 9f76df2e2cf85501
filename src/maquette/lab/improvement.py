"""Improvement: what may be tuned is searched on seeds of its own, and judged on the study's, at equal cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError
from maquette.core.files import fingerprint, read_json, write_json
from maquette.core.records import Cost
from maquette.core.seeds import child_seed
from maquette.core.statistics import Interval, paired_interval
from maquette.lab import wording
from maquette.lab.bending import SEARCH_SEEDS, Among, Between, Search, Value
from maquette.lab.campaign import SCRATCH, Campaign, places_for, refuse, workshop
from maquette.lab.evidence import Evidence, cost_beside, find_evidence, settings
from maquette.lab.rehearsal import rehearse
from maquette.lab.scales import Scale
from maquette.lab.store import Store
from maquette.lab.study import Study, load_study
from maquette.lab.terminal import Display
from maquette.lab.verdicts import Verdict, judge

if TYPE_CHECKING:
    import optuna

BASE = "laptop"
"""The scale that is improved on."""
NOTE = "tried.json"
"""The file of what was tried, in order, and why it failed; what else came of it is in the records."""
ERROR = 0.05
"""The chance of a wrong verdict on the candidates that are judged, all calls together."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One try: number 0 is the study as it stands. `why` says why one is no candidate."""

    number: int
    values: Mapping[str, Value]
    score: float | None
    flops: float
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """What the search found, and what the judging seeds say of it."""

    search: Search
    candidates: tuple[Candidate, ...]
    best: Candidate | None
    base: tuple[float, ...]
    """The measure by judging seed for the study as it stands; empty where it came to no judging."""
    improved: tuple[float, ...]
    interval: Interval | None
    """Of the gain, in the direction of the search."""
    verdict: Verdict
    cost: Cost
    """Beyond the study's own."""
    base_flops: float
    """Of the judged trials of the tuned arms, as the study stands."""
    improved_flops: float
    evidence: Evidence | None = field(default=None, compare=False, repr=False)
    """The records of the study as it stands on the seeds of the search."""


def improve(
    reference: str,
    display: Display,
    *,
    trials: int,
    records: Path = Path("runs"),
    jobs: int = 1,
    scratch: Path = SCRATCH,
) -> Improvement:
    """Try `trials` candidates and judge the best; goes on from the records of an earlier call, also with more trials.

    Raises:
        UserError: the study offers no search, bad input, the study as it stands fails, a damaged record, a full disk.
    """
    study = load_study(reference)
    search = study.improve
    if search is None:
        raise UserError(f"{study.name} offers nothing to tune; give its Study improve=Search(...).")
    if trials < 1:
        raise UserError(f"--trials is {trials}; it must be at least 1.")
    directory = records / study.name / BASE
    searching = places_for(directory / "improve", scratch, study.name, "improve", also=directory)
    with workshop(study, reference, jobs, searching, display) as pool:
        rehearse(study, reference, searching, pool, display)
        told: list[Candidate] = []
        for values in _proposals(search, trials, told):
            scale = candidate_scale(study, search, values, search.changes)
            campaign = Campaign(study, BASE, scale, searching, pool, display)
            campaign.run(_search_seeds(search))
            told.append(_tried(campaign, values, search, told))
            display.say(f"{len(told) - 1} of {trials}: {_in_words(told[-1], search)}")
            noted = [{"values": one.values, "why": one.why} for one in told]
            write_json(directory / "improve" / NOTE, {"candidates": noted})
        if (best := _best(search, told)).number:
            judging = range(study.plan.first_seed, study.plan.first_seed + search.judges)
            for values in ({}, best.values):
                scale = candidate_scale(study, search, values, search.judged)
                campaign = Campaign(study, BASE, scale, searching, pool, display)
                campaign.run(judging)
                refuse(campaign.failures)
    found = read_improvement(study, directory)
    assert found is not None
    return found


def candidate_scale(study: Study, search: Search, values: Mapping[str, Value], changes: Mapping[str, Any]) -> Scale:
    """The laptop scale, with `changes` to all arms and a candidate's values in the arms that are tuned."""
    return study.scales.laptop.changed(changes).changed(values, _tuned(study, search))


def read_improvement(study: Study, directory: Path) -> Improvement | None:
    """What records in `directory` (<records>/<study>/laptop) say of the search so far; None where there is none.

    Raises:
        UserError: a record was damaged.
    """
    search, note = study.improve, directory / "improve" / NOTE
    if search is None or not note.exists():
        return None
    candidates: list[Candidate] = []
    cost: dict[tuple[str, str], Cost] = {}
    for noted in _noted(note):
        scale = candidate_scale(study, search, noted["values"], search.changes)
        evidence = _read(study, scale, directory, _search_seeds(search), cost)
        if evidence and len(evidence.by_seed) == search.seeds:
            candidates.append(_candidate(noted["values"], evidence, search, candidates))
        elif noted["why"]:
            candidates.append(_failed(noted["values"], noted["why"], candidates))
        else:
            return None
    found = _judged(study, search, directory, candidates, _best(search, candidates), cost)
    standing = candidate_scale(study, search, {}, search.changes)
    return replace(found, evidence=_read(study, standing, directory, _search_seeds(search), {}))


def _noted(note: Path) -> list[dict[str, Any]]:
    candidates = read_json(note).get("candidates", [])
    if not all(isinstance(one, dict) and {"values", "why"} <= one.keys() for one in candidates):
        raise UserError(f"{note} is not a whole note of a search; delete it and improve again, which keeps its trials.")
    return candidates


def _judged(
    study: Study,
    search: Search,
    directory: Path,
    candidates: Sequence[Candidate],
    best: Candidate,
    cost: dict[tuple[str, str], Cost],
) -> Improvement:
    """The best candidate against the study as it stands, on the seeds of which both have all trials.

    The error is divided among all candidates that were ever put to these seeds, whether or not the note still has them.
    """
    judging = range(study.plan.first_seed, study.plan.first_seed + search.judges)
    seen = {
        one.number: evidence
        for one in candidates
        if (
            evidence := _read(
                study, candidate_scale(study, search, one.values, search.judged), directory, judging, cost
            )
        )
    }
    tuned, before = (seen.get(best.number), seen.get(0)) if best.number else (None, None)
    confidence = 1 - ERROR / max(1, _ever_judged(study, search, directory, judging))
    shared = [seed for seed in before.by_seed if seed in tuned.by_seed] if tuned and before else []
    base = tuple(_measure(before, seed, search) for seed in shared)
    improved = tuple(_measure(tuned, seed, search) for seed in shared)
    sign = 1 if search.direction == "higher" else -1
    gains = [sign * (new - old) for new, old in zip(improved, base, strict=True)]
    interval = paired_interval(gains, confidence) if len(gains) > 1 else None
    return Improvement(
        search=search,
        candidates=tuple(candidates),
        best=best,
        base=base,
        improved=improved,
        interval=interval,
        verdict=judge(interval, (search.by, float("inf"))) if interval else Verdict.NONE,
        cost=cost_beside(study, directory, cost),
        base_flops=_flops(before, shared, search) if before else 0.0,
        improved_flops=_flops(tuned, shared, search) if tuned else 0.0,
    )


def _ever_judged(study: Study, search: Search, directory: Path, judging: Sequence[int]) -> int:
    """How many candidates have records on the judging seeds: settings of a tuned arm other than the study's own."""
    store = Store(directory=directory / "improve", study=study.name, shared=True)
    own = settings(study, candidate_scale(study, search, {}, search.judged))
    arms = [arm for arm in _tuned(study, search) if arm in own]
    return max(len(store.tried(arm, judging) - {fingerprint(own[arm], 8)}) for arm in arms)


def _proposals(search: Search, trials: int, told: Sequence[Candidate]) -> Iterator[dict[str, Value]]:
    """The study as it stands, then Optuna's proposals; the caller appends each one's candidate to `told` in between.

    The sampler is seeded and told the same scores in the same order, so that a search that goes on proposes the same.
    """
    import optuna

    yield {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=child_seed(0, "search") % 2**32)
    direction = "maximize" if search.direction == "higher" else "minimize"
    tried = optuna.create_study(sampler=sampler, direction=direction)
    over = {name: _distribution(one) for name, one in search.over.items()}
    for _ in range(trials):
        asked = tried.ask(over)
        yield dict(asked.params)
        score = told[-1].score
        tried.tell(asked, score, state=None if score is not None else optuna.trial.TrialState.FAIL)


def _distribution(one: Between | Among) -> "optuna.distributions.BaseDistribution":
    import optuna

    if isinstance(one, Among):
        return optuna.distributions.CategoricalDistribution(one.values)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)


def _search_seeds(search: Search) -> range:
    return range(SEARCH_SEEDS, SEARCH_SEEDS + search.seeds)


def _tuned(study: Study, search: Search) -> tuple[str, ...]:
    return search.tuned or tuple(study.arms)


def _read(
    study: Study, scale: Scale, directory: Path, seeds: Sequence[int], cost: dict[tuple[str, str], Cost]
) -> Evidence | None:
    """The records of these seeds, or None without a whole one; adds the cost of each once, by its key."""
    found = find_evidence(study, BASE, scale, directory / "improve", shared=True)
    if found is None:
        return None
    found = replace(found, records={(arm, seed): one for (arm, seed), one in found.records.items() if seed in seeds})
    cost.update(found.costs)
    return found if found.by_seed else None


def _tried(campaign: Campaign, values: Mapping[str, Value], search: Search, told: Sequence[Candidate]) -> Candidate:
    """What came of a candidate's trials; one that fails is no candidate, unless it is the study as it stands."""
    if not told:
        refuse(campaign.failures)
    if campaign.failures:
        failure = campaign.failures[0]
        why = f"{failure.arm}, seed {failure.seed}, failed: {failure.text.splitlines()[-1]}"
        return _failed(values, why, told)
    return _candidate(values, campaign.evidence(), search, told)


def _failed(values: Mapping[str, Value], why: str, told: Sequence[Candidate]) -> Candidate:
    return Candidate(number=len(told), values=dict(values), score=None, flops=0.0, why=why)


def _candidate(values: Mapping[str, Value], evidence: Evidence, search: Search, told: Sequence[Candidate]) -> Candidate:
    """A candidate and its score, after those `told`, the first of which is the study as it stands."""
    seeds = list(evidence.by_seed)
    score, why = math.fsum(_measure(evidence, seed, search) for seed in seeds) / len(seeds), ""
    flops = _flops(evidence, seeds, search)
    if told and flops > search.dearer * told[0].flops:
        score, why = None, f"costs {wording.number(flops)} FLOPs, the study {wording.number(told[0].flops)}"
    return Candidate(number=len(told), values=dict(values), score=score, flops=flops, why=why)


def _best(search: Search, candidates: Sequence[Candidate]) -> Candidate:
    sign = 1 if search.direction == "higher" else -1
    scored = [(sign * one.score, one) for one in candidates if one.score is not None]
    return max(scored, key=lambda pair: pair[0])[1]


def _measure(evidence: Evidence | None, seed: int, search: Search) -> float:
    assert evidence is not None
    try:
        return evidence.by_seed[seed][search.arm][search.measure]
    except KeyError as missing:
        raise UserError(
            f"The search is for {search.measure!r} of {search.arm!r}, but there is no {missing}; mend Search(...)."
        ) from missing


def _flops(evidence: Evidence, seeds: Sequence[int], search: Search) -> float:
    """Of the tuned arms, which may not cost more; what the others cost would hide it."""
    arms = _tuned(evidence.study, search)
    return sum(one.whole_cost.flops for (arm, seed), one in evidence.records.items() if seed in seeds and arm in arms)


def _in_words(candidate: Candidate, search: Search) -> str:
    values = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in candidate.values.items()
    )
    score = candidate.why or f"{search.measure} {candidate.score:.4g}"
    return f"{values or 'as it stands'}: {score}"


def as_json(found: Improvement) -> dict[str, Any]:
    """The outcome in plain values."""
    names = ("base", "improved", "verdict", "base_flops", "improved_flops")
    return {
        "best": asdict(found.best) if found.best else None,
        "candidates": [asdict(one) for one in found.candidates],
        "interval": asdict(found.interval) if found.interval else None,
        "cost": asdict(found.cost),
        **{name: getattr(found, name) for name in names},
    }


def in_words(found: Improvement) -> str:
    """The outcome in two or three sentences."""
    search, best = found.search, found.best
    tried = f"{len(found.candidates) - 1} candidates tried on {search.seeds} seeds that judge nothing."
    if best is None or not best.number:
        return f"{tried} None came out better than the study as it stands."
    said = f"{tried} Best: {_in_words(best, search)}."
    if found.interval is None:
        return f"{said} It has not been judged yet."
    verdict = {
        Verdict.REPRODUCED: f"improved by more than {search.by:g}",
        Verdict.REFUTED: f"not improved by {search.by:g}",
    }.get(found.verdict, f"undecided whether it improves by {search.by:g}")
    ratio = found.improved_flops / found.base_flops if found.base_flops else 1.0
    gain = f"{wording.number(found.interval.mean)} {wording.interval(found.interval)}"
    if (candidates := round(ERROR / (1 - found.interval.confidence))) > 1:
        gain += f" (5 % of error shared by the {candidates} candidates judged so far)"
    cheaper = ", ".join(f"{name} {value}" for name, value in search.judged.items())
    return (
        f"{said} On the {found.interval.n} seeds that judge the study{cheaper and f', with {cheaper}'}, the gain is "
        f"{gain} at {ratio:.2f} times the FLOPs: {verdict}."
    )
