"""A policy behind openpi's protocol: over a websocket first what it is, then for every observation a chunk of actions.

Errors are what that protocol has for them: a message of text, and the end of the connection.
"""

import asyncio
import http
import logging
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from maquette.core.errors import UserError, did_you_mean
from maquette.robotics.chunking import Chunking, Seen, Session, checked_chunking
from maquette.robotics.datasets.layout import STATE
from maquette.robotics.deployment import Deployed
from maquette.serve.gate import HEALTH
from maquette.serve.wire import pack, unpack

log = logging.getLogger(__name__)
PROMPT = "prompt"
LONGEST = 4096
"""Characters of an instruction."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What clients can take of the server."""

    message: int = 32 * 2**20
    """Bytes of an observation."""
    seconds: float = 60.0
    """From an observation to its chunk."""
    connections: int = 16

    def __post_init__(self) -> None:
        for name in ("message", "seconds", "connections"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} = {getattr(self, name)}: give more than 0.")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How clients that say nothing of it are answered; an observation's map `chunking` may say otherwise."""

    kind: Chunking = "plain"
    taken: int = 1
    """Actions that were due since the last observation."""
    delay: int = 0
    """Actions that will be carried out before the chunk is at hand."""

    def __post_init__(self) -> None:
        checked_chunking(self.kind)
        if not _counts(self.taken, self.delay):
            raise UserError(f"taken = {self.taken!r:.60} and delay = {self.delay!r:.60} must be numbers from 0 on.")


