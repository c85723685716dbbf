"""Every architecture of the space as an ONNX decoder, run in onnxruntime: logits, cache, padded rows, int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from autonas.exporting import onnx_folder
from autonas.exporting.parity import check_parity
from tests.exporting.conftest import EVERY, LLAMA, Make, asked, named

ALIBI = {"norm": "layernorm", "activation": "geglu", "position": "alibi", "tied_embeddings": True, "kv_heads": 2}
LEARNED = {**ALIBI, "position": "learned"}


@pytest.mark.parametrize("choices", EVERY, ids=named)
def test_logits_and_greedy_tokens_are_ours(make: Make, tmp_path: Path, choices: dict[str, Any]) -> None:
    loaded = make(**choices)
    onnx_folder.write(loaded, tmp_path)
    parity = check_parity(asked(loaded), onnx_folder.OnnxRuntime(tmp_path))
    assert parity.tokens_compared == 8 * 24 and not parity.near_ties
    assert parity.largest_difference < parity.tolerance / 3, "the tolerance leaves room"


@pytest.mark.parametrize("choices", [LLAMA, ALIBI, LEARNED], ids=named)
def test_rows_of_other_lengths_may_be_padded_on_their_left(make: Make, tmp_path: Path, choices: dict[str, Any]) -> None:
    loaded = make(**choices)
    onnx_folder.write(loaded, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / onnx_folder.FLOAT, providers=["CPUExecutionProvider"])
    rows = [[5, 6, 7, 8, 9], [10, 11], [12]]
    length = max(map(len, rows))
    ids = np.array([[0] * (length - len(row)) + row for row in rows])
    mask = np.array([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    past = {
        each.name: np.zeros((len(rows), each.shape[1], 0, each.shape[3]), dtype=np.float32)
        for each in session.get_inputs()
        if each.name.startswith("past_")
    }
    logits, *present = session.run(None, {"input_ids": ids, "attention_mask": mask, **past})
    assert np.isfinite(logits).all()
    more = {"input_ids": np.array([[3]] * len(rows)), "attention_mask": np.pad(mask, ((0, 0), (0, 1)), constant_values=1)}
    after = session.run(None, {**more, **dict(zip(past, present, strict=True))})[0]
    runtime = onnx_folder.OnnxRuntime(tmp_path)
    for number, row in enumerate(rows):
        alone = runtime.logits([*row, 3])
        np.testing.assert_allclose(logits[number, -1], alone[-2], atol=1e-3)
        np.testing.assert_allclose(after[number, -1], alone[-1], atol=1e-3)


def test_a_tied_embedding_is_stored_once(make: Make, tmp_path: Path) -> None:
    sizes = []
    for tied in (True, False):
        folder = tmp_path / str(tied)
        folder.mkdir()
        onnx_folder.write(make(**{**LLAMA, "tied_embeddings": tied}), folder)
        sizes.append((folder / onnx_folder.FLOAT).stat().st_size)
    loaded = make(**LLAMA)
    assert sizes[1] - sizes[0] == pytest.approx(4 * loaded.spec.vocab_size * loaded.spec.width, rel=0.02)


def test_int8_matrices_are_int8_and_near_the_model(make: Make, tmp_path: Path) -> None:
    loaded = make(**{**LLAMA, "tied_embeddings": True})
    onnx_folder.write(loaded, tmp_path)
    path = onnx_folder.write_int8(loaded, tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "config.json",
        "model.onnx",
        "model_int8.onnx",
        "tokenizer.json",
    ]
    kinds = {each.name: each.data_type for each in onnx.load(path).graph.initializer}
    small_kinds = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    matrices = [name for name, kind in kinds.items() if kind in small_kinds and name.endswith("_quantized")]
    assert len(matrices) == 2 + 4 * loaded.spec.layers, "the embedding, the head, and four matrices of each layer"
    whole, small = (onnx_folder.OnnxRuntime(tmp_path, file) for file in (onnx_folder.FLOAT, onnx_folder.INT8))
    tokens = list(range(20, 60))
    ours, theirs = whole.logits(tokens), small.logits(tokens)
    assert float(np.abs(ours - theirs).max()) > 1e-4, "something was quantised"
    assert float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) > 0.98
