"""The service as a process: runs are loaded, an address is listened on, and a signal ends it when all is answered."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from autonas.errors import RequestError
from autonas.loaded_run import load_run
from autonas.service.app import make_app, make_turns
from autonas.service.completions import Served

GRACE_S = 10  # for answers that are being written when the service is told to end


def read_runs(texts: Sequence[str], device: str) -> dict[str, Served]:
    """The models of `RUN` and `NAME=RUN`; without a name, a model has that of its folder.

    Raises:
        RequestError: two of one name; or a folder is no finished run.
    """
    served: dict[str, Served] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).exists():
            name, folder = Path(text).resolve().name, text
        if not name or name in served:
            raise RequestError(f"--run {text}: another run has the name {name!r} already; give one with --run NAME=RUN")
        run = load_run(Path(folder), device)
        run.complete("", max_tokens=1)  # what is made at a first use is made before anybody asks
        created = int((Path(folder) / "model.safetensors").stat().st_mtime)
        served[name] = Served(name=name, run=run, created=created)
    return served


def serve(served: dict[str, Served], token: str, *, host: str, port: int, threads: int, ready: Callable[[str], object]) -> None:
    """Answer until SIGINT or SIGTERM; `ready` is told the address when it answers.

    Raises:
        RequestError: the address cannot be listened on.
        KeyboardInterrupt: at the end, as a signal's handler has it.
    """
    with _listening(host, port) as listener:
        name, number = listener.getsockname()[:2]
        url = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
        config = uvicorn.Config(
            make_app(served, token, turns=make_turns(threads)),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
        _Server(config, lambda: ready(url)).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise RequestError(f"--host {host}: there is no such address. Give 127.0.0.1, or one of this machine.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RequestError(f"--port {port} is in use. Choose another --port; 0 takes any that is free.") from error
        if error.errno == errno.EACCES:
            raise RequestError(f"--port {port} needs rights that you do not have. Choose a --port of at least 1024.") from error
        raise RequestError(f"--host {host} --port {port}: cannot be listened on ({error.strerror}).") from error
