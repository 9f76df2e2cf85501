"""LeRobot datasets: what is written is read again, statistics are exact, and every planted fault is found."""

import json
import shutil
from contextlib import suppress

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maquette.core.errors import UserError
from maquette.robotics.datasets import statistics
from maquette.robotics.datasets.export import export
from maquette.robotics.datasets.inspection import duplicates, idle_frames, inspect_dataset, sheet
from maquette.robotics.datasets.layout import ACTION, STATE, Feature
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.datasets.validation import validate
from maquette.robotics.datasets.videos import count_frames
from maquette.robotics.datasets.writer import DatasetWriter

FEATURES = {
    STATE: Feature(dtype="float32", shape=(3,), names=["x", "y", "grip"]),
    ACTION: Feature(dtype="float32", shape=(2,), names=["x", "y"]),
    "observation.images.top": Feature(dtype="image", shape=(16, 24, 3)),
    "observation.images.wrist": Feature(dtype="video", shape=(16, 16, 3)),
    "touch": Feature(dtype="int64", shape=(2, 3)),
    "note": Feature(dtype="string", shape=(1,)),
    "next.done": Feature(dtype="bool", shape=(1,)),
}
LENGTHS, FPS = (7, 5, 9), 30


def an_episode(length, seed, features=FEATURES):
    rng = np.random.default_rng(seed)
    smooth = np.linspace(0, 200, 16)[:, None] + np.linspace(0, 50, 16)[None] + 5 * np.arange(length)[:, None, None] / 9
    made = {
        STATE: rng.normal(size=(length, 3)),
        ACTION: rng.normal(size=(length, 2)),
        "observation.images.top": rng.integers(0, 256, (length, 16, 24, 3), dtype=np.uint8),
        "observation.images.wrist": (np.repeat(smooth[..., None], 3, -1) + seed).clip(0, 255).astype(np.uint8),
        "touch": rng.integers(-9, 9, (length, 2, 3)),
        "note": np.array([f"frame {i}" for i in range(length)]),
        "next.done": np.arange(length) == length - 1,
    }
    return {name: made[name] for name in features}


