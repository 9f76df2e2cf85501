"""What every request passes first: the token, the size and time it may take, and whether the server is about to end."""

import asyncio
import contextlib
import ipaddress
import json
import re
import secrets
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maquette.core.errors import UserError
from maquette.serve.errors import ApiError

HEALTH = "/healthz"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client can take of the server."""

    body: int = 8 * 2**20
    """Bytes of a request."""
    seconds: float = 600.0
    """From a request's head to the end of its answer."""
    choices: int = 2048
    """Prompts times n of one request."""
    waiting: int = 1024
    """Samples and scores that wait for a row; beyond it new requests are refused."""

    def __post_init__(self) -> None:
        for name in ("body", "seconds", "choices", "waiting"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} = {getattr(self, name)}: give more than 0.")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may mean anything
        return False


class Gate:
    """An ASGI middleware; `around` puts it before an app."""

    def __init__(self, token: str | None, limits: Limits) -> None:
        self.limits = limits
        self._token = token.encode() if token else None
        self.draining = False
        self.inside = 0
        """Requests that have not been answered whole."""
        self.drained = asyncio.Event()

    def drain(self) -> None:
        """Let nobody in any more; `drained` is set when those inside have left."""
        self.draining = True
        if not self.inside:
            self.drained.set()

    def around(self, app: ASGIApp) -> "Gate":
        """For `add_middleware`."""
        self.app = app
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in or refuse."""
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        if refusal := self._refusal(Headers(scope=scope)):
            await refusal.response()(scope, receive, send)
            return
        self.inside += 1
        try:
            await self._within_limits(scope, receive, send)
        finally:
            self.inside -= 1
            if self.draining and not self.inside:
                self.drained.set()

    def _refusal(self, headers: Headers) -> ApiError | None:
        if self.draining:
            return ApiError(
                503, "The server is about to end; ask another.", code="draining", headers={"Retry-After": "5"}
            )
        if self._token is None:
            # A page in the user's browser may point a name of its own at this address; it cannot choose this header.
            if not is_loopback(re.sub(r":\d*$", "", headers.get("host", "")).strip("[]")):
                return ApiError(403, "A server without a token answers to 127.0.0.1 and localhost alone.", code="host")
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode("latin-1"), self._token):
            return None
        return ApiError(
            401,
            "The token is wrong or missing; give it as Authorization: Bearer TOKEN.",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )

    async def _within_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; what takes too long is dropped and told so, in a stream as its last event."""
        head: Message | None = None
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limits.body:
                raise HTTPException(413, f"The body is larger than {self.limits.body} bytes; send less at once.")
            return message

        async def noting(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message
            await send(message)

        bound = asyncio.timeout(self.limits.seconds)
        try:
            async with bound:
                await self.app(scope, bounded, noting)
        except TimeoutError:
            if not bound.expired():
                raise
            error = ApiError(
                408, f"The request took longer than {self.limits.seconds:g} s; ask for less.", code="timeout"
            )
            if head is None:
                await error.response()(scope, receive, send)
            elif Headers(raw=head["headers"]).get("content-type", "").startswith("text/event-stream"):
                last = f"data: {json.dumps(error.body.model_dump())}\n\n".encode()
                with contextlib.suppress(TimeoutError):  # of a client that has stopped reading
                    async with asyncio.timeout(1):
                        await send({"type": "http.response.body", "body": last, "more_body": False})
