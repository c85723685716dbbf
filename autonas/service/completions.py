"""`POST /v1/completions`: whole, or as events while they are written."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from autonas.errors import ServiceError
from autonas.loaded_run import LoadedRun
from autonas.service.answers import DONE, error_body, event
from autonas.service.choices import Part, joined, written
from autonas.service.completion_request import CompletionRequest, parse
from autonas.service.turns import Job, Turns

MAX_BODY_BYTES = 1 << 20
GONE = 499  # for the records of proxies: nobody is there to read it
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model under the name that requests give."""

    name: str
    run: LoadedRun
    created: int  # seconds since 1970

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "autonas",
            "context_length": self.run.spec.context_length,
        }


class _Gone(Exception):
    """Whoever asked has gone away."""


async def completions(request: Request) -> Response:
    served: Mapping[str, Served] = request.app.state.served
    turns: Turns = request.app.state.turns
    asked = parse(await _body(request))
    model = find_model(served, asked.model)
    answer = _Answer(asked)
    job = turns.enter(functools.partial(written, model.run, asked))
    handed_on = False
    try:
        first = await _while_there(request, job.next())  # what is wrong with a request is known before its first part
        if asked.stream:
            handed_on = True
            return _Events(answer.events(job, first), job)
        return JSONResponse(await _while_there(request, answer.whole(job, first)))
    except _Gone:
        return Response(status_code=GONE)
    finally:
        if not handed_on:
            job.cancel()


def find_model(served: Mapping[str, Served], name: str) -> Served:
    """The model of this name. Raises ServiceError where there is none."""
    if name not in served:
        message = f"There is no model {name!r}; served are {', '.join(served)}."
        raise ServiceError(404, message, param="model", code="model_not_found")
    return served[name]


class _Answer:
    """One request's answer, in either form."""

    def __init__(self, asked: CompletionRequest) -> None:
        self._asked = asked
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
        }
        self._num_prompt = self._num_new = 0

    async def whole(self, job: Job, first: list[Part]) -> dict[str, Any]:
        parts: dict[int, list[Part]] = {part.index: [] for part in first}
        turn: list[Part] | None = first
        while turn is not None:
            for part in turn:
                parts[part.index].append(part)
                self._count(part)
            turn = await job.next()
        return {**self._head, "choices": [joined(each).to_json() for each in parts.values()], "usage": self._usage()}

    async def events(self, job: Job, first: list[Part]) -> AsyncIterator[bytes]:
        turn: list[Part] | None = first
        try:
            while turn is not None:
                for part in turn:
                    self._count(part)
                    if part.text or part.finish_reason or (part.logprobs or {}).get("tokens"):
                        usage = {"usage": None} if self._asked.include_usage else {}
                        yield event({**self._head, "choices": [part.to_json()], **usage})
                turn = await job.next()
        except ServiceError as error:  # the answer has begun: it is told in it
            yield event({"error": error_body(error)})
            return
        if self._asked.include_usage:
            yield event({**self._head, "choices": [], "usage": self._usage()})
        yield DONE

    def _count(self, part: Part) -> None:
        self._num_prompt += part.num_prompt_tokens
        self._num_new += part.num_tokens

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self._num_prompt,
            "completion_tokens": self._num_new,
            "total_tokens": self._num_prompt + self._num_new,
        }


class _Events(StreamingResponse):
    """Events of a job, which ends with them, also when nobody listens any more."""

    def __init__(self, events: AsyncIterator[bytes], job: Job) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ServiceError(413, f"The body is larger than {MAX_BODY_BYTES:,} bytes. Send less at once.")
        parts.append(part)
    return b"".join(parts)


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives. Raises _Gone as soon as whoever asked has gone away."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _Gone
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
