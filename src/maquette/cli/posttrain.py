"""The commands that train a model further, and those that draw its replies to learn from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.posttraining import Sample, TrainGrpo, TrainSft
from maquette.cli.progress import counting_bar
from maquette.cli.training import sinks
from maquette.core.devices import pick_device, prepare_process
from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.user_code import functions_of

if TYPE_CHECKING:
    from maquette.language.posttrain.rewarding import Reward
    from maquette.train.distributed import World

PUZZLES = "puzzles"


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
    reward = reward_of(command.reward, command.data, *([command.validation] if command.validation else []))
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

    reward = reward_of(command.reward, command.data) if command.reward else None
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


def reward_of(name: str, *data: Path) -> "Reward":
    """The reward function of a user's file, or the puzzles' own.

    Raises:
        UserError: there is no such file, or it defines no reward; or rows of the data are no puzzles.
    """
    if name == PUZZLES:
        from maquette.language.posttrain.examples import read_rows
        from maquette.worlds.puzzles.grading import reward
        from maquette.worlds.puzzles.rows import check_rows

        for path in data:
            check_rows(read_rows(path), path)
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
