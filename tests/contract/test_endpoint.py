"""An endpoint behind the interface: what is sent, what is read, and a server that fails in every way there is."""

import http.server
import json
import threading
import time

import pytest

from maquette.core.errors import UserError
from maquette.language import load
from maquette.language.endpoint import OURS, USUAL, Endpoint
from maquette.language.interface import LanguageModel, Message, Sampling, Unsupported
from maquette.language.wrappers import Retry, Unavailable

QUICK = Retry(times=4, first=0.001, longest=0.05)


class Faulty:
    """A server on loopback that answers requests by a list of faults, then well."""

    def __init__(self):
        self.faults, self.bodies, self.headers, self.times = [], [], [], []
        self.answer = lambda body: {
            "choices": [
                {"index": i, "text": f"{body.get('prompt')}!{i}", "finish_reason": "stop"}
                for i in range(body.get("n", 1))
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}},
        }
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.times.append(time.monotonic())
                outer.bodies.append((self.path, body))
                outer.headers.append(dict(self.headers))
                fault = outer.faults.pop(0) if outer.faults else None
                if callable(fault):
                    fault(self)
                    return
                if isinstance(fault, int):
                    self.say(fault, {"error": {"message": f"fault {fault}"}}, {"Retry-After": "0.01"})
                    return
                self.say(200, outer.answer(body) if fault is None else fault)

            def say(self, code, value, more=()):
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                for name, text in dict(more).items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def endpoint(self, **options):
        return Endpoint(self.url, "tiny", **{"retry": QUICK, "timeout": 1.0, "capabilities": OURS, **options})


@pytest.fixture
def faulty():
    server = Faulty()
    yield server
    server.server.shutdown()
    server.server.server_close()


def slow(handler):
    time.sleep(0.6)


