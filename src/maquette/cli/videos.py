"""The command that makes clips."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from maquette.cli.arguments.scenes import Generate
from maquette.core.devices import prepare_process
from maquette.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8


SHEET_PIXELS, CLIP_PIXELS = 96, 256
"""Width that a frame is enlarged to, or a little less."""
SHOTS = 8
"""Frames of a clip on the sheet."""


def generate(command: Generate) -> int:
    """Make a clip for each prompt, and tell what the parser reads in it."""
    prepare_process()
    from maquette.core.files import write_json
    from maquette.core.media import contact_sheet, write_gif, write_mp4, write_png
    from maquette.video.judging import judge
    from maquette.video.studio import Studio

    if not command.prompts:
        raise UserError("There is no prompt; say in quotes what the clip shall show.")
    studio = Studio.load(command.model)
    first = _picture(command.first, studio.format.size) if command.first else None
    with Console(stderr=True).status("sampling") as status:
        clips = studio.generate(
            command.prompts,
            seed=command.seed,
            steps=command.steps,
            guidance=command.guidance,
            sampler=command.sampler,
            frames=command.frames,
            first=first,
        )
        status.update("reading")
        judged = judge(command.prompts, clips, studio.format.fps)
        status.update("writing")
        scale = max(1, CLIP_PIXELS // studio.format.size)
        files = []
        for number, clip in enumerate(clips, start=1):
            stem = command.out / f"clip-{number}"
            write_mp4(stem.with_suffix(".mp4"), clip, studio.format.fps, scale=scale)
            write_gif(stem.with_suffix(".gif"), clip, studio.format.fps, scale=scale)
            files.append(str(stem.with_suffix(".mp4")))
        shots = [clip[:: max(1, len(clip) // SHOTS)][:SHOTS] for clip in clips]
        sheet = command.out / "sheet.png"
        write_png(sheet, contact_sheet(shots, command.prompts, scale=max(1, SHEET_PIXELS // studio.format.size)))
        made = [{"prompt": one.caption, "mp4": file} | one.as_json() for one, file in zip(judged, files, strict=True)]
        told = {"sheet": str(sheet), "clips": made}
        write_json(command.out / "clips.json", told)
    if command.json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        for file, one in zip(files, judged, strict=True):
            print(f"{file}\n  {one.in_words()}")
        print(f"sheet: {sheet}")
    return 0


def _picture(path: Path, size: int) -> "UInt8[np.ndarray, 'height width 3']":
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture; give a PNG of {size} × {size} pixels.") from error
