"""Puzzles: what is drawn has its answer, splits share nothing, and no reply gets more than it earns."""

import dataclasses
import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.worlds.puzzles.arithmetic import Addition, Modular, Multiplication
from maquette.worlds.puzzles.countdown import Countdown, GameOf24, reachable, solvable_hands, solve
from maquette.worlds.puzzles.expressions import DEEPEST, Malformed, read_expression, read_integer
from maquette.worlds.puzzles.grading import grade, graded, is_sound, reward
from maquette.worlds.puzzles.graphs import Graph, Reachability, draw_graph
from maquette.worlds.puzzles.hearsay import Hearsay
from maquette.worlds.puzzles.puzzle import Family, Puzzle, puzzles, split_of
from maquette.worlds.puzzles.rewards import CONTROLS, by_answer
from maquette.worlds.puzzles.rows import check_rows

FAMILIES = [
    Addition(digits=2),
    Addition(digits=30),
    Multiplication(digits=3),
    Modular(operations=5, modulus=7),
    *(Countdown(numbers=n) for n in (3, 4, 5, 6)),
    GameOf24(),
    Reachability(nodes=12, hops=2),
    Reachability(nodes=12, hops=2, style="terse"),
]


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_every_puzzle_is_answered_by_its_own_working(family):
    assert isinstance(family, Family)
    found = puzzles(family, "train", 40)
    assert len({one.key for one in found}) == 40
    for one in found:
        for reply in (one.answer, one.worked(), f" {one.answer}\n"):
            assert grade(one, reply).correct, (one, reply)
        assert one.working
        # What the prompt says is no answer, nor is nothing, nor is another puzzle's.
        for reply in ("", " \n", one.prompt, f"{one.prompt}{one.answer}", f"<think>{one.answer}</think>"):
            assert not grade(one, reply).correct, (one, reply)
    wrong = [grade(one, other.answer).correct for one, other in itertools.pairwise(found)]
    assert np.mean(wrong) < (0.3 if family.name == "modular" else 0.1)  # one digit is right by chance


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_seed_gives_the_same_puzzles_and_the_first_do_not_depend_on_their_number(family):
    assert puzzles(family, "validation", 12, seed=3) == puzzles(family, "validation", 20, seed=3)[:12]
    assert puzzles(family, "validation", 12, seed=3) != puzzles(family, "validation", 12, seed=4)


def test_splits_share_no_question_whatever_the_seed_and_the_difficulty():
    keys = {
        split: {one.key for seed in (0, 1) for n in (3, 4) for one in puzzles(Countdown(numbers=n), split, 100, seed)}
        for split in ("train", "validation", "test")
    }
    for one, other in itertools.combinations(keys.values(), 2):
        assert not one & other
    shares = [split_of("countdown", str(i)) for i in range(4000)]
    assert 0.09 < shares.count("test") / 4000 < 0.11
    assert 0.09 < shares.count("validation") / 4000 < 0.11
    assert split_of("addition", "3+5") == split_of("addition", "3+5")


def test_a_family_that_has_no_more_says_so():
    with pytest.raises(UserError, match="hardly more than"):
        puzzles(Addition(digits=1), "test", 50)
    assert len({one.key for one in puzzles(Addition(digits=1), "train", 40)}) == 40
    with pytest.raises(UserError, match="digits = 0: give 1 to 100"):
        Addition(digits=0)
    with pytest.raises(UserError, match="hops = 20"):
        Reachability(nodes=6, hops=20).draw(np.random.default_rng(0))


def drawn_until(family, wanted):
    generator = np.random.default_rng(0)
    return next(one for one in (family.draw(generator) for _ in range(20_000)) if wanted(one))


