"""DiT: does a diffusion transformer's quality follow its Gflops, and does adaLN-Zero condition it best?

The world is one large thing of rubber that glides, flies or bounces, 9 frames of 16 × 16 pixels, with a caption. An
autoencoder makes 8 × 8 latents of 6 channels of each frame. Sizes S, M, L and patches of 1, 2 and 4 latents stand for
the paper's S to XL and 2, 4, 8. As in the paper the rate is constant and the weights that are judged are averages, so
that a run of half the length is the first half of the run, bit for bit. A caption's features, in the mean over its
words, stand where the paper has a class. The network says what the clip is, not, as the paper's, what the noise is:
with 64 to 192 channels for patches of 6 to 96 numbers it hardly has room for noise (Li & He 2025, arXiv:2511.13720).

Quality is read from the state: the Fréchet distance between parsed states of made clips and of true clips, which went
through the same autoencoder, and the share of the attributes asked for that are there. What the parser rejects counts
as wrong in both; its limits are doubled, for made clips and true ones (`video.judging.TOLERANCE`).

Preliminary: no pilot has run. The world, the sizes, the tolerance and what the network says were chosen in single runs,
none of which is on record: models of these sizes, trained for minutes, made hardly anything that the parser accepts at
32 × 32 pixels, of all shapes, sizes and materials, or by saying the flow.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from maquette.core.files import read_json, write_json
from maquette.core.seeds import torch_generator
from maquette.core.statistics import rank_correlation
from maquette.generative.samplers import SamplerName
from maquette.lab.artifacts import Artifact
from maquette.lab.bending import Among, Axis, Between, Critique, Search
from maquette.lab.claims import Better, BySeed, InRange, Measures, Tie, Trials
from maquette.lab.figures import Figure, Series
from maquette.lab.scales import Scale, Scales
from maquette.lab.study import Again, Paper, Plan, Run, Study
from maquette.language.llama import LlamaConfig
from maquette.train import checkpoint
from maquette.train.loop import TrainConfig, train
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.video import testbed
from maquette.video.dit import Conditioning, DiTConfig
from maquette.video.testbed import Coder, Sampling, Testbed, World
from maquette.video.text_to_video import LatentBatches, TextToVideo, count_frames, learning_of, training_loss

HALF, EQUAL = " half way", " at equal FLOPs"
READER = LlamaConfig(
    vocabulary=len(testbed.VOCABULARY), width=64, layers=1, heads=2, kv_heads=2, hidden=176, context=64, tied=True
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model, its training and its sampling."""

    width: int = 128
    layers: int = 4
    patch: int = 4
    conditioning: Conditioning = "adaLN-Zero"
    gates: Literal["closed", "open"] = "closed"
    """Open: adaLN-Zero's vectors, but every block starts as with plain adaLN."""
    captions: Literal["own", "shuffled"] = "own"
    halfway: bool = False
    steps: int = 4000
    rows: int = 16
    lr: float = 2e-3
    ema: float = 0.998
    objective: str = "data"
    shift: float = 1.0
    stills: float = 0.0
    """Share of batches that are images."""
    sampler: SamplerName = "euler"
    evaluations: int = 24
    """Of the network, to sample a clip."""
    shown: int = 0
    """Times in the training that samples are shown."""

    @property
    def dit(self) -> DiTConfig:
        """Heads of 32 channels; words reach the patches only through their mean."""
        return DiTConfig(
            channels=Coder.latent,
            patch=(1, self.patch, self.patch),
            width=self.width,
            layers=self.layers,
            heads=max(1, self.width // 32),
            conditioning=self.conditioning,
            text_width=READER.width,
            qk_norm=True,
        )

    @property
    def marks(self) -> dict[str, int]:
        """After how many steps it is judged, by what its measures' names then end in."""
        found = {"": self.steps}
        if self.halfway:
            found[HALF] = max(1, self.steps // 2)
        if self.conditioning != "adaLN-Zero":
            patches = 9 * (8 // self.patch) ** 2
            own, like = (one.dit.forward_flops(patches) for one in (self, replace(self, conditioning="adaLN-Zero")))
            found[EQUAL] = round(self.steps * like / own)
        return found

    @property
    def longest(self) -> int:
        """Steps until the last mark."""
        return max(self.marks.values())


def coder(config: Coder, run: Run) -> None:
    """Train the autoencoder."""
    testbed.make_autoencoder(config, run.directory, run.progress)


def world(config: World, run: Run) -> None:
    """Draw the clips, and read the true ones."""
    testbed.make_world(config, run.artifact("autoencoder"), run.directory, run.progress)


def trial(config: Arm, seed: int, run: Run) -> Measures:
    """Train, and at each mark sample with the averaged weights and have the parser judge."""
    bed = Testbed.load(run.artifact("autoencoder"), run.artifact("world"))
    learning = learning_of(config.objective, shift=config.shift, unsaid=0.1, given=0.0, stills=config.stills)
    taught = bed if config.captions == "own" else testbed.shuffled(bed, torch_generator(0, "captions of others"))
    batches = LatentBatches(latents=bed.latents, words=taught.words, rows=config.rows, seed=seed, learning=learning)
    model = TextToVideo(config.dit, READER).initialise(torch_generator(seed, "initialise"))
    if config.gates == "open":
        open_gates(model, torch_generator(seed, "gates"))
    sampling = Sampling(
        objective=learning.objective, evaluations=config.evaluations, sampler=config.sampler, shift=config.shift
    )
    notes, shots = run.directory / "measured.json", list[UInt8[np.ndarray, "frames height width 3"]]()
    measures: dict[str, float] = read_json(notes) if notes.exists() else {}
    moments = {round(config.steps * (i + 1) / config.shown) for i in range(config.shown)}
    reached = max(checkpoint.steps_saved(run.directory / "training"), default=0)
    for steps in sorted({*config.marks.values(), *moments}):
        missing = [mark for mark, at in config.marks.items() if at == steps and f"frechet{mark}" not in measures]
        if not missing and (steps not in moments or steps < reached):
            continue
        averaged = trained(model, batches, config, seed, steps, run)
        if steps in moments:
            shots.append(sampling.side_by_side(averaged, bed, seed))
            run.animation("Samples over training", np.concatenate(shots, axis=1), testbed.FPS)
        found = bed.measured(sampling.clips(averaged, bed, bed.prompts, seed)) if missing else {}
        found |= {"loss": testbed.mean_loss(averaged, batches)}
        measures |= {f"{name}{mark}": value for mark in missing for name, value in found.items()}
        write_json(notes, measures)
    _, frames, height, width = bed.shape
    patches = frames * height * width // config.patch**2
    forward, clips = config.dit.forward_flops(patches), len(bed.prompts) * len(config.marks)
    run.flops(forward * (3 * config.longest * config.rows + config.evaluations * clips))
    parameters = sum(p.numel() for p in model.dit.parameters())
    return measures | {"gflops": forward / 1e9, "patches": float(patches), "parameters": float(parameters)}


@torch.no_grad()
def open_gates(model: TextToVideo, generator: torch.Generator) -> None:
    """adaLN-Zero without its zero: gates begin at 1, as if there were none, and modulations as plain adaLN's."""
    for name, parameter in model.dit.blocks.named_parameters():
        if name.endswith("modulation.weight"):
            parameter.normal_(0.0, 0.02, generator=generator)
        elif name.endswith("modulation.bias"):
            for gate in parameter.chunk(6)[2::3]:
                gate.fill_(1.0)


def trained(model: TextToVideo, batches: LatentBatches, config: Arm, seed: int, steps: int, run: Run) -> TextToVideo:
    """The averaged weights after so many steps; goes on from the checkpoint of fewer."""
    training = TrainConfig(
        steps=steps,
        optimizer=OptimizerConfig(lr=config.lr, weight_decay=0.0),
        schedule=Schedule(kind="constant", warmup=min(200, max(1, config.steps // 10))),
        ema=config.ema,
        seed=seed,
        device="cpu",
        precision="fp32",  # not every processor has bfloat16
        save_every=250,
    )
    found = train(
        model,
        training_loss(batches.learning.objective),
        count_frames,
        batches.batch,
        training,
        directory=run.directory / "training",
        progress=lambda done, _: run.progress(done, config.longest),
    )
    averaged = copy.deepcopy(model).eval()
    averaged.load_state_dict(found.averaged or {}, strict=False)
    return averaged


SIZES = {"S": (64, 3), "M": (128, 4), "L": (192, 6)}
GRID = ("S-4", "S-2", "S-1", "M-4", "M-2", "L-4")
"""An order by Gflops that neither parameters nor patches alone have."""
OTHERS: tuple[Conditioning, ...] = ("in-context", "cross-attention", "adaLN")
RINGS = (*OTHERS, "gates open", "shuffled captions")


def analyse(trials: Trials) -> Trials:
    """Rank correlations over sizes and patches, the best of the other conditionings, and the run at its half."""
    derived: dict[str, dict[str, float]] = {}
    grid = [trials[arm] for arm in GRID if arm in trials]
    for name in ("gflops", "parameters", "patches") if len(grid) > 2 else ():
        x = [one[name] for one in grid]
        nearness, accuracy = [-one["frechet"] for one in grid], [one["accuracy"] for one in grid]
        near, right = rank_correlation(x, nearness), rank_correlation(x, accuracy)
        derived[f"order by {name}"] = {"frechet": near, "accuracy": right}
    if all(arm in trials for arm in OTHERS):
        for mark in ("", EQUAL):
            derived[f"best other{mark}"] = {
                "log frechet": min(trials[arm][f"log frechet{mark}"] for arm in OTHERS),
                "accuracy": max(trials[arm][f"accuracy{mark}"] for arm in OTHERS),
            }
    if f"accuracy{HALF}" in trials.get("M-4", {}):
        derived["half the training"] = {name: trials["M-4"][name + HALF] for name in ("log frechet", "accuracy")}
    return derived


def picture(trials: Trials) -> Figure | None:
    """Quality over Gflops, as far as trials are in."""
    told = [arm for arm in trials if trials[arm].get("frechet", 0.0) > 0]  # the axes are logarithmic
    done, others = [arm for arm in GRID if arm in told], [arm for arm in RINGS if arm in told]
    if len(done) < 2:
        return None
    series = [
        Series(
            x=[trials[arm]["gflops"]],
            y=[trials[arm]["frechet"]],
            mark="points" if arm in done else "ring",
            label=arm,
            muted=arm not in done,
        )
        for arm in (*done, *others)
    ]
    return Figure(
        title="Quality over Gflops",
        x="Gflops of a forward pass (two a multiply-add)",
        y="Fréchet distance of parsed states",
        series=series,
        kind="log-log",
        caption="Points are sizes and patches of adaLN-Zero, rings the other conditionings and the controls.",
    )


def figures(by_seed: BySeed) -> list[Figure]:
    """The first seed's quality over Gflops."""
    return [found] if (found := picture(by_seed[min(by_seed)])) else []


def grid_arm(name: str) -> Arm:
    """Size and patch."""
    size, patch = name.split("-")
    return Arm(width=SIZES[size][0], layers=SIZES[size][1], patch=int(patch), halfway=name == "M-4")


ARMS: dict[str, Arm | Again] = {
    **{name: grid_arm(name) for name in GRID},
    **{name: Arm(conditioning=name) for name in OTHERS},
    "M-4 again": Again(arm="M-4"),
    **{"gates open": Arm(gates="open"), "shuffled captions": Arm(captions="shuffled")},
}
CHECKS = (
    Tie("log frechet", "M-4", "M-4 again", within=0.3, text="The same arm on other seeds is as far, to 35 %"),
    Better(
        "log frechet",
        "M-4",
        than="half the training",
        by=0.05,
        direction="lower",
        text="Half the training is found to be worse by 5 %",
    ),
)
LITTLE = {"coder_width": 4, "coding_clips": 9, "coding_steps": 4, "coding_rows": 2, "clips": 8, "prompts": 3}
BRIEF = {"coding_clips": 512, "coding_steps": 500}
SMOKE = {**LITTLE, "size": 16, "steps": 8, "rows": 4, "evaluations": 2}

STUDY = Study(
    name="dit",
    question="Does a diffusion transformer's quality follow its Gflops, and does adaLN-Zero condition it best?",
    family="video",
    paper=Paper(
        title="Scalable Diffusion Models with Transformers",
        authors="Peebles & Xie",
        year=2022,
        venue="ICCV 2023",
        url="https://arxiv.org/abs/2212.09748",
        reports="FID at 400,000 steps from 68.4 (B/4) to 19.5 (XL/2); 2.27 for XL/2 trained on with guidance",
    ),
    trial=trial,
    arms=ARMS,
    artifacts={
        "autoencoder": Artifact(make=coder, config=Coder()),
        "world": Artifact(make=world, config=World(), needs=("autoencoder",)),
    },
    analyse=analyse,
    figures=figures,
    picture=picture,
    claims=(
        InRange(
            "frechet",
            "order by gflops",
            low=0.8,
            high=math.inf,
            control=("order by parameters", "order by patches"),
            checks=CHECKS,
            text="Over sizes and patches the Fréchet distance falls in the order of Gflops (rank correlation 0.8)",
            paper="FID falls with Gflops over 12 models; more parameters with larger patches do not help alone",
        ),
        InRange(
            "accuracy",
            "order by gflops",
            low=0.8,
            high=math.inf,
            control=("order by parameters", "order by patches"),
            text="Attribute accuracy rises in the order of Gflops, to a rank correlation of 0.8",
        ),
        Better(
            "log frechet",
            "M-4",
            than="best other",
            by=0.1,
            direction="lower",
            control="gates open",
            checks=CHECKS,
            text="At equal steps adaLN-Zero's distance is 10 % below the best of the other three conditionings'; with "
            "gates that begin open it is not",
            paper="adaLN-Zero beats the others at every stage of training, and halves in-context's FID",
        ),
        Better(
            "log frechet",
            "M-4",
            than=f"best other{EQUAL}",
            by=0.1,
            direction="lower",
            control="gates open",
            text="At equal FLOPs too",
            paper="cross-attention costs 15 % more, adaLN and adaLN-Zero least",
        ),
        Better(
            "accuracy",
            "M-4",
            than="best other",
            by=0.03,
            control="shuffled captions",
            text="At equal steps adaLN-Zero follows captions better than the others, by 3 points",
        ),
    ),
    critique=Critique(
        axes=(
            Axis.over("held_out", (False, True), name="held-out combinations", objection="Are captions looked up?"),
            Axis.over("objects", (0, 1), name="more objects", objection="One thing is no composition."),
            Axis.over("frames", (9, 17), name="longer clips", objection="The paper has images only."),
            Axis.over("speed", (0.7, 1.0, 1.3), name="physics never seen", objection="Is a law learnt?"),
        ),
        seeds=3,
        changes={"steps": 1500},
    ),
    improve=Search(
        question="Which objective, sampler and shift come nearest at equal training and equal evaluations?",
        arm="M-4",
        measure="log frechet",
        direction="lower",
        by=0.1,
        over={
            "objective": Among(values=("data", "flow", "velocity", "noise", "residual")),
            "sampler": Among(values=("euler", "heun", "dpm++2m", "ancestral")),
            "shift": Between(low=0.5, high=4.0, log=True),
        },
        tuned=("M-4",),
        judges=5,
        changes={"steps": 1500},
    ),
    plan=Plan(
        text="Preliminary: no pilot has run. Bounds are what would be worth having, spread and cost are guesses: what "
        "plan-study prints is committed before the laptop scale, at which M-4 is to follow half of what it is asked.",
        seeds=5,
        spread={"frechet": 0.1, "log frechet": 0.15, "accuracy": 0.03},
        detects=0.2,
        flops=1.4e15,
        hours=4.0,
    ),
    scales=Scales(
        smoke=Scale(seeds=1, changes=SMOKE),
        tour=Scale(
            seeds=1,
            changes={**BRIEF, "clips": 1024, "prompts": 48, "steps": 2000, "stills": 0.2},
            per_arm={name: {"shown": 4} for name in ("M-4", "M-4 again")},
            arms=("M-4", "shuffled captions"),
        ),
        laptop=Scale(
            seeds=5,
            verdict=True,
            limits="Models of 0.2 to 4 million parameters on clips of one thing, 9 frames of 16 pixels, one rate "
            "for all, and 64,000 clips seen: the paper's largest run sees 1.8 billion images.",
        ),
    ),
)
