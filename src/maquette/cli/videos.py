"""The commands that train video models and make clips with them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID

from maquette.cli.arguments.models import Train
from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.scenes import Generate
from maquette.core.devices import pick_device, pick_precision, prepare_process
from maquette.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

RECIPES = ("tiny-video",)
SHEET_PIXELS, CLIP_PIXELS = 96, 256
"""Width that a frame is enlarged to, or a little less."""
SHOTS = 8
"""Frames of a clip on the sheet."""


def train(command: Train) -> int:
    """Train a recipe of the video family."""
    allocator = prepare_process()
    from maquette.video.clips import folder_clips, scene_clips
    from maquette.video.recipes import carry_out, named

    if command.text or command.dataset or command.tensorboard:
        raise UserError(f"--text, --dataset and --tensorboard go with language recipes; {command.recipe} has --clips.")
    if command.seed < 0:
        raise UserError(f"--seed is {command.seed}; it must be 0 or more.")
    recipe, device = named(command.recipe), pick_device(command.device)
    steps = recipe.training.steps if command.steps is None else command.steps
    share = steps / recipe.training.steps  # fewer steps for the one are fewer for the other
    coding_steps = max(1, round(recipe.coding.steps * min(share, 1.0)))
    recipe = replace(
        recipe,
        coding=replace(recipe.coding, steps=coding_steps, seed=command.seed, device=command.device),
        training=replace(recipe.training, steps=steps, seed=command.seed, device=command.device),
    )
    out, console = command.out or RECORDS[0] / "train" / command.recipe, Console(stderr=True)
    precision = pick_precision(recipe.training.precision, device)
    console.print(f"{command.recipe}: {recipe.about}; {allocator}; {precision} on {device}", highlight=False)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        if command.clips:
            clips = folder_clips(command.clips, size=recipe.size, frames=recipe.frames)
        else:
            clips = scene_clips(
                recipe.clips,
                command.seed,
                size=recipe.size,
                frames=recipe.frames,
                progress=lambda done, total: tell("drawing clips", done, total),
            )
        carry_out(recipe, clips, out, tell)
    final = json.loads((out / "training.json").read_text(encoding="utf-8"))["final"]
    print(", ".join(f"{name} {value:.3f}" for name, value in final.items()))
    print(f"model folder: {out}\nask it: maquette generate {clips.captions[0]!r} --model {out}")
    return 0


def generate(command: Generate) -> int:
    """Make a clip for each prompt."""
    prepare_process()
    from maquette.core.media import contact_sheet, write_gif, write_mp4, write_png
    from maquette.video.studio import Studio

    if not command.prompts:
        raise UserError("There is no prompt; say in quotes what the clip shall show.")
    studio = Studio.load(command.model)
    first = _picture(command.first, studio.format.size) if command.first else None
    with Console(stderr=True).status("sampling"):
        clips = studio.generate(
            command.prompts,
            seed=command.seed,
            steps=command.steps,
            guidance=command.guidance,
            sampler=command.sampler,
            frames=command.frames,
            first=first,
        )
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
    if command.json:
        made = [{"prompt": words, "mp4": file} for words, file in zip(command.prompts, files, strict=True)]
        print(json.dumps({"sheet": str(sheet), "clips": made}, indent=1, ensure_ascii=False))
    else:
        print("\n".join([*files, f"sheet: {sheet}"]))
    return 0


def _picture(path: Path, size: int) -> "UInt8[np.ndarray, 'height width 3']":
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture; give a PNG of {size} × {size} pixels.") from error