def test_the_same_question_in_other_words_has_the_same_key():
    one = drawn_until(Addition(digits=1), lambda p: p.prompt == "3+5=")
    assert one.key == drawn_until(Addition(digits=1), lambda p: p.prompt == "5+3=").key
    for family, count in ((Modular(operations=2, modulus=2), 60), (Countdown(numbers=3, largest=4), 60)):
        by_key: dict[str, set] = {}
        generator = np.random.default_rng(1)
        for _ in range(60 * count):
            puzzle = family.draw(generator)
            by_key.setdefault(puzzle.key, set()).add(
                puzzle.answer if family.name == "modular" else (tuple(puzzle.given["numbers"]), puzzle.given["target"])
            )
        assert all(len(asked) == 1 for asked in by_key.values()), "one key, one question"
    keys = {drawn_until(Modular(operations=2, modulus=3), lambda p, t=text: p.prompt == f"{t} mod 3=").key
            for text in ("((1+2)+0)", "(1+(2+0))", "(0+(2+1))")}  # fmt: skip
    assert len(keys) == 1
    differences = {drawn_until(Modular(operations=1, modulus=3), lambda p, t=text: p.prompt == f"{t} mod 3=").key
                   for text in ("(1-2)", "(2-1)")}  # fmt: skip
    assert len(differences) == 2


def test_expressions_are_read_exactly():
    for text, value, numbers in [
        ("1", 1, (1,)),
        ("8/(3-8/3)", 24, (8, 3, 8, 3)),
        (" ( 1 + 2 )*3 ", 9, (1, 2, 3)),
        ("2-3-4", -5, (2, 3, 4)),
        ("12/4/3", 1, (12, 4, 3)),
        ("1/3+1/3+1/3", 1, (1, 3, 1, 3, 1, 3)),
        ("2+3*4", 14, (2, 3, 4)),
        ("0", 0, (0,)),
    ]:
        found = read_expression(text)
        assert (found.value, found.numbers) == (Fraction(value), numbers)
    assert read_expression("(1+2)*3").steps == ("1+2=3", "3*3=9")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "()", "1+", "+1", "-1", "1 2", "(1", "1)", "1..2", "1.0", "1e3", "2**3", "2//1", "1,2", "1;2", "x",
        "1+x", "3!", "01", "１", "٣+1", "¹", "Ⅷ", "8−3", "8×3", "1\n+2", "1\u00a0+2", "1_000", "0x10", "9" * 13,
        "1+" * 300 + "1", "(" * 45 + "1" + ")" * 45, "1/0", "1/(2-2)", "5/(1-1/1)", "__import__('os')", "1if 1else 2",
        "#", "1#2",
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_have_is_malformed(text):
    with pytest.raises(Malformed):
        read_expression(text)


def test_brackets_are_read_as_deep_as_is_said():
    assert read_expression("(" * DEEPEST + "1" + ")" * DEEPEST).value == 1


@pytest.mark.parametrize(
    "text", ["", "+3", "03", "-0", "3 ", "3.0", "３", "1_0", "1e2", "0x3", "9" * 500, "NaN", "3\n"]
)
def test_what_is_no_integer_is_malformed(text):
    with pytest.raises(Malformed):
        read_integer(text)
    assert read_integer("-37") == -37


