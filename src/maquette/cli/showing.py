"""The command that looks into a run of reinforcement learning, in the terminal and as a page."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maquette.cli.arguments.posttraining import Show
from maquette.core.files import write_text

if TYPE_CHECKING:
    from maquette.language.posttrain.journal import Journal, Shown


def show(command: Show) -> int:
    """Print what a run did, or write it as a page."""
    from maquette.language.posttrain.journal import read_journal

    journal = read_journal(command.run)
    iteration = max(journal.samples) if command.iteration is None else command.iteration
    groups = journal.groups(iteration)[: max(1, command.groups)]
    if command.json:
        told = {"rows": journal.rows, "said": journal.said, "iteration": iteration}
        print(json.dumps(told | {"groups": [asdict(one) for one in groups]}, indent=1, ensure_ascii=False))
        return 0
    if command.page:
        path = command.run / "show.html"
        write_text(path, page(command.run.name, journal, iteration, journal.groups(iteration)))
        print(path)
        return 0
    console = Console()
    console.print(_numbers(journal))
    for sentence in journal.said:
        console.print(f"• {sentence}", markup=False, highlight=False)
    for group in groups:
        console.print(_replies(group, iteration))
    return 0


def _numbers(journal: "Journal") -> Table:
    """Where every number began and where it is."""
    table = Table("", "first", "last", box=None)
    first, last = journal.rows[0], journal.rows[-1]
    for name in [name for name in last if name != "step"]:
        table.add_row(name, *(f"{row[name]:.4g}" if name in row else "" for row in (first, last)))
    if journal.evaluations:
        ends = (journal.evaluations[0], journal.evaluations[-1])
        table.add_row("validation pass@1", *(f"{row['validation_pass@1']:.4g}" for row in ends))
    return table


def _replies(group: "Shown", iteration: int) -> Table:
    """A prompt and its replies, the best first; what a model wrote is never read as markup."""
    table = Table("reward", "advantage", "reply", title=Text(f"iteration {iteration}: {group.prompt}"), expand=True)
    table.title_justify = "left"
    for reply in group.replies:
        colour = "green" if reply.advantage > 0 else "red" if reply.advantage < 0 else ""
        words = Text(reply.text + ("…" if reply.finish == "length" else ""))
        table.add_row(f"{reply.reward:.3g}", Text(f"{reply.advantage:+.2f}", style=colour), words)
    return table


def page(name: str, journal: "Journal", iteration: int, groups: "list[Shown]") -> str:
    """The run as one HTML file."""
    import jinja2

    from maquette.lab.figures import Figure, Series, draw

    def over_iterations(title: str, y: str, names: list[str]) -> Figure:
        there = [one for one in names if any(one in row for row in journal.rows)]
        series = [
            Series(
                x=[row["step"] for row in journal.rows if one in row],
                y=[row[one] for row in journal.rows if one in row],
                label=one,
            )
            for one in there
        ]
        return Figure(title=title, x="update", y=y, series=series)

    last = journal.rows[-1]
    parts = [one for one in last if one.startswith("reward/")]
    figures = [
        over_iterations("Reward and its parts", "mean of the replies", ["reward", *parts]),
        over_iterations("Right answers", "pass@k", [one for one in last if one.startswith("pass@")]),
        over_iterations("Entropy", "nats a token", ["entropy"]),
        over_iterations("What teaches nothing or is held back", "share", ["zero_variance", "clip_rate", "truncated"]),
    ]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = (Path(__file__).parent / "templates" / "run.html.j2").read_text(encoding="utf-8")
    told: dict[str, Any] = {"name": name, "iteration": iteration, "said": journal.said, "groups": groups}
    return environment.from_string(template).render(
        **told, figures=[(one.title, draw(one)) for one in figures], first=journal.rows[0], last=last
    )
