"""From logits to a token: what temperature and the cut-offs make of a distribution, and how one is drawn from it.

Everything is done row by row, so that what else is in the batch changes no bit. n rows · v tokens of the vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.language.interface import Sampling


class Cutoffs:
    """The samplings of some rows as columns."""

    def __init__(self, samplings: Sequence[Sampling], device: torch.device) -> None:
        def column(name: str) -> Tensor:
            return torch.tensor([[getattr(one, name)] for one in samplings], dtype=torch.float32, device=device)

        self.temperature = column("temperature")
        self.greedy = self.temperature[:, 0] == 0
        self.all_greedy = bool(self.greedy.all())
        self.any_greedy = bool(self.greedy.any())
        self.top_k, self.top_p, self.min_p = column("top_k"), column("top_p"), column("min_p")
        self.by_rank = bool((self.top_k > 0).any() or (self.top_p < 1).any())
        self.by_share = bool((self.min_p > 0).any())


def distribution(logits: Float[Tensor, "n v"], cut: Cutoffs) -> Float[Tensor, "n v"]:
    """Probabilities after temperature, then min-p, top-k and top-p of what is left, renormalised.

    Top-p keeps the likeliest tokens up to and including the one that reaches the share (Holtzman et al. 2020,
    arXiv:1904.09751). Greedy rows come out as if their temperature were 1.
    """
    # Below the largest logit: a temperature close to 0 makes −∞ of the others, where ∞ − ∞ would be no number.
    scaled = (logits - logits.amax(-1, keepdim=True)) / torch.where(cut.temperature == 0, 1.0, cut.temperature)
    p = scaled.softmax(-1)
    if cut.by_share:
        p = p.where(p >= cut.min_p * p.amax(-1, keepdim=True), 0.0)
        p = p / p.sum(-1, keepdim=True)
    if cut.by_rank:
        ordered, order = p.sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(p.shape[1], device=p.device)
        keep = (rank < cut.top_k) | (cut.top_k == 0)
        ordered = ordered.where(keep, 0.0)
        ordered = ordered / ordered.sum(-1, keepdim=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.where((before < cut.top_p) | (cut.top_p == 1) | (rank == 0), 0.0)
        p = torch.zeros_like(p).scatter_(-1, order, ordered / ordered.sum(-1, keepdim=True))
    return p


def draw(p: Float[Tensor, "n v"], uniform: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The token at which the cumulative probability passes a number from [0, 1), row by row; never one of no chance."""
    cumulative = p.cumsum(-1)
    token = torch.searchsorted(cumulative, uniform[:, None].to(p.dtype) * cumulative[:, -1:], right=True)[:, 0]
    last = (p > 0).int().cumsum(-1).argmax(-1)  # rounding may put the number at the very end
    return torch.minimum(token, last)


def choose(logits: Float[Tensor, "n v"], cut: Cutoffs, uniform: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The next token of every row: the likeliest where the temperature is 0, else drawn."""
    if cut.all_greedy:
        return logits.argmax(-1)
    drawn = draw(distribution(logits, cut), uniform)
    return torch.where(cut.greedy, logits.argmax(-1), drawn) if cut.any_greedy else drawn


def uniforms(seed: int, count: int) -> Float[np.ndarray, " count"]:
    """The numbers in [0, 1) that a sample's tokens are drawn with, in float32: a function of its seed alone."""
    return np.random.Generator(np.random.Philox(seed)).random(count, dtype=np.float32)
