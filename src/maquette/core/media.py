"""Pictures and clips as files: PNG, GIF and MP4, whole or absent; and read back again."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageSequence
from scipy.spatial import KDTree

from maquette.core.errors import UserError
from maquette.core.files import replacing

Picture = UInt8[np.ndarray, "height width 3"]
Frames = UInt8[np.ndarray, "frames height width 3"]

GIF_FPS = 50
"""Browsers slow down what is faster."""
PAPER, TEXT = (255, 255, 255), (70, 70, 70)
TEXT_SIZE = 14


class Footage(NamedTuple):
    """What was read from a clip."""

    frames: Frames
    fps: float


def write_png(path: Path, picture: Picture, *, scale: int = 1) -> None:
    """Write a picture, every pixel as a square of `scale`².

    Raises:
        UserError: the picture is not of that shape and type, or `path` cannot be written.
    """
    image = Image.fromarray(_enlarged(_checked("picture", np.asarray(picture)[None]), scale)[0])
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def write_gif(path: Path, frames: Frames, fps: float, *, scale: int = 1) -> None:
    """Write a clip that repeats for ever, in 256 colours at most, the same in all frames.

    Raises:
        UserError: the frames are not of that shape and type, `fps` is above 50, or `path` cannot be written.
    """
    frames = _checked("frames", frames)
    if not 0 < fps <= GIF_FPS:
        raise UserError(f"fps = {fps:g} must lie between 0 and {GIF_FPS} in a GIF; write an MP4, or every other frame.")
    numbers, palette = _indexed(frames)
    images = [Image.fromarray(one) for one in _enlarged(numbers[..., None], scale)[..., 0]]
    for image in images:
        image.putpalette(palette.tobytes())
    durations = [10 * int(ticks) for ticks in np.diff(_ticks(len(frames), fps))]
    with replacing(path) as temporary:
        images[0].save(
            temporary, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
        )


def write_mp4(path: Path, frames: Frames, fps: float, *, scale: int = 1) -> None:
    """Write a clip as H.264, in a quality at which the loss is hard to see, that every player shows.

    Raises:
        UserError: the frames are not of that shape and type, a side is odd, or `path` cannot be written.
    """
    frames = _enlarged(_checked("frames", frames), scale)
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise UserError(f"frames are {width} × {height} pixels, but an MP4's sides must be even; give an even scale.")
    if not (math.isfinite(fps) and fps > 0):
        raise UserError(f"fps = {fps} must be a number above 0.")
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "14"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for one in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        container.mux(stream.encode())


def read_clip(path: Path, fps: float = 8.0) -> Footage:
    """Read a video file, a GIF, or a folder of PNGs in the order of the numbers in their names.

    Args:
        path: the file or folder.
        fps: of a folder, which does not say.

    Raises:
        UserError: there is no such clip, it cannot be read, or its pictures differ in size.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path.")
    try:
        if path.is_dir():
            files = sorted(path.glob("*.png"), key=lambda file: [int(n) for n in re.findall(r"\d+", file.name)])
            return Footage(_stacked(path, [np.asarray(Image.open(file).convert("RGB")) for file in files]), fps)
        if path.suffix.lower() == ".gif":
            return _read_gif(path)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            return Footage(_stacked(path, frames), float(stream.average_rate or fps))
    except (av.FFmpegError, Image.DecompressionBombError, OSError, IndexError) as error:
        raise UserError(f"{path} cannot be read as a clip; give an MP4, a GIF or a folder of PNG files.") from error


