"""What many samples are worth: estimators against every subset there is, the bank, the strategies."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import UserError
from maquette.core.statistics import Interval
from maquette.language.interface import Completion, Sampling, Usage
from maquette.language.reasoning.bank import Bank, blocks, identity_of
from maquette.language.reasoning.estimators import best_of_k, curve, doublings, maj_at_k, over_problems, pass_at_k
from maquette.language.reasoning.strategies import Check, accuracy_against_tokens, choose
from maquette.language.wrappers import Scripted

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=7)


def mean_over_subsets(values, k, worth):
    subsets = list(itertools.combinations(values, k))
    return sum(worth(list(one)) for one in subsets) / len(subsets)


def vote(answers, right="a"):
    counts = {one: answers.count(one) for one in set(answers) - {None}}
    first = [one for one, count in counts.items() if count == max(counts.values())]
    return (right in first) / len(first) if first else 0.0


@given(ANSWERS, st.data())
@settings(max_examples=150, deadline=None)
def test_estimates_are_the_means_over_all_subsets(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    assert maj_at_k(answers, "a", k) == pytest.approx(mean_over_subsets(answers, k, vote))
    correct = [one == "a" for one in answers]
    assert pass_at_k(len(answers), sum(correct), k) == pytest.approx(mean_over_subsets(correct, k, any))
    scores = data.draw(st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=len(answers), max_size=len(answers)))

    def best(pairs):
        top = max(score for score, _ in pairs)
        chosen = [one for score, one in pairs if score == top]
        return sum(chosen) / len(chosen)

    expected = mean_over_subsets(list(zip(scores, correct, strict=True)), k, best)
    assert best_of_k(scores, correct, k) == pytest.approx(expected)


def test_estimates_of_many_samples_are_exact():
    assert pass_at_k(100, 0, 100) == 0.0
    assert pass_at_k(100, 1, 100) == 1.0
    assert pass_at_k(10_000, 1, 1) == 1e-4
    assert maj_at_k(["a"] * 60 + ["b"] * 40, "a", 99) == 1.0
    assert maj_at_k(["a"] * 60 + ["b"] * 40, "a", 1) == 0.6
    assert maj_at_k(["a"] * 50 + ["b"] * 50, "a", 7) == pytest.approx(0.5)
    assert maj_at_k([None] * 5, "a", 3) == 0.0
    assert best_of_k([1.0, 0.0], [True, False], 2) == 1.0
    assert best_of_k([0.0, 0.0], [True, False], 2) == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: pass_at_k(4, 2, 5),
        lambda: pass_at_k(4, 5, 2),
        lambda: pass_at_k(4, 2, 0),
        lambda: maj_at_k(["a"], "a", 2),
        lambda: best_of_k([1.0], [True, False], 1),
        lambda: blocks(1) and Bank(directory=None, identity="").samples([], Sampling(), 0),
        lambda: identity_of("/no/such/folder"),
    ],
)
def test_what_cannot_be_estimated_is_refused(call):
    with pytest.raises(UserError):
        call()


def test_intervals_are_over_problems():
    draw = random.Random(0)
    many = over_problems([draw.random() for _ in range(100)])
    few = over_problems([0.0, 1.0, 0.5])
    assert isinstance(many, Interval)
    assert isinstance(few, Interval)
    assert many.low < many.mean < many.high
    assert few.high - few.low > many.high - many.low
    assert (few.low, few.high) == (0, 1), "an accuracy lies between them"
    assert over_problems([0.25]) == 0.25
    none, every = over_problems([0.0] * 6), over_problems([1.0] * 60)
    assert (none.mean, none.low) == (0, 0)
    assert 0.3 < none.high < 0.5
    assert (every.mean, every.high) == (1, 1)
    assert 0.9 < every.low < 0.95
    points = curve({1: [0.0, 1.0], 4: [1.0, 1.0]}, 10.0)
    assert [(one.k, one.tokens) for one in points] == [(1, 10.0), (4, 40.0)]
    assert doublings(16) == [1, 2, 4, 8, 16]
    assert doublings(11) == [1, 2, 4, 8, 11]


class Counting:
    """A model that numbers its replies and says how many were drawn."""

    name = "counting"
    capabilities = frozenset({"text", "seed"})

    def __init__(self):
        self.drawn = 0

    def sample(self, prompts, sampling, n=1):
        self.drawn += n * len(prompts)
        return [
            [Completion(text=f"{prompt}/{sampling.seed}/{i}", finish="end") for i in range(n)] for prompt in prompts
        ]


def test_the_bank_draws_each_sample_once(tmp_path):
    model = Counting()
    bank = Bank(directory=tmp_path, identity="m", model=model)
    sampling = Sampling(seed=1)
    few = bank.samples(["p", "q"], sampling, 3)
    assert [len(some) for some in few] == [3, 3]
    assert model.drawn == 8  # blocks of 1, 1 and 2
    many = bank.samples(["p", "q"], sampling, 8)
    assert [some[:3] for some in many] == few
    assert model.drawn == 16
    assert len({one.text for some in many for one in some}) == 16
    assert Bank(directory=tmp_path, identity="m").samples(["p", "q"], sampling, 8) == many, "nothing is asked again"
    assert model.drawn == 16
    with pytest.raises(UserError, match="holds no answer"):
        Bank(directory=tmp_path, identity="another model").samples(["p"], sampling, 1)
    with pytest.raises(UserError, match="holds no answer"):
        Bank(directory=tmp_path, identity="m").samples(["p"], Sampling(seed=2), 1)
    unseeded = Bank(directory=tmp_path, identity="m", model=Scripted([str(i) for i in range(4)]))
    assert len({one.text for one in unseeded.samples(["p"], Sampling(), 4)[0]}) == 4, "blocks without seeds lie apart"


def test_a_model_is_known_by_its_content(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = identity_of(str(tmp_path))
    (tmp_path / "training.json").write_text("{}")
    assert identity_of(str(tmp_path)) == before
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert identity_of(str(tmp_path)) != before
    assert identity_of("https://host/v1", "a") != identity_of("https://host/v1", "b")


def said(text, tokens=5):
    return Completion(text=text, finish="end", usage=Usage(generated=tokens))


SAMPLES = [said(text) for text in ("7", "3", "", "3", "7", "3")]
CHECK = Check(
    answer=lambda reply, row: reply or None,
    right=lambda reply, row: reply == row["answer"],
    score=lambda reply, row: -abs(int(reply or 0) - 8),
)


def test_each_strategy_takes_its_own_sample():
    row = {"answer": "3"}
    assert choose("direct", SAMPLES, row, CHECK).answer == "7"
    voted = choose("majority", SAMPLES, row, CHECK)
    assert (voted.answer, voted.correct, voted.tokens, voted.samples) == ("3", True, 30, 6)
    assert choose("best-of-n", SAMPLES, row, CHECK).answer == "7"
    assert choose("majority", [said(""), said("")], row, CHECK).answer is None
    with pytest.raises(UserError, match="chooses by a score"):
        choose("best-of-n", SAMPLES, row, Check(answer=CHECK.answer))


def test_the_curve_is_that_of_the_estimators():
    rows = [{"answer": "3"}, {"answer": "7"}]
    points = accuracy_against_tokens("majority", [SAMPLES, SAMPLES], rows, CHECK)
    assert [one.k for one in points] == [1, 2, 4, 6]
    assert [one.tokens for one in points] == [5, 10, 20, 30]
    assert points[0].accuracy.mean == pytest.approx((3 / 6 + 2 / 6) / 2)
    assert points[-1].accuracy.mean == pytest.approx(0.5)
    best = accuracy_against_tokens("best-of-n", [SAMPLES, SAMPLES], rows, CHECK)
    assert best[-1].accuracy.mean == pytest.approx(0.5)  # the score prefers 7
    (direct,) = accuracy_against_tokens("direct", [SAMPLES, SAMPLES], rows, CHECK)
    assert direct.accuracy.mean == pytest.approx(points[0].accuracy.mean)
    with pytest.raises(UserError, match="needs to know what is right"):
        accuracy_against_tokens("direct", [SAMPLES], rows[:1], Check(answer=CHECK.answer))
