"""Time per output token and time to the first token of an untrained model, measured once on an exclusive device.

Weights do not matter, shapes do: the model is built untrained, timed against a small fixed reference model (the protocol is in
timing.py) and the result is kept in the cache (latency_cache.py). Sampling is greedy; the tokenizer is not timed.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from autonas.arch import ArchSpec
from autonas.errors import DeviceError, InfeasibleArch
from autonas.evaluation.device_state import clock_mhz, driver, others_on_gpu
from autonas.evaluation.latency_cache import (
    LatencyResult,
    load_table,
    look_up,
    read_cached,
    read_entry,
    write_cached,
    write_entry,
)
from autonas.evaluation.lease import alone
from autonas.evaluation.timing import OthersOnCpu, Protocol, Timed, attempt_until_quiet, latency_score, own_time, run_blocks
from autonas.machine import processor_name
from autonas.model.cache import KVCache
from autonas.model.transformer import Transformer, build_model
from autonas.trial import LatencySettings, Score

PROTOCOL_VERSION: Final = "3"
_PREFILL_TOKENS: Final = 256
_SHORT_PREFILL_TOKENS: Final = 64
_GLANCE_TOKENS: Final = 10
_CPU: Final = Protocol()
_GPU: Final = Protocol(max_spread=0.02)
# Small enough to be quick and, as the candidates of a small search, bound by overhead more than by arithmetic. Never change it:
# reference times in caches and in published numbers are of this very shape.
_REFERENCE: Final = ArchSpec(layers=2, width=64, heads=2, kv_heads=2, ffn_multiplier=4.0, vocab_size=2048)


def measured_latency(spec: ArchSpec, settings: LatencySettings, waiting: Callable[[str], None] | None = None) -> LatencyResult:
    """The latency of `spec` from the settings' table, else from the cache, else measured now and cached.

    Raises:
        InfeasibleArch: the table does not have the architecture.
        RecipeError: the table is not one.
        DeviceError: this machine lacks the device or the number format.
        ResourceError: the cache cannot be written.
    """
    if settings.table is not None:
        return look_up(load_table(settings.table), spec, settings.table)
    question = {"spec": spec.inference_fingerprint, **latency_stamps(spec, settings)}
    found = read_cached(question)
    if found is None:
        with alone(lease_name(resolve_device(settings.device)), waiting):
            found = read_cached(question)  # whoever held the lease may have answered it
            if found is None:
                found = _measure(spec, settings)
                write_cached(question, found)
    return found


def measure_latency(spec: ArchSpec, settings: LatencySettings, waiting: Callable[[str], None] | None = None) -> LatencyResult:
    """As `measured_latency`, but always measured now and kept nowhere but the reference's own time."""
    with alone(lease_name(resolve_device(settings.device)), waiting):
        return _measure(spec, settings)


def cached_latency(spec: ArchSpec, settings: LatencySettings) -> LatencyResult | None:
    """What an earlier measurement found. Raises DeviceError as `glance_at_latency`."""
    return read_cached({"spec": spec.inference_fingerprint, **latency_stamps(spec, settings)})


def glance_at_latency(spec: ArchSpec, settings: LatencySettings) -> float:
    """Milliseconds per output token: those of the cache, else the median of a few tokens timed now, beside whatever else runs.

    Takes a second where a measurement by the protocol takes many. Good enough for a plan, never a score.

    Raises:
        DeviceError: this machine lacks the device or the number format.
    """
    if known := cached_latency(spec, settings):
        return known.decode.value
    device = resolve_device(settings.device)
    with _quiet_process(settings.threads):
        model = build_model(spec, 0, device, resolve_dtype(settings.dtype, device)).eval()
        step = _DecodeSteps(model, settings.batch, max(min(settings.context, spec.context_length), 2))
        step(_GLANCE_TOKENS)
        return 1000 * statistics.median(step(1) for _ in range(_GLANCE_TOKENS))


def resolve_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the first CUDA device, else the processor.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise DeviceError(f"device {name!r} cannot be timed; choose auto, cpu, cuda or cuda:N")
    device = torch.device(name if ":" in name else "cuda:0")
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name!r} is not on this machine; choose cpu, or install torch with CUDA")
    return device


