"""Scaling laws as equations, and the published ones as data: every constant once, with its source.

Symbols are the papers': N parameters, D training tokens, C = 6ND training FLOPs, L cross-entropy in nats per token.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from maquette.core.errors import UserError, did_you_mean

Counting = Literal["total", "non-embedding"]
"""Which parameters N counts."""

PETAFLOP_DAY = 1e15 * 86_400
"""FLOPs in Kaplan's unit of compute."""

CHINCHILLA_OMEGA = 47_491.0
"""Pearce & Song (2406.12907): Chinchilla's models hold this times N_nonembedding^(1/3) embedding parameters."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A budget and its compute-optimal split, C = 6ND."""

    compute: float
    parameters: float
    tokens: float


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The compute-optimal frontier N_opt = k C^a, D_opt = C / (6 N_opt), so that D_opt ∝ C^b with b = 1 - a."""

    k: float
    a: float

    @property
    def b(self) -> float:
        """Exponent of the optimal number of tokens."""
        return 1 - self.a

    @classmethod
    def through(cls, *, compute: float, parameters: float, a: float) -> "Frontier":
        """The frontier of exponent `a` on which `parameters` is optimal for `compute`."""
        return cls(k=math.exp(math.log(parameters) - a * math.log(compute)), a=a)

    def optimal(self, compute: float) -> Allocation:
        """The split of `compute` FLOPs."""
        parameters = math.exp(math.log(self.k) + self.a * math.log(compute))
        return Allocation(compute=compute, parameters=parameters, tokens=compute / (6 * parameters))

    def for_parameters(self, parameters: float) -> Allocation:
        """The budget for which a model of this size is optimal, and its tokens."""
        return self.optimal(math.exp(math.log(parameters / self.k) / self.a))

    def for_tokens(self, tokens: float) -> Allocation:
        """The budget for which this many tokens are optimal, and its model."""
        return self.optimal(math.exp(math.log(6 * self.k * tokens) / self.b))


@dataclass(frozen=True, kw_only=True)
class Hoffmann:
    """L(N, D) = E + A/N^alpha + B/D^beta (2203.15556, equation 2); with E = 0 the law without floor."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: Float[np.ndarray, "*n"] | float, tokens: Float[np.ndarray, "*n"] | float) -> Any:
        """Predicted loss in nats per token."""
        # Through logarithms, because a poor fit's A and alpha can each be too large to write down.
        of_size = np.exp(np.log(self.A) - self.alpha * np.log(parameters))
        return self.E + of_size + np.exp(np.log(self.B) - self.beta * np.log(tokens))

    @property
    def a(self) -> float:
        """Exponent of the optimal number of parameters."""
        return self.beta / (self.alpha + self.beta)

    @property
    def frontier(self) -> Frontier:
        """N_opt = G (C/6)^a with a = beta/(alpha+beta), G = (alpha A / beta B)^(1/(alpha+beta)) (equation 4).

        Raises:
            UserError: an exponent or a constant is not positive, so that the loss has no minimum at fixed compute.
        """
        if min(self.A, self.B, self.alpha, self.beta) <= 0:
            raise UserError(
                f"The law with A = {self.A:.3g}, B = {self.B:.3g}, alpha = {self.alpha:.3g}, beta = {self.beta:.3g} "
                "has no compute-optimal split: they must be positive; check the runs."
            )
        log_g = math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)
        return Frontier(k=math.exp(log_g - self.a * math.log(6)), a=self.a)

    def optimal(self, compute: float) -> Allocation:
        """The split of `compute` FLOPs that minimises the loss."""
        return self.frontier.optimal(compute)


@dataclass(frozen=True, kw_only=True)
class Kaplan:
    """L(N, D) = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D (2001.08361, equation 1.5)."""

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float

    def loss(self, parameters: Float[np.ndarray, "*n"] | float, tokens: Float[np.ndarray, "*n"] | float) -> Any:
        """Predicted loss in nats per token."""
        return ((self.N_c / parameters) ** (self.alpha_N / self.alpha_D) + self.D_c / tokens) ** self.alpha_D

    @property
    def a(self) -> float:
        """Exponent of the optimal number of parameters."""
        return self.alpha_D / (self.alpha_N + self.alpha_D)

    @property
    def frontier(self) -> Frontier:
        """Where dL/dN = 0 at C = 6ND: N_opt = (r N_c^r C / 6 D_c)^a with r = alpha_N/alpha_D, a = 1/(1+r)."""
        r = self.alpha_N / self.alpha_D
        return Frontier(k=math.exp(self.a * (math.log(r / (6 * self.D_c)) + r * math.log(self.N_c))), a=self.a)

    def optimal(self, compute: float) -> Allocation:
        """The split of `compute` FLOPs that minimises the loss."""
        return self.frontier.optimal(compute)


def non_embedding_budget(law: Hoffmann, parameters: Float[np.ndarray, " n"], omega: float) -> Float[np.ndarray, " n"]:
    """Non-embedding FLOPs C = 6ND for which N non-embedding parameters are optimal under a `law` in total parameters.

    Pearce & Song (2406.12907): N_total = N + omega N^(1/3). The inverse of N_opt(C), which has no closed form.
    """
    total, slope, _ = _total_parameters(parameters, omega)
    ratio = law.beta * law.B / (law.alpha * law.A)
    return 6 * (ratio * parameters ** (law.beta - 1) * total ** (law.alpha + 1) / slope) ** (1 / law.beta)


