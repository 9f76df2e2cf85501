"""DiT forward and backward against diffusers' DiTTransformer2DModel on a CPU: same weights and inputs, in turns; and
what sampling and the autoencoder take by themselves.

    python benchmarks/dit.py                    every case
    python benchmarks/dit.py --only autocast    the cases with autocast in their name
    python benchmarks/dit.py --record           every case, kept in results/benchmarks/dit.json

Sampling is timed end to end, ours against diffusers' class under its own scheduler, 10 steps of Euler with guidance.
The autoencoder has no peer of its shape; its case compares tiles with one pass and prints frames a second.
"""

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler
from timing import SETTLING, Case, compared, run_cases, take_turns
from torch import Tensor, nn

from maquette.core.devices import Precision, autocast
from maquette.generative.guidance import classifier_free
from maquette.generative.objectives import Objective
from maquette.generative.paths import RectifiedFlow
from maquette.generative.samplers import euler
from maquette.generative.times import flow_grid
from maquette.video import checkpoints
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig
from maquette.video.dit import DiT, DiTConfig
from maquette.video.tiling import decode_tiled

CPU = torch.device("cpu")
SIDE, ROWS = 32, 8


def dit(width: int, layers: int, heads: int) -> DiTConfig:
    """One that diffusers has too: 256 patches of an image."""
    return DiTConfig(
        width=width,
        layers=layers,
        heads=heads,
        channels=4,
        out_channels=4,
        classes=10,
        positions="sincos",
        mlp_norm_eps=1e-5,
        frequency_shift=1,
    )


SHAPES = {"0.8M": dit(96, 4, 3), "7M": dit(256, 6, 4), "33M": dit(384, 12, 6)}
TARGETS = {"0.8M": 1.2, "7M": 1.0}
MODES: dict[str, tuple[Precision, bool]] = {
    "fp32": ("fp32", False),
    "autocast": ("bf16", False),
    "autocast compiled": ("bf16", True),
}
MARGIN = {"fp32": 1e-4, "bf16": 3e-2}
"""Largest relative difference of the losses."""


