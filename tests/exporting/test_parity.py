"""The check that every export passes: what it lets through, and the faults that it must catch, planted in real exports."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from autonas.errors import ExportError
from autonas.exporting import huggingface
from autonas.exporting.parity import TOLERANCE, check_parity
from autonas.exporting.plain import OwnRuntime
from tests.exporting.conftest import LLAMA, Make, asked

ATTENTION = "model.layers.1.self_attn."


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, metadata={"format": "pt"})


def swap_queries_and_keys(weights: dict[str, Tensor]) -> None:
    q, k = f"{ATTENTION}q_proj.weight", f"{ATTENTION}k_proj.weight"
    weights[q], weights[k] = weights[k], weights[q]


def transpose_one(weights: dict[str, Tensor]) -> None:
    weights[f"{ATTENTION}o_proj.weight"] = weights[f"{ATTENTION}o_proj.weight"].T


def shift_tokens(folder: Path) -> None:
    """Two entries of the vocabulary change places: every text can still be read."""
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    vocabulary = values["model"]["vocab"]
    first, second = "a", "b"
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(values))


FAULTS: dict[str, Callable[[Path], None]] = {
    "queries and keys swapped": lambda folder: edit_weights(folder, swap_queries_and_keys),
    "one matrix transposed": lambda folder: edit_weights(folder, transpose_one),
    "another norm epsilon": lambda folder: edit_config(folder, rms_norm_eps=1e-6),
    "another rope base": lambda folder: edit_config(folder, rope_parameters={"rope_type": "default", "rope_theta": 20000.0}),
    "another activation": lambda folder: edit_config(folder, hidden_act="gelu"),
    "a shifted token": shift_tokens,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(make: Make, tmp_path: Path, fault: str) -> None:
    loaded = make(**{**LLAMA, "kv_heads": 6})
    wanted = asked(loaded)
    huggingface.write(loaded, tmp_path)
    check_parity(wanted, huggingface.TransformersRuntime(tmp_path))
    FAULTS[fault](tmp_path)
    with pytest.raises(ExportError, match="encodes" if fault == "a shifted token" else "logits differ"):
        check_parity(wanted, huggingface.TransformersRuntime(tmp_path))


class Noisy(OwnRuntime):
    """The trained model itself, with noise on its logits, or with another choice at one token."""

    noise = 0.0
    choice: int | None = None

    def logits(self, tokens: Sequence[int], cut: int = 0) -> NDArray[np.float32]:
        found = super().logits(tokens, cut)
        return found + np.float32(self.noise)

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        made = super().greedy(prompt, count)
        if self.choice is not None:
            made[3] = self.choice
        return made


@pytest.mark.parametrize(("share", "passes"), [(0.5, True), (1.5, False)])
def test_the_tolerance_is_where_it_is_said_to_be(make: Make, share: float, passes: bool) -> None:
    loaded = make(**LLAMA)
    wanted = asked(loaded)
    largest = max(float(np.abs(each).max()) for each in wanted.logits)
    assert wanted.tolerance == pytest.approx(TOLERANCE * largest)
    runtime = Noisy(loaded)
    runtime.noise = share * wanted.tolerance
    if passes:
        parity = check_parity(wanted, runtime)
        assert parity.largest_difference == pytest.approx(runtime.noise, rel=0.25)  # and the rounding of the cache
        assert parity.tokens_compared == len(wanted.probe.prompts) * wanted.probe.new_tokens
        assert parity.near_ties == ()
    else:
        with pytest.raises(ExportError, match="logits differ"):
            check_parity(wanted, runtime)


def test_another_greedy_token_fails_unless_it_is_as_likely(make: Make) -> None:
    loaded = make(**LLAMA)
    wanted = asked(loaded)
    runtime = Noisy(loaded)
    runtime.choice = next(token for token in range(loaded.spec.vocab_size) if all(c[3] != token for c in wanted.completions))
    with pytest.raises(ExportError, match="token 4 after a prompt"):
        check_parity(wanted, runtime)
    # A model to which all tokens are alike: rounding decides, and that is said.
    with torch.no_grad():
        loaded.model.get_parameter("unembedding.weight").zero_()
    wanted = asked(loaded)
    runtime = Noisy(loaded)
    runtime.choice = 7
    parity = check_parity(wanted, runtime)
    assert len(parity.near_ties) == len(wanted.probe.prompts)
    assert parity.tokens_compared == 3 * len(wanted.probe.prompts)


def test_logits_that_are_not_numbers_fail(make: Make) -> None:
    loaded = make(**LLAMA)
    runtime = Noisy(loaded)
    runtime.noise = float("nan")
    with pytest.raises(ExportError, match="logits differ by up to inf"):
        check_parity(asked(loaded), runtime)
