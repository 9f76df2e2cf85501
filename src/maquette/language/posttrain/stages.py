"""The stages on folders: a checkpoint folder and lines of JSON in, a checkpoint folder out."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import read_json, sha256, write_json, write_text
from maquette.core.seeds import child_seed
from maquette.language.posttrain.distill import logit_objective, teacher_replies
from maquette.language.posttrain.evaluation import held_out
from maquette.language.posttrain.examples import examples_of, prompt_of, read_rows
from maquette.language.posttrain.grpo import grpo
from maquette.language.posttrain.policy import Policy, load_policy, save_policy
from maquette.language.posttrain.rejection import RejectionConfig
from maquette.language.posttrain.rewarding import Reward
from maquette.language.posttrain.sft import SftConfig, reply_loss, rows_of, sft
from maquette.language.posttrain.switches import GrpoConfig
from maquette.train.distributed import ALONE, World
from maquette.train.loop import Company, Trained
from maquette.train.metrics import Sink
from maquette.train.record import write_record


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a stage reads and writes, and who listens. Checkpoints to resume from lie in `out`/training."""

    model: Path
    data: Path
    out: Path
    sinks: Sequence[Sink] = ()
    progress: Callable[[int, int], None] | None = None
    world: World = ALONE

    def __post_init__(self) -> None:
        if self.out.resolve() == self.model.resolve():
            raise UserError(
                f"The result would overwrite the model that it is made from, {self.model}; give another out."
            )

    @property
    def company(self) -> Company:
        """Who takes part and who listens, for the loop."""
        return Company(sinks=self.sinks, progress=self.progress, world=self.world)

    @property
    def training(self) -> Path:
        """Where the loop keeps its files."""
        return self.out / "training"


def fine_tune(stage: Stage, config: SftConfig, *, epochs: int = 0, teacher: Path | None = None) -> Trained:
    """Supervised fine-tuning, or with a teacher the distillation of its logits; `epochs` above 0 sets the steps.

    Raises:
        UserError: as `load_policy`, `examples_of` and `sft`.
    """
    policy = load_policy(stage.model)
    examples = examples_of(read_rows(stage.data), policy)
    if epochs:
        rows = len(rows_of(policy, examples, config).rows)
        config = replace(config, train=replace(config.train, steps=-(-rows * epochs // config.rows)))
    trained = sft(
        policy,
        examples,
        config,
        objective=logit_objective(load_policy(teacher).model) if teacher else reply_loss,
        made_of={"model": _weights(stage.model), "teacher": _weights(teacher) if teacher else None},
        directory=stage.training,
        **stage.company,
    )
    _leave(stage, policy, {"sft": asdict(config), "teacher": str(teacher) if teacher else None}, trained)
    return trained


def reinforce(
    stage: Stage, reward: Reward, config: GrpoConfig, *, validation: Path | None = None, samples: int = 4
) -> Trained:
    """Reinforcement learning on the prompts of the data; pass@1 of `samples` replies to those of `validation`.

    Raises:
        UserError: as `load_policy`, `read_rows` and `grpo`.
    """
    policy = load_policy(stage.model)
    rows, evaluate = read_rows(stage.data), None
    if validation:
        unseen = read_rows(validation)
        evaluate = held_out(policy, unseen, reward, max_tokens=config.max_tokens, n=samples, seed=config.train.seed)
    trained = grpo(
        policy,
        rows,
        reward,
        config,
        made_of={"model": _weights(stage.model)},
        directory=stage.training,
        evaluate=evaluate,
        **stage.company,
    )
    _leave(stage, policy, {"grpo": _plain(asdict(config))}, trained)
    return trained


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was kept: so many replies, to so many of the prompts."""

    replies: int
    answered: int
    prompts: int


def draw(
    stage: Stage, config: RejectionConfig, reward: Reward | None = None, *, judge: str = "", device: str = "cpu"
) -> Drawn:
    """Rejection sampling: replies that the reward finds good enough, as lines to `fine_tune` on, in the file `out`.

    Without a reward everything is kept: a teacher's replies, to be distilled. A few prompts at a time are drawn from
    seeds of their own and put down beside `out` when they are done, so that it has the same lines after a kill and on
    several processes. `judge` says what the reward is, so that another one does not go on with this one's.

    Raises:
        UserError: as `load_policy`, `read_rows` and `accepted`, or what was put down is of other settings.
    """
    world = stage.world
    policy, rows = load_policy(stage.model), read_rows(stage.data)
    policy.model.to(device)
    # Refuse what does not fit before anything is written.
    policy.engine(rows=1, context=policy.room([policy.ask(prompt_of(row)) for row in rows], config.max_tokens))
    at_once = max(1, config.rows // config.samples)
    firsts = range(0, len(rows), at_once)
    folder = stage.out.with_name(f"{stage.out.name}.parts")
    _begin(
        folder,
        world,
        {"model": _weights(stage.model), "data": sha256(stage.data), "config": asdict(config), "reward": judge},
    )
    for part in range(world.rank, len(firsts), world.size):
        some = rows[firsts[part] : firsts[part] + at_once]
        if not (path := folder / f"{part:06}.json").exists():
            seeded = replace(config, seed=child_seed(config.seed, "part", part))
            write_json(path, teacher_replies(policy, some, seeded, reward))
        if stage.progress:
            stage.progress(min(firsts[part] + at_once, len(rows)), len(rows))
    world.wait()
    found = [one for part in range(len(firsts)) for one in read_json(folder / f"{part:06}.json")]
    world.wait()
    if world.leads:
        write_text(stage.out, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found))
        shutil.rmtree(folder)
    answered = len({json.dumps(one["prompt"]) for one in found})
    return Drawn(replies=len(found), answered=answered, prompts=len(rows))


def _weights(model: Path) -> list[str]:
    """Which weights a checkpoint folder holds."""
    return [sha256(path) for path in sorted(model.glob("*.safetensors"))]


def _begin(folder: Path, world: World, made_of: Mapping[str, Any]) -> None:
    """Say in `folder` what is drawn there, or refuse it where that is something else."""
    path = folder / "made_of.json"
    if path.exists() and read_json(path) != made_of:
        raise UserError(
            f"{folder} holds replies of another model, data, reward or settings; delete it, or give another out."
        )
    world.wait()
    if world.leads:
        write_json(path, made_of)


def _leave(stage: Stage, policy: Policy, made: Mapping[str, Any], trained: Trained) -> None:
    if not stage.world.leads:
        return
    policy.model.to("cpu")
    save_policy(policy.model, stage.model, stage.out)
    data = {"file": stage.data.name, "sha256": sha256(stage.data)}
    write_record(stage.out, trained, model=str(stage.model), data=data, **made)


def _plain(value: Any) -> Any:
    """Without infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return str(value) if value == float("inf") else value
