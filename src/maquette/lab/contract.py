"""What is wrong with a study as it is written, found before anything runs."""

import dataclasses
import inspect
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from maquette.core.errors import did_you_mean
from maquette.lab.bending import SEARCH_SEEDS, Among, Between
from maquette.lab.claims import Better, Claim, Ratio
from maquette.lab.scales import Scale

if TYPE_CHECKING:
    from maquette.lab.study import Study


def problems(study: "Study") -> Iterator[str]:
    """Each problem in words that follow the study's name."""
    if not study.name.isidentifier():
        yield "its name must be a Python identifier."
    if not study.claims:
        yield "it makes no claim."
    yield from _of_code(study)
    yield from _of_arms(study)
    for claim in study.claims:
        if not claim.controls:
            yield f"the claim {claim.text!r} has no control; name an arm that must fail the same test."
        for one in (claim, *claim.checks):
            yield from _of_claim(study, one)
    yield from _of_artifacts(study)
    yield from _of_critique(study)
    yield from _of_search(study)
    for name, scale in study.scales:
        yield from _of_scale(study, name, scale)


def _of_code(study: "Study") -> Iterator[str]:
    """What results depend on is hashed, so it must be found in a file."""
    made = {f"the artifact {name!r} is made by": artifact.make for name, artifact in study.artifacts.items()}
    for what, code in {"its trial is": study.trial, "foretell is": study.foretell, **made}.items():
        if code is not None and not inspect.isfunction(code):
            yield f"{what} {code!r}; write a function, with def."


def _of_arms(study: "Study") -> Iterator[str]:
    from maquette.lab.study import PREDICTION

    if PREDICTION in study.arms:
        yield f"{PREDICTION!r} is the name of what is foretold; no arm may bear it."
    if bool(study.foretell) != bool(study.foretold):
        yield "foretell and foretold go together."
    yield from _unknown(study, study.foretold, "foretold names the arm")
    for names in (study.arms, study.artifacts):
        for place, name in enumerate(names):
            if "/" in name or not name.strip():
                yield f"{name!r} names files too; write it without '/' and not empty."
            elif near := [other for other in list(names)[:place] if other.casefold() == name.casefold()]:
                yield f"{near[0]!r} and {name!r} are one file on some systems; let more than case part them."
    for arm, original in study.again.items():
        if original not in study.arms:
            yield f"the arm {arm!r} is {original!r} again; {did_you_mean(original, study.arms)}"
        elif original in study.again:
            yield f"the arm {arm!r} is {original!r} again, which is another again; name {study.again[original]!r}."


def _of_claim(study: "Study", claim: Claim) -> Iterator[str]:
    from maquette.lab.study import PREDICTION

    if not study.analyse:  # which may derive any arm
        named = [arm for arm in (claim.arm, *claim.others, *claim.controls) if arm != PREDICTION]
        yield from _unknown(study, named, f"the claim {claim.text!r} names the arm")
    yield from _of_opponents(study, claim)
    low, high = claim.region
    if not low < high or (low == -math.inf and high == math.inf):
        yield f"the claim {claim.text!r} asks for an effect between {low} and {high}, which every effect or none meets."


def _of_opponents(study: "Study", claim: Claim) -> Iterator[str]:
    """An arm compared with itself, and a control that is no other arm than those the claim compares."""
    if claim.arm in claim.others:
        yield f"the claim {claim.text!r} compares {claim.arm!r} with itself; name another arm to compare it with."
    for control in claim.controls:
        for arm in dict.fromkeys((claim.arm, *claim.others)):
            if control == arm or _alike(study, control, arm):
                how = "names" if control == arm else f"names {control!r}, which is configured as"
                yield (
                    f"the claim {claim.text!r} {how} {arm!r} for its control; take an arm that has all of the "
                    "treatment but what the paper says does the work."
                )
                break
    if isinstance(claim, Better) and not _asks_for_more(claim):
        yield (
            f"the claim {claim.text!r} asks to be {claim.direction} by {claim.by}, which a worse arm meets too; ask "
            "for a difference of 0 or more, for a ratio of 1 or more, or of 1 or less where lower is better."
        )


def _alike(study: "Study", one: str, other: str) -> bool:
    """Whether the trials of two arms are the same, at every scale that decides."""
    originals = {study.again.get(arm, arm) for arm in (one, other)}
    if not {one, other} | originals <= study.arms.keys():  # derived by `analyse`, or a problem of its own
        return False
    return all(
        study.config(one, scale.changes_to(one)) == study.config(other, scale.changes_to(other))
        for _, scale in study.scales
        if scale.verdict
    )


def _asks_for_more(claim: Better) -> bool:
    """Whether what is better by so much is better at all."""
    if not isinstance(claim.by, Ratio):
        return claim.by >= 0
    return claim.by.factor >= 1 if claim.direction == "higher" else 0 < claim.by.factor <= 1


