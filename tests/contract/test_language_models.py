"""One contract for every kind of language model: what it claims it does, what it does not claim it refuses with a hint.

Backends: the engine on a checkpoint folder, an endpoint (our own server over the same folder), a script. A capability
that is added to the interface without a check here fails.
"""

import contextlib
import runpy
import threading
import time
from pathlib import Path
from typing import get_args

import pytest
import torch
import transformers
import uvicorn

from maquette.language import checkpoints, load, tokenizers
from maquette.language.chat import PLAIN
from maquette.language.endpoint import OURS
from maquette.language.interface import HINTS, Capability, LanguageModel, Message, Sampling, Thinking, Unsupported
from maquette.language.llama import Llama, LlamaConfig
from maquette.language.wrappers import Budget, Cached, Retrying, Scripted
from maquette.serve.app import create_app
from maquette.serve.server import listen, url_of

torch.set_num_threads(1)

CONFIG = LlamaConfig(vocabulary=257, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=256, rope_theta=1000.0)
TALK = (Message(role="user", content="Where is the ball?"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "tiny"
    model, generator = Llama(CONFIG), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3, generator=generator)
    checkpoints.save(model, directory)
    tokenizers.save(tokenizers.byte_tokenizer(), directory)
    (directory / "chat_template.jinja").write_text(PLAIN)
    return directory


@contextlib.contextmanager
def serving(folder):
    """A server of the folder in a thread; its URL."""
    with listen("127.0.0.1", 0, token=None) as listening:
        app = create_app(load(folder, rows=8))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield url_of(listening)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def models(folder, tmp_path_factory):
    with (
        serving(folder) as url,
        contextlib.closing(load(url, model="tiny", capabilities=OURS)) as endpoint,
        contextlib.closing(load(url, model="tiny")) as plain,
    ):
        engine = load(folder, rows=8)
        yield {
            "engine": engine,
            "invariant engine": load(folder, rows=8, invariant=True),
            "endpoint": endpoint,
            "plain endpoint": plain,
            "script": Scripted(lambda prompt: "yes"),
            "cached engine": Cached(directory=tmp_path_factory.mktemp("kept"), model=engine),
            "retrying endpoint": Retrying(model=Budget(endpoint, tokens=10**6)),
        }


BACKENDS = (
    "engine",
    "invariant engine",
    "endpoint",
    "plain endpoint",
    "script",
    "cached engine",
    "retrying endpoint",
)


@pytest.fixture(params=BACKENDS)
def model(models, request):
    return models[request.param]


def one(model, prompt="ab", **sampling):
    return model.sample([prompt], Sampling(**{"max_tokens": 12, **sampling}))[0][0]


def text(model):
    found = model.sample(["ab", "the quick"], Sampling(max_tokens=5, temperature=0), n=2)  # drawn, one may end at once
    assert [len(some) for some in found] == [2, 2]
    assert all(isinstance(each.text, str) and each.text for some in found for each in some)
    assert all(each.finish in ("end", "stop", "length") for some in found for each in some)


def tokens(model):
    from_ids, from_text = one(model, [97, 98], temperature=0), one(model, "ab", temperature=0)
    assert from_ids.tokens == from_text.tokens
    assert len(from_ids.tokens) == from_ids.usage.generated > 0
    assert bytes(token for token in from_ids.tokens if token < 256).decode(errors="replace") == from_ids.text


def chat(model):
    assert one(model, TALK).text
    begun = (*TALK, Message(role="assistant", content="It is"))
    assert one(model, begun, temperature=0).text


def score(model):
    greedy = one(model, temperature=0)
    right, wrong = model.score([("ab", "ab"), ("ab", "\x01\x02\x03\x04")])
    assert len(right.logprobs) == 2
    assert all(each < 0 for each in right.logprobs)
    assert not wrong.greedy
    if greedy.text.isascii():
        assert model.score([("ab", greedy.text)])[0].greedy


def logprobs(model):
    found = one(model, temperature=0, logprobs=3)
    assert len(found.logprobs) == len(found.likeliest) > 0
    for taken, likeliest in zip(found.logprobs, found.likeliest, strict=True):
        assert taken <= 0
        assert len(likeliest) == 3
        assert max(likeliest.values()) == pytest.approx(taken, abs=1e-5)


def seed(model):
    first, again, other = (one(model, seed=number, max_tokens=30) for number in (1, 1, 2))
    assert first.text == again.text
    if not isinstance(model, Scripted):
        assert other.text != first.text


def fork(model):
    prefix = model.prefix("the quick")
    left, right = prefix.fork(2)
    sampling = Sampling(max_tokens=8, seed=3)
    longer = model.sample([left.extend(" fox"), right.extend(" hen")], sampling)
    whole = model.sample(["the quick fox", "the quick hen"], sampling)
    assert [some[0].text for some in longer] == [some[0].text for some in whole]
    prefix.close()


def choices(model):
    found = model.sample(["ab"], Sampling(choices=("yes", "no"), seed=1, max_tokens=9), n=20)[0]
    assert {each.text for each in found} <= {"yes", "no"}
    assert {each.finish for each in found} == {"end"}


def thinking(model):
    found = one(model, max_tokens=40, thinking=Thinking(most=10, end="<end>"), seed=1)
    assert "<end>" in found.text


def top_k(model):
    assert one(model, top_k=1).text == one(model, temperature=0).text


def min_p(model):
    assert one(model, min_p=1.0).text == one(model, temperature=0).text


def min_tokens(model):
    assert all(one(model, seed=i, min_tokens=12).usage.generated == 12 for i in range(5))


def keep_stop(model):
    whole = one(model, seed=2).text
    stop = whole[1:2]
    kept, cut = (one(model, seed=2, stop=(stop,), keep_stop=keep) for keep in (True, False))
    place = whole.index(stop)
    assert (cut.text, kept.text) == (whole[:place], whole[: place + 1])
    assert cut.finish == kept.finish == "stop"
    assert cut.stopped_by == kept.stopped_by == stop


CHECKS = {
    "text": text,
    "tokens": tokens,
    "chat": chat,
    "score": score,
    "logprobs": logprobs,
    "seed": seed,
    "fork": fork,
    "choices": choices,
    "thinking": thinking,
    "top_k": top_k,
    "min_p": min_p,
    "min_tokens": min_tokens,
    "keep_stop": keep_stop,
}


@pytest.mark.parametrize("capability", get_args(Capability))
def test_a_capability_is_there_or_refused_with_a_hint(model, capability):
    assert isinstance(model, LanguageModel)
    if capability in model.capabilities:
        CHECKS[capability](model)
        return
    with pytest.raises(Unsupported) as refused:
        CHECKS[capability](model)
    assert refused.value.capability == capability
    assert model.name in str(refused.value)
    assert HINTS[capability] in str(refused.value)


def test_every_capability_is_had_by_one_and_lacked_by_another(models):
    for capability in get_args(Capability):
        having = {name for name, model in models.items() if capability in model.capabilities}
        assert "engine" in having
        assert having != set(models) or capability in ("text", "chat", "seed")


def test_an_endpoint_is_the_engine_behind_it(models, folder):
    """The same ten lines, the same samples and scores: on the folder and through the server."""
    engine, endpoint = models["engine"], models["endpoint"]
    sampling = Sampling(max_tokens=20, seed=5, temperature=0.9, top_p=0.9, logprobs=2, stop=("e", "a"))
    prompts = ["ab", "the quick", [98, 99], TALK]
    for ours, theirs in zip(engine.sample(prompts, sampling, 3), endpoint.sample(prompts, sampling, 3), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            for name in ("text", "tokens", "finish", "stopped_by"):
                assert getattr(mine, name) == getattr(other, name)
            assert other.logprobs == pytest.approx(mine.logprobs, abs=1e-5)
        assert sum(each.usage.prompt for each in theirs) == ours[0].usage.prompt
    pairs = [("the quick", " brown fox"), ("é", "漢字"), ("a", "b" * 100)]
    for ours, theirs in zip(engine.score(pairs), endpoint.score(pairs), strict=True):
        assert theirs.logprobs == pytest.approx(ours.logprobs, abs=1e-5)
        assert theirs.greedy == ours.greedy


PAGE = (Path(__file__).parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")


def test_the_table_of_the_documentation_is_true(models, folder):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
    said = {row[0].strip("`"): row[2:] for row in rows}
    assert tuple(said) == get_args(Capability)
    for place, name in enumerate(("engine", "endpoint", "plain endpoint", "script")):
        assert {one for one, cells in said.items() if cells[place]} == models[name].capabilities
    (folder / "chat_template.jinja").rename(folder / "elsewhere")
    try:
        assert models["engine"].capabilities - load(folder).capabilities == {"chat"}
    finally:
        (folder / "elsewhere").rename(folder / "chat_template.jinja")


def _block(page: str) -> str:
    """The Python on a page, from where it first asks a model for something."""
    return next(one.split("```")[0] for one in page.split("```python\n")[1:] if "model.sample(" in one)


def test_the_lines_about_endpoints_replay_what_was_answered(models, tmp_path, monkeypatch, capsys):
    script = tmp_path / "replay.py"
    script.write_text(_block((Path(__file__).parents[2] / "docs" / "own-things.md").read_text(encoding="utf-8")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["replay.py", models["plain endpoint"].url, "tiny"])
    told = []
    for _ in range(2):
        budget = runpy.run_path(str(script))["model"]
        budget.model.model.close()
        told.append(capsys.readouterr().out)
        assert budget.spent.generated > 0
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 2
    assert list((tmp_path / "answers").rglob("*.json"))


def test_the_lines_of_the_documentation_run_on_every_kind_of_model(models, folder, tmp_path, monkeypatch, capsys):
    """A folder of ours, one that transformers wrote, and our server; the first and the last say the same."""
    script = tmp_path / "ten.py"
    script.write_text(_block(PAGE))
    theirs = tmp_path / "qwen3"
    config = transformers.Qwen3Config(
        vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(theirs)
    tokenizers.save(tokenizers.byte_tokenizer(), theirs)
    told = {}
    for name, arguments in {
        "folder": [str(folder)],
        "theirs": [str(theirs), "dtype=bfloat16"],
        "endpoint": [models["plain endpoint"].url, "model=tiny"],
    }.items():
        monkeypatch.setattr("sys.argv", ["ten.py", *arguments])
        model = runpy.run_path(str(script))["model"]
        if name == "endpoint":
            model.close()
        told[name] = capsys.readouterr().out.splitlines()
    assert [len(lines) for lines in told.values()] == [3, 3, 2]
    assert told["folder"][:2] == told["endpoint"]
