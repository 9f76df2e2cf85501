"""`maquette serve` of a policy as a robot meets it: openpi's protocol over a real websocket, and bad clients."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import msgpack
import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from maquette.cli import commands, models
from maquette.core.errors import UserError
from maquette.core.seeds import child_seed
from maquette.language.tokenizers import byte_tokenizer
from maquette.robotics.deployment import Card, Deployed, save
from maquette.robotics.normalisation import Normaliser
from maquette.robotics.policies.making import Shape, make
from maquette.serve.policy import Bounds, Manner, PolicyServer
from maquette.serve.server import listen, url_of
from maquette.serve.wire import pack, unpack

torch.set_num_threads(1)
MAQUETTE = Path(sys.executable).with_name("maquette")
CAMERAS = ("observation.images.left", "observation.images.right")
CHUNK = 6


def a_policy(head="flow"):
    shape = Shape(
        trunk="pi0", head=head, size="tiny", pixels=32, cameras=2, state=3, numbers=2, chunk=CHUNK, vocabulary=257
    )
    card = Card(
        shape=shape,
        control_hz=10,
        cameras=CAMERAS,
        state_names=("x", "y", "grip"),
        action_names=("x", "y"),
        action_meaning="velocities",
        robot="gripper",
        state=Normaliser(kind="mean-std", centre=(0.5, 0.5, 0.0), scale=(0.2, 0.2, 1.0)),
        action=Normaliser(kind="mean-std", centre=(1.0, -1.0), scale=(0.5, 2.0)),
        prompt=8,
    )
    return Deployed(make(shape, torch.Generator().manual_seed(0)), byte_tokenizer(), card)


@pytest.fixture(scope="module")
def deployed():
    return a_policy()


@contextlib.contextmanager
def serving(deployed, **options):
    """A server in a thread: its URL, and what drains it."""
    server, started = PolicyServer(deployed, name="tiny", **options), threading.Event()
    with listen("127.0.0.1", 0, token=None) as listening:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=lambda: loop.run_until_complete(server.run(listening, started.set)))
        thread.start()
        started.wait(10)
        try:
            yield url_of(listening, "ws", ""), lambda: loop.call_soon_threadsafe(server.drain)
        finally:
            loop.call_soon_threadsafe(server.drain)
            thread.join(20)
            assert not thread.is_alive()
            loop.close()


@pytest.fixture(scope="module")
def url(deployed):
    with serving(deployed) as (url, _):
        yield url


def an_observation(seed=0, **changes):
    generator = np.random.default_rng(seed)
    pictures = {name: generator.integers(0, 256, (32, 32, 3), np.uint8) for name in CAMERAS}
    return pictures | {"observation.state": generator.random(3), "prompt": "push the cup"} | changes


def connect_when_free(url):
    """A connection, after the one that was ended has left its place."""
    for _ in range(100):
        with contextlib.suppress(InvalidStatus):
            return connect(url)
        time.sleep(0.05)
    raise AssertionError("no place became free in 5 s")


def ask(socket, observation):
    socket.send(pack(observation))
    return socket.recv(timeout=30)


def complaint(socket, message):
    """What the server says before it ends the connection, and the code of that."""
    socket.send(message)
    said = socket.recv(timeout=30)
    assert isinstance(said, str)
    assert len(said) < 300
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=30)
    return said, closed.value.rcvd.code


def alone(deployed, observation, turn=0):
    """What the policy says to the first of a session's observations, without the server."""
    images = {name: observation[name][None] for name in CAMERAS}
    state, said = observation["observation.state"][None], [observation["prompt"]]
    return deployed.act(images, state, said, seed=child_seed(0, turn))[0]


def test_metadata_come_first_and_then_a_chunk_for_every_observation(url, deployed):
    with connect(url) as socket:
        told = unpack(socket.recv())
        assert (told["policy"], told["robot"], told["control_hz"], told["chunk"]) == ("tiny", "gripper", 10, CHUNK)
        assert tuple(told["cameras"]) == CAMERAS
        assert told["actions"] == {"numbers": 2, "names": ["x", "y"], "meaning": "velocities"}
        for turn in range(2):
            seen = an_observation(turn)
            answer = unpack(ask(socket, seen))
            np.testing.assert_allclose(answer["actions"], alone(deployed, seen, turn), rtol=1e-4, atol=1e-5)
            assert answer["actions"].dtype == np.float32
            assert answer["server_timing"]["infer_ms"] > 0
            assert ("prev_total_ms" in answer["server_timing"]) == (turn == 1)


def test_names_with_slashes_and_pictures_with_colours_first_are_the_same(url, deployed):
    seen = an_observation()
    other = {name.replace(".", "/"): value for name, value in seen.items()} | {"unknown": 1}
    other |= {name.replace(".", "/"): seen[name].transpose(2, 0, 1) for name in CAMERAS}
    with connect(url) as socket:
        socket.recv()
        found = unpack(ask(socket, other))["actions"]
    np.testing.assert_allclose(found, alone(deployed, seen), rtol=1e-4, atol=1e-5)


