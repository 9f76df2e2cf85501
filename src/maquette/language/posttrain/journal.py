"""What a run of reinforcement learning left behind, read back to be looked at."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.language.posttrain.watching import sentences
from maquette.train.metrics import read_metrics


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One sample of a group."""

    text: str
    reward: float
    parts: dict[str, float]
    advantage: float
    correct: bool
    tokens: int
    finish: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A prompt and its group, the best reply first."""

    prompt: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True, kw_only=True)
class Journal:
    """Numbers by iteration, what is to be said of them, and where the samples lie."""

    rows: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    said: list[str]
    samples: dict[int, Path]
    """By iteration."""

    def groups(self, iteration: int) -> list[Shown]:
        """The groups that were kept of an iteration.

        Raises:
            UserError: there is no such iteration, or its file is broken.
        """
        if iteration not in self.samples:
            raise UserError(f"There are no samples of iteration {iteration}; there are some of {_span(self.samples)}.")
        by_slot: dict[int, tuple[str, list[Reply]]] = {}
        path = self.samples[iteration]
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                told = json.loads(line)
                reply = Reply(
                    text=told["reply"],
                    **{name: told[name] for name in ("reward", "parts", "advantage", "correct", "tokens", "finish")},
                )
                by_slot.setdefault(told["slot"], (_text(told["prompt"]), []))[1].append(reply)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(f"{path} is broken ({error}); delete it.") from error
        return [
            Shown(prompt=prompt, replies=tuple(sorted(replies, key=lambda one: -one.reward)))
            for prompt, replies in by_slot.values()
        ]


def read_journal(run: Path) -> Journal:
    """The journal of a run: the folder that a model was left in, or the training folder inside it.

    Raises:
        UserError: it holds no run of reinforcement learning.
    """
    folder = run / "training" if (run / "training").is_dir() else run
    rows = read_metrics(folder / "metrics.jsonl")
    learning = [row for row in rows if "reward" in row]
    files = (folder / "samples").glob("*.jsonl")
    samples = {int(path.stem): path for path in sorted(files) if path.stem.isdecimal()}
    if not learning or not samples:
        raise UserError(f"{run} holds no run of reinforcement learning; make one with maquette train grpo.")
    return Journal(
        rows=learning,
        evaluations=[row for row in rows if "validation_pass@1" in row],
        said=sentences(learning),
        samples=samples,
    )


def _text(prompt: Any) -> str:
    """A prompt as text; of a conversation its turns."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{one['role']}: {one['content']}" for one in prompt)


def _span(samples: dict[int, Path]) -> str:
    return f"{min(samples)} to {max(samples)}"
