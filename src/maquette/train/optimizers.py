"""AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from maquette.core.errors import UserError
from maquette.train.muon import Muon


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Peak rates and moments; a schedule scales the rates."""

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 3e-3
    muon_lr: float = 0.02
    """Muon's own rate, for the matrices inside blocks."""
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    """Decoupled, on matrices only."""

    def __post_init__(self) -> None:
        for name in ("lr", "muon_lr", "eps"):
            if not 0 < getattr(self, name) < 10:
                raise UserError(f"{name} = {getattr(self, name)}: give a number above 0 and below 10.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas = {self.betas}: give two numbers in [0, 1).")
        if not self.weight_decay >= 0:
            raise UserError(f"weight_decay = {self.weight_decay}: give 0 or more.")


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """The optimisers, each group with its peak rate under "peak" for the schedule to scale.

    Muon (Jordan et al. 2024) turns each hidden matrix's momentum into the nearest orthogonal one; embeddings, heads and
    vectors stay with AdamW, as in the reference. Fused projections are orthogonalised as one matrix.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = {
        name
        for name, p in parameters.items()
        if config.kind == "muon" and p.ndim == 2 and not any(part in name for part in ("embedding", "head"))
    }
    decayed = [p for name, p in parameters.items() if name not in hidden and p.ndim >= 2]
    plain = [p for name, p in parameters.items() if name not in hidden and p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=config.lr, betas=config.betas, eps=config.eps, fused=True
        )
    ]
    if hidden:
        optimizers.append(
            Muon(
                [parameters[name] for name in parameters if name in hidden],
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers
