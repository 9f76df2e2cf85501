"""All that can be found before a long training: one check after the other, and which faults they name."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.validation import validate
from maquette.robotics.deployment import Card, Deployed, refuse_mismatch
from maquette.robotics.diagnosis import learned, recordings, replay
from maquette.robotics.diagnosis.findings import Check, Fault
from maquette.robotics.evaluation import collection_of
from maquette.robotics.training import robot_of, source_of


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found."""

    checks: tuple[Check, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Each kind once."""
        return tuple(dict.fromkeys(check.fault for check in self.checks if check.fault))

    def as_json(self) -> dict[str, Any]:
        """With every check."""
        return {"faults": self.faults, "checks": [asdict(check) for check in self.checks]}


def diagnose(directory: Path, deployed: Deployed | None = None, *, steps: int = learned.STEPS) -> Iterator[Check]:
    """Check a dataset, and a policy on it, one check at a time.

    Args:
        directory: a LeRobot dataset with states and actions; cameras are looked at where there are any.
        deployed: a policy; without one the dataset alone is looked at, as before a training.
        steps: of the small policy that learns an episode by heart; 0 leaves that out.

    Raises:
        UserError: it is no dataset, or the policy is another robot's.
    """
    dataset = Dataset(directory)
    if deployed:
        refuse_mismatch(deployed.card, replace(robot_of(dataset), action_meaning=None), str(directory))
    else:
        robot_of(dataset)  # what it lacks is said here
    if (faults := validate(directory)).problems:
        yield Check(name="data", said=faults.first(directory), fault="data")
        return
    yield Check(name="data", said=f"{len(dataset.episodes)} whole episodes of {dataset.info.frames} frames")
    yield recordings.check_stored_statistics(dataset)
    yield from _in_its_world(dataset)
    yield recordings.check_cameras(dataset)
    if deployed:
        yield recordings.check_normalisation(dataset, deployed.card)
        if (meaning := _meaning(dataset, deployed.card)) is not None:
            yield meaning
        yield learned.check_policy(deployed, dataset)
    if steps:
        yield learned.check_by_heart(dataset, deployed.card if deployed else None, steps)


def _in_its_world(dataset: Dataset) -> Iterator[Check]:
    """The expert's actions where they were made; elsewhere what motion alone tells."""
    try:
        collection = collection_of(source_of(dataset))
        found = replay.recorded(dataset, collection)
    except UserError as error:
        known = "world" in source_of(dataset)
        why = str(error) if known else "the dataset does not say which world it comes from"
        yield Check(name="replay", said=f"not tried: {why}", tried=False)
        yield recordings.check_motion(dataset)
        return
    check = replay.check_replay(found, collection)
    yield check
    if check.fault is None:  # else the world does not go where the pictures went
        yield replay.check_pictures(dataset, found, collection)


def _meaning(dataset: Dataset, card: Card) -> Check | None:
    """Whether the dataset's actions say of themselves what the policy's do; None where one of them is silent."""
    theirs = source_of(dataset).get("action_meaning")
    if not theirs or not card.action_meaning:
        return None
    if theirs == card.action_meaning:
        return Check(name="meaning", said=f"actions are {theirs}")
    said = f"actions are {theirs}; the policy's are {card.action_meaning}; train it with this dataset's own"
    return Check(name="meaning", said=said, fault="action frame")
