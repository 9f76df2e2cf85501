"""Writes a LeRobotDataset v3.0, which stands in its place when it is whole and not before."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maquette.core.errors import UserError
from maquette.core.files import as_user_error, write_json
from maquette.robotics.datasets import statistics
from maquette.robotics.datasets.columns import as_column, as_pngs, checked_frames
from maquette.robotics.datasets.layout import (
    BOOKKEEPING,
    DATA,
    EPISODES,
    INFO,
    STATS,
    TASKS,
    VIDEOS,
    Feature,
    Info,
    checked_feature,
)
from maquette.robotics.datasets.videos import Codec, VideoFile, describe

CHUNKS_SIZE, DATA_MB, VIDEO_MB = 1000, 100, 200
"""Files in a folder, and sizes from which the next episode begins a new file: LeRobot's own defaults."""


class DatasetWriter:
    """Adds episodes to a new dataset; leaving its `with` block finishes it, leaving by an exception leaves nothing.

    Args:
        directory: must not exist yet, or be empty.
        fps: frames a second.
        features: what is recorded at every frame; `layout.BOOKKEEPING` is added.
        robot_type: what did it.
        codec: of videos.
        data_mb: size from which the next episode begins a new data file.
        video_mb: the same for videos.

    Raises:
        UserError: the directory is taken, or a feature cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        *,
        fps: int,
        features: Mapping[str, Feature],
        robot_type: str | None = None,
        codec: Codec = "h264",
        data_mb: int = DATA_MB,
        video_mb: int = VIDEO_MB,
    ) -> None:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UserError(f"{directory} exists already; give a new folder, or delete that one.")
        if fps < 1:
            raise UserError(f"fps = {fps} must be a whole number of at least 1.")
        for name, feature in features.items():
            checked_feature(name, feature, "features")
            if name in BOOKKEEPING:
                raise UserError(f"features: {name} is filled in by the writer; leave it out.")
        self.directory, self.codec, self.data_mb, self.video_mb = directory, codec, data_mb, video_mb
        self.info = Info(
            fps=fps,
            robot_type=robot_type,
            features=dict(features) | BOOKKEEPING,
            video_path=VIDEOS if any(feature.dtype == "video" for feature in features.values()) else None,
        )
        self._own = dict(features)
        self._numbers: dict[str, list[np.ndarray]] = {n: [] for n, f in self.info.features.items() if f.is_number}
        self._pixels = {name: np.zeros((3, 256), np.int64) for name in self.info.cameras}
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._frames = 0
        self._data: pq.ParquetWriter | None = None
        self._data_number, self._data_bytes = -1, 0
        self._videos: dict[str, tuple[int, VideoFile]] = {}

    def __enter__(self) -> Self:
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self.part = Path(
                tempfile.mkdtemp(dir=self.directory.parent, prefix=f".{self.directory.name}.", suffix=".part")
            )
        except OSError as error:
            raise as_user_error(error, self.directory) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close_files()
            if kind is None:
                self._finish()
                self.part.chmod(0o755)
                self.part.replace(self.directory)
        except OSError as refused:
            raise as_user_error(refused, self.directory) from refused
        finally:
            shutil.rmtree(self.part, ignore_errors=True)

    def add_episode(self, frames: Mapping[str, Any], task: str | Sequence[str]) -> None:
        """Append an episode.

        Args:
            frames: for every feature an array with an axis of frames in front; pictures are uint8.
            task: what was to be done; one sentence, or one a frame.

        Raises:
            UserError: a feature is missing, unknown, of another shape or length, or not finite.
        """
        number = len(self._episodes)
        arrays, length = checked_frames(frames, self._own, f"episode {number}")
        tasks = [task] * length if isinstance(task, str) else list(task)
        if len(tasks) != length or not all(tasks):
            raise UserError(
                f"episode {number} has {len(tasks)} tasks for {length} frames; give one sentence, or one each."
            )
        for sentence in tasks:
            self._tasks.setdefault(sentence, len(self._tasks))
        steps = np.arange(length)
        arrays |= {
            "timestamp": (steps / self.info.fps).astype(np.float32)[:, None],
            "frame_index": steps[:, None],
            "episode_index": np.full((length, 1), number),
            "index": self._frames + steps[:, None],
            "task_index": np.array([self._tasks[sentence] for sentence in tasks])[:, None],
        }
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": list(dict.fromkeys(tasks)),
            "length": length,
            **self._write_data(arrays),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for name, feature in self._own.items():
            if feature.dtype == "video":
                row |= self._write_video(name, arrays[name])
        self._episodes.append(row | self._take_statistics(arrays, length))
        self._frames += length

    def _write_data(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """A row group for the episode; which file it is in."""
        columns = {
            name: as_pngs(arrays[name]) if feature.dtype == "image" else as_column(arrays[name], feature)
            for name, feature in self.info.features.items()
            if feature.dtype != "video"
        }
        table = pa.table(columns)
        if self._data is None or self._data_bytes >= self.data_mb * 2**20:
            if self._data is not None:
                self._data.close()
            self._data_number, self._data_bytes = self._data_number + 1, 0
            path = self.part / DATA.format(**_place(self._data_number))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._data.write_table(table, row_group_size=len(table))
        self._data_bytes += table.nbytes
        return {f"data/{key}": value for key, value in _place(self._data_number).items()}

    def _write_video(self, name: str, frames: np.ndarray) -> dict[str, Any]:
        number, file = self._videos.get(name, (-1, None))
        if file is None or file.bytes >= self.video_mb * 2**20:
            if file is not None:
                file.close()
            number += 1
            file = VideoFile(self.part / VIDEOS.format(video_key=name, **_place(number)), self.info.fps, self.codec)
            self._videos[name] = number, file
        first = file.add(frames)
        place: dict[str, Any] = dict(_place(number))
        place |= {"from_timestamp": first / self.info.fps, "to_timestamp": file.frames / self.info.fps}
        return {f"videos/{name}/{key}": value for key, value in place.items()}

    def _take_statistics(self, arrays: Mapping[str, np.ndarray], length: int) -> dict[str, Any]:
        """Of the episode, flattened; the whole dataset's are computed at the end from what is kept here."""
        found = {}
        for name, kept in self._numbers.items():
            kept.append(arrays[name])
            found[name] = statistics.of_numbers(arrays[name])
        for name, kept in self._pixels.items():
            histogram = statistics.count_pixels(arrays[name])
            kept += histogram
            found[name] = statistics.of_pixels(histogram, length)
        return {f"stats/{name}/{key}": value.tolist() for name, one in found.items() for key, value in one.items()}

    def _close_files(self) -> None:
        if self._data is not None:
            self._data.close()
        for _, file in self._videos.values():
            file.close()

    def _finish(self) -> None:
        if not self._episodes:
            raise UserError(f"{self.directory} would hold no episodes; add at least one.")
        features = dict(self.info.features)
        for name in self._videos:
            first = self.part / VIDEOS.format(video_key=name, **_place(0))
            features[name] = replace(features[name], info=describe(first))
        self.info = replace(
            self.info, features=features, episodes=len(self._episodes), frames=self._frames, tasks=len(self._tasks)
        )
        path = self.part / EPISODES.format(**_place(0))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path, compression="snappy")
        pq.write_table(_tasks_table(list(self._tasks)), self.part / TASKS, compression="snappy")
        whole = {name: statistics.of_numbers(np.concatenate(kept)) for name, kept in self._numbers.items()}
        whole |= {name: statistics.of_pixels(kept, self._frames) for name, kept in self._pixels.items()}
        write_json(
            self.part / STATS,
            {name: {key: value.tolist() for key, value in one.items()} for name, one in whole.items()},
        )
        sizes = {"chunks_size": CHUNKS_SIZE, "data_mb": self.data_mb, "video_mb": self.video_mb}
        write_json(self.part / INFO, self.info.as_json(**sizes))


def _place(number: int) -> dict[str, int]:
    """Folder and file of a running number."""
    return {"chunk_index": number // CHUNKS_SIZE, "file_index": number % CHUNKS_SIZE}


def _tasks_table(tasks: list[str]) -> pa.Table:
    """Sentences as the index of a pandas frame, because lerobot looks them up there and else says 0 for a task."""
    index = "__index_level_0__"
    described = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"},
    ]
    pandas = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [one | {"metadata": None} for one in described],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
