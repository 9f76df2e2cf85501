"""Training steps of our Llama against transformers' on a CPU: same weights, batches, optimiser and mode, in turns.

    python benchmarks/lm_training.py                every case, about five minutes on two idle cores
    python benchmarks/lm_training.py --only 1M      the cases with 1M in their name
    python benchmarks/lm_training.py --record       every case, kept in results/benchmarks/lm_training.json

Each case runs in a process of its own. Ours is `train` itself; theirs is the loop one would otherwise write around
`LlamaForCausalLM`, called between our steps. Exits with 1 when losses differ by more than a margin; no timing fails.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timing import SETTLING, Case, compared, in_process, run_cases, take_turns
from torch import Tensor, nn

from maquette.core.devices import Precision, autocast, compile_pays, pick_precision
from maquette.core.seeds import torch_generator
from maquette.language import chat_recipes, checkpoints
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.language.recipes import RECIPES
from maquette.nn.linear import Linear
from maquette.nn.stream import attend
from maquette.train.loop import Batch, TrainConfig, train
from maquette.train.metrics import Losses
from maquette.train.muon import Muon
from maquette.train.optimizers import OptimizerConfig, build_optimizers
from maquette.train.schedules import Schedule

OPTIMIZER, CLIP = OptimizerConfig(lr=1e-3), 1.0
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model and its batch."""

    model: LlamaConfig
    rows: int

    @property
    def tokens(self) -> int:
        """Tokens a step."""
        return self.rows * self.model.context

    def batch(self, step: int) -> Batch:
        """Sums of small random numbers modulo the vocabulary: something to learn, so that losses move."""
        strides = torch.randint(0, 8, (self.rows, self.model.context + 1), generator=torch_generator(0, "batch", step))
        text = strides.cumsum(1) % self.model.vocabulary
        return {"tokens": text[:, :-1].contiguous(), "targets": text[:, 1:].contiguous()}


def llama(
    width: int, layers: int, heads: int, kv_heads: int, hidden: int, vocabulary: int, context: int
) -> LlamaConfig:
    """A tied Llama."""
    return LlamaConfig(
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        hidden=hidden,
        vocabulary=vocabulary,
        context=context,
        tied=True,
    )


SHAPES = {
    "1M": Shape(model=llama(128, 4, 4, 4, 352, 512, 64), rows=12),  # nanoGPT's README, for a CPU
    "6M": Shape(model=llama(256, 6, 8, 4, 688, 4096, 256), rows=8),
    "21M": Shape(model=llama(512, 6, 8, 8, 1376, 4096, 256), rows=8),
}
MODES: dict[str, tuple[Precision, bool]] = {
    "fp32": ("fp32", False),
    "autocast eager": ("bf16", False),
    "autocast compiled": ("bf16", True),
}
MARGIN = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest difference of the losses, in nats. Bfloat16 keeps 8 bits, and each side rounds at places of its own."""


def our_steps(
    shape: Shape, how: tuple[Precision, bool], steps: int, turn: Callable[[int], object]
) -> tuple[list[float], list[float]]:
    """Train for so many steps with `turn(step)` after each; the losses, and the seconds of our steps alone."""
    precision, compiled = how
    config = TrainConfig(
        steps=steps,
        optimizer=OPTIMIZER,
        schedule=Schedule(kind="constant", warmup=0),
        clip=CLIP,
        precision=precision,
        compile=compiled,
        device="cpu",
        log_every=1,
    )
    losses, seconds = Losses(), list[float]()
    batches = [shape.batch(step) for step in range(steps)]
    began = time.perf_counter()

    def progress(done: int, _: int) -> None:
        nonlocal began
        seconds.append(time.perf_counter() - began)
        turn(done - 1)
        began = time.perf_counter()

    ours = our_llama(shape)
    train(ours, next_token_loss, count_targets, batches.__getitem__, config, sinks=[losses], progress=progress)
    return losses.values, seconds


def our_llama(shape: Shape) -> Llama:
    """The same weights at every call."""
    return Llama(shape.model).initialise(torch_generator(0, "initialise"))


def their_llama(shape: Shape) -> nn.Module:
    """transformers' model with our weights."""
    from transformers import LlamaConfig as TheirConfig
    from transformers import LlamaForCausalLM

    theirs = LlamaForCausalLM(TheirConfig.from_dict(checkpoints.config_to_json(shape.model)))
    weights = checkpoints.to_layout(our_llama(shape))
    theirs.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
    return theirs.train()


