"""What small video models are trained on and judged by: an autoencoder, captioned latents, prompts with true states.

Its parts are folders that are made once and used by many models:

    autoencoder.json · autoencoder.safetensors
    lessons.json · lessons.safetensors
    prompts.json · prompts.safetensors
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.core.files import read_json, replacing, write_json
from maquette.core.seeds import child_seed, numpy_generator
from maquette.generative.objectives import Objective
from maquette.generative.samplers import SamplerName
from maquette.train.loop import TrainConfig, train
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig
from maquette.video.clips import PLAIN, Clips, as_frames, scene_clips
from maquette.video.judging import ROWS, coded, judge, tally
from maquette.video.recipes import Autoencoding, Progress, encode_all, train_autoencoder
from maquette.video.text_to_video import (
    LatentBatches,
    Latents,
    TextToVideo,
    count_frames,
    loss_by_noise,
    sample,
    training_loss,
)
from maquette.video.words import Vocabulary
from maquette.worlds.scene.metrics import frechet_of_states, states_of
from maquette.worlds.scene.words.lexicon import WORDS

FPS = 8.0
VOCABULARY = Vocabulary(WORDS)
FARTHEST = 300.0
"""The Fréchet distance that a set counts as at most."""


@dataclass(frozen=True, kw_only=True)
class Coder:
    """The autoencoder and its training, on clips with a bystander and without. It codes every frame by itself."""

    size: int = 16
    coder_width: int = 64
    latent: int = 6
    coding_clips: int = 1536
    coding_steps: int = 4000
    coding_rows: int = 4


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """The captioned clips that are learnt from."""

    size: int = 16
    frames: int = 9
    clips: int = 4096
    objects: int = 0
    """Bystanders."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The captions that models are judged by, and true clips of them."""

    size: int = 16
    frames: int = 9
    prompts: int = 128
    objects: int = 0
    """Bystanders."""
    held_out: bool = False
    """Whether they have only combinations of colour and shape that were never learnt."""
    speed: float = 1.0
    """Of their clips; those learnt from have 1."""


