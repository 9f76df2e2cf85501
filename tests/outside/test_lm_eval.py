"""lm-evaluation-harness against `maquette serve`: every item's log-probabilities are our own scorer's, so is its score.

The task is made here: the colour of a letter, which a model learns in seconds, so that its score is away from chance.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

lm_eval = pytest.importorskip("lm_eval")

from maquette.language import checkpoints, load, tokenizers  # noqa: E402
from maquette.language.llama import Llama, LlamaConfig, next_token_loss  # noqa: E402

pytestmark = pytest.mark.against("lm-eval")
torch.set_num_threads(2)

MAQUETTE = Path(sys.executable).with_name("maquette")
CONFIG = LlamaConfig(vocabulary=257, width=48, layers=2, heads=4, kv_heads=2, hidden=96, context=64, tied=True)
COLOURS = ("red", "green", "blue", "grey")
ITEMS = [
    {"question": f"{letter}{digit}{digit} is", "choices": list(COLOURS), "answer": (ord(letter) * 7) % 4}
    for letter in "abcdefghijklmnopqrstuvwxyz"
    for digit in "0123456789"
]
TASK = """
task: colours
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{{metric: acc}}]
metadata: {{version: 0}}
"""


def trained(steps):
    """A model that has seen most items, ends of a wrong colour among them, so that it is right often, not always."""
    generator = torch.Generator().manual_seed(0)
    model = Llama(CONFIG).initialise(generator)
    texts = []
    for number, item in enumerate(ITEMS):
        colour = COLOURS[(item["answer"] + (number % 5 == 0)) % 4]
        texts.append(list(f"{item['question']} {colour}".encode()))
    longest = max(map(len, texts))
    rows = torch.tensor([text + [256] * (longest - len(text)) for text in texts])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = rows[torch.randint(0, len(rows), (64,), generator=generator)]
        loss = next_token_loss(model, {"tokens": batch[:, :-1], "targets": batch[:, 1:]}) / batch.numel()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "tiny"
    checkpoints.save(trained(400), directory)
    tokenizers.save(tokenizers.byte_tokenizer(), directory)
    return directory


@contextlib.contextmanager
def serving(folder):
    command = [MAQUETTE, "serve", folder, "--port", "0", "--rows", "8", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            assert process.stdout is not None
            yield re.fullmatch(r"Serving tiny at (http://127\.0\.0\.1:\d+/v1)\n", process.stdout.readline())[1]
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("by_tokens", [True, False])
def test_a_local_task_scores_as_our_own_scorer(folder, tmp_path, monkeypatch, by_tokens):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    file = tmp_path / "colours.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    (tmp_path / "colours.yaml").write_text(TASK.format(file=file))
    with serving(folder) as url:
        found = lm_eval.simple_evaluate(
            model="local-completions",
            model_args={
                "model": "tiny",
                "base_url": f"{url}/completions",
                "tokenizer": str(folder),
                "tokenizer_backend": "huggingface",
                "tokenized_requests": by_tokens,
                "num_concurrent": 4,
                "max_retries": 1,
                "max_length": 64,
            },
            tasks=["colours"],
            task_manager=lm_eval.tasks.TaskManager(include_path=str(tmp_path)),
            batch_size=4,
            bootstrap_iters=0,
        )
    samples = found["samples"]["colours"]
    assert len(samples) == len(ITEMS) == 260
    pairs = [(item["question"], f" {colour}") for item in ITEMS for colour in COLOURS]
    scores = load(folder).score(pairs)
    ours = {pair: (score.total, score.greedy) for pair, score in zip(pairs, scores, strict=True)}
    right = 0
    for sample in samples:
        item = sample["doc"]
        totals = []
        for colour, answers in zip(COLOURS, sample["resps"], strict=True):
            total, greedy = ours[item["question"], f" {colour}"]
            ((theirs, their_greedy),) = answers
            assert float(theirs) == pytest.approx(total, abs=1e-4)
            assert (str(their_greedy) == "True") == greedy
            totals.append(total)
        right += totals.index(max(totals)) == item["answer"]
    score = found["results"]["colours"]["acc,none"]
    assert score == pytest.approx(right / len(ITEMS))
    assert 0.5 < score < 1.0  # chance is 0.25
