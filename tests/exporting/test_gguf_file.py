"""The GGUF file: every tensor and key read back, Q8_0, and llama.cpp itself where it is installed."""

from __future__ import annotations

import itertools
from pathlib import Path

import gguf
import numpy as np
import pytest
import tokenizers
import torch

from autonas.data.tokenizer import END_OF_TEXT, Tokenizer
from autonas.errors import CheckpointError, TokenizerError
from autonas.exporting import gguf_file
from autonas.exporting.parity import check_parity
from autonas.exporting.parts import split_parts
from autonas.loaded_run import LoadedRun
from tests.exporting.conftest import LLAMA, Make, asked

SHAPES = tuple(
    {**LLAMA, "width": 96, "tied_embeddings": tied, "kv_heads": kv} for tied, kv in itertools.product((True, False), (1, 2, 6))
)


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{'tied' if shape['tied_embeddings'] else 'untied'}-{shape['kv_heads']}")
def loaded(request: pytest.FixtureRequest, make: Make) -> LoadedRun:
    return make(**request.param)


def test_every_tensor_and_key_is_read_back(loaded: LoadedRun, tmp_path: Path) -> None:
    gguf_file.write(loaded, tmp_path)
    reader = gguf.GGUFReader(tmp_path / gguf_file.FLOAT)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    spec = loaded.spec
    assert fields["general.architecture"] == "llama"
    assert fields["llama.attention.head_count_kv"] == spec.kv_heads
    assert fields["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert fields["llama.rope.freq_base"] == 10000.0
    assert fields["tokenizer.ggml.model"] == "gpt2" and fields["tokenizer.ggml.pre"] == "gpt-2"
    assert len(fields["tokenizer.ggml.tokens"]) == spec.vocab_size
    assert fields["tokenizer.ggml.tokens"][fields["tokenizer.ggml.eos_token_id"]] == END_OF_TEXT
    assert not fields["tokenizer.ggml.add_bos_token"]
    arrays = {each.name: each.data for each in reader.tensors}
    assert {each.tensor_type for each in reader.tensors} == {gguf.GGMLQuantizationType.F32}
    wanted = gguf_file.file_tensors(spec, split_parts(spec, loaded.model.state_dict()))
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    back = gguf_file.read_file(tmp_path / gguf_file.FLOAT)
    ours = loaded.model.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in back.model.state_dict().items())
    assert check_parity(asked(loaded), gguf_file.read_back(tmp_path / gguf_file.FLOAT)).texts > 4


def test_rows_of_queries_are_reordered_by_the_rotation_of_neighbours(make: Make) -> None:
    """The closed form: rotating neighbours of the reordered rows gives the scores of rotating halves of ours."""
    spec = make(**LLAMA).spec
    rng = np.random.default_rng(0)
    q, k = (torch.from_numpy(rng.standard_normal((spec.width, 1))).float() for _ in range(2))
    reordered = [gguf_file._interleave(each, spec.heads).view(spec.heads, -1, 2) for each in (q, k)]
    halves = [each.view(spec.heads, 2, -1).transpose(1, 2) for each in (q, k)]
    for ours, theirs in zip(halves, reordered, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    torch.testing.assert_close(gguf_file._halves(gguf_file._interleave(q, spec.heads), spec.heads), q, rtol=0, atol=0)


def test_q8_0_where_rows_have_whole_blocks(loaded: LoadedRun, tmp_path: Path) -> None:
    path, left = gguf_file.write_int8(loaded, tmp_path)
    tensors = {each.name: each for each in gguf.GGUFReader(path).tensors}
    wanted = gguf_file.file_tensors(loaded.spec, split_parts(loaded.spec, loaded.model.state_dict()))
    quantised = {name for name, each in tensors.items() if each.tensor_type == gguf.GGMLQuantizationType.Q8_0}
    assert loaded.spec.ffn_width % 32, "an inner width of no whole blocks is among them"
    assert set(left) == {f"blk.{layer}.ffn_down.weight" for layer in range(loaded.spec.layers)}
    assert quantised == {name for name, array in wanted.items() if array.ndim == 2} - set(left)
    for name in quantised:
        array = gguf.quants.dequantize(tensors[name].data, tensors[name].tensor_type)
        blocks = np.abs(wanted[name]).reshape(-1, 32).max(axis=1) / 127  # a step of each block
        assert (np.abs(array - wanted[name]).reshape(-1, 32).max(axis=1) <= 0.51 * blocks + 1e-3 * blocks * 127).all()


def test_a_key_that_says_something_else_is_found(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "NORM_EPSILON", 1e-6)
    gguf_file.write(make(**LLAMA), tmp_path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="layer_norm_rms_epsilon"):
        gguf_file.read_file(tmp_path / gguf_file.FLOAT)


def test_a_tokenizer_that_splits_otherwise_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Digits(), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["def f(x): return x + 123\n" * 9], trainer)
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="no byte-level BPE with GPT-2's way of splitting"):
        gguf_file.check_tokenizer(Tokenizer.load(tmp_path / "tokenizer.json"))


@pytest.mark.slow
def test_llama_cpp_computes_what_the_model_does(loaded: LoadedRun, tmp_path: Path) -> None:
    if not gguf_file.has_llama():
        pytest.skip("llama-cpp-python is not installed; `make test-slow` builds it")
    gguf_file.write(loaded, tmp_path)
    runtime = gguf_file.LlamaRuntime(tmp_path / gguf_file.FLOAT)
    parity = check_parity(asked(loaded), runtime)
    runtime.close()
    assert parity.runtime.startswith("llama-cpp-python")
    assert parity.tokens_compared == 8 * 24 and not parity.near_ties
    small = gguf_file.LlamaRuntime(gguf_file.write_int8(loaded, tmp_path)[0])
    tokens = list(range(20, 60))
    theirs, ours = small.logits(tokens), asked(loaded).own.logits(tokens)
    small.close()
    assert float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) > 0.98
