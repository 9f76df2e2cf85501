"""The words of the commands that make clips and show worlds."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from maquette.cli.arguments.options import RECORDS, Count, File, MaybeText


@dataclass(frozen=True)
class Generate:
    """Clips from words."""

    prompts: Annotated[Positional[tuple[str, ...]], arg(metavar="PROMPT", help="What a clip shall show, in quotes.")]
    _: KW_ONLY
    model: Path = RECORDS[0] / "train" / "tiny-video"
    """The folder that `maquette train tiny-video` made."""
    first: File = None
    """A picture that the clips are to begin with, of the model's size."""
    seed: int = 0
    """The same seed and words give the same clips."""
    steps: Annotated[int, arg(metavar="N")] = 30
    """Of the sampler."""
    guidance: Annotated[float, arg(metavar="SCALE")] = 1.0
    """How far beyond what the words alone would give; 1 is not at all."""
    sampler: Literal["euler", "heun", "ddim", "dpm++2m", "ancestral"] = "euler"
    """How noise becomes a clip."""
    frames: Count = None
    """Of a clip; as many as the model learnt, if not given."""
    out: Path = RECORDS[0] / "generate"
    """The folder that the clips go to."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class World:
    """A world that data comes from."""

    name: Annotated[Positional[str], arg(metavar="WORLD", help="scene: things that move, and robots on a table top.")]
    _: KW_ONLY
    show: bool = False
    """Draw a contact sheet (PNG) and an animation (GIF), instead of naming what is in it."""
    seed: int = 0
    """Of what is drawn."""
    size: Annotated[int, arg(metavar="PIXELS")] = 64
    """Width of a frame, from 16 to 512; the pictures are enlarged."""
    law: MaybeText = None
    """Ten clips of one law, pendulum say, instead of one of each and five tasks."""
    out: Path = RECORDS[0] / "world"
    """The folder that the pictures go to."""
    json: bool = False
    """Print JSON."""
