"""What small video models are trained on and judged by: an autoencoder, captioned latents, prompts with true states.

Both parts are folders that are made once and used by many models:

    autoencoder.json · autoencoder.safetensors
    world.json · world.safetensors
"""

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
from maquette.train.loop import TrainConfig
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig
from maquette.video.clips import PLAIN, Clips, as_frames, scene_clips
from maquette.video.judging import ROWS, coded, judge, tally
from maquette.video.recipes import Autoencoding, Progress, encode_all, train_autoencoder
from maquette.video.text_to_video import LatentBatches, TextToVideo, loss_by_noise, sample
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
class World:
    """The clips that are learnt from, and those that models are judged by."""

    size: int = 16
    frames: int = 9
    clips: int = 4096
    objects: int = 0
    """Bystanders."""
    prompts: int = 128
    held_out: bool = False
    """Whether prompts have only combinations of colour and shape that were never learnt."""
    speed: float = 1.0
    """Of the clips that are judged by; those learnt from have 1."""


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


def make_world(config: World, coder: Path, directory: Path, progress: Progress) -> None:
    """Draw clips and encode them; read true clips, and again after the autoencoder: the best that a model can do.

    Distances are from clips that no autoencoder has touched: one that loses all things would else be near to a model
    that draws none.
    """
    autoencoder = load_autoencoder(coder)
    keys: dict[str, Any] = {"size": config.size, "frames": config.frames, "objects": config.objects, **PLAIN}
    clips = scene_clips(config.clips, 100, **keys)
    true = scene_clips(config.prompts, 200, held_out=config.held_out, speed=config.speed, **keys)
    latents = encode_all(autoencoder, clips, progress)
    states, after = (
        states_of([one.reading for one in judge(true.captions, frames, FPS)])
        for frames in (true.frames, coded(autoencoder, true.frames))
    )
    with replacing(directory / "world.safetensors") as temporary:
        save_file({"latents": latents.contiguous(), "states": torch.from_numpy(states)}, temporary)
    best = {"true clips, coded": distance(after, states), "true clips rejected": 1 - float(readable(after).mean())}
    write_json(directory / "world.json", {"captions": clips.captions, "prompts": true.captions, "best": best})


def readable(states: Float[np.ndarray, "clips numbers"]) -> Bool[np.ndarray, "clips"]:
    """Which clips the parser did not reject."""
    return ~np.isnan(states.sum(axis=1))


def distance(states: Float[np.ndarray, "clips numbers"], reference: Float[np.ndarray, "others numbers"]) -> float:
    """The Fréchet distance, at most `FARTHEST`."""
    return min(FARTHEST, frechet_of_states(states, reference).value)


@dataclass(frozen=True, kw_only=True)
class Testbed:
    """Both, loaded."""

    autoencoder: Autoencoder
    latents: Float[Tensor, "clips channels frames height width"]
    words: Int[Tensor, "clips words"]
    prompts: tuple[str, ...]
    states: Float[np.ndarray, "prompts numbers"]
    """Of the prompts' true clips; NaN where the parser rejected one."""
    best: dict[str, float]
    """The distance of these after the autoencoder, and the share of them that is then rejected."""

    @classmethod
    def load(cls, coder: Path, world: Path) -> "Testbed":
        """From the folders."""
        kept, told = load_file(world / "world.safetensors"), read_json(world / "world.json")
        return cls(
            autoencoder=load_autoencoder(coder),
            latents=kept["latents"],
            words=VOCABULARY.encode(told["captions"]),
            prompts=tuple(told["prompts"]),
            states=kept["states"].numpy(),
            best=told["best"],
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a clip's latents."""
        _, channels, frames, height, width = self.latents.shape
        return channels, frames, height, width

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


def shuffled(testbed: Testbed, generator: torch.Generator) -> Testbed:
    """The same with captions of other clips."""
    return replace(testbed, words=testbed.words[torch.randperm(len(testbed.words), generator=generator)])
