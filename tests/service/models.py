"""Runs to serve, small enough to be made in a moment, and servers of them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import uvicorn

from autonas.arch import ArchSpec
from autonas.data.tokenizer import Tokenizer
from autonas.loaded_run import LoadedRun
from autonas.service.app import make_app
from autonas.service.completions import Served
from autonas.service.turns import Turns
from autonas.training.checkpoint import save_model
from tests.model.test_decode import lively_model
from tests.waiting import eventually

TOKEN = "a-token-of-the-tests-0123456789"
SPEC = ArchSpec(layers=2, width=32, heads=4, kv_heads=2, vocab_size=300, context_length=128)
LONG = ArchSpec(layers=1, width=8, heads=1, kv_heads=1, vocab_size=300, context_length=8192)


def make_run(corpus: Path, spec: ArchSpec = SPEC) -> LoadedRun:
    """A model that writes all kinds of bytes, in float64 so that sums decide nothing, and a tokenizer of real code."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(corpus.glob("json/*.py"))]
    return LoadedRun(model=lively_model(spec), tokenizer=Tokenizer.train(texts, 300), spec=spec)


def write_run(run: LoadedRun, folder: Path) -> Path:
    """A folder that `load_run` takes."""
    folder.mkdir(parents=True)
    save_model(folder / "model.safetensors", run.model, {"tokens": 0})
    run.tokenizer.save(folder / "tokenizer.json")
    return folder


class Client:
    """Plain requests, as a client without manners makes them."""

    def __init__(self, port: int, token: str | None = TOKEN) -> None:
        self.port, self._headers = port, {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> tuple[int, Any, dict[str, str]]:
        """Status, decoded JSON and headers of an answer."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            sent = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request(method, path, sent, self._headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text), {name.lower(): value for name, value in answer.getheaders()}


@contextlib.contextmanager
def answering(runs: dict[str, LoadedRun], turns: Turns) -> Iterator[Client]:
    """A server of this process, in a thread."""
    served = {name: Served(name=name, run=run, created=1) for name, run in runs.items()}
    app = make_app(served, TOKEN, turns=turns)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