def their_step(shape: Shape, mode: str) -> Callable[[Batch], float]:
    """The body of the loop one would write around their model; it gives the loss."""
    theirs = their_llama(shape)
    precision, compiled = MODES[mode]
    forward = torch.compile(theirs) if compiled else theirs
    (optimizer,) = build_optimizers(theirs, OPTIMIZER)

    def step(batch: Batch) -> float:
        targets = batch["targets"]
        with autocast(CPU, precision):  # the loss is inside their model, where their compiler sees it too
            loss = forward(batch["tokens"], labels=targets, shift_labels=targets, use_cache=False).loss
        loss.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def against_transformers(shape: Shape, mode: str, steps: int) -> dict[str, Any]:
    """Both train from the same weights on the same batches, a step each in turn."""
    if MODES[mode][1]:
        torch.compile(torch.sin)(torch.ones(2))  # the compiler's own start is neither side's
    step, their_losses, their_seconds = their_step(shape, mode), list[float](), list[float]()

    def turn(number: int) -> None:
        batch = shape.batch(number)
        began = time.perf_counter()
        their_losses.append(step(batch))
        their_seconds.append(time.perf_counter() - began)

    our_losses, our_seconds = our_steps(shape, MODES[mode], steps, turn)
    return compared(our_seconds, their_seconds) | {
        "losses": [our_losses[0], our_losses[-1]],
        "difference": float(np.abs(np.subtract(our_losses, their_losses)).max()),
        "margin": MARGIN[MODES[mode][0]],
    }


def products_alone(shape: Shape, mode: str, steps: int) -> dict[str, Any]:
    """As theirs, the products of every Linear alone, there and back in bfloat16: the ratio is their share of a step."""
    seconds, calls = list[float](), list[Callable[[], object]]()
    for linear in [module for module in our_llama(shape).modules() if isinstance(module, Linear)]:
        x = torch.randn(shape.tokens, linear.weight.shape[1], dtype=torch.bfloat16, requires_grad=True)
        calls.append(there_and_back(linear.to(torch.bfloat16), x, (x, linear.weight)))

    def turn(_: int) -> None:
        began = time.perf_counter()
        for call in calls:
            call()
        seconds.append(time.perf_counter() - began)

    return compared(our_steps(shape, MODES[mode], steps, turn)[1], seconds)


def there_and_back(forward: Callable[[Any], Tensor], inputs: Any, leaves: tuple[Tensor, ...]) -> Callable[[], object]:
    """A call of `forward` and of its backward pass."""
    grad = torch.randn_like(forward(inputs))
    return lambda: torch.autograd.grad(forward(inputs), leaves, grad)


def one_product(shape: Shape, steps: int) -> dict[str, Any]:
    """The gate and up projections by `nn.linear`; PyTorch's own call is theirs."""
    linear, x = Linear(shape.model.width, *2 * (shape.model.hidden,)), torch.randn(shape.tokens, shape.model.width)
    leaves = (x.requires_grad_(), linear.weight)
    usual = there_and_back(lambda x: F.linear(x, linear.weight), x, leaves)
    return compared(*take_turns(steps, there_and_back(linear, x, leaves), usual))


def one_attention(shape: Shape, steps: int) -> dict[str, Any]:
    """One layer's attention by `nn.stream`; PyTorch's fused kernel is theirs."""
    c = shape.model
    heads = (c.heads, c.kv_heads, c.kv_heads)
    qkv = [torch.randn(shape.rows, c.context, n, c.head_dim, dtype=torch.bfloat16, requires_grad=True) for n in heads]

    def usual(qkv: list[Tensor]) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in qkv)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)

    with autocast(CPU, "bf16"):
        ours = there_and_back(lambda qkv: attend(*qkv, causal=True), qkv, tuple(qkv))
        return compared(*take_turns(steps, ours, there_and_back(usual, qkv, tuple(qkv))))


