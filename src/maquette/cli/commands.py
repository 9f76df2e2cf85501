"""The command line, and the only place where studies, the lab and the families meet.

What is heavy is imported inside the command that needs it: help and `list` load neither torch nor a study.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from maquette import __version__
from maquette.cli import models, posttrain, reports, robots, showing, solving, studies, training, videos, worlds
from maquette.cli.arguments import parse
from maquette.cli.arguments.models import Chat, Inspect, Serve, Train
from maquette.cli.arguments.posttraining import Sample, Show, Solve, TrainGrpo, TrainSft
from maquette.cli.arguments.robots import Collect, Doctor, Evaluate
from maquette.cli.arguments.scenes import Generate, World
from maquette.cli.arguments.studies import Criticise, Improve, List, New, Plan, PlanStudy, Report, Run, Tour
from maquette.core.errors import UserError


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 trials failed, 2 bad input, 130 stopped by Ctrl-C.

    NumPy's matrices are small here: several threads for one only wait for each other, thirty times as long as the work
    takes where something else runs. What is large is PyTorch's, which has threads of its own.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        print(f"maquette: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output has seen enough; leave Python nothing to flush at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; the exit code."""
    if arguments and arguments[0] == "--version":
        print(f"maquette {__version__}")
        return 0
    command = parse(arguments or ["--help"])
    return DOES[type(command)](command)


def _plan(command: Plan) -> int:
    if command.law and command.runs:
        raise UserError("--law and --runs were both given; leave one out: --runs fits a law of its own.")
    from maquette.lab.planning import DEFAULT_LAW, plan

    planned = plan(
        budget=command.budget,
        parameters=command.parameters,
        tokens=command.tokens,
        law=str(command.runs or command.law or DEFAULT_LAW),
        hardware=command.hardware,
        devices=command.devices,
        mfu=command.mfu,
        hours=command.hours,
        device_hours=command.device_hours,
    )
    if command.json:
        print(json.dumps(asdict(planned) | {"hours": planned.hours}, indent=1, ensure_ascii=False))
        return 0
    width = max(len(name) for name, _ in planned.as_rows())
    for name, value in planned.as_rows():
        print(f"{name:<{width}}  {value}")
    for note in planned.notes:
        print(f"  {note}")
    return 0


DOES: dict[type, Callable[[Any], int]] = {
    List: studies.listing,
    Run: studies.run,
    Criticise: studies.criticise,
    Improve: studies.improve,
    PlanStudy: studies.plan_study,
    New: studies.new,
    Tour: studies.tour,
    Report: reports.report,
    Plan: _plan,
    Train: training.train,
    TrainSft: posttrain.sft,
    TrainGrpo: posttrain.grpo,
    Sample: posttrain.sample,
    Show: showing.show,
    Solve: solving.solve,
    Serve: models.serve,
    Chat: models.chat,
    Inspect: models.inspect,
    World: worlds.world,
    Generate: videos.generate,
    Collect: robots.collect,
    Doctor: robots.doctor,
    Evaluate: robots.evaluate,
}
"""What carries out each command."""
