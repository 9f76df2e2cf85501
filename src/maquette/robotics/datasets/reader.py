"""Reads a LeRobotDataset v3.0, whoever wrote it."""

import bisect
import contextlib
import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import fingerprint, read_json, sha256
from maquette.robotics.datasets.columns import numbers_of, pictures_of
from maquette.robotics.datasets.layout import INFO, STATS, TASKS, Info, read_info
from maquette.robotics.datasets.statistics import Statistics
from maquette.robotics.datasets.videos import Frames, read_frames


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Where an episode lies in a video file, in whole frames."""

    path: Path
    first: int


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One row of the table of episodes."""

    number: int
    first: int
    """Its first frame's place in the dataset."""
    length: int
    tasks: tuple[str, ...]
    data: Path
    clips: Mapping[str, Clip]
    """By camera, for videos."""

    @property
    def frames(self) -> slice:
        """Its places in the dataset."""
        return slice(self.first, self.first + self.length)


class Dataset:
    """A dataset on disk: numbers are read whole and kept, pictures an episode at a time.

    Args:
        directory: the dataset's folder.

    Raises:
        UserError: it is not such a dataset, a file is missing or unreadable, or it holds no episodes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.info: Info = read_info(directory)
        self.tasks: tuple[str, ...] = _read_tasks(directory / TASKS)
        self.episodes: tuple[Episode, ...] = tuple(self._read_episodes())
        if not self.episodes:
            raise UserError(f"{directory} holds no episodes; record at least one.")

    @functools.cached_property
    def stored_statistics(self) -> dict[str, Statistics]:
        """What meta/stats.json says, which lerobot's own files have only roughly right."""
        raw = read_json(self.directory / STATS)
        return {name: {key: np.array(value) for key, value in one.items()} for name, one in raw.items()}

    @functools.cached_property
    def identity(self) -> str:
        """Changes with the data; for checkpoints to name what they learned from."""
        files = sorted({INFO, *(str(e.data.relative_to(self.directory)) for e in self.episodes)})
        return fingerprint({file: sha256(self.directory / file) for file in files})

    def numbers(self, name: str) -> np.ndarray:
        """A feature that is no picture, of all frames in their order: (frames, *shape).

        Raises:
            UserError: there is no such feature, or it cannot be read.
        """
        if name not in self._columns:
            feature = self.info.features.get(name)
            if feature is None or feature.is_picture:
                known = [n for n, f in self.info.features.items() if not f.is_picture]
                raise UserError(f"{self.directory} has no numbers {name!r}; {did_you_mean(name, known)}")
            parts = [numbers_of(self._column(path, name), feature, f"{path}: {name}") for path in self.data_files]
            self._columns[name] = np.concatenate(parts)
        return self._columns[name]

    def pictures(self, camera: str, episode: Episode) -> Frames:
        """What a camera saw in an episode.

        Raises:
            UserError: there is no such camera, or a frame is missing or unreadable.
        """
        if camera not in self.info.cameras:
            raise UserError(f"{self.directory} has no camera {camera!r}; {did_you_mean(camera, self.info.cameras)}")
        if (clip := episode.clips.get(camera)) is not None:
            return read_frames(clip.path, self.info.fps, clip.first, episode.length)
        parts = list(self._rows(episode, camera))
        if (there := sum(map(len, parts))) < episode.length:
            raise UserError(f"{episode.data}: episode {episode.number} has {there} of its {episode.length} frames.")
        return pictures_of(pa.chunked_array(parts), f"{episode.data}: {camera} of episode {episode.number}")

    @functools.cached_property
    def data_files(self) -> tuple[Path, ...]:
        """In the order of their frames."""
        return tuple(dict.fromkeys(episode.data for episode in self.episodes))

    @functools.cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {}

    def _column(self, path: Path, name: str) -> pa.ChunkedArray:
        if name not in columns_of(path):
            raise UserError(f"{path} lacks the column {name} that info.json announces; restore it.")
        return _read_table(path, [name])[name]

    def _rows(self, episode: Episode, name: str) -> Iterator[pa.Array]:
        """An episode's cells, from the row groups that hold them."""
        begin = episode.first - self._begins[episode.data]
        with _reading(episode.data):
            metadata, edges = self._row_groups(episode.data)
            file, end = pq.ParquetFile(episode.data, metadata=metadata), begin + episode.length
            last = min(metadata.num_row_groups, bisect.bisect_left(edges, end))
            for group in range(max(0, bisect.bisect_right(edges, begin) - 1), last):
                low, high = max(begin, edges[group]), min(end, edges[group + 1])
                if low < high:
                    rows = file.read_row_group(group, [name])[name]
                    yield from rows.slice(low - edges[group], high - low).chunks

    @functools.cached_property
    def _begins(self) -> dict[Path, int]:
        """The first frame of every data file."""
        return {episode.data: episode.first for episode in reversed(self.episodes)}

    def _row_groups(self, path: Path) -> tuple[pq.FileMetaData, list[int]]:
        """A data file's metadata, kept, because with many row groups they take long to read; and its groups' edges."""
        if path not in self._known_row_groups:
            metadata = pq.read_metadata(path)
            counts = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
            self._known_row_groups[path] = metadata, [0, *itertools.accumulate(counts)]
        return self._known_row_groups[path]

    @functools.cached_property
    def _known_row_groups(self) -> dict[Path, tuple[pq.FileMetaData, list[int]]]:
        return {}

    def _read_episodes(self) -> Iterator[Episode]:
        files = sorted((self.directory / "meta" / "episodes").glob("*/*.parquet"))
        if not files and self.info.episodes:
            raise UserError(f"{self.directory} has no table in meta/episodes; restore it from a copy.")
        names = columns_of(files[0]) if files else []
        wanted = [name for name in names if not name.startswith("stats/")]
        rows = [row for path in files for row in _read_table(path, wanted).to_pylist()]
        for row in sorted(rows, key=lambda row: row["episode_index"]):
            try:
                yield self._episode(row)
            except (KeyError, TypeError) as error:
                raise UserError(f"{files[0]}: an episode lacks {error}; restore the table from a copy.") from error

    def _episode(self, row: Mapping[str, Any]) -> Episode:
        clips = {}
        for camera in self.info.cameras:
            if self.info.features[camera].dtype != "video":
                continue
            place = {key: row[f"videos/{camera}/{key}"] for key in ("chunk_index", "file_index")}
            path = self.directory / str(self.info.video_path).format(video_key=camera, **place)
            clips[camera] = Clip(path=path, first=round(row[f"videos/{camera}/from_timestamp"] * self.info.fps))
        place = {key: row[f"data/{key}"] for key in ("chunk_index", "file_index")}
        return Episode(
            number=row["episode_index"],
            first=row["dataset_from_index"],
            length=row["dataset_to_index"] - row["dataset_from_index"],
            tasks=tuple(row["tasks"]),
            data=self.directory / self.info.data_path.format(**place),
            clips=clips,
        )


def _read_tasks(path: Path) -> tuple[str, ...]:
    """Sentences by their number; they are the index of a pandas frame, whose column is named in the metadata."""
    table = _read_table(path, None)
    described = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in described.get("index_columns", []) if isinstance(name, str)]
    column = next((name for name in [*index, "task", "__index_level_0__"] if name in table.column_names), None)
    if column is None or "task_index" not in table.column_names:
        raise UserError(f"{path} has no column of tasks and their numbers; restore it from a copy.")
    return tuple(
        sentence for _, sentence in sorted(zip(table["task_index"].to_pylist(), table[column].to_pylist(), strict=True))
    )


def columns_of(path: Path) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        UserError: it is missing or unreadable.
    """
    with _reading(path):
        return pq.read_schema(path).names


def _read_table(path: Path, columns: list[str] | None) -> pa.Table:
    with _reading(path):
        return pq.read_table(path, columns=columns, partitioning=None)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.exists():
        raise UserError(f"{path} is missing; restore it from a copy.")
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}); restore it from a copy.") from error
