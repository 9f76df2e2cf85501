"""Figures as data, and the one place that draws them: SVG in a single quiet style, readable at half a page's width.

matplotlib is imported where it draws: who only describes a figure does not pay for it.
"""

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from maquette.lab.verdicts import Judgement, Test

INK, MUTED, GRID, PAPER = "#1b1f24", "#8a919b", "#dfe3e8", "#ffffff"
COLOURS = ("#2f6db3", "#d1652b", "#2c8c63", "#8b5bb5", "#b8902a", "#c2487f", "#4a9aa8", "#6b6f76")
VERDICT_COLOURS = {"reproduced": "#2c8c63", "refuted": "#c2413b", "undecided": "#b8902a", "unsound": "#8b5bb5"}
Medium = Literal["page", "paper", "slide"]
"""Where a figure is seen: on the HTML page, across both columns of the paper, or on a slide."""
SIZES: dict[Medium, tuple[float, float]] = {
    "page": (6.2, 3.7),
    "paper": (7.4, 2.8),
    "slide": (6.6, 3.1),
}
"""Inches; only the page's figures bear their title, the others have it in words beside them."""
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "maquette",
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one colour: measured ones as points, fitted ones as a line; `low` and `high` draw a band or error bars.

    Series of the same `group` share a colour; `muted` draws in grey, for controls and references.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    mark: Literal["line", "dashed", "points", "both", "star", "cross", "ring"] = "line"
    group: int | None = None
    muted: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure: what its axes measure (with units), its series, and a caption that says what to see.

    `region` shades the values of y for which a claim holds; `places` names places on the x axis, by their x.
    """

    title: str
    x: str
    y: str
    series: Sequence[Series]
    kind: Literal["linear", "log-x", "log-y", "log-log"] = "linear"
    caption: str = ""
    alt: str = ""
    region: tuple[float, float] | None = None
    places: Mapping[float, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The title as a file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")[:60] or "figure"


def over_seeds(
    by_seed: Mapping[int, Mapping[str, Mapping[str, float]]], rows: Mapping[str, tuple[str, str]], **words: Any
) -> Figure:
    """Measures seed by seed: `rows` says by label which arm's which measure; `words` are the figure's other fields."""
    seeds = sorted(by_seed)
    series = [
        Series(x=seeds, y=[by_seed[seed][arm][measure] for seed in seeds], mark="both", label=label)
        for label, (arm, measure) in rows.items()
    ]
    return Figure(x="seed", series=series, **words)


def along(
    by_seed: Mapping[int, Mapping[str, Mapping[str, float]]], arms: Sequence[str], at: Mapping[float, str], **words: Any
) -> Figure:
    """Means over seeds, a curve an arm: `at` says which measure stands at which x; `words` are the other fields."""

    def mean(arm: str, measure: str) -> float:
        return sum(trials[arm][measure] for trials in by_seed.values()) / len(by_seed)

    series = [
        Series(x=[*at], y=[mean(arm, measure) for measure in at.values()], mark="both", label=arm) for arm in arms
    ]
    return Figure(series=series, **words)


def draw(figure: Figure, medium: Medium = "page") -> str:
    """The figure as an SVG element, without XML prologue."""
    return _render(figure, "svg", medium).decode()


def draw_panels(panels: Sequence[Figure], medium: Medium = "page", columns: int = 1) -> str:
    """Figures of one kind in one SVG element, `columns` in a row, with one legend for all."""
    import matplotlib

    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(_STYLE):
        canvas = _canvas(SIZES[medium][0], 1.75 * rows + 0.5)
        grid = canvas.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        width = SIZES[medium][0] / columns
        letters = max(12, min(36, int(13 * (width - 0.7))))  # words begin where the axis's numbers end
        for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
            bottom = place + columns >= len(panels)
            _paint(axes, replace(panel, x=textwrap.fill(panel.x, letters) if bottom else ""), width)
            axes.set_title(textwrap.fill(panel.title, letters), fontsize=9, pad=5)
        drawn = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in canvas.axes]
        marks = {label: mark for pairs in drawn for mark, label in pairs}
        canvas.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=len(marks), handlelength=1.6)
        return _saved(canvas, "svg", "panels " + panels[0].slug).decode()


def write_picture(figure: Figure, folder: Path) -> Path:
    """Write the figure as SVG and PNG into `folder`; the PNG's path."""
    with replacing(folder / f"{figure.slug}.svg") as temporary:
        temporary.write_bytes(_render(figure, "svg file"))
    with replacing(folder / f"{figure.slug}.png") as temporary:
        temporary.write_bytes(_render(figure, "png"))
    return folder / f"{figure.slug}.png"


