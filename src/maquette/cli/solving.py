"""The command that answers problems with many samples, and says what more of them are worth."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from maquette.cli.arguments.options import RECORDS
from maquette.cli.arguments.posttraining import Solve
from maquette.cli.posttrain import PUZZLES
from maquette.cli.progress import counting_bar
from maquette.core.devices import prepare_process
from maquette.core.errors import UserError
from maquette.core.files import write_json, write_text
from maquette.core.user_code import functions_of

if TYPE_CHECKING:
    from maquette.language.reasoning.estimators import Point
    from maquette.language.reasoning.strategies import Check


def solve(command: Solve) -> int:
    """Draw what samples are missing, choose an answer to each problem, and write answers and curve."""
    prepare_process()
    from maquette.language import load
    from maquette.language.interface import Sampling
    from maquette.language.posttrain.examples import prompt_of, read_rows
    from maquette.language.posttrain.policy import message_of
    from maquette.language.reasoning.bank import Bank, identity_of
    from maquette.language.reasoning.strategies import accuracy_against_tokens, choose

    direct = command.strategy == "direct"
    if command.samples is not None and command.samples < 1:
        raise UserError(f"--samples is {command.samples}; it must be 1 or more.")
    n = command.samples or (1 if direct else 16)
    rows = read_rows(command.problems)
    check = _check(command.check, rows, command.problems)
    if command.strategy == "best-of-n" and check.score is None:
        raise UserError("--strategy best-of-n chooses by a score; give --check a file that defines score or reward.")
    prompts = [one if isinstance(one, str) else [message_of(m) for m in one] for one in map(prompt_of, rows)]
    temperature = (0.0 if direct else 0.7) if command.temperature is None else command.temperature
    if n > 1 and temperature == 0:
        raise UserError(f"--temperature 0 gives {n} samples that are all the same; give more, 0.7 say, or --samples 1.")
    sampling = Sampling(max_tokens=command.max_tokens, temperature=temperature, seed=command.seed)
    out = command.out or RECORDS[0] / "solve" / command.problems.stem
    far = command.model.startswith(("http://", "https://"))
    identity = identity_of(command.model, command.name)
    model = load(command.model, model=command.name) if far else load(command.model)
    bank = Bank(directory=out / "bank", identity=identity, model=model)
    with counting_bar(Console(stderr=True)) as bar:
        task = bar.add_task("sampling", total=None)
        samples = bank.samples(prompts, sampling, n, lambda done, total: bar.update(task, completed=done, total=total))
    solved = [choose(command.strategy, some, row, check) for some, row in zip(samples, rows, strict=True)]
    lines = [{"prompt": prompt_of(row), **asdict(one)} for row, one in zip(rows, solved, strict=True)]
    write_text(out / "answers.jsonl", "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines))
    points = accuracy_against_tokens(command.strategy, samples, rows, check) if check.right else []
    told = {
        "problems": len(rows),
        "strategy": command.strategy,
        "samples": n,
        "tokens": sum(one.tokens for one in solved),
        "right": sum(bool(one.correct) for one in solved) if check.right else None,
        "curve": [_plain(one) for one in points],
    }
    write_json(out / "curve.json", told)
    if points:
        _draw(points, command.strategy, out)
    _tell(told, out, as_json=command.json)
    return 0


def _check(name: str | None, rows: Sequence[Mapping[str, Any]], source: Path) -> "Check":
    """How replies are read: by the puzzles' graders, by a user's file, or by comparing them with `answer`."""
    from maquette.language.reasoning.strategies import Check
    from maquette.worlds.puzzles import grading

    def after_thought(reply: str, row: Mapping[str, Any]) -> str | None:
        return reply.rpartition(grading.ANSWER)[2].strip() or None

    if name == PUZZLES:
        from maquette.worlds.puzzles.rows import check_rows

        check_rows(rows, source)
        return Check(
            answer=after_thought,
            right=lambda reply, row: grading.graded(reply, row).correct,
            score=lambda reply, row: float(grading.graded(reply, row).correct),
        )
    if name is None:
        known = all("answer" in row for row in rows)
        same = lambda reply, row: after_thought(reply, row) == str(row["answer"]).strip()  # noqa: E731
        return Check(answer=after_thought, right=same if known else None)
    found = functions_of(Path(name), needed="reward", optional=("answer", "score"))
    from maquette.language.posttrain.rewarding import is_right, total, worth

    def right(reply: str, row: Mapping[str, Any]) -> bool:
        return is_right(worth(found["reward"], reply, row))

    def score(reply: str, row: Mapping[str, Any]) -> float:
        return total(worth(found.get("score", found["reward"]), reply, row))

    return Check(answer=found.get("answer", after_thought), right=right, score=score)


def _plain(point: "Point") -> dict[str, Any]:
    from maquette.core.statistics import Interval

    accuracy = point.accuracy
    known = asdict(accuracy) if isinstance(accuracy, Interval) else {"mean": accuracy}
    return {"k": point.k, "tokens": point.tokens, **known}


def _draw(points: "Sequence[Point]", strategy: str, out: Path) -> None:
    from maquette.lab.figures import Figure, Series, write_picture

    known = [_plain(one) for one in points]
    series = Series(
        x=[one["tokens"] for one in known],
        y=[one["mean"] for one in known],
        low=[one.get("low", one["mean"]) for one in known],
        high=[one.get("high", one["mean"]) for one in known],
        mark="both",
        label=strategy,
    )
    figure = Figure(
        title="Accuracy against tokens", x="generated tokens a problem", y="accuracy", series=[series], kind="log-x"
    )
    write_picture(figure, out)


def _tell(told: dict[str, Any], out: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told, indent=1))
        return
    if told["curve"]:
        table = Table("samples", "tokens a problem", "accuracy", "95 % interval", box=None)
        for one in told["curve"]:
            interval = f"{one['low']:.3f} to {one['high']:.3f}" if "low" in one else ""
            table.add_row(str(one["k"]), f"{one['tokens']:.1f}", f"{one['mean']:.3f}", interval)
        Console().print(table)
        print(f"{told['right']} of {told['problems']} right by {told['strategy']}")
    else:
        print("no curve: not every problem has an answer to compare with; add answer to its line, or give --check")
    print(f"answers: {out / 'answers.jsonl'}")
