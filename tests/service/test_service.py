"""The service as a process, asked by OpenAI's own client: what it writes is what the model writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from autonas.cli import main
from autonas.loaded_run import LoadedRun
from tests.service.models import LONG, TOKEN, Client, make_run, write_run
from tests.waiting import eventually

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 40}


@pytest.fixture(scope="module")
def run(code_corpus: Path) -> LoadedRun:
    return make_run(code_corpus)


@pytest.fixture(scope="module")
def folder(code_corpus: Path, run: LoadedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    write_run(run, folder / "small")
    write_run(make_run(code_corpus, LONG), folder / "other")
    return folder


def begin(folder: Path, *options: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A server process of both runs, and its address."""
    command = [sys.executable, "-m", "autonas", "serve", "--run", "small", "--run", "long=other", "--port", "0", *options]
    process = subprocess.Popen(
        [*command, "--threads", "1"],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), process.communicate()
    return process, url


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    process, url = begin(folder, AUTONAS_TOKEN=TOKEN)
    yield url
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0, timeout=60) as client:
        yield client


def test_models_are_listed_under_their_names(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["small", "long"]
    assert client.models.retrieve("long").owned_by == "autonas"
    with pytest.raises(openai.NotFoundError, match="served are small, long"):
        client.models.retrieve("gpt")


def test_what_is_served_is_what_the_model_completes(client: openai.OpenAI, run: LoadedRun) -> None:
    for prompt in ("def f(", "", "é"):
        answer = client.completions.create(model="small", prompt=prompt, **GREEDY)
        whole = run.complete(prompt, temperature=0.0, max_tokens=40)
        assert answer.choices[0].text == whole.text
        assert answer.choices[0].finish_reason == whole.finish_reason
        assert answer.model == "small"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == len(whole.tokens)
        assert answer.usage.prompt_tokens == len(run.encode(prompt))


def test_a_stream_joined_is_the_whole(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "small", "prompt": "class A:", "max_tokens": 60, "temperature": 0.9, "seed": 5, "n": 2}
    whole = client.completions.create(**asked, logprobs=1)
    parts = list(client.completions.create(**asked, logprobs=1, stream=True, stream_options={"include_usage": True}))
    assert len(parts) > 20
    assert parts[-1].usage == whole.usage
    assert not parts[-1].choices
    for choice in whole.choices:
        mine = [part.choices[0] for part in parts[:-1] if part.choices[0].index == choice.index]
        assert "".join(part.text for part in mine) == choice.text
        assert [part.finish_reason for part in mine if part.finish_reason] == [choice.finish_reason]
        told = [token for part in mine if part.logprobs for token in part.logprobs.tokens or []]
        assert choice.logprobs is not None
        assert told == choice.logprobs.tokens


def test_seeds_decide_each_choice(client: openai.OpenAI, run: LoadedRun) -> None:
    asked: dict[str, Any] = {"model": "small", "temperature": 0.7, "max_tokens": 30, "extra_body": {"top_k": 40}}
    both = client.completions.create(prompt=["def f(", "x = "], n=3, seed=7, **asked)
    assert [choice.index for choice in both.choices] == list(range(6))
    for choice in both.choices:
        prompt, seed = ("def f(", "x = ")[choice.index // 3], 7 + choice.index % 3
        assert choice.text == run.complete(prompt, seed=seed, max_tokens=30).text, "the defaults of complete"
    assert len({choice.text for choice in both.choices[:3]}) == 3
    free = {client.completions.create(prompt="def f(", **asked).choices[0].text for _ in range(4)}
    assert len(free) > 1, "without a seed each answer has its own"


def test_stops_end_and_are_not_shown(client: openai.OpenAI, run: LoadedRun) -> None:
    whole = run.complete("def f(", temperature=0.0, max_tokens=40).text
    stop = whole[7:12]
    answer = client.completions.create(model="small", prompt="def f(", stop=["nowhere to be found", stop], **GREEDY)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (whole[: whole.index(stop)], "stop")
    joined = "".join(
        part.choices[0].text
        for part in client.completions.create(model="small", prompt="def f(", stop=stop, stream=True, **GREEDY)
    )
    assert joined == answer.choices[0].text


def test_tokens_are_as_good_as_text(client: openai.OpenAI, run: LoadedRun) -> None:
    tokens = [run.encode("def f("), run.encode("class")]
    texts = client.completions.create(model="small", prompt=["def f(", "class"], **GREEDY)
    assert [c.text for c in client.completions.create(model="small", prompt=tokens, **GREEDY).choices] == [
        c.text for c in texts.choices
    ]
    one = client.completions.create(model="small", prompt=tokens[1], **GREEDY)
    assert one.choices[0].text == texts.choices[1].text


@pytest.mark.parametrize("most", [0, 12])
def test_echoed_log_probabilities_are_the_models_own(client: openai.OpenAI, run: LoadedRun, most: int) -> None:
    prompt = "def f(é):\n"
    answer = client.completions.create(model="small", prompt=prompt, echo=True, logprobs=3, max_tokens=most, temperature=0)
    (choice,) = answer.choices
    assert choice.text.startswith(prompt)
    assert bool(choice.text[len(prompt) :]) == (most > 0)
    made = run.complete(prompt, max_tokens=most, temperature=0.0).tokens if most else ()
    tokens = [*run.encode(prompt), *made]
    expected = run.read(tokens, 0, 3)
    told = choice.logprobs
    assert told is not None and told.token_logprobs is not None and told.top_logprobs is not None
    assert told.tokens is not None and told.text_offset is not None
    assert told.token_logprobs[:1] == [None]
    assert told.token_logprobs[1:] == pytest.approx([one.log_probability for one in expected[1:]], abs=1e-5)
    for token, best, one in zip(told.tokens[1:], told.top_logprobs[1:], expected[1:], strict=True):
        assert best[token] == pytest.approx(one.log_probability, abs=1e-5)
        assert sorted(best.values(), reverse=True)[:3] == pytest.approx([value for _, value in one.likeliest], abs=1e-5)
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert token.startswith("token_id:") or choice.text[offset:].startswith(token)


def test_log_probabilities_end_where_the_text_ends(client: openai.OpenAI, run: LoadedRun) -> None:
    whole = run.complete("def f(", temperature=0.0, max_tokens=40).text
    answer = client.completions.create(model="small", prompt="def f(", stop=whole[9:14], logprobs=0, **GREEDY)
    told = answer.choices[0].logprobs
    assert told is not None and told.text_offset is not None
    assert told.text_offset[-1] < len(answer.choices[0].text) == whole.index(whole[9:14])


def test_penalties_and_bias_do_what_they_say(client: openai.OpenAI, run: LoadedRun) -> None:
    (newline,) = run.encode("\n")
    biased = client.completions.create(model="small", prompt="x", logit_bias={str(newline): 100}, **GREEDY)
    assert biased.choices[0].text == "\n" * 40
    plain = client.completions.create(model="small", prompt="x", **GREEDY)
    for name in ("frequency_penalty", "presence_penalty"):
        asked: dict[str, Any] = {"model": "small", "prompt": "x", **GREEDY, name: 2.0}
        other = client.completions.create(**asked)
        assert other.choices[0].text != plain.choices[0].text, name


def test_twenty_at_once_are_each_as_alone(client: openai.OpenAI, run: LoadedRun) -> None:
    prompts = [f"def f{number}(self, {'x' * number}" for number in range(20)]

    def ask(prompt: str) -> str:
        answer: openai.types.Completion = client.completions.create(model="small", prompt=prompt, **GREEDY)
        return answer.choices[0].text

    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(ask, prompts))
    assert together == [run.complete(prompt, temperature=0.0, max_tokens=40).text for prompt in prompts]


def test_a_wrong_token_learns_nothing(url: str) -> None:
    port = int(url.rpartition(":")[2])
    for token in (None, TOKEN[:-1], TOKEN + "x", "é"):
        for path in ("/v1/models", "/v1/completions", "/", "/nothing", "/healthz/"):
            status, body, headers = Client(port, token)("GET", path)
            assert (status, body["error"]["code"], headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-wrong", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError),
    ):
        wrong.models.list()
    assert Client(port, None)("GET", "/healthz")[:2] == (200, {"status": "ok"})
    assert Client(port, None)("GET", "/readyz")[1]["status"] == "ready"


@pytest.mark.parametrize(
    ("changes", "param", "complaint"),
    [
        ({"max_tokens": 500}, "max_tokens", "context of 128"),
        ({"prompt": "x = 1\n" * 99}, "prompt", "truncate_prompt_tokens"),
        ({"prompt": [3, 300]}, "prompt", "token 300"),
        ({"prompt": []}, "prompt", "list"),
        ({"suffix": "}"}, "suffix", "not supported"),
        ({"best_of": 3}, "best_of", "not supported"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"n": 0}, "n", "from 1"),
        ({"stop": [""]}, "stop", "empty"),
        ({"logprobs": 99}, "logprobs", "from 0 to 20"),
        ({"logit_bias": {"300": 1}}, "logit_bias", "300"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "token ids"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream=true"),
        ({"extra_body": {"top_q": 1}}, "top_q", "Unknown parameter"),
        ({"extra_body": {"top_k": True}}, "top_k", "whole number"),
        ({"frequency_penalty": 2.5}, "frequency_penalty", "from -2 to 2"),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused_by_name(
    client: openai.OpenAI, changes: dict[str, Any], param: str, complaint: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=complaint) as caught:
        client.completions.create(**{"model": "small", "prompt": "x", **changes})
    assert caught.value.param == param


def test_a_prompt_that_is_too_long_is_cut_where_that_was_asked_for(client: openai.OpenAI, run: LoadedRun) -> None:
    prompt = "x = 1\n" * 99
    answer = client.completions.create(model="small", prompt=prompt, extra_body={"truncate_prompt_tokens": -1}, **GREEDY)
    assert answer.choices[0].text == run.complete(prompt, temperature=0.0, max_tokens=40).text
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 128 - 40


def test_chat_is_refused_with_its_reason(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no chat template"):
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "hi"}])


def test_whoever_goes_away_keeps_nobody_waiting(url: str, client: openai.OpenAI) -> None:
    """A million tokens were asked for: minutes, were they made."""
    look = Client(int(url.rpartition(":")[2]), None)
    asked: dict[str, Any] = {"model": "long", "prompt": "x", "max_tokens": 8000, "n": 128, "logit_bias": {"0": -100}}
    stream = client.completions.create(stream=True, **asked)
    next(iter(stream))
    assert look("GET", "/readyz")[1]["requests"] == 1
    other = client.completions.create(model="small", prompt="x", **GREEDY)
    assert other.choices[0].finish_reason, "a short request does not wait for a long one"
    assert eventually(lambda: look("GET", "/readyz")[1]["requests"] == 1), "the long one is still at work"
    stream.close()
    assert eventually(lambda: look("GET", "/readyz")[1]["requests"] == 0)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1.0).completions.create(**asked)
    assert eventually(lambda: look("GET", "/readyz")[1]["requests"] == 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_when_what_was_asked_is_answered(folder: Path, run: LoadedRun, number: int) -> None:
    process, url = begin(folder)
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(2)]
    assert "the token of" in said[1], said
    token = said[1].partition("the token of this time: ")[2].split()[0]
    with openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0, timeout=60) as client:
        bias = {str(token): 100 for token in run.encode("\n")}
        stream = client.completions.create(model="long", prompt="x", max_tokens=3000, logit_bias=bias, stream=True)
        first = next(stream)
        process.send_signal(number)
        text = first.choices[0].text + "".join(part.choices[0].text for part in stream)
        assert text == "\n" * 3000
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert token not in err, "told once"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--run", "nowhere"], "is no run"),
        (["--run", "small", "--run", "small"], "another run has the name"),
        (["--run", "small", "--token-file", "nofile"], "cannot be read"),
        (["--run", "small", "--host", "no such host"], "no such address"),
    ],
)
def test_what_cannot_be_served_is_one_message(
    folder: Path,
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main(["serve", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_port_that_is_taken_and_a_short_token_are_one_message(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["serve", "--run", "small", "--port", url.rpartition(":")[2]]) == 2
    assert "is in use" in capsys.readouterr().err
    monkeypatch.setenv("AUTONAS_TOKEN", "secret")
    assert main(["serve", "--run", "small"]) == 2
    assert "at least 16" in capsys.readouterr().err