def muon_alone(steps: int) -> dict[str, Any]:
    """Muon's step on the matrices of tiny-chat; PyTorch's own is theirs."""
    generator = torch_generator(0, "matrices")
    shapes = [
        one.shape for block in Llama(chat_recipes.RECIPES["tiny-chat"].model).blocks for one in block.parameters()
    ]
    start = [torch.randn(shape, generator=generator) for shape in shapes if len(shape) == 2]
    made = [[nn.Parameter(one.clone()) for one in start] for _ in range(2)]
    for one, other in zip(*made, strict=True):
        one.grad = other.grad = torch.randn(one.shape, generator=generator)
    ours, theirs = (
        kind(side, lr=5e-3, weight_decay=0.1) for kind, side in zip((Muon, torch.optim.Muon), made, strict=True)
    )
    found = compared(*take_turns(steps, ours.step, theirs.step))
    parted = max(float((one - other).abs().max()) for one, other in zip(*made, strict=True))
    return found | {"difference": parted, "margin": 1e-3}


def our_default(shape: Shape, steps: int) -> dict[str, Any]:
    """Our steps as `maquette train` takes them: the recipe's precision, compiled if a run of its length wins by it."""
    recipe = RECIPES["small-llama"]
    how = (pick_precision(recipe.train.precision, CPU), compile_pays(recipe.flops, CPU))
    return {"seconds": our_steps(shape, how, steps, lambda _: None)[1]}


def their_default(shape: Shape, steps: int) -> dict[str, Any]:
    """The steps of their Trainer as it comes; its own batch is 8 rows, as ours here."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    ends = list[float]()

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    rows = [row for step in range(steps) for row in shape.batch(step)["tokens"]]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, use_cpu=True, per_device_train_batch_size=shape.rows, max_steps=steps, report_to="none"
        )
        dataset: Any = [{"input_ids": row, "labels": row} for row in rows]
        Trainer(their_llama(shape), arguments, train_dataset=dataset, callbacks=[Clock()]).train()
    return {"seconds": np.diff(ends).tolist()}


def by_default(steps: int) -> dict[str, Any]:
    """What each user gets without asking: a process each, twice in turn."""
    ours, theirs = list[float](), list[float]()
    for turn in range(2):
        for side, seconds in ((OURS, ours), (THEIRS, theirs)):
            found = in_process(side, steps - SETTLING)["seconds"]
            seconds += found[SETTLING:] if turn else found
    tokens = SHAPES["6M"].tokens
    found = compared(ours, theirs)
    return found | {f"{side}_tokens_per_s": 1e3 * tokens / found[f"{side}_ms"] for side in ("ours", "theirs")}


OURS, THEIRS = "maquette train", "transformers.Trainer"
CASES = {
    **{
        f"{size} {mode}": Case(measure=partial(against_transformers, SHAPES[size], mode), rounds=rounds, target=target)
        for size, rounds, target in (("1M", 60, 1.15), ("6M", 20, 0.97))
        for mode in MODES
    },
    "6M by default": Case(measure=by_default, rounds=12, target=2.5, prepared=False),
    OURS: Case(measure=partial(our_default, SHAPES["6M"]), rounds=12, listed=False),
    THEIRS: Case(measure=partial(their_default, SHAPES["6M"]), rounds=12, listed=False, prepared=False),
    "21M products alone": Case(
        measure=partial(products_alone, SHAPES["21M"], "autocast compiled"), rounds=12, target=0.65
    ),
    "product in fp32": Case(measure=partial(one_product, SHAPES["6M"]), rounds=50),
    "Muon's step": Case(measure=muon_alone, rounds=50, target=1.5),
    "attention in bf16": Case(measure=partial(one_attention, SHAPES["6M"]), rounds=50),
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__, Path("results/benchmarks/lm_training.json")))
