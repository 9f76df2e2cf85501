"""What a dataset holds, told in numbers and on a contact sheet."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8

from maquette.core.errors import UserError
from maquette.core.media import contact_sheet
from maquette.robotics.datasets import statistics
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset, Episode
from maquette.robotics.datasets.validation import validate

BINS = 10
STILL = 1e-3
"""Share of a number's spread (its 1 % to 99 % quantiles) that counts as no change."""
ROWS, PICTURES = 6, 6
"""Of the contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A dataset's facts, its actions, and its faults in one sentence each."""

    facts: dict[str, Any]
    histograms: dict[str, tuple[int, ...]]
    """Of each number of the action over its range from least to most, in equal bins."""
    ranges: dict[str, tuple[float, float]]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def inspect_dataset(directory: Path) -> Inspection:
    """Read all of a dataset but most of its pixels; what is wrong with it is a problem, never an error."""
    faults = validate(directory)
    try:
        dataset = Dataset(directory)
        facts, actions = _facts(dataset), _actions(dataset)
        idle, twins = idle_frames(dataset), duplicates(dataset)
    except UserError as error:
        problems = faults.problems or (str(error),)
        return Inspection(facts={}, histograms={}, ranges={}, problems=problems, remarks=())
    facts["idle frames"] = f"{idle.sum()} of {len(idle)}, {idle.mean():.1%}"
    facts["duplicated episodes"] = ", ".join(f"{b} is {a}" for a, b in twins) or "none"
    return Inspection(
        facts=facts,
        histograms={
            name: tuple(np.histogram(values, BINS, (values.min(), values.max()))[0].tolist())
            for name, values in actions.items()
        },
        ranges={name: (float(values.min()), float(values.max())) for name, values in actions.items()},
        problems=faults.problems,
        remarks=faults.remarks,
    )


def idle_frames(dataset: Dataset) -> Bool[np.ndarray, " frames"]:
    """Frames whose action repeats the last one and after which nothing that the robot feels has changed.

    So it holds for velocities and for positions; the first frame of an episode is never idle.
    """
    still = _unchanged(dataset.numbers(ACTION), after=False)
    if STATE in dataset.info.features:
        still &= _unchanged(dataset.numbers(STATE), after=True)
    for episode in dataset.episodes:
        still[episode.first] = False
    return still


def duplicates(dataset: Dataset) -> list[tuple[int, int]]:
    """Pairs of episodes with the same states and actions to the bit: the first of them, and each other."""
    names = [name for name in (STATE, ACTION) if name in dataset.info.features]
    seen: dict[bytes, int] = {}
    pairs = []
    for episode in dataset.episodes:
        content = b"".join(np.ascontiguousarray(dataset.numbers(name)[episode.frames]).tobytes() for name in names)
        first = seen.setdefault(hashlib.sha256(content).digest(), episode.number)
        if first != episode.number:
            pairs.append((first, episode.number))
    return pairs


def sheet(dataset: Dataset) -> UInt8[np.ndarray, "height width 3"]:
    """Some episodes, evenly chosen, with pictures of the first camera from beginning to end.

    Raises:
        UserError: it has no camera, or its pictures cannot be read.
    """
    if not dataset.info.cameras:
        raise UserError(f"{dataset.directory} has no camera, so there is nothing to show.")
    chosen = [dataset.episodes[i] for i in _evenly(len(dataset.episodes), ROWS)]
    camera = dataset.info.cameras[0]
    rows = [dataset.pictures(camera, one)[_evenly(one.length, PICTURES)] for one in chosen]
    scale = max(1, 128 // rows[0].shape[2])
    return contact_sheet(rows, [_label(one) for one in chosen], scale=scale)


def _facts(dataset: Dataset) -> dict[str, Any]:
    info = dataset.info
    lengths = np.array([episode.length for episode in dataset.episodes])
    said = Counter(task for episode in dataset.episodes for task in episode.tasks)
    facts: dict[str, Any] = {
        "robot": info.robot_type or "not named",
        "episodes": len(lengths),
        "frames": int(lengths.sum()),
        "frames a second": info.fps,
        "lengths": f"{lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}",
        "seconds": round(float(lengths.sum() / info.fps), 1),
        "tasks": f"{len(said)}, such as {said.most_common(1)[0][0]!r}" if said else "none",
    }
    for name, feature in info.features.items():
        if name.startswith("observation.") or name == ACTION:
            facts[name] = f"{feature.dtype} {feature.shape}"
    return facts


def _actions(dataset: Dataset) -> dict[str, Num[np.ndarray, " frames"]]:
    feature = dataset.info.features.get(ACTION)
    if feature is None:
        raise UserError(f"{dataset.directory} has no feature {ACTION}; without it there is nothing to learn.")
    values = dataset.numbers(ACTION).reshape(-1, int(np.prod(feature.shape)))
    values = values[np.isfinite(values).all(axis=1)]
    names = feature.names if isinstance(feature.names, list) and len(feature.names) == values.shape[1] else None
    return {str(names[i]) if names else f"{ACTION} {i}": values[:, i] for i in range(values.shape[1])}


def _unchanged(values: Num[np.ndarray, "frames *shape"], *, after: bool) -> Bool[np.ndarray, " frames"]:
    """Whether each frame's numbers are as the next frame's, or as the last one's."""
    found = statistics.of_numbers(values)
    little = STILL * (found["q99"] - found["q01"])
    same = (np.abs(np.diff(values.astype(np.float64), axis=0)) <= little).reshape(len(values) - 1, -1).all(axis=1)
    return np.append(same, False) if after else np.append(False, same)


def _evenly(count: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _label(episode: Episode) -> str:
    return f"episode {episode.number}, {episode.length} frames: {'; '.join(episode.tasks)}"