def _render(figure: Figure, form: Literal["svg", "svg file", "png"], medium: Medium = "page") -> bytes:
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        canvas = _canvas(*SIZES[medium])
        axes = canvas.subplots()
        _paint(axes, figure, SIZES[medium][0])
        if any(series.label for series in figure.series):
            _legend(axes, sum(bool(series.label) for series in figure.series))
        if medium == "page":
            axes.set_title(figure.title)
        return _saved(canvas, form, f"{medium} {figure.slug}")


def _canvas(width: float, height: float, hspace: float | None = None, h_pad: float | None = None) -> Any:
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Canvas(figsize=(width, height), layout=ConstrainedLayoutEngine(hspace=hspace, h_pad=h_pad))


def _paint(axes: "Axes", figure: Figure, width: float) -> None:
    from matplotlib.ticker import MaxNLocator

    if "x" in figure.kind.split("-")[1:] or figure.kind == "log-log":
        axes.set_xscale("log")
    if "y" in figure.kind.split("-")[1:] or figure.kind == "log-log":
        axes.set_yscale("log")
    free = iter(range(len(figure.series) + 1))
    for series in figure.series:
        _draw_series(axes, series, _colour(series, free))
    if figure.region:
        _shade(axes, figure.region)
    _plain_log_ticks(axes)
    if figure.places:
        letters = round(12 * width / len(figure.places))
        axes.margins(x=0.5 / len(figure.places))
        axes.set_xticks(list(figure.places), [textwrap.fill(name, max(6, letters)) for name in figure.places.values()])
    elif axes.get_xscale() == "linear" and all(float(x).is_integer() for series in figure.series for x in series.x):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set(xlabel=figure.x, ylabel=figure.y)


def _shade(axes: "Axes", region: tuple[float, float]) -> None:
    """The region, within what the data show of the y axis and a little beyond."""
    low, high = axes.get_ylim()
    for end in region:
        if math.isfinite(end):
            low, high = min(low, end - 0.06 * (high - low)), max(high, end + 0.06 * (high - low))
            axes.axhline(end, color=VERDICT_COLOURS["reproduced"], linewidth=0.9, linestyle=(0, (3, 2)))
    inside = max(low, region[0]), min(high, region[1])
    axes.axhspan(*inside, color=VERDICT_COLOURS["reproduced"], alpha=0.10, linewidth=0)
    axes.set_ylim(low, high)


def _colour(series: Series, free: Any) -> str:
    if series.muted:
        return MUTED
    return COLOURS[(next(free) if series.group is None else series.group) % len(COLOURS)]


def _draw_series(axes: "Axes", series: Series, colour: str) -> None:
    styles: dict[str, dict[str, Any]] = {
        "line": {"linestyle": "-"},
        "dashed": {"linestyle": (0, (4, 2.5)), "linewidth": 1.4},
        "points": {"linestyle": "none", "marker": "o", "markeredgecolor": PAPER, "markeredgewidth": 0.5},
        "both": {"linestyle": "-", "marker": "o", "linewidth": 1.3, "markeredgecolor": PAPER, "markeredgewidth": 0.5},
        "star": {
            "linestyle": "none",
            "marker": "*",
            "markersize": 11,
            "markeredgecolor": PAPER,
            "markeredgewidth": 0.6,
        },
        "cross": {
            "linestyle": "none",
            "marker": "X",
            "markersize": 7,
            "markeredgecolor": PAPER,
            "markeredgewidth": 0.5,
        },
        "ring": {
            "linestyle": "none",
            "marker": "o",
            "markersize": 9,
            "markerfacecolor": "none",
            "markeredgewidth": 1.1,
        },
    }
    if series.low is not None and series.high is not None:
        if series.mark in ("points", "star"):
            spread = [[y - low for y, low in zip(series.y, series.low, strict=True)]]
            spread.append([high - y for y, high in zip(series.y, series.high, strict=True)])
            axes.errorbar(series.x, series.y, yerr=spread, fmt="none", ecolor=colour, elinewidth=1, zorder=2)
        else:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(series.x, series.y, color=colour, label=series.label or None, zorder=3, **styles[series.mark])


def _legend(axes: "Axes", entries: int) -> None:
    if entries <= 3:
        axes.legend(loc="best", handlelength=1.6)
    else:  # beside the data, where it hides none
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=1.6)