def both(config: DiTConfig) -> tuple[DiT, DiTTransformer2DModel]:
    """Ours with random weights, and theirs with the same."""
    ours, generator = DiT(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in ours.parameters():
            p.normal_(0.0, 0.02 if p.ndim == 1 else p.shape[1] ** -0.5, generator=generator)
    with TemporaryDirectory() as folder:
        checkpoints.save(ours, Path(folder), side=SIDE)
        theirs = DiTTransformer2DModel.from_pretrained(folder, low_cpu_mem_usage=False)
    return ours, cast("DiTTransformer2DModel", theirs)


def training(shape: str, mode: str, rounds: int) -> dict[str, Any]:
    """Forward and backward passes."""
    precision, compiled = MODES[mode]
    ours, theirs = (model.train() for model in both(SHAPES[shape]))
    generator = torch.Generator().manual_seed(1)
    x, label = torch.randn(ROWS, 4, SIDE, SIDE, generator=generator), torch.arange(ROWS) % 10
    time_, wish = torch.arange(ROWS) * 100 + 50, torch.randn(ROWS, 4, SIDE, SIDE, generator=generator)
    for block in theirs.transformer_blocks:
        block.norm1.emb.class_embedder.dropout_prob = 0.0  # ours leaves dropping labels to the data
    forward_ours, forward_theirs = (torch.compile(m) if compiled else m for m in (ours, theirs))
    found: dict[str, Tensor] = {}

    def step(name: str, model: nn.Module, call: Any) -> None:
        model.zero_grad(set_to_none=True)
        with autocast(CPU, precision):
            loss = ((call() - wish) ** 2).mean()
        loss.backward()
        found[name] = loss.detach()

    seconds = take_turns(
        rounds,
        partial(step, "ours", ours, lambda: forward_ours(x[:, :, None], time_.float(), label)[:, :, 0]),
        partial(
            step, "theirs", theirs, lambda: forward_theirs(x, timestep=time_, class_labels=label, return_dict=False)[0]
        ),
    )
    apart = abs(float(found["ours"] - found["theirs"])) / float(found["theirs"])
    return compared(*seconds) | {"difference": apart, "margin": MARGIN[precision]}


def sampling(shape: str, rounds: int) -> dict[str, Any]:
    """Ten steps with guidance, both halves in one pass, in fp32."""
    ours, theirs = (model.eval() for model in both(SHAPES[shape]))
    x, label = torch.randn(2, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(1)), torch.tensor([1, 2, 10, 10])
    objective, grid, found = Objective(path=RectifiedFlow()), flow_grid(10), {}

    def guided(call: Any, x: Tensor, time: Tensor) -> Tensor:
        told, untold = call(torch.cat((x, x)), torch.cat((time, time))).chunk(2)
        return classifier_free(told, untold, 3.0)

    def our_turn() -> None:
        def network(x: Tensor, time: Tensor) -> Tensor:
            return guided(lambda x, t: ours(x[:, :, None], t, label)[:, :, 0], x, time)

        with torch.no_grad():
            found["ours"] = euler(objective.denoiser(network), x, grid, objective.path)

    def their_turn() -> None:
        scheduler, y = FlowMatchEulerDiscreteScheduler(), x
        scheduler.set_timesteps(sigmas=grid[:-1].tolist())
        with torch.no_grad():
            for t in scheduler.timesteps:
                said = guided(
                    lambda x, t: theirs(x, timestep=t, class_labels=label, return_dict=False)[0], y, t.expand(len(y))
                )
                y = scheduler.step(said, t, y).prev_sample
        found["theirs"] = y

    seconds = take_turns(rounds, our_turn, their_turn)
    apart = float((found["ours"] - found["theirs"]).norm() / found["theirs"].norm())
    return compared(*seconds) | {"difference": apart, "margin": 1e-4}


def coding(kind: str, mode: str, rounds: int) -> dict[str, Any]:
    """Four clips of 17 × 64 × 64; "theirs" of a decoder is its own decoding by tiles, of an encoder fp32."""
    config = AutoencoderConfig(width=32, latent=8, space=8, time=2, wavelet=int(kind.endswith("haar")))
    model = Autoencoder(config).initialise(torch.Generator().manual_seed(0)).eval()
    x, found = torch.randn(4, 3, 17, 64, 64, generator=torch.Generator().manual_seed(1)), {}
    precision, _ = MODES[mode]
    with torch.no_grad():
        latents = model.encode(x)

    def turn(name: str, call: Any, kind: Precision) -> None:
        with torch.no_grad(), autocast(CPU, kind):
            found[name] = call()

    if kind.startswith("encode"):
        turns = [partial(turn, "ours", lambda: model.encode(x), precision)]
        turns += [partial(turn, "theirs", lambda: model.encode(x), "fp32")]
    else:
        turns = [partial(turn, "ours", lambda: model.decode(latents), precision)]
        turns += [partial(turn, "theirs", lambda: decode_tiled(model, latents, (3, 8, 8)), precision)]
    seconds = take_turns(rounds, *turns)
    apart = float((found["ours"].float() - found["theirs"].float()).norm() / found["theirs"].float().norm())
    rate = x.shape[0] * x.shape[2] / sorted(seconds[0][SETTLING:])[len(seconds[0][SETTLING:]) // 2]
    print(f"{kind}, {mode}: {rate:.0f} frames/s", file=sys.stderr)
    return compared(*seconds) | {"difference": apart, "margin": 0.1, "frames_per_second": rate}


CASES = {
    f"{shape} {mode}": Case(measure=partial(training, shape, mode), rounds=15, target=TARGETS.get(shape))
    for shape in SHAPES
    for mode in MODES
}
CASES |= {f"sample {shape}": Case(measure=partial(sampling, shape), rounds=8) for shape in ("0.8M", "7M")}
CASES |= {
    f"{kind} {mode}": Case(measure=partial(coding, kind, mode), rounds=8)
    for kind in ("encode", "decode", "encode haar", "decode haar")
    for mode in ("fp32", "autocast")
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__, Path("results/benchmarks/dit.json")))
