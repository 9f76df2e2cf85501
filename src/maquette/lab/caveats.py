"""What a verdict must not be printed without: claims that moved, seeds left aside, effects that do not vary."""

from maquette.lab.evidence import Evidence
from maquette.lab.wording import number

STALE = "today's code no longer gives these records: they stand as they were made, with the settings of then"
REGISTERED = "What would count as an answer was written down before anything ran"


def registered(evidence: Evidence) -> str:
    """What the records prove of when the claims were made; no sentence's end."""
    if not evidence.scale.verdict:
        return "What would count as an answer, were anything decided at this scale"
    if evidence.changes is None:
        first = min(evidence.records.values(), key=lambda record: record.started)
        return (
            "What would count as an answer is given as the study has it today; what was claimed when its records were "
            f"made is not in them{'' if first.commit == 'unknown' else f'; git shows it at commit {first.commit}'}"
        )
    if not evidence.changes:
        return REGISTERED
    return f"What counts as an answer was changed after trials had run ({'; '.join(evidence.changes)})"


def caveats(evidence: Evidence) -> list[str]:
    """Whole sentences, none where there is nothing to tell."""
    return amended(evidence) + beside(evidence)


def amended(evidence: Evidence) -> list[str]:
    """That the claims are not known to be those that were made before the trials, in a whole sentence."""
    moved = evidence.scale.verdict and registered(evidence) != REGISTERED
    return [f"{registered(evidence)}."] if moved else []


def beside(evidence: Evidence) -> list[str]:
    """Those that are not about when the claims were made."""
    told = []
    if evidence.beside:
        seeds = ", ".join(map(str, evidence.beside))
        told.append(
            f"There are records of other seeds too ({seeds}), which the plan does not judge; they were left aside."
        )
    for judgement in evidence.judgements:
        found = judgement.test.interval
        if found and found.low == found.high:
            name = judgement.claim.text.rstrip(".")
            told.append(
                f"“{name}” has the same effect in all {found.n} seeds, {number(found.mean)}, which says nothing of its "
                "spread and decides nothing: does its trial use the seed?"
            )
    return told
