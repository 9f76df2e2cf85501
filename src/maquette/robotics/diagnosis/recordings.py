"""What a dataset's own numbers and pictures give away, whatever world they come from."""

import itertools

import numpy as np
from jaxtyping import Float

from maquette.robotics.datasets import statistics
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.deployment import Card
from maquette.robotics.diagnosis.findings import LONGEST_DELAY, Check, shifted
from maquette.robotics.normalisation import Normaliser, normaliser

OFF = 0.25
"""Of a spread, by which a mean or an extreme may be off; a scale, by which share."""
EXPLAINED, MORE = 0.6, 0.1
"""Of the state's motion by the actions at some delay; and how much more than at none."""
ENOUGH_STEPS = 50
"""From one state to the next, for each delay that is tried."""


def check_stored_statistics(dataset: Dataset) -> Check:
    """Whether meta/stats.json is of these numbers; others' trainers normalise with it."""
    worst, where = 0.0, ""
    for name in (STATE, ACTION):
        stored, exact = dataset.stored_statistics.get(name, {}), statistics.of_numbers(dataset.numbers(name))
        spread = np.maximum(exact["max"] - exact["min"], 1e-6)
        for key in ("mean", "std", "min", "max"):
            if key in stored and stored[key].size == exact[key].size:
                off = float((np.abs(stored[key].reshape(exact[key].shape) - exact[key]) / spread).max())
                worst, where = max((worst, where), (off, f"{key} of {name}"))
    numbers = {"off": worst}
    if worst <= OFF:
        return Check(name="statistics", said=f"meta/stats.json is off by {worst:.2g} ranges at most", numbers=numbers)
    said = f"the {where} in meta/stats.json is off by {worst:.2g} of its range; write the statistics anew"
    return Check(name="statistics", said=said, fault="statistics", numbers=numbers)


def check_normalisation(dataset: Dataset, card: Card) -> Check:
    """Whether the policy's numbers are normalised as the dataset's own would be."""
    worst, where = 0.0, ""
    for name, ours in ((STATE, card.state), (ACTION, card.action)):
        off = _apart(ours, normaliser(ours.kind, dataset.numbers(name)))
        worst, where = max((worst, where), (off, name))
    numbers = {"off": worst}
    if worst <= np.log(2):
        said = f"the policy's are the dataset's, to {worst:.2g}"
        return Check(name="normalisation", said=said, numbers=numbers)
    said = f"the policy normalises {where} with other statistics than the dataset's; train it with this dataset's own"
    return Check(name="normalisation", said=said, fault="statistics", numbers=numbers)


def _apart(ours: Normaliser, theirs: Normaliser) -> float:
    """The most by which a centre is off, in scales, or a scale by its logarithm."""
    centre, scale = (np.array([getattr(one, name) for one in (ours, theirs)]) for name in ("centre", "scale"))
    return float(max(np.abs(np.log(scale[0] / scale[1])).max(), (np.abs(centre[0] - centre[1]) / scale[1]).max()))


def check_motion(dataset: Dataset) -> Check:
    """Whether the robot moves before it is told to, which no robot does: its actions were recorded late.

    The state's changes are explained by the actions of each delay and the state itself, so that velocities and
    positions are both found. That a robot moves some time after it is told is as it should be.
    """
    steps = [sum(max(0, one.length - 1 - k) for one in dataset.episodes) for k in range(LONGEST_DELAY + 1)]
    if steps[0] < ENOUGH_STEPS:
        return Check(name="motion", said=f"not tried: {steps[0]} steps are too few", tried=False)
    shares = {k: explained(dataset, k) for k, left in enumerate(steps) if left >= ENOUGH_STEPS}
    best = max(shares, key=lambda k: shares[k])
    numbers = {"explained": shares[0], "explained_when_undone": shares[best]}
    if best and shares[best] > EXPLAINED and shares[best] - shares[0] > MORE:
        said = (
            f"the state moves {best} steps before its action: {shares[best]:.0%} of its motion is explained so, "
            f"{shares[0]:.0%} as recorded; move the actions back by {best}"
        )
        return Check(name="motion", said=said, fault="delay", numbers=numbers)
    said = f"actions explain {shares[0]:.0%} of the motion that follows them, and no later action explains it better"
    return Check(name="motion", said=said, numbers=numbers)


def explained(dataset: Dataset, k: int) -> float:
    """The share of the state's changes that the actions k steps later explain linearly, beside the state."""
    known, changes = [], []
    for one in dataset.episodes:
        state = dataset.numbers(STATE)[one.frames].astype(np.float64)
        action = shifted(dataset.numbers(ACTION)[one.frames].astype(np.float64), k)
        known.append(np.hstack((action, state, np.ones((len(state), 1))))[: max(0, len(state) - 1 - k)])
        changes.append(np.diff(state, axis=0)[: max(0, len(state) - 1 - k)])
    x, y = np.concatenate(known), np.concatenate(changes)
    y = (y - y.mean(0)) / np.maximum(y.std(0), 1e-9)
    left: Float[np.ndarray, "frames s"] = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - left.var() / max(y.var(), 1e-9))


def check_cameras(dataset: Dataset) -> Check:
    """Whether two cameras change places in some episodes: then each looks like the other's usual picture."""
    sizes = {camera: dataset.info.features[camera].size for camera in dataset.info.cameras}
    pairs = [(a, b) for a, b in itertools.combinations(sizes, 2) if sizes[a] == sizes[b]]
    if not pairs or len(dataset.episodes) < 3:
        said = "not tried: it takes two cameras of one size, and three episodes"
        return Check(name="cameras", said=said, tried=False)
    means = {
        camera: np.stack([dataset.pictures(camera, one).mean(0) for one in dataset.episodes])
        for camera in {name for pair in pairs for name in pair}
    }
    usual = {camera: np.median(pictures, axis=0) for camera, pictures in means.items()}

    def far(camera: str, other: str) -> Float[np.ndarray, " episodes"]:
        return np.abs(means[camera] - usual[other]).mean((1, 2, 3))

    for a, b in pairs:
        straight, crossed = far(a, a) + far(b, b), far(a, b) + far(b, a)
        if (swapped := np.flatnonzero(crossed < 0.5 * straight)).size:
            said = f"{a} and {b} are exchanged in episode {swapped[0]}, and in {len(swapped)} in all; exchange them"
            return Check(name="cameras", said=said, fault="camera", numbers={"episodes": len(swapped)})
    return Check(name="cameras", said="each camera shows the same place in every episode")
