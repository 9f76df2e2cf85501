"""Language models around language models: what is asked for once is kept, budgets bind, failures are tried again."""

import dataclasses
import json

import pytest

from maquette.core.errors import UserError
from maquette.language.interface import (
    Completion,
    LanguageModel,
    Message,
    Sampling,
    Score,
    Unsupported,
    Usage,
)
from maquette.language.wrappers import AT_ONCE, Budget, Cached, Retry, Retrying, Scripted, Unavailable


class Counting:
    """Answers with how often it was asked; fails when told to."""

    name = "counting"
    capabilities = frozenset(("text", "chat", "score", "logprobs", "seed"))

    def __init__(self, failures=0, stop_after=10**9):
        self.calls, self.failures, self.stop_after = [], failures, stop_after

    def sample(self, prompts, sampling, n=1):
        if self.failures:
            self.failures -= 1
            raise Unavailable("busy")
        if len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(list(prompts))
        one = Completion(
            text=f"{len(self.calls)} é",
            finish="end",
            tokens=(1, 2),
            logprobs=(-0.5, -1.5),
            likeliest=({7: -0.1, "7": -2.0}, {}),
            seed=3,
            usage=Usage(prompt=10, cached=4, generated=2, flops=50.0),
        )
        return [[one] * n for _ in prompts]

    def score(self, pairs):
        self.calls.append(list(pairs))
        return [Score(tokens=(4,), logprobs=(-1.0,), greedy=True, usage=Usage(prompt=8, flops=7.0)) for _ in pairs]

    def prefix(self, prompt):
        raise Unsupported(self.name, "fork")


CONVERSATION = (Message(role="user", content="hello"),)


def test_an_answer_is_asked_for_once_and_comes_back_as_it_was(tmp_path):
    model = Counting()
    cached = Cached(directory=tmp_path, model=model)
    first = cached.sample(["a", CONVERSATION, "a"], Sampling(logprobs=1), n=2)
    assert cached.sample(["a", CONVERSATION], Sampling(logprobs=1), n=2) == first[:2]
    assert first[0] == first[2]
    assert model.calls == [["a", CONVERSATION]]  # the same prompt twice is one request
    assert list(first[0][0].likeliest[0].items()) == [(7, -0.1), ("7", -2.0)]
    cached.sample(["a"], Sampling(logprobs=1), n=1)
    cached.sample(["a"], Sampling(logprobs=1, seed=1), n=2)
    cached.score([("a", "b")])
    assert cached.score([("a", "b")])[0].logprobs == (-1.0,)
    assert len(model.calls) == 4


def test_a_stopped_recording_goes_on_and_replays_without_a_model(tmp_path):
    prompts = [str(i) for i in range(3 * AT_ONCE)]
    with pytest.raises(KeyboardInterrupt):
        Cached(directory=tmp_path, model=Counting(stop_after=1)).sample(prompts, Sampling())
    model = Counting()
    found = Cached(directory=tmp_path, model=model).sample(prompts, Sampling())
    assert sum(map(len, model.calls)) == 2 * AT_ONCE
    replay = Cached(directory=tmp_path)
    assert replay.sample(prompts, Sampling()) == found
    with pytest.raises(UserError, match="holds no answer to 'other'"):
        replay.sample(["other"], Sampling())
    path = next(tmp_path.iterdir())
    path.write_text(json.dumps({"model": "x"}))
    with pytest.raises(UserError, match="holds no answer; delete it"):
        replay.sample(prompts, Sampling())


def test_a_budget_refuses_the_request_after_the_one_that_spent_it():
    model = Budget(Counting(), tokens=20)
    model.sample(["a"], Sampling(), n=2)
    assert model.spent.prompt - model.spent.cached + model.spent.generated == 16
    model.score([("a", "b")])
    with pytest.raises(UserError, match="budget of counting is spent: 24 tokens"):
        model.sample(["a"], Sampling())
    with pytest.raises(UserError, match="is spent"):
        model.score([("a", "b")])
    flops = Budget(Counting(), flops=40)
    flops.sample(["a"], Sampling())
    with pytest.raises(UserError, match="is spent"):
        flops.sample(["a"], Sampling())


def test_what_is_unavailable_is_tried_again_with_growing_pauses():
    pauses = []
    retry = Retry(times=4, first=1.0, longest=3.0)
    model = Counting(failures=3)
    assert retry(lambda: model.sample(["a"], Sampling()), pauses.append)
    assert all(low <= pause <= high for pause, (low, high) in zip(pauses, [(0.5, 1), (1, 2), (1.5, 3)], strict=True))
    with pytest.raises(Unavailable):
        retry(lambda: Counting(failures=9).sample(["a"], Sampling()), pauses.append)

    def asks_for_a_pause():
        raise Unavailable("busy", wait=2.5)

    with pytest.raises(Unavailable):
        retry(asks_for_a_pause, pauses.append)
    assert pauses[-3:] == [2.5, 2.5, pytest.approx(2.5, abs=0.5)]
    quick = Retrying(model=Counting(failures=2), retry=Retry(times=3, first=0.001))
    assert quick.sample(["a"], Sampling())[0][0].text == "1 é"


def test_a_script_is_said_in_order_and_heeds_stops_and_choices():
    model = Scripted(["one. two", "yes"])
    (found,) = model.sample(["a"], Sampling(stop=(".",)))[0]
    assert (found.text, found.finish, found.stopped_by) == ("one", "stop", ".")
    assert model.sample(["b"], Sampling(choices=("yes", "no")))[0][0].text == "yes"
    assert [prompt for prompt, _ in model.asked] == ["a", "b"]
    with pytest.raises(UserError, match="has 2 texts"):
        model.sample(["c"], Sampling())
    with pytest.raises(UserError, match="none of"):
        Scripted(["maybe"]).sample(["b"], Sampling(choices=("yes", "no")))
    assert Scripted(lambda prompt: prompt[::-1]).sample(["ab", "cd"], Sampling(), n=2)[1][1].text == "dc"


def test_what_a_model_lacks_is_refused_and_never_left_out(tmp_path):
    model = Scripted(["a"])
    for sampling, lacks in ((Sampling(logprobs=1), "logprobs"),):
        with pytest.raises(Unsupported, match=f"scripted has no {lacks}"):
            model.sample(["a"], sampling)
    with pytest.raises(Unsupported, match="has no score"):
        model.score([("a", "b")])
    for one in (model, Cached(directory=tmp_path, model=model), Budget(model), Retrying(model=model)):
        assert isinstance(one, LanguageModel)
        with pytest.raises(Unsupported, match="has no fork"):
            one.prefix("a")
    assert dataclasses.asdict(Usage() + Usage(prompt=1, flops=2.0))["flops"] == 2.0
