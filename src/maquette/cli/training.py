"""`maquette train RECIPE`: a model that learns from text, conversations, pictures, clips or demonstrations."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from maquette.cli.arguments.models import Train
from maquette.cli.arguments.options import RECORDS
from maquette.cli.progress import counting_bar
from maquette.core.devices import pick_device, pick_precision, prepare_process
from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import refuse_unwritable

if TYPE_CHECKING:
    from maquette.core.statistics import Share
    from maquette.language.answered import Answered
    from maquette.train.distributed import World
    from maquette.train.loop import TrainConfig
    from maquette.train.metrics import Sink
    from maquette.video.diagnosis import Diagnosis
    from maquette.video.judging import Examined
    from maquette.video.recipes import Recipe

WORDS = ("tiny-llama", "small-llama")
TALKS = ("tiny-chat",)
CLIPS = ("tiny-video",)
PICTURES = ("tiny-vlm",)
POLICIES = ("pi0", "diffusion-policy", "act")
"""Recipes by what they learn from: text, conversations, clips, pictures with questions, demonstrations."""
EXAMINATION = 2**40
"""The seed of the clips of an examination, the same for all that are trained: far from those of any training."""
NEW = "combinations never trained on"
OVERFIT_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class Session:
    """Where a run's results go, who takes part in it, and where it is seen."""

    out: Path
    world: "World"
    console: Console
    """Quiet in all processes but the first."""
    sinks: "list[Sink]"

    def bar(self) -> Progress:
        """A bar for its stages."""
        return counting_bar(self.console)


def train(command: Train) -> int:
    """Train a recipe; with --overfit 1 if it would not learn."""
    _refuse_strangers(command)
    allocator = prepare_process()  # before anything imports torch, because it may start the process anew
    kinds = {
        WORDS: _on_words,
        TALKS: _on_conversations,
        CLIPS: _on_clips,
        PICTURES: _on_pictures,
        POLICIES: _on_demonstrations,
    }
    return next(run for recipes, run in kinds.items() if command.recipe in recipes)(command, allocator)


def sinks(wanted: bool, out: Path, world: "World") -> "list[Sink]":
    """Where numbers go besides metrics.jsonl: to TensorBoard, if that is wanted.

    Raises:
        UserError: it is not installed.
    """
    from maquette.train.metrics import TensorBoard

    return [TensorBoard(out / "training")] if wanted and world.leads else []


def _refuse_strangers(command: Train) -> None:
    """Raise a UserError where there is no such recipe, or an option is for recipes of another kind."""
    name, known = command.recipe, (*WORDS, *TALKS, *CLIPS, *PICTURES, *POLICIES)
    if name not in known:
        raise UserError(f"There is no recipe {name!r}; {did_you_mean(name, known)}")
    of_policies = [one for one in ("head", "size", "chunk", "parent", "vlm") if getattr(command, one) is not None]
    if of_policies and name not in POLICIES:
        raise UserError(f"--{of_policies[0]} is for policies, and {name} is none; leave it out.")
    if command.clips and name not in CLIPS:
        raise UserError(f"--clips goes with {' or '.join(CLIPS)}; {name} learns from other things.")
    if command.overfit and name not in CLIPS:
        raise UserError(f"--overfit goes with {' or '.join(CLIPS)}; leave it out for {name}.")
    if name in CLIPS and (command.text or command.dataset):
        raise UserError(f"{name} learns from clips (--clips); leave --text and --dataset out.")
    if name in CLIPS and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{name} trains in one process; start it without torchrun.")
    if name in POLICIES and (not command.dataset or command.text):
        raise UserError(f"{name} learns from a LeRobot dataset; give --dataset DIR, and no --text.")
    if name in TALKS and (command.text or command.dataset):
        raise UserError(f"{name} learns conversations, not text; leave --text and --dataset out.")
    if name in PICTURES and (command.text or command.dataset):
        raise UserError(f"{name} learns from the scene world's tables; leave --text and --dataset out.")
    if command.text and command.dataset:
        raise UserError("--text and --dataset were both given; leave one out.")
    if command.seed < 0:
        raise UserError(f"--seed is {command.seed}; it must be 0 or more.")


