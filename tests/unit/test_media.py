"""Pictures and clips as files, and back."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from maquette.core.errors import UserError
from maquette.core.media import contact_sheet, read_clip, write_gif, write_mp4, write_png

COLOURS = np.array([(214, 40, 48), (32, 98, 206), (56, 158, 76), (248, 214, 60)], np.uint8)


def blocks(frames=6, side=16):
    """A coloured block that wanders over a grey ground."""
    clip = np.full((frames, side, side, 3), 200, np.uint8)
    for i in range(frames):
        clip[i, 4:12, i % 8 : i % 8 + 8] = COLOURS[i % 4]
    return clip


@pytest.mark.parametrize("fps", [5, 8, 10, 12.5, 24, 30, 50])
@pytest.mark.parametrize("frames", [2, 6, 17])
def test_a_gif_comes_back_as_it_was(tmp_path, frames, fps):
    clip = blocks(frames)
    write_gif(tmp_path / "clip.gif", clip, fps)
    found = read_clip(tmp_path / "clip.gif")
    assert found.fps == pytest.approx(fps, rel=0.1 if frames == 2 else 0.03)
    assert (found.frames == clip).all()


def test_frames_that_stand_still_are_counted(tmp_path):
    clip = blocks(16)[[0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5]]
    write_gif(tmp_path / "clip.gif", clip, 8)
    found = read_clip(tmp_path / "clip.gif")
    assert found.fps == 8
    assert (found.frames == clip).all()


def test_a_gif_keeps_time(tmp_path):
    write_gif(tmp_path / "clip.gif", blocks(15), 30)
    with Image.open(tmp_path / "clip.gif") as image:
        durations = []
        for place in range(image.n_frames):
            image.seek(place)
            durations.append(image.info["duration"])
    assert sum(durations) == 500  # thirtieths of a second do not go into hundredths
    assert set(durations) == {30, 40}


def test_a_gif_of_many_colours_is_near_them(tmp_path):
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    clip = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=-1)[None].repeat(2, axis=0)
    write_gif(tmp_path / "clip.gif", clip, 8)
    assert np.abs(read_clip(tmp_path / "clip.gif").frames[0].astype(int) - clip[0]).mean() < 6


@pytest.mark.parametrize("fps", [8, 12.5, 30])
def test_an_mp4_comes_back_nearly_as_it_was(tmp_path, fps):
    clip = blocks(12, side=32).repeat(2, axis=1).repeat(2, axis=2)
    write_mp4(tmp_path / "clip.mp4", clip, fps)
    found = read_clip(tmp_path / "clip.mp4")
    assert found.fps == pytest.approx(fps, rel=1e-3)
    assert found.frames.shape == clip.shape
    assert np.abs(found.frames.astype(int) - clip).mean() < 4
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec.name == "h264"
        assert container.streams.video[0].format.name == "yuv420p"
        assert container.streams.video[0].average_rate == Fraction(fps)


def test_a_folder_of_pngs_is_read_in_the_order_of_its_numbers(tmp_path):
    clip = blocks(12)
    for number, frame in enumerate(clip):
        write_png(tmp_path / f"frame_{number}.png", frame)  # 10 after 9, not after 1
    found = read_clip(tmp_path, fps=5)
    assert found.fps == 5
    assert (found.frames == clip).all()


@pytest.mark.parametrize(("write", "name"), [(write_gif, "a.gif"), (write_mp4, "a.mp4")])
def test_pixels_become_squares(tmp_path, write, name):
    clip = blocks(3, side=15)
    write(tmp_path / name, clip, 8, scale=4)
    found = read_clip(tmp_path / name).frames.astype(int)
    assert found.shape == (3, 60, 60, 3)
    assert np.abs(found[:, 2::4, 2::4] - clip).mean() < 4
    write_png(tmp_path / "a.png", clip[0], scale=3)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == clip[0].repeat(3, axis=0).repeat(3, axis=1)).all()


def test_a_sheet_holds_every_frame_in_its_place():
    rows = [blocks(3), blocks(5)]
    sheet = contact_sheet(rows, scale=2, gap=4)
    assert sheet.shape == (4 + 2 * 36, 4 + 5 * 36, 3)
    for row, clip in enumerate(rows):
        for place, frame in enumerate(clip):
            part = sheet[4 + 36 * row :, 4 + 36 * place :][:32, :32]
            assert (part[::2, ::2] == frame).all()
    assert (sheet[4 : 4 + 32, 4 + 3 * 36 :] == 255).all()  # the first row is shorter
    labelled = contact_sheet(rows, ["a word", "a label that is much longer than the frames " * 3], scale=2)
    assert labelled.shape[0] > sheet.shape[0]
    assert labelled.shape[1] > sheet.shape[1]
    below = labelled[4 + 32 : 4 + 32 + 20, :100]
    assert (below < 128).any()
    beneath = contact_sheet([blocks(3, side=64)], [["one", "two", "three"]])[68 + 4 :]
    dark = (beneath.min((0, 2)) < 128).nonzero()[0]
    assert {int(column) // 68 for column in dark} == {0, 1, 2}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda path: write_gif(path / "a.gif", blocks().astype(float), 8), "float64 and shape"),
        (lambda path: write_gif(path / "a.gif", blocks()[0], 8), "is not a clip"),
        (lambda path: write_mp4(path / "a.mp4", blocks()[:0], 8), "is not a clip"),
        (lambda path: write_png(path / "a.png", blocks()[..., :2]), "is not a clip"),
        (lambda path: write_gif(path / "a.gif", blocks(), 60), "fps = 60 must lie between 0 and 50"),
        (lambda path: write_gif(path / "a.gif", blocks(), float("nan")), "fps = nan"),
        (lambda path: write_mp4(path / "a.mp4", blocks(), 0), "fps = 0 must be a number above 0"),
        (lambda path: write_mp4(path / "a.mp4", blocks(side=15), 8), "15 × 15 pixels, but an MP4's sides must be even"),
        (lambda path: write_gif(path / "a.gif", blocks(), 8, scale=0), "scale = 0 must be"),
        (lambda path: contact_sheet([]), "at least one row"),
        (lambda path: contact_sheet([blocks()], ["a", "b"]), "2 labels for 1 rows"),
        (lambda path: read_clip(path / "nothing.mp4"), "does not exist"),
        (lambda path: read_clip(path), "0 pictures"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(tmp_path, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_what_is_no_clip(tmp_path, name):
    (tmp_path / name).write_text("not a clip")
    with pytest.raises(UserError, match="cannot be read as a clip"):
        read_clip(tmp_path / name)


def test_pictures_of_two_sizes_are_no_clip(tmp_path):
    write_png(tmp_path / "1.png", blocks()[0])
    write_png(tmp_path / "2.png", blocks()[0], scale=2)
    with pytest.raises(UserError, match="2 pictures of 2 sizes"):
        read_clip(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    write_mp4(path, blocks(), 8)
    before = path.read_bytes()
    monkeypatch.setattr(av.VideoFrame, "from_ndarray", lambda *a, **b: 1 / 0, raising=False)
    with pytest.raises(ZeroDivisionError):
        write_mp4(path, blocks(), 8)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
