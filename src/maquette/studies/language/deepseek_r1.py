"""DeepSeek-R1: does a reward that only says right or wrong make a model reason better?

The world is nested modular arithmetic, worked step by step. The base has read what people say of it
(`puzzles.hearsay`): of some facts nearly all hold a false belief, some hedge, some go over a step again. Its replies to
puzzles of two operations are reinforced. The teacher is wider, read the same, and was reinforced for longer.

A cold start spends its share of the tokens that reinforcement would generate; DAPO generates a tenth more than others.
Distillation, with the drawing of traces, costs the FLOPs of GRPO; the teacher's own are with its artifact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from maquette.core.seeds import torch_generator
from maquette.lab.artifacts import Artifact
from maquette.lab.bending import Among, Axis, Between, Critique, Search
from maquette.lab.claims import Better, BySeed, InRange, Measures, Trials
from maquette.lab.figures import Figure, along
from maquette.lab.scales import Scale, Scales
from maquette.lab.story import Story
from maquette.lab.study import Paper, Plan, Run, Study
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.posttrain.distill import teacher_replies
from maquette.language.posttrain.evaluation import KS, examined, marked
from maquette.language.posttrain.examples import Example, examples_of
from maquette.language.posttrain.grpo import grpo
from maquette.language.posttrain.policy import Policy, byte_policy
from maquette.language.posttrain.rejection import RejectionConfig
from maquette.language.posttrain.rewarding import Reward
from maquette.language.posttrain.sft import SftConfig, sft
from maquette.language.posttrain.switches import PRESETS, GrpoConfig, cost, preset
from maquette.train.loop import TrainConfig
from maquette.train.metrics import read_metrics
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.worlds.puzzles import grading, rewards
from maquette.worlds.puzzles.hearsay import Hearsay
from maquette.worlds.puzzles.puzzle import Puzzle, Split

HEARSAY, MARKS = Hearsay(modulus=7), (grading.THINK, grading.ANSWER)
READ, READER = {1: 70, 2: 800, 3: 1200}, 40_000
"""Puzzles that the base model has read four replies to, by the number of their operations; and the seed of its own."""
PROMPT, REPLY, AGAIN = 16, 16, {2: 2.0, 4: 1.25, 8: 0.4, 16: 0.25}
"""What budgets reckon with: tokens of a prompt and a reply, and what DAPO generates anew, by replies to a group."""
TEACHERS = {"teacher": "teacher", "peer": "peer", "own": "base"}
ALGORITHMS = {**PRESETS, "undivided": replace(preset("grpo"), spread="none", length="constant")}
"""The last is GRPO without the two divisions that Dr. GRPO finds biased (Liu et al. 2025, arXiv:2503.20783)."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pretrained model, that of the teacher reinforced for so many iterations after that."""

    width: int = 64
    base_steps: int = 2000
    reinforced: int = 0


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is done to the base, and how it is judged."""

    start: Literal["base", "cold", "hearsay", "teacher", "peer", "own"] = "base"
    """What it learns first: a few worked replies, what people say to the same; right replies of a teacher, of a peer
    that was reinforced as long, its own."""
    reward: Literal["exact", "random", "format", "loose", "none"] = "none"
    algorithm: str = "grpo"
    test_operations: int = 2
    """More than 2 are harder than what is trained on."""
    withheld: float = 0.0
    """Share of facts that no puzzle to learn from needs; with any, all puzzles to be judged on need no others."""
    split: Split = "test"
    """Judged on; what is tuned is tuned on validation."""
    iterations: int = 60
    replies: int = 128
    group: int = 8
    max_tokens: int = 40
    lr: float = 1.5e-3
    start_lr: float = 1e-3
    """Of what it learns first; the other is reinforcement's."""
    cold: int = 64
    pool: int = 400
    least: float = 1.0
    """The reward from which a teacher's reply is learned."""
    problems: int = 100
    samples: int = 256
    shown: int = 0
    """Held-out puzzles whose replies are shown while it learns."""


