"""A dataset in the older layout, v2.1: a file an episode. openpi reads that one."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maquette.core.errors import UserError
from maquette.core.files import as_user_error, write_json, write_text
from maquette.robotics.datasets import statistics
from maquette.robotics.datasets.columns import as_column, as_pngs
from maquette.robotics.datasets.layout import INFO
from maquette.robotics.datasets.reader import Dataset, Episode
from maquette.robotics.datasets.videos import cut

CHUNKS_SIZE = 1000
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEOS = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
OLDER = ("min", "max", "mean", "std", "count")
"""The statistics that v2.1 has."""


def export(dataset: Dataset, directory: Path) -> None:
    """Write `dataset` to `directory` as LeRobotDataset v2.1; videos are cut, not compressed again, where that can be.

    Raises:
        UserError: the directory is taken, or something of the dataset cannot be read.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} exists already; give a new folder, or delete that one.")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}.", suffix=".part"))
    except OSError as error:
        raise as_user_error(error, directory) from error
    try:
        _write(dataset, part)
        part.chmod(0o755)
        part.replace(directory)
    except OSError as error:
        raise as_user_error(error, directory) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(dataset: Dataset, part: Path) -> None:
    info = dataset.info
    videos = [camera for camera in info.cameras if info.features[camera].dtype == "video"]
    lines: dict[str, list[Any]] = {"episodes": [], "episodes_stats": []}
    for episode in dataset.episodes:
        place = {"episode_chunk": episode.number // CHUNKS_SIZE, "episode_index": episode.number}
        stats = _write_episode(dataset, episode, part / DATA.format(**place))
        for camera in videos:
            clip = episode.clips[camera]
            path = part / VIDEOS.format(video_key=camera, **place)
            cut(clip.path, path, info.fps, clip.first, episode.length)
        lines["episodes"].append(
            {"episode_index": episode.number, "tasks": list(episode.tasks), "length": episode.length}
        )
        lines["episodes_stats"].append({"episode_index": episode.number, "stats": stats})
    lines["tasks"] = [{"task_index": number, "task": task} for number, task in enumerate(dataset.tasks)]
    for name, rows in lines.items():
        write_text(part / "meta" / f"{name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    raw = info.as_json(chunks_size=CHUNKS_SIZE, data_mb=0, video_mb=0)
    del raw["data_files_size_in_mb"], raw["video_files_size_in_mb"]
    raw |= {
        "codebase_version": "v2.1",
        "total_videos": len(videos) * info.episodes,
        "total_chunks": -(-info.episodes // CHUNKS_SIZE),
        "data_path": DATA,
        "video_path": VIDEOS if videos else None,
    }
    write_json(part / INFO, raw)


def _write_episode(dataset: Dataset, episode: Episode, path: Path) -> dict[str, dict[str, Any]]:
    """Its table; its statistics."""
    columns, stats = {}, {}
    for name, feature in dataset.info.features.items():
        if feature.is_picture:
            pictures = dataset.pictures(name, episode)
            stats[name] = statistics.of_pixels(statistics.count_pixels(pictures), episode.length)
            if feature.dtype == "image":
                columns[name] = as_pngs(pictures)
            continue
        values = dataset.numbers(name)[episode.frames]
        columns[name] = as_column(values, feature)
        if feature.is_number:
            stats[name] = statistics.of_numbers(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="snappy")
    return {name: {key: np.asarray(one[key]).tolist() for key in OLDER} for name, one in stats.items()}
