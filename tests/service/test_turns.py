"""The thread that computes in turns, and what requests can do to the service: fill it up, or send it anything."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonas.errors import ServiceError
from autonas.service.app import make_turns
from autonas.service.completions import MAX_BODY_BYTES
from autonas.service.turns import Turns
from tests.service.models import Client, answering, make_run
from tests.waiting import eventually


def test_jobs_take_turns() -> None:
    order: list[str] = []

    def work(name: str, count: int) -> Iterator[str]:
        for number in range(count):
            order.append(f"{name}{number}")
            yield f"{name}{number}"

    async def ask() -> list[list[str]]:
        gate = threading.Event()

        def held() -> Iterator[str]:
            gate.wait()
            yield "held"

        turns = Turns(most_at_once=3)
        turns.start()
        jobs = [turns.enter(held), turns.enter(lambda: work("a", 3)), turns.enter(lambda: work("b", 2))]
        gate.set()
        found = []
        for job in jobs:
            items = []
            while (item := await job.next()) is not None:
                items.append(item)
            found.append(items)
        turns.close()
        return found

    assert asyncio.run(ask()) == [["held"], ["a0", "a1", "a2"], ["b0", "b1"]]
    assert order == ["a0", "b0", "a1", "b1", "a2"]


def test_one_jobs_error_is_its_own() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    async def ask() -> None:
        turns = Turns()
        turns.start()
        job, other = turns.enter(broken), turns.enter(lambda: iter([5]))
        assert await job.next() == 1
        with pytest.raises(ZeroDivisionError):
            await job.next()
        assert [await other.next(), await other.next()] == [5, None]
        turns.close()

    asyncio.run(ask())


def test_those_who_wait_when_it_ends_are_told_so() -> None:
    async def ask() -> None:
        gate = threading.Event()

        def held() -> Iterator[int]:
            yield 0
            gate.wait()
            yield 1

        turns = Turns(most_at_once=1)
        turns.start()
        job, waiting = turns.enter(held), turns.enter(held)
        assert await job.next() == 0
        closing = threading.Thread(target=turns.close)
        closing.start()
        assert eventually(lambda: not turns.is_ready)
        with pytest.raises(ServiceError, match="is ending"):
            turns.enter(held)
        gate.set()
        with pytest.raises(ServiceError, match="is ending"):
            await waiting.next()
        closing.join()

    asyncio.run(ask())


@pytest.fixture(scope="module")
def client(code_corpus: Path) -> Iterator[Client]:
    with answering({"small": make_run(code_corpus)}, make_turns(1)) as client:
        yield client


def test_when_too_many_wait_the_next_is_sent_away(code_corpus: Path) -> None:
    turns = Turns(most_at_once=1, most_waiting=1)
    gate = threading.Event()

    def held() -> Iterator[int]:
        gate.wait()
        yield 0

    async def fill() -> None:
        for _ in range(2):
            turns.enter(held)

    with answering({"small": make_run(code_corpus)}, turns) as client:
        asyncio.run(fill())
        asked = {"model": "small", "prompt": "x", "max_tokens": 3}
        for body in (asked, {**asked, "stream": True}):
            status, answer, headers = client("POST", "/v1/completions", body)
            assert (status, answer["error"]["type"], headers["retry-after"]) == (429, "rate_limit_error", "1")
        assert client("GET", "/readyz")[0] == 503
        assert client("GET", "/healthz")[0] == 200
        gate.set()
        assert eventually(lambda: turns.load == 0)
        assert client("POST", "/v1/completions", asked)[0] == 200
        assert client("GET", "/readyz")[0] == 200


def test_a_body_that_is_too_large_is_not_read(client: Client) -> None:
    status, answer, _ = client("POST", "/v1/completions", b"[" * (MAX_BODY_BYTES + 1))
    assert (status, "larger than" in answer["error"]["message"]) == (413, True)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    *("model", "prompt", "max_tokens", "temperature", "top_p", "n", "stop", "seed", "echo", "logprobs", "stream", "user"),
    *("stream_options", "best_of", "suffix", "frequency_penalty", "presence_penalty", "logit_bias", "top_k"),
    *("repetition_penalty", "truncate_prompt_tokens"),
)
NEARLY = st.fixed_dictionaries(
    {"model": st.just("small"), "max_tokens": st.integers(0, 3)},
    optional={
        "prompt": st.text(max_size=5) | st.lists(st.integers(0, 299), max_size=4) | st.lists(st.text(max_size=3), max_size=2),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "n": st.integers(1, 2),
        "stop": st.text(max_size=2) | st.lists(st.text(max_size=2), max_size=2),
        "seed": st.integers(),
        "echo": st.booleans(),
        "logprobs": st.integers(0, 3),
        "logit_bias": st.dictionaries(st.sampled_from(["0", "7", "300", "-1", "²", "1e1"]), st.integers(-101, 101), max_size=2),
        "top_k": st.integers(0, 5),
        "repetition_penalty": st.floats(0, 3),
    },
)


@settings(derandomize=True, deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(NEARLY, st.dictionaries(st.sampled_from(NAMES), ANY, max_size=2))
def test_whatever_is_sent_is_answered_or_refused(client: Client, values: dict[str, Any], changes: dict[str, Any]) -> None:
    changes.pop("stream", None)  # its answers are not one JSON document
    status, answer, _ = client("POST", "/v1/completions", {**values, **changes})
    assert status in (200, 400, 404), answer
    assert (status == 200) == ("choices" in answer)
    if status != 200:
        assert {"message", "type", "param", "code"} == set(answer["error"])


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"model": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"model": "\\ud800"}', b'{"model": 1e999}'],
)
def test_what_is_no_request_is_refused(client: Client, body: bytes) -> None:
    status, answer, _ = client("POST", "/v1/completions", body)
    assert status in (400, 404)
    assert answer["error"]["message"]


def test_half_a_surrogate_in_a_prompt_is_refused(client: Client) -> None:
    body = b'{"model": "small", "prompt": "\\ud800", "max_tokens": 2}'
    status, answer, _ = client("POST", "/v1/completions", body)
    assert (status, answer["error"]["param"]) == (400, "prompt")


def test_an_event_stream_has_the_form_of_one(client: Client) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    body = json.dumps({"model": "small", "prompt": "x", "max_tokens": 5, "stream": True, "seed": 1})
    from tests.service.models import TOKEN

    connection.request("POST", "/v1/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    events = answer.read().decode().split("\n\n")
    connection.close()
    assert events[-2:] == ["data: [DONE]", ""]
    parts = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert all(part["object"] == "text_completion" for part in parts)
    assert parts[-1]["choices"][0]["finish_reason"]
