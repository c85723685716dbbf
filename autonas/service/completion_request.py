"""A request for completions as OpenAI's API has them, read strictly: what is not understood is refused and never ignored.

https://platform.openai.com/docs/api-reference/completions/create. Ours beyond it: `top_k`, `repetition_penalty`, and
`truncate_prompt_tokens`.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from autonas.errors import RequestError, ServiceError
from autonas.model.sampling import Sampling

MAX_ROWS = 128  # completions of one request
MAX_STOPS = 16
MAX_LOGPROBS = 20
Prompt = str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What was asked, with the defaults of the API."""

    model: str
    prompts: tuple[Prompt, ...] = ("",)
    max_tokens: int = 16
    sampling: Sampling
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int
    echo: bool = False
    logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    truncate_prompt_tokens: int | None = None  # -1: as many as fit


def parse(body: bytes) -> CompletionRequest:
    """Read the body of a request.

    Raises:
        ServiceError: 400, with the name of the parameter that is wrong.
    """
    values = _object(body)
    unknown = next((name for name in values if name not in _KNOWN), None)
    if unknown is not None:
        _refuse(unknown, f"Unknown parameter: {unknown!r}. Known are {', '.join(sorted(_KNOWN))}.")
    given = {name: value for name, value in values.items() if value is not None}
    _refuse_unsupported(given)
    if "model" not in given:
        _refuse("model", "Say which model: GET /v1/models lists them.")
    n = _whole(given, "n", 1, low=1, high=MAX_ROWS)
    prompts = _prompts(given.get("prompt", ""))
    if len(prompts) * n > MAX_ROWS:
        _refuse(
            "prompt", f"{len(prompts)} prompts times n={n} are {len(prompts) * n} completions; at most {MAX_ROWS} are made."
        )
    stream = _flag(given, "stream")
    if "stream_options" in given and not stream:
        _refuse("stream_options", "stream_options are for stream=true alone.")
    return CompletionRequest(
        model=_text(given, "model"),
        prompts=prompts,
        max_tokens=_whole(given, "max_tokens", 16, low=0),
        sampling=_sampling(given),
        n=n,
        stop=_stops(given.get("stop", ())),
        # Any whole number is a seed; generators take those of 64 bits.
        seed=_whole(given, "seed", secrets.randbits(32)) % 2**64,
        echo=_flag(given, "echo"),
        logprobs=_whole(given, "logprobs", 0, low=0, high=MAX_LOGPROBS) if "logprobs" in given else None,
        stream=stream,
        include_usage=_stream_options(given.get("stream_options", {})),
        truncate_prompt_tokens=_truncation(given),
    )


_KNOWN = frozenset(
    (
        "model",
        "prompt",
        "max_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "echo",
        "logprobs",
        "stream",
        "stream_options",
        "best_of",
        "suffix",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "user",
        "top_k",
        "repetition_penalty",
        "truncate_prompt_tokens",
    )
)


def _object(body: bytes) -> dict[str, Any]:
    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number of JSON")

    try:
        values = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ServiceError(400, f"The body is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ServiceError(400, "The body is not a JSON object.")
    return values


def _refuse(param: str, message: str, code: str | None = None) -> NoReturn:
    raise ServiceError(400, message, param=param, code=code)


def _refuse_unsupported(given: Mapping[str, Any]) -> None:
    if given.get("suffix", "") != "":
        _refuse("suffix", "suffix is not supported: these models were not trained to fill in. Leave it out.")
    if "best_of" in given and given["best_of"] != given.get("n", 1):
        _refuse("best_of", "best_of is not supported. Ask for n completions with logprobs, and choose among them.")
    if "user" in given:
        _text(given, "user")  # accepted, and of no consequence


def _sampling(given: Mapping[str, Any]) -> Sampling:
    temperature = _number(given, "temperature", 1.0, 0.0, 2.0)
    top_p = _number(given, "top_p", 1.0, 0.0, 1.0)
    try:
        return Sampling(
            temperature=temperature,
            top_p=None if top_p == 1.0 else top_p,
            top_k=_whole(given, "top_k", 0, low=1) if "top_k" in given else None,
            repetition_penalty=_number(given, "repetition_penalty", 1.0, 0.01, 100.0),
            frequency_penalty=_number(given, "frequency_penalty", 0.0, -2.0, 2.0),
            presence_penalty=_number(given, "presence_penalty", 0.0, -2.0, 2.0),
            logit_bias=_bias(given.get("logit_bias", {})),
        )
    except RequestError as error:
        if isinstance(error, ServiceError):
            raise
        raise ServiceError(400, str(error), param=str(error).split()[0]) from error


def _prompts(value: Any) -> tuple[Prompt, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return tuple(value)
        if _are_tokens(value):
            return (tuple(value),)
        if all(isinstance(each, list) and _are_tokens(each) for each in value):
            return tuple(tuple(each) for each in value)
    _refuse(
        "prompt", "prompt is a string, a list of strings, a list of token ids, or a list of such lists, none of them empty."
    )


def _are_tokens(value: list[Any]) -> bool:
    return bool(value) and all(type(each) is int for each in value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [None]
    if len(stops) > MAX_STOPS or not all(isinstance(stop, str) and stop for stop in stops):
        _refuse("stop", f"stop is a text, or a list of at most {MAX_STOPS} texts, none of them empty.")
    return tuple(stops)


def _bias(value: Any) -> tuple[tuple[int, float], ...]:
    def is_entry(token: str, bias: Any) -> bool:
        return token.isascii() and token.isdecimal() and len(token) < 10 and _is_number(bias) and -100 <= bias <= 100

    if not isinstance(value, dict) or not all(is_entry(token, bias) for token, bias in value.items()):
        _refuse("logit_bias", "logit_bias maps token ids, as strings, to numbers from -100 to 100.")
    return tuple((int(token), float(bias)) for token, bias in value.items())


def _stream_options(value: Any) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"include_usage"}:
        _refuse("stream_options", 'stream_options has one key, "include_usage".')
    return _flag(value, "include_usage", "stream_options")


def _truncation(given: Mapping[str, Any]) -> int | None:
    if "truncate_prompt_tokens" not in given:
        return None
    value = _whole(given, "truncate_prompt_tokens", 0)
    if value != -1 and value < 1:
        _refuse("truncate_prompt_tokens", "truncate_prompt_tokens is how many of the last tokens to keep, or -1: what fits.")
    return value


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        _refuse(name, f"{name} is a string.")
    return value


def _flag(given: Mapping[str, Any], name: str, param: str | None = None) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        _refuse(param or name, f"{name} is true or false.")
    return value


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _number(given: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = given.get(name, default)
    if not _is_number(value) or not low <= value <= high:
        _refuse(name, f"{name} is a number from {low:g} to {high:g}.")
    return float(value)


def _whole(given: Mapping[str, Any], name: str, default: int, *, low: int | None = None, high: int | None = None) -> int:
    value = given.get(name, default)
    if type(value) is not int or (low is not None and value < low) or (high is not None and value > high):
        bounds = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
        _refuse(name, f"{name} is a whole number{bounds}.")
    return value
