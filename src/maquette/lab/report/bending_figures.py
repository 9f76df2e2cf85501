"""What criticism and improvement look like: an effect along an axis, and the history of a search."""

import itertools

from maquette.lab.bending import Value
from maquette.lab.criticism import Curve
from maquette.lab.figures import Figure, Series
from maquette.lab.improvement import Improvement
from maquette.lab.verdicts import Verdict
from maquette.lab.wording import exact


def effect_curve(curve: Curve, name: str) -> Figure:
    """A claim's effect with pointwise intervals along an axis; the region shaded, crosses where it does not hold."""
    standing, readings = curve.unbent, list(curve.readings)
    measured = all(_is_number(one.label) for one in readings)
    if standing.label not in [one.label for one in readings] and (_is_number(standing.label) or not measured):
        readings.insert(0, standing)
    if measured:
        readings.sort(key=lambda one: one.label)
    points = [(float(one.label) if measured else float(place), one) for place, one in enumerate(readings)]
    broken = [point for point in points if point[1].verdict is not Verdict.REPRODUCED]
    unbent = [point for point in points if point[1].label == standing.label]
    x, intervals = [place for place, _ in points], [one.interval for _, one in points]
    effect = Series(
        x=x,
        y=[one.mean for one in intervals],
        low=[one.low for one in intervals],
        high=[one.high for one in intervals],
        mark="both" if measured and len(x) > 1 else "points",
        group=0,
        label="effect",
    )
    marks = [
        Series(
            x=[place for place, _ in some],
            y=[one.interval.mean for _, one in some],
            label=label,
            mark=mark,
            group=group,
        )
        for some, label, mark, group in ((broken, "not reproduced", "cross", 1), (unbent, "as it stands", "ring", 7))
        if some
    ]
    if not unbent:
        level = [standing.interval.mean] * 2
        marks.append(Series(x=[min(x), max(x)], y=level, mark="dashed", muted=True, label="as it stands"))
    versus = f" against {curve.claim.others[0]}" if curve.claim.others else ""
    return Figure(
        title=f"{name}  {curve.claim.measure.replace('_', ' ')}{versus}",
        x=curve.axis.name,
        y="effect",
        series=[effect, *marks],
        kind="log-x" if measured and curve.axis.log and min(x) > 0 else "linear",
        region=curve.claim.region,
        places={place: spelt(one.label) for place, one in points} if len(points) < 7 or not measured else {},
    )


def search_history(found: Improvement) -> Figure:
    """The score of each candidate, the best so far, and the study as it stands."""
    search, base = found.search, found.candidates[0]
    scored = [(one.number, one.score) for one in found.candidates[1:] if one.score is not None]
    numbers, scores = [number for number, _ in scored], [score for _, score in scored]
    better = max if search.direction == "higher" else min
    series = [
        Series(x=numbers, y=scores, mark="points", group=0, label="candidate"),
        Series(x=numbers, y=list(itertools.accumulate(scores, better)), group=0, label="best so far"),
    ]
    if base.score is not None:
        last = max([1, *numbers])
        series.append(Series(x=[1, last], y=[base.score] * 2, mark="dashed", muted=True, label="as it stands"))
    refused = sum(one.score is None for one in found.candidates)
    dear = f" Not shown: {refused} that failed or cost over {exact(search.dearer)} times the study." if refused else ""
    return Figure(
        title="The search",
        x="candidate",
        y=f"{search.measure} of {search.arm}",
        series=[one for one in series if one.x],
        caption=f"Mean of {search.seeds} seeds that judge nothing; {search.direction} is better.{dear}",
    )


def spelt(label: Value) -> str:
    """A place on an axis in words."""
    return exact(label) if isinstance(label, int | float) and _is_number(label) else str(label)


def _is_number(label: Value) -> bool:
    return isinstance(label, int | float) and not isinstance(label, bool)
