"""What the algorithms of learning from verifiable rewards differ in, and the papers' own settings of it."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from maquette.core.errors import UserError, did_you_mean
from maquette.language.posttrain.objectives import Baseline, Estimator, Length, Spread
from maquette.train.loop import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Switches:
    """What the algorithms differ in; `objectives` has the equations."""

    baseline: Baseline = "mean"
    spread: Spread = "group"
    """Whether advantages are divided by the standard deviation of their group."""
    eps: float = 1e-4
    """Added to it; 1e-4 as in TRL, where verl has 1e-6."""
    length: Length = "sample"
    """What the loss is divided by."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    """How far the ratio to the policy that sampled may fall and rise; `math.inf` does not clip."""
    kl: float = 0.0
    """Weight β of the distance from the policy that training began with."""
    estimator: Estimator = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    resample: int = 0
    """Dynamic sampling: how often a prompt whose samples are all worth the same makes way for another."""
    overlong: Literal["keep", "mask", "shape"] = "keep"
    """A reply cut at `max_tokens`: learned like others, left out, or worth less from `margin` tokens before on."""
    margin: int = 0
    """0 is a fifth of `max_tokens`, as DAPO's 4,096 of 20,480."""

    def __post_init__(self) -> None:
        for name in ("clip_low", "clip_high", "eps"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} = {getattr(self, name)}: give a number above 0.")
        if not 0 <= self.kl < math.inf:
            raise UserError(f"kl = {self.kl}: give 0 or more.")
        if self.resample < 0:
            raise UserError(f"resample = {self.resample}: give 0 or more.")
        if self.margin < 0 or (self.margin and self.overlong != "shape"):
            raise UserError(f"margin = {self.margin}: give a number of tokens with overlong = 'shape', else 0.")


PRESETS: dict[str, Switches] = {
    "grpo": Switches(kl=0.04),
    "r1": Switches(kl=0.001, clip_low=10.0, clip_high=10.0),
    "dr-grpo": Switches(spread="none", length="constant"),
    "dapo": Switches(length="token", clip_high=0.28, resample=3, overlong="shape"),
    "rloo": Switches(
        baseline="leave-one-out",
        spread="none",
        length="sequence",
        clip_low=math.inf,
        clip_high=math.inf,
        kl=0.05,
        estimator="k1",
        kl_in="reward",
    ),
}
"""GRPO's β is DeepSeekMath's, R1's β and bounds are its journal version's, DAPO's bounds its paper's, RLOO's β TRL's.

DAPO resamples without end; here a batch has so many tries.
"""


def cost(switches: Switches, *, prompt: float, reply: float, group: int, again: float = 0.0) -> float:
    """What it costs to learn from a reply, in tokens learned: each is three passes of the model, forward and back.

    The reply is drawn in one pass, with its share of the prompt's; where there is a KL the first policy reads both, and
    where that is in the reward so does the last.

    Args:
        prompt: its tokens.
        reply: its tokens.
        again: groups that were drawn in vain, for each that was kept.
    """
    read = (switches.kl > 0) + (switches.kl > 0 and switches.kl_in == "reward")
    return (prompt + reply) * (1 + read / 3) + (reply + prompt / group) * (1 + again) / 3


@dataclass(frozen=True, kw_only=True)
class GrpoConfig:
    """One run. The counts of `train` (steps, log_every, save_every, warmup, …) are of iterations."""

    train: TrainConfig
    switches: Switches = field(default_factory=Switches)
    prompts: int = 8
    """Of an iteration, over all processes."""
    group: int = 8
    """Replies to each."""
    max_tokens: int = 128
    """Of a reply."""
    temperature: float = 1.0
    minibatches: int = 1
    """An iteration's prompts are cut in so many, each with an update of its own."""
    passes: int = 1
    """How often an iteration's replies are gone through."""
    rows: int = 64
    """Replies that are sampled at once."""
    shown: int = 4
    """Groups of an iteration that are kept to be looked at."""

    def __post_init__(self) -> None:
        for name in ("prompts", "group", "max_tokens", "minibatches", "passes", "rows"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: give 1 or more.")
        if not self.temperature > 0:
            raise UserError(f"temperature = {self.temperature}: give a number above 0, or all samples are the same.")
        if self.switches.baseline != "none" and self.group < 2:
            raise UserError(f"group = {self.group}: a baseline from the group takes 2 samples or more.")

    @property
    def updates(self) -> int:
        """Of an iteration."""
        return self.minibatches * self.passes

    @property
    def loop(self) -> TrainConfig:
        """The loop's own configuration, which counts updates; checkpoints lie between iterations."""
        t, u = self.train, self.updates
        return replace(
            t,
            steps=t.steps * u,
            log_every=t.log_every * u,
            evaluate_every=t.evaluate_every * u,
            save_every=t.save_every * u,
            save_at=tuple(step * u for step in t.save_at),
            schedule=replace(t.schedule, warmup=t.schedule.warmup * u),
        )


def preset(name: str) -> Switches:
    """Switches by the name of their paper's algorithm.

    Raises:
        UserError: there is none.
    """
    if name not in PRESETS:
        raise UserError(f"There is no preset {name!r}; {did_you_mean(name, PRESETS)}")
    return PRESETS[name]
