"""Whatever goes wrong with a request, as the OpenAI API shows errors."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lamps_jax.serve.async_engine import EngineUnavailable
from lamps_jax.serve.protocol import RequestError

CLIENT_CLOSED_REQUEST = 499
"""Status of the answer that nobody gets, for the client has left."""

MAX_SHOWN_CHARS = 100
"""A path is shown no further."""


def add_error_handlers(app: FastAPI) -> None:
    """Has every error of `app` answered with OpenAI's body and the right status."""
    app.add_exception_handler(ClientDisconnect, _say_nothing)
    for kind in (RequestError, EngineUnavailable, HTTPException, Exception):
        app.add_exception_handler(kind, _show)


def error_response(error: RequestError) -> Response:
    """What the client gets of an error."""
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


async def _say_nothing(request: Request, error: Exception) -> Response:
    """For a client that left before it had sent its request."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _show(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        path = request.url.path[:MAX_SHOWN_CHARS]
        hint = {404: f"there is no {path} here", 405: f"{request.method} is not for {path}"}
        message = hint.get(error.status_code, str(error.detail))
        error = RequestError(message, status=error.status_code, headers=error.headers)
    elif isinstance(error, EngineUnavailable):
        error = RequestError(str(error), status=503, code="engine_unavailable")
    elif not isinstance(error, RequestError):
        error = RequestError("the server failed at this request; its log says why", status=500)
    return error_response(error)
