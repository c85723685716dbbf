"""Who may ask: everybody for the two addresses that say whether the service is up, else those who know the token."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from autonas.errors import RequestError, ServiceError
from autonas.service.answers import error_answer

OPEN_PATHS = ("/healthz", "/readyz")
TOKEN_VARIABLE = "AUTONAS_TOKEN"
MIN_TOKEN_LENGTH = 16


def find_token(file: Path | None) -> tuple[str, bool]:
    """The token: the text of `file`, else of the variable AUTONAS_TOKEN, else a new one; and whether it is new.

    Raises:
        RequestError: it cannot be read, is too short to be a secret, or cannot stand in a header.
    """
    if file is not None:
        try:
            token, place = file.read_text(encoding="utf-8").strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"--token-file {file}: cannot be read ({error}). Put the token there, on one line.") from error
    elif TOKEN_VARIABLE in os.environ:
        token, place = os.environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE
    else:
        return secrets.token_urlsafe(32), True
    if len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise RequestError(
            f"{place}: a token has at least {MIN_TOKEN_LENGTH} ASCII characters, no spaces; `openssl rand -hex 32` makes one."
        )
    return token, False


class Guard:
    """Lets requests through that bear the token, and refuses others before anything of them is read."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._is_allowed(Headers(scope=scope)):
            refusal = ServiceError(
                401,
                "No token, or a wrong one. Send the header `Authorization: Bearer TOKEN`, with the token of this service.",
                code="invalid_api_key",
            )
            await error_answer(refusal, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # As long for a token that is nearly right as for any other.
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._expected)
