"""What a LeRobotDataset says of itself (`meta/info.json`), and where its files lie; version 3.0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import read_json

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEOS = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

NUMBERS = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
PICTURES = ("image", "video")
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One kind of thing that is recorded at every frame."""

    dtype: str
    """A NumPy name, "string", "image" (a PNG a frame) or "video" (a file for many episodes)."""
    shape: tuple[int, ...]
    names: Any = None
    """What the numbers of an axis, or the axes of a picture, are called."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Of a video: its codec, size and rate."""

    @property
    def is_picture(self) -> bool:
        """Whether it is what a camera saw."""
        return self.dtype in PICTURES

    @property
    def is_number(self) -> bool:
        """Whether it has statistics of its own."""
        return self.dtype in NUMBERS

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture; some datasets name the channels first."""
        first = str(self.names[0]) if isinstance(self.names, list | tuple) and self.names else ""
        return self.shape[1:] if first.startswith("channel") else self.shape[:2]  # type: ignore[return-value]

    def as_json(self) -> dict[str, Any]:
        """As info.json has it."""
        names = list(self.names) if isinstance(self.names, tuple) else self.names
        plain = {"dtype": self.dtype, "shape": list(self.shape), "names": names}
        return plain | ({"info": dict(self.info)} if self.info else {})


BOOKKEEPING: dict[str, Feature] = {
    "timestamp": Feature(dtype="float32", shape=(1,)),
    **{name: Feature(dtype="int64", shape=(1,)) for name in ("frame_index", "episode_index", "index", "task_index")},
}
"""What every dataset has; writers fill it in themselves."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """A dataset's own description."""

    fps: int
    features: Mapping[str, Feature]
    """In their order, those of `BOOKKEEPING` too."""
    robot_type: str | None = None
    episodes: int = 0
    frames: int = 0
    tasks: int = 0
    data_path: str = DATA
    video_path: str | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Features that are pictures."""
        return tuple(name for name, feature in self.features.items() if feature.is_picture)

    def as_json(self, *, chunks_size: int, data_mb: int, video_mb: int) -> dict[str, Any]:
        """The contents of info.json."""
        return {
            "codebase_version": VERSION,
            "robot_type": self.robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": self.tasks,
            "chunks_size": chunks_size,
            "data_files_size_in_mb": data_mb,
            "video_files_size_in_mb": video_mb,
            "fps": self.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": self.data_path,
            "video_path": self.video_path,
            "features": {name: feature.as_json() for name, feature in self.features.items()},
        }


def checked_feature(name: str, feature: Feature, where: str) -> Feature:
    """A feature that this package can read and write.

    Raises:
        UserError: its type is unknown, its shape impossible, or its name would break paths and columns.
    """
    if not name or "/" in name:
        raise UserError(f"{where}: a feature cannot be called {name!r}; give a name without a slash.")
    if feature.dtype not in (*NUMBERS, *PICTURES, "string"):
        raise UserError(
            f"{where}: the feature {name} has the unknown type {feature.dtype!r}; "
            "give a NumPy type's name, string, image or video."
        )
    if not feature.shape or min(feature.shape) < 1:
        raise UserError(f"{where}: the feature {name} has the shape {feature.shape}; give sizes of 1 or more.")
    if feature.is_picture and (len(feature.shape) != 3 or 3 not in (feature.shape[0], feature.shape[2])):
        raise UserError(f"{where}: the pictures {name} have the shape {feature.shape}; give (height, width, 3).")
    return feature


def read_info(directory: Path) -> Info:
    """A dataset's description.

    Raises:
        UserError: there is none, it is of another version, or something in it is missing or impossible.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is no folder; give the folder of a LeRobot dataset.")
    path = directory / INFO
    if not path.exists():
        raise UserError(f"{directory} has no {INFO}; give the folder of a LeRobot dataset.")
    raw = read_json(path)
    if not isinstance(raw, dict) or (version := raw.get("codebase_version")) is None:
        raise UserError(f"{path} names no codebase_version; it describes no LeRobot dataset.")
    if version != VERSION:
        raise UserError(
            f"{path}: codebase_version is {version}, and only {VERSION} is read here; convert it with lerobot's "
            "convert_dataset_v21_to_v30."
        )
    fps = raw.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or fps != int(fps) or fps < 1:
        raise UserError(f"{path}: fps is {fps!r}; it must be a whole number of at least 1.")
    if not isinstance(raw.get("features"), dict):
        raise UserError(f"{path} lists no features; restore it from a copy.")
    features = {name: _feature(name, one, path) for name, one in raw["features"].items()}
    if missing := [name for name in BOOKKEEPING if name not in features]:
        raise UserError(f"{path}: the feature {missing[0]} is missing; every dataset has it.")
    return Info(
        fps=int(fps),
        features=features,
        robot_type=raw.get("robot_type"),
        data_path=raw.get("data_path") or DATA,
        video_path=raw.get("video_path"),
        episodes=_total("episodes", raw, path),
        frames=_total("frames", raw, path),
        tasks=_total("tasks", raw, path),
    )


def _total(name: str, raw: Mapping[str, Any], path: Path) -> int:
    count = raw.get(f"total_{name}")
    if not isinstance(count, int) or count < 0:
        raise UserError(f"{path}: total_{name} is {count!r}; it must be a whole number.")
    return count


def _feature(name: str, raw: Any, path: Path) -> Feature:
    try:
        feature = Feature(
            dtype=str(raw["dtype"]),
            shape=tuple(int(n) for n in raw["shape"]),
            names=raw.get("names"),
            info=raw.get("info") or raw.get("video_info") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: the feature {name} has no proper dtype and shape; restore it.") from error
    return checked_feature(name, feature, str(path))
