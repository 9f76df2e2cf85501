"""The command that looks at worlds."""

import dataclasses
import json

from rich.console import Console

from maquette.cli.arguments.scenes import World
from maquette.core.devices import prepare_process
from maquette.core.errors import UserError, did_you_mean

WORLDS = ("scene",)
SMALLEST, LARGEST = 16, 512
"""Widths of a frame in pixels: below that a person cannot tell what is in it."""
SHEET_PIXELS, ANIMATION_PIXELS = 128, 192
"""Width that a frame is enlarged to, or a little less."""


def world(command: World) -> int:
    """Say what a world holds, or draw it."""
    if command.name not in WORLDS:
        raise UserError(f"There is no world {command.name!r}; {did_you_mean(command.name, WORLDS)}")
    if not command.show:
        _refuse_unused(command)
        return _tell(command)
    from maquette.worlds.scene import checks

    checks.whole("--size", command.size, SMALLEST, LARGEST, " pixels")
    prepare_process()
    from maquette.core.media import write_gif, write_png
    from maquette.worlds.scene import gallery

    with Console(stderr=True).status("drawing"):
        exhibits = gallery.gallery(command.seed, command.size, command.law and command.law.replace("-", " "))
        named = f"{command.name}-{command.law.replace(' ', '-')}" if command.law else command.name
        sheet, animation = command.out / f"{named}.png", command.out / f"{named}.gif"
        write_png(sheet, gallery.sheet(exhibits, max(1, SHEET_PIXELS // command.size)))
        write_gif(animation, gallery.animation(exhibits, max(1, ANIMATION_PIXELS // command.size)), gallery.FPS)
    if command.json:
        files = {"sheet": str(sheet), "animation": str(animation)}
        print(json.dumps(files | {"shows": [one.text for one in exhibits]}, indent=1, ensure_ascii=False))
    else:
        print(f"sheet: {sheet}\nanimation: {animation}")
    return 0


def _refuse_unused(command: World) -> None:
    """Raise a UserError if something is set that only a drawing has."""
    for field in dataclasses.fields(World):
        if field.name in ("seed", "size", "law", "out") and getattr(command, field.name) != field.default:
            raise UserError(
                f"--{field.name} says what to draw; add --show, or leave --{field.name} "
                f"{getattr(command, field.name)} out."
            )


def _tell(command: World) -> int:
    from maquette.worlds.scene import vocabulary

    names = ("SHAPES", "COLOURS", "SIZES", "MATERIALS", "LAWS")
    words = {name.lower(): getattr(vocabulary, name) for name in names}
    if command.json:
        print(json.dumps(words, indent=1))
        return 0
    for name, known in words.items():
        print(f"{name:<10} {', '.join(known)}")
    print(f"look at it: maquette world {command.name} --show")
    return 0