def _begun(command: Train, about: str, config: "TrainConfig", allocator: str) -> Session:
    """Join the other processes and say what is trained, and how; a device that is not there is refused before."""
    from maquette.train.distributed import join_world

    device = pick_device(command.device)
    world, out = join_world(command.strategy), command.out or RECORDS[0] / "train" / command.recipe
    refuse_unwritable(out)
    console = Console(stderr=True, quiet=not world.leads)
    how = f"{pick_precision(config.precision, device)} on {device}"
    console.print(f"{command.recipe}: {about}; {allocator}; {how}", highlight=False)
    return Session(out=out, world=world, console=console, sinks=sinks(command.tensorboard, out, world))


def _as_asked(config: "TrainConfig", command: Train) -> "TrainConfig":
    steps = config.steps if command.steps is None else command.steps
    return replace(config, steps=steps, seed=command.seed, device=command.device)


def _on_words(command: Train, allocator: str) -> int:
    from maquette.language.recipes import RECIPES, carry_out
    from maquette.language.tokenizers import prepare
    from maquette.worlds.text.outside import Folder, HubDataset

    recipe = RECIPES[command.recipe]
    recipe = replace(recipe, train=_as_asked(recipe.train, command))
    hub = HubDataset(name=command.dataset) if command.dataset else None
    source = Folder(path=command.text) if command.text else hub
    session = _begun(command, recipe.about, recipe.train, allocator)
    with session.console.status("reading the text") as status:
        text = prepare(
            source, vocabulary=recipe.model.vocabulary, progress=lambda stage, _: status.update(f"text: {stage}")
        )
    with session.bar() as bar:
        task = bar.add_task("training", total=recipe.train.steps)
        trained = carry_out(
            recipe,
            text,
            session.out,
            sinks=session.sinks,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            world=session.world,
        )
        bar.update(task, completed=recipe.train.steps)  # also where it was finished before
    if session.world.leads:
        _tell_numbers(trained.final)
        print(f"checkpoint folder: {session.out}")
    return 0


def _on_conversations(command: Train, allocator: str) -> int:
    from maquette.language.chat_recipes import RECIPES, carry_out

    recipe = RECIPES[command.recipe]
    recipe = replace(recipe, train=_as_asked(recipe.train, command))
    session = _begun(command, recipe.about, recipe.train, allocator)
    answered = _examined(carry_out, recipe, session)
    if session.world.leads:
        _tell_answers(answered, "Answers on held-out scenes, judged by the interpreter:")
        print(f"checkpoint folder: {session.out}\ntalk with it: maquette chat {session.out}")
    return 0


def _on_pictures(command: Train, allocator: str) -> int:
    from maquette.language.vlm_recipes import RECIPES, carry_out

    recipe = RECIPES[command.recipe]
    recipe = replace(recipe, train=_as_asked(recipe.train, command))
    session = _begun(command, recipe.about, recipe.train, allocator)
    answered = _examined(carry_out, recipe, session)
    if session.world.leads:
        _tell_answers(answered, "Answers about held-out tables, judged by the interpreter:")
        begin = f"begin a policy with it: maquette train pi0 --dataset DIR --vlm {session.out}"
        print(f"model folder: {session.out}\n{begin}")
    return 0


def _examined(carry_out: Callable[..., Any], recipe: Any, session: Session) -> "Sequence[Answered]":
    """Carry out a recipe that answers questions at its end, under a bar that names its stages."""
    from maquette.train.drawing import helping_processes

    with session.bar() as bar, helping_processes() as helpers:
        task = bar.add_task("", total=recipe.train.steps)
        _, answered = carry_out(
            recipe,
            session.out,
            helpers=helpers,
            sinks=session.sinks,
            stage=lambda name: bar.update(task, description=name),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            world=session.world,
        )
    return answered


def _on_demonstrations(command: Train, allocator: str) -> int:
    from maquette.robotics.training import RECIPES, carry_out

    recipe = RECIPES[command.recipe]
    recipe = replace(
        recipe,
        head=command.head or recipe.head,
        size=command.size or recipe.size,
        chunk=recipe.chunk if command.chunk is None else command.chunk,
        train=_as_asked(recipe.train, command),
    )
    session = _begun(command, recipe.about, recipe.train, allocator)
    with session.bar() as bar:
        reading, training = bar.add_task("reading", total=None), bar.add_task("training", total=recipe.train.steps)
        trained = carry_out(
            recipe,
            Path(str(command.dataset)),
            session.out,
            parent=command.parent,
            vlm=command.vlm,
            sinks=session.sinks,
            reading=lambda done, total: bar.update(reading, completed=done, total=total),
            progress=lambda done, total: bar.update(training, completed=done, total=total),
            world=session.world,
        )
        bar.update(training, completed=recipe.train.steps)
    if session.world.leads:
        _tell_numbers(trained.final)
        print(f"policy: {session.out}")
    return 0


