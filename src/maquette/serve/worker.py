"""The one thread that steps the engine's scheduler, and how asyncio hands it requests and hears of them."""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from maquette.language.engine.engine import Engine
from maquette.language.engine.request import Request
from maquette.language.engine.scheduler import PREFILL
from maquette.language.interface import Completion, Score
from maquette.serve.errors import ApiError

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Promise(Generic[T]):
    """An asyncio future that the engine's thread fulfils."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[T]"

    def fulfil(self, result: T | Exception) -> None:
        self.loop.call_soon_threadsafe(self._set, result)

    def _set(self, result: T | Exception) -> None:
        if self.future.done():  # cancelled meanwhile
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Worker:
    """Runs samples and scores for an event loop; cancelling a future frees what the engine holds for it.

    Nobody else may use the engine's scheduler between `start` and `stop`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.unfinished = 0
        """Samples and scores that were asked for and have not ended."""
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: set[_Promise] = set()
        self._samples: dict[Request, _Promise[Completion]] = {}
        self._scores: deque[tuple[Sequence[int], int, _Promise[Score]]] = deque()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def waiting(self) -> int:
        """Of what is unfinished, what must wait for a row."""
        return max(0, self.unfinished - self.engine.rows)

    def start(self) -> None:
        """Take the cache's memory, begin."""
        self.engine.scheduler.clear()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is unfinished stays so."""
        self._inbox.put(None)
        self._thread.join()

    def sample(self, requests: Sequence[Request]) -> "list[asyncio.Future[Completion]]":
        """The completions; those of one prompt, asked for together, compute it once."""
        promises: list[tuple[Request, _Promise[Completion]]] = [(request, self._promise()) for request in requests]

        def submit() -> None:
            for request, promise in promises:
                self._open.add(promise)
                self._samples[request] = promise
                self.engine.scheduler.submit(request)

        def drop(request: Request, promise: _Promise[Completion]) -> None:
            self._open.discard(promise)
            self._samples.pop(request, None)
            self.engine.scheduler.cancel(request)

        self._inbox.put(submit)
        for both in promises:
            leave = partial(drop, *both)
            both[1].future.add_done_callback(
                lambda future, leave=leave: self._inbox.put(leave) if future.cancelled() else None
            )
        return [promise.future for _, promise in promises]

    def score(self, tokens: Sequence[int], likeliest: int) -> "asyncio.Future[Score]":
        """The score of every token but the first, which nothing stands before; two tokens or more."""
        promise: _Promise[Score] = self._promise()

        def submit() -> None:
            self._open.add(promise)
            self._scores.append((tokens, likeliest, promise))

        self._inbox.put(submit)
        return promise.future

    def _promise(self) -> _Promise:
        loop = asyncio.get_running_loop()
        promise = _Promise(loop, loop.create_future())
        self.unfinished += 1
        promise.future.add_done_callback(self._count_down)
        return promise

    def _count_down(self, future: asyncio.Future) -> None:
        self.unfinished -= 1
        if not future.cancelled():
            future.exception()  # looked at, or asyncio complains of one that nobody awaits any more

    def _run(self) -> None:
        while True:
            try:
                if not self._take_in():
                    return
                self._score_some()
                for request in self.engine.scheduler.step():
                    self._settle(self._samples.pop(request), request.completion())
            except Exception as error:  # whatever it is, nobody is left waiting
                log.exception("The engine failed; all that was running is answered with 500.")
                self._fail(type(error).__name__)

    def _take_in(self) -> bool:
        """Carry out what has come in, waiting for it if there is nothing else to do; False to end."""
        idle = not (self._scores or self.engine.scheduler.busy)
        try:
            while (command := self._inbox.get(block=idle)) is not None:
                command()
                idle = False
        except queue.Empty:
            return True
        return False

    def _score_some(self) -> None:
        """Score what one pass takes, so that samples wait no longer."""
        batch: list[tuple[Sequence[int], int, _Promise[Score]]] = []
        size = 0
        while self._scores and (not batch or size + len(self._scores[0][0]) <= PREFILL):
            tokens, likeliest, promise = self._scores.popleft()
            if promise.future.cancelled():
                self._open.discard(promise)
                continue
            batch.append((tokens, likeliest, promise))
            size += len(tokens)
        if not batch:
            return
        pairs = [(tokens[:1], tokens[1:]) for tokens, _, _ in batch]
        most = max(likeliest for _, likeliest, _ in batch)
        for (_, _, promise), score in zip(batch, self.engine.score_tokens(pairs, likeliest=most), strict=True):
            self._settle(promise, score)

    def _settle(self, promise: _Promise[T], result: T) -> None:
        self._open.discard(promise)
        promise.fulfil(result)

    def _fail(self, kind: str) -> None:
        self.engine.scheduler.clear()
        self._samples.clear()
        self._scores.clear()
        for promise in self._open:
            promise.fulfil(
                ApiError(500, f"The engine failed on this request ({kind}); the server's log says more.", code="engine")
            )
        self._open.clear()
