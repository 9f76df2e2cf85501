"""Errors as OpenAI words them: `{"error": {"message", "type", "param", "code"}}`, whatever went wrong."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from maquette.core.errors import UserError


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    """The field that it is about."""
    code: str | None = None


class ErrorBody(BaseModel):
    """Every answer from 400 on."""

    error: ErrorDetail


class ApiError(Exception):
    """A refusal or a failure that the client is told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = "invalid_request_error" if status < 500 else "server_error"
        kind = "rate_limit_error" if status == 429 else kind
        self.body = ErrorBody(error=ErrorDetail(message=message, type=kind, param=param, code=code))

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.body.model_dump(), status_code=self.status, headers=self.headers)


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of an exception: nothing of those that it did not cause."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UserError):
        return ApiError(400, str(error))
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    if isinstance(error, HTTPException):  # no such path or method, a body that is too large
        return ApiError(error.status_code, str(error.detail), headers=error.headers)
    return ApiError(500, "The server failed on this request; its log says why.", code="internal_error")


def answer_errors(app: FastAPI) -> None:
    """Have every exception answered in OpenAI's shape."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    for kind in (ApiError, UserError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def _invalid(problems: Any) -> ApiError:
    """A body that is no request, in one sentence about its first wrong field."""
    first = problems[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"The body is no JSON: {first['ctx']['error']}.")
    places = [ascii(str(place))[1:-1] for place in first["loc"][1:]]
    if not places:
        return ApiError(400, "The body is no JSON object of Content-Type application/json.")
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"{'.'.join(places)} is no field of this API; leave it out.", param=places[0])
    if first["type"] == "missing":
        return ApiError(400, f"{'.'.join(places)} is missing; give it.", param=places[0])
    same = [one for one in problems if ascii(str(one["loc"][1]))[1:-1] == places[0]]  # a union's, each alternative's
    wanted = " or ".join(dict.fromkeys(one["msg"].removeprefix("Value error, ").rstrip(".") for one in same))
    given = ascii(first["input"])
    given = given if len(given) <= 60 else f"{given[:60]}…"
    return ApiError(400, f"{places[0]} = {given}: {wanted}.", param=places[0])