class PolicyServer:
    """Answers robots, each on a connection of its own, one observation at a time.

    Args:
        deployed: the policy.
        name: what it is called.
        token: asked of clients, as `Authorization: Api-Key TOKEN`.
        manner: of chunking.
        bounds: what clients can take.

    Raises:
        UserError: the policy cannot do that kind of chunking.
    """

    def __init__(
        self,
        deployed: Deployed,
        *,
        name: str,
        token: str | None = None,
        manner: Manner | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.deployed, self.manner, self.bounds = deployed, manner or Manner(), bounds or Bounds()
        Session(deployed, self.manner.kind)
        self.metadata = _told(deployed, name, self.manner)
        self._token = token.encode() if token else None
        self._thread = ThreadPoolExecutor(1, "policy")
        self._draining = asyncio.Event()
        self._connections: set[ServerConnection] = set()

    async def run(self, listening: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until `drain`."""
        options: dict[str, Any] = {"compression": None, "max_size": self.bounds.message, "server_header": None}
        async with serve(self._talk, sock=listening, process_request=self._refuse, **options) as server:
            ready()
            await self._draining.wait()
            server.close(close_connections=False)
            await server.wait_closed()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def drain(self) -> None:
        """Take no more observations; the chunks that are being thought of are still sent. Twice ends at once."""
        if self._draining.is_set():
            for connection in self._connections:
                connection.transport.abort()
        self._draining.set()

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == HEALTH:
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if "Origin" in request.headers:  # a page in the user's browser may try this address; robots send none
            return connection.respond(http.HTTPStatus.FORBIDDEN, "Web pages are not served; use a robot's client.\n")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        known = self._token is None or (
            scheme.lower() in ("api-key", "bearer")
            and secrets.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        )
        if not known:
            words = "The token is wrong or missing; give it as Authorization: Api-Key TOKEN.\n"
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, words)
        if len(self._connections) >= self.bounds.connections:
            words = f"{self.bounds.connections} robots are connected already; try again later.\n"
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, words)
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        """One robot, from its first observation to its last."""
        self._connections.add(connection)
        try:
            await self._answer_all(connection)
        except ConnectionClosed:
            pass
        except UserError as error:
            await _end(connection, CloseCode.INVALID_DATA, str(error))
        except TimeoutError:
            words = f"The chunk took longer than {self.bounds.seconds:g} s; ask less often, or with fewer robots."
            await _end(connection, CloseCode.TRY_AGAIN_LATER, words)
        except Exception:
            log.exception("An observation could not be answered.")
            words = "The server failed on this observation; its log says why."
            await _end(connection, CloseCode.INTERNAL_ERROR, words)
        finally:
            self._connections.discard(connection)

    async def _answer_all(self, connection: ServerConnection) -> None:
        session = Session(self.deployed, self.manner.kind)
        await connection.send(pack(self.metadata))
        last: float | None = None
        while (message := await self._next(connection)) is not None:
            began = time.perf_counter()
            async with asyncio.timeout(self.bounds.seconds):
                loop = asyncio.get_running_loop()
                answer, session = await loop.run_in_executor(self._thread, self._answer, message, session)
            if last is not None:
                answer["server_timing"]["prev_total_ms"] = last
            await connection.send(pack(answer))
            last = 1000 * (time.perf_counter() - began)
        await connection.close(CloseCode.GOING_AWAY, "The server is about to end.")

    async def _next(self, connection: ServerConnection) -> str | bytes | None:
        """The next observation; None once the server drains."""
        both = asyncio.create_task(connection.recv()), asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return None if self._draining.is_set() else both[0].result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)  # what was received and not read is nobody's error

    def _answer(self, message: str | bytes, session: Session) -> tuple[dict[str, Any], Session]:
        """A chunk, in the thread of the policy."""
        if isinstance(message, str):
            raise UserError("An observation is a message of bytes, msgpack as openpi's client packs it; this is text.")
        fields = unpack(message)
        seen = observation_in(fields, self.deployed.card.cameras)
        manner = manner_in(fields, self.manner)
        if manner.kind != session.kind:
            session = Session(self.deployed, manner.kind)
        if isinstance(again := fields.get("reset"), bool | np.bool_) and again:
            session.reset()
        began = time.perf_counter()
        actions = session.chunk(seen, taken=manner.taken, delay=manner.delay)
        spent = 1000 * (time.perf_counter() - began)
        if not np.isfinite(actions).all():
            raise RuntimeError("The policy's actions are not finite.")
        return {"actions": actions, "server_timing": {"infer_ms": spent}}, session


def observation_in(fields: Any, cameras: tuple[str, ...]) -> Seen:
    """What a robot sends: its cameras by their names, its state, its instruction; "/" in a name is as good as ".".

    Raises:
        UserError: something is missing, or no picture, no number or no text.
    """
    if not isinstance(fields, Mapping):
        raise UserError(f"An observation is a map from names to arrays; this is {type(fields).__name__}.")
    given = {name.replace("/", "."): value for name, value in fields.items() if isinstance(name, str)}
    for name in (*cameras, STATE, PROMPT):
        if name not in given:
            raise UserError(f"The observation lacks {name}; {did_you_mean(name, [key[:60] for key in [*given][:20]])}")
    prompt, state = given[PROMPT], given[STATE]
    if not isinstance(prompt, str) or len(prompt) > LONGEST:
        raise UserError(f"{PROMPT} must be text of at most {LONGEST} characters.")
    if not isinstance(state, np.ndarray) or state.dtype.kind not in "iuf" or state.ndim != 1:
        raise UserError(f"{STATE} is {_kind(state)}; give an array of one dimension, of numbers.")
    if not np.isfinite(state).all():
        raise UserError(f"{STATE} is not finite; give finite numbers.")
    return Seen({name: _picture(name, given[name]) for name in cameras}, state.astype(np.float32), str(prompt))


def manner_in(fields: Mapping[str, Any], usual: Manner) -> Manner:
    """How an observation asks to be answered.

    Raises:
        UserError: it asks for something that there is not.
    """
    asked = fields.get("chunking", {})
    names = ("kind", "taken", "delay")
    if outside := [name for name in names[1:] if name in fields]:
        raise UserError(f"{outside[0]}: it belongs into chunking; give a map with kind, taken and delay.")
    if not isinstance(asked, Mapping) or (unknown := [name for name in asked if name not in names]):
        what = repr(asked) if not isinstance(asked, Mapping) else repr(unknown[0])
        raise UserError(f"chunking: {what:.60} is none of it; give a map with kind, taken and delay.")
    kind = checked_chunking(str(asked.get("kind", usual.kind))[:60])
    return Manner(kind=kind, taken=asked.get("taken", usual.taken), delay=asked.get("delay", usual.delay))


def run(server: PolicyServer, listening: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then end with the last chunk that is being thought of; twice ends at once."""

    async def serving() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.drain)
        await server.run(listening, ready)

    asyncio.run(serving())


def _told(deployed: Deployed, name: str, manner: Manner) -> dict[str, Any]:
    """The first message: all that a client needs to know to ask."""
    card = deployed.card
    return {
        "policy": name,
        "robot": card.robot,
        "control_hz": card.control_hz,
        "chunk": card.shape.chunk,
        "cameras": {camera: "uint8 (height, width, 3)" for camera in card.cameras},
        STATE: {"numbers": card.state.numbers, "names": list(card.state_names)},
        "actions": {
            "numbers": card.action.numbers,
            "names": list(card.action_names),
            "meaning": card.action_meaning,
        },
        "chunking": {"kind": manner.kind, "taken": manner.taken, "delay": manner.delay},
    }


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _picture(name: str, value: Any) -> np.ndarray:
    is_array = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.size > 0
    if not is_array or 3 not in (value.shape[0], value.shape[2]):
        raise UserError(f"{name} is {_kind(value)}; give a picture: uint8 (height, width, 3).")
    return (value if value.shape[2] == 3 else value.transpose(1, 2, 0)).copy()  # a message cannot be written to


def _counts(*numbers: Any) -> bool:
    return all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 0 for n in numbers)


async def _end(connection: ServerConnection, code: int, words: str) -> None:
    try:
        await connection.send(words)
        await connection.close(code, words.encode()[:120].decode(errors="ignore"))
    except ConnectionClosed:
        pass
