"""What a terminal shows: progress while trials run (plain lines where it is none), the verdicts at the end."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from maquette.lab.evidence import Evidence
from maquette.lab.verdicts import AS_CONTROL, Verdict
from maquette.lab.wording import duration, interval, number, region

if TYPE_CHECKING:
    from maquette.lab.bending import Axis
    from maquette.lab.criticism import Curve

EVERY = 30.0
"""Seconds between two lines on one trial, where lines must do."""
STYLES = {
    Verdict.REPRODUCED: "bold green",
    Verdict.REFUTED: "bold red",
    Verdict.UNDECIDED: "bold yellow",
    Verdict.UNSOUND: "bold magenta",
}


AS_CHECK = {
    Verdict.REPRODUCED: "holds",
    Verdict.REFUTED: "does not hold",
    Verdict.UNDECIDED: "undecided",
    Verdict.NONE: "",
}
"""What a verdict means of a claim that must hold for another to be believed."""


class Display:
    """Shows events of trials as they come; `label` is the trial's "arm, seed"."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Progress | None = None
        self._total: TaskID | None = None
        self._ids: dict[str, TaskID] = {}
        self._shares: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._finished = self._of = 0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=28),
                TextColumn("{task.percentage:>3.0f} %"),
            )
            times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
            self._bars = Progress(*columns, *times, console=self.console, speed_estimate_period=600, transient=True)
            self._bars.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()
            self._bars = None

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def expect(self, trials: int) -> None:
        """So many trials are to be run from here."""
        self._of = self._finished + trials
        if self._bars:
            if self._total is None:
                self._total = self._bars.add_task("[bold]all trials", total=self._of)
            self._bars.update(self._total, total=self._of)

    def started(self, label: str) -> None:
        """A trial has begun."""
        self._began[label] = self._said[label] = time.monotonic()
        if self._bars:
            self._ids[label] = self._bars.add_task(escape(label), total=None)

    def event(self, label: str, event: Mapping[str, Any]) -> None:
        """A trial says something."""
        if event["kind"] == "progress" and event["total"] > 0:
            self._progressed(label, event["done"], event["total"])
        elif event["kind"] == "note":
            self.say(f"{label}: {event['text']}")
        elif event["kind"] == "picture":
            self.picture(event["title"], event["path"])
        elif event["kind"] == "table":
            self.table(event["title"], event["columns"], event["rows"])

    def picture(self, title: str, path: object) -> None:
        """A figure can be looked at."""
        self.say(f"picture after {duration(time.monotonic() - self._start)}: {title}: {path}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Words in rows; what a model wrote is never read as markup."""
        shown = Table(*map(escape, columns), title=escape(title), title_justify="left", box=box.SIMPLE, pad_edge=False)
        for row in rows:
            shown.add_row(*map(escape, row))
        self.console.print(shown)

    def ended(self, label: str, outcome: str) -> None:
        """A trial is over, one way or the other."""
        self._finished += 1
        self._shares.pop(label, None)
        if self._bars and label in self._ids:
            self._bars.remove_task(self._ids.pop(label))
        took = time.monotonic() - self._began.pop(label, time.monotonic())
        self.say(f"[{self._finished}/{self._of}] {label}: {outcome} in {duration(took)}")
        self._update_total()

    def _progressed(self, label: str, done: float, total: float) -> None:
        self._shares[label] = share = min(done / total, 1.0)
        if self._bars and label in self._ids:
            self._bars.update(self._ids[label], completed=done, total=total)
            self._update_total()
        elif share > 0.02 and time.monotonic() - self._said[label] > EVERY:  # before that the guess is wild
            self._said[label] = time.monotonic()
            left = (time.monotonic() - self._began[label]) * (1 - share) / share
            self.say(f"{label}: {100 * share:.0f} %, about {duration(left)} left")

    def _update_total(self) -> None:
        if self._bars and self._total is not None:
            self._bars.update(self._total, completed=self._finished + sum(self._shares.values()))


def verdict_table(evidence: Evidence) -> Table | str:
    """Each claim with its effect, what it needs, its controls, its checks and its verdict; or that there is none."""
    if not evidence.judgements:
        return "At this scale no claim has all the arms that it compares.\n"
    decides = evidence.scale.verdict
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("claim", min_width=14)
    for heading in ("effect", "interval", "needed", "verdict") if decides else ("effect", "needed"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "effect" else "left")
    for one in evidence.judgements:
        for test in (one.test, *one.controls):
            own = test is one.test
            name = one.claim.text if own else f"  control: {test.arm}"
            needed = region(*one.claim.region) if own else ""
            verdict = f"[{STYLES[one.verdict]}]{one.verdict}" if own and decides else AS_CONTROL[test.verdict]
            cells = (name, number(test.effect), *([interval(test.interval)] if decides else []), needed)
            table.add_row(*map(escape, cells), *([verdict] if decides else []), style="" if own else "dim")
        for check in one.checks:
            needed = region(*check.claim.region)
            between = [interval(check.test.interval)] if decides else []
            cells = (f"  check: {check.claim.text}", number(check.test.effect), *between, needed)
            table.add_row(*map(escape, cells), *([AS_CHECK[check.verdict]] if decides else []), style="dim")
    return table


def curve_table(axis: "Axis", curves: "Sequence[Curve]") -> Table:
    """The claims along one axis: at each place the effect with its pointwise interval, and what it says."""
    table = Table(
        title=f"{axis.name}: {axis.objection}",
        caption="* the study as it stands; intervals hold point by point, at 95 %",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
    )
    table.add_column("claim", min_width=14)
    for heading in (axis.name, "effect", "interval", ""):
        wraps = heading == axis.name  # only its heading is long
        table.add_column(heading, no_wrap=not wraps, justify="right" if heading in (axis.name, "effect") else "left")
    for curve in curves:
        here = curve.unbent.label
        on_axis = here in [one.label for one in curve.readings]
        for row, one in enumerate(curve.readings if on_axis else (curve.unbent, *curve.readings)):
            place = "*" if one.label == "as it stands" else f"* {here}" if one.label == here else str(one.label)
            cells = ("" if row else curve.claim.text, place, number(one.interval.mean), interval(one.interval))
            table.add_row(*map(escape, cells), f"[{STYLES.get(one.verdict, '')}]{one.verdict}")
    return table
