"""The OpenAI-compatible API over an engine."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel

from maquette import __version__
from maquette.core.errors import did_you_mean
from maquette.language.engine.engine import Engine
from maquette.serve.answers import Chat, Completions, Heading, usage
from maquette.serve.errors import ApiError, ErrorBody, answer_errors, as_api_error
from maquette.serve.gate import HEALTH, Gate, Limits
from maquette.serve.jobs import Job, Piece, pieces, prepare, whole
from maquette.serve.protocol import (
    Asked,
    ChatBody,
    ChatRequest,
    CompletionBody,
    CompletionRequest,
    ModelCard,
    ModelList,
)
from maquette.serve.spelling import Spelling
from maquette.serve.worker import Worker

T = TypeVar("T")
log = logging.getLogger(__name__)
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 429, 500, 503)
}
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
GONE = 499
"""What a client that has left would be answered."""


def create_app(engine: Engine, *, token: str | None = None, limits: Limits | None = None) -> FastAPI:
    """The app; while its lifespan lasts nobody else may sample with the engine.

    `app.state.gate` lets a server drain it. With a token every path but the health check asks for it.
    """
    limits = limits or Limits()
    worker = Worker(engine)
    gate = Gate(token, limits)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(
        title="Maquette",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        responses={**REFUSALS, "4XX": {"model": ErrorBody}},
    )
    app.state.gate, app.state.worker = gate, worker
    app.add_middleware(gate.around)
    answer_errors(app)
    Routes(engine, worker, gate, limits).add_to(app)
    return app


async def hold() -> AsyncIterator[contextlib.ExitStack]:
    """What the engine holds for a request, let go of when it has been answered, refused or left."""
    with contextlib.ExitStack() as stack:
        yield stack


Held = Annotated[contextlib.ExitStack, Depends(hold)]


class Routes:
    """What is answered under which path."""

    def __init__(self, engine: Engine, worker: Worker, gate: Gate, limits: Limits) -> None:
        self.engine, self.worker, self.gate, self.limits = engine, worker, gate, limits
        self.spelling = Spelling(engine.tokenizer)
        self.card = ModelCard(id=engine.name, created=int(time.time()), max_model_len=engine.context)

    def add_to(self, app: FastAPI) -> None:
        """Every path of the API."""
        app.get(HEALTH, responses={503: {"content": {"application/json": {}}}})(self.health)
        app.get("/v1/models")(self.models)
        app.get("/v1/models/{name:path}")(self.model)
        app.post("/v1/completions", response_model=CompletionBody, responses=STREAMED)(self.completions)
        app.post("/v1/chat/completions", response_model=ChatBody, responses=STREAMED)(self.chat)

    async def health(self) -> JSONResponse:
        """Whether new requests are let in."""
        if self.gate.draining:
            return JSONResponse({"status": "draining"}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def models(self) -> ModelList:
        """The one model."""
        return ModelList(data=[self.card])

    async def model(self, name: str) -> ModelCard:
        """The one model, if that is its name."""
        self._refuse_unknown(name)
        return self.card

    async def completions(self, body: CompletionRequest, request: Request, held: Held) -> Any:
        """Texts that go on from prompts."""
        self._refuse(body, len(body.prompts))
        sampling = body.sampling(body.max_tokens, body.logprobs or 0) if body.max_tokens else None
        job = await asyncio.to_thread(
            prepare, self.engine, body.prompts, sampling, body.n, echo=body.echo, logprobs=body.logprobs
        )
        form = Completions(
            heading=Heading(model=self.engine.name, prefix="cmpl"),
            spelling=self.spelling,
            logprobs=body.logprobs,
            ids=body.return_token_ids,
        )
        return await self._answer(form, job, body, request, held)

    async def chat(self, body: ChatRequest, request: Request, held: Held) -> Any:
        """The assistant's next turn in a conversation."""
        self._refuse(body, 1)
        tokens = await asyncio.to_thread(self.engine.tokens, [one.message for one in body.messages])
        asked = body.max_completion_tokens or body.max_tokens or max(1, self.engine.context - len(tokens))
        sampling = body.sampling(asked, body.top_logprobs or 0)
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        job = prepare(self.engine, [tokens], sampling, body.n, echo=False, logprobs=logprobs)
        form = Chat(
            heading=Heading(model=self.engine.name, prefix="chatcmpl"),
            spelling=self.spelling,
            logprobs=logprobs,
            ids=body.return_token_ids,
        )
        return await self._answer(form, job, body, request, held)

    async def _answer(
        self, form: Completions | Chat, job: Job, body: Asked, request: Request, held: contextlib.ExitStack
    ) -> BaseModel | Response:
        answer = pieces(job, self.worker, held, stream=body.stream)
        if body.stream:
            return StreamingResponse(_events(form, answer, job, body.tells_usage), media_type="text/event-stream")
        found = await _unless_left(request, _all(answer, job))
        return form.body(found, usage(job, found)) if found else Response(status_code=GONE)

    def _refuse(self, body: Asked, prompts: int) -> None:
        self._refuse_unknown(body.model)
        if (choices := prompts * body.n) > self.limits.choices:
            raise ApiError(
                400,
                f"{prompts} prompts × n = {body.n} are {choices} choices; ask for {self.limits.choices} at most.",
                param="n",
            )
        if self.worker.waiting >= self.limits.waiting:
            raise ApiError(
                429,
                f"{self.worker.waiting} samples wait already; try again.",
                code="busy",
                headers={"Retry-After": "1"},
            )

    def _refuse_unknown(self, name: str) -> None:
        if name != self.card.id:
            message = f"There is no model {name!a}; {did_you_mean(name, [self.card.id])}"
            raise ApiError(404, message, param="model", code="model_not_found")


async def _all(answer: AsyncIterator[Piece], job: Job) -> list[Piece]:
    return whole([piece async for piece in answer], job.choices)


async def _unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None once the client has left, and the work is dropped."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    both = asyncio.create_task(work), asyncio.create_task(left())
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return both[0].result() if both[0].done() else None
    finally:
        for one in both:
            one.cancel()


async def _events(
    form: Completions | Chat, answer: AsyncIterator[Piece], job: Job, tells_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events; what goes wrong now that the head is sent is told in one of them."""
    ended: list[Piece] = []
    try:
        for chunk in form.openings(job.choices):
            yield _event(chunk.model_dump())
        async for piece in answer:
            ended += [piece] if piece.finish else []
            yield _event(form.chunk([piece], None).model_dump())
        if tells_usage:
            yield _event(form.chunk([], usage(job, ended)).model_dump())
    except Exception as error:
        told = as_api_error(error)
        if told.status == 500 and not isinstance(error, ApiError):
            log.exception("A stream failed.")
        yield _event(told.body.model_dump())
    else:
        yield "data: [DONE]\n\n"


def _event(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"  # ASCII: clients split lines at more characters than the newline
