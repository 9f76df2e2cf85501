"""What test_posttrain_runs.py starts, kills, and gives to `torchrun`: fine-tuning, replies drawn, reinforcement."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from maquette.core.seeds import torch_generator
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.posttrain.examples import examples_of
from maquette.language.posttrain.grpo import grpo
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.rejection import RejectionConfig
from maquette.language.posttrain.sft import SftConfig, sft
from maquette.language.posttrain.stages import Stage, draw
from maquette.language.posttrain.switches import GrpoConfig, Switches
from maquette.train.distributed import ALONE, World, join_world
from maquette.train.loop import TrainConfig
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule

MODEL = LlamaConfig(vocabulary=257, width=16, layers=1, heads=2, kv_heads=1, hidden=24, context=32, rope_theta=1e4)
ROWS = [{"prompt": a, "completion": b} for a, b in zip("abcdefghijkl", "mnopqrstuvwx", strict=True)]
SWITCHES = Switches(kl=0.05, resample=1, length="token")


def training(steps: int) -> TrainConfig:
    """A checkpoint after every step."""
    return TrainConfig(
        steps=steps,
        precision="fp32",
        device="cpu",
        log_every=1,
        save_every=1,
        keep=100,
        schedule=Schedule(kind="constant", warmup=0),
        optimizer=OptimizerConfig(lr=1e-2),
    )


def reward(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """Something that is earned now and then: to begin before the letter that the row wants."""
    return {"correct": float(reply[:1] <= row["completion"])}


def run(directory: Path, steps: int, world: World = ALONE) -> None:
    """Both stages, telling every step."""
    torch.set_num_threads(1)
    tokenizer = tokenizers.byte_tokenizer()
    model = Llama(MODEL).initialise(torch_generator(0, "initialise"))
    policy = Policy(model=model, tokenizer=tokenizer, end=tokenizers.end_id(tokenizer))

    def report(step: int, _: int) -> None:
        print(step, flush=True)

    config = SftConfig(train=training(4), rows=4, length=9)
    sft(policy, examples_of(ROWS, policy), config, directory=directory / "sft", world=world)
    draw_replies(directory, model, world)
    settings = GrpoConfig(
        train=training(steps), switches=SWITCHES, prompts=4, group=4, max_tokens=3, rows=16, minibatches=2, passes=2
    )
    grpo(policy, ROWS, reward, settings, directory=directory / "grpo", progress=report, world=world)


def draw_replies(directory: Path, model: Llama, world: World) -> None:
    """Lines of the fine-tuned model's own replies, from a folder as a command reads it."""
    folder, data = directory / "model", directory / "prompts.jsonl"
    if world.leads:
        checkpoints.save(model, folder)
        tokenizers.save(tokenizers.byte_tokenizer(), folder)
        data.write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in ROWS))
    world.wait()
    config = RejectionConfig(samples=4, keep=4, max_tokens=20, rows=8)
    draw(Stage(model=folder, data=data, out=directory / "replies.jsonl", world=world), config)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), join_world())