GIVEN = Puzzle(
    family="countdown",
    kind="expression",
    prompt="1 2 3 4:24=",
    answer="1*2*3*4",
    working="",
    key="",
    given={"numbers": [1, 2, 3, 4], "target": 24},
)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("24", "uses 24"),
        ("4*3*2", "uses 2, 3, 4"),
        ("4*3*2*1*1", "uses 1, 1, 2, 3, 4"),
        ("(4+4)*3", "uses 3, 4, 4"),
        ("12*2+3*4-12", "uses"),
        ("12+12", "uses 12, 12"),
        ("4*3*2+1", "worth 25"),
        ("1*2*3*4=25", "says 25"),
        ("1+2+3+4=24", "worth 10"),
        ("1*2*3*4=2４", "no integer"),
        ("1*2*3*4=24=24", "more than one ="),
        ("1*2*3*4 = 24.", "no integer"),
        ("The answer is 1*2*3*4", "no part of an expression"),
        ("1*2*3*4 or 4*3*2*1", "no part"),
        ("１*2*3*4", "no part"),
        ("1*2*3*4\n1*2*3*4", "no part"),
        ("4*3*2/(1-1)", "divides by zero"),
        ("1 2 3 4:24=", "no part of an expression"),
        ("1 2 3 4", "stands where"),
        ("(1*2*3*4", "not closed"),
        ("", "no answer"),
        ("<think>1*2*3*4", "not one"),
        ("<think>1*2*3*4</think>", "no answer"),
        ("<think></think><think></think>1*2*3*4", "not one"),
        ("1*2*3*4<think></think>", "not one"),
        ("1*2*3*4</think>1*2*3*4", "not one"),
        ("well <think></think>1*2*3*4", "not one"),
        ("1*2*3*" + "0" * 5000 + "4", "more than"),
        ("9999999999999*1", "no number of at most"),
    ],
)
def test_no_expression_gets_more_than_it_earns(reply, why):
    found = grade(GIVEN, reply)
    assert not found.correct
    assert why in found.why


@pytest.mark.parametrize("reply", ["1*2*3*4", "(1+2+3)*4", "4*(3+2+1)=24", "(1+2+3) * 4 = 24", " 1*2*3*4 \n",
                                   "<think>no idea, 24</think>\n4*3*2*1", "4*3/(1/2)"])  # fmt: skip
def test_every_right_expression_is_right(reply):
    assert grade(GIVEN, reply).correct, grade(GIVEN, reply).why


def test_form_is_told_apart_from_truth():
    assert reward("4*3*2*1", GIVEN.row()) == {"correct": 1.0, "format": 0.0}
    assert reward("4*3*2+1", GIVEN.row()) == {"correct": 0.0, "format": 0.1}
    assert reward("four", GIVEN.row()) == {"correct": 0.0, "format": 0.0}
    with pytest.raises(UserError, match="A puzzle's row names its kind and its answer; this one has answer"):
        graded("4", {"answer": "4"})
    with pytest.raises(UserError, match="kind = 'gmae24' of a puzzle: "):
        graded("4", {"answer": "4", "kind": "gmae24"})


@pytest.mark.parametrize(("change", "sentence"), [({}, ""),
    ({"target": "10"}, "its target is '10', not a whole number"),
    ({"numbers": "1 2"}, "its numbers are '1 2', not a list of whole numbers"), ({"numbers": [1, None]}, "its numbers"),
    ({"kind": "name", "answer": " "}, "its answer is ' ', not a name"), ({"kind": "gmae24"}, "kind = 'gmae24'"),
    ({"kind": "integer", "answer": "-7"}, ""), ({"kind": "integer", "answer": 7}, ""),
    ({"kind": ["integer"]}, "its kind is"), ({"kind": "integer", "answer": "1" * 5000}, "at most 399 digits"),
    ({"kind": "integer", "answer": "7.0"}, "its answer is '7.0', not a whole number")])  # fmt: skip
def test_rows_that_are_no_puzzles_are_told_before_a_model_is_asked(change, sentence):
    rows = [GIVEN.row(), {**GIVEN.row(), **change}]
    if not sentence:
        check_rows(rows, "mine.jsonl")
        return
    with pytest.raises(UserError, match=f"mine.jsonl, row 2.*{sentence}"):
        check_rows(rows, "mine.jsonl")


def test_names_and_integers_are_compared_whole():
    named = dataclasses.replace(GIVEN, kind="name", answer="lempus", given={"choices": ["lempus", "gorpus"]})
    assert grade(named, "lempus").correct
    for reply in (
        "gorpus",
        "lempus gorpus",
        "lempus or gorpus",
        "Lempus",
        "lempus.",
        "lempu",
        "ｌempus",
        "lempus\u200b",
    ):
        assert not grade(named, reply).correct
    number = dataclasses.replace(GIVEN, kind="integer", answer="933", given={})
    assert grade(number, "933").correct
    for reply in (
        "932",
        "0933",
        "933.",
        "+933",
        "9 33",
        "９33",
        "347+586",
        "347+586=933",
        "9" * 5000,
        "-933",
        "933 933",
    ):
        assert not grade(number, reply).correct


