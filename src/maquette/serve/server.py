"""Where the API is to be reached, and how the server ends."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from maquette.core.errors import UserError
from maquette.serve.gate import is_loopback

TOKEN = "MAQUETTE_TOKEN"
"""The environment variable that holds the token."""


def listen(host: str, port: int, *, token: str | None) -> socket.socket:
    """A listening socket; `port` 0 takes a free one.

    Raises:
        UserError: the address is not this machine's or taken, or others reach it and there is no token.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"port = {port}: give 0 (any free one) to 65535.")
    if not token and not is_loopback(host):
        raise UserError(
            f"host = {host!r} lets others in; set the environment variable {TOKEN} to a secret they must give."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"Cannot listen at {host}, port {port}: {error.strerror}; give another host or port."
        ) from error


def url_of(listening: socket.socket, scheme: str = "http", path: str = "/v1") -> str:
    """What clients call it."""
    host, port = listening.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


def run(app: FastAPI, listening: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then refuse new requests and end with the last running one; twice ends at once."""
    asyncio.run(_run(app, listening, ready))


async def _run(app: FastAPI, listening: socket.socket, ready: Callable[[], None]) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # else a line for every piece that a client left unread
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        http="h11",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,  # for connections, which by then have no request
    )
    server = uvicorn.Server(config)
    gate = app.state.gate
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)

    def end() -> None:
        if gate.draining:
            server.force_exit = server.should_exit = True
        gate.drain()

    for number in (signal.SIGTERM, signal.SIGINT):  # in place of uvicorn's own, which let nobody hear of the end
        asyncio.get_running_loop().add_signal_handler(number, end)
    ready()
    drained = asyncio.create_task(gate.drained.wait())
    await asyncio.wait({drained, serving}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    drained.cancel()
    await serving
