"""What `torchrun` runs in test_distributed.py: the same small training, replicated, then sharded, then resumed."""

import sys
from pathlib import Path

import torch

from maquette.core.seeds import torch_generator
from maquette.language.checkpoints import save
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.train.distributed import ALONE, World, join_world
from maquette.train.loop import TrainConfig, Trained, train
from maquette.train.schedules import Schedule

MODEL = LlamaConfig(vocabulary=32, width=32, layers=2, heads=4, kv_heads=2, hidden=48, tied=True)
CONFIG = TrainConfig(
    steps=12,
    schedule=Schedule(kind="wsd", warmup=3),
    ema=0.9,
    precision="fp32",
    device="cpu",
    log_every=1,
    save_every=6,
)


def batches(step: int) -> dict[str, torch.Tensor]:
    """Eight rows to count in, of which the first two hold fewer targets, so that the processes' shares differ."""
    start = torch.randint(1, 32, (8, 1), generator=torch_generator(0, "batch", step))
    text = start * torch.arange(1, 18) % 32
    targets = text[:, 1:].clone()
    targets[:2, :9] = -100
    return {"tokens": text[:, :-1], "targets": targets}


def run(directory: Path, world: World = ALONE, config: TrainConfig = CONFIG) -> Trained:
    """One training."""
    torch.set_num_threads(1)
    model = Llama(MODEL).initialise(torch_generator(0, "init"))

    def evaluate(trained: torch.nn.Module) -> dict[str, float]:
        return {"unseen": next_token_loss(trained, batches(10**6)).item()}

    return train(
        model, next_token_loss, count_targets, batches, config, directory=directory, world=world, evaluate=evaluate
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for strategy in ("ddp", "fsdp"):
        world = join_world(strategy)
        assert world.size == 2
        trained = run(folder / strategy, world)
        if world.leads:
            save(trained.model, folder / strategy / "left")
        run(folder / f"resumed-{strategy}", world)
