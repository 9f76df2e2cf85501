"""The command line's words: one dataclass a command, and tyro's complaints put into one sentence.

Nothing heavy is imported here: help needs neither torch nor a study.
"""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from maquette import __version__
from maquette.cli.arguments.models import Chat, Inspect, Serve, Train
from maquette.cli.arguments.options import of_the_type_meant
from maquette.cli.arguments.posttraining import Sample, Show, Solve, TrainGrpo, TrainSft
from maquette.cli.arguments.robots import Collect, Doctor, Evaluate
from maquette.cli.arguments.scenes import Generate, World
from maquette.cli.arguments.studies import Criticise, Improve, List, New, Plan, PlanStudy, Report, Run, Tour
from maquette.core.errors import UserError, did_you_mean

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
        "Train a recipe's model on text, clips, pictures or demonstrations: tiny-llama, tiny-video, tiny-vlm, pi0…",
        "maquette train tiny-llama --text ~/notes",
    ),
    "train-sft": (
        TrainSft,
        "Fine-tune a checkpoint folder on your examples, or distil a teacher's logits: maquette train sft.",
        "maquette train sft --model runs/train/tiny-llama --data examples.jsonl",
    ),
    "train-grpo": (
        TrainGrpo,
        "Reinforce a checkpoint folder by a reward that is a plain Python function: maquette train grpo.",
        "maquette train grpo --model DIR --data prompts.jsonl --reward my_reward.py --preset dapo",
    ),
    "sample": (
        Sample,
        "Draw replies to your prompts and keep the best: rejection sampling, or a teacher's replies to distil.",
        "maquette sample --model DIR --data prompts.jsonl --reward my_reward.py --samples 16",
    ),
    "show": (
        Show,
        "Look into a run of reinforcement learning: prompts, replies, rewards, advantages, and what is to be said.",
        "maquette show runs/train/my-model-grpo --page",
    ),
    "solve": (
        Solve,
        "Answer problems by one sample or many, and plot accuracy against tokens.",
        "maquette solve problems.jsonl --model DIR --strategy majority --samples 16",
    ),
    "chat": (
        Chat,
        "Talk with a checkpoint folder's model, or an endpoint's.",
        "maquette chat runs/train/tiny-chat --seed 0",
    ),
    "inspect": (
        Inspect,
        "What a checkpoint folder, a policy or a LeRobot dataset holds; and what is wrong with it.",
        "maquette inspect runs/collect/push-to --sheet push-to.png",
    ),
    "serve": (
        Serve,
        "Serve a checkpoint folder through the OpenAI API, or a policy's folder to openpi's clients.",
        "maquette serve runs/train/tiny-llama --port 8000",
    ),
    "generate": (
        Generate,
        "Make clips from words with a trained video model: MP4, GIF and a contact sheet.",
        'maquette generate "a large green ball bounces to the right." --seed 1',
    ),
    "collect": (
        Collect,
        "Demonstrations by the scene world's experts, as a LeRobot dataset.",
        "maquette collect runs/collect/push-to --task push-to --episodes 200",
    ),
    "doctor": (
        Doctor,
        "What is wrong with demonstrations before a long training, or with a policy on them: 1 if a fault is found.",
        "maquette doctor runs/train/pi0 --dataset runs/collect/push-to",
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
    arguments = _one_word(arguments)
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
        raise UserError(of_the_type_meant(_in_short(complaint.getvalue(), first))) from None


def _one_word(arguments: Sequence[str]) -> Sequence[str]:
    """`train sft` as the command that it is: its options are others than those of `train RECIPE`."""
    both = "-".join(arguments[:2])
    return [both, *arguments[2:]] if arguments[0] == "train" and both in COMMANDS else arguments


def _in_short(complaint: str, command: str) -> str:
    lines = [line.strip("│╭╮╰╯─ ") for line in complaint.splitlines()]
    rules = [index for index, line in enumerate(complaint.splitlines()) if "───" in line]
    said = " ".join(filter(None, lines[rules[0] + 1 : rules[1]])) if len(rules) > 1 else " ".join(filter(None, lines))
    near = re.search(r"Perhaps you meant:\W+(--[\w-]+)", complaint)
    hint = f"; did you mean {near[1]}?" if near else "."
    return f"{said.rstrip('.')}{hint} See: maquette {command if command in COMMANDS else ''} --help".replace("  ", " ")