def _on_clips(command: Train, allocator: str) -> int:
    from maquette.train.record import read_record
    from maquette.video.clips import Clips, folder_clips, scene_clips
    from maquette.video.diagnosis import diagnose
    from maquette.video.recipes import carry_out

    recipe = _shortened(command)
    learned = f"{command.clips}" if command.clips else f"{recipe.clips:,} clips of {recipe.shows}"
    session = _begun(command, f"{recipe.about} on {learned}", recipe.train, allocator)
    with session.bar() as bar:
        task = bar.add_task("", total=None)

        def stage(name: str) -> None:
            bar.reset(task, description=name, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        def drawn(count: int, seed: int, held_out: bool) -> Clips:
            world: dict[str, Any] = {"size": recipe.size, "frames": recipe.frames, "held_out": held_out, **recipe.world}
            return scene_clips(count, seed, progress=progress, **world)

        if command.clips:
            clips, asked = folder_clips(command.clips, size=recipe.size, frames=recipe.frames), {}
        else:
            stage("drawing clips")
            clips = drawn(recipe.clips, command.seed, held_out=False)
            asked = {
                name: drawn(recipe.examined, EXAMINATION, held_out=name == NEW)
                for name in (NEW, "combinations of the training")
            }
        if command.overfit:
            steps = command.steps or OVERFIT_STEPS
            return _tell_diagnosis(diagnose(recipe, clips, session.out, steps=steps, stage=stage, progress=progress))
        _, examined = carry_out(
            recipe, clips, session.out, examinations=asked, stage=stage, progress=progress, sinks=session.sinks
        )
    _tell_losses(read_record(session.out))
    for name, found in examined.items():
        _tell_examination(name, found)
    print(f"model folder: {session.out}\nask it: maquette generate {clips.captions[0]!r} --model {session.out}")
    return 0


def _shortened(command: Train) -> "Recipe":
    """The recipe with the command's seed and device; of fewer steps for the one, there are fewer for the other."""
    from maquette.video.recipes import RECIPES

    recipe, steps = RECIPES[command.recipe], None if command.overfit else command.steps
    share = 1.0 if steps is None else min(1.0, steps / recipe.train.steps)
    first, own = recipe.autoencoding, {"seed": command.seed, "device": command.device}
    earlier = replace(first.train, steps=max(1, round(first.train.steps * share)), **own)
    return replace(
        recipe,
        autoencoding=replace(first, train=earlier),
        train=replace(recipe.train, steps=steps or recipe.train.steps, **own),
    )


def _tell_numbers(final: dict[str, float]) -> None:
    print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in final.items()))


def _cells(share: "Share") -> tuple[str, str, str]:
    """How many, how often right, and the interval."""
    found = share.interval
    return str(share.n), f"{share.accuracy:.1%}", f"{found.low:.1%} to {found.high:.1%}"


def _tell_answers(answered: "Sequence[Answered]", heading: str) -> None:
    table = Table("question", "n", "right", "95 % interval", "majority answer", box=None)
    for one in answered:
        table.add_row(one.kind, *_cells(one), f"{one.majority / one.n:.1%}")
    Console().print(heading, table)


def _tell_losses(told: dict[str, Any]) -> None:
    table = Table("noise", "loss", "knowing only mean and spread", box=None)
    for name, loss in told["final"].items():
        table.add_row(name.removeprefix("loss at "), f"{loss:.3f}", f"{told['blind'][name]:.3f}")
    Console().print("Loss by noise level:", table)


def _tell_examination(name: str, examined: "Sequence[Examined]") -> None:
    table = Table("asked for", "n", "right", "95 % interval", "true clips", "captions shuffled", box=None)
    for one in examined:
        table.add_row(one.name, *_cells(one), f"{one.parser / one.n:.1%}", f"{one.chance / one.n:.1%}")
    Console().print(f"Clips of {name}, as the parser reads them; true clips went through the autoencoder:", table)


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
