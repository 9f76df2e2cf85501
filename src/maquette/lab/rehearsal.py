"""The rehearsal: a study at smoke scale, twice, before hours are spent on it; and again, to see if old records hold."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.provenance import cores, source_hash
from maquette.core.records import Trace, read_record, write_record
from maquette.lab.artifacts import plain
from maquette.lab.campaign import SCRATCH, Campaign, Places, places_for, workshop
from maquette.lab.claims import Trials
from maquette.lab.derived import with_derived
from maquette.lab.evidence import Evidence
from maquette.lab.keys import artifact_keys, code_of, prediction_key, trial_key
from maquette.lab.pool import Pool, Workers
from maquette.lab.registration import registration
from maquette.lab.study import Study
from maquette.lab.terminal import Display

ELSEWHERE = 1e-3
"""Largest relative difference of a measure at which a trace made on another machine is held to be the same."""


def rehearse(study: Study, reference: str, places: Places, pool: Pool, display: Display) -> Trace:
    """The study's trace, from the records' folder if it is of today's code, else by running its smoke scale twice.

    The second time in a process of its own, and its arms from the last to the first: what a trial keeps in memory, or
    takes from the one before it, then shows as it does where luck is drawn from elsewhere than the seed.
    What it registers is what would count as an answer before the folder held any trial; no later trace takes its place.

    Raises:
        UserError: a trial fails, or measures something else the second time; a claim names what is not measured.
    """
    path = places.directory / "trace.json"
    quiet = Display(Console(quiet=True))
    first = _campaign(study, places, pool, quiet, "rehearsal 1")
    said = source_hash(study.foretell) if study.foretell else None
    key = fingerprint({"code": first.code, "configs": first.plain, "on": first.artifact_keys, "foretell": said})
    old = read_record(path, Trace) if path.exists() else None
    if old and old.key == key:
        _refuse_unanswerable(study, old)  # claims may have changed, which costs nothing to see
        return old
    display.say("rehearsing at smoke scale, twice")
    one = _smoke(first)
    new = _trace(study, key, one)
    with contextlib.closing(fresh_pool(study, reference, places, new.threads)) as fresh:
        second = _campaign(study, places, fresh, quiet, "rehearsal 2")
        second.configs = dict(reversed(second.configs.items()))
        _refuse_impure(study, one, _smoke(second))
    derived = _refuse_unanswerable(study, new)
    if any(places.directory.glob("**/trials/*.json")):  # of older code, say: what they showed has been seen
        new = replace(new, registered=old.registered if old else None)
    else:
        new = replace(new, registered=registration(study, new.measures, derived))
    write_record(path, new)
    return new


def fresh_pool(study: Study, reference: str, places: Places, threads: int) -> Pool:
    """One process that has run nothing yet, with as many threads as the trials had that it is to repeat."""
    return Workers(reference, 1, places.scratch / "logs", threads=threads)


def is_current(
    reference: str, study: Study, evidence: Evidence, directory: Path, display: Display, *, scratch: Path = SCRATCH
) -> bool:
    """Whether today's study still gives the records in `directory`, or at least the trace that was taken with them.

    The same syntax gives them; other syntax must repeat the trace: to the bit on the same kind of machine with the same
    versions and threads, to 1e-3 elsewhere. Nothing is written beside the records.
    """
    if _same_code(study, evidence):
        return True
    path = directory / "trace.json"
    if not path.exists() or not _same_configs(study, evidence):
        return False
    old = read_record(path, Trace)
    places = places_for(scratch / study.name / "trace" / "records", scratch, study.name, "trace")
    with workshop(study, reference, max(1, cores() // old.threads), places, display) as pool:
        new = _trace(study, old.key, _smoke(_campaign(study, places, pool, display, "smoke")))
    exact = (old.machine, old.versions, old.threads) == (new.machine, new.versions, new.threads)
    return same_measures(old.measures, new.measures, 0.0 if exact else ELSEWHERE)


def _same_code(study: Study, evidence: Evidence) -> bool:
    """Whether a run would find every record as it asks for it."""
    code, artifacts = code_of(study), artifact_keys(study, evidence.scale)
    configs = study.configs(evidence.scale)
    return all(
        said.key == prediction_key(study, said.basis) for said in evidence.predictions.values() if study.foretell
    ) and all(
        record.key
        == trial_key(
            study,
            code,
            arm,
            seed,
            plain(configs[arm]),
            record.prediction,
            {name: artifacts[name] for name in study.artifacts_of(arm)},
        )
        for (arm, seed), record in evidence.records.items()
    )


def _same_configs(study: Study, evidence: Evidence) -> bool:
    """Whether no field has another value than in the records; of a field that is new or gone the trace must tell."""
    scale = evidence.scale
    today = [(record, study.config(arm, scale.changes_to(arm))) for (arm, _), record in evidence.records.items()]
    today += [(record, study.artifact_config(name, scale.changes)) for name, record in evidence.artifacts.items()]
    return all(
        plain(config).get(name, value) == value for record, config in today for name, value in record.config.items()
    )


def same_measures(one: Trials, other: Trials, tolerance: float) -> bool:
    """Whether both hold the same measures of the same arms, each to a relative tolerance."""
    if {arm: set(measures) for arm, measures in one.items()} != {arm: set(found) for arm, found in other.items()}:
        return False
    pairs = [(value, other[arm][name]) for arm, measures in one.items() for name, value in measures.items()]
    return all(abs(a - b) <= tolerance * max(abs(a), abs(b)) for a, b in pairs)


def _campaign(study: Study, places: Places, pool: Pool, display: Display, name: str) -> Campaign:
    """The study's smoke scale, one seed, in a folder that is thrown away."""
    folder = places.scratch / name
    shutil.rmtree(folder, ignore_errors=True)
    own = {"directory": folder / "records", "scratch": folder, "stages": folder / "stages"}  # nothing made before
    here = replace(places, **own, shared=False, also=None)
    return Campaign(replace(study, picture=None), "smoke", study.scales.smoke, here, pool, display)


