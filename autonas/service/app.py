"""The service put together: its addresses, who may ask, and how what goes wrong is told."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autonas.errors import RequestError, ServiceError
from autonas.loaded_run import use_threads
from autonas.service.answers import error_answer
from autonas.service.completions import Served, completions, find_model
from autonas.service.guard import Guard
from autonas.service.turns import RETRY_AFTER_S, Turns

NO_CHAT = "There is no chat here: these models have no chat template. POST /v1/completions continues a text."


def make_app(served: Mapping[str, Served], token: str, *, turns: Turns) -> Starlette:
    """The application that answers for these models, to those who bear the token. `turns` is begun and ended with it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        turns.start()
        yield
        turns.close()

    app = Starlette(
        routes=[
            Route("/healthz", _health),
            Route("/readyz", _readiness),
            Route("/v1/models", _models),
            Route("/v1/models/{name}", _model),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", _chat, methods=["GET", "POST"]),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={RequestError: _refused, HTTPException: _no_such, Exception: _broken},
        lifespan=lifespan,
    )
    app.state.served = served
    app.state.turns = turns
    return app


def make_turns(threads: int, *, most_at_once: int = 8, most_waiting: int = 64) -> Turns:
    """The thread that models are computed in, on so many cores."""
    return Turns(most_at_once=most_at_once, most_waiting=most_waiting, prepare=functools.partial(use_threads, threads))


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _readiness(request: Request) -> Response:
    turns: Turns = request.app.state.turns
    ready = turns.is_ready
    return JSONResponse({"status": "ready" if ready else "busy", "requests": turns.load}, status_code=200 if ready else 503)


async def _models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [each.to_json() for each in request.app.state.served.values()]})


async def _model(request: Request) -> Response:
    return JSONResponse(find_model(request.app.state.served, request.path_params["name"]).to_json())


async def _chat(request: Request) -> Response:
    raise ServiceError(404, NO_CHAT, code="not_supported")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    refusal = error if isinstance(error, ServiceError) else ServiceError(400, str(error))
    return error_answer(refusal, {"Retry-After": str(RETRY_AFTER_S)} if refusal.status in (429, 503) else None)


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"{error.detail}: {request.method} {request.url.path}. GET /v1/models and POST /v1/completions are answered."
    return error_answer(ServiceError(error.status_code, text), error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    # Its traceback goes to the log of the server, not to whoever asked.
    return error_answer(ServiceError(500, "Something went wrong inside the service; its log says what."))
