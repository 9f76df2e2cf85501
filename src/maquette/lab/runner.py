"""Runs a study: looks at its seeds until its primary claim, or every one, is decided."""

from dataclasses import dataclass, replace
from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.records import write_checked
from maquette.core.statistics import planned_looks
from maquette.lab.campaign import SCRATCH, Campaign, Failure, places_for, workshop
from maquette.lab.evidence import Evidence
from maquette.lab.rehearsal import rehearse
from maquette.lab.study import Study, load_study
from maquette.lab.terminal import Display
from maquette.lab.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run leaves: the evidence, and the trials that failed."""

    evidence: Evidence
    failures: tuple[Failure, ...]
    ran: int


def run_study(
    reference: str,
    scale_name: str,
    display: Display,
    *,
    records: Path = Path("runs"),
    jobs: int = 1,
    seeds: int | None = None,
    scratch: Path = SCRATCH,
) -> Outcome:
    """Run what is missing of a study, look by look, and judge it.

    `reference` is a module or a `.py` file, so that worker processes find the study too. Only while what a deciding
    scale goes on `until` is undecided does it go on to its next look.

    Raises:
        UserError: bad input, a damaged record, a full disk, or another run in the same folder.
    """
    study = load_study(reference)
    scale = study.scale(scale_name)
    limit = _limit(study, scale_name, seeds)
    directory = records / study.name / scale_name
    places = places_for(directory, scratch, study.name, scale_name)
    first = study.plan.first_seed if scale.verdict else 0
    looks = [look for look in planned_looks(scale.seeds) if look < limit] if scale.verdict else []
    with workshop(study, reference, jobs, places, display) as pool:
        trace = rehearse(study, reference, places, pool, display) if scale.verdict else None
        campaign = Campaign(study, scale_name, scale, places, pool, display)
        for count in (*looks, limit):
            campaign.run(range(first, first + count))
            evidence = replace(campaign.evidence(), trace=trace, beside=_beside(campaign))
            told = [one.verdict for one in evidence.judgements] if scale.until == "all" else [evidence.verdict]
            if campaign.failures or not {Verdict.UNDECIDED, Verdict.NONE} & {*told}:
                break
            if count < limit:
                display.say(f"undecided at n = {count}; going on")
        write_checked(directory / "outcome.json", evidence.as_json())
    return Outcome(evidence=evidence, failures=tuple(campaign.failures), ran=campaign.ran)


def _beside(campaign: Campaign) -> tuple[int, ...]:
    """Seeds of which the folder of a deciding scale holds records too, though they do not judge it."""
    judging = campaign.study.judging(campaign.scale)
    there = {seed for arm, setting in campaign.settings.items() for seed in campaign.store.seeds(arm, setting)}
    return tuple(sorted(there.difference(judging))) if judging else ()


def _limit(study: Study, scale_name: str, seeds: int | None) -> int:
    scale = study.scale(scale_name)
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds is {seeds}; it must be at least 1.")
    if seeds is not None and scale.verdict and seeds > scale.seeds:
        raise UserError(
            f"--seeds is {seeds}, but {study.name} at {scale_name} was planned for at most {scale.seeds}; "
            "more would spend an error that was not planned for, so change the study's scale instead."
        )
    return seeds or scale.seeds
