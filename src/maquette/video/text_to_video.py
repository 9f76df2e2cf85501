"""From words to a clip: a reader of captions, a DiT on the autoencoder's latents, what it learns, and how it samples.

The reader is a Llama whose words all see one another. The first frame may be given: then every frame of latents has a
time of its own, and the one that is known has time 0, in training as in sampling. Else a clip has one time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maquette.core.errors import UserError, did_you_mean
from maquette.core.seeds import rows_of_batch, torch_generator
from maquette.generative import samplers
from maquette.generative.guidance import guide
from maquette.generative.objectives import Denoiser, Objective
from maquette.generative.paths import VarianceExploding, VariancePreserving, broadcast, mix
from maquette.generative.samplers import SAMPLERS, SamplerName
from maquette.generative.times import LogitNormalTimes, LogNormalTimes, TimeSampler, UniformTimes, grid_of
from maquette.language.llama import Llama, LlamaConfig
from maquette.video.conditions import Text
from maquette.video.dit import DiT, DiTConfig

Latents = Float[Tensor, "clips channels frames height width"]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What is learnt from latents and their captions, and how often what is left out."""

    objective: Objective = field(default_factory=Objective)
    times: TimeSampler = field(default_factory=LogitNormalTimes)
    unsaid: float = 0.1
    """Share of clips whose caption is hidden, for guidance."""
    given: float = 0.25
    """Share of clips whose first frame is shown."""
    stills: float = 0.0
    """Share of batches of first frames alone: an image is a clip of one frame."""

    def __post_init__(self) -> None:
        for name in ("unsaid", "given", "stills"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: give a share of the clips, below 1.")


def learning_of(name: str, *, shift: float = 1.0, **shares: float) -> Learning:
    """What is learnt, by the name of what the network predicts, for latents of deviation 1.

    flow on straight lines (Liu et al. 2022), at times moved by `shift`, and data on the same (Li & He 2025,
    arXiv:2511.13720: what a narrow network can say, as clips lie on fewer dimensions than noise); velocity and noise on
    DDPM's chain (Salimans & Ho 2022; Ho et al. 2020); residual, EDM's (Karras et al. 2022) with Cosmos' times.

    Raises:
        UserError: there is no such name.
    """
    chain = VariancePreserving()
    known: dict[str, tuple[Objective, TimeSampler]] = {
        "flow": (Objective(), LogitNormalTimes(shift=shift)),
        "data": (Objective(predicts="data"), LogitNormalTimes(shift=shift)),
        "velocity": (Objective(path=chain, predicts="velocity"), UniformTimes(last=chain.last, whole=True)),
        "noise": (Objective(path=chain, predicts="noise"), UniformTimes(last=chain.last, whole=True)),
        "residual": (
            Objective(path=VarianceExploding(), predicts="residual", data_std=1.0),
            LogNormalTimes(mean=0.0, std=1.0),
        ),
    }
    if name not in known:
        raise UserError(f"There is no objective {name!r}; {did_you_mean(name, known)}")
    objective, times = known[name]
    return Learning(objective=objective, times=times, **shares)


class TextToVideo(nn.Module):
    """Noisy latents, their times and captions in; a prediction out."""

    def __init__(self, dit: DiTConfig, reader: LlamaConfig) -> None:
        super().__init__()
        if dit.text_width != reader.width:
            raise UserError(f"text_width = {dit.text_width} of the DiT must be its reader's width, {reader.width}.")
        self.dit, self.reader = DiT(dit), Llama(reader)

    def initialise(self, generator: torch.Generator) -> "TextToVideo":
        """Both parts' own start."""
        self.dit.initialise(generator)
        self.reader.initialise(generator)
        return self

    def read(self, words: Int[Tensor, "clips words"]) -> Text:
        """Features of the words; 0 is padding."""
        there = words > 0
        return Text(self.reader.features(words, there[:, None, None, :]), there.long() - 1)

    def forward(self, x: Latents, time: Float[Tensor, "clips #frames"], words: Int[Tensor, "clips words"]) -> Latents:
        """The network's prediction."""
        return self.told(x, time, self.read(words))

    def told(self, x: Latents, time: Float[Tensor, "clips #frames"], text: Text) -> Latents:
        """The same of a text that was read before.

        Raises:
            ValueError: frames have times of their own, but the DiT takes one for each clip only, as without adaLN, or
                patches span frames.
        """
        config = self.dit.config
        if time.shape[1] == 1:
            time = time[:, 0]
        elif not config.steered or config.patch[0] > 1:
            raise ValueError(
                "All frames of a clip have one time without adaLN and in patches that span frames: give none first."
            )
        return self.dit(x, time, text=text)


@dataclass(frozen=True, kw_only=True)
class LatentBatches:
    """Batches as a pure function of the step: clips, noise, times, and what is hidden."""

    latents: Latents
    words: Int[Tensor, "clips words"]
    rows: int
    seed: int
    learning: Learning

    def batch(self, step: int) -> dict[str, Tensor]:
        """The global batch of a step; every pass over the clips has an order of its own."""
        count, generator = len(self.latents), torch_generator(self.seed, "video batch", step)
        chosen = rows_of_batch(step, self.rows, count, self.seed, "order")
        latents, words = self.latents[chosen], self.words[chosen].clone()
        unsaid = torch.rand(self.rows, generator=generator) < self.learning.unsaid
        words[unsaid] = torch.tensor([1] + [0] * (words.shape[1] - 1))
        time = self.learning.times(self.rows, generator)[:, None]
        if self.learning.given:
            time = time.repeat(1, latents.shape[2])
            time[torch.rand(self.rows, generator=generator) < self.learning.given, 0] = 0.0
        noise = torch.randn(latents.shape, generator=generator)
        if self.learning.stills and torch.rand(1, generator=generator) < self.learning.stills:
            latents, noise, time = latents[:, :, :1], noise[:, :, :1], time[:, -1:]
        return {"latents": latents, "noise": noise, "time": time, "words": words}


def losses(model: nn.Module, batch: dict[str, Tensor], objective: Objective) -> Float[Tensor, "clips frames"]:
    """Squared errors by clip and frame, in the mean over a frame's numbers; 0 where the frame was given."""
    latents, noise = (batch[name].transpose(1, 2) for name in ("latents", "noise"))  # frames first, as times have them
    time = batch["time"]
    known = time == 0
    x = torch.where(broadcast(known, latents), latents, mix(objective.path, latents, noise, time))
    said = objective.predict(lambda x, label: model(x.transpose(1, 2), label, batch["words"]).transpose(1, 2), x, time)
    error = (said.float() - objective.target(latents, noise, time)) ** 2
    return error.mean((2, 3, 4)) * ~known


def training_loss(objective: Objective) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    """What `train` minimises: the sum over the frames that were not given."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
        return losses(model, batch, objective).sum()

    return loss


def count_frames(batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """How many frames `training_loss` sums over."""
    return (batch["time"] > 0).expand(-1, batch["latents"].shape[2]).sum().float()


def loss_by_noise(model: nn.Module, batches: LatentBatches, levels: int = 8, batch: int = 10**6) -> dict[str, float]:
    """The mean loss at evenly spaced times: a model that learns is worst at neither end, and falls everywhere."""
    drawn, objective = batches.batch(batch), batches.learning.objective
    device = next(model.parameters()).device
    found = {}
    with torch.no_grad():
        for t in noise_levels(levels, objective):
            at = drawn | {"time": torch.full_like(drawn["time"], t)}
            moved = {name: value.to(device) for name, value in at.items()}
            found[f"loss at t = {t:.2f}"] = float(losses(model, moved, objective).mean())
    return found


def blind_loss_by_noise(objective: Objective, levels: int = 8) -> dict[str, float]:
    """The same of who knows the latents' mean and deviation and nothing else: what learning has to beat everywhere."""
    times = noise_levels(levels, objective)
    blind = objective.blind_loss(torch.tensor(times, dtype=torch.float64)).tolist()
    return {f"loss at t = {t:.2f}": loss for t, loss in zip(times, blind, strict=True)}


def noise_levels(levels: int, objective: Objective) -> list[float]:
    """The middles of so many equal parts of the path."""
    return [(level + 0.5) / levels * objective.path.last for level in range(levels)]


@torch.no_grad()
def sample(
    model: TextToVideo,
    words: Int[Tensor, "clips words"],
    shape: tuple[int, int, int, int],
    objective: Objective,
    *,
    steps: int = 30,
    guidance: float = 1.0,
    shift: float = 1.0,
    sampler: SamplerName = "euler",
    seed: int = 0,
    first: Float[Tensor, "clips channels 1 height width"] | None = None,
) -> Latents:
    """Latents of clips that show what the words say.

    Args:
        model: trained on the objective.
        words: captions.
        shape: channels, frames, height and width of a clip's latents.
        objective: the one that the model was trained on.
        steps: of the sampler.
        guidance: 1 is none beyond the caption.
        shift: moves the steps of a flow towards noise.
        sampler: which.
        seed: of the noise; clip i of a seed is the same whatever stands beside it.
        first: latents of first frames that the clips are to begin with.

    Raises:
        UserError: steps or guidance out of range, or there is no such sampler.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"sampler = {sampler!r}: give one of {', '.join(SAMPLERS)}.")
    device, grid = next(model.parameters()).device, grid_of(objective.path, steps, shift)
    nothing = torch.tensor([1] + [0] * (words.shape[1] - 1)).expand_as(words)

    def told(captions: Tensor) -> Denoiser:
        text = model.read(captions.to(device))

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            time = t[:, None]
            if first is not None:
                time = time.repeat(1, shape[1])
                time[:, 0] = 0.0
                x = torch.cat((first.to(x), x[:, :, 1:]), 2)
            frames_first = x.transpose(1, 2)  # as times have them
            said = objective.predict(
                lambda x, label: model.told(x.transpose(1, 2), label, text).transpose(1, 2), frames_first, time
            )
            return objective.parts(x, said.transpose(1, 2), t).data

        return denoise

    noise = [
        samplers.start(shape, grid, objective.path, torch_generator(seed, "noise of clip", i))
        for i in range(len(words))
    ]
    guided = guide(told(words), told(nothing), guidance)
    found = cast("Tensor", SAMPLERS[sampler](guided, torch.stack(noise).to(device), grid, objective.path))
    return found if first is None else torch.cat((first.to(found), found[:, :, 1:]), 2)