def test_robots_do_not_disturb_one_another(url, deployed):
    with connect(url) as one, connect(url) as other:
        one.recv(), other.recv()
        one.send(pack(an_observation(1)))
        other.send(pack(an_observation(2)))
        for socket, seed in ((one, 1), (other, 2)):
            found = unpack(socket.recv(timeout=30))["actions"]
            np.testing.assert_allclose(found, alone(deployed, an_observation(seed)), rtol=1e-4, atol=1e-5)


def test_chunking_is_chosen_by_the_client(url, deployed):
    def chunks(socket, kind, **more):
        found = [unpack(ask(socket, an_observation(reset=True, chunking={"kind": kind})))["actions"]]
        asked = {"kind": kind, "taken": 2, "delay": 2} | more
        return [*found, unpack(ask(socket, an_observation(chunking=asked)))["actions"]]

    with connect(url) as socket:
        socket.recv()
        first, plain = chunks(socket, "plain")
        np.testing.assert_allclose(plain, alone(deployed, an_observation(), 1), rtol=1e-4, atol=1e-5)
        begun, ensemble = chunks(socket, "ensemble")
        np.testing.assert_allclose(begun, first, rtol=1e-4)
        weight = np.exp(-0.01)
        np.testing.assert_allclose(ensemble[:4], (first[2:] + weight * plain[:4]) / (1 + weight), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ensemble[4:], plain[4:], rtol=1e-4)
        _, realtime = chunks(socket, "realtime")
        assert np.abs(realtime[:2] - first[2:4]).mean() < 0.7 * np.abs(plain[:2] - first[2:4]).mean()
        socket.send(pack(an_observation(chunking={"kind": "realtime", "taken": 5, "delay": 5})))
        assert "more than the 6 actions" in socket.recv(timeout=30)


def test_the_server_says_how_silent_clients_are_answered(deployed):
    with serving(deployed, manner=Manner(kind="ensemble", taken=3)) as (url, _), connect(url) as socket:
        assert unpack(socket.recv())["chunking"] == {"kind": "ensemble", "taken": 3, "delay": 0}
        first, second = (unpack(ask(socket, an_observation()))["actions"] for _ in range(2))
        plain = alone(deployed, an_observation(), 1)
        assert np.abs(second[:3] - plain[:3]).max() > 1e-3
        np.testing.assert_allclose(second[3:], plain[3:], rtol=1e-4)
        assert len(first) == CHUNK
    with pytest.raises(UserError, match="realtime guides a flow"):
        PolicyServer(a_policy("l1"), name="tiny", manner=Manner(kind="realtime"))


def bad(**changes):
    return pack(an_observation(**changes))


def without(name):
    return pack({key: value for key, value in an_observation().items() if key != name})


def an_array(dtype, shape, data=b"12345678"):
    return msgpack.packb({"state": {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}})


