"""Video files that hold many episodes, frame after frame; places in them are whole numbers of frames, never sums of
seconds, which drift."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation
from jaxtyping import UInt8

from maquette.core.errors import UserError

Codec = Literal["h264", "av1"]
ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"crf": "18", "g": "2", "bf": "0"}),
    "av1": ("libsvtav1", {"crf": "30", "g": "2", "preset": "10", "svtav1-params": "lp=1"}),
}
"""A key frame every other frame, because training reads frames in any order; no frame waits for a later one."""
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""How colours are converted: the quick way, which is the default, makes every picture a little darker."""
Frames = UInt8[np.ndarray, "frames height width 3"]


class VideoFile:
    """One file under way; every clip that is added begins with a key frame, so that it can be cut out again.

    Args:
        path: of the file.
        fps: frames a second.
        codec: how it is compressed.

    Raises:
        UserError: a side of the pictures is odd.
    """

    def __init__(self, path: Path, fps: int, codec: Codec) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        encoder, options = ENCODERS[codec]
        self._container = av.open(str(path), "w", format="mp4")
        stream = self._container.add_stream(encoder, rate=fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        self._stream = stream

    def add(self, frames: Frames) -> int:
        """Append a clip; the number of its first frame."""
        first, (height, width) = self.frames, frames.shape[1:3]
        if height % 2 or width % 2:
            raise UserError(f"Pictures of {height} × {width} pixels cannot become a video; give even sides, or images.")
        if not self.frames:
            self._stream.height, self._stream.width = height, width
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(format="yuv420p", interpolation=EXACT)
            frame.pts = self.frames
            frame.pict_type = PictureType.NONE if number else PictureType.I
            self._container.mux(self._stream.encode(frame))
            self.frames += 1
        return first

    @property
    def bytes(self) -> int:
        """Written so far, but for what the encoder still holds."""
        return self.path.stat().st_size

    def close(self) -> None:
        """Write what is still held, and the index that makes it a file."""
        if self.frames:
            self._container.mux(self._stream.encode())
        self._container.close()


def describe(path: Path) -> dict[str, Any]:
    """What info.json says of a video.

    Raises:
        UserError: it cannot be read.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": int(stream.base_rate or stream.average_rate or 0),
            "video.channels": 3,
            "has_audio": bool(container.streams.audio),
        }


def count_frames(path: Path) -> int:
    """How many frames a file holds, by its packets, without decoding them.

    Raises:
        UserError: it cannot be read.
    """
    with _opened(path) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def read_frames(path: Path, fps: int, first: int, count: int) -> Frames:
    """So many frames from number `first` on.

    Raises:
        UserError: the file cannot be read, or has fewer.
    """
    found = []
    try:
        for number, frame in _decoded(path, fps, first):
            if number >= first:
                found.append(frame.reformat(format="rgb24", interpolation=EXACT).to_ndarray())
            if len(found) == count:
                break
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video ({error}); copy it anew.") from error
    if len(found) < count:
        raise UserError(f"{path} has {len(found)} of the {count} frames from number {first} on; copy it anew.")
    return np.stack(found)


def cut(source: Path, target: Path, fps: int, first: int, count: int) -> None:
    """Copy so many frames from number `first` on into a file of their own: as they are, where that is a key frame.

    Raises:
        UserError: the file cannot be read, or has fewer.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _opened(source) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size > 0]
        packets = [packet for packet in packets if first <= _number(packet.pts, stream, fps) < first + count]
        if len(packets) == count and packets[0].is_keyframe:
            with av.open(str(target), "w", format="mp4") as out:
                copy = out.add_stream_from_template(stream)
                pts, dts = packets[0].pts or 0, packets[0].dts or 0
                for packet in packets:
                    packet.pts, packet.dts = (packet.pts or 0) - pts, (packet.dts or 0) - dts
                    packet.stream = copy
                    out.mux(packet)
            return
    file = VideoFile(target, fps, "h264")
    file.add(read_frames(source, fps, first, count))
    file.close()


def _decoded(path: Path, fps: int, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
    with _opened(path) as container:
        stream = container.streams.video[0]
        if first and stream.time_base:
            container.seek(round((first / fps) / stream.time_base), stream=stream, backward=True)
        for frame in container.decode(stream):
            yield _number(frame.pts, stream, fps), frame


def _number(pts: int | None, stream: Any, fps: int) -> int:
    return round(float((pts or 0) * stream.time_base) * fps)


def _opened(path: Path) -> Any:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path} cannot be read as a video ({error}); copy it anew.") from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{path} holds no video; copy it anew.")
    return container
