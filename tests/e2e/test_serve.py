"""`maquette serve` as other people's clients meet it: a real server on the loopback, openai's package, bad requests."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
import schemathesis
import torch
import uvicorn
from hypothesis import HealthCheck, given, settings
from tokenizers import Tokenizer, decoders, models

from maquette.core.errors import UserError
from maquette.language import checkpoints, load, tokenizers
from maquette.language.chat import PLAIN
from maquette.language.interface import Message, Sampling
from maquette.language.llama import Llama, LlamaConfig
from maquette.serve.app import create_app
from maquette.serve.gate import Limits, is_loopback
from maquette.serve.server import listen, url_of
from maquette.serve.spelling import Places, Spelling

torch.set_num_threads(1)

TINY = LlamaConfig(vocabulary=257, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=2048, rope_theta=1000.0)
MAQUETTE = Path(sys.executable).with_name("maquette")
LONG = {"max_tokens": 2000, "extra_body": {"min_tokens": 2000}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model's checkpoint folder, with a chat template."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    model, generator = Llama(TINY), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3, generator=generator)
    checkpoints.save(model, directory)
    tokenizers.save(tokenizers.byte_tokenizer(), directory)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": PLAIN}))
    return directory


@pytest.fixture(scope="module")
def engine(folder):
    """What the server's answers are compared with: the same model, apart from the server."""
    return load(folder)


@contextlib.contextmanager
def serving(engine, **options):
    """A server in a thread; its URL."""
    with listen("127.0.0.1", 0, token=None) as listening:
        config = uvicorn.Config(create_app(engine, **options), lifespan="on", log_config=None, log_level="warning")
        server = uvicorn.Server(config)
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
def served(folder):
    """The server's own engine, of 8 rows."""
    return load(folder, rows=8)


@pytest.fixture(scope="module")
def url(served):
    with serving(served) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=30) as client:
        yield client


def alone(engine, prompt, n=1, **sampling):
    return engine.sample([prompt], Sampling(**{"max_tokens": 16, **sampling}), n)[0]


def post(url, path, body, **options):
    return httpx.post(f"{url}/{path}", json=body, timeout=30, **options)


def complaint(answer):
    """The error of an answer, after a look at its shape."""
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) < 300
    return error


def free(engine, within=5.0):
    """Whether all of an engine's rows become free in time."""
    end = time.monotonic() + within
    while engine.scheduler.busy and time.monotonic() < end:
        time.sleep(0.01)
    return not engine.scheduler.busy


