"""The stages on folders: a checkpoint folder and lines of JSON in, a checkpoint folder out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import sha256
from maquette.language.posttrain.distill import logit_objective
from maquette.language.posttrain.evaluation import held_out
from maquette.language.posttrain.examples import examples_of, read_rows
from maquette.language.posttrain.experience import Reward
from maquette.language.posttrain.grpo import grpo
from maquette.language.posttrain.policy import Policy, load_policy, save_policy
from maquette.language.posttrain.sft import SftConfig, reply_loss, rows_of, sft
from maquette.language.posttrain.switches import GrpoConfig
from maquette.train.distributed import World
from maquette.train.loop import Trained
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
    world: World | None = None

    def __post_init__(self) -> None:
        if self.out.resolve() == self.model.resolve():
            raise UserError(
                f"The result would overwrite the model that it is made from, {self.model}; give another out."
            )

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
        directory=stage.training,
        sinks=stage.sinks,
        progress=stage.progress,
        world=stage.world,
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
        directory=stage.training,
        evaluate=evaluate,
        sinks=stage.sinks,
        progress=stage.progress,
        world=stage.world,
    )
    _leave(stage, policy, {"grpo": _plain(asdict(config))}, trained)
    return trained


def _leave(stage: Stage, policy: Policy, made: Mapping[str, Any], trained: Trained) -> None:
    if not (stage.world or World()).leads:
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