WRONG = {
    "text": ("hello", "is a message of bytes"),
    "no msgpack": (b"\xc1", "is no msgpack"),
    "more behind it": (b"\x80\x80", "is no msgpack"),
    "no map": (b"\x93\x01\x02\x03", "is a map from names"),
    "a nest": (b"\x91" * 100_000 + b"\x01", "is no msgpack"),
    "no camera": (without(CAMERAS[1]), f"lacks {CAMERAS[1]}; did you mean 'observation.images.left'"),
    "no prompt": (without("prompt"), "lacks prompt"),
    "no text": (bad(prompt=3), "prompt must be text"),
    "endless text": (bad(prompt="a" * 5000), "at most 4096"),
    "a picture of floats": (bad(**{CAMERAS[0]: np.zeros((8, 8, 3))}), r"float64 \(8, 8, 3\); give a picture"),
    "a grey picture": (bad(**{CAMERAS[0]: np.zeros((8, 8), np.uint8)}), r"uint8 \(8, 8\); give"),
    "no picture": (bad(**{CAMERAS[0]: "left.png"}), "is str; give a picture"),
    "another state": (bad(**{"observation.state": np.zeros(4)}), "give 3 numbers a robot"),
    "a list": (bad(**{"observation.state": [1, 2, 3]}), "is list; give an array"),
    "no number": (bad(**{"observation.state": np.array([0, np.nan, 0])}), "is not finite"),
    "unknown chunking": (bad(chunking={"kind": "rtc"}), "chunking = 'rtc' is none"),
    "chunking is a name": (bad(chunking="realtime"), "give a map"),
    "chunking in the past": (bad(chunking={"taken": -1}), "from 0 on"),
    "objects": (an_array("|O", [1]), "Arrays of 'object' have no place"),
    "records": (an_array("i4,i4", [1]), "have no place"),
    "no type": (an_array("f9", [1]), "is none"),
    "too few bytes": (an_array("<f8", [2**40]), "not as many bytes"),
    "a shape below nothing": (an_array("<f8", [-1]), "whole numbers from 0 on"),
    "no bytes": (an_array("<f8", [1], "12345678"), "not as many bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_observation_is_one_sentence_and_ends_the_connection(url, name):
    message, words = WRONG[name]
    with connect(url) as socket:
        socket.recv()
        said, code = complaint(socket, message)
    assert re.search(words, said)
    assert "\n" not in said
    assert code == 1007


def test_the_next_client_is_served_after_a_bad_one(url):
    with connect(url) as socket:
        socket.recv()
        assert unpack(ask(socket, an_observation()))["actions"].shape == (CHUNK, 2)


def test_too_much_is_refused(deployed):
    with serving(deployed, bounds=Bounds(message=2000, connections=1)) as (url, _):
        with connect(url) as socket:
            socket.recv()
            with pytest.raises(InvalidStatus) as refused:
                connect(url)
            assert refused.value.response.status_code == 503
            with pytest.raises(ConnectionClosed) as closed:
                ask(socket, an_observation())
            assert closed.value.rcvd.code == 1009
        with connect_when_free(url) as socket:
            assert socket.recv()
    with pytest.raises(UserError, match="seconds = 0"):
        Bounds(seconds=0)


def test_what_takes_too_long_and_what_fails_is_told(deployed, monkeypatch, caplog):
    def slow(*args, **options):
        time.sleep(0.5)

    def broken(*args, **options):
        raise ValueError("a secret of the house")

    with serving(deployed, bounds=Bounds(seconds=0.1)) as (url, _):
        for think, words, code in ((slow, "took longer than 0.1 s", 1013), (broken, "its log says why", 1011)):
            monkeypatch.setattr(deployed.policy, "act", think)
            with connect(url) as socket:
                socket.recv()
                said, ended = complaint(socket, pack(an_observation()))
            assert words in said
            assert ended == code
            time.sleep(0.5)  # until the slow one is out of the way
    assert "a secret of the house" in caplog.text


def test_a_token_is_asked_for_and_web_pages_are_not_served(deployed):
    with serving(deployed, token="s3cret") as (url, _):
        assert httpx.get(url.replace("ws", "http") + "/healthz").text == "OK\n"
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Api-Key wrong"}, 401),
            ({"Authorization": "Api-Key s3cret", "Origin": "https://example.org"}, 403),
        ):
            with pytest.raises(InvalidStatus) as refused:
                connect(url, additional_headers=headers)
            assert refused.value.response.status_code == status
        with connect(url, additional_headers={"Authorization": "Api-Key s3cret"}) as socket:
            assert socket.recv()


def test_a_chunk_that_is_thought_of_is_sent_before_the_end(deployed, monkeypatch):
    act, thinking = deployed.policy.act, threading.Event()

    def slow(*args):
        thinking.set()
        time.sleep(0.5)
        return act(*args)

    monkeypatch.setattr(deployed.policy, "act", slow)
    with serving(deployed) as (url, drain), connect(url) as busy, connect(url) as idle:
        busy.recv(), idle.recv()
        busy.send(pack(an_observation()))
        thinking.wait(10)
        drain()
        assert unpack(busy.recv(timeout=30))["actions"].shape == (CHUNK, 2)
        for socket in (busy, idle):
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=30)
            assert closed.value.rcvd.code == 1001
        with pytest.raises(ConnectionRefusedError):
            connect(url)


def test_the_command_knows_a_policy_when_it_sees_one(deployed, tmp_path):
    (tmp_path / "policy").mkdir()
    save(deployed, tmp_path / "policy")
    command = [MAQUETTE, "serve", tmp_path / "policy", "--port", "0", "--chunking", "realtime", "--taken", "2"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **options)
    try:
        said = process.stdout.readline()
        url = re.fullmatch(r"Serving policy at (ws://127\.0\.0\.1:\d+)\n", said)[1]
        with connect(url) as socket:
            assert unpack(socket.recv())["chunking"] == {"kind": "realtime", "taken": 2, "delay": 0}
            assert unpack(ask(socket, an_observation()))["actions"].shape == (CHUNK, 2)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        rest = process.communicate()
    assert "chunks of 6 at 10 Hz, realtime" in rest[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("serve policy --rows 3", "are for language models"),
        ("serve policy --chunking rtc", "chunking = 'rtc' is none"),
        ("serve policy --delay -1", "from 0 on"),
        ("serve policy --host 0.0.0.0", "MAQUETTE_TOKEN"),
        ("serve elsewhere --chunking realtime", "--chunking is for policies"),
    ],
)
def test_options_that_do_not_go_together_are_refused(deployed, tmp_path, monkeypatch, line, words):
    (tmp_path / "policy").mkdir()
    save(deployed, tmp_path / "policy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "prepare_process", lambda: "as it is")  # would start pytest anew
    with pytest.raises(UserError, match=words):
        commands.run(line.split())
