"""The equations of learning from rewarded samples, each a pure function.

GRPO: Shao et al. 2024, arXiv:2402.03300 · Dr. GRPO: Liu et al. 2025, arXiv:2503.20783 · DAPO: Yu et al. 2025,
arXiv:2503.14476 · RLOO: Ahmadian et al. 2024, arXiv:2402.14740 · PPO: Schulman et al. 2017, arXiv:1707.06347 ·
estimators of KL: Schulman 2020, joschu.net/blog/kl-approx.html

    p prompts · g samples of a prompt · r rows, one a sample · t tokens of a row · v vocabulary
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Baseline = Literal["mean", "leave-one-out", "none"]
Spread = Literal["group", "none"]
Length = Literal["sample", "token", "constant", "sequence"]
Estimator = Literal["k1", "k2", "k3"]


def token_logprobs(
    logits: Float[Tensor, "r t v"], targets: Int[Tensor, "r t"], temperature: float = 1.0
) -> Float[Tensor, "r t"]:
    """log π(o_t | q, o_<t) at the temperature that samples are drawn with; targets that do not count give 0."""
    flat = (logits.float() if logits.dtype != torch.float64 else logits).flatten(0, 1) / temperature
    return -F.cross_entropy(flat, targets.flatten(), reduction="none").view_as(targets)


def token_entropy(logits: Float[Tensor, "r t v"], temperature: float = 1.0) -> Float[Tensor, "r t"]:
    """−Σ π log π of each next token, in nats."""
    logprobs = (logits.float() / temperature).log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def group_advantage(
    rewards: Float[Tensor, "p g"], baseline: Baseline = "mean", spread: Spread = "group", eps: float = 1e-4
) -> Float[Tensor, "p g"]:
    """How much better a sample is than its group.

    GRPO, section 4.1.2: (r − mean r) / std r. Dr. GRPO, section 3.2, drops the std. RLOO: the baseline is
    the mean of the *other* samples, which makes it independent of the sample and the gradient unbiased. The std is that
    of a sample (g − 1), to which `eps` is added; a group of one has none, and is divided by `eps` alone.
    """
    group = rewards.shape[1]
    centred = rewards
    if baseline == "mean":
        centred = rewards - rewards.mean(1, keepdim=True)
    elif baseline == "leave-one-out":
        centred = (rewards - rewards.mean(1, keepdim=True)) * (group / max(1, group - 1))
    if spread == "none":
        return centred
    std = rewards.std(1, keepdim=True) if group > 1 else torch.zeros_like(rewards)
    return centred / (std + eps)


def clipped_surrogate(
    logprobs: Float[Tensor, "r t"],
    old: Float[Tensor, "r t"],
    advantage: Float[Tensor, "r t"],
    low: float = 0.2,
    high: float = 0.2,
) -> tuple[Float[Tensor, "r t"], Bool[Tensor, "r t"]]:
    """min(ρA, clip(ρ, 1 − low, 1 + high)A) with ρ = π/π_old, and where the clip holds the gradient back.

    PPO, equation 7; GRPO, equation 3; with two bounds DAPO, equation 10. Infinite bounds leave ρA.
    """
    ratio = (logprobs - old).exp()
    bounded = ratio.clamp(1 - low, 1 + high)
    held = ((ratio < 1 - low) & (advantage < 0)) | ((ratio > 1 + high) & (advantage > 0))
    return torch.minimum(ratio * advantage, bounded * advantage), held


def kl_estimate(
    logprobs: Float[Tensor, "r t"], reference: Float[Tensor, "r t"], estimator: Estimator = "k3"
) -> Float[Tensor, "r t"]:
    """KL(π ‖ π_ref) from one sample of π, token by token.

    With d = log π_ref − log π: k1 = −d, k2 = d²/2, k3 = e^d − d − 1 (GRPO, equation 4). k1 and k3 have the right mean.
    As a *loss* on samples of π they are another matter: k1's gradient has the mean 0, k2's is that of this KL, k3's
    that of KL(π_ref ‖ π).
    """
    d = reference - logprobs
    if estimator == "k1":
        return -d
    return d.square() / 2 if estimator == "k2" else d.exp() - d - 1


def token_weights(
    mask: Bool[Tensor, "r t"], length: Length, constant: int
) -> tuple[Float[Tensor, "r t"], Float[Tensor, " r"]]:
    """What each token counts, and how many items each row adds to what the weighted sum is divided by.

    `sample`: 1/|o| a token, a row is one item (GRPO, equation 3). `token`: every token of the batch alike (DAPO,
    equation 8, over the batch as its authors' code has it, where the paper writes a group). `constant`: 1 over a
    constant a token (Dr. GRPO, section 3.2). `sequence`: a row is one item and its log-probability a sum (RLOO).
    """
    counts = mask.sum(1)
    weights, one = mask.float(), (counts > 0).float()
    if length == "token":
        return weights, counts.float()
    if length == "sample":
        weights = weights / counts.clamp(min=1)[:, None]
    elif length == "constant":
        weights = weights / constant
    return weights, one


def overlong_penalty(tokens: int, most: int, margin: int) -> float:
    """DAPO, equation 13: 0 up to most − margin tokens, from there falling to −1 at `most`."""
    if tokens <= most - margin:
        return 0.0
    return max(-1.0, (most - margin - tokens) / margin)


def distillation_divergence(
    student: Float[Tensor, "r t v"],
    teacher: Float[Tensor, "r t v"],
    *,
    temperature: float = 1.0,
    reverse: bool = False,
) -> Float[Tensor, "r t"]:
    """T² KL(p ‖ q) of next tokens at temperature T (Hinton et al. 2015, arXiv:1503.02531), in nats.

    p is the teacher's and q the student's; `reverse` swaps them, so that the student need not cover what it cannot
    (Gu et al. 2024, arXiv:2306.08543).
    """
    p, q = ((one.float() / temperature).log_softmax(-1) for one in (teacher, student))
    p, q = (q, p) if reverse else (p, q)
    return temperature**2 * (p.exp() * (p - q)).sum(-1)
