"""Are the scene world's sentences true, and are false ones caught?

    python benchmarks/scene_words.py             50,000 scenes, a quarter of an hour on a core
    python benchmarks/scene_words.py --record    and what was found kept in results/scene/words.json

Of each scene a caption or description, a question and its answer, and on the table top an instruction and a plan are
read by the interpreter: each must be so. Then one word of each sentence is changed so that the state makes it false:
a colour, shape, size or material becomes one that nothing there has; left and right, above and below, larger and
smaller change places; a number is one more; a right answer becomes another of its kind. The interpreter must say no, or
refuse to read it.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.provenance import commit, machine, versions
from maquette.core.seeds import numpy_generator
from maquette.core.statistics import wilson_interval
from maquette.worlds.scene.actions.embodiments import EMBODIMENTS
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.sampling import assignment
from maquette.worlds.scene.actions.tasks import TASKS
from maquette.worlds.scene.laws import Knobs, random_clip
from maquette.worlds.scene.state import Clip, Scene, Zone
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, SHAPES, SIZES
from maquette.worlds.scene.words import lexicon
from maquette.worlds.scene.words.captions import caption, describe
from maquette.worlds.scene.words.instructions import instruction, plan, random_goal
from maquette.worlds.scene.words.interpreter import goal_of, is_answer, is_true, serves
from maquette.worlds.scene.words.questions import questions

RECORD = Path("results/scene/words.json")
FIRST = 100_000
ANTONYMS = {
    one: other
    for pair in (
        ("left", "right"),
        ("leftwards", "rightwards"),
        ("leftmost", "rightmost"),
        ("above", "below"),
        ("over", "under"),
        ("larger", "smaller"),
        ("bigger", "smaller"),
        ("top", "bottom"),
        ("open", "closed"),
        ("quickly", "slowly"),
        ("faster", "slower"),
    )
    for one, other in (pair, pair[::-1])
}
DENIALS = {"no", "not", "none", "zero"}
"""In their scope the false may be true."""


def state_of(seed: int) -> Scene | Clip:
    """A clip of the side view, one of its frames, or a table top."""
    if seed % 2:
        task, robot = TASKS[seed // 2 % len(TASKS)], EMBODIMENTS[seed // 16 % len(EMBODIMENTS)]
        return assignment(task, robot, seed, Layout(distractors=seed // 4 % 3, combinations="any")).scene
    clip = random_clip(seed, Knobs(objects=seed // 2 % 4))
    return clip if seed % 4 else clip.scene(seed % len(clip))


def mutants(sentence: str, state: Scene | Clip) -> Iterator[tuple[str, str]]:
    """What was changed, and the sentence made false by it."""
    words = sentence.split()
    if DENIALS & {word.strip(".,?") for word in words}:
        return
    absent = _absent(state)
    for place, marked in enumerate(words):
        word, mark = marked.rstrip(".,?"), marked[len(marked.rstrip(".,?")) :]
        for kind, others in absent.items():
            for other in others[:1] if word in _SURFACES[kind] else ():
                yield kind, " ".join([*words[:place], other + mark, *words[place + 1 :]])
        if word in ANTONYMS and words.count(word) == 1:
            yield "antonym", " ".join([*words[:place], ANTONYMS[word] + mark, *words[place + 1 :]])
        if word in lexicon.NUMBERS[1:9]:
            more = lexicon.NUMBERS[lexicon.NUMBERS.index(word) + 1]
            yield "number", " ".join([*words[:place], more + mark, *words[place + 1 :]])


_SURFACES = {
    "colour": set(COLOURS),
    "shape": {form for shape in SHAPES for forms in lexicon.NOUNS[shape] for form in forms},
    "size": {word for words in lexicon.SIZES.values() for word in words},
    "material": {word for words in lexicon.MATERIALS.values() for word in words},
}


def _absent(state: Scene | Clip) -> dict[str, list[str]]:
    """Words of each kind that are true of nothing there."""
    zones = {part.colour for part in state.scenery if isinstance(part, Zone)}
    there = {name: {getattr(thing, name) for thing in state.things} for name in ("colour", "shape", "size", "material")}
    return {
        "colour": [colour for colour in COLOURS if colour not in there["colour"] | zones],
        "shape": [lexicon.NOUNS[shape][0][0] for shape in SHAPES if shape not in there["shape"]],
        "size": [lexicon.SIZES[size][0] for size in SIZES if size not in there["size"]],
        "material": [lexicon.MATERIALS[one][0] for one in MATERIALS if one not in there["material"]],
    }


def checks(seed: int) -> Iterator[tuple[str, bool, str]]:
    """What was looked at, whether the interpreter was right, and the text; mutants' kinds begin with "false"."""
    state, rng = state_of(seed), numpy_generator(seed, "sentences")
    text = (
        caption(state, ("short", "medium", "dense")[seed // 4 % 3], rng)
        if isinstance(state, Clip)
        else describe(state, rng)
    )
    yield "caption" if isinstance(state, Clip) else "description", is_true(text, state), text
    for sentence in text.split(". "):
        # A sentence may lean on those before it; alone it must be readable and so.
        whole = sentence.rstrip(".") + "."
        if _holds(whole, state):
            for kind, mutant in mutants(whole, state):
                yield f"false {kind}", not _holds(mutant, state), f"{whole} → {mutant}"
    for question in questions(state, rng, 1) if state.things else ():
        yield "answer", is_answer(question.text, f"{question.answer}.", state), f"{question.text} {question.answer}"
        for other in _other_answers(question.answer):
            yield "false answer", not _answers(question.text, other, state), f"{question.text} {other}"
    if isinstance(state, Scene) and state.view == "top" and (goal := random_goal(state, rng)):
        order = instruction(goal, rng)
        yield "instruction", goal_of(order, state) == goal, order
        steps = plan(goal, state, rng)
        yield "plan", serves(steps, goal, state), steps


def _holds(text: str, state: Scene | Clip) -> bool:
    try:
        return is_true(text, state)
    except UserError:
        return False


def _answers(question: str, answer: str, state: Scene | Clip) -> bool:
    try:
        return is_answer(question, f"{answer}.", state)
    except UserError:
        return False


def _other_answers(answer: str) -> list[str]:
    """Another answer of the same kind, where that cannot be right too."""
    for group in (("yes", "no"), COLOURS, SIZES, ("rubber", "wood", "stone"), SHAPES, lexicon.NUMBERS):
        if answer in group:
            return [group[(group.index(answer) + 1) % len(group)]]
    return []


def main() -> int:
    """Run, print, and with --record write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    parser.add_argument("--scenes", type=int, default=50_000)
    arguments = parser.parse_args()
    right, n, missed = Counter[str](), Counter[str](), dict[str, list[str]]()
    for seed in track(range(FIRST, FIRST + arguments.scenes), "scenes", transient=True):
        for kind, is_right, text in checks(seed):
            n[kind] += 1
            right[kind] += is_right
            if not is_right and len(missed.setdefault(kind, [])) < 5:
                missed[kind].append(f"seed {seed}: {text}")
    false = [kind for kind in n if kind.startswith("false")]
    caught = wilson_interval(sum(right[kind] for kind in false), sum(n[kind] for kind in false), 0.95)
    console = Console(width=120)
    for kind in sorted(n):
        console.print(f"{kind:20} {right[kind]:>8} of {n[kind]:>8} right: {right[kind] / n[kind]:.4%}")
    console.print(f"false sentences caught: {caught.mean:.3%} ({caught.low:.3%} to {caught.high:.3%})")
    for kind, texts in missed.items():
        console.print(f"{kind}, not right:", *texts, sep="\n  ", markup=False)
    if arguments.record:
        about = {"machine": machine(), "versions": versions(), "commit": commit()}
        found = {"scenes": arguments.scenes, "first_seed": FIRST, "n": dict(sorted(n.items()))}
        found |= {"right": {kind: right[kind] for kind in sorted(n)}, "false_caught": caught.mean}
        write_json(RECORD, about | found | {"false_caught_low": caught.low, "missed": missed})
    return 0


if __name__ == "__main__":
    sys.exit(main())
