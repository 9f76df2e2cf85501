"""Scaling laws: does a law fitted on small runs foretell the loss of a run with eight times their compute?

Each size is trained once, on a constant learning rate, and cooled down at several token counts on the way
(warmup-stable-decay, Hu et al. 2024): every point is a finished run, bit for bit, at the price of the longest.

Sizes differ in width alone and see 4 tokens. What sets Hoffmann's law apart is its floor E, the entropy of the text
given what the model sees; a fit can tell it from a power law that falls for ever if models come near to it. Seen from 4
tokens it is near. With 16 (as in Pearce & Song 2024) the law without floor foretold better in a pilot and two seeds;
with 128 every law missed by 5 to 16 %. The critique lengthens the context until the claim breaks.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from maquette.lab.bending import Axis, Bend, Between, Critique, Search
from maquette.lab.claims import Better, BySeed, InRange, Measures, Trials
from maquette.lab.figures import Figure, over_seeds
from maquette.lab.frontiers import exponents
from maquette.lab.laws import Hoffmann, published
from maquette.lab.scales import Scale, Scales
from maquette.lab.scaling import Form, fit_law, recovery_error
from maquette.lab.scaling_figures import isoflop_profiles, loss_curves
from maquette.lab.scaling_runs import Run as Point
from maquette.lab.study import PREDICTION, Paper, Plan, Run, Study
from maquette.language.llama import LlamaConfig
from maquette.language.pretrain import pretrain_at_lengths, validation_loss
from maquette.language.tokenizers import prepare
from maquette.train.loop import TrainConfig
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.worlds.text.packages import Packages


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One size, cooled down where its compute, 6 N D, reaches each budget."""

    width: int
    hidden: int
    budgets: tuple[float, ...]
    """FLOPs, 6 × all parameters × tokens."""
    layers: int = 3
    shrink: float = 1.0
    """Divides every budget: the tour's and the smoke test's way to be short."""
    stretch: float = 1.0
    """Exponent of the ratio between a budget of the fit and the largest one: above 1, points lie further apart."""
    vocabulary: int = 512
    packages: tuple[str, ...] = ("mpmath", "networkx", "sympy")
    length: int = 4
    """Context in tokens; see the study's text."""
    batch: int = 1024
    """Tokens a step."""
    lr: float = 0.064
    """Peak rate times √width, so that 64 channels learn at 8e-3."""
    warmup: int = 100
    cooldown: float = 0.2
    """Share of the steps in which the rate falls to zero."""
    validation_tokens: int = 131_072

    @property
    def model(self) -> LlamaConfig:
        """Heads of 16 channels; one matrix serves as embedding and head, so that small sizes are not all embedding."""
        heads = max(1, self.width // 16)
        return LlamaConfig(
            vocabulary=self.vocabulary,
            width=self.width,
            layers=self.layers,
            heads=heads,
            kv_heads=heads,
            head_dim=16,
            hidden=self.hidden,
            context=self.length,
            tied=True,
        )

    def steps(self, budget: float) -> int:
        """Updates until 6 N D reaches the budget."""
        if budget < BUDGETS[-1]:
            budget = BUDGETS[-1] * (budget / BUDGETS[-1]) ** self.stretch
        return max(4, round(budget / self.shrink / (6 * self.model.parameters * self.batch)))


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Points drawn from Hoffmann's law with Besiroglu's constants, as many as Hoffmann's, and fits of them."""

    reduction: Literal["sum", "mean"]
    draws: int = 8
    points: int = 240
    noise: float = 0.005
    """Standard deviation of the log loss."""


BUDGETS = (5e11, 1e12, 2e12, 4e12)
LARGE = 8 * BUDGETS[-1]
SIZES: dict[str, Sweep] = {
    # Each size at the budgets that give it between 0.6 and 13 million tokens: at most one pass over the text.
    "54k": Sweep(width=32, hidden=88, budgets=BUDGETS),
    "77k": Sweep(width=40, hidden=104, budgets=BUDGETS),
    "108k": Sweep(width=48, hidden=128, budgets=BUDGETS),
    "184k": Sweep(width=64, hidden=176, budgets=BUDGETS[1:]),
    "274k": Sweep(width=80, hidden=216, budgets=BUDGETS[1:]),
    "381k": Sweep(width=96, hidden=256, budgets=BUDGETS[2:]),
    "large": Sweep(width=128, hidden=352, budgets=(LARGE,)),
}
PLANTED = {"planted, summed": Planted(reduction="sum"), "planted, averaged": Planted(reduction="mean")}
FITTED = tuple(arm for arm in SIZES if arm != "large")
BOUND, SHIFT, MARGIN = 0.0085, 0.01, 0.23
"""From the pilot: see the plan. The margin is the gap between Kaplan's exponent and Hoffmann's."""


def trial(config: Sweep | Planted, seed: int, run: Run) -> Measures:
    """Losses of one size at every budget, or the error of a fit whose truth is known."""
    return recover(config, seed) if isinstance(config, Planted) else sweep(config, seed, run)


def sweep(config: Sweep, seed: int, run: Run) -> Measures:
    """Train one size, cooled down at every budget."""
    text = prepare(Packages(names=config.packages), vocabulary=config.vocabulary)
    lengths = sorted({config.steps(budget) for budget in config.budgets})
    finals, steps = pretrain_at_lengths(
        text,
        config.model,
        TrainConfig(
            steps=lengths[-1],
            optimizer=OptimizerConfig(lr=config.lr * config.width**-0.5),
            schedule=Schedule(kind="wsd", warmup=min(config.warmup, lengths[0] // 4), cooldown=config.cooldown),
            seed=seed,
            device="cpu",
            precision="fp32",  # not every processor has bfloat16
            save_every=500,
        ),
        lengths,
        rows=config.batch // config.length,
        length=config.length,
        directory=run.directory,
        evaluate=validation_loss(
            text.validation,
            length=config.length,
            rows=config.batch // config.length,
            limit=max(1, config.validation_tokens // config.batch),
        ),
        progress=run.progress,
    )
    run.tokens(steps * config.batch)
    run.flops(steps * config.batch * config.model.flops_per_token(config.length))
    measures = {
        "parameters": float(config.model.parameters),
        "non_embedding": float(config.model.non_embedding_parameters),
        "shrink": config.shrink,
    }
    for budget in config.budgets:
        measures[f"loss@{budget:g}"] = finals[config.steps(budget)]["validation_loss"]
        measures[f"tokens@{budget:g}"] = float(config.steps(budget) * config.batch)
    return measures


def recover(config: Planted, seed: int) -> Measures:
    """Fit points of a known law, several times: how far the fit is off in the mean."""
    truth, seeds = published("besiroglu").law, range(config.draws * seed, config.draws * (seed + 1))
    assert isinstance(truth, Hoffmann)
    settings = {"count": config.points, "noise": config.noise}
    errors = [recovery_error(truth, seed=one, reduction=config.reduction, **settings) for one in seeds]
    return {"recovery_error": sum(errors) / len(errors), "worst draw": max(errors)}


def points_of(trials: Trials, shuffled: bool = False) -> list[Point]:
    """The runs of the fit, as far as they are there; shuffled, each is given another's size, for the control."""
    arms = tuple(arm for arm in FITTED if arm in trials)
    sizes = dict(zip(arms, arms[::-1] if shuffled else arms, strict=True))
    return [
        Point(
            parameters=trials[sizes[arm]]["parameters"],
            non_embedding=trials[sizes[arm]]["non_embedding"],
            tokens=trials[arm][f"tokens@{budget:g}"],
            loss=trials[arm][f"loss@{budget:g}"],
            curve=arm,
        )
        for arm in arms
        for budget in SIZES[arm].budgets
    ]


def foretell(trials: Trials) -> Measures:
    """What each law, fitted on the small runs alone, says of the large run."""
    large = replace(SIZES["large"], shrink=next(trials[arm]["shrink"] for arm in FITTED if arm in trials))
    n, d = large.model.parameters, large.steps(LARGE) * large.batch
    points, worst = points_of(trials), math.log(large.vocabulary)  # no law is charged with more than a blind guess

    def says(points: list[Point], form: Form = "hoffmann") -> float:
        return min(worst, float(fit_law(points, form=form).law.loss(n, d)))

    return {
        "law": says(points),
        "no floor": says(points, "no-floor"),
        "kaplan": says(points, "kaplan"),
        "constant": min(point.loss for point in points),
        "shuffled sizes": says(points_of(trials, shuffled=True)),
    }


def analyse(trials: Trials) -> Trials:
    """Errors of the predictions, and the exponent a of N_opt ∝ C^a by each approach and way of counting."""
    points = points_of(trials)
    twice = [replace(one, parameters=2 * one.parameters - (one.non_embedding or 0.0)) for one in points]
    total = fit_law(points)
    derived: dict[str, dict[str, float]] = {
        "total": {
            "exponent": total.law.a,
            "imbalance": total.convergence.imbalance,
            "agreeing": total.convergence.agreeing,
        },
        "non-embedding": {"exponent": fit_law(points, counting="non-embedding").law.a},
        "embeddings twice": {"exponent": fit_law(twice).law.a},
        "approaches": exponents(points),
        "shuffled sizes": exponents(points_of(trials, shuffled=True)),
    }
    if "large" in trials:
        actual = trials["large"][f"loss@{LARGE:g}"]
        for name, predicted in trials[PREDICTION].items():
            derived.setdefault(name, {})["error"] = abs(math.log(predicted / actual))
    return derived


def profiles(trials: Trials) -> Figure:
    """The runs of one seed, the law fitted to them, and the large run beside what was said of it."""
    points = points_of(trials)
    if "large" not in trials:
        return isoflop_profiles(points, fit_law(points).law)
    large = Point(
        parameters=trials["large"]["parameters"],
        tokens=trials["large"][f"tokens@{LARGE:g}"],
        loss=trials["large"][f"loss@{LARGE:g}"],
    )
    return isoflop_profiles(points, fit_law(points).law, large=large, foretold=trials[PREDICTION]["law"])


def picture(trials: Trials) -> Figure | None:
    """What there is to see while a seed's trials come in."""
    done = sum(arm in trials for arm in FITTED)
    return None if done < 2 else profiles(trials) if done == len(FITTED) else loss_curves(points_of(trials))


def figures(by_seed: BySeed) -> list[Figure]:
    """The first seed's profiles, the predictions of all seeds, and the exponents by approach and counting."""
    shown = [profiles(by_seed[min(by_seed)])]
    if all("large" in trials for trials in by_seed.values()):
        shown.append(
            over_seeds(
                by_seed,
                {name: (name, "error") for name in ("law", "no floor", "kaplan", "constant")},
                title="Error of the loss foretold for the large run",
                y="|log foretold − log measured|",
                caption="0.01 is one per cent of the loss. Constant: the best loss seen among the small runs.",
                kind="log-y",
            )
        )
    shown.append(
        over_seeds(
            by_seed,
            {f"approach {i}": ("approaches", f"approach {i}") for i in (1, 2, 3)}
            | {"approach 3, non-embedding": ("non-embedding", "exponent")},
            title="The exponent of the optimal size",
            y="a in N_opt ∝ C^a",
            caption="Hoffmann et al. found 0.46 to 0.50 counting all parameters; Kaplan et al. 0.73 without.",
        )
    )
    return shown


SHORT = {"shrink": 8.0, "validation_tokens": 32_768, "draws": 2}
CRITIQUE = Critique(
    axes=(
        Axis.over("length", (2, 4, 8, 16), name="context", log=True, objection="Is the floor near only from close by?"),
        Axis.over("lr", (0.016, 0.032, 0.064, 0.128), name="learning rate", log=True, objection="It is untuned."),
        Axis.over("warmup", (10, 100, 400), log=True, objection="Kaplan's was too long for small runs (Porian 2024)."),
        Axis.over("vocabulary", (384, 512, 1024), log=True, objection="It sets the embeddings' share and the floor."),
        Axis(
            name="range of sizes",
            bends=(
                Bend(label="no 54k", without=("54k",)),
                Bend(label="no 381k", without=("381k",)),
                Bend(label="no 54k, 77k", without=("54k", "77k")),
            ),
            objection="A law fitted on a narrow range says little beyond it.",
        ),
    ),
    seeds=5,
    changes=SHORT,
)
IMPROVE = Search(
    question="Would the same compute, spent on other points of the same sizes, foretell the large run better?",
    arm="law",
    measure="error",
    direction="lower",
    by=0.002,
    over={"stretch": Between(low=0.7, high=2.0), "lr": Between(low=0.02, high=0.16, log=True)},
    seeds=2,
    judges=5,
    changes=SHORT,
    judged=SHORT,
)

STUDY = Study(
    name="scaling_laws",
    question="Does a law fitted on small runs foretell the loss of a run with eight times their compute?",
    family="language",
    paper=Paper(
        title="Training Compute-Optimal Large Language Models",
        authors="Hoffmann et al.",
        year=2022,
        venue="NeurIPS",
        url="https://arxiv.org/abs/2203.15556",
        reports="N_opt ∝ C^0.50, C^0.49 and C^0.46 by three approaches, where Kaplan et al. (2020) had C^0.73",
    ),
    trial=trial,
    arms={**SIZES, **PLANTED},
    analyse=analyse,
    foretell=foretell,
    foretold=("large",),
    figures=figures,
    picture=picture,
    critique=CRITIQUE,
    improve=IMPROVE,
    claims=(
        InRange(
            "error",
            "law",
            low=-math.inf,
            high=BOUND,
            control=("no floor", "constant", "shuffled sizes"),
            text=f"The law foretells the loss of the large run to within {BOUND:.2%}; without its floor it does not",
            paper="Hoffmann et al. show the fit (figure 4) and state no error of a prediction",
            contested="It depends on the context: see the critique. The mean of |error| hides its sign: nearly every "
            "law foretells too high a loss. Of the controls only the law without floor is near enough to be in doubt",
        ),
        Better(
            "exponent",
            "non-embedding",
            than="total",
            by=SHIFT,
            control="embeddings twice",
            text="Counting parameters without embeddings moves the exponent of N_opt towards Kaplan's",
            paper="0.73 against 0.50; Pearce & Song (2024) explain it by the counting",
            contested="The direction follows from the counting, as the control's opposite one: how much is measured",
        ),
        InRange(
            "disagreement",
            "approaches",
            low=-math.inf,
            high=MARGIN,
            control="shuffled sizes",
            text=f"The three approaches agree on the exponent to within {MARGIN:g}",
            paper="0.50, 0.49 and 0.46",
            contested="Under shuffled sizes approaches 1 and 2 find no frontier, which counts as a = 2: that control "
            "shows that they say so, not how far apart three frontiers may lie",
        ),
        InRange(
            "recovery_error",
            "planted, summed",
            low=-math.inf,
            high=0.05,
            control="planted, averaged",
            text="On points of a known law the fit recovers E, α and β to 5 %; with an averaged loss it does not",
            paper="Besiroglu et al. (2024): the averaged loss stopped Hoffmann's optimiser early",
        ),
    ),
    plan=Plan(
        text="Pilots, thrown away. Two with 128 tokens of context and one with 16, after which two seeds, 0 and 1, "
        "were run at laptop scale with 16: the law missed by 3.7, 2.9 and 2.3 %, without floor by 0.4, 0.3 and 0.5 %. "
        "That plan also claimed that the floor makes the prediction better; there it made it worse, the claim was "
        "dropped, and the law without floor became a control. With 8 tokens all but the large run was trained and "
        "with 2 the smallest; both were broken off. Then one seed with 4 tokens: the law missed by 0.36 %, without "
        "floor by 1.33 %, Kaplan's by 2.1 %, the constant by 6.2 %; the bound is half way between the first two. "
        "There a = 0.65, 0.52, 0.48 by approaches 1, 2 and 3, 0.52 without embeddings, 0.45 with embeddings counted "
        "twice. The planted law came back to 2.4 % at worst in single fits, averaged to 54 %. The spread of the error "
        "is guessed from seeds at 16 tokens. Seeds 2 and 3 were first trained in bfloat16 (the law missed by 0.97 and "
        "0.38 %), then all anew in float32, because many processors emulate bfloat16 ten times more slowly.",
        seeds=12,
        spread={"error": 0.004},
        detects=0.005,
        flops=7.2e14,
        tokens=6e8,
        hours=4.0,
        first_seed=2,
    ),
    scales=Scales(
        smoke=Scale(seeds=1, changes={"shrink": 300.0, "packages": ("mpmath",), "validation_tokens": 4096, "draws": 2}),
        tour=Scale(seeds=1, changes={"shrink": 11.0, "validation_tokens": 32_768, "draws": 2}),
        laptop=Scale(
            seeds=12,
            verdict=True,
            limits="Models of 0.05 to 0.7 million parameters that see 4 tokens of Python source: what holds here need "
            "not hold where laws are used, and learning rates were not tuned size by size. The large run has eight "
            "times the compute and 1.8 times the size of the largest fitted, but tokens within the fitted range.",
        ),
    ),
)