def _plain_log_ticks(axes: "Axes") -> None:
    """On a log axis, plain numbers in place of powers of ten where they are short; and more where powers are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from maquette.lab.wording import exact

    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = sorted(axis.get_view_interval())
            axis.set_minor_formatter(NullFormatter())
            few = low > 0 and math.log10(high / low) < 2  # else there are two powers at least
            if few:
                steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if high / low < 4 else (1, 2, 5)
                axis.set_major_locator(LogLocator(subs=steps))
            if few or (low > 0.001 and high < 10_000):
                axis.set_major_formatter(FuncFormatter(lambda value, _: exact(value)))


def forest(judgements: Mapping[str, "Judgement"], medium: Medium = "page") -> str:
    """Named claims as a forest plot, a panel each since units differ: effects, intervals, region; controls in grey."""
    import matplotlib

    columns = 1 if medium == "page" or len(judgements) < 3 else 2 if len(judgements) < 7 else 3
    tests = [1 + len(one.controls) for one in judgements.values()]
    rows = [max(tests[start : start + columns]) for start in range(0, len(tests), columns)]
    with matplotlib.rc_context(_STYLE | {"axes.grid": False, "axes.spines.left": False}):
        width = SIZES[medium][0] if columns == 1 else 3.7 * columns
        canvas = _canvas(width, 0.30 * sum(rows) + 0.80 * len(rows) + 0.1, hspace=0.09, h_pad=0.06)
        panels = canvas.subplots(len(rows), columns, squeeze=False, height_ratios=[count + 0.6 for count in rows])
        for axes in panels.flat[len(judgements) :]:
            axes.set_visible(False)
        for number, (axes, (name, one)) in enumerate(zip(panels.flat, judgements.items(), strict=False)):
            below = list(judgements.values())[number % columns :: columns]  # its column, whose panels are as wide
            names = max(len(_row_name(test, row)) for each in below for row, test in enumerate(_tests(each)))
            _forest_panel(axes, name, one, letters=max(12, int(13.5 * width / columns - 0.9 * names)))
        return _saved(canvas, "svg", f"{medium} forest").decode()


def _forest_panel(axes: "Axes", name: str, judgement: "Judgement", letters: int) -> None:
    tests = _tests(judgement)
    low, high = judgement.claim.region
    marks = [mark for test in tests for mark in _extent(test)] + [end for end in (low, high) if math.isfinite(end)]
    if judgement.claim.others:
        marks.append(0.0)
    span = (max(marks) - min(marks)) or abs(max(marks)) or 1.0
    left, right = min(marks) - 0.12 * span, max(marks) + 0.12 * span
    axes.axvspan(max(low, left), min(high, right), color=VERDICT_COLOURS["reproduced"], alpha=0.10, linewidth=0)
    for end in (low, high):
        if math.isfinite(end):
            axes.axvline(end, color=VERDICT_COLOURS["reproduced"], linewidth=0.9, linestyle=(0, (3, 2)))
    if judgement.claim.others and left < 0 < right:
        axes.axvline(0, color=MUTED, linewidth=0.7)
    for row, test in enumerate(tests):
        colour = VERDICT_COLOURS.get(judgement.verdict, COLOURS[0]) if row == 0 else MUTED
        if test.interval:
            axes.plot(
                [test.interval.low, test.interval.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt"
            )
        axes.plot([test.effect], [row], "o" if row == 0 else "D", color=colour, markersize=6 if row == 0 else 4.5)
    axes.set_yticks(range(len(tests)), [_row_name(test, row) for row, test in enumerate(tests)])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(left, right), ylim=(len(tests) - 0.4, -0.6))
    versus = f" against {judgement.claim.others[0]}" if judgement.claim.others else ""
    title = f"{name}  {judgement.claim.measure.replace('_', ' ')}{versus}"
    axes.set_title(textwrap.fill(title, letters), fontsize=9, pad=5)


def _tests(judgement: "Judgement") -> tuple["Test", ...]:
    return (judgement.test, *judgement.controls)


def _extent(test: "Test") -> tuple[float, ...]:
    return (test.interval.low, test.interval.high) if test.interval else (test.effect,)


def _row_name(test: "Test", row: int) -> str:
    return test.arm if row == 0 else f"control: {test.arm}"


def _saved(canvas: Any, form: Literal["svg", "svg file", "png"], salt: str) -> bytes:
    """A page's own background shows through "svg"; the files stand alone."""
    import matplotlib

    buffer = io.BytesIO()
    if form == "png":
        canvas.savefig(buffer, format="png", dpi=160, facecolor=PAPER)
        return buffer.getvalue()
    with matplotlib.rc_context(
        {"svg.hashsalt": salt}
    ):  # the same ids every time, and others in the page's other figures
        nothing = {"Date": None, "Creator": None, "Format": None}
        canvas.savefig(buffer, format="svg", transparent=form == "svg", metadata=nothing)
    svg = buffer.getvalue().decode()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    return svg.encode()
