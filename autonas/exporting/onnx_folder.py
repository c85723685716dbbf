"""A run as an ONNX decoder with KV cache, and the same with int8 weights; run in onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.exporting.loading import CONFIG, TOKENIZER, write_json
from autonas.exporting.onnx_graph import build_graph
from autonas.loaded_run import LoadedRun

FLOAT: Final = "model.onnx"
INT8: Final = "model_int8.onnx"
_LARGEST_FILE: Final = 1_800_000_000  # bytes of weights in a protobuf, whose limit is 2 GiB


def write(loaded: LoadedRun, folder: Path) -> dict[str, Any]:
    """Write the graph, its tokenizer and its spec into an existing folder; returns what is to be told of it."""
    _save(build_graph(loaded.spec, loaded.model.state_dict()), folder / FLOAT)
    end = loaded.tokenizer.end_of_text
    write_json(folder / CONFIG, {"autonas": {"spec": loaded.spec.to_dict(), "tuned": loaded.tuned, "end_of_text": end}})
    (folder / TOKENIZER).write_bytes(loaded.tokenizer.to_bytes())
    return {"file": FLOAT}


def write_int8(loaded: LoadedRun, folder: Path) -> Path:
    """Write the graph with int8 weights, a scale for each output, whose products quantise their inputs as they run."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole, small = folder / "unquantised.onnx", folder / INT8
    _save(build_graph(loaded.spec, loaded.model.state_dict(), share_embedding=False), whole)
    logger = logging.getLogger()
    logger.addFilter(_of_interest)
    try:
        quantize_dynamic(
            whole,
            small,
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            # Seven bits: where a processor has no instruction of its own, sums of two products of eight bits overflow.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logger.removeFilter(_of_interest)
    for path in folder.glob("unquantised.onnx*"):
        path.unlink()
    return small


def _of_interest(record: logging.LogRecord) -> bool:
    """Not the advice to prepare a graph first, which is for traced ones."""
    return "pre-processing before quantization" not in record.getMessage()


def _save(model: onnx.ModelProto, path: Path) -> None:
    large = model.ByteSize() > _LARGEST_FILE
    onnx.save_model(model, path, save_as_external_data=large, location=f"{path.name}.data" if large else None)


class OnnxRuntime:
    """The graph in onnxruntime on the processor, with our own loop around it: the cache goes out and comes in again."""

    def __init__(self, folder: Path, file: str = FLOAT) -> None:
        self.name = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
        self._caches = {each.name: each.shape for each in self._session.get_inputs() if each.name.startswith("past_")}
        self._tokenizer = Tokenizer.load(folder / TOKENIZER)

    def _read(self, tokens: Sequence[int], cache: list[NDArray[np.float32]] | None) -> list[NDArray[np.float32]]:
        """Logits (1, T, V), and the cache with these tokens in it."""
        if cache is None:
            cache = [np.zeros((1, shape[1], 0, shape[3]), dtype=np.float32) for shape in self._caches.values()]
        mask = np.ones((1, cache[0].shape[2] + len(tokens)), dtype=np.int64)
        feed = {"input_ids": np.array([tokens], dtype=np.int64), "attention_mask": mask}
        out: list[NDArray[np.float32]] = self._session.run(None, feed | dict(zip(self._caches, cache, strict=True)))
        return out

    def logits(self, tokens: Sequence[int], cut: int = 0) -> NDArray[np.float32]:
        found, cache = [], None
        for piece in filter(len, (tokens[:cut], tokens[cut:])):
            logits, *cache = self._read(piece, cache)
            found.append(logits[0])
        return np.concatenate(found)

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        made: list[int] = []
        logits, *cache = self._read(prompt, None)
        while True:
            made.append(int(logits[0, -1].argmax()))
            if len(made) == count:
                return made
            logits, *cache = self._read(made[-1:], cache)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def close(self) -> None:
        pass
