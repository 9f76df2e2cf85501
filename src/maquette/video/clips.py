"""Captioned clips to learn from: the scene world's, or a folder of the user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.media import read_clip
from maquette.core.seeds import child_seed, numpy_generator
from maquette.worlds.scene.laws import Knobs, law_clip
from maquette.worlds.scene.render import frames_of_many
from maquette.worlds.scene.vocabulary import MATERIALS, SHAPES, SIZES, Law, Material, Shape, Size
from maquette.worlds.scene.words.captions import Length, caption

FILES = (".mp4", ".gif", ".webm", ".mov", ".avi", ".mkv")
PLAIN: dict[str, Any] = {
    "laws": ("inertia", "parabola", "bounce"),
    "shapes": ("ball", "box", "triangle"),
    "sizes": ("large",),
    "materials": ("rubber",),
}
"""Of `scene_clips`, what a model of some million parameters comes to draw well enough for the parser within minutes."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clips of one length and size."""

    frames: UInt8[np.ndarray, "clips frames height width 3"]
    captions: tuple[str, ...]
    fps: float


def scene_clips(
    count: int,
    seed: int,
    *,
    size: int,
    frames: int,
    laws: Sequence[Law] = ("inertia", "rolling", "bounce", "parabola"),
    lengths: Sequence[Length] = ("short", "medium"),
    shapes: tuple[Shape, ...] = SHAPES,
    sizes: tuple[Size, ...] = SIZES,
    materials: tuple[Material, ...] = MATERIALS,
    held_out: bool | None = False,
    objects: int = 0,
    speed: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Clips:
    """Clips of the scene world, drawn by a seed, captioned by its grammar.

    `held_out` False leaves out the combinations of colour and shape that are kept for tests, True has only those.
    `speed` multiplies the velocities that things start with.
    """
    knobs = Knobs(
        frames=frames,
        held_out=held_out,
        objects=objects,
        speed=speed,
        shapes=shapes,
        sizes=sizes,
        materials=materials,
    )
    states, captions = [], []
    for number in range(count):
        rng = numpy_generator(seed, "captioned clip", number)
        law, length = laws[int(rng.integers(len(laws)))], lengths[int(rng.integers(len(lengths)))]
        states.append(law_clip(law, child_seed(seed, "clip", number), knobs))
        captions.append(caption(states[-1], length, rng))
        progress(number + 1, count)
    return Clips(frames=frames_of_many(states, size), captions=tuple(captions), fps=knobs.fps)


def folder_clips(folder: Path, *, size: int, frames: int) -> Clips:
    """The clips of a folder, each with its caption in a text file of the same name: `walk.mp4` and `walk.txt`.

    Of longer clips the first frames are taken; what is not square loses its longer sides' ends.

    Raises:
        UserError: there are no clips, a caption is missing or empty, a clip cannot be read or is too short.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in FILES) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder} holds no clips; give a folder of {', '.join(FILES)} files with a .txt beside each.")
    read, captions, rates = [], [], []
    for file in files:
        text = file.with_suffix(".txt")
        words = text.read_text(encoding="utf-8", errors="replace").strip() if text.exists() else ""
        if not words:
            raise UserError(f"{file} has no caption; write one into {text.name} beside it.")
        footage = read_clip(file)
        if len(footage.frames) < frames:
            raise UserError(
                f"{file} has {len(footage.frames)} frames, but the model learns clips of {frames}; "
                "take the file out, or give a longer clip."
            )
        read.append(np.stack([_square(one, size) for one in footage.frames[:frames]]))
        captions.append(words)
        rates.append(footage.fps)
    return Clips(frames=np.stack(read), captions=tuple(captions), fps=float(np.median(rates)))


def as_numbers(
    frames: UInt8[np.ndarray, "clips frames height width 3"],
) -> Float[Tensor, "clips 3 frames height width"]:
    """Pixels in [−1, 1], channels first."""
    return torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def as_frames(clips: Float[Tensor, "clips 3 frames height width"]) -> UInt8[np.ndarray, "clips frames height width 3"]:
    """Back to bytes; what lies outside is clipped."""
    bytes_ = ((clips.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return bytes_.permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()


def _square(frame: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BOX, box=box))