def _of_artifacts(study: "Study") -> Iterator[str]:
    made: set[str] = set()
    for name, artifact in study.artifacts.items():
        for need in artifact.needs:
            if need not in made:
                yield f"the artifact {name!r} needs {need!r}, which must stand before it; {did_you_mean(need, made)}"
        yield from _unknown(study, artifact.arms or (), f"the artifact {name!r} names the arm")
        for arm, original in study.again.items():
            if artifact.arms is not None and (arm in artifact.arms) != (original in artifact.arms):
                yield f"the artifact {name!r} serves one of {original!r} and {arm!r}, which is that again; name both."
        made.add(name)


def _of_critique(study: "Study") -> Iterator[str]:
    if (critique := study.critique) is None:
        return
    if critique.seeds < 2:
        yield f"its critique has {critique.seeds} seeds; an interval takes at least 2."
    names = [axis.name for axis in critique.axes]
    if doubled := [name for name in names if names.count(name) > 1]:
        yield f"two axes of its critique bear the name {doubled[0]!r}."
    yield from _of_changes(study, critique.changes.items(), "its critique changes")
    for axis in critique.axes:
        if axis.log and any(isinstance(bend.label, int | float) and bend.label <= 0 for bend in axis.bends):
            yield f"the axis {axis.name!r} of its critique is logarithmic, so its values must be above 0."
        for bend in axis.bends:
            yield from _of_changes(study, bend.changes.items(), "its critique bends")
            yield from _unknown(study, bend.without, "its critique leaves out the arm")
            yield from _unknown(study, bend.arms, "its critique bends the arm")
            for arm, original in study.again.items():
                if bend.arms and (arm in bend.arms) != (original in bend.arms):
                    yield f"its critique bends one of {original!r} and {arm!r}, which is that again; name both."


def _of_search(study: "Study") -> Iterator[str]:
    if (search := study.improve) is None:
        return
    if search.seeds < 1:
        yield f"its search has {search.seeds} seeds; it needs at least 1."
    if not 2 <= search.judges <= study.scales.laptop.seeds:
        most = study.scales.laptop.seeds
        yield f"its search is judged on {search.judges} seeds; it needs 2 to {most}, the laptop scale's."
    if not study.analyse:
        yield from _unknown(study, [search.arm], "its search improves the arm")
    yield from _unknown(study, search.tuned, "its search tunes the arm")
    tuned = [study.arms[arm] for arm in search.tuned or study.arms if arm in study.arms and arm not in study.again]
    fields = {one.name for config in tuned for one in dataclasses.fields(config)}
    for name, values in search.over.items():
        if tuned and name not in fields:  # an artifact's would change nothing: all arms stand on the same one
            yield f"its search tunes the field {name!r}, which no tuned arm has; {did_you_mean(name, fields)}"
        if isinstance(values, Between) and not (0 if values.log else -math.inf) < values.low < values.high < math.inf:
            bounds = "0 < low < high" if values.log else "low < high"
            yield f"its search tunes {name!r} between {values.low} and {values.high}; it needs {bounds}."
        if isinstance(values, Among) and not values.values:
            yield f"its search tunes {name!r} among no values; give some."
    yield from _of_changes(study, [*search.changes.items(), *search.judged.items()], "its search changes")


def _of_scale(study: "Study", name: str, scale: Scale) -> Iterator[str]:
    if scale.seeds < 1:
        yield f"{name} has {scale.seeds} seeds; it needs at least 1."
    if scale.verdict and study.plan.first_seed + scale.seeds > SEARCH_SEEDS:
        yield f"{name} judges on seeds from {SEARCH_SEEDS} on, which belong to searches; lower the plan's first_seed."
    if (name in ("smoke", "tour") and scale.verdict) or (name == "tour" and scale.seeds != 1):
        yield f"{name} decides nothing: verdict=False" + (", and one seed." if name == "tour" else ".")
    yield from _unknown(study, scale.arms or (), f"{name} names the arm")
    yield from _unknown(study, scale.per_arm, f"{name} changes the arm")
    changes = [one for some in (scale.changes, *scale.per_arm.values()) for one in some.items()]
    yield from _of_changes(study, changes, f"{name} changes")
    for arm, original in study.again.items():
        if scale.per_arm.get(arm, {}) != scale.per_arm.get(original, {}):
            yield f"{name} changes only one of {original!r} and {arm!r}, which is that again; change both alike."


def _unknown(study: "Study", arms: Iterable[str], who: str) -> Iterator[str]:
    for arm in arms:
        if arm not in study.arms:
            yield f"{who} {arm!r}; {did_you_mean(arm, study.arms)}"


def _of_changes(study: "Study", changes: Iterable[tuple[str, Any]], who: str) -> Iterator[str]:
    """Fields that nothing has, and values that no other process could be told."""
    configs = [config for arm, config in study.arms.items() if arm not in study.again]
    configs += [artifact.config for artifact in study.artifacts.values()]
    fields = {one.name for config in configs for one in dataclasses.fields(config)}
    for name, value in changes:
        if name not in fields:
            yield f"{who} the field {name!r}; {did_you_mean(name, fields)}"
        if not _can_be_told(value):
            yield f"{who} {name!r} to {value!r}; take a number, a text, True, False, None, or a tuple of these."


def _can_be_told(value: Any) -> bool:
    """Whether a worker process, which is told in JSON, gets just this."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(one is None or isinstance(one, str | int | float) for one in parts)
