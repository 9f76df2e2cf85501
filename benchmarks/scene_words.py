"""Are the scene world's sentences true, and are false ones caught?

    python benchmarks/scene_words.py             50,000 scenes
    python benchmarks/scene_words.py --record    and what was found kept in results/scene/words.json

Of each scene a caption or description, a question and its answer, a dialogue, and on the table top an instruction and a
plan are read by the interpreter: each must be so. Then false ones, each beside the true one that it was made from
(`words.falsehoods`, `words.mistakes`): another colour, verb, path, manner, direction, subject, object, order, …, mostly
one of something else that is there. They are false by construction, of which the interpreter knows nothing. It must say
no, or refuse to read it; how many it refused is told apart. Of every kind 99 % must be caught, or this exits with 1.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.provenance import circumstances
from maquette.core.seeds import numpy_generator
from maquette.core.statistics import wilson_interval
from maquette.worlds.scene.actions.embodiments import EMBODIMENTS
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.recording import Recording, record
from maquette.worlds.scene.actions.sampling import assignment
from maquette.worlds.scene.actions.tasks import TASKS
from maquette.worlds.scene.laws import Knobs, random_clip
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.words.captions import caption, describe
from maquette.worlds.scene.words.dialogue import dialogue
from maquette.worlds.scene.words.falsehoods import falsehoods, misdescribed
from maquette.worlds.scene.words.instructions import instruction, plan, random_goal
from maquette.worlds.scene.words.interpreter import (
    achieved,
    goal_of,
    is_answer,
    is_true,
    is_true_dialogue,
    serves,
)
from maquette.worlds.scene.words.mistakes import bad_plans, missed, other_goals, wrong_answers, wrong_dialogue
from maquette.worlds.scene.words.questions import questions

RECORD = Path("results/scene/words.json")
FIRST, SHARE = 100_000, 100
"""The first seed, and how many a process takes at a time."""
FLOOR = 0.99
"""Of the false sentences of every kind, that must be caught."""


class Check(NamedTuple):
    """Something that the interpreter was asked."""

    kind: str
    """Begins with "false" where it was to say no."""
    right: bool
    text: str
    refused: bool = False
    """Whether it was right in that it could not read it, or found that it names nothing."""


def state_of(seed: int) -> Scene | Clip:
    """A clip of the side view, one of its frames, or a table top."""
    if seed % 2:
        task, robot = TASKS[seed // 2 % len(TASKS)], EMBODIMENTS[seed // 16 % len(EMBODIMENTS)]
        return assignment(task, robot, seed, Layout(distractors=seed // 4 % 3, combinations="any")).scene
    clip = random_clip(seed, Knobs(objects=seed // 2 % 4))
    return clip if seed % 4 else clip.scene(seed % len(clip))


def episode_of(seed: int) -> Recording:
    """A table top on which an expert does its task."""
    number = seed // 8
    task, robot = TASKS[number % len(TASKS)], EMBODIMENTS[number // len(TASKS) % len(EMBODIMENTS)]
    return record(assignment(task, robot, seed, Layout(distractors=1 + number % 2, combinations="any")), seed)


def checks(seed: int) -> Iterator[Check]:
    """What is asked of the scene of a seed; of every eighth also an episode."""
    state, rng = state_of(seed), numpy_generator(seed, "sentences")
    yield from _of_sentences(state, seed, rng)
    if seed % 8 == 7:
        run = episode_of(seed)
        yield from _of_sentences(run.clip, seed, rng)
        yield from _of_deeds(run, rng)


def _of_seeds(seeds: range) -> list[tuple[int, Check]]:
    """All of some seeds; the texts of those that were wrong only."""
    torch.set_num_threads(1)
    found = ((seed, check) for seed in seeds for check in checks(seed))
    return [(seed, check._replace(text="") if check.right else check) for seed, check in found]


def _of_sentences(state: Scene | Clip, seed: int, rng: np.random.Generator) -> Iterator[Check]:
    told = isinstance(state, Clip)
    text = caption(state, ("short", "medium", "dense")[seed // 4 % 3], rng) if told else describe(state, rng)
    yield Check("caption" if told else "description", _is(is_true, text, state) is True, text)
    for sentence in text.split(". "):
        # A sentence may lean on those before it; alone it must be readable and so.
        whole = sentence.rstrip(".") + "."
        if _is(is_true, whole, state):
            for one in misdescribed(whole, state, rng):
                yield _caught(f"false {one.kind}", f"{whole} → {one.false}", _is(is_true, one.false, state))
    for one in falsehoods(state, rng):
        yield Check(f"true beside {one.kind}", _is(is_true, one.true, state) is True, one.true)
        yield _caught(f"false {one.kind}", f"{one.true} → {one.false}", _is(is_true, one.false, state))
    for asked in questions(state, rng, 1) if state.things else ():
        right = _is(is_answer, asked.text, f"{asked.answer}.", state) is True
        yield Check("answer", right, f"{asked.text} {asked.answer}")
        for other in wrong_answers(asked, state, rng):
            yield _caught("false answer", f"{asked.text} {other}", _is(is_answer, asked.text, f"{other}.", state))
    yield from _of_dialogues(state, rng)
    if isinstance(state, Scene) and state.view == "top":
        yield from _of_goals(state, rng)


def _of_dialogues(state: Scene | Clip, rng: np.random.Generator) -> Iterator[Check]:
    try:
        turns = dialogue(state, rng)
    except UserError:  # nothing can be asked about it
        return
    yield Check("dialogue", _is(is_true_dialogue, turns, state) is True, " ".join(turns))
    wrong = wrong_dialogue(turns, state, rng)
    if wrong:
        yield _caught("false dialogue", " ".join(wrong), _is(is_true_dialogue, wrong, state))


def _of_goals(scene: Scene, rng: np.random.Generator) -> Iterator[Check]:
    goal = random_goal(scene, rng)
    if goal is None:
        return
    order, steps = instruction(goal, rng, scene), plan(goal, scene, rng)
    yield Check("instruction", goal_of(order, scene) == goal, order)
    yield Check("plan", _is(serves, steps, goal, scene) is True, f"{order} {steps}")
    for other in other_goals(goal, scene, rng)[:2]:
        wrong = instruction(other, rng, scene)
        yield Check("false instruction", goal_of(wrong, scene) != goal, f"{order} → {wrong}")
    for bad in bad_plans(goal, scene, rng):
        yield _caught("false plan", f"{order} {bad}", _is(serves, bad, goal, scene))


def _of_deeds(run: Recording, rng: np.random.Generator) -> Iterator[Check]:
    """What was asked of an expert has been done, and what was not asked has not."""
    goal, start = run.assignment.goal, run.assignment.scene
    if not run.success:
        return
    order = instruction(goal, rng, start)
    yield Check("done", _is(achieved, order, run.clip) is True, order)
    for other in other_goals(goal, start, rng):
        if missed(other, run.clip):
            wrong = instruction(other, rng, start)
            yield _caught("false done", f"{order} → {wrong}", _is(achieved, wrong, run.clip))


def _caught(kind: str, text: str, judged: bool | None) -> Check:
    """A false sentence and what was made of it."""
    return Check(kind, not judged, text, refused=judged is None)


def _is(judge: Callable[..., bool], *said: object) -> bool | None:
    """What the interpreter says; None where it refuses."""
    try:
        return judge(*said)
    except UserError:
        return None


def main() -> int:
    """Run, print, and with --record write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    parser.add_argument("--scenes", type=int, default=50_000)
    parser.add_argument("--first", type=int, default=FIRST, help="seed of the first scene")
    arguments = parser.parse_args()
    right, n, refused, missing = Counter[str](), Counter[str](), Counter[str](), dict[str, list[str]]()
    seeds = range(arguments.first, arguments.first + arguments.scenes)
    shares = [seeds[first : first + SHARE] for first in range(0, len(seeds), SHARE)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for share in track(pool.map(_of_seeds, shares), "scenes", total=len(shares), transient=True):
            for seed, check in share:
                n[check.kind] += 1
                right[check.kind] += check.right
                refused[check.kind] += check.refused
                if not check.right and len(missing.setdefault(check.kind, [])) < 5:
                    missing[check.kind].append(f"seed {seed}: {check.text}")
    false = [kind for kind in n if kind.startswith("false")]
    caught = wilson_interval(sum(right[kind] for kind in false), sum(n[kind] for kind in false), 0.95)
    console = Console(width=120)
    for kind in sorted(n):
        told = f", {refused[kind] / n[kind]:.1%} refused" if kind in false else ""
        console.print(f"{kind:24} {right[kind]:>8} of {n[kind]:>8} right: {right[kind] / n[kind]:.4%}{told}")
    console.print(f"false sentences caught: {caught.mean:.3%} ({caught.low:.3%} to {caught.high:.3%})")
    for kind, texts in missing.items():
        console.print(f"{kind}, not right:", *texts, sep="\n  ", markup=False)
    if arguments.record:
        about = circumstances()
        found = {"scenes": arguments.scenes, "first_seed": arguments.first, "n": dict(sorted(n.items()))}
        found |= {
            "right": {kind: right[kind] for kind in sorted(n)},
            "refused": {kind: refused[kind] for kind in false},
        }
        found |= {"false_caught": caught.mean, "false_caught_low": caught.low, "missed": missing}
        write_json(RECORD, about | found)
    below = [kind for kind in false if right[kind] < FLOOR * n[kind]]
    if below:
        console.print(f"below {FLOOR:.0%}: {', '.join(below)}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
