"""How fast this device multiplies matrices: of a model's own shapes, weighted by its work, and of the best square ones.

`bench train` divides by these rates: by the squares' for the MFU, by the model's shapes' for the roofline efficiency. Attention
is counted in the work and not among the shapes: it is held to the rate of the others.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.bench.turns import Turns
from autonas.model.formats import has_bfloat16
from autonas.training.graphs import capture, warm_up
from autonas.training.loop import finish_steps

_SQUARES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
_IN_GRAPH = 20  # products


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """FLOP/s of each product that was timed, and what they come to."""

    dtype: str
    shapes: Mapping[str, float]
    model: float  # FLOPs of all of the model's products over the seconds they take
    square: float


def serve(turns: Turns, spec: ArchSpec, batch_tokens: int, device_name: str, threads: int, shape_s: float) -> None:
    """A contestant that measures the rates whenever it is asked, whatever it is asked."""
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    turns.reply(None)
    for _ in turns:
        turns.reply(measure_rates(spec, batch_tokens, device, shape_s))


@torch.no_grad()
def measure_rates(spec: ArchSpec, batch_tokens: int, device: torch.device, shape_s: float) -> Rates:
    """Time each product of a training step of `spec` on `batch_tokens`, and squares, in the format that training uses.

    Each shape is given about `shape_s` seconds.
    """
    dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32
    shapes: dict[str, float] = {}
    flops = seconds = 0.0
    for name, (inputs, outputs, times) in layer_shapes(spec).items():
        work = 2.0 * batch_tokens * inputs * outputs
        x = torch.randn(batch_tokens, inputs, device=device, dtype=dtype)
        weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
        y = torch.randn(batch_tokens, outputs, device=device, dtype=dtype)
        products: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
            "forward": lambda x, weight, y: x @ weight.T,
            "input gradient": lambda x, weight, y: y @ weight,
            "weight gradient": lambda x, weight, y: y.T @ x,
        }
        for way, product in products.items():
            taken = _time(product, (x, weight, y), device, shape_s)
            shapes[f"{name} {batch_tokens}x{inputs}x{outputs} {way}"] = work / taken
            flops += times * work
            seconds += times * taken
    squares = {f"square {n}": 2.0 * n**3 / _time_square(n, device, dtype, shape_s) for n in _SQUARES[device.type]}
    words = str(dtype).removeprefix("torch.")
    return Rates(dtype=words, shapes=shapes | squares, model=flops / seconds, square=max(squares.values()))


def layer_shapes(spec: ArchSpec) -> dict[str, tuple[int, int, int]]:
    """Inputs, outputs and number of the matrices that each token is multiplied with."""
    inner, width = spec.ffn_width, spec.width
    return {
        "qkv": (width, (spec.heads + 2 * spec.kv_heads) * spec.head_width, spec.layers),
        "attention out": (width, width, spec.layers),
        "up": (width, inner * (2 if spec.gated else 1), spec.layers),
        "down": (inner, width, spec.layers),
        "head": (width, spec.vocab_size, 1),
    }


def _time_square(n: int, device: torch.device, dtype: torch.dtype, shape_s: float) -> float:
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return _time(lambda a, b: a @ b, (a, b), device, shape_s)


def _time(product: Callable[..., Any], operands: tuple[Tensor, ...], device: torch.device, shape_s: float) -> float:
    """Seconds of one product: the best of five runs, since a rate is what the hardware can reach.

    On CUDA products are replayed from a graph: a small one takes less time than its call.
    """
    for _ in range(2):
        product(*operands)
    body: Callable[[], object] = functools.partial(product, *operands)
    each = 1
    if device.type == "cuda":
        body, each = _recorded(body, device), _IN_GRAPH

    def run(count: int) -> float:
        finish_steps(device)
        begun = time.perf_counter()
        for _ in range(count):
            body()
        finish_steps(device)
        return (time.perf_counter() - begun) / (count * each)

    count = max(1, int(shape_s / 5 / max(run(1) * each, 1e-7)))
    return min(run(count) for _ in range(5))


def _recorded(body: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """`_IN_GRAPH` times `body` as one call."""

    def all_of_them() -> None:
        for _ in range(_IN_GRAPH):
            body()

    warm_up(all_of_them, device)
    return capture(all_of_them, device)