def make_base(config: Base, run: Run) -> None:
    """Pretrain, reinforce the teacher, and leave the weights."""
    vocabulary, width, heads = tokenizers.SMALLEST + len(MARKS), config.width, config.width // 16
    shape = {"width": width, "layers": 2, "heads": heads, "kv_heads": heads, "hidden": width * 11 // 4, "context": 96}
    model = LlamaConfig(vocabulary=vocabulary, **shape, rope_theta=1e4, tied=True)
    policy = byte_policy(Llama(model).initialise(torch_generator(0, "initialise")), MARKS)
    rows = [
        {"prompt": one.prompt, "completion": HEARSAY.reply(one, i)}
        for operations, count in READ.items()
        for one in HEARSAY.asked("train", count, READER, operations=operations)
        for i in range(4)
    ]
    _learn(policy, examples_of(rows, policy), config.base_steps, 32, 3e-3, 0, run)
    if config.reinforced:
        arm = Arm(reward="exact", lr=1e-3)
        _reinforce(policy, arm, config.reinforced, HEARSAY.asked("train", arm.pool, READER), 0, run)
    checkpoints.save(policy.model, run.directory)


def trial(config: Arm, seed: int, run: Run) -> Measures:
    """Learn what comes first, reinforce, judge."""
    policy = byte_policy(checkpoints.load(run.artifact("base")), MARKS)
    train = HEARSAY.asked("train", config.pool, seed, withheld=config.withheld)
    again = AGAIN[config.group] if ALGORITHMS[config.algorithm].resample else 0.0
    iterations, told = config.iterations / (1 + again), dict[str, float]()  # so that all generate nearly alike
    if config.start in ("cold", "hearsay"):
        write = Puzzle.worked if config.start == "cold" else lambda one: HEARSAY.reply(one, seed)
        rows = [{"prompt": one.prompt, "completion": write(one)} for one in train[: config.cold]]
        _learn(policy, examples_of(rows, policy), 2 * len(rows) // 8, 8, config.start_lr, seed, run)
        iterations -= 2 * len(rows) / config.replies
    elif config.start in TEACHERS:
        told["traces"] = _distil(policy, config, train, seed, run)
    if config.reward != "none":
        told["generated"] = _reinforce(policy, config, max(1, round(iterations)), train, seed, run)
    count, many = config.problems, config.test_operations
    unseen = HEARSAY.asked(config.split, count, seed, operations=many, withheld=config.withheld)
    longest = config.max_tokens + 6 * (many - 2)  # a step more to work out is 6 tokens more
    return examined(policy, unseen, max_tokens=longest, n=config.samples, seed=seed) | told


def _learn(policy: Policy, examples: list[Example], steps: int, size: int, lr: float, seed: int, run: Run) -> None:
    config = SftConfig(train=_training(steps, lr, seed, save_every=200), rows=size, packed=False)
    sft(policy, examples, config, directory=run.directory / "sft", progress=run.progress)
    tokens = steps * size * fmean(map(len, examples))
    run.tokens(tokens)
    run.flops(tokens * policy.model.config.flops_per_token(32))


def _distil(policy: Policy, config: Arm, train: list[Puzzle], seed: int, run: Run) -> float:
    """Learn the right ones of two replies to each puzzle, equal ones once, at reinforcement's cost; how many."""
    teacher = byte_policy(checkpoints.load(run.artifact(TEACHERS[config.start])), MARKS)
    settings = RejectionConfig(samples=2, keep=2, least=config.least, max_tokens=config.max_tokens, seed=seed)
    rows = teacher_replies(teacher, [one.row() for one in train], settings, grading.reward)
    examples, flops = examples_of(rows, policy), policy.model.config.flops_per_token(32)
    drawn = 2 * len(train) * (REPLY + PROMPT / 2) / 3 * teacher.model.config.flops_per_token(32)
    run.flops(drawn)
    budget = config.iterations * config.replies * cost(preset("grpo"), prompt=PROMPT, reply=REPLY, group=8)
    steps = round((budget - drawn / flops) / 32 / fmean(map(len, examples)))
    _learn(policy, examples, max(1, steps), 32, config.start_lr, seed, run)
    return len(rows)


def _story(policy: Policy, config: Arm, updates: int, seed: int, run: Run) -> Story:
    asked, title = HEARSAY.asked("test", config.shown, seed), "Replies to puzzles never trained on"
    prompts, replies = [one.prompt for one in asked], lambda: marked(policy, asked, config.max_tokens, seed=seed)
    return Story(run=run, title=title, measure="reward", prompts=prompts, replies=replies, updates=updates)


def _reinforce(policy: Policy, config: Arm, iterations: int, asked: list[Puzzle], seed: int, run: Run) -> float:
    switches, prompts = ALGORITHMS[config.algorithm], config.replies // config.group
    train = _training(iterations, config.lr, seed, save_every=20)
    settings = GrpoConfig(
        train=train, switches=switches, prompts=prompts, group=config.group, max_tokens=config.max_tokens, rows=128
    )
    stories = [_story(policy, config, iterations, seed, run)] if config.shown else []
    place, reward, rows = run.directory / "rl", REWARDS[config.reward], [one.row() for one in asked]
    grpo(policy, rows, reward, settings, directory=place, sinks=stories, progress=run.progress)
    told = read_metrics(place / "metrics.jsonl")
    reply, shares = (sum(row.get(name, 0.0) for row in told) / len(told) for name in ("length", "resampled"))
    again, replies = switches.resample * shares, iterations * config.replies  # shares are of one attempt each
    spent = cost(switches, prompt=PROMPT, reply=reply, group=config.group, again=again)
    run.tokens(replies * (PROMPT + reply + again * reply))
    run.flops(replies * spent * policy.model.config.flops_per_token(32))
    return replies * (1 + again) * reply


def _training(steps: int, lr: float, seed: int, save_every: int) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        optimizer=OptimizerConfig(lr=lr, weight_decay=0.0),
        schedule=Schedule(kind="constant", warmup=min(10, steps // 4)),
        seed=seed,
        device="cpu",
        precision="fp32",
        log_every=5,
        save_every=save_every,
    )


REWARDS: Mapping[str, Reward] = {"exact": rewards.by_answer, **rewards.CONTROLS}


def analyse(trials: Trials) -> Trials:
    """One sample and the vote of 64 of the same model as arms of their own."""
    arms = {"one sample": "pass@1", "vote": "cons@64", "vote on another puzzle": "cons@64, others"}
    return {arm: {"accuracy": trials["rl"][measure]} for arm, measure in arms.items()} if "rl" in trials else {}


def figures(by_seed: BySeed) -> list[Figure]:
    """pass@k before and after, by answers and by steps: does reinforcement find, or only sharpen?"""
    arms = [arm for arm in ("base", "rl", "cold rl", "distilled") if arm in by_seed[min(by_seed)]]
    captions = {
        "pass": "Who guesses among the seven answers has 1 − (6/7)^k: what meets at large k need not know as much.",
        "sound": "A reply counts where all its steps are right (CoT-pass@k): few are guesses.",
    }
    words = {"x": "samples k", "y": "share of held-out puzzles", "kind": "log-x"}
    return [
        along(by_seed, arms, {k: f"{name}@{k}" for k in KS}, title=f"{name}@k before and after", caption=told, **words)
        for name, told in captions.items()
    ]


ARMS = {
    "rl": Arm(reward="exact"),
    "base": Arm(),
    "random reward": Arm(reward="random"),
    "format reward": Arm(reward="format"),
    "cold rl": Arm(start="cold", start_lr=2e-3, reward="exact"),
    "hearsay rl": Arm(start="hearsay", start_lr=2e-3, reward="exact"),
    "distilled": Arm(start="teacher"),
    "peer traces": Arm(start="peer"),
    "own traces": Arm(start="own"),
    "cold start": Arm(start="cold", start_lr=2e-3),
    "loose rl": Arm(reward="loose"),
    "undivided rl": Arm(reward="exact", algorithm="undivided"),
    "dr-grpo rl": Arm(reward="exact", algorithm="dr-grpo"),
}
FEW = ("loose rl", "undivided rl", "dr-grpo rl")  # are not asked everywhere
LITTLE = {"base_steps": 20, "width": 16, "reinforced": 1, "iterations": 1, "replies": 4, "group": 2, "cold": 8}
SMOKE = LITTLE | {"pool": 40, "least": 0.0, "problems": 2}

STUDY = Study(
    name="deepseek_r1",
    question="Does a reward that only says right or wrong make a model reason better?",
    family="language",
    paper=Paper(
        title="DeepSeek-R1: Incentivizing Reasoning Capability in LLMs via Reinforcement Learning",
        authors="DeepSeek-AI",
        year=2025,
        venue="arXiv, then Nature",
        url="https://arxiv.org/abs/2501.12948",
        reports="R1-Zero, AIME 2024: 15.6 % before, 71.0 % after (arXiv v1; the journal: 77.9 %); cons@64 86.7 %",
    ),
    trial=trial,
    arms=ARMS,
    artifacts={
        "base": Artifact(make=make_base, config=Base()),
        "teacher": Artifact(make=make_base, config=Base(width=128, reinforced=200), arms=("distilled",)),
        "peer": Artifact(make=make_base, config=Base(reinforced=200), arms=("peer traces",)),
    },
    analyse=analyse,
    figures=figures,
    claims=(
        Better(
            "pass@1",
            "rl",
            than="base",
            by=0.1,
            control=("random reward", "format reward"),
            text="GRPO with a verifiable reward raises held-out pass@1 by 10 points; a random or formal one does not",
            paper="15.6 to 71.0 (v1), 77.9 (journal)",
            contested="A random reward raised Qwen2.5-Math by 21.4 points (Shao et al. 2025, arXiv:2506.10947)",
        ),
        Better(
            "accuracy",
            "vote",
            than="one sample",
            by=0.02,
            control="vote on another puzzle",
            text="The vote of 64 samples is more often right than one of them",
            paper="cons@64 86.7 against pass@1 71.0 (v1)",
        ),
        Better(
            "pass@1",
            "cold rl",
            than="rl",
            by=0.03,
            control="hearsay rl",
            checks=(
                Better("pass@1", "cold rl", than="cold start", by=0.1, text="Reinforcement adds to the cold start"),
            ),
            text="A cold start on 64 right worked replies, then reinforcement, beats the latter alone at equal tokens",
            paper="R1 79.8 against R1-Zero 71.0 (v1) and 77.9 (journal), with more besides a cold start",
            contested="The journal's Dev2, a cold start and reinforcement, has 74.0 (Nature 2025, table 2)",
        ),
        Better(
            "pass@1",
            "distilled",
            than="rl",
            by=0.03,
            control="own traces",
            text="Learning a larger, reinforced model's traces beats reinforcing the smaller one at equal compute, "
            "the teacher's own not counted",
            paper="32B: 72.6 distilled against 47.0 by reinforcement (v1), not at equal compute",
        ),
        Better(
            "pass@1",
            "distilled",
            than="peer traces",
            by=0.03,
            control="own traces",
            text="Its size is what does it: traces of a peer that was reinforced as long teach less",
        ),
        InRange(
            "pass@1",
            "base",
            low=0.1,
            high=0.4,
            control="distilled",
            text="The base is right in 10 to 40 % of its samples, so that there is something to win and to reward",
        ),
        Better(
            "sound@256",
            "base",
            than="rl",
            by=0.02,
            control="own traces",
            text="Reinforcement loses some of what 256 samples of the base find, counted by right steps",
            paper="Yue et al. 2025 (arXiv:2504.13837): bases pass their reinforced models at large k",
            contested="By right steps Wen et al. 2025 (arXiv:2506.14245) find gains at every k",
        ),
        Better(
            "gamed",
            "loose rl",
            than="base",
            by=0.1,
            control="rl",
            text="A grader that takes a right number anywhere is gamed: a tenth more of the replies pass only there",
        ),
        Better(
            "thought, wrong",
            "rl",
            than="undivided rl",
            by=0.5,
            control="dr-grpo rl",
            text="Dividing by a reply's length and its group's spread makes wrong thoughts longer, by half a token",
            paper="Dr. GRPO (arXiv:2503.20783): wrong replies grow longer and longer under GRPO",
        ),
    ),
    critique=Critique(
        axes=(
            Axis.over("test_operations", (2, 3, 4), name="harder than trained on", without=FEW, objection="Longer?"),
            Axis.over("withheld", (0.0, 0.5), name="facts never rewarded", without=FEW, objection="A rule learned?"),
            Axis.over("algorithm", ("grpo", "dr-grpo", "dapo", "rloo"), arms=("rl",), objection="GRPO, or reward?"),
            Axis.over("lr", (5e-4, 1e-3, 1.5e-3, 3e-3), arms=("rl", "cold rl"), log=True, objection="Tuned to win?"),
        ),
        seeds=5,
        changes={"problems": 80},  # there are so many of facts that were never rewarded
    ),
    improve=Search(
        question="Which algorithm and settings win most at nearly equal generated tokens?",
        arm="rl",
        measure="pass@1",
        direction="higher",
        by=0.02,
        over={
            "algorithm": Among(values=("grpo", "dr-grpo", "dapo", "rloo")),
            "lr": Between(low=5e-4, high=4e-3, log=True),
            "group": Among(values=(4, 8, 16)),
        },
        tuned=("rl",),
        judges=5,
        changes={"split": "validation"},
        dearer=1.3,  # RLOO reads its replies once more than GRPO
    ),
    plan=Plan(
        text="Rates by pass@1 on validation puzzles, seeds 10,000 to 10,002: reinforcement's of five, with each way "
        "of dividing; of what is learned first of two or three. Claims, bounds, spreads are of seeds 0 to 11, nearly "
        "all on the same puzzles; then a reader found that DAPO generated more, a control could not fail: fresh seeds. "
        "This plan's first run was lost with its machine; two earlier forms were of untuned rates, and paid for form.",
        first_seed=12,
        seeds=12,
        spread={"pass@1": 0.046, "accuracy": 0.02, "sound@256": 0.026, "gamed": 0.106, "thought, wrong": 0.54},
        detects=0.04,
        flops=6e13,
        tokens=4.6e7,
        hours=1.3,
    ),
    scales=Scales(
        smoke=Scale(seeds=1, changes=SMOKE),
        tour=Scale(
            seeds=1,
            changes={"problems": 40, "iterations": 80},
            per_arm={"rl": {"shown": 6}},
            arms=("base", "rl", "random reward", "format reward"),
        ),
        laptop=Scale(
            seeds=12,
            verdict=True,
            until="all",
            limits="0.1 million parameters, one family of puzzles; one base, teacher, peer: of others, earlier, the "
            "peer's traces won. What was never rewarded is hardly won, and lost of 256 samples: a table is mended. "
            "With three operations distilling leads no more; with four all guess. A cold start's replies hold facts. "
            "Claim 2's control cannot pass, a guesser passes claim 6, claim 9's control is undecided, clipping idle.",
        ),
    ),
)
