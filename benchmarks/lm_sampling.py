"""Sampling with our engine against transformers' `generate` on a CPU: same weights, prompts and numbers of tokens.

    python benchmarks/lm_sampling.py                every case, some minutes on two idle cores
    python benchmarks/lm_sampling.py --only 1M      the cases with 1M in their name
    python benchmarks/lm_sampling.py --record       every case, kept in results/benchmarks/lm_sampling.json

Each case runs in a process of its own, ours and theirs in turns. Theirs is named by its cache: `generate` keeps a
dynamic one by default; a static one, compiled, is its fastest where compiling is paid for. Greedy, so that texts can be
compared: in float32 they must be the same, in bfloat16 (where near-ties fall to either side) their beginnings are.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import Case, compared, run_cases, take_turns

from maquette.core.seeds import torch_generator
from maquette.language import tokenizers
from maquette.language.engine.engine import Engine
from maquette.language.interface import Sampling
from maquette.language.llama import Llama, LlamaConfig

SHAPES = {
    "1M": LlamaConfig(
        vocabulary=512, width=128, layers=4, heads=4, kv_heads=4, hidden=352, context=1024, rope_theta=1e4, tied=True
    ),
    "6M": LlamaConfig(
        vocabulary=4096, width=256, layers=6, heads=8, kv_heads=4, hidden=688, context=1024, rope_theta=1e4, tied=True
    ),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def models(shape: str, dtype: str) -> tuple[Llama, Any]:
    """Our Llama and theirs with the same random weights; spread wide, so that greedy text wanders."""
    import tempfile

    import transformers

    from maquette.language import checkpoints

    ours = Llama(SHAPES[shape]).initialise(torch_generator(0, "sampling")).to(DTYPES[dtype]).eval()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(ours, Path(folder))
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype])
    return ours, theirs.eval()


def versus(shape: str, dtype: str, cache: str, prompts: int, length: int, new: int, copies: int, rounds: int) -> dict:
    """`copies` greedy texts of `new` tokens behind each of `prompts` prompts of `length` tokens."""
    ours, theirs = models(shape, dtype)
    engine = Engine(
        ours, tokenizers.byte_tokenizer(), rows=prompts * copies, context=length + new
    )  # no token ends a text: all are of the same length
    asked = torch.randint(0, SHAPES[shape].vocabulary, (prompts, length), generator=torch_generator(0, "prompts"))
    sampling = Sampling(temperature=0, max_tokens=new)
    found: dict[str, torch.Tensor] = {}

    def of_ours() -> None:
        texts = engine.sample(asked.tolist(), sampling, copies)
        found["ours"] = torch.tensor([one.tokens for some in texts for one in some])

    def of_theirs() -> None:
        options: dict[str, Any] = {"cache_implementation": "static"} if cache == "static, compiled" else {}
        with torch.inference_mode():
            whole = theirs.generate(
                asked.repeat_interleave(copies, 0),
                attention_mask=torch.ones(prompts * copies, length, dtype=torch.long),
                do_sample=False,
                max_new_tokens=new,
                min_new_tokens=new,
                pad_token_id=0,
                **options,
            )
        found["theirs"] = whole[:, length:]

    if cache == "static, compiled":
        theirs.forward = torch.compile(theirs.forward)
    result = compared(*take_turns(rounds, of_ours, of_theirs))
    same = found["ours"] == found["theirs"]
    tokens = prompts * copies * new
    return result | {
        "difference": 1 - float(same.float().mean()),
        "margin": 0.0 if dtype == "fp32" else 1.0,
        "ours_tokens_per_s": 1e3 * tokens / result["ours_ms"],
        "theirs_tokens_per_s": 1e3 * tokens / result["theirs_ms"],
    }


TARGETS = {"1M": 2.5, "6M": 1.8}
CASES: dict[str, Case] = {
    f"{shape}, {dtype}, 64 × 128 tokens, against {cache}": Case(
        measure=partial(versus, shape, dtype, cache, 64, 16, 128, 1), rounds=5, target=TARGETS[shape]
    )
    for shape in SHAPES
    for dtype in DTYPES
    for cache in ("dynamic", "static, compiled")
}
CASES |= {
    f"{shape}, fp32, 64 samples of one prompt of 512, against {cache}": Case(
        measure=partial(versus, shape, "fp32", cache, 1, 512, 32, 64), rounds=5, target=2.5
    )
    for shape in SHAPES
    for cache in ("dynamic", "static, compiled")
}
RECORD = Path(__file__).parent.parent / "results" / "benchmarks" / "lm_sampling.json"

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__, RECORD))
