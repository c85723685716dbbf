"""The forms of answers: errors as OpenAI's API gives them, and events as they are sent one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from autonas.errors import ServiceError

_KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
DONE = b"data: [DONE]\n\n"


def error_answer(error: ServiceError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request that is refused or went wrong."""
    return JSONResponse({"error": error_body(error)}, status_code=error.status, headers=dict(headers or {}))


def error_body(error: ServiceError) -> dict[str, Any]:
    return {
        "message": str(error),
        "type": _KINDS.get(error.status, "invalid_request_error"),
        "param": error.param,
        "code": error.code,
    }


def event(value: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False, allow_nan=False)}\n\n".encode()
