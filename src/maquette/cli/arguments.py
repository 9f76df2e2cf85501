"""The command line's words: one dataclass a command, and tyro's complaints put into one sentence.

Nothing heavy is imported here: help needs neither torch nor a study.
"""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg, subcommand

from maquette import __version__
from maquette.cli.robot_arguments import Collect, Evaluate
from maquette.core.errors import UserError, did_you_mean

RECORDS = (Path("runs"), Path("results"))
"""Where records are looked for: this machine's own, then the committed ones."""

Count = Annotated[int | None, arg(metavar="N")]
Amount = Annotated[str | None, arg(metavar="AMOUNT")]
File = Annotated[Path | None, arg(metavar="PATH")]
Text = Annotated[str, arg(metavar="NAME")]
MaybeText = Annotated[str | None, arg(metavar="NAME")]
Share = Annotated[float | None, arg(metavar="SHARE")]
Name = Annotated[Positional[str], arg(metavar="NAME", help="A study's name, or a .py file that defines STUDY.")]


@dataclass(frozen=True, kw_only=True)
class List:
    """See `COMMANDS`; so for the other commands."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Run:
    """A study at one scale."""

    name: Name
    _: KW_ONLY
    scale: Text = "laptop"
    """smoke: seconds, a test. tour: minutes, a story. laptop: 20 minutes to hours, decides. gpu: one accelerator."""
    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""
    seeds: Count = None
    """At most so many seeds, instead of the scale's."""
    records: Path = RECORDS[0]
    """The folder that records go to."""
    json: bool = False
    """Print the outcome as JSON."""


@dataclass(frozen=True)
class Report:
    """The page, the paper or the slides made from records."""

    name: Name
    _: KW_ONLY
    scale: MaybeText = None
    """Of which scale; the largest there are records of, if not given."""
    records: File = None
    """The folder that records lie in; runs, then results, if not given."""
    pdf: bool = False
    """Write a paper of two columns, report.pdf, instead of the page."""
    slides: bool = False
    """Write the slides of a ten-minute talk, slides.pdf."""
    author: Annotated[tuple[str, ...], arg(metavar="NAME"), UseAppendAction] = ()
    """Whose report it is; again, or with commas, for several."""
    discussion: File = None
    """Your own part, in Markdown; it may refer to @fig:forest, @tab:claims, @sec:criticism and the like."""
    axes: MaybeText = None
    """The axes of the criticism to show, with commas between; all there are records of, if not given."""
    out: File = None
    """The file to write; report.html, report.pdf or slides.pdf beside the records, if not given."""


@dataclass(frozen=True, kw_only=True)
class Tour:
    """Every study's story."""

    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Quantities of a training run."""

    budget: Amount = None
    """Training FLOPs, such as 3.8e25."""
    parameters: Amount = None
    """Size of the model, such as 405B."""
    tokens: Amount = None
    """Training tokens, such as 15.6T."""
    hours: Amount = None
    """Wall-clock hours on all devices."""
    device_hours: Amount = None
    """Hours times devices, such as 30.84M."""
    hardware: Text = "h100"
    """What it runs on: h100, h200, a100, rtx4090 or 2cpu."""
    devices: int = 1
    """How many of them."""
    mfu: Share = None
    """Model FLOPs utilisation, a share such as 0.4; computed if hours are given."""
    law: MaybeText = None
    """A published law: besiroglu (if not given), hoffmann-1, hoffmann-2, hoffmann-3, kaplan, llama-3."""
    runs: File = None
    """Your own runs, a CSV to fit the law to."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Train:
    """A recipe."""

    recipe: Annotated[
        Positional[str], arg(metavar="RECIPE", help="tiny-llama, small-llama, pi0, diffusion-policy or act.")
    ]
    _: KW_ONLY
    text: File = None
    """Your own text, a folder or a file in UTF-8, instead of the default."""
    dataset: MaybeText = None
    """A Hugging Face dataset (needs the extra hub); for a policy the folder of a LeRobot dataset."""
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


@dataclass(frozen=True)
class Criticise:
    """A study along its axes."""

    name: Name
    _: KW_ONLY
    axis: MaybeText = None
    """The axes to bend, by name, with commas between; all of them, if not given."""
    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""
    records: Path = RECORDS[0]
    """The folder that records go to."""
    json: bool = False
    """Print the curves as JSON."""


@dataclass(frozen=True)
class Improve:
    """A study's search."""

    name: Name
    _: KW_ONLY
    trials: Annotated[int, arg(metavar="N")] = 20
    """Candidates to try; a later call with more goes on from there."""
    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""
    records: Path = RECORDS[0]
    """The folder that records go to."""
    json: bool = False
    """Print the outcome as JSON."""


@dataclass(frozen=True)
class PlanStudy:
    """A study's pilot."""

    name: Name
    _: KW_ONLY
    seeds: Annotated[int, arg(metavar="N")] = 5
    """Seeds of the pilot, none of which ever judges the study."""
    jobs: Count = None
    """Trials at a time, each in a process of its own with its share of the cores; one a core, if not given."""
    records: Path = RECORDS[0]
    """The folder that records go to."""