def non_embedding_exponent(law: Hoffmann, parameters: Float[np.ndarray, " n"], omega: float) -> Float[np.ndarray, " n"]:
    """Local slope d log N_opt / d log C when both count non-embedding parameters (Pearce & Song, 2406.12907).

    Near 1 where embeddings weigh as much as the rest, and `law.a` where models are so large that they do not matter.
    """
    total, slope, curvature = _total_parameters(parameters, omega)
    inverse = law.beta - 1 + (law.alpha + 1) * parameters * slope / total - parameters * curvature / slope
    return law.beta / inverse


def _total_parameters(n: np.ndarray, omega: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N + omega N^(1/3) and its first two derivatives."""
    return n + omega * n ** (1 / 3), 1 + omega / 3 * n ** (-2 / 3), -2 / 9 * omega * n ** (-5 / 3)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A law from the literature: what it reports, where, and what a reader must know before using it."""

    title: str
    source: str
    frontier: Frontier
    law: Hoffmann | Kaplan | None = None
    """The parametric law of the loss; None where only the frontier was published."""
    reports: str
    """Exponent a of N_opt ∝ C^a as printed."""
    counting: Counting = "total"
    note: str = ""


def published(name: str) -> Published:
    """The published law called `name`.

    Raises:
        UserError: no such law.
    """
    if name not in PUBLISHED:
        raise UserError(f"The law {name!r} is not a published one; {did_you_mean(name, PUBLISHED)}")
    return PUBLISHED[name]


def _parametric(law: Hoffmann | Kaplan, **said: Any) -> Published:
    return Published(law=law, frontier=law.frontier, **said)


_KAPLAN = "Kaplan et al. 2020, 2001.08361"
_HOFFMANN = "Hoffmann et al. 2022, 2203.15556"
_LLAMA = "Llama Team 2024, 2407.21783, section 3.2.1"
_LLAMA_BUDGET, _LLAMA_TOKENS = 3.8e25, 16.55e12

PUBLISHED: dict[str, Published] = {
    "kaplan": Published(
        title="Kaplan",
        source=f"{_KAPLAN}, appendix A, table 6: N_opt = 1.3e9 C_min^0.73, C_min in PF-days",
        frontier=Frontier.through(compute=PETAFLOP_DAY, parameters=1.3e9, a=0.73),
        reports="0.73",
        counting="non-embedding",
        note="Their own D_opt = 2e10 C_min^0.27 is 1.8 times C/6N: it is for training at the critical batch size.",
    ),
    "kaplan-joint": _parametric(
        Kaplan(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103),
        title="Kaplan, joint L(N, D)",
        source=f"{_KAPLAN}, equation 1.5 and table 2",
        reports="not reported; 0.575 by minimising at C = 6ND",
        counting="non-embedding",
        note="Fitted to runs trained until they overfit, not to one epoch, so its frontier is not their 0.73.",
    ),
    "hoffmann-1": Published(
        title="Hoffmann, approach 1 (envelope of training curves)",
        source=f"{_HOFFMANN}, table 2 (exponent) and table 3 (67B at 5.76e23 FLOPs)",
        frontier=Frontier.through(compute=5.76e23, parameters=67e9, a=0.50),
        reports="0.50 (0.488, 0.502)",
    ),
    "hoffmann-2": Published(
        title="Hoffmann, approach 2 (isoFLOP profiles)",
        source=f"{_HOFFMANN}, table 2 (exponent) and table A3 (67B at 6.88e23 FLOPs)",
        frontier=Frontier.through(compute=6.88e23, parameters=67e9, a=0.49),
        reports="0.49 (0.462, 0.534)",
    ),
    "hoffmann-3": _parametric(
        Hoffmann(E=1.6934, A=406.401, B=410.7228, alpha=0.33917, beta=0.28491),
        title="Hoffmann, approach 3 (parametric loss), unrounded",
        source=f"{_HOFFMANN}, equation 10 (unrounded constants from its TeX source)",
        reports="0.46 (0.454, 0.455)",
        note="The averaged Huber loss stopped the optimiser early (Besiroglu et al.); prefer besiroglu.",
    ),
    "hoffmann-3-rounded": _parametric(
        Hoffmann(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
        title="Hoffmann, approach 3 (parametric loss), as printed",
        source=f"{_HOFFMANN}, equation 10",
        reports="0.46 (0.454, 0.455)",
        note="Rounding alone moves the optimum at 5.76e23 FLOPs from 40.4B to 32.2B parameters.",
    ),
    "besiroglu": _parametric(
        Hoffmann(E=1.8169, A=482.01, B=2085.43, alpha=0.3478, beta=0.3659),
        title="Besiroglu, approach 3 refitted",
        source="Besiroglu et al. 2024, 2404.10102 (refit of 240 points read off Hoffmann's figure 4)",
        reports="0.513 (standard error 0.020)",
        note="Standard errors: E 0.026, A 124.5, B 1293, alpha 0.015, beta 0.021.",
    ),
    "llama-3": Published(
        title="Llama 3, through its stated extrapolation",
        source=f"{_LLAMA}: 16.55T tokens at 3.8e25 FLOPs, tokens ∝ C^0.53",
        frontier=Frontier.through(compute=_LLAMA_BUDGET, parameters=_LLAMA_BUDGET / (6 * _LLAMA_TOKENS), a=1 - 0.53),
        reports="0.47 (tokens 0.53)",
        note="The paper's 402B beside 16.55T is 4.0e25 FLOPs by 6ND; 3.8e25 leaves 383B. See llama-3-printed.",
    ),
    "llama-3-printed": Published(
        title="Llama 3, constants as printed",
        source=f"{_LLAMA}: tokens = 0.29 C^0.53",
        frontier=Frontier(k=1 / (6 * 0.29), a=1 - 0.53),
        reports="0.47 (tokens 0.53)",
        note="Gives 10.5T tokens at 3.8e25 FLOPs where the paper says 16.55T; an exponent of 0.538 would be needed.",
    ),
}