def truncated(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"te')


def trickling(handler):
    """Never silent for as long as the time it has, and never at an end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def dropped(handler):
    handler.connection.close()


FAULTS = {
    "429": 429,
    "500": 500,
    "503": 503,
    "slow": slow,
    "trickling": trickling,
    "truncated": truncated,
    "dropped": dropped,
    "no JSON": b"<html>",
    "a list": [],
    "no choices": {"choices": []},
    "choices of nothing": {"choices": [{"index": 0}]},
    "too few": {"choices": [{"text": "a"}]},
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_tried_again_and_at_last_told(faulty, name):
    model = faulty.endpoint(timeout=0.3)
    faulty.faults = [FAULTS[name]] * 2
    assert [one.text for one in model.sample(["a"], Sampling(), n=2)[0]] == ["a!0", "a!1"]
    assert len(faulty.bodies) == 3
    faulty.faults = [FAULTS[name]] * 4
    with pytest.raises(Unavailable) as caught:
        model.sample(["a"], Sampling(), n=2)
    assert "\n" not in str(caught.value)
    assert len(faulty.bodies) == 7


def test_a_refusal_is_not_tried_again(faulty):
    faulty.faults = [400]
    with pytest.raises(UserError, match="refuses the request, 400: fault 400"):
        faulty.endpoint().sample(["a"], Sampling())
    assert len(faulty.bodies) == 1


def test_what_is_sent_is_what_was_asked(faulty):
    model = faulty.endpoint()
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, seed=4, stop=("x",), min_tokens=2)
    found = model.sample(["a", [1, 2]], sampling, n=2)
    (path, body), (_, other) = sorted(faulty.bodies, key=lambda one: str(one[1]["prompt"]), reverse=True)
    assert path == "/v1/completions"
    assert body == {
        "model": "tiny",
        "prompt": "a",
        "n": 2,
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "min_p": 0.1,
        "min_tokens": 2,
        "seed": 4,
        "stop": ["x"],
        "return_token_ids": True,
    }
    assert other["prompt"] == [1, 2]
    assert [one.usage.prompt for one in found[0]] == [5, 0]
    assert sum(one.usage.generated for one in found[0]) == 4
    assert found[0][0].usage.cached == 2
    faulty.endpoint(capabilities=USUAL).sample(["a"], Sampling())
    assert set(faulty.bodies[-1][1]) == {"model", "prompt", "n", "max_tokens", "temperature"}


def test_a_conversation_goes_to_chat(faulty):
    faulty.answer = lambda body: {
        "choices": [
            {
                "message": {"role": "assistant", "content": "hi"},
                "finish_reason": "stop",
                "stop_reason": ".",
                "logprobs": {
                    "content": [{"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "hi", "logprob": -0.5}]}]
                },
            }
        ]
    }
    turns = [Message(role="user", content="hello"), Message(role="assistant", content="h")]
    (found,) = faulty.endpoint().sample([turns], Sampling(stop=(".",), keep_stop=True, logprobs=1))[0]
    path, body = faulty.bodies[0]
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "h"}]
    assert (body["continue_final_message"], body["logprobs"], body["top_logprobs"]) == (True, True, 1)
    assert (found.text, found.finish, found.stopped_by) == ("hi.", "stop", ".")
    assert (found.logprobs, found.likeliest) == ((-0.5,), ({"hi": -0.5},))


def test_a_score_is_read_from_the_echo(faulty):
    echo = {
        "text_offset": [0, 2, 3, 6],
        "token_logprobs": [None, -1.0, -2.0, -3.0],
        "top_logprobs": [None, {"b": -1.0}, {" c": -2.0}, {"?": -0.1}],
    }
    faulty.answer = lambda body: {"choices": [{"text": "", "logprobs": echo}]}
    one, two = faulty.endpoint(at_once=1).score([("aab", " cc"), ("aa", "b")])
    assert (one.logprobs, one.greedy, one.total) == ((-2.0,), True, -2.0)
    assert (two.logprobs, two.greedy) == ((-1.0,), True)
    assert faulty.bodies[0][1]["echo"]
    with pytest.raises(UserError, match="reaches across the"):
        faulty.endpoint().score([("a", "ab")])
    with pytest.raises(Unsupported, match="has no score"):
        faulty.endpoint(capabilities=OURS - {"score"}).score([("a", "b")])
    faulty.answer = lambda body: {"choices": [{"text": ""}]}
    with pytest.raises(Unsupported, match="does not echo"):
        faulty.endpoint().score([("a", "b")])


def test_the_key_goes_into_the_header_alone(faulty, monkeypatch):
    monkeypatch.setenv("MY_KEY", "very-secret")
    model = faulty.endpoint(key_variable="MY_KEY")
    model.sample(["a"], Sampling())
    assert faulty.headers[0]["Authorization"] == "Bearer very-secret"
    assert "very-secret" not in json.dumps(faulty.bodies)
    faulty.faults = [401]
    with pytest.raises(UserError) as caught:
        model.sample(["a"], Sampling())
    assert "very-secret" not in str(caught.value) + repr(vars(model)) + model.name


@pytest.mark.parametrize("key", ["se\ncret", "sécret", "secret\x01"], ids=ascii)
def test_a_key_that_no_header_takes_is_refused_and_not_told(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UserError, match="key in MY_KEY") as caught:
        Endpoint("http://127.0.0.1:1/v1", "tiny", key_variable="MY_KEY")
    assert "cret" not in str(caught.value)
    with pytest.raises(UserError, match="password in it") as caught:
        Endpoint("http://me:hidden@127.0.0.1:1/v1", "tiny")
    assert "hidden" not in str(caught.value)


def test_the_key_is_in_no_log_and_goes_nowhere_else(faulty, monkeypatch, caplog):
    """Not where an endpoint sends the client on to another, and not in what httpx logs of itself."""
    monkeypatch.setenv("MY_KEY", "very-secret\n")
    caplog.set_level("DEBUG")
    model = faulty.endpoint(key_variable="MY_KEY")
    model.sample(["a"], Sampling())

    def elsewhere(handler):
        handler.say(302, {}, {"Location": "http://127.0.0.1:1/v1/completions"})

    faulty.faults = [elsewhere]
    with pytest.raises(UserError, match="refuses the request, 302"):
        model.sample(["a"], Sampling())
    assert len(faulty.bodies) == 2
    faulty.faults = [lambda handler: handler.say(401, {"error": {"message": "wrong key: very-secret"}})]
    with pytest.raises(UserError, match="wrong key: …"):
        model.sample(["a"], Sampling())
    assert "very-secret" not in caplog.text


def test_requests_keep_their_pace_and_run_beside_one_another(faulty):
    faulty.faults = [slow, slow, slow, slow]
    model = faulty.endpoint(timeout=5.0, at_once=4, retry=Retry(times=1))
    began = time.monotonic()
    with pytest.raises(Unavailable):  # the slow ones end without an answer
        model.sample(list("abcd"), Sampling())
    assert time.monotonic() - began < 1.8  # four times 0.6 s, one after another, are 2.4
    faulty.times.clear()
    began = time.monotonic()
    faulty.endpoint(per_minute=60 / 0.1).sample(list("abcd"), Sampling())
    assert all(each - began >= 0.1 * i for i, each in enumerate(sorted(faulty.times)))


@pytest.mark.parametrize("options", [{"at_once": 0}, {"per_minute": -1.0}, {"timeout": 0.0}], ids=str)
def test_numbers_that_cannot_be_are_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        Endpoint("http://127.0.0.1:1/v1", "tiny", **options)


def test_an_endpoint_is_loaded_by_its_url():
    model = load("http://127.0.0.1:1/v1", model="tiny", retry=Retry(times=1))
    assert isinstance(model, LanguageModel)
    with pytest.raises(Unavailable, match="cannot be reached"):
        model.sample(["a"], Sampling())
    for url in ("ftp://host", "http://", "http://host:port"):
        with pytest.raises(UserError, match=r"begins with http|is no URL|no host"):
            Endpoint(url, "tiny")
