"""An iteration of GRPO against TRL's trainer on a CPU: same weights, prompts, group, length and reward.

    python benchmarks/grpo.py                every case; needs the extra peers
    python benchmarks/grpo.py --record       kept in results/benchmarks/grpo.json

Each side trains by its own loop, as a user would have it, one after the other in one process; both sample up to 32 new
tokens and take one update with AdamW. `sampling` is the share of our time that goes into drawing replies.
"""

import itertools
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import Case, compared, run_cases

from maquette.core.seeds import torch_generator
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.posttrain.grpo import grpo
from maquette.language.posttrain.policy import load_policy
from maquette.language.posttrain.switches import GrpoConfig, Switches
from maquette.train.loop import TrainConfig
from maquette.train.metrics import read_metrics
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule

MODEL = LlamaConfig(
    vocabulary=257, width=128, layers=5, heads=4, kv_heads=4, hidden=352, context=128, rope_theta=1e4, tied=True
)
"""1.04 million parameters."""
NEW, GROUP, LR = 32, 8, 1e-6


def worth(text: str) -> float:
    """A reward that costs nothing."""
    return len(set(text)) / 32


def of_ours(folder: Path, prompts: list[str], steps: int) -> tuple[list[float], float]:
    """Seconds of each iteration, and the share of them that went into sampling."""
    clock = [time.perf_counter()]
    config = GrpoConfig(
        train=TrainConfig(
            steps=steps,
            optimizer=OptimizerConfig(lr=LR, weight_decay=0.0),
            schedule=Schedule(kind="constant", warmup=0),
            precision="fp32",
            device="cpu",
            log_every=1,
        ),
        switches=Switches(),
        prompts=len(prompts),
        group=GROUP,
        max_tokens=NEW,
    )
    grpo(
        load_policy(folder),
        [{"prompt": one} for one in prompts],
        lambda reply, row: worth(reply),
        config,
        directory=folder / "ours",
        progress=lambda done, total: clock.append(time.perf_counter()),
    )
    shares = [
        row["share_sampling"] for row in read_metrics(folder / "ours" / "metrics.jsonl") if "share_sampling" in row
    ]
    return [after - before for before, after in itertools.pairwise(clock)], sum(shares) / max(1, len(shares))


def of_theirs(folder: Path, prompts: list[str], steps: int) -> list[float]:
    """Seconds of each of TRL's steps."""
    import datasets
    import transformers
    import trl

    clock = [time.perf_counter()]

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    rows = len(prompts) * GROUP
    trainer = trl.GRPOTrainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=lambda completions, **_: [worth(one) for one in completions],
        args=trl.GRPOConfig(
            output_dir=str(folder / "theirs"),
            max_steps=steps,
            per_device_train_batch_size=rows,
            num_generations=GROUP,
            max_completion_length=NEW,
            learning_rate=LR,
            loss_type="grpo",
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list([{"prompt": one} for one in prompts]),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    trainer.train()
    return [after - before for before, after in itertools.pairwise(clock)]


def versus(prompts: int, rounds: int) -> dict[str, Any]:
    """Both on `prompts` prompts of 16 bytes an iteration."""
    asked = [f"{number:016d}" for number in range(prompts)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints.save(Llama(MODEL).initialise(torch_generator(0, "initialise")), folder)
        tokenizers.save(tokenizers.byte_tokenizer(), folder)
        ours, sampling = of_ours(folder, asked, rounds)
        return compared(ours, of_theirs(folder, asked, rounds)) | {"sampling": sampling}


CASES: dict[str, Case] = {
    f"1M, fp32, {prompts} prompts × {GROUP}, {NEW} new tokens": Case(
        measure=partial(versus, prompts), rounds=40, target=2.0
    )
    for prompts in (1, 8)
}
RECORD = Path(__file__).parent.parent / "results" / "benchmarks" / "grpo.json"

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__, RECORD))
