"""A LeRobot dataset as training sees it: moments of episodes, each with the chunk of actions that followed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from tokenizers import Tokenizer
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.seeds import child_seed, torch_generator
from maquette.language.prompts import padded
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset, Episode
from maquette.robotics.normalisation import Normaliser

Draw = Callable[[int, torch.Generator], dict[str, Tensor]]
HELD_OUT = 20
"""One episode in so many is kept from training, and judges it."""


class Moments:
    """All of a dataset in memory, its pictures at the policy's own size; batches are a pure function of the step.

    Args:
        dataset: any with states and actions.
        cameras: which of its cameras, in the policy's order.
        pixels: height and width of a picture for the policy.
        chunk: actions that follow a moment.
        tokenizer: of the instructions.
        state: normalises it.
        action: normalises them.
        progress: told (episodes read, episodes in all).
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        cameras: Sequence[str],
        pixels: int,
        chunk: int,
        tokenizer: Tokenizer,
        state: Normaliser,
        action: Normaliser,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.chunk = chunk
        self.states = state.apply(flat(dataset, STATE))
        self.actions = action.apply(flat(dataset, ACTION))
        self.ends = torch.from_numpy(np.concatenate([np.full(e.length, e.first + e.length) for e in dataset.episodes]))
        self.images = torch.zeros(len(self.ends), len(cameras), 3, pixels, pixels, dtype=torch.uint8)
        for done, episode in enumerate(dataset.episodes):
            for number, camera in enumerate(cameras):
                self.images[episode.frames, number] = fitted(dataset.pictures(camera, episode), pixels)
            progress(done + 1, len(dataset.episodes))
        self.prompts, self.written = padded(tokenizer, dataset.tasks)
        self.tasks = torch.from_numpy(dataset.numbers("task_index").reshape(-1).astype(np.int64))
        held_out = [e for e in dataset.episodes if is_held_out(e)] if len(dataset.episodes) > 1 else []
        self.held_out = places(held_out or dataset.episodes[-1:])
        self.training = places([e for e in dataset.episodes if e not in held_out] or dataset.episodes)

    def batch(self, step: int, rows: int, seed: int, draw: Draw) -> dict[str, Tensor]:
        """The training batch of a step, chance included."""
        generator = torch_generator(seed, "moments", step)
        chosen = self.training[torch.randint(len(self.training), (rows,), generator=generator)]
        return self.at(chosen) | draw(rows, generator)

    def at(self, frames: Int[Tensor, " rows"]) -> dict[str, Tensor]:
        """These moments; behind an episode's end its last action is repeated, and does not count."""
        ahead = frames[:, None] + torch.arange(self.chunk)
        last = self.ends[frames][:, None] - 1
        task = self.tasks[frames]
        return {
            "images": self.images[frames],
            "state": self.states[frames],
            "prompt": self.prompts[task],
            "written": self.written[task],
            "actions": self.actions[ahead.minimum(last)],
            "counted": ahead <= last,
        }


def flat(dataset: Dataset, name: str) -> Float[Tensor, "frames numbers"]:
    """A feature as a vector a frame.

    Raises:
        UserError: the dataset lacks it, or a number is not finite.
    """
    if name not in dataset.info.features:
        raise UserError(f"{dataset.directory} has no feature {name}; a policy needs it.")
    values = dataset.numbers(name)
    found = torch.from_numpy(values.reshape(len(values), -1).astype(np.float32))
    if not bool((finite := found.isfinite().all(1)).all()):
        raise UserError(f"{dataset.directory}: {name} is not finite at frame {int((~finite).nonzero()[0])}; mend it.")
    return found


def fitted(frames: UInt8[np.ndarray, "frames height width 3"], pixels: int) -> UInt8[Tensor, "frames 3 pixels pixels"]:
    """Pictures shrunk or grown to a square as a whole, with black beside them where they are none."""
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    height, width = x.shape[2:]
    if (height, width) == (pixels, pixels):
        return x
    share = pixels / max(height, width)
    tall, wide = max(1, round(height * share)), max(1, round(width * share))
    x = F.interpolate(x.float(), (tall, wide), mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)
    top, left = (pixels - tall) // 2, (pixels - wide) // 2
    return F.pad(x, (left, pixels - wide - left, top, pixels - tall - top))


def is_held_out(episode: Episode) -> bool:
    """By its number's hash, so that the same episodes stay held out as a dataset grows."""
    return child_seed(0, "held-out episode", episode.number) % HELD_OUT == 0


def places(episodes: Sequence[Episode]) -> Int[Tensor, " frames"]:
    """The frames of these episodes."""
    return torch.cat([torch.arange(e.first, e.first + e.length) for e in episodes])
