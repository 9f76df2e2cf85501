"""The commands that train a model further and look at what came of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.posttraining import Sample, Show, TrainGrpo, TrainSft
from maquette.cli.progress import counting_bar
from maquette.cli.training import sinks
from maquette.core.devices import pick_device, prepare_process
from maquette.core.errors import UserError
from maquette.core.files import fingerprint, write_text
from maquette.core.user_code import functions_of

if TYPE_CHECKING:
    from maquette.language.posttrain.experience import Reward
    from maquette.language.posttrain.journal import Journal, Shown
    from maquette.train.distributed import World

PUZZLES = "puzzles"
FIRST = ("reward", "pass@1", "entropy")
"""What is told beside the progress."""


def sft(command: TrainSft) -> int:
    """Fine-tune."""
    prepare_process()
    from maquette.language.posttrain.sft import SftConfig
    from maquette.language.posttrain.stages import Stage, fine_tune
    from maquette.train.distributed import join_world
    from maquette.train.loop import TrainConfig
    from maquette.train.optimizers import OptimizerConfig
    from maquette.train.schedules import Schedule

    if command.steps is None and command.epochs < 1:
        raise UserError(f"--epochs is {command.epochs}; it must be at least 1.")
    pick_device(command.device)
    world = join_world(command.strategy)
    out = command.out or RECORDS[0] / "train" / f"{command.model.resolve().name}-sft"
    train = TrainConfig(
        steps=1 if command.steps is None else command.steps,
        optimizer=OptimizerConfig(lr=command.lr, weight_decay=0.0),
        schedule=Schedule(kind="cosine", warmup=10),
        accumulate=command.accumulate,
        seed=command.seed,
        device=command.device,
        save_every=200,
    )
    config = SftConfig(train=train, rows=command.rows, length=command.length, packed=not command.unpacked)
    with _progress(world, "fine-tuning") as (tell, _):
        trained = fine_tune(
            Stage(
                model=command.model,
                data=command.data,
                out=out,
                sinks=sinks(command.tensorboard, out, world),
                progress=tell,
                world=world,
            ),
            config,
            epochs=0 if command.steps is not None else command.epochs,
            teacher=command.teacher,
        )
    if world.leads:
        print(f"checkpoint folder: {out} ({trained.seconds:.0f} s)")
    return 0


def grpo(command: TrainGrpo) -> int:
    """Reinforce."""
    prepare_process()
    from maquette.language.posttrain.stages import Stage, reinforce
    from maquette.language.posttrain.switches import GrpoConfig, preset
    from maquette.language.posttrain.watching import Narrator
    from maquette.train.distributed import join_world
    from maquette.train.loop import TrainConfig
    from maquette.train.optimizers import OptimizerConfig
    from maquette.train.schedules import Schedule

    switches = preset(command.preset)
    if command.kl is not None:
        switches = replace(switches, kl=command.kl)
    reward = reward_of(command.reward)
    pick_device(command.device)
    world = join_world()
    out = command.out or RECORDS[0] / "train" / f"{command.model.resolve().name}-grpo"
    train = TrainConfig(
        steps=command.iterations,
        optimizer=OptimizerConfig(lr=command.lr, weight_decay=0.0),
        schedule=Schedule(kind="constant", warmup=5),
        accumulate=command.accumulate,
        seed=command.seed,
        device=command.device,
        log_every=1,
        save_every=10,
        evaluate_every=command.evaluate_every if command.validation else 0,
    )
    names = ("prompts", "group", "max_tokens", "temperature", "minibatches", "passes")
    config = GrpoConfig(train=train, switches=switches, **{name: getattr(command, name) for name in names})
    with _progress(world, "reinforcing") as (tell, say):
        trained = reinforce(
            Stage(
                model=command.model,
                data=command.data,
                out=out,
                sinks=[Narrator(say), *sinks(command.tensorboard, out, world)],
                progress=tell,
                world=world,
            ),
            reward,
            config,
            validation=command.validation,
        )
    if world.leads:
        for name, value in trained.final.items():
            print(f"{name.replace('_', ' ')} {value:.3f}")
        print(f"checkpoint folder: {out}\nlook into it: maquette show {out}")
    return 0


def sample(command: Sample) -> int:
    """Draw replies and keep the best."""
    prepare_process()
    from maquette.language.posttrain.rejection import RejectionConfig
    from maquette.language.posttrain.stages import Stage, draw
    from maquette.train.distributed import join_world

    reward = reward_of(command.reward) if command.reward else None
    device = pick_device(command.device)
    world = join_world()
    out = command.out or RECORDS[0] / "sample" / command.data.name
    names = ("samples", "keep", "least", "max_tokens", "temperature", "rows", "seed")
    config = RejectionConfig(**{name: getattr(command, name) for name in names})
    judge = fingerprint(Path(command.reward).read_text("utf-8")) if command.reward not in (None, PUZZLES) else ""
    with _progress(world, "sampling") as (tell, _):
        stage = Stage(model=command.model, data=command.data, out=out, progress=tell, world=world)
        drawn = draw(stage, config, reward, judge=f"{command.reward} {judge}", device=str(device))
    if world.leads:
        print(f"kept {drawn.replies:,} replies to {drawn.answered:,} of {drawn.prompts:,} prompts: {out}")
        if drawn.replies:
            print(f"learn them: maquette train sft --model {command.model} --data {out}")
        else:
            print(f"No reply was worth {command.least:g}; draw more samples, or ask for less.")
    return 0


def reward_of(name: str) -> "Reward":
    """The reward function of a user's file, or the puzzles' own.

    Raises:
        UserError: there is no such file, or it defines no reward.
    """
    if name == PUZZLES:
        from maquette.worlds.puzzles.grading import reward

        return reward
    return functions_of(Path(name), needed="reward")["reward"]


@contextmanager
def _progress(world: "World", what: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """A bar, and a way to say a sentence above it."""
    console = Console(stderr=True, quiet=not world.leads)
    with counting_bar(console) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda done, total: bar.update(task, completed=done, total=total),
            lambda sentence: console.print(f"• {sentence}", markup=False, highlight=False),
        )


def show(command: Show) -> int:
    """Print what a run did, or write it as a page."""
    from maquette.language.posttrain.journal import read_journal

    journal = read_journal(command.run)
    iteration = max(journal.samples) if command.iteration is None else command.iteration
    groups = journal.groups(iteration)[: max(1, command.groups)]
    if command.json:
        told = {"rows": journal.rows, "said": journal.said, "iteration": iteration}
        print(json.dumps(told | {"groups": [asdict(one) for one in groups]}, indent=1, ensure_ascii=False))
        return 0
    if command.page:
        path = command.run / "show.html"
        write_text(path, page(command.run.name, journal, iteration, journal.groups(iteration)))
        print(path)
        return 0
    console = Console()
    console.print(_numbers(journal))
    for sentence in journal.said:
        console.print(f"• {sentence}", markup=False, highlight=False)
    for group in groups:
        console.print(_replies(group, iteration))
    return 0


def _numbers(journal: "Journal") -> Table:
    """Where every number began and where it is."""
    table = Table("", "first", "last", box=None)
    first, last = journal.rows[0], journal.rows[-1]
    for name in [name for name in last if name != "step"]:
        table.add_row(name, *(f"{row[name]:.4g}" if name in row else "" for row in (first, last)))
    if journal.evaluations:
        ends = (journal.evaluations[0], journal.evaluations[-1])
        table.add_row("validation pass@1", *(f"{row['validation_pass@1']:.4g}" for row in ends))
    return table


def _replies(group: "Shown", iteration: int) -> Table:
    """A prompt and its replies, the best first; what a model wrote is never read as markup."""
    table = Table("reward", "advantage", "reply", title=Text(f"iteration {iteration}: {group.prompt}"), expand=True)
    table.title_justify = "left"
    for reply in group.replies:
        colour = "green" if reply.advantage > 0 else "red" if reply.advantage < 0 else ""
        words = Text(reply.text + ("…" if reply.finish == "length" else ""))
        table.add_row(f"{reply.reward:.3g}", Text(f"{reply.advantage:+.2f}", style=colour), words)
    return table


def page(name: str, journal: "Journal", iteration: int, groups: "list[Shown]") -> str:
    """The run as one HTML file."""
    import jinja2

    from maquette.lab.figures import Figure, Series, draw

    def over_iterations(title: str, y: str, names: list[str]) -> Figure:
        there = [one for one in names if any(one in row for row in journal.rows)]
        series = [
            Series(
                x=[row["step"] for row in journal.rows if one in row],
                y=[row[one] for row in journal.rows if one in row],
                label=one,
            )
            for one in there
        ]
        return Figure(title=title, x="update", y=y, series=series)

    last = journal.rows[-1]
    parts = [one for one in last if one.startswith("reward/")]
    figures = [
        over_iterations("Reward and its parts", "mean of the replies", ["reward", *parts]),
        over_iterations("Right answers", "pass@k", [one for one in last if one.startswith("pass@")]),
        over_iterations("Entropy", "nats a token", ["entropy"]),
        over_iterations("What teaches nothing or is held back", "share", ["zero_variance", "clip_rate", "truncated"]),
    ]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = (Path(__file__).parent / "templates" / "run.html.j2").read_text(encoding="utf-8")
    told: dict[str, Any] = {"name": name, "iteration": iteration, "said": journal.said, "groups": groups}
    return environment.from_string(template).render(
        **told, figures=[(one.title, draw(one)) for one in figures], first=journal.rows[0], last=last
    )
