"""One process or many: the same loop under `torchrun`, replicated (DDP) or sharded (FSDP2).

FSDP and its state dictionaries are imported where several processes need them: that import takes as long as PyTorch's.
"""

import atexit
import copy
import os
import time
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from maquette.core.errors import UserError

Strategy = Literal["ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's place among those that train together."""

    rank: int = 0
    size: int = 1
    strategy: Strategy = "ddp"

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def replicate(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model` with its gradients averaged over all processes; itself where there is one, or where it is sharded."""
        if self.size == 1 or self.strategy == "fsdp":
            return model
        return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)

    def shard(self, model: nn.Module) -> nn.Module:
        """A twin of `model` in shards, `model` being empty until they are gathered; itself if nothing is sharded."""
        if self.size == 1 or self.strategy == "ddp":
            return model
        from torch.distributed.fsdp import fully_shard

        weights = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in model.parameters()}
        twin = copy.deepcopy(model, cast("dict[int, Any]", weights))  # deepcopy takes these for copies it has made
        for block in getattr(twin, "blocks", ()):
            fully_shard(block)
        fully_shard(twin)
        for p in model.parameters():
            p.data = p.data.new_empty(0)
        return twin

    def gather(self, twin: nn.Module, model: nn.Module) -> None:
        """The inverse of `shard`, on the leading process; elsewhere `model` stays empty."""
        if twin is model:
            return
        state = whole_model_state(twin, self)
        if self.leads:
            for name, p in model.named_parameters():
                p.data = state[name].to(p.device)

    def sum(self, value: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


ALONE = World()
"""One process, which trains by itself."""


def join_world(strategy: Strategy = "ddp") -> World:
    """The world that `torchrun` made, read from its environment variables; alone without it. It is left at exit."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(strategy=strategy)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_leave_world)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return World(rank=dist.get_rank(), size=size, strategy=strategy)


def _leave_world() -> None:
    """End the process group while the interpreter can still wait for its threads.

    A thread of Gloo that holds the last collective's tensors needs Python's lock to let them go; where the interpreter
    ends first, the process aborts (pytorch/pytorch#179291). No barrier: another process may have failed.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
    time.sleep(0.1)


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece, gathered from its shards where it has any."""
    return cast("Any", tensor).full_tensor() if _sharded(tensor) else tensor


def cut_like(value: Tensor, pattern: Tensor) -> Tensor:
    """The inverse of `whole`: a tensor in one piece, on the devices of `pattern` and in shards where that has any."""
    value = value.to(pattern.device)
    if not _sharded(pattern) or not value.ndim:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, cast("Any", pattern).device_mesh, cast("Any", pattern).placements)


def _sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor, without importing what defines it


def whole_model_state(model: nn.Module, world: World) -> dict[str, Tensor]:
    """All weights in one piece (on the leading process when there are several); tied weights once."""
    ties = tied_names(model)
    state: dict[str, Any] = model.state_dict()
    if world.size > 1:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = dict[str, Any](get_model_state_dict(model, options=options))
    return {name: value.detach() for name, value in state.items() if name not in ties}


def spread_model_state(model: nn.Module, state: dict[str, Tensor], world: World) -> None:
    """The inverse of `whole_model_state`, for a model that may be replicated or sharded."""
    state = state | {alias: state[name] for alias, name in tied_names(model).items()}
    if world.size == 1:
        model.load_state_dict(state)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, dict[str, Any](state), options=options)


def tied_names(model: nn.Module) -> dict[str, str]:
    """Second names of parameters that have two, each with the first."""
    first = {id(p): name for name, p in model.named_parameters()}
    every = model.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in every if first[id(p)] != name}


def whole_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> dict[str, Tensor]:
    """An optimiser's tensors in one piece, named `<parameter>/<slot>`, whatever the number of processes."""
    names = {p: name for name, p in model.named_parameters()}
    return {
        f"{names[p]}/{slot}": whole(value)
        for group in optimizer.param_groups
        for p in group["params"]
        for slot, value in optimizer.state[p].items()
    }


@torch.no_grad()
def spread_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `whole_optimizer_state`; groups (rates, betas) stay as the configuration made them."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, slot = key.rsplit("/", 1)
        optimizer.state[parameters[name]][slot] = cut_like(value, parameters[name])


def refuse_sharded_muon(kind: str, world: World) -> None:
    """Muon needs whole matrices."""
    if kind == "muon" and world.size > 1 and world.strategy == "fsdp":
        raise UserError(
            "optimizer = 'muon' with strategy = 'fsdp': Muon needs whole matrices; choose 'ddp' or 'adamw'."
        )
