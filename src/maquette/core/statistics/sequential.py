"""Looks: a study is judged at up to three sample sizes, and the chance of a wrong verdict is held over all of them."""

import math
from collections.abc import Sequence

ALPHA = 0.05
LOOKS = (5, 8, 12)


def planned_looks(seeds: int) -> tuple[int, ...]:
    """The sample sizes at which a study planned for at most `seeds` seeds is looked at; none below the first look."""
    return (*(n for n in LOOKS if n < seeds), seeds) if seeds >= LOOKS[0] else ()


def alpha_spent(share: float) -> float:
    """The error spent once `share` of the planned seeds is seen: α ln(1 + (e − 1) t), Lan & DeMets 1983."""
    return ALPHA * math.log1p((math.e - 1) * share)


def alpha_at(n: int, looks: Sequence[int]) -> float:
    """What the look at `n` may spend over all claims; the looks' parts add up to `ALPHA`.

    By the union bound no assumption on the joint law of the looks is needed.

    Raises:
        ValueError: `n` is not one of the looks.
    """
    if n not in looks:
        raise ValueError(f"no look at n = {n} was planned; looks: {tuple(looks)}")
    before = max((look for look in looks if look < n), default=0)
    return alpha_spent(n / max(looks)) - alpha_spent(before / max(looks))