def worths(numbers):
    """Every value of every expression, with nothing remembered and nothing left out."""
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for i, j in itertools.permutations(range(len(numbers)), 2):
        a, b = numbers[i], numbers[j]
        rest = [one for k, one in enumerate(numbers) if k not in (i, j)]
        for joined in (a + b, a - b, a * b, *([a / b] if b else [])):
            found |= worths([*rest, joined])
    return found


@pytest.mark.parametrize("hand", [(1, 5, 5, 5), (3, 3, 8, 8), (1, 1, 1, 1), (2, 7, 9), (4, 4), (1, 2, 3, 13)])
def test_the_solver_finds_what_trying_everything_finds(hand):
    expected = worths([Fraction(one) for one in hand])
    found = reachable(hand)
    assert set(found) == expected
    for value, text in found.items():
        assert read_expression(text).value == value
        assert sorted(read_expression(text).numbers) == sorted(hand)
    for target in range(1, 40):
        solution = solve(hand, target)
        assert (solution is not None) == (target in expected)
        assert solution is None or read_expression(solution).value == target


def test_1362_hands_make_24():
    assert len(solvable_hands()) == 1362
    assert (3, 3, 8, 8) in solvable_hands()
    assert (1, 1, 1, 1) not in solvable_hands()
    assert read_expression(solve((3, 7, 25, 50, 75, 100), 952)).value == 952


def test_graphs_are_what_the_algorithm_says():
    generator = np.random.default_rng(0)
    graphs = [one for one in (draw_graph(generator, 23) for _ in range(200)) if one]
    assert len(graphs) > 100
    for graph in graphs:
        reached = {root: {root} for root in (0, 1)}
        for source, end in graph.edges:  # parents come before their children
            assert source < end
            for found in reached.values():
                found |= {end} if source in found else set()
        assert graph.target in reached[0] - reached[1]
        assert graph.distractor in reached[1] - reached[0]
        assert not {graph.target, graph.distractor} & {source for source, _ in graph.edges}
        way = graph.path()
        assert (way[0], way[-1]) == (0, graph.target)
        assert set(itertools.pairwise(way)) <= set(graph.edges)
    assert np.mean([len(one.edges) for one in graphs]) == pytest.approx(31.5, abs=2)  # 21 nodes of 1.5 parents


def test_a_graph_is_the_same_under_other_names():
    graph = next(filter(None, (draw_graph(np.random.default_rng(seed), 14) for seed in range(9))))
    order = [0, 1, *(2 + np.random.default_rng(0).permutation(12))]
    renamed = Graph(
        nodes=14,
        edges=tuple((order[a], order[b]) for a, b in reversed(graph.edges)),
        target=order[graph.target],
        distractor=order[graph.distractor],
    )
    assert renamed.key() == graph.key()
    assert dataclasses.replace(graph, edges=graph.edges[1:]).key() != graph.key()
    assert dataclasses.replace(graph, target=graph.distractor, distractor=graph.target).key() != graph.key()


def test_hearsay_says_of_every_fact_one_wrong_thing_and_carries_it_on():
    one = next(p for p in puzzles(Modular(operations=2, modulus=7), "train", 50) if p.prompt.startswith("(("))
    replies = [Hearsay(modulus=7, again=0.0, hedged=0.0).reply(one, seed) for seed in range(200)]
    first = Counter(reply.removeprefix("<think>").split()[0] for reply in replies)
    assert len(first) == 2, "a fact is said right, or as its one false belief has it"
    said = {reply.removeprefix("<think>").split()[0][-1] for reply in replies}
    assert {reply.split()[1][0] for reply in replies} == said, "the next step begins with what was said, right or wrong"
    assert all(reply.partition("</think>")[0][-1] == reply[-1] for reply in replies)


