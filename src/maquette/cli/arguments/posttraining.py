"""The words of the commands that train a model further and look at what came of it."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from maquette.cli.arguments.options import Count, File, MaybeText, Text

Dir = Annotated[Path, arg(metavar="DIR")]
Lines = Annotated[Path, arg(metavar="FILE")]
Number = Annotated[int, arg(metavar="N")]
Real = Annotated[float, arg(metavar="X")]


@dataclass(frozen=True, kw_only=True)
class TrainSft:
    """Fine-tuning."""

    model: Dir
    """A checkpoint folder in the Hugging Face layout."""
    data: Lines
    """Lines of JSON with prompt and completion, or with messages."""
    out: File = None
    """Where the result goes; runs/train/MODEL-sft, if not given."""
    epochs: Number = 1
    """How often the examples are gone through."""
    steps: Count = None
    """So many steps, instead of epochs."""
    rows: Number = 8
    """Rows of a step."""
    length: Number = 0
    """Tokens of a row; the longest example's, if not given."""
    unpacked: bool = False
    """One example to a row."""
    lr: Real = 2e-5
    """Peak learning rate; small models want more, 1e-3 say."""
    teacher: File = None
    """A checkpoint folder with the same tokenizer, whose logits on the replies are learned instead of the replies."""
    accumulate: Number = 1
    """Parts that a step is computed in, where memory is short."""
    seed: Number = 0
    """Of the order of the examples."""
    device: Text = "auto"
    """cpu, cuda, cuda:1 …; a GPU where there is one, if not given."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: replicate the model, or shard it."""
    tensorboard: bool = False
    """Write TensorBoard scalars too (needs the extra track)."""


@dataclass(frozen=True, kw_only=True)
class TrainGrpo:
    """Reinforcement."""

    model: Dir
    """A checkpoint folder in the Hugging Face layout."""
    data: Lines
    """Lines of JSON with prompt or messages, and whatever the reward reads beside."""
    reward: Text
    """A Python file that defines reward(reply, row) -> a number, or named parts of one; or puzzles, for theirs."""
    out: File = None
    """Where the result goes; runs/train/MODEL-grpo, if not given."""
    preset: Text = "grpo"
    """grpo, r1, dr-grpo, dapo or rloo: the settings of that paper."""
    iterations: Number = 100
    """Each samples replies, then updates."""
    prompts: Number = 8
    """Of an iteration."""
    group: Number = 8
    """Replies to each prompt."""
    max_tokens: Number = 256
    """Of a reply."""
    temperature: Real = 1.0
    """Replies are drawn at."""
    minibatches: Number = 1
    """Updates that an iteration's prompts are shared among."""
    passes: Number = 1
    """How often an iteration's replies are gone through."""
    kl: Annotated[float | None, arg(metavar="X")] = None
    """Another weight of the distance from the first policy than the preset's."""
    lr: Real = 1e-6
    """Peak learning rate; small models want more, 3e-4 say."""
    validation: File = None
    """Lines of JSON that are not trained on; pass@1 on them is told as the run goes."""
    evaluate_every: Number = 20
    """Iterations from one look at them to the next."""
    accumulate: Number = 1
    """Parts that an update is computed in, where memory is short."""
    seed: Number = 0
    """Of the prompts' order and of the replies."""
    device: Text = "auto"
    """cpu, cuda, cuda:1 …; a GPU where there is one, if not given."""
    tensorboard: bool = False
    """Write TensorBoard scalars too (needs the extra track)."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Replies to learn from."""

    model: Dir
    """A checkpoint folder in the Hugging Face layout: the model itself, or its teacher."""
    data: Lines
    """Lines of JSON with prompt or messages, and whatever the reward reads beside."""
    reward: MaybeText = None
    """As of train grpo; every reply is kept, if not given."""
    out: File = None
    """Where the lines go; runs/sample/FILE, if not given."""
    samples: Number = 8
    """Replies drawn to each prompt."""
    keep: Number = 1
    """At most so many different ones are kept, the best first."""
    least: Real = 1.0
    """The reward from which one is good enough."""
    max_tokens: Number = 256
    """Of a reply; one that is cut short is never kept."""
    temperature: Real = 1.0
    """Replies are drawn at."""
    rows: Number = 64
    """Replies that are drawn at once."""
    seed: Number = 0
    """Of the replies."""
    device: Text = "auto"
    """cpu, cuda, cuda:1 …; a GPU where there is one, if not given."""


@dataclass(frozen=True)
class Show:
    """A run of reinforcement learning."""

    run: Annotated[Positional[Path], arg(metavar="RUN", help="The folder that the run left.")]
    _: KW_ONLY
    iteration: Count = None
    """Whose replies to show; the last one's, if not given."""
    groups: Number = 2
    """How many prompts."""
    page: bool = False
    """Write a page, show.html, in the run's folder."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Solve:
    """Problems."""

    problems: Annotated[
        Positional[Path], arg(metavar="FILE", help="Lines of JSON with prompt or messages, and answer where known.")
    ]
    _: KW_ONLY
    model: Text
    """A checkpoint folder, or an endpoint's URL."""
    name: Text = ""
    """What the endpoint calls its model."""
    strategy: Literal["direct", "majority", "best-of-n"] = "direct"
    """One sample, the commonest answer, or the sample with the highest score."""
    samples: Count = None
    """Of each problem; 1 for direct and 16 else, if not given. Kept in powers of two: 5 draws 8, of which 5 count."""
    check: MaybeText = None
    """A Python file with reward(reply, row), and if wanted answer(reply, row) and score(reply, row); or puzzles."""
    max_tokens: Number = 256
    """Of a sample."""
    temperature: Annotated[float | None, arg(metavar="T")] = None
    """0 for direct and 0.7 else, if not given."""
    seed: Number = 0
    """The same seed gives the same samples."""
    out: File = None
    """Where answers, curve and samples go; runs/solve/FILE, if not given. The same command again goes on there."""
    json: bool = False
    """Print JSON."""
