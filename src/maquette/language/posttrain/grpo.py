"""Reinforcement learning from verifiable rewards: one loop, and the algorithms that differ by its switches.

Each iteration samples a group of replies to each of some prompts, rewards them with a plain function, and takes one or
more updates on them. GRPO, Dr. GRPO, DAPO and RLOO are `switches.PRESETS`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from maquette.core.devices import pick_device
from maquette.core.errors import UserError
from maquette.core.files import fingerprint
from maquette.core.provenance import source_hash
from maquette.core.seeds import rows_of_batch
from maquette.language.posttrain.examples import Row
from maquette.language.posttrain.experience import Experience
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.rewarding import Reward
from maquette.language.posttrain.switches import GrpoConfig
from maquette.language.posttrain.watching import Meter
from maquette.train.distributed import ALONE, World
from maquette.train.loop import Batch, Company, Trained, train


def grpo(
    policy: Policy,
    rows: Sequence[Row],
    reward: Reward,
    config: GrpoConfig,
    *,
    directory: Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    made_of: Mapping[str, Any] | None = None,
    **company: Unpack[Company],
) -> Trained:
    """Train `policy.model` in place on the prompts of `rows`, from the newest checkpoint in `directory` if any.

    `directory` also gets samples/, the replies of each iteration with their rewards and advantages. `made_of` is what
    else a checkpoint must have been made of to be gone on from: by default not the first weights.

    Raises:
        UserError: prompts that do not fit the model, a reward that is no number, and as `maquette.train.loop.train`.
    """
    world = company.get("world", ALONE)
    _refuse(config, rows, world)
    experience = Experience(
        policy=policy,
        reference=copy.deepcopy(policy.model).requires_grad_(False) if config.switches.kl else None,
        rows=rows,
        reward=reward,
        config=config,
        meter=Meter(world, pick_device(config.train.device)),
        directory=directory / "samples" if directory and world.leads else None,
    )
    return train(
        policy.model,
        experience.objective,
        lambda batch: batch["items"].sum().clamp(min=1e-9),  # a batch that teaches nothing is no mistake: its loss is 0
        lambda step: prompts_of(step // config.updates, len(rows), config.prompts, config.train.seed),
        config.loop,
        directory=directory,
        evaluate=evaluate,
        **company,
        made_of={
            "algorithm": {k: v for k, v in asdict(config).items() if k not in ("train", "rows", "shown")},
            "architecture": asdict(policy.model.config),
            "prompts": fingerprint([dict(row) for row in rows]),
            "reward": source_hash(reward),
            **(made_of or {}),
        },
        experience=experience,
        watch=experience.meter.read,
    )


def prompts_of(iteration: int, rows: int, count: int, seed: int) -> Batch:
    """The rows that an iteration asks, each row once before any comes again, and the slots that they have in it."""
    asked = rows_of_batch(iteration, count, rows, seed, "order of prompts")
    return {"row": torch.tensor(asked), "slot": torch.arange(count)}


def _refuse(config: GrpoConfig, rows: Sequence[Any], world: World) -> None:
    if not rows:
        raise UserError("There are no prompts to learn from; give at least one row.")
    if world.size > 1 and world.strategy == "fsdp":
        raise UserError("A sharded model cannot be sampled from; use --strategy ddp.")
    pieces = world.size * config.train.accumulate * config.minibatches
    if config.prompts % pieces:
        raise UserError(
            f"prompts = {config.prompts} cannot be cut into {world.size} processes × accumulate = "
            f"{config.train.accumulate} × minibatches = {config.minibatches}; give a number that {pieces} divides."
        )