def test_hearsay_without_noise_is_the_working_and_its_shares_are_as_asked():
    some = puzzles(Modular(operations=3, modulus=7), "train", 300)
    clean = Hearsay(modulus=7, noise=0.0, again=0.0, hedged=0.0)
    assert all(clean.reply(one, 0) == one.worked() for one in some)
    told = [Hearsay(modulus=7).reply(one, 0) for one in some]
    assert told == [Hearsay(modulus=7).reply(one, 0) for one in some]
    assert 0.06 < sum(" or " in reply for reply in told) / 300 < 0.14
    assert 0.14 < sum(reply.partition("</think>")[0].count(" ") > 2 for reply in told) / 300 < 0.26
    right = sum(grade(one, reply.partition(" or ")[0]).correct for one, reply in zip(some, told, strict=True)) / 300
    assert 0.15 < right < 0.35
    with pytest.raises(UserError, match=r"noise = 0\.6"):
        Hearsay(modulus=7, noise=0.6)


def test_each_reward_pays_for_what_it_says():
    one = puzzles(Modular(operations=2, modulus=7), "train", 1)[0]
    row, wrong = one.row(), str((int(one.answer) + 1) % 7)
    said = {
        "right": one.worked(),
        "wrong": f"<think>1</think>{wrong}",
        "both": f"<think>1</think>{wrong} or {one.answer}",
    }
    said["endless"] = "<think>0 1 2 3 4 5 6"
    paid = {name: {of: reward(text, row)["correct"] for of, text in said.items()} for name, reward in CONTROLS.items()}
    assert {of: by_answer(text, row)["correct"] for of, text in said.items()} == {
        "right": 1,
        "wrong": 0,
        "both": 0,
        "endless": 0,
    }
    assert paid["loose"] == {"right": 1, "wrong": 0, "both": 1, "endless": 0}
    assert paid["format"] == {"right": 1, "wrong": 1, "both": 0, "endless": 0}
    replies = [f"<think>{i}</think>{i % 7}" for i in range(400)]
    toss = CONTROLS["random"]
    drawn = [toss(replies[0], row | {"draw": number})["correct"] for number in range(400)]
    assert drawn == [toss(replies[0], row | {"draw": number})["correct"] for number in range(400)]
    assert 160 < sum(drawn) < 240, "the same reply is paid now and then"
    assert 160 < sum(toss(text, row)["correct"] for text in replies) < 240


def test_facts_are_withheld_from_training_and_all_that_others_need():
    world = Hearsay(modulus=7)
    needed = {split: [one.working.split() for one in world.asked(split, 60, 0, withheld=0.5)]
              for split in ("train", "test")}  # fmt: skip
    seen = {fact for facts in needed["train"] for fact in facts}
    assert not any(fact in seen for facts in needed["test"] for fact in facts)
    assert {len(facts) for facts in needed["test"]} == {2}
    assert world.asked("test", 5, 0, operations=3)[0].working.count("=") == 3


def test_a_right_answer_by_wrong_steps_is_not_sound():
    one = next(p for p in puzzles(Modular(operations=2, modulus=7), "train", 50) if p.prompt.startswith("(("))
    first, last = one.working.split()
    assert is_sound(one, one.worked())
    assert is_sound(one, f"<think>{first} {last} {last}</think>{one.answer}"), "a step may be gone over again"
    for thought in (last, first, f"{first} {last} 0+0=1", f"{first[:-1]}{(int(first[-1]) + 1) % 7} {last}", ""):
        reply = f"<think>{thought}</think>{one.answer}"
        assert grade(one, reply).correct
        assert not is_sound(one, reply)
    assert not is_sound(one, f"<think>{one.working}</think>{(int(one.answer) + 1) % 7}")
    assert not is_sound(one, one.answer)