def make_autoencoder(config: Coder, directory: Path, progress: Progress) -> None:
    """Train one, and leave its folder; the same call goes on from there."""
    count = config.coding_clips // 2
    parts = [scene_clips(count, n, size=config.size, frames=9, objects=n, **PLAIN) for n in range(2)]
    order = numpy_generator(0, "order").permutation(2 * count)
    clips = Clips(
        frames=np.concatenate([part.frames for part in parts])[order],
        captions=tuple(parts[i // count].captions[i % count] for i in order),
        fps=FPS,
    )
    model = AutoencoderConfig(width=config.coder_width, latent=config.latent, space=2, time=1, wavelet=1, seen=1)
    training = TrainConfig(
        steps=config.coding_steps,
        optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0),
        schedule=Schedule(warmup=min(50, config.coding_steps // 4), cooldown=0.4),
        device="cpu",
        precision="fp32",  # not every processor has bfloat16
        save_every=250,
    )
    recipe = Autoencoding(model=model, train=training, rows=config.coding_rows)
    trained = train_autoencoder(recipe, clips, directory / "training", progress)
    with replacing(directory / "autoencoder.safetensors") as temporary:
        save_file(trained.state_dict(), temporary)
    write_json(directory / "autoencoder.json", asdict(model))


def load_autoencoder(directory: Path) -> Autoencoder:
    """What `make_autoencoder` left."""
    model = Autoencoder(AutoencoderConfig(**read_json(directory / "autoencoder.json")))
    model.load_state_dict(load_file(directory / "autoencoder.safetensors"))
    return model.eval()


def make_lessons(config: Lessons, coder: Path, directory: Path, progress: Progress) -> None:
    """Draw clips, and encode them."""
    keys: dict[str, Any] = {"size": config.size, "frames": config.frames, "objects": config.objects, **PLAIN}
    clips = scene_clips(config.clips, 100, **keys)
    latents = encode_all(load_autoencoder(coder), clips, progress)
    with replacing(directory / "lessons.safetensors") as temporary:
        save_file({"latents": latents.contiguous()}, temporary)
    write_json(directory / "lessons.json", {"captions": clips.captions})


def load_lessons(directory: Path) -> tuple[Latents, Int[Tensor, "clips words"]]:
    """Latents and captions of what `make_lessons` left."""
    captions = read_json(directory / "lessons.json")["captions"]
    return load_file(directory / "lessons.safetensors")["latents"], VOCABULARY.encode(captions)


def make_prompts(config: Prompts, coder: Path, directory: Path) -> None:
    """Draw and read true clips, and read them again after the autoencoder: the best that a model can do.

    Distances are from clips that no autoencoder has touched: one that loses all things would else be near to a model
    that draws none.
    """
    autoencoder = load_autoencoder(coder)
    keys: dict[str, Any] = {"size": config.size, "frames": config.frames, "objects": config.objects, **PLAIN}
    true = scene_clips(config.prompts, 200, held_out=config.held_out, speed=config.speed, **keys)
    states, after = (
        states_of([one.reading for one in judge(true.captions, frames, FPS)])
        for frames in (true.frames, coded(autoencoder, true.frames))
    )
    with replacing(directory / "prompts.safetensors") as temporary:
        save_file({"states": torch.from_numpy(states)}, temporary)
    best = {"true clips, coded": distance(after, states), "true clips rejected": 1 - float(readable(after).mean())}
    shape = encode_all(autoencoder, replace(true, frames=true.frames[:1])).shape[1:]
    write_json(directory / "prompts.json", {"prompts": true.captions, "best": best, "shape": [*shape]})


def readable(states: Float[np.ndarray, "clips numbers"]) -> Bool[np.ndarray, "clips"]:
    """Which clips the parser did not reject."""
    return ~np.isnan(states.sum(axis=1))


def distance(states: Float[np.ndarray, "clips numbers"], reference: Float[np.ndarray, "others numbers"]) -> float:
    """The Fréchet distance, at most `FARTHEST`."""
    return min(FARTHEST, frechet_of_states(states, reference).value)


@dataclass(frozen=True, kw_only=True)
class Testbed:
    """What judges, loaded."""

    autoencoder: Autoencoder
    prompts: tuple[str, ...]
    shape: tuple[int, int, int, int]
    """Of a clip's latents."""
    states: Float[np.ndarray, "prompts numbers"]
    """Of the prompts' true clips; NaN where the parser rejected one."""
    best: dict[str, float]
    """The distance of these after the autoencoder, and the share of them that is then rejected."""

    @classmethod
    def load(cls, coder: Path, prompts: Path) -> "Testbed":
        """From the folders."""
        told = read_json(prompts / "prompts.json")
        channels, frames, height, width = told["shape"]
        return cls(
            autoencoder=load_autoencoder(coder),
            prompts=tuple(told["prompts"]),
            shape=(channels, frames, height, width),
            states=load_file(prompts / "prompts.safetensors")["states"].numpy(),
            best=told["best"],
        )

    def measured(self, frames: UInt8[np.ndarray, "prompts frames size size 3"]) -> dict[str, float]:
        """What the parser says of a clip for each prompt: distance from true clips, and what was asked for."""
        read = judge(self.prompts, frames, FPS)
        off, counted = distance(states_of([one.reading for one in read]), self.states), tally(read)
        return {
            "frechet": off,
            "log frechet": math.log(max(off, 1e-6)),
            "accuracy": counted["all"].accuracy,
            "sentence": counted["sentence"].accuracy,
            "rejected": sum(one.reading.rejected is not None for one in read) / len(read),
            **self.best,
        }


def averaged_after(
    steps: int,
    model: TextToVideo,
    batches: LatentBatches,
    *,
    lr: float,
    ema: float,
    warmup: int,
    directory: Path,
    progress: Progress,
) -> TextToVideo:
    """Train at a constant rate, going on from a checkpoint of fewer steps; the model with the averaged weights."""
    training = TrainConfig(
        steps=steps,
        optimizer=OptimizerConfig(lr=lr, weight_decay=0.0),
        schedule=Schedule(kind="constant", warmup=warmup),
        ema=ema,
        seed=batches.seed,
        device="cpu",
        precision="fp32",  # not every processor has bfloat16
        save_every=250,
    )
    loss = training_loss(batches.learning.objective)
    found = train(model, loss, count_frames, batches.batch, training, directory=directory, progress=progress)
    averaged = copy.deepcopy(model).eval()
    averaged.load_state_dict(found.averaged or {}, strict=False)
    return averaged


@torch.no_grad()
def open_gates(model: TextToVideo, generator: torch.Generator) -> None:
    """adaLN-Zero without its zero: gates begin at 1, as if there were none, and modulations as plain adaLN's."""
    for name, parameter in model.dit.blocks.named_parameters():
        if name.endswith("modulation.weight"):
            parameter.normal_(0.0, 0.02, generator=generator)
        elif name.endswith("modulation.bias"):
            for gate in parameter.chunk(6)[2::3]:
                gate.fill_(1.0)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How clips are sampled."""

    objective: Objective
    evaluations: int
    """Of the network a clip; twice that with guidance."""
    sampler: SamplerName = "euler"
    guidance: float = 1.0
    """None beyond the caption, as in the paper's comparisons of sizes and conditionings."""
    shift: float = 1.0

    def clips(
        self, model: TextToVideo, testbed: Testbed, prompts: Sequence[str], seed: int, frames: int | None = None
    ) -> UInt8[np.ndarray, "prompts frames size size 3"]:
        """A clip for each prompt, of so many frames of latents; Heun's method asks twice a step, but for the last."""
        channels, length, height, width = testbed.shape
        steps = (self.evaluations + 1) // 2 if self.sampler == "heun" else self.evaluations
        found = []
        for start in range(0, len(prompts), ROWS):
            latents = sample(
                model,
                VOCABULARY.encode(prompts[start : start + ROWS]),
                (channels, frames or length, height, width),
                self.objective,
                steps=steps,
                guidance=self.guidance,
                shift=self.shift,
                sampler=self.sampler,
                seed=child_seed(seed, "samples", start),
            )
            with torch.no_grad():
                found.append(as_frames(testbed.autoencoder.decode(latents)))
        return np.concatenate(found)

    def side_by_side(
        self, model: TextToVideo, testbed: Testbed, seed: int
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """Clips for the first four prompts, enlarged; beside them an image, which is a clip of one frame."""
        made = self.clips(model, testbed, testbed.prompts[:4], seed)
        image = self.clips(model, testbed, testbed.prompts[:1], seed, frames=1)
        row = np.concatenate([*made, np.repeat(image[0], made.shape[1], axis=0)], axis=2)
        return row.repeat(6, axis=1).repeat(6, axis=2)


def mean_loss(model: TextToVideo, batches: LatentBatches) -> float:
    """Of a batch that training never comes to, in the mean over levels of noise."""
    losses = loss_by_noise(model, batches).values()
    return sum(losses) / len(losses)
