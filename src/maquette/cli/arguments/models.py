"""The words of the commands that train a recipe's model, look at it, serve it and talk with it."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from maquette.cli.arguments.options import Count, File, MaybeText, Text


@dataclass(frozen=True)
class Train:
    """A recipe."""

    recipe: Annotated[
        Positional[str],
        arg(
            metavar="RECIPE",
            help="tiny-llama, small-llama, tiny-chat, tiny-vlm, tiny-video, pi0, diffusion-policy or act; or, with "
            "options of their own (maquette train sft --help), sft or grpo.",
        ),
    ]
    _: KW_ONLY
    text: File = None
    """Your own text, a folder or a file in UTF-8, instead of the default; not for tiny-chat."""
    dataset: MaybeText = None
    """A Hugging Face dataset (needs the extra hub); for a policy the folder of a LeRobot dataset."""
    clips: File = None
    """Your own clips for tiny-video: a folder of video files, each with its caption in a .txt beside it."""
    overfit: bool = False
    """Of tiny-video: is it learning? Train on one batch over and over, 200 steps if --steps is not given; then stop."""
    out: File = None
    """Where the checkpoint folder goes; runs/train/RECIPE, if not given."""
    steps: Count = None
    """Another number of steps than the recipe's."""
    seed: int = 0
    """Of the initial weights and of the data's order."""
    device: Text = "auto"
    """cpu, cuda, cuda:1 …; a GPU where there is one, if not given."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: replicate the model, or shard it."""
    tensorboard: bool = False
    """Write TensorBoard scalars too (needs the extra track)."""
    head: MaybeText = None
    """Of a policy: flow, diffusion, l1 or bins; its usual one, if not given."""
    size: MaybeText = None
    """Of a policy: tiny, small or medium."""
    chunk: Count = None
    """Of a policy: actions at a time."""
    parent: File = None
    """Of a policy: the folder of one to begin with, instead of drawn weights."""
    vlm: File = None
    """Of pi0: the folder of a vision-language model to begin with, which tiny-vlm leaves."""


@dataclass(frozen=True)
class Serve:
    """A model behind the OpenAI API, or a policy behind openpi's protocol."""

    directory: Annotated[
        Positional[Path],
        arg(metavar="DIR", help="A checkpoint folder in the Hugging Face layout, or a policy's folder."),
    ]
    _: KW_ONLY
    host: Text = "127.0.0.1"
    """The address to listen at; one that others reach needs a token in the environment variable MAQUETTE_TOKEN."""
    port: Annotated[int, arg(metavar="N")] = 8000
    """0 takes a free one."""
    name: MaybeText = None
    """What clients call the model; the folder's name, if not given."""
    rows: Annotated[int, arg(metavar="N")] = 64
    """Samples that run at once."""
    context: Count = None
    """Tokens of prompt and answer together; the model's, up to 4,096, if not given."""
    dtype: Text = "float32"
    """Or bfloat16."""
    device: Text = "auto"
    """cpu, cuda, cuda:1 …; a GPU where there is one, if not given."""
    invariant: bool = False
    """The same prompt and seed give the same text whatever else is asked for, to the bit; slower."""
    seconds: Annotated[float, arg(metavar="SECONDS")] = 600.0
    """What one request may take."""
    chunking: MaybeText = None
    """Of a policy: plain, realtime or ensemble, where a client does not say; plain, if not given."""
    taken: Count = None
    """Of a policy: actions that a client carries out between two observations, where it does not say; 1."""
    delay: Count = None
    """Of a policy: actions that it carries out while a chunk is thought of, where it does not say; 0."""


@dataclass(frozen=True)
class Inspect:
    """A checkpoint folder, a policy or a dataset."""

    directory: Annotated[
        Positional[Path],
        arg(metavar="DIR", help="A checkpoint folder, a policy's folder, or a LeRobot dataset."),
    ]
    _: KW_ONLY
    rows: Annotated[int, arg(metavar="N")] = 64
    """Samples at once that the cache's memory is told for."""
    context: Count = None
    """Tokens of prompt and answer together; the model's, up to 4,096, if not given."""
    sheet: File = None
    """Of a dataset: where to draw its contact sheet, a PNG."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Chat:
    """A conversation in the terminal."""

    where: Annotated[Positional[str], arg(metavar="DIR", help="A checkpoint folder, or an endpoint's URL.")]
    _: KW_ONLY
    model: Text = ""
    """What the endpoint calls its model."""
    system: Text = ""
    """What the model is told first, and again after /new."""
    temperature: Annotated[float, arg(metavar="T")] = 0.7
    """0 takes the likeliest word."""
    max_tokens: Annotated[int, arg(metavar="N")] = 256
    """Of an answer; fewer where the conversation leaves no room for so many."""
    seed: Count = None
    """The same seed and words give the same answers."""
