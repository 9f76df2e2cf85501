"""Acting while thinking: real-time chunking (Black et al. 2025, arXiv:2506.07339) and temporal ensembling (ACT).

A policy that takes a while to think must go on acting from its last chunk. Real-time chunking makes the next chunk
agree with the actions that will have been carried out by then, and lean on those after them, by guiding the flow.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError
from maquette.robotics.policies.contract import Actions, Observation, Policy
from maquette.robotics.policies.heads import FLOW, FlowHead

Velocity = Callable[[Float[Tensor, "b chunk a"], Float[Tensor, " b"]], Float[Tensor, "b chunk a"]]
BETA = 5.0
"""Most that guidance may weigh, which keeps few steps from overshooting (eq. 2)."""


def soft_mask(chunk: int, delay: int, execute: int) -> Float[Tensor, " chunk"]:
    """How much each action must agree with the last chunk (eq. 5).

    One for the `delay` actions that are carried out while the policy thinks, nothing for the last `execute`, of which
    the last chunk says nothing, and in between less and less: c (e^c − 1) / (e − 1), c falling linearly.

    Raises:
        ValueError: the two leave no room in the chunk.
    """
    if not 0 <= delay <= chunk - execute:
        raise ValueError(f"a delay of {delay} and {execute} actions carried out do not fit a chunk of {chunk}.")
    place = torch.arange(chunk)
    c = (chunk - execute - place) / (chunk - execute - delay + 1)
    falling = c * (c.exp() - 1) / (math.e - 1)
    return torch.where(place < delay, 1.0, torch.where(place < chunk - execute, falling, 0.0))


def guided(
    field: Velocity,
    noise: Float[Tensor, "b chunk a"],
    last: Float[Tensor, "b chunk a"],
    weights: Float[Tensor, " chunk"],
    steps: int,
    beta: float = BETA,
) -> Float[Tensor, "b chunk a"]:
    """Euler steps of the flow, each pulled towards `last` where the weights say so (eq. 1 to 4; t = 1 is noise).

    The pull is the true vector-Jacobian product (last − x̂)ᵀ W ∂x̂/∂x_t of x̂ = x_t − t v(x_t, t): what a change of x_t
    would do to the action it leads to, through the network.

    Args:
        field: the velocity; must be differentiable.
        noise: where it begins.
        last: the last chunk, moved on by what has been carried out of it; its end may be anything of weight 0.
        weights: `soft_mask`.
        steps: of Euler.
        beta: most that guidance may weigh.
    """
    x = noise
    for step in range(steps):
        t = 1 - step / steps
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            now = at.new_full((len(at),), t)
            v = field(at, now)
            clean = FLOW.parts(at, v, now).data
            error = ((last - clean) * weights[:, None]).detach()
            (pull,) = torch.autograd.grad(clean, at, error)
        x = x - (v.detach() - guidance(t, beta) * pull) / steps
    return x


def guidance(t: float, beta: float) -> float:
    """min(β, t / ((1 − t) r²)) with r² = t² / (t² + (1 − t)²): eq. 2 and 4, with t turned round."""
    if t >= 1:
        return beta
    r2 = t**2 / (t**2 + (1 - t) ** 2)
    return min(beta, t / ((1 - t) * r2))


class Lean(NamedTuple):
    """What a chunk should agree with."""

    last: Actions
    """The last chunk, moved on by what has been carried out of it; its end may be anything of weight 0."""
    weights: Float[Tensor, " chunk"]
    """`soft_mask`."""


def act(policy: Policy, seen: Observation, noise: Actions, lean: Lean | None) -> Actions:
    """As `Policy.act`, leaning on the last chunk where there is one.

    Raises:
        UserError: it should lean, and the policy's head is no flow.
    """
    if lean is None:
        return policy.act(seen, noise)
    head = flow_of(policy)
    with torch.no_grad():
        context = policy.trunk.context(seen)
    return guided(
        lambda x, t: head.out(policy.trunk.features(context, x, t)), noise, lean.last, lean.weights, head.steps
    )


def flow_of(policy: Policy) -> FlowHead:
    """The head that real-time chunking guides.

    Raises:
        UserError: it is no flow.
    """
    if not isinstance(policy.head, FlowHead):
        raise UserError(
            "chunking = realtime guides a flow, and this policy's head is none; train it with --head flow, or take "
            "ensemble or plain."
        )
    return policy.head


class Ensemble:
    """Temporal ensembling (Zhao et al. 2023, section IV-A): each action is a mean of all chunks that speak of it.

    The i-th oldest chunk counts e^(−m i), so that with a positive `m` the oldest counts most.

    Args:
        m: how fast that falls.
    """

    def __init__(self, m: float = 0.01) -> None:
        self.m = m
        self._chunks: list[Float[Tensor, "chunk a"]] = []

    def action(self, chunk: Float[Tensor, "chunk a"]) -> Float[Tensor, " a"]:
        """The action for now, given the chunk thought of now; call it once for every action."""
        return self.blend(chunk, 1)[0]

    def blend(self, chunk: Float[Tensor, "chunk a"], taken: int) -> Float[Tensor, "chunk a"]:
        """The same for every action of a chunk that was thought of `taken` actions after the last."""
        self._chunks = [one[taken:] for one in self._chunks if len(one) > taken] + [chunk]
        total, weights = torch.zeros_like(chunk), chunk.new_zeros(len(chunk), 1)
        for i, one in enumerate(self._chunks):
            total[: len(one)] += math.exp(-self.m * i) * one
            weights[: len(one)] += math.exp(-self.m * i)
        return total / weights