def write(directory, lengths=LENGTHS, features=FEATURES, fps=FPS, **options):
    episodes = [an_episode(length, seed, features) for seed, length in enumerate(lengths)]
    with DatasetWriter(directory, fps=fps, features=features, robot_type="toy", **options) as writer:
        for seed, episode in enumerate(episodes):
            writer.add_episode(episode, f"task {seed % 2}")
    return episodes


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Written once, for tests to copy."""
    directory = tmp_path_factory.mktemp("written") / "data"
    write(directory)
    return directory


@pytest.fixture
def dataset(written):
    return Dataset(written)


# ---- round trip


@pytest.mark.parametrize("options", [{}, {"data_mb": 0, "video_mb": 0}], ids=["one file", "a file an episode"])
def test_what_is_written_is_read_again(tmp_path, options):
    episodes = write(tmp_path / "data", **options)
    dataset = Dataset(tmp_path / "data")
    assert [e.length for e in dataset.episodes] == list(LENGTHS)
    assert dataset.tasks == ("task 0", "task 1")
    assert [e.tasks for e in dataset.episodes] == [("task 0",), ("task 1",), ("task 0",)]
    assert len(dataset.data_files) == (1 if not options else 3)
    for name in (STATE, ACTION, "touch", "note", "next.done"):
        wanted = np.concatenate([episode[name].reshape(len(episode[name]), -1) for episode in episodes])
        found = dataset.numbers(name)
        assert found.shape == (21, *FEATURES[name].shape) or name == "note"
        assert (found.reshape(21, -1) == wanted.astype(found.dtype)).all(), name
    for episode, said in zip(dataset.episodes, episodes, strict=True):
        assert (dataset.pictures("observation.images.top", episode) == said["observation.images.top"]).all()
        video = dataset.pictures("observation.images.wrist", episode).astype(int)
        assert np.abs(video - said["observation.images.wrist"]).mean() < 3
        # A neighbouring frame or episode is another picture, by more than what compression loses.
        assert np.abs(video[1:] - said["observation.images.wrist"][:-1]).mean() > 0.3
    assert (dataset.numbers("index")[:, 0] == np.arange(21)).all()
    assert validate(tmp_path / "data").problems == ()
    assert validate(tmp_path / "data").remarks == ()


@pytest.mark.parametrize("rows", [1, 4, 7, 100])
def test_pictures_are_found_in_row_groups_of_any_size_or_said_to_be_missing(tmp_path, rows):
    episodes = write(tmp_path / "data")
    (path,) = (tmp_path / "data/data").glob("*/*.parquet")
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=rows)
    dataset = Dataset(tmp_path / "data")
    for number in (2, 0, 1):
        found = dataset.pictures("observation.images.top", dataset.episodes[number])
        assert np.array_equal(found, episodes[number]["observation.images.top"])
    for kept, there in ((sum(LENGTHS) - 1, LENGTHS[2] - 1), (LENGTHS[0] + LENGTHS[1], 0), (4, 0)):
        pq.write_table(table[:kept], path, row_group_size=rows)
        short = Dataset(tmp_path / "data")
        with pytest.raises(UserError, match=f"episode 2 has {there} of its {LENGTHS[2]} frames"):
            short.pictures("observation.images.top", short.episodes[2])


def test_places_in_a_video_are_whole_frames(tmp_path):
    """Sums of lengths in seconds drift; frame numbers divided by the rate do not."""
    wrist = {name: FEATURES[name] for name in (ACTION, "observation.images.wrist")}
    write(tmp_path / "data", lengths=(7,) * 40, features=wrist, fps=30)
    table = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet")
    begins = table["videos/observation.images.wrist/from_timestamp"].to_pylist()
    ends = table["videos/observation.images.wrist/to_timestamp"].to_pylist()
    assert begins == [7 * i / 30 for i in range(40)]
    assert begins[1:] == ends[:-1]
    dataset = Dataset(tmp_path / "data")
    assert [e.clips["observation.images.wrist"].first for e in dataset.episodes] == [7 * i for i in range(40)]
    last = dataset.pictures("observation.images.wrist", dataset.episodes[-1]).astype(int)
    wanted = an_episode(7, 39)["observation.images.wrist"]
    assert np.abs(last - wanted).mean() < 3


def test_an_unfinished_dataset_leaves_nothing(tmp_path):
    with suppress(KeyboardInterrupt), DatasetWriter(tmp_path / "data", fps=FPS, features=FEATURES) as writer:
        writer.add_episode(an_episode(5, 0), "task")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


# ---- statistics


def test_quantiles_are_those_of_the_whole_and_not_means_of_the_episodes(tmp_path):
    features = {ACTION: Feature(dtype="float32", shape=(1,))}
    with DatasetWriter(tmp_path / "data", fps=10, features=features) as writer:
        for value in (0.0, 1.0):
            writer.add_episode({ACTION: np.full((50, 1), value)}, "task")
    stored = json.loads((tmp_path / "data/meta/stats.json").read_text())[ACTION]
    assert (stored["q01"], stored["q99"], stored["mean"], stored["count"]) == ([0.0], [1.0], [0.5], [100])


def test_statistics_of_pixels_are_numpys():
    frames = np.random.default_rng(0).integers(0, 40, (3, 5, 7, 3), dtype=np.uint8)
    found = statistics.of_pixels(statistics.count_pixels(frames), 3)
    flat = frames.reshape(-1, 3) / 255
    wanted = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    wanted |= {name: np.quantile(flat, share, axis=0) for name, share in statistics.QUANTILES.items()}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value.reshape(3, 1, 1), atol=1e-12, err_msg=name)
    parts = sum(statistics.count_pixels(frame[None]) for frame in frames)
    assert (parts == statistics.count_pixels(frames)).all()


# ---- faults


def edited_info(**changes):
    def edit(directory):
        path = directory / "meta/info.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def edited_table(pattern, edit):
    def damage(directory):
        (path,) = directory.glob(pattern)
        pq.write_table(edit(pq.read_table(path)), path)

    return damage


def with_column(name, change):
    """A data file in which a column was changed."""

    def edit(table):
        at = table.column_names.index(name)
        return table.set_column(at, name, pa.array(change(table[name].to_pylist()), table[name].type))

    return edited_table("data/*/*.parquet", edit)


def set_at(place, value):
    def change(values):
        values[place] = value
        return values

    return change


def a_short_video(directory):
    (path,) = directory.glob("videos/*/*/*.mp4")
    _video(path, frames=10, fps=FPS)


def _video(path, frames, fps, size=16):
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        for _ in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((size, size, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode())


FAULTS = {
    "frames missing": (edited_table("data/*/*.parquet", lambda t: t.slice(0, 19)), "frames are missing"),
    "a gap": (with_column("frame_index", set_at(3, 9)), "frame_index is 9 at frame 3"),
    "NaN actions": (with_column(ACTION, set_at(4, [np.nan, 0.0])), "action is not finite at frame 4"),
    "a null": (with_column(STATE, set_at(4, None)), "without a value"),
    "an unknown feature": (
        edited_table("data/*/*.parquet", lambda t: t.append_column("speed", t["index"])),
        "unknown feature speed",
    ),
    "a feature missing": (
        edited_table("data/*/*.parquet", lambda t: t.drop_columns([STATE])),
        f"lacks the column {STATE}",
    ),
    "another rate": (edited_info(fps=15), "fps is not 15"),
    "a fractional rate": (edited_info(fps=29.97), "fps is 29.97"),
    "zero episodes": (
        edited_table("meta/episodes/*/*.parquet", lambda t: t.slice(0, 0)),
        "holds no episodes",
    ),
    "an episode missing": (
        edited_table("meta/episodes/*/*.parquet", lambda t: pa.concat_tables([t.slice(0, 1), t.slice(2)])),
        "episode_index 1 is missing",
    ),
    "a short video": (a_short_video, "has 10 frames where its episodes need 21"),
    "another video": (lambda d: _video(next(d.glob("videos/*/*/*.mp4")), 21, 10, 32), "10 frames a second"),
    "no video": (lambda d: next(d.glob("videos/*/*/*.mp4")).unlink(), "cannot be read"),
    "no data": (lambda d: next(d.glob("data/*/*.parquet")).unlink(), "is missing"),
    "data cut short": (lambda d: next(d.glob("data/*/*.parquet")).write_bytes(b"PAR1"), "cannot be read"),
    "no tasks": (lambda d: (d / "meta/tasks.parquet").unlink(), "tasks.parquet is missing"),
    "task unknown": (with_column("task_index", set_at(0, 7)), "task_index reaches 7"),
    "an old version": (edited_info(codebase_version="v2.1"), "only v3.0 is read here"),
    "no info": (lambda d: (d / "meta/info.json").unlink(), "has no meta/info.json"),
    "wrong totals": (edited_info(total_frames=20), "total_frames = 20, but there are 21"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found_and_told_in_a_sentence(tmp_path, written, name):
    shutil.copytree(written, tmp_path / "data")
    damage, words = FAULTS[name]
    damage(tmp_path / "data")
    problems = validate(tmp_path / "data").problems
    assert any(words in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)
    assert any(words in problem for problem in inspect_dataset(tmp_path / "data").problems)


def test_statistics_that_are_none_are_remarked_upon(tmp_path, written):
    shutil.copytree(written, tmp_path / "data")
    path = tmp_path / "data/meta/stats.json"
    stored = json.loads(path.read_text())
    stored[ACTION]["q01"][1] += 0.1
    path.write_text(json.dumps(stored))
    faults = validate(tmp_path / "data")
    assert faults.problems == ()
    assert "q01 of action are not those" in faults.remarks[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({ACTION: np.zeros((5, 3))}, "shape"),
        ({ACTION: np.zeros((4, 2))}, "different lengths"),
        ({ACTION: np.full((5, 2), np.inf)}, "not finite at frame 0"),
        ({"actoin": np.zeros((5, 2))}, "did you mean 'action'"),
        ({"observation.images.top": np.zeros((5, 16, 24, 3))}, "uint8"),
        ({ACTION: None}, "lacks the feature action"),
    ],
)
def test_a_bad_episode_is_refused_in_a_sentence(tmp_path, changes, words):
    episode = {name: value for name, value in (an_episode(5, 0) | changes).items() if value is not None}
    with (
        pytest.raises(UserError, match=words) as caught,
        DatasetWriter(tmp_path / "data", fps=FPS, features=FEATURES) as writer,
    ):
        writer.add_episode(episode, "task")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": 0}, "fps = 0"),
        ({"features": {"a/b": Feature(dtype="float32", shape=(1,))}}, "slash"),
        ({"features": {"a": Feature(dtype="float33", shape=(1,))}}, "unknown type"),
        ({"features": {"index": Feature(dtype="int64", shape=(1,))}}, "filled in by the writer"),
    ],
)
def test_a_bad_beginning_is_refused(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        DatasetWriter(tmp_path / "data", **({"fps": FPS, "features": FEATURES} | options))


def test_nothing_is_written_over_or_without_episodes(tmp_path, dataset):
    with pytest.raises(UserError, match="exists already"):
        DatasetWriter(dataset.directory, fps=FPS, features=FEATURES)
    with (
        pytest.raises(UserError, match="no episodes"),
        DatasetWriter(tmp_path / "empty", fps=FPS, features=FEATURES),
    ):
        pass
    assert not (tmp_path / "empty").exists()


# ---- inspection and export


def test_idle_frames_and_twins_are_found(tmp_path):
    moving = {name: FEATURES[name] for name in (STATE, ACTION)}
    twin = an_episode(10, 1, moving)
    stands = an_episode(10, 2, moving)
    stands[ACTION][4:8], stands[STATE][4:9] = stands[ACTION][3], stands[STATE][4]
    with DatasetWriter(tmp_path / "data", fps=10, features=moving) as writer:
        for episode in (twin, stands, twin):
            writer.add_episode(episode, "task")
    dataset = Dataset(tmp_path / "data")
    assert np.flatnonzero(idle_frames(dataset)).tolist() == [14, 15, 16, 17]
    assert duplicates(dataset) == [(0, 2)]
    found = inspect_dataset(tmp_path / "data")
    assert found.facts["idle frames"] == "4 of 30, 13.3%"
    assert found.facts["duplicated episodes"] == "2 is 0"
    assert sum(found.histograms["x"]) == 30


def test_a_sheet_shows_episodes_from_beginning_to_end(dataset):
    picture = sheet(dataset)
    first = dataset.pictures("observation.images.top", dataset.episodes[0])[0]
    scale = 128 // 24
    assert (picture[4 : 4 + 16 * scale : scale, 4 : 4 + 24 * scale : scale] == first).all()


def test_v21_has_a_file_an_episode(tmp_path, dataset):
    export(dataset, tmp_path / "old")
    info = json.loads((tmp_path / "old/meta/info.json").read_text())
    assert (info["codebase_version"], info["total_videos"], info["total_chunks"]) == ("v2.1", 3, 1)
    lines = (tmp_path / "old/meta/episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["length"] for line in lines] == list(LENGTHS)
    for number, length in enumerate(LENGTHS):
        place = {"episode_chunk": 0, "episode_index": number}
        table = pq.read_table(tmp_path / "old" / info["data_path"].format(**place))
        assert len(table) == length
        assert (
            np.array(table[ACTION].to_pylist(), np.float32).tolist()
            == dataset.numbers(ACTION)[dataset.episodes[number].frames].tolist()
        )
        video = tmp_path / "old" / info["video_path"].format(video_key="observation.images.wrist", **place)
        assert count_frames(video) == length
        with av.open(str(video)) as container:
            frames = [f.reformat(format="gray").to_ndarray() for f in container.decode(video=0)]
        with av.open(str(dataset.episodes[number].clips["observation.images.wrist"].path)) as container:
            whole = [f.reformat(format="gray").to_ndarray() for f in container.decode(video=0)]
        first = dataset.episodes[number].first
        assert np.array_equal(frames, whole[first : first + length]), "cut, not compressed again"
    with pytest.raises(UserError, match="exists already"):
        export(dataset, tmp_path / "old")