@pytest.mark.against("openai")
def test_it_tells_its_model_and_that_it_is_well(client, url):
    (card,) = client.models.list().data
    assert (card.id, card.max_model_len) == ("tiny", 2048)
    assert client.models.retrieve("tiny") == card
    assert httpx.get(url.replace("/v1", "/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize("prompt", ["the quick brown", "é and 漢字", list(b"the quick")], ids=str)
@pytest.mark.against("openai")
def test_a_completion_is_that_of_the_engine(client, engine, prompt):
    asked = {"seed": 5, "temperature": 0.8, "top_p": 0.9, "max_tokens": 40}
    found = client.completions.create(model="tiny", prompt=prompt, extra_body={"top_k": 50, "min_p": 0.01}, **asked)
    (expected,) = alone(engine, prompt, top_k=50, min_p=0.01, **asked)
    assert found.choices[0].text == expected.text
    assert found.choices[0].finish_reason == ("stop" if expected.finish == "end" else "length")
    size = len(prompt if isinstance(prompt, list) else prompt.encode())
    assert found.usage.prompt_tokens == size
    assert found.usage.completion_tokens == len(expected.tokens)
    assert found.usage.total_tokens == size + len(expected.tokens)
    assert found.usage.prompt_tokens_details.cached_tokens == 0


@pytest.mark.parametrize("prompts", [["ab", "the quick", "ab"], [[97, 98], list(b"the quick")]], ids=["text", "ids"])
@pytest.mark.against("openai")
def test_several_prompts_and_samples_come_in_order(client, engine, prompts):
    found = client.completions.create(model="tiny", prompt=prompts, n=3, seed=1)
    expected = [one for prompt in prompts for one in alone(engine, prompt, 3, seed=1)]
    assert [one.text for one in found.choices] == [one.text for one in expected]
    assert [one.index for one in found.choices] == list(range(3 * len(prompts)))
    assert len({one.text for one in found.choices[:3]}) == 3
    assert found.usage.prompt_tokens == sum(map(len, prompts))


@pytest.mark.against("openai")
def test_without_a_seed_answers_differ(client):
    one, two = (client.completions.create(model="tiny", prompt="ab").choices[0].text for _ in range(2))
    assert one != two


TALK = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Where is the ball?"}]


def as_messages(talk):
    return [Message(**one) for one in talk]


@pytest.mark.against("openai")
def test_a_chat_is_that_of_the_engine(client, engine):
    found = client.chat.completions.create(model="tiny", messages=TALK, n=2, seed=3, max_completion_tokens=20)
    expected = alone(engine, as_messages(TALK), 2, seed=3, max_tokens=20)
    assert [one.message.content for one in found.choices] == [one.text for one in expected]
    assert {one.message.role for one in found.choices} == {"assistant"}
    parts = [TALK[0] | {"role": "developer"}, TALK[1] | {"content": [{"type": "text", "text": TALK[1]["content"]}]}]
    again = client.chat.completions.create(model="tiny", messages=parts, n=2, seed=3, max_tokens=20)
    assert [one.message for one in again.choices] == [one.message for one in found.choices]


@pytest.mark.against("openai")
def test_the_assistants_own_message_is_gone_on_from_when_asked(client, engine):
    talk = [*TALK, {"role": "assistant", "content": "It is in"}]
    asked = {"model": "tiny", "messages": talk, "seed": 3, "max_tokens": 20}
    for more in ({}, {"add_generation_prompt": False}):
        found = client.chat.completions.create(**asked, extra_body={"continue_final_message": True, **more})
        assert found.choices[0].message.content == alone(engine, as_messages(talk), seed=3, max_tokens=20)[0].text
    with pytest.raises(openai.BadRequestError, match="give continue_final_message = true"):
        client.chat.completions.create(**asked)


@pytest.mark.against("openai")
def test_a_chat_without_a_limit_ends_at_the_context(client):
    talk = [{"role": "user", "content": "x" * 1900}]
    found = client.chat.completions.create(model="tiny", messages=talk, extra_body={"min_tokens": 126})
    assert found.usage.total_tokens == 2048
    assert found.choices[0].finish_reason == "length"


@pytest.mark.against("openai")
def test_streamed_completions_are_the_same(client):
    asked = {"model": "tiny", "prompt": ["é", "the quick"], "n": 2, "seed": 1, "max_tokens": 60, "logprobs": 2}
    whole = client.completions.create(**asked, echo=True)
    usage, texts, tokens, ended, places = None, [""] * 4, [[] for _ in range(4)], {}, [[] for _ in range(4)]
    chunks = list(client.completions.create(**asked, echo=True, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks:
        usage = chunk.usage or usage
        for one in chunk.choices:
            texts[one.index] += one.text
            tokens[one.index] += one.logprobs.tokens
            places[one.index] += one.logprobs.text_offset
            ended |= {one.index: one.finish_reason} if one.finish_reason else {}
    assert texts == [one.text for one in whole.choices]
    assert tokens == [one.logprobs.tokens for one in whole.choices]
    assert places == [one.logprobs.text_offset for one in whole.choices]
    assert ended == {one.index: one.finish_reason for one in whole.choices}
    assert (usage, chunks[-1].choices) == (whole.usage, [])
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 40


@pytest.mark.against("openai")
def test_a_streamed_chat_is_the_same(client):
    asked = {
        "model": "tiny",
        "messages": TALK,
        "n": 2,
        "seed": 4,
        "max_tokens": 50,
        "logprobs": True,
        "top_logprobs": 2,
    }
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert [(chunk.choices[0].index, chunk.choices[0].delta.role) for chunk in chunks[:2]] == [
        (0, "assistant"),
        (1, "assistant"),
    ]
    for choice in whole.choices:
        mine = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert "".join(one.delta.content or "" for one in mine) == choice.message.content
        logprobs = [token for one in mine if one.logprobs for token in one.logprobs.content]
        assert logprobs == choice.logprobs.content
        assert [one.finish_reason for one in mine if one.finish_reason] == [choice.finish_reason]
    assert all(chunk.usage is None for chunk in chunks)


def test_the_stream_ends_as_it_should(url):
    asked = {"model": "tiny", "messages": TALK, "stream": True, "max_tokens": 3, "min_tokens": 3}
    answer = post(url, "chat/completions", asked)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    reasons = [json.loads(event.removeprefix("data: "))["choices"][0]["finish_reason"] for event in events[:-2]]
    assert reasons == [None] * (len(reasons) - 1) + ["length"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_asynchronous_client(url, engine, stream):
    async def both():
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            asked = {"model": "tiny", "seed": 6, "max_tokens": 30, "stream": stream}
            one, two = await asyncio.gather(
                client.completions.create(prompt="the quick", **asked),
                client.chat.completions.create(messages=TALK, **asked),
            )
            if not stream:
                return one.choices[0].text, two.choices[0].message.content
            return (
                "".join([chunk.choices[0].text async for chunk in one]),
                "".join([chunk.choices[0].delta.content or "" async for chunk in two]),
            )

    expected = [alone(engine, prompt, seed=6, max_tokens=30)[0].text for prompt in ("the quick", as_messages(TALK))]
    assert list(asyncio.run(both())) == expected


@pytest.mark.against("openai")
def test_stop_strings_end_texts_streamed_or_not(client, engine):
    (whole,) = alone(engine, "ab", seed=2, max_tokens=60)
    stop = whole.text[20:23]
    asked = {"model": "tiny", "prompt": "ab", "seed": 2, "max_tokens": 60, "stop": ["no such text", stop]}
    found = client.completions.create(**asked).choices[0]
    assert found.text == whole.text[: whole.text.index(stop)]
    assert (found.finish_reason, found.stop_reason) == ("stop", stop)
    assert "".join(chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)) == found.text
    one = client.completions.create(**asked | {"stop": stop}).choices[0]
    assert one.text == found.text


@pytest.mark.against("openai")
def test_what_openai_does_not_have(client, engine):
    found = client.completions.create(
        model="tiny", prompt="ab", n=20, seed=0, extra_body={"guided_choice": ["yes", "no"]}
    )
    assert {one.text for one in found.choices} == {"yes", "no"}
    found = client.completions.create(model="tiny", prompt="ab", seed=1, max_tokens=9, extra_body={"top_k": 1})
    assert found.choices[0].text == alone(engine, "ab", temperature=0, max_tokens=9)[0].text
    found = client.completions.create(model="tiny", prompt="ab", seed=1, max_tokens=9, temperature=1e-38)
    assert found.choices[0].text == alone(engine, "ab", temperature=0, max_tokens=9)[0].text


@pytest.mark.against("openai")
def test_samples_of_one_prompt_share_its_tokens(client, engine):
    talk = [{"role": "user", "content": "ab"}]
    one = client.chat.completions.create(model="tiny", messages=talk, n=4, max_tokens=2, logprobs=True, top_logprobs=3)
    assert one.usage.prompt_tokens == len(engine.tokens(as_messages(talk)))
    assert one.usage.prompt_tokens_details.cached_tokens == 0  # the first sample computed them
    assert one.usage.completion_tokens == sum(len(choice.logprobs.content) for choice in one.choices)


@pytest.mark.parametrize("more", [{}, {"echo": True, "logprobs": 1}], ids=["bare", "echo"])
@pytest.mark.against("openai")
def test_token_ids_are_told_when_asked_for_and_only_the_generated_ones(client, engine, more):
    asked = {"model": "tiny", "prompt": "é", "seed": 1, "max_tokens": 30, **more}
    (expected,) = alone(engine, "é", seed=1, max_tokens=30)
    ids = {"extra_body": {"return_token_ids": True}}
    assert tuple(client.completions.create(**asked, **ids).choices[0].token_ids) == expected.tokens
    chunks = list(client.completions.create(**asked, **ids, stream=True))
    assert tuple(token for chunk in chunks for token in chunk.choices[0].token_ids) == expected.tokens
    assert client.completions.create(**asked).choices[0].token_ids is None
    talk = client.chat.completions.create(model="tiny", messages=TALK, seed=1, max_tokens=30, **ids)
    assert tuple(talk.choices[0].token_ids) == alone(engine, as_messages(TALK), seed=1, max_tokens=30)[0].tokens


@pytest.mark.against("openai")
def test_logprobs_of_a_chat(client, engine):
    asked = {"seed": 7, "max_tokens": 12}
    found = client.chat.completions.create(model="tiny", messages=TALK, logprobs=True, top_logprobs=3, **asked)
    (expected,) = alone(engine, as_messages(TALK), logprobs=3, **asked)
    content = found.choices[0].logprobs.content
    assert [one.logprob for one in content] == pytest.approx(expected.logprobs, abs=1e-5)
    assert b"".join(bytes(one.bytes) for one in content) == bytes(t for t in expected.tokens if t < 256)
    for one, likeliest in zip(content, expected.likeliest, strict=True):
        assert [top.logprob for top in one.top_logprobs] == pytest.approx(list(likeliest.values()), abs=1e-5)
        assert [bytes(top.bytes) for top in one.top_logprobs] == [
            bytes([t]) if t < 256 else b"<|end|>" for t in likeliest
        ]
    bare = client.chat.completions.create(model="tiny", messages=TALK, logprobs=True, **asked)
    assert [one.top_logprobs for one in bare.choices[0].logprobs.content] == [[]] * len(content)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.against("openai")
def test_echo_scores_prompts_as_lm_eval_asks(client, engine, more):
    """The request of lm-evaluation-harness 0.4's `local-completions`, and its reading of the answer."""
    greedy = list(alone(engine, "the quick", temperature=0, max_tokens=6)[0].tokens)
    pairs = [(list(b"the quick"), list(b" brown fox")), (list(b"the quick"), greedy), (list("漢".encode()), [0xE2, 97])]
    found = client.completions.create(
        model="tiny",
        prompt=[[*before, *behind] for before, behind in pairs],
        temperature=0,
        max_tokens=more,
        logprobs=1,
        seed=1234,
        echo=True,
    )
    for choice, (before, _), score in zip(found.choices, pairs, engine.score_tokens(pairs), strict=True):
        end = -1 if more else None
        each, top = choice.logprobs.token_logprobs[len(before) : end], choice.logprobs.top_logprobs[len(before) : end]
        assert each == pytest.approx(score.logprobs, abs=1e-5)
        assert all(one == max(likeliest.values()) for one, likeliest in zip(each, top, strict=True)) == score.greedy
        assert choice.logprobs.token_logprobs[0] is None
        assert choice.logprobs.top_logprobs[0] is None
        assert choice.finish_reason == "length" or more
    lengths = [len(before) + len(behind) + more for before, behind in pairs]
    assert [len(choice.logprobs.tokens) for choice in found.choices] == lengths
    assert found.usage.completion_tokens == more * len(pairs)


@pytest.mark.against("openai")
def test_echo_tells_where_tokens_begin(client, engine):
    (found,) = client.completions.create(model="tiny", prompt="a漢b", echo=True, logprobs=0, max_tokens=0).choices
    assert found.text == "a漢b"
    assert found.logprobs.tokens == ["a", "bytes:\\xe6", "bytes:\\xbc", "bytes:\\xa2", "b"]
    assert found.logprobs.text_offset == [0, 1, 1, 1, 2]
    assert found.logprobs.token_logprobs[1:] == pytest.approx(engine.score([("a", "漢b")])[0].logprobs, abs=1e-5)
    (longer,) = client.completions.create(
        model="tiny", prompt="a漢b", echo=True, logprobs=0, max_tokens=5, seed=1
    ).choices
    assert longer.text == "a漢b" + alone(engine, "a漢b", max_tokens=5, seed=1)[0].text
    assert longer.logprobs.text_offset[:6] == [*found.logprobs.text_offset, 3]
    (single,) = client.completions.create(model="tiny", prompt="a", echo=True, logprobs=2, max_tokens=0).choices
    assert single.logprobs.token_logprobs == [None]


def test_sixteen_clients_get_what_each_would_get_alone(url):
    asked = [
        {"model": "tiny", "prompt": f"client {i} asks", "seed": i, "max_tokens": 20 + 3 * i, "n": 1 + i % 2}
        for i in range(16)
    ]

    async def ask(client, body, stream):
        if not stream:
            return [one.text for one in (await client.completions.create(**body)).choices]
        texts = [""] * body["n"]
        async for chunk in await client.completions.create(**body, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].text
        return texts

    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, timeout=30) as client:
            one_by_one = [await ask(client, body, False) for body in asked]
            return one_by_one, await asyncio.gather(*(ask(client, body, i % 3 == 0) for i, body in enumerate(asked)))

    one_by_one, at_once = asyncio.run(all_at_once())
    assert at_once == one_by_one


@pytest.fixture
def slowly(served, monkeypatch):
    """No request ends of its own accord before a test has looked."""
    step = served.scheduler.step
    monkeypatch.setattr(served.scheduler, "step", lambda: [time.sleep(0.01), step()][1])


def under_way(engine):
    """The requests that have a row, once they have come further than the prompt."""
    end = time.monotonic() + 5
    while not any(one.tokens for one in list(engine.scheduler.running)) and time.monotonic() < end:
        time.sleep(0.001)
    return list(engine.scheduler.running)


@pytest.mark.against("openai")
def test_a_client_that_leaves_its_stream_frees_its_rows(client, served, slowly):
    stream = client.completions.create(model="tiny", prompt=["ab", "cd"], stream=True, n=6, **LONG)
    assert next(stream).choices
    requests = under_way(served)
    assert len(requests) == 8
    stream.close()
    assert free(served)
    assert all(one.finish is None for one in requests)


def test_a_client_that_stops_waiting_frees_its_rows(url, served, slowly):
    asked = {"model": "tiny", "prompt": "ab", "n": 3, "max_tokens": 2000, "min_tokens": 2000}
    request = httpx.Request("POST", f"{url}/completions", json=asked)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", request.url.port)) as connection:
        connection.sendall(f"POST /v1/completions HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        requests = under_way(served)
        assert len(requests) == 3
    assert free(served)
    assert all(one.finish is None for one in requests)


class Broken(RuntimeError):
    """What an engine may fail of."""


@pytest.mark.against("openai")
def test_a_failing_engine_is_told_and_got_over(client, url, served, monkeypatch, caplog):
    def fail():
        raise Broken("secret")

    before = client.completions.create(model="tiny", prompt="ab", seed=1).choices[0].text
    stream = client.completions.create(model="tiny", prompt="ab", stream=True, **LONG)
    next(stream)
    with monkeypatch.context() as patch:
        patch.setattr(served.scheduler, "step", fail)
        with pytest.raises(openai.APIError, match=r"failed on this request \(Broken\)"):
            list(stream)
        asked = {"model": "tiny", "prompt": ["ab", "cd"], "n": 2}
        for path, body in (("completions", asked), ("chat/completions", {"model": "tiny", "messages": TALK})):
            answer = post(url, path, body)
            assert (answer.status_code, complaint(answer)["type"]) == (500, "server_error")
            assert "secret" not in answer.text
        patch.setattr(served, "score_tokens", lambda *pairs, **options: fail())
        assert post(url, "completions", asked | {"echo": True, "logprobs": 1}).status_code == 500
    assert client.completions.create(model="tiny", prompt="ab", seed=1).choices[0].text == before
    assert free(served)
    assert "Traceback" in caplog.text


OK = {"completions": {"model": "tiny", "prompt": "ab"}, "chat/completions": {"model": "tiny", "messages": TALK}}


@pytest.mark.parametrize(
    ("path", "change", "status", "param", "words"),
    [
        ("completions", {"model": "tinny"}, 404, "model", r"no model 'tinny'; did you mean 'tiny'\?"),
        ("completions", {"model": "\ud800"}, 400, "model", "surrogate"),
        ("completions", {"prompt": None}, 400, "prompt", "prompt is missing"),
        ("completions", {"prompt": ""}, 400, None, "0 tokens: give 1"),
        ("completions", {"prompt": []}, 400, "prompt", r"prompt = \[\]"),
        ("completions", {"prompt": [True]}, 400, "prompt", "integer"),
        ("completions", {"prompt": ["a", 1]}, 400, "prompt", "valid"),
        ("completions", {"prompt": [999]}, 400, None, "Token 999 is not one"),
        ("completions", {"prompt": [10**400]}, 400, "prompt", "less than"),
        ("completions", {"prompt": "\udfff"}, 400, "prompt", "surrogate"),
        ("completions", {"prompt": "x" * 3000}, 400, None, "3000 tokens: give 1 to 2048"),
        ("completions", {"max_tokens": 2047}, 400, None, "make 2049, but tiny holds 2048"),
        ("completions", {"max_tokens": 10**30}, 400, None, "but tiny holds 2048"),
        ("completions", {"max_tokens": -1}, 400, "max_tokens", "greater than or equal to 0"),
        ("completions", {"max_tokens": 2.5}, 400, "max_tokens", "integer"),
        ("completions", {"temperature": -0.1}, 400, "temperature", "greater than or equal to 0"),
        ("completions", {"temperature": "hot"}, 400, "temperature", "temperature = 'hot'"),
        ("completions", {"top_p": 0}, 400, "top_p", "greater than 0"),
        ("completions", {"n": 0}, 400, "n", "n = 0"),
        ("completions", {"n": 128, "prompt": ["a"] * 17}, 400, "n", "2176 choices; ask for 2048"),
        ("completions", {"logprobs": 21}, 400, "logprobs", "less than or equal to 20"),
        ("completions", {"seed": 2**63}, 400, "seed", "less than"),
        ("completions", {"stop": [""]}, 400, None, "every one must be some text"),
        ("completions", {"stop": ["a"], "guided_choice": ["b"]}, 400, None, "choices go with neither"),
        ("completions", {"stream_options": {"include_usage": True}}, 400, None, "stream_options goes with stream"),
        ("completions", {"frequency_penalty": 0.5}, 400, "frequency_penalty", "no field of this API"),
        ("completions", {"temprature": 0.5}, 400, "temprature", "no field of this API"),
        ("completions", {"\ud800": 1}, 400, None, "no JSON object"),
        ("chat/completions", {"messages": []}, 400, "messages", "at least 1 item"),
        ("chat/completions", {"messages": [{"role": "tool", "content": "a"}]}, 400, "messages", "'system'"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, "messages", "messages.0.content is missing"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages", ""),
        ("chat/completions", {"messages": [{"role": "user", "content": "x" * 2048}]}, 400, None, "tokens"),
        ("chat/completions", {"top_logprobs": 3}, 400, None, "top_logprobs goes with logprobs"),
        ("chat/completions", {"max_tokens": 3, "max_completion_tokens": 4}, 400, None, "differ"),
        ("chat/completions", {"continue_final_message": True}, 400, None, "is not the assistant's"),
        ("chat/completions", {"add_generation_prompt": False}, 400, None, "opposites"),
        ("chat/completions", {"tools": [{"type": "function"}]}, 400, "tools", "no field of this API"),
        ("nowhere", {}, 404, None, "Not Found"),
        ("models", {}, 405, None, "Method Not Allowed"),
    ],
    ids=lambda value: ascii(value)[:50] if isinstance(value, dict) else None,
)
def test_bad_fields_are_one_sentence(url, path, change, status, param, words):
    for stream in (False, True):
        body = {**OK.get(path, {}), **({"stream": True} if stream else {}), **change}
        if stream and "stream_options" in change:
            continue
        content = json.dumps(body).encode()
        answer = httpx.post(f"{url}/{path}", content=content, headers={"Content-Type": "application/json"}, timeout=30)
        error = complaint(answer)
        assert (answer.status_code, error["param"]) == (status, param)
        assert re.search(words, error["message"])
        assert error["type"] == "invalid_request_error"
        assert error["code"] == ("model_not_found" if status == 404 and param else None)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "application/json", "no JSON object"),
        (b"{", "application/json", "The body is no JSON"),
        (b"[]", "application/json", "no JSON object|valid dictionary"),
        (b"null", "application/json", "no JSON object"),
        (b"\xff\xfe", "application/json", "The body is no JSON|parsing the body"),
        (b"[" * 100_000, "application/json", "The body is no JSON|parsing the body"),
        (b'{"model": "tiny", "prompt": "ab"}', "text/plain", "no JSON object of Content-Type application/json"),
        (b'{"model": "tiny", "prompt": "ab", "temperature": NaN}', "application/json", "finite"),
        (b'{"model": "tiny", "prompt": "ab", "seed": ' + b"9" * 5000 + b"}", "application/json", "parsing the body"),
    ],
    ids=ascii,
)
def test_bodies_that_are_no_requests(url, content, kind, words):
    answer = httpx.post(f"{url}/completions", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert re.search(words, complaint(answer)["message"])


@pytest.mark.against("openai")
def test_fields_that_do_nothing_are_taken(client, engine):
    asked = {
        "model": "tiny",
        "prompt": "ab",
        "seed": 1,
        "best_of": 1,
        "frequency_penalty": 0,
        "user": "me",
        "stop": None,
    }
    found = client.completions.create(**asked, presence_penalty=0.0, logit_bias={}, n=None)
    assert found.choices[0].text == alone(engine, "ab", seed=1)[0].text


@pytest.fixture(scope="module")
def strict(folder):
    """A server with a token and narrow limits, and its engine of one row."""
    engine = load(folder, rows=1)
    limits = Limits(body=3000, seconds=2.0, waiting=2, choices=8)
    with serving(engine, token="s3cret", limits=limits) as url:
        yield url, engine


def with_token(token):
    return {"headers": {"Authorization": f"Bearer {token}"}}


def test_the_token_is_asked_for(strict, caplog):
    url, _ = strict
    for options in ({}, with_token("wrong"), with_token("ä"), {"headers": {"Authorization": "s3cret"}}):
        options = {key: {k: v.encode("latin-1") for k, v in value.items()} for key, value in options.items()}
        for answer in (post(url, "completions", OK["completions"], **options), httpx.get(f"{url}/models", **options)):
            assert (answer.status_code, complaint(answer)["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert post(url, "completions", OK["completions"], **with_token("s3cret")).status_code == 200
    assert httpx.get(url.replace("/v1", "/healthz")).status_code == 200
    assert "s3cret" not in caplog.text
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_without_a_token_only_names_of_this_machine_are_answered(url):
    """Or a page that points its own name at the loopback could read the answers."""
    for host, status in (
        ("rebound.example:80", 403),
        ("", 403),
        ("LOCALHOST:1", 200),
        ("[::1]", 200),
        ("127.0.0.2", 200),
    ):
        answer = httpx.get(f"{url}/models", headers={"Host": host})
        assert answer.status_code == status
        assert status == 200 or complaint(answer)["code"] == "host"


@pytest.mark.parametrize("size", [3001, 2_000_000])
def test_bodies_that_are_too_large(strict, size):
    url, _ = strict
    body = json.dumps(OK["completions"] | {"prompt": "x" * size}).encode()
    kind = {"Content-Type": "application/json"} | with_token("s3cret")["headers"]
    for content in (body, iter([body[:10], body[10:]])):  # with and without a Content-Length
        answer = httpx.post(f"{url}/completions", content=content, headers=kind)
        assert (answer.status_code, complaint(answer)["type"]) == (413, "invalid_request_error")


def test_what_takes_too_long_is_ended_and_what_waits_too_long_refused(strict):
    url, engine = strict
    asked = {"model": "tiny", "prompt": "ab", "max_tokens": 2000, "min_tokens": 2000}

    async def at_once():
        options = {"base_url": url, "timeout": 30, **with_token("s3cret")}
        async with httpx.AsyncClient(**options) as client:
            early = []
            for i in range(3):
                early.append(asyncio.create_task(client.post("completions", json=asked | {"stream": i == 0})))
                await asyncio.sleep(0.2)  # the stream is the first to be answered, not the one that waits
            return await client.post("completions", json=asked), await asyncio.gather(*early)

    slow = engine.scheduler.step
    engine.scheduler.step = lambda: [time.sleep(0.004), slow()][1]  # 2,000 tokens take longer than there is time
    try:
        refused, (stream, *others) = asyncio.run(at_once())
    finally:
        engine.scheduler.step = slow
    assert (refused.status_code, complaint(refused)["type"]) == (429, "rate_limit_error")
    assert refused.headers["retry-after"] == "1"
    assert stream.status_code == 200
    events = stream.text.split("\n\n")
    assert len(events) > 3
    assert "longer than 2 s" in json.loads(events[-2].removeprefix("data: "))["error"]["message"]
    for answer in others:
        assert (answer.status_code, complaint(answer)["code"]) == (408, "timeout")
    assert free(engine)


@pytest.mark.against("schemathesis")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis", "ignore::DeprecationWarning:jsonschema_rs")
def test_no_request_of_the_schema_breaks_the_server(folder):
    with serving(load(folder, context=64)) as url:
        try_schema(url)


def try_schema(url):
    schema = schemathesis.openapi.from_url(url.replace("/v1", "/openapi.json"))
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()
        tried.append(operation.label)
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            if mode is schemathesis.GenerationMode.NEGATIVE and operation.method == "get":
                continue

            @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                answer = case.call(timeout=20)
                assert answer.status_code < 500
                case.validate_response(
                    answer,
                    checks=[
                        schemathesis.checks.not_a_server_error,
                        schemathesis.specs.openapi.checks.status_code_conformance,
                        schemathesis.specs.openapi.checks.response_schema_conformance,
                    ],
                )

            check()
    assert set(tried) == {
        "GET /healthz",
        "GET /v1/models",
        "GET /v1/models/{name}",
        "POST /v1/completions",
        "POST /v1/chat/completions",
    }


def test_sigterm_lets_running_requests_finish(folder, engine):
    process = subprocess.Popen(
        [MAQUETTE, "serve", folder, "--port", "0", "--rows", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MAQUETTE_TOKEN": "s3cret"},
    )
    try:
        said = process.stdout.readline()
        url = re.fullmatch(r"Serving tiny at (http://127\.0\.0\.1:\d+/v1)\n", said)[1]
        with openai.OpenAI(base_url=url, api_key="s3cret", max_retries=0) as client:
            asked = {"model": "tiny", "prompt": "ab", "seed": 1}
            stream = client.completions.create(**asked, stream=True, max_tokens=1000, extra_body={"min_tokens": 1000})
            text = next(stream).choices[0].text
            process.send_signal(signal.SIGTERM)
            while httpx.get(url.replace("/v1", "/healthz")).status_code == 200:
                time.sleep(0.005)
            with pytest.raises(openai.InternalServerError) as refused:
                client.completions.create(**asked)
            assert (refused.value.status_code, refused.value.code) == (503, "draining")
            assert httpx.get(url.replace("/v1", "/healthz")).json() == {"status": "draining"}
            text += "".join(chunk.choices[0].text for chunk in stream)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        rest = process.communicate()
    assert text == alone(engine, "ab", seed=1, max_tokens=1000, min_tokens=1000)[0].text
    assert "tiny: 4 rows of 2048 tokens, a cache of 2 MiB" in rest[1]
    assert "s3cret" not in said + "".join(rest)


def test_others_are_let_in_with_a_token_alone(monkeypatch):
    for host in ("0.0.0.0", "", "::", "192.168.0.1", "example.org"):
        assert not is_loopback(host)
        with pytest.raises(UserError, match="lets others in; set the environment variable MAQUETTE_TOKEN"):
            listen(host, 0, token=None)
    with (
        listen("127.0.0.1", 0, token=None) as one,
        pytest.raises(UserError, match=r"in use.*; give another host or port"),
    ):
        listen("127.0.0.1", one.getsockname()[1], token=None)
    with pytest.raises(UserError, match="port = 70000"):
        listen("127.0.0.1", 70000, token=None)
    assert is_loopback("::1")


def test_tokens_of_sentencepiece_are_spelt_too():
    names = ["<unk>", "▁the", "re", "<0xE2>", "<0x0A>"]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    spelling = Spelling(tokenizer)
    assert [spelling.text_of(i) for i in range(5)] == ["<unk>", " the", "re", "bytes:\\xe2", "\n"]
    assert spelling.bytes_of(3) == b"\xe2"
    assert Places(tokenizer, 10).of([1, 2, 4]) == [10, 14, 16]
