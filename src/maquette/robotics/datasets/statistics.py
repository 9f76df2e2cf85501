"""Exact statistics: of numbers from all of them, of pixels from counts of their 256 values.

LeRobot 0.4 averages the quantiles of episodes, which are then no quantiles; policies that normalise by them suffer.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Num, UInt8

Statistics = dict[str, np.ndarray]
"""min, max, mean, std, count and the quantiles, each of the feature's shape but for count, which has one number."""
QUANTILES: Mapping[str, float] = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Histogram = Int[np.ndarray, "3 256"]


def of_numbers(values: Num[np.ndarray, "frames *shape"]) -> Statistics:
    """Of every number over all frames; quantiles by linear interpolation (NumPy's), std that of the whole."""
    exact = values.astype(np.float64)
    quantiles = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return {
        "min": exact.min(axis=0),
        "max": exact.max(axis=0),
        "mean": exact.mean(axis=0),
        "std": exact.std(axis=0),
        "count": np.array([len(exact)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def count_pixels(frames: UInt8[np.ndarray, "frames height width 3"]) -> Histogram:
    """How often each channel has each value; histograms of parts add up to that of the whole."""
    flat = frames.reshape(-1, 3)
    return np.stack([np.bincount(flat[:, channel], minlength=256) for channel in range(3)])


def of_pixels(histogram: Histogram, frames: int) -> Statistics:
    """Of each channel over all pixels, which lie in [0, 1]; of shape (3, 1, 1), as LeRobot has it."""
    values, total = np.arange(256) / 255, histogram.sum(axis=1)
    present = histogram > 0
    mean = histogram @ values / total
    found = {
        "min": values[present.argmax(axis=1)],
        "max": values[255 - present[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0)),
        **{name: _quantile(histogram, share) for name, share in QUANTILES.items()},
    }
    return {name: value.reshape(3, 1, 1) for name, value in found.items()} | {"count": np.array([frames])}


def _quantile(histogram: Histogram, share: float) -> Float[np.ndarray, " 3"]:
    """Linear interpolation between the two ordered values around `share` of the way, as NumPy's."""
    found = []
    for counts in histogram:
        below, place = counts.cumsum(), share * (counts.sum() - 1)
        low, high = (int(np.searchsorted(below, np.floor(place) + step, side="right")) for step in (0, 1))
        low, high = min(low, 255), min(high, 255)
        high = high if place % 1 else low
        found.append((low + (high - low) * (place % 1)) / 255)
    return np.array(found)
