"""The commands that train video models and make clips with them."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from maquette.cli.arguments.models import Train
from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.scenes import Generate
from maquette.cli.progress import counting_bar
from maquette.core.devices import pick_device, pick_precision, prepare_process
from maquette.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import UInt8

    from maquette.video.judging import Examined
    from maquette.video.recipes import Diagnosis, Recipe

RECIPES = ("tiny-video",)
SHEET_PIXELS, CLIP_PIXELS = 96, 256
"""Width that a frame is enlarged to, or a little less."""
SHOTS = 8
"""Frames of a clip on the sheet."""
EXAMINATION = 0
"""The seed of the clips of an examination: the same for all that are trained."""
OVERFIT_STEPS = 200


def train(command: Train) -> int:
    """Train a recipe of the video family, or look on one batch whether it would learn; 1 if it would not."""
    allocator = prepare_process()
    from maquette.video.clips import Clips, folder_clips, scene_clips
    from maquette.video.recipes import carry_out, diagnose

    if command.text or command.dataset or command.tensorboard:
        raise UserError(f"--text, --dataset and --tensorboard go with language recipes; {command.recipe} has --clips.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{command.recipe} trains in one process; start it without torchrun.")
    if command.seed < 0:
        raise UserError(f"--seed is {command.seed}; it must be 0 or more.")
    recipe, device = _asked_for(command), pick_device(command.device)
    out, console = command.out or RECORDS[0] / "train" / command.recipe, Console(stderr=True)
    precision = pick_precision(recipe.training.precision, device)
    console.print(f"{command.recipe}: {recipe.about}; {allocator}; {precision} on {device}", highlight=False)
    with counting_bar(console) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        def drawn(count: int, seed: int, stage: str, held_out: bool) -> Clips:
            return scene_clips(
                count,
                seed,
                size=recipe.size,
                frames=recipe.frames,
                held_out=held_out,
                progress=lambda done, total: tell(stage, done, total),
            )

        if command.clips:
            clips, examination = folder_clips(command.clips, size=recipe.size, frames=recipe.frames), None
        else:
            clips = drawn(recipe.clips, command.seed, "drawing clips", held_out=False)
            examination = drawn(recipe.examined, EXAMINATION, "drawing held-out clips", held_out=True)
        if command.overfit:
            return _tell_diagnosis(diagnose(recipe, clips, out, tell, command.steps or OVERFIT_STEPS))
        _, examined = carry_out(recipe, clips, out, tell, examination)
    _tell_losses(json.loads((out / "training.json").read_text(encoding="utf-8")))
    if examined:
        _tell_examination(examined)
    print(f"model folder: {out}\nask it: maquette generate {clips.captions[0]!r} --model {out}")
    return 0


def _asked_for(command: Train) -> "Recipe":
    """The recipe with the command's seed and device; of fewer steps for the one, there are fewer for the other."""
    from maquette.video.recipes import named

    recipe, steps = named(command.recipe), None if command.overfit else command.steps
    share = 1.0 if steps is None else min(1.0, steps / recipe.training.steps)
    own = {"seed": command.seed, "device": command.device}
    return replace(
        recipe,
        coding=replace(recipe.coding, steps=max(1, round(recipe.coding.steps * share)), **own),
        training=replace(recipe.training, steps=steps or recipe.training.steps, **own),
    )


def _tell_losses(told: dict[str, Any]) -> None:
    table = Table("noise", "loss", "knowing only mean and spread", box=None)
    for name, loss in told["final"].items():
        table.add_row(name.removeprefix("loss at "), f"{loss:.3f}", f"{told['blind'][name]:.3f}")
    Console().print("Loss by noise level:", table)


def _tell_examination(examined: "Sequence[Examined]") -> None:
    table = Table("asked for", "n", "right", "95 % interval", "true clips", "captions shuffled", box=None)
    for one in examined:
        low, high = one.interval
        shares = (f"{one.parser / one.n:.1%}", f"{one.chance / one.n:.1%}")
        table.add_row(one.name, str(one.n), f"{one.accuracy:.1%}", f"{low:.1%} to {high:.1%}", *shares)
    heading = (
        "Clips of combinations never trained on, as the parser reads them; true clips went through the autoencoder:"
    )
    Console().print(heading, table)


def _tell_diagnosis(found: "Diagnosis") -> int:
    table = Table("noise", "loss before", "after", "knowing only mean and spread", box=None)
    for name, before in found.before.items():
        losses = (before, found.after[name], found.blind[name])
        table.add_row(name.removeprefix("loss at "), *(f"{loss:.3f}" for loss in losses))
    Console().print("The batch's loss by noise level:", table)
    share = f"{found.share:.0%} of the first loss, {found.losses[0]:.3f}, is left after {len(found.losses)} steps"
    mend = "it cannot even learn one batch by heart: look for a mistake, or take more steps"
    print(f"{share}: {'it learns' if found.learns else mend}.")
    return 0 if found.learns else 1


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
