"""The pilot: a study's laptop scale on seeds that never judge it, and the plan that follows from what it shows."""

import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.records import Cost
from maquette.core.statistics import detectable, seeds_needed, spread
from maquette.lab.campaign import SCRATCH, Campaign, places_for, refuse, workshop
from maquette.lab.claims import Claim
from maquette.lab.rehearsal import rehearse
from maquette.lab.study import Study, load_study
from maquette.lab.terminal import Display

BASE = "laptop"
PILOT_SEEDS = 20_000
"""Where the seeds of pilots begin, far from those that judge."""
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """What a pilot lets one expect of a claim."""

    claim: Claim
    effect: float
    spread: float
    """Standard deviation of the effect over the pilot's seeds."""
    beyond: float
    """How far inside its region the effect lies; negative outside it."""
    seeds: int | None
    """Seeds that show it with a chance of 80 %, if the pilot's effect and spread are the truth; None: not with 12."""


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """A pilot's foresight of every claim, and its cost: of the trials, and once of what they stand on."""

    study: Study
    n: int
    claims: tuple[Foresight, ...]
    cost: Cost
    once: Cost

    @property
    def seeds(self) -> int:
        """What the primary claim needs; the most that may be planned where that would not do."""
        return self.claims[0].seeds or 12

    def as_plan(self) -> str:
        """The `Plan(...)` to paste into the study; its text is for the author to complete."""
        primary, share = self.claims[0], self.seeds / self.n
        spread = ", ".join(f'"{measure}": {value:.2g}' for measure, value in self._spread().items())
        tie = two_sided(primary.claim)
        found = detectable(primary.spread, self.seeds, len(self.claims), power=POWER, tie=tie)
        seen = "; ".join(f"{one.claim.measure} of {one.claim.arm}: {one.effect:.3g}" for one in self.claims)
        return (
            "Plan(\n"
            f'    text="A pilot of {self.n} seeds, thrown away: {seen}.",\n'
            f"    seeds={self.seeds},\n"
            f"    spread={{{spread}}},\n"
            f"    detects={found:.2g},\n"
            f"    power={POWER},\n"
            f"    flops={share * self.cost.flops + self.once.flops:.2g},\n"
            f"    tokens={share * self.cost.tokens + self.once.tokens:.2g},\n"
            f"    hours={(share * self.cost.wall_seconds + self.once.wall_seconds) / 3600:.2g},\n"
            + (f"    first_seed={first},\n" if (first := self.study.plan.first_seed) else "")
            + ")"
        )

    def _spread(self) -> dict[str, float]:
        """By measure, the largest spread of a claim about it."""
        found: dict[str, float] = {}
        for one in self.claims:
            found[one.claim.measure] = max(one.spread, found.get(one.claim.measure, 0.0))
        return found


def run_pilot(
    reference: str,
    display: Display,
    *,
    seeds: int = 5,
    records: Path = Path("runs"),
    jobs: int = 1,
    scratch: Path = SCRATCH,
) -> Pilot:
    """Run a study's laptop scale on `seeds` seeds of the pilot's own.

    Raises:
        UserError: fewer than two seeds, a trial that fails or is impure, a damaged record, a full disk.
    """
    if seeds < 2:
        raise UserError(f"--seeds is {seeds}; a spread takes at least 2.")
    study = load_study(reference)
    scale = study.scales.laptop
    places = places_for(records / study.name / "pilot", scratch, study.name, "pilot")
    with workshop(study, reference, jobs, places, display) as pool:
        rehearse(study, reference, places, pool, display)
        campaign = Campaign(study, BASE, scale, places, pool, display)
        campaign.run(range(PILOT_SEEDS, PILOT_SEEDS + seeds))
    refuse(campaign.failures)
    evidence = campaign.evidence()
    trials = list(evidence.by_seed.values())
    foreseen = tuple(
        foresee(claim, [claim.effect(one, claim.arm) for one in trials], len(study.claims)) for claim in study.claims
    )
    if not foreseen[0].spread:
        raise UserError(
            f"{foreseen[0].claim.text!r} has the same effect, {foreseen[0].effect:g}, in all {seeds} seeds, from which "
            "nothing can be planned; see that its trial uses the seed, or take a finer measure."
        )
    made = {one.key for one in evidence.artifacts.values()}
    cost, once = (
        sum((one for (_, key), one in evidence.costs.items() if (key in made) is once), Cost())
        for once in (False, True)
    )
    return Pilot(study=study, n=seeds, claims=foreseen, cost=cost, once=once)


def foresee(claim: Claim, effects: list[float], claims: int) -> Foresight:
    """What these effects, one a seed, let expect of a claim among `claims`."""
    mean, deviation = statistics.fmean(effects), spread(effects)
    low, high = claim.region
    beyond = min(mean - low, high - mean)
    needed = seeds_needed(beyond, deviation, claims, power=POWER, tie=two_sided(claim)) if beyond > 0 else None
    return Foresight(claim=claim, effect=mean, spread=deviation, beyond=beyond, seeds=needed)


def two_sided(claim: Claim) -> bool:
    """Whether a claim has a bound on either side, both of which its interval must clear."""
    return all(map(math.isfinite, claim.region))
