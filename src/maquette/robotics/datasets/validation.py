"""What is wrong with a dataset, each fault in one sentence; and what is only imprecise."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError
from maquette.robotics.datasets import statistics
from maquette.robotics.datasets.layout import ACTION, STATS
from maquette.robotics.datasets.reader import Dataset, columns_of
from maquette.robotics.datasets.videos import count_frames, describe

TOLERANCE = 1e-4
"""Seconds by which a timestamp may differ from its frame's, LeRobot's own bound."""
ROUNDING = 1e-4
"""By how much of a feature's spread stored statistics may differ from exact ones."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What was found."""

    problems: tuple[str, ...]
    """Training on it would fail or learn nonsense."""
    remarks: tuple[str, ...]
    """Such as quantiles that are none; training here computes its own."""

    def first(self, directory: Path) -> str:
        """The first problem, and where the others are told."""
        more = len(self.problems) - 1
        return self.problems[0] + (f" ({more} more: maquette inspect {directory})" if more else "")


def validate(directory: Path) -> Faults:
    """Read all of a dataset but the pixels; faults are found, never raised."""
    try:
        dataset = Dataset(directory)
    except UserError as error:
        return Faults(problems=(str(error),), remarks=())
    problems = [
        *_of_episodes(dataset),
        *_of_columns(dataset),
        *_of_numbers(dataset),
        *_of_videos(dataset),
        *_of_images(dataset),
    ]
    return Faults(problems=tuple(problems), remarks=() if problems else tuple(_of_statistics(dataset)))


def _of_episodes(dataset: Dataset) -> Iterator[str]:
    """Numbered from 0, one behind the other, and as many as info.json says."""
    info, place = dataset.info, 0
    for number, episode in enumerate(dataset.episodes):
        if episode.number != number:
            yield f"episode_index {number} is missing from meta/episodes; episodes are numbered from 0 without gaps."
            return
        if episode.first != place or episode.length < 1:
            yield f"episode {number} has {episode.length} frames from {episode.first} on; it should begin at {place}."
            return
        if unknown := set(episode.tasks) - set(dataset.tasks):
            yield f"episode {number} names the task {min(unknown)!r}, which meta/tasks.parquet does not have."
        place += episode.length
    for name, said, found in (
        ("episodes", info.episodes, len(dataset.episodes)),
        ("frames", info.frames, place),
        ("tasks", info.tasks, len(dataset.tasks)),
    ):
        if said != found:
            yield f"info.json says total_{name} = {said}, but there are {found}."


def _of_columns(dataset: Dataset) -> Iterator[str]:
    """Exactly those that info.json announces; a video has none."""
    wanted = {name for name, feature in dataset.info.features.items() if feature.dtype != "video"}
    for path in dataset.data_files:
        try:
            found = set(columns_of(path))
        except UserError as error:
            yield str(error)
            continue
        yield from (f"{path} lacks the column {name} that info.json announces." for name in sorted(wanted - found))
        yield from (f"{path} has the unknown feature {name}; info.json does not." for name in sorted(found - wanted))


def _of_numbers(dataset: Dataset) -> Iterator[str]:
    """Shapes and types as announced, all finite, and the bookkeeping without a gap."""
    frames = sum(episode.length for episode in dataset.episodes)
    read = {}
    for name, feature in dataset.info.features.items():
        if feature.is_picture:
            continue
        try:
            values = read[name] = dataset.numbers(name)
        except UserError as error:
            yield str(error)
            continue
        if len(values) != frames:
            yield f"{name} has {len(values)} frames where the episodes have {frames}; frames are missing."
        elif feature.dtype != "string":
            if values.dtype != np.dtype(feature.dtype):
                yield f"{name} is stored as {values.dtype}, but info.json says {feature.dtype}."
            if values.dtype.kind == "f" and not (finite := np.isfinite(values).reshape(frames, -1).all(axis=1)).all():
                yield f"{name} is not finite at frame {finite.argmin()}, and at {(~finite).sum()} frames in all."
    if ACTION not in dataset.info.features:
        yield f"There is no feature {ACTION}; without it there is nothing to learn."
    if not {"index", "frame_index", "episode_index", "timestamp", "task_index"} <= read.keys():
        return
    steps = np.concatenate([np.arange(episode.length) for episode in dataset.episodes])
    owners = np.repeat([e.number for e in dataset.episodes], [e.length for e in dataset.episodes])
    for name, wanted in (("index", np.arange(frames)), ("frame_index", steps), ("episode_index", owners)):
        flat = read[name].reshape(-1)
        if len(flat) == frames and (wrong := flat != wanted).any():
            yield f"{name} is {flat[wrong.argmax()]} at frame {wrong.argmax()}; frames are missing."
    late = np.abs(read["timestamp"].reshape(-1)[:frames] - steps[: len(read["timestamp"])] / dataset.info.fps)
    # float32 itself is only so exact late in a long episode.
    if (bad := late > TOLERANCE + 1e-6 * steps[: len(late)] / dataset.info.fps).any():
        yield f"timestamp is off by {late.max():.4f} s at frame {bad.argmax()}: fps is not {dataset.info.fps}."
    if not ((read["task_index"] >= 0) & (read["task_index"] < len(dataset.tasks))).all():
        yield f"task_index reaches {read['task_index'].max()}, but there are {len(dataset.tasks)} tasks."


def _of_videos(dataset: Dataset) -> Iterator[str]:
    """Each file has the frames its episodes need, the announced size, and the dataset's rate."""
    needed: dict[Path, tuple[str, int]] = {}
    for episode in dataset.episodes:
        for camera, clip in episode.clips.items():
            end = max(clip.first + episode.length, needed.get(clip.path, (camera, 0))[1])
            needed[clip.path] = camera, end
    for path, (camera, frames) in needed.items():
        try:
            said, found = describe(path), count_frames(path)
        except UserError as error:
            yield str(error)
            continue
        if found < frames:
            yield f"{path} has {found} frames where its episodes need {frames}; frames are missing."
        if said["video.fps"] != dataset.info.fps:
            yield f"{path} has {said['video.fps']} frames a second, but info.json says fps = {dataset.info.fps}."
        if (size := (said["video.height"], said["video.width"])) != dataset.info.features[camera].size:
            yield f"{path} shows {size} pixels where info.json says {dataset.info.features[camera].size} of {camera}."


def _of_images(dataset: Dataset) -> Iterator[str]:
    """The first pictures of every camera: what all of them are like costs as much as training on them."""
    for camera in dataset.info.cameras:
        feature, first = dataset.info.features[camera], dataset.episodes[0]
        if feature.dtype != "image":
            continue
        try:
            pictures = dataset.pictures(camera, first)
        except UserError as error:
            yield str(error)
            continue
        if pictures.shape[1:3] != feature.size:
            yield f"{camera} shows {pictures.shape[1:3]} pixels where info.json says {feature.size}."


def _of_statistics(dataset: Dataset) -> Iterator[str]:
    """Where meta/stats.json differs from the exact numbers."""
    try:
        stored = dataset.stored_statistics
    except UserError as error:
        yield str(error)
        return
    for name, feature in dataset.info.features.items():
        if not feature.is_number or name not in stored:
            continue
        exact = statistics.of_numbers(dataset.numbers(name))
        spread = np.maximum(exact["max"] - exact["min"], 1e-12)
        off = [
            key
            for key, value in exact.items()
            if key in stored[name]
            and (np.abs(stored[name][key].reshape(value.shape) - value) > ROUNDING * spread).any()
        ]
        if off:
            yield f"{STATS}: {', '.join(off)} of {name} are not those of its numbers; training here computes its own."