@dataclass(frozen=True)
class New:
    """A scaffold."""

    name: Annotated[Positional[str], arg(metavar="NAME", help="What to call the study, my-paper say.")]
    _: KW_ONLY
    out: File = None
    """The folder to write it to; this one, if not given."""


@dataclass(frozen=True)
class Serve:
    """A model behind the OpenAI API."""

    directory: Annotated[Positional[Path], arg(metavar="DIR", help="A checkpoint folder in the Hugging Face layout.")]
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
    """What the model is told first."""
    temperature: Annotated[float, arg(metavar="T")] = 0.7
    """0 takes the likeliest word."""
    max_tokens: Annotated[int, arg(metavar="N")] = 256
    """Of an answer."""
    seed: Count = None
    """The same seed and words give the same answers."""


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
    """Width of a frame, from 16 on; the pictures are enlarged."""
    law: MaybeText = None
    """Ten clips of one law, pendulum say, instead of one of each and five tasks."""
    out: Path = RECORDS[0] / "world"
    """The folder that the pictures go to."""
    json: bool = False
    """Print JSON."""


COMMANDS: Mapping[str, tuple[type, str, str]] = {
    "list": (List, "Every study: its question, its verdicts, its cost.", "maquette list"),
    "run": (Run, "Run a study: arms × seeds, then the verdict on each claim.", "maquette run scaling_laws --jobs 2"),
    "report": (
        Report,
        "Write a study's report from its records: one HTML page, or a PDF, or slides.",
        'maquette report scaling_laws --pdf --author "A. Student" --discussion my.md',
    ),
    "criticise": (
        Criticise,
        "Run a study again along axes on which the world is bent: where do its claims break?",
        "maquette criticise scaling_laws --axis vocabulary",
    ),
    "improve": (
        Improve,
        "Search for a better configuration at equal cost, and judge it on seeds that the search has not seen.",
        "maquette improve scaling_laws --trials 12",
    ),
    "plan-study": (
        PlanStudy,
        "Run a study's pilot on seeds that never judge it, and print the plan to paste.",
        "maquette plan-study ./my_paper.py",
    ),
    "new": (New, "Begin a study of your own paper: one file that runs as it stands.", "maquette new my-paper"),
    "tour": (Tour, "The main job: a story from each study, and a report at the end.", "maquette tour"),
    "train": (
        Train,
        "Train a recipe's model; the result is a checkpoint folder that transformers loads too.",
        "maquette train tiny-llama --text ~/notes",
    ),
    "chat": (
        Chat,
        "Talk with a checkpoint folder's model, or an endpoint's.",
        "maquette chat ~/models/SmolLM2-135M-Instruct --seed 0",
    ),
    "inspect": (
        Inspect,
        "What a checkpoint folder, a policy or a LeRobot dataset holds; and what is wrong with it.",
        "maquette inspect runs/collect/push-to --sheet push-to.png",
    ),
    "serve": (
        Serve,
        "Serve a checkpoint folder through the OpenAI API: completions, chat, streams, log-probabilities.",
        "maquette serve runs/train/tiny-llama --port 8000",
    ),
    "collect": (
        Collect,
        "Demonstrations by the scene world's experts, as a LeRobot dataset.",
        "maquette collect runs/collect/push-to --task push-to --episodes 200",
    ),
    "evaluate": (
        Evaluate,
        "How often a policy succeeds, from fixed initial states: an interval, kinds of failure, animations.",
        "maquette evaluate runs/train/pi0 --episodes 200",
    ),
    "world": (
        World,
        "Look at a world that data comes from: what is in it, a contact sheet, an animation.",
        "maquette world scene --show",
    ),
    "plan": (
        Plan,
        "From a budget, a size or a token count to the whole of a training run.",
        "maquette plan --parameters 405B --tokens 15.6T --device-hours 30.84M",
    ),
}


def parse(arguments: Sequence[str]) -> Any:
    """The command as its dataclass; tyro's boxed complaints become one sentence."""
    first = arguments[0]
    if not first.startswith("-") and first not in COMMANDS:
        raise UserError(f"There is no command {first!r}; {did_you_mean(first, COMMANDS)}")
    choices: Any = None
    for name, (kind, text, example) in COMMANDS.items():
        choice = Annotated[kind, subcommand(name, description=f"{text}\n\nExample: {example}")]
        choices = choice if choices is None else choices | choice
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                choices,
                prog="maquette",
                description=f"Maquette {__version__}: small, faithful models of today's foundation models.",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as ended:
        if not ended.code:
            raise
        raise UserError(_in_short(complaint.getvalue(), first)) from None


def _in_short(complaint: str, command: str) -> str:
    lines = [line.strip("│╭╮╰╯─ ") for line in complaint.splitlines()]
    rules = [index for index, line in enumerate(complaint.splitlines()) if "───" in line]
    said = " ".join(filter(None, lines[rules[0] + 1 : rules[1]])) if len(rules) > 1 else " ".join(filter(None, lines))
    near = re.search(r"Perhaps you meant:\W+(--[\w-]+)", complaint)
    hint = f"; did you mean {near[1]}?" if near else "."
    return f"{said.rstrip('.')}{hint} See: maquette {command if command in COMMANDS else ''} --help".replace("  ", " ")
