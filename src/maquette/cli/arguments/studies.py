"""The words of the commands on studies."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from maquette.cli.arguments.options import RECORDS, Amount, Count, File, MaybeText, Share, Text

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
    """Your own runs to fit the law to: a CSV with parameters, tokens and loss, and maybe non_embedding and curve."""
    json: bool = False
    """Print JSON."""
