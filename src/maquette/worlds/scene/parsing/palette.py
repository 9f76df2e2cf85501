"""Which colour a pixel has: what is seen as a share of some paint over what is known to be behind it."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from maquette.worlds.scene.drawing import JOINT, ROBOT, ROD
from maquette.worlds.scene.raster import SHADE
from maquette.worlds.scene.vocabulary import COLOURS, RGB

FIXTURE = len(COLOURS)
"""Stands for rods and robots where otherwise a colour's place in `COLOURS` does."""
NOTHING = -1
CONTRAST = 18.0
"""Difference from what is behind, of 255, from which on a pixel shows something."""

OFF = 60.0
"""Differences beyond this, of 255, are all the same."""


def _tones() -> Float32[Tensor, "colours tones 3"]:
    """The colours that things are painted with, by colour: with and without a rim, a core and a stripe."""
    plain = np.array([RGB[colour] for colour in COLOURS], np.float32)
    pale = 255 - 0.4 * (255 - plain)
    dark = 0.6 * plain
    tones = [plain, dark, (plain + dark) / 2, SHADE * dark, pale, (plain + pale) / 2, SHADE * pale]
    return torch.from_numpy(np.stack(tones, 1))


TONES = _tones()
_FIXTURES = torch.tensor([ROD, ROBOT, JOINT], dtype=torch.float32)


def unmix(
    seen: Float32[Tensor, "frames pixels 3"], behind: Float32[Tensor, "frames pixels 3"]
) -> tuple[Int64[Tensor, "frames pixels"], Float32[Tensor, "frames pixels"]]:
    """The family of paint that explains each pixel best as a layer over what is behind, and the share that it covers.

    A family is a colour's place in `COLOURS`, `FIXTURE`, or `NOTHING` where what is behind is seen. Each pixel is
    judged with its neighbours: alone, one that several paints share can look like a third.
    """
    frames, pixels = seen.shape[:2]
    size = round(pixels**0.5)
    label = torch.full((frames, pixels), NOTHING)
    share = torch.zeros(frames, pixels)
    shown = (seen - behind).abs().amax(2) > CONTRAST
    if not shown.any():
        return label, share
    back = behind[shown]
    change = seen[shown] - back
    paints = torch.cat([TONES.flatten(0, 1), _FIXTURES])
    # With d what has changed and f a paint less what is behind: share d·f / f², left d² - 2 share d·f + share² f².
    along = change @ paints.T - (change * back).sum(1, keepdim=True)
    square = (paints**2).sum(1) - 2 * back @ paints.T + (back**2).sum(1, keepdim=True)
    cover = (along / square.clamp(min=1)).clamp_(0, 1)
    left = (cover * (cover * square - 2 * along)).add_((change**2).sum(1, keepdim=True))
    tones, fixtures = TONES.shape[1], len(_FIXTURES)
    cost, tone = left[:, :-fixtures].unflatten(1, (len(COLOURS), tones)).min(2)
    other, paint = left[:, -fixtures:].min(1)
    costs = torch.zeros(frames, pixels, FIXTURE + 1)
    costs[shown] = torch.cat([cost, other[:, None]], 1).clamp_(max=OFF**2)
    planes = costs.view(frames, size, size, -1).permute(0, 3, 1, 2)
    around = F.avg_pool2d(planes, 3, stride=1, padding=1).permute(0, 2, 3, 1).reshape(frames, pixels, -1)
    family = (costs + around)[shown].argmin(1)
    tone = torch.cat([tone + tones * torch.arange(len(COLOURS)), paint[:, None] + len(COLOURS) * tones], 1)
    label[shown] = family
    share[shown] = cover.gather(1, tone.gather(1, family[:, None]))[:, 0]
    return label, share


def nearest(
    seen: Float[np.ndarray, "*pixels 3"], paints: Float[np.ndarray, "paints 3"], within: float
) -> Int64[np.ndarray, "*pixels"]:
    """The number of the paint nearest to each pixel; -1 where none is within so much, of 255."""
    apart = ((seen[..., None, :] - paints) ** 2).sum(-1)
    found = apart.argmin(-1)
    return np.where(apart.min(-1) <= within**2, found, -1)