def lease_name(device: torch.device) -> str:
    """What the locks of lease.py call `device`: one name for one piece of hardware, however a process numbers its devices."""
    return "cpu" if device.type == "cpu" else f"cuda-{torch.cuda.get_device_properties(device).uuid}"


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format called `name`; "auto" is bfloat16 on a CUDA device that computes it natively, else float32.

    Raises:
        DeviceError: bfloat16 asked of a CUDA device without it.
    """
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        return torch.bfloat16 if native else torch.float32
    if name == "bfloat16" and device.type == "cuda" and not native:
        raise DeviceError(f"{torch.cuda.get_device_name(device)} does not compute bfloat16; choose dtype: float32")
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def latency_stamps(spec: ArchSpec, settings: LatencySettings) -> dict[str, str]:
    """Everything but the architecture that a latency depends on: what the number means, and its key in the cache."""
    device = resolve_device(settings.device)
    context = min(settings.context, spec.context_length)
    return {
        "runtime": settings.runtime,
        "device": processor_name() if device.type == "cpu" else torch.cuda.get_device_name(device),
        "dtype": str(resolve_dtype(settings.dtype, device)).removeprefix("torch."),
        "threads": str(settings.threads),
        "batch": str(settings.batch),
        "context": str(context),
        "prefill_tokens": str(min(_PREFILL_TOKENS, context)),
        "torch": str(torch.__version__),
        "driver": "" if device.type == "cpu" else driver(),
        "system": f"{platform.system()} {platform.machine()}",
        "protocol": PROTOCOL_VERSION,
    }


def _measure(spec: ArchSpec, settings: LatencySettings) -> LatencyResult:
    """Time `spec`; the caller holds the device's lease."""
    stamps = latency_stamps(spec, settings)
    context = int(stamps["context"])
    if context < 2:
        raise InfeasibleArch("context", f"a context of {context} leaves no token to time; give latency a context of at least 2")
    device = resolve_device(settings.device)
    protocol = _CPU if device.type == "cpu" else _GPU
    others = OthersOnCpu() if device.type == "cpu" else functools.partial(others_on_gpu, device)
    dtype = resolve_dtype(settings.dtype, device)
    reference_spec = dataclasses.replace(_REFERENCE, context_length=context)
    scores: dict[str, Score] = {}
    clocks = [clock_mhz(device)]
    with _quiet_process(settings.threads):
        models = [build_model(s, 0, device, dtype).eval() for s in (spec, reference_spec)]
        for name, timing, tokens in _timings(context, int(stamps["prefill_tokens"])):
            candidate, reference = (timing(model, settings.batch, tokens) for model in models)
            question = {**stamps, "host": platform.node(), "what": f"{name} {tokens}"}
            known = _reference_time(reference, protocol, question, others)
            attempt = functools.partial(run_blocks, candidate, reference, protocol, others)
            # Time per token is an objective, and worth waiting for.
            patience = protocol if name == "decode" else dataclasses.replace(protocol, search_s=0.0)
            attempts, found = attempt_until_quiet(attempt, patience, known)
            unit = "ms/token" if name == "decode" else "ms"
            scores[name] = latency_score(attempts, found, known, unit, protocol)
            clocks.append(clock_mhz(device))
    seen = sorted({clock for clock in clocks if clock is not None})
    clock = "unknown" if not seen else f"{seen[0]} MHz" if len(seen) == 1 else f"{seen[0]}–{seen[-1]} MHz"
    return LatencyResult(
        decode=scores["decode"],
        prefill=scores["prefill"],
        prefill_short=scores.get("prefill_short"),
        stamps={**stamps, "clock": clock},
    )


def _timings(context: int, prefill_tokens: int) -> list[tuple[str, type[_DecodeSteps] | type[_Prefills], int]]:
    """What is timed, and with how many tokens."""
    timings: list[tuple[str, type[_DecodeSteps] | type[_Prefills], int]] = [("decode", _DecodeSteps, context)]
    timings.append(("prefill", _Prefills, prefill_tokens))
    if prefill_tokens > _SHORT_PREFILL_TOKENS:
        timings.append(("prefill_short", _Prefills, _SHORT_PREFILL_TOKENS))
    return timings


def _reference_time(reference: Timed, protocol: Protocol, question: dict[str, str], others: Callable[[], float]) -> float:
    """Seconds the reference takes: measured once per machine, software and settings, so that all trials share it."""
    stored = read_entry("reference", question)
    if isinstance(stored, float) and stored > 0:
        return stored
    seconds = own_time(lambda: run_blocks(reference, reference, protocol, others), protocol)
    write_entry("reference", question, seconds)
    return seconds


@contextmanager
def _quiet_process(threads: int) -> Iterator[None]:
    """This process without gradients, garbage collection, and with so many threads; all as before afterwards."""
    threads_before, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(threads)
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads_before)
        if collecting:
            gc.enable()


class _DecodeSteps:
    """One token after another, each the last one's most probable successor, with `context` tokens attended to every time."""

    def __init__(self, model: Transformer, batch: int, context: int) -> None:
        self._model, self._before = model, context - 1
        weight = model.embedding.weight
        self._device = weight.device
        self._cache = KVCache(model.spec, batch, context, weight.dtype, weight.device)
        self._token = torch.ones(batch, 1, dtype=torch.int64, device=weight.device) % model.spec.vocab_size
        model.features(self._token.expand(batch, self._before), self._cache)

    def __call__(self, count: int) -> float:
        cache, token = self._cache, self._token
        _synchronize(self._device)
        start = time.perf_counter()
        for _ in range(count):
            # Back to the same length, by the host alone: rows of equal length are told by `longest`.
            cache.longest = self._before
            token = self._model(token, cache)[:, -1].argmax(dim=-1, keepdim=True)
        _synchronize(self._device)
        return time.perf_counter() - start


class _Prefills:
    """A whole prompt into an empty cache, up to the first output token."""

    def __init__(self, model: Transformer, batch: int, tokens: int) -> None:
        self._model = model
        weight = model.embedding.weight
        self._device = weight.device
        self._cache = KVCache(model.spec, batch, tokens, weight.dtype, weight.device)
        generator = torch.Generator().manual_seed(0)
        self._tokens = torch.randint(model.spec.vocab_size, (batch, tokens), generator=generator).to(weight.device)

    def __call__(self, count: int) -> float:
        _synchronize(self._device)
        start = time.perf_counter()
        for _ in range(count):
            self._cache.longest = 0
            features = self._model.features(self._tokens, self._cache)[:, -1]
            self._model.head(features).argmax(dim=-1)
        _synchronize(self._device)
        return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    # Wall time around a synchronised block, not device events: at batch 1 small models wait for the host, as their user does.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
