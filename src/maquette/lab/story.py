"""A model that learns before one's eyes: a measure as it grows, and what it replies before, half way and at the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from maquette.lab.figures import Figure, Series
from maquette.lab.run import Run

EVERY = 10
"""Updates between two pictures."""


@dataclass(kw_only=True)
class Story:
    """Publishes through a trial's `run`, first before any update; `write` makes it a sink for a training's numbers.

    `replies` asks the model as it is now, once for each of `prompts`.
    """

    run: Run
    title: str
    measure: str
    prompts: Sequence[str]
    replies: Callable[[], Sequence[str]]
    updates: int
    caption: str = ""
    _measured: dict[int, float] = field(default_factory=dict)
    _replied: dict[int, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.look()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take one row of numbers."""
        if self.measure in values:
            self._measured[step] = values[self.measure]
        if step % EVERY == 0 and len(self._measured) > 1:
            line = Series(x=list(self._measured), y=list(self._measured.values()), label=self.measure)
            title = f"{self.measure.capitalize()} while it learns"
            self.run.picture(Figure(title=title, x="update", y=self.measure, series=[line], caption=self.caption))
        if step in (self.updates // 2, self.updates):
            self.look(step)

    def look(self, step: int = 0) -> None:
        """Ask, and publish beside what was replied before."""
        self._replied[step] = self.replies()
        columns = ["", *(f"after {at} updates" if at else "before" for at in self._replied)]
        rows = [[one, *(said[i] for said in self._replied.values())] for i, one in enumerate(self.prompts)]
        self.run.table(self.title, columns, rows)
