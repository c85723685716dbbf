"""Latencies that are known already: a cache of this machine's measurements, and tables measured elsewhere. Without torch.

A cache entry is a JSON file named by the content of its question: the architecture without what does not touch inference, the
device, the software and the settings. A torn or foreign entry counts as absent: it is measured again and overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autonas.arch import ArchSpec
from autonas.data.cache import key_of, write_file
from autonas.errors import InfeasibleArch, RecipeError
from autonas.machine import cache_folder
from autonas.trial import Score, from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyResult:
    """Time per output token, and time to the first token of a long and of a short prompt.

    `stamps` says what the numbers mean: device, dtype, threads, batch, context, software, lengths of the prompts, protocol;
    and the clock that the device said it ran at.
    """

    decode: Score  # ms/token
    prefill: Score  # ms, of a prompt of stamps["prefill_tokens"]
    prefill_short: Score | None = None  # ms, of 64 tokens; None where the context is no longer than that
    stamps: Mapping[str, str]

    @property
    def noisy(self) -> bool:
        return "noisy" in self.decode.note


def read_cached(question: Mapping[str, str]) -> LatencyResult | None:
    """The stored answer to `question`, or None when there is none that can be read."""
    values = read_entry("arch", question)
    try:
        return from_json(LatencyResult, values)
    except (ValueError, TypeError, AssertionError):
        return None


def write_cached(question: Mapping[str, str], result: LatencyResult) -> None:
    """Store an answer.

    Raises:
        ResourceError: no space left, or no permission.
    """
    write_entry("arch", question, to_json(result))


def read_entry(kind: str, question: Mapping[str, str]) -> Any:
    """The JSON answer to `question`, or None when it is absent, torn or another question's."""
    try:
        entry = json.loads(_entry_path(kind, question).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return entry.get("answer") if isinstance(entry, dict) and entry.get("question") == dict(question) else None


def write_entry(kind: str, question: Mapping[str, str], answer: Any) -> None:
    """Store a JSON answer whole or not at all. Raises ResourceError."""
    write_file(_entry_path(kind, question), json.dumps({"question": dict(question), "answer": answer}, indent=1).encode())


def _entry_path(kind: str, question: Mapping[str, str]) -> Path:
    return cache_folder() / "latency" / f"{kind}-{key_of(dict(question))}.json"


def table_entry(spec: ArchSpec, result: LatencyResult) -> dict[str, Any]:
    """What `autonas latency --json` prints, and what a table is made of: one such object, or a list of them."""
    return {"spec": spec.to_dict(), "latency": to_json(result)}


def load_table(path: str | Path) -> dict[str, LatencyResult]:
    """Latencies by `ArchSpec.inference_fingerprint` from a file of `autonas latency --json` outputs.

    Raises:
        RecipeError: the file cannot be read, an entry is not such an output, an architecture is there twice, or the
            entries were measured on different devices or in different ways.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: the latency table cannot be read ({error.strerror}). {_HOW_TO_MEASURE}") from error
    except ValueError as error:
        raise RecipeError(f"{path}: the latency table is not JSON ({error}). {_HOW_TO_MEASURE}") from error
    table: dict[str, LatencyResult] = {}
    conditions: Mapping[str, str] | None = None
    for number, entry in enumerate(values if isinstance(values, list) else [values]):
        spec, result = _read_table_entry(entry, f"{path}: entry {number}")
        if spec.inference_fingerprint in table:
            raise RecipeError(f"{path}: entry {number} is an architecture the table already has; remove one of the two")
        conditions = conditions or result.stamps
        for name in sorted({*conditions, *result.stamps} - {"clock"}):  # which is not chosen
            if conditions.get(name) != result.stamps.get(name):
                raise RecipeError(
                    f"{path}: entry {number} was measured with {name} {result.stamps.get(name)!r}, the first with "
                    f"{conditions.get(name)!r}; a table holds measurements of one kind"
                )
        table[spec.inference_fingerprint] = result
    if not table:
        raise RecipeError(f"{path}: the latency table is empty. {_HOW_TO_MEASURE}")
    return table


_HOW_TO_MEASURE: Final = "Measure with `autonas latency --spec FILE --json` and put the outputs in one JSON list."


def _read_table_entry(entry: Any, place: str) -> tuple[ArchSpec, LatencyResult]:
    if not isinstance(entry, dict) or not {"spec", "latency"} <= set(entry) or not isinstance(entry["spec"], dict):
        raise RecipeError(f"{place} is not an object with `spec` and `latency`. {_HOW_TO_MEASURE}")
    try:
        spec = ArchSpec.from_dict(entry["spec"])
        result = from_json(LatencyResult, entry["latency"])
    except InfeasibleArch as error:
        raise RecipeError(f"{place}: {error}") from error
    except (ValueError, TypeError, AssertionError) as error:
        raise RecipeError(f"{place}: {error}. {_HOW_TO_MEASURE}") from error
    if result.decode.value <= 0:
        raise RecipeError(f"{place}: a latency of {result.decode.value} ms cannot be. {_HOW_TO_MEASURE}")
    return spec, result


def look_up(table: Mapping[str, LatencyResult], spec: ArchSpec, path: str | Path) -> LatencyResult:
    """The table's latency of `spec`.

    Raises:
        InfeasibleArch: the table does not have it; the rule is "latency table".
    """
    if spec.inference_fingerprint not in table:
        raise InfeasibleArch(
            "latency table",
            f"{path} has no latency of this architecture. Measure it on that device with `autonas latency --spec FILE --json` "
            "and add the output to the table.",
        )
    return table[spec.inference_fingerprint]