def _smoke(campaign: Campaign) -> Evidence:
    campaign.run(range(1))
    shutil.rmtree(campaign.places.scratch, ignore_errors=True)
    if campaign.failures:
        failure = campaign.failures[0]
        raise UserError(
            f"The rehearsal of {campaign.study.name} at smoke scale failed, so nothing else was run: {failure.arm} "
            f"with {failure.config}: {failure.in_short}"
        )
    return campaign.evidence()


def _refuse_impure(study: Study, one: Evidence, two: Evidence) -> None:
    for (arm, seed), record in one.records.items():
        first, second = record.measures, two.records[arm, seed].measures
        for name in {**first, **second}:
            if first.get(name) != second.get(name):
                raise UserError(
                    f"The trial of {study.name} is not a function of config and seed: run twice, {arm!r} with seed "
                    f"{seed} gave {name} = {first.get(name)!r} and {second.get(name)!r}; draw all its randomness from "
                    "`seed`."
                )


def _refuse_unanswerable(study: Study, trace: Trace) -> Trials:
    """The trace's trials with derived arms. Claims about arms that smoke leaves out are not asked.

    Raises:
        UserError: a claim names an arm or a measure that is not there.
    """
    trials = with_derived(study, trace.measures)
    left_out = set(study.arms) - set(study.configs(study.scales.smoke))
    for claim in study.claims:
        for one in (claim, *claim.checks):
            named = (one.arm, *one.others, *(one.controls if one is claim else ()))
            for arm in named if not left_out.intersection(named) else ():
                one.value(trials, arm)
    return trials


def _trace(study: Study, key: str, evidence: Evidence) -> Trace:
    """What the only seed measured, foretold arms and what was foretold included."""
    record = next(iter(evidence.records.values()))
    return Trace(
        study=study.name,
        key=key,
        measures={arm: dict(measures) for arm, measures in evidence.trials(record.seed).items()},
        threads=record.threads,
        machine=record.machine,
        versions=record.versions,
        commit=record.commit,
    )
