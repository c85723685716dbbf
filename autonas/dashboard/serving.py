"""Optuna Dashboard on studies, for looking: on this machine alone, and without a way to change anything.

The dashboard has no authentication of its own, and offers to delete and rename studies and to tell results. So the server
listens on the loopback interface only, answers no other host's name (a page of the web could otherwise have its own name point
here, and read), refuses every request that is not for reading, and serves a storage that cannot write. What a model wrote is
served as a file that no browser takes for a page, and to no page of another origin.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna_dashboard import wsgi

from autonas.dashboard.annotated import AnnotatedShelf, RenderedFiles
from autonas.errors import RequestError
from autonas.ledger.shelf import Shelf

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_READING = ("GET", "HEAD")
_REFUSAL = "This dashboard is for looking: it changes nothing. Use the commands of autonas."
_FILES = "/artifacts/"
# For a file that is opened for itself: nothing in it is run, loaded or sent, and nothing guesses that it is a page.
_INERT = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_FOREIGN = "This dashboard answers requests to localhost only."


def serve_dashboard(
    study: str | None, *, storage: str | None, out: Path, host: str, port: int, ready: Callable[[str, Shelf], None]
) -> None:
    """Serve the named study, or all there are, until interrupted. `ready` is told the address when it answers.

    Raises:
        RequestError: the host is not this machine, or the port cannot be had.
        StudyError: there is no such study.
        StorageError: the storage cannot be read.
    """
    address = loopback_address(host)
    shelf = AnnotatedShelf(out, storage, study)
    try:
        with _listen(address, port) as server, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of plots with few trials, at every look at them
            server.set_app(guarded(wsgi(shelf, RenderedFiles(shelf))))
            shown = f"[{address}]" if ":" in address else address
            page = f"/dashboard/studies/{shelf.names()[study]}" if study else "/dashboard"
            ready(f"http://{shown}:{server.server_port}{page}", shelf)
            server.serve_forever()
    finally:
        shelf.close()


def loopback_address(host: str) -> str:
    """The address that `host` means.

    Raises:
        RequestError: it is not of the loopback interface.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise RequestError(
        f"--host {host}: the dashboard has no authentication and is served to this machine only, on 127.0.0.1. To look from "
        "elsewhere make a tunnel there, such as `ssh -L 8080:127.0.0.1:8080 HOST`, and open http://127.0.0.1:8080."
    )


def guarded(app: WSGIApplication) -> WSGIApplication:
    """The application, for requests that read and are meant for this machine by name; others are refused."""

    def guard(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not _is_this_machine(environ.get("HTTP_HOST", "")):
            return _refuse(start_response, "403 Forbidden", _FOREIGN)
        if environ["REQUEST_METHOD"] not in _READING:
            return _refuse(start_response, "405 Method Not Allowed", _REFUSAL, ("Allow", ", ".join(_READING)))
        if environ.get("PATH_INFO", "").startswith(_FILES):
            return app(environ, _inert(start_response))
        return app(environ, start_response)

    return guard


def _inert(start_response: StartResponse) -> StartResponse:
    """As `start_response`, for an answer that is a file: its own headers, less the one that lets pages of others read it."""

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        kept = [(name, value) for name, value in headers if name.lower() != "access-control-allow-origin"]
        return start_response(status, [*kept, *_INERT], *error)

    return start


def _is_this_machine(host: str) -> bool:
    """Whether a Host header names this machine. Its port is not looked at: at the end of a tunnel it is another."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse(start_response: StartResponse, status: str, reason: str, *headers: tuple[str, str]) -> list[bytes]:
    # In the form of the dashboard's own refusals, so that its page shows the reason.
    start_response(status, [("Content-Type", "application/json"), *headers])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an open page must not keep Ctrl-C waiting

    def server_bind(self) -> None:
        # The standard library's looks up the host's full name, which takes seconds on some networks.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a page that was closed while it loaded
            super().handle_error(request, client_address)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *values: Any) -> None:
        pass


def _listen(address: str, port: int) -> _Server:
    try:
        return (_Server6 if ":" in address else _Server)((address, port), _QuietHandler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RequestError(f"--port {port} is in use, perhaps by another dashboard. Choose another --port.") from error
        if error.errno == errno.EACCES:
            raise RequestError(f"--port {port} needs rights that you do not have. Choose a --port of at least 1024.") from error
        raise RequestError(f"--host {address} --port {port}: cannot be listened on ({error.strerror}).") from error