def contact_sheet(
    rows: Sequence[Frames], labels: Sequence[str | Sequence[str]] = (), *, scale: int = 1, gap: int = 4
) -> UInt8[np.ndarray, "height width 3"]:
    """Clips on one sheet: a row each, its frames side by side.

    Args:
        rows: clips; they may differ in length and size.
        labels: what stands below each row, or in a list below its frames; none, if not given.
        scale: every pixel becomes a square of `scale`².
        gap: pixels between frames.

    Raises:
        UserError: a row is not of that shape and type, or the labels are not as many as the rows.
    """
    if not rows or (labels and len(labels) != len(rows)):
        raise UserError(
            f"{len(labels)} labels for {len(rows)} rows; give at least one row, and a label for each or none."
        )
    strips = [_enlarged(_checked("rows", row), scale) for row in rows]
    font, below = ImageFont.load_default(TEXT_SIZE), TEXT_SIZE + 3 * gap if labels else gap
    texts, top, right = [], gap, 0
    for strip, label in zip(strips, labels or [""] * len(strips), strict=True):
        step, foot = strip.shape[2] + gap, top + strip.shape[1]
        words = [(gap + place * step, word) for place, word in enumerate([label] if isinstance(label, str) else label)]
        texts += [((x, foot + gap // 2), word) for x, word in words]
        right = max(right, gap + len(strip) * step, *(x + math.ceil(font.getlength(word)) + gap for x, word in words))
        top = foot + below
    sheet = Image.new("RGB", (right, top), PAPER)
    pen, top = ImageDraw.Draw(sheet), gap
    for strip in strips:
        for place, one in enumerate(strip):
            sheet.paste(Image.fromarray(one), (gap + place * (strip.shape[2] + gap), top))
        top += strip.shape[1] + below
    for corner, word in texts:
        pen.text(corner, word, fill=TEXT, font=font)
    return np.array(sheet)


def _checked(field: str, frames: np.ndarray) -> Frames:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise UserError(
            f"{field}: an array of {frames.dtype} and shape {frames.shape} is not a clip; "
            "give uint8 of (frames, height, width, 3), none of them 0."
        )
    return frames


def _enlarged(
    frames: UInt8[np.ndarray, "frames height width colours"], scale: int
) -> UInt8[np.ndarray, "frames tall wide colours"]:
    if scale < 1:
        raise UserError(f"scale = {scale} must be a whole number of at least 1.")
    return frames.repeat(scale, axis=1).repeat(scale, axis=2)


def _indexed(frames: Frames) -> tuple[UInt8[np.ndarray, "frames height width"], UInt8[np.ndarray, "colours 3"]]:
    """Every pixel as the number of the nearest of at most 256 colours: the most frequent, and some for the rest."""
    packed = (frames[..., 0].astype(np.uint32) << 16) | (frames[..., 1].astype(np.uint32) << 8) | frames[..., 2]
    colours, counts = np.unique(packed, return_counts=True)
    colours = colours[np.argsort(-counts, kind="stable")]
    palette = rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    if len(rgb) > 256:
        rest = Image.fromarray(rgb[None, 128:]).quantize(128)
        palette = np.concatenate([rgb[:128], np.array(rest.getpalette(), np.uint8).reshape(-1, 3)])
    number = np.zeros(2**24, np.uint8)
    number[colours] = KDTree(palette).query(rgb)[1]
    return number[packed], palette


def _ticks(frames: int, fps: float) -> np.ndarray:
    """When each frame begins and the last one ends, in a GIF's hundredths of a second, none of them drifting."""
    return np.round(100 * np.arange(frames + 1) / fps)


def _read_gif(path: Path) -> Footage:
    """Frames that are shown for long come as often as they would have been drawn: writers merge what is equal."""
    with Image.open(path) as image:
        shown = [
            (np.asarray(one.convert("RGB")), one.info.get("duration", 100)) for one in ImageSequence.Iterator(image)
        ]
    durations = np.maximum([duration for _, duration in shown], 10) / 1000
    single = durations[durations < 1.5 * durations.min()].mean()
    times = np.maximum(np.round(durations / single), 1).astype(int)
    count, fps = int(times.sum()), float(times.sum() / durations.sum())
    if round(fps) and np.isclose(_ticks(count, round(fps))[-1], 100 * durations.sum()):
        fps = float(round(fps))
    return Footage(np.repeat(_stacked(path, [one for one, _ in shown]), times, axis=0), fps)


def _stacked(path: Path, frames: list[np.ndarray]) -> Frames:
    sizes = {one.shape for one in frames}
    if len(sizes) != 1:
        raise UserError(
            f"{path} holds {len(frames)} pictures of {len(sizes)} sizes; give at least one, all of one size."
        )
    return np.stack(frames)
