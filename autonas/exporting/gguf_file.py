"""A run as one GGUF file for llama.cpp, in float32 or with Q8_0 matrices: for what is shaped like Llama, and no other.

llama.cpp's `llama` rotates neighbours, (x[2i], x[2i+1]), where our rope rotates halves: the rows of queries and keys are
reordered, head by head, which changes no score.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray

from autonas.arch import ArchSpec
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CheckpointError, TokenizerError
from autonas.exporting.parts import Parts, join_parts, split_parts
from autonas.exporting.plain import OwnRuntime
from autonas.loaded_run import LoadedRun
from autonas.model.blocks import NORM_EPSILON
from autonas.model.positions import ROPE_BASE
from autonas.model.transformer import Transformer

FLOAT: Final = "model-f32.gguf"
INT8: Final = "model-q8_0.gguf"
ARCHITECTURE: Final = "llama"
_SPEC: Final = "autonas.spec"
_TOP: Final = {
    "embedding": "token_embd.weight",
    "final_norm.weight": "output_norm.weight",
    "unembedding": "output.weight",
}
_LAYER: Final = {
    "attention_norm.weight": "attn_norm.weight",
    "query": "attn_q.weight",
    "key": "attn_k.weight",
    "value": "attn_v.weight",
    "out": "attn_output.weight",
    "feed_forward_norm.weight": "ffn_norm.weight",
    "gate": "ffn_gate.weight",
    "up": "ffn_up.weight",
    "down": "ffn_down.weight",
}
_ROW: Final = 32  # numbers that share a scale in Q8_0: a row must have a multiple of it


def write(loaded: LoadedRun, folder: Path) -> dict[str, Any]:
    """Write the file in float32 into an existing folder; returns what is to be told of it.

    Raises:
        TokenizerError: llama.cpp cannot split texts as the tokenizer does.
    """
    write_file(loaded, folder / FLOAT)
    return {"file": FLOAT}


def write_int8(loaded: LoadedRun, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Write the file with matrices in Q8_0; returns it, and those left in float32, whose rows have no whole blocks."""
    return folder / INT8, write_file(loaded, folder / INT8, quantise=True)


def write_file(loaded: LoadedRun, path: Path, *, quantise: bool = False) -> tuple[str, ...]:
    """Write one file; returns the names of matrices that were to be quantised and could not be."""
    spec = loaded.spec
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_name(f"autonas {spec.fingerprint}")
    writer.add_string(_SPEC, json.dumps(spec.to_dict()))
    writer.add_vocab_size(spec.vocab_size)
    writer.add_context_length(spec.context_length)
    writer.add_embedding_length(spec.width)
    writer.add_block_count(spec.layers)
    writer.add_feed_forward_length(spec.ffn_width)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_rope_dimension_count(spec.head_width)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quantise else gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, loaded.tokenizer)
    left = []
    for name, array in file_tensors(spec, split_parts(spec, loaded.model.state_dict())).items():
        if quantise and array.ndim == 2 and array.shape[1] % _ROW == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
            if quantise and array.ndim == 2:
                left.append(name)
    if quantise:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tuple(left)


def file_tensors(spec: ArchSpec, parts: Parts) -> dict[str, NDArray[np.float32]]:
    """The weights under llama.cpp's names and in its order of rows."""
    return {
        name: np.ascontiguousarray(_interleave(parts[part], _heads(spec, part)).float().numpy())
        for part, name in _names(spec).items()
    }


def file_parts(spec: ArchSpec, tensors: Mapping[str, NDArray[np.float32]]) -> Parts:
    """The inverse of `file_tensors`. Raises KeyError where a weight is missing."""
    return {
        part: _halves(torch.from_numpy(np.array(tensors[name], dtype=np.float32)), _heads(spec, part))
        for part, name in _names(spec).items()
    }


def _names(spec: ArchSpec) -> dict[str, str]:
    top = {part: name for part, name in _TOP.items() if part != "unembedding" or not spec.tied_embeddings}
    inside = {f"blocks.{layer}.{part}": f"blk.{layer}.{name}" for layer in range(spec.layers) for part, name in _LAYER.items()}
    return top | inside


def _heads(spec: ArchSpec, part: str) -> int:
    """Of a part whose rows are reordered; 0 of any other."""
    return spec.heads if part.endswith(".query") else spec.kv_heads if part.endswith(".key") else 0


def _interleave(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Row i of a head's first half, then row i of its second, and so on."""
    return rows.view(heads, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape) if heads else rows


def _halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    return rows.view(heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape) if heads else rows


def check_tokenizer(tokenizer: Tokenizer) -> None:
    """See that llama.cpp's "gpt-2" splits texts as this tokenizer does. Raises TokenizerError."""
    values = json.loads(tokenizer.to_bytes())
    splitter, model = values.get("pre_tokenizer") or {}, values["model"]
    wanted = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    plain = all(splitter.get(name) == value for name, value in wanted.items()) and values.get("normalizer") is None
    if model.get("type") != "BPE" or not plain or model.get("ignore_merges") or model.get("byte_fallback"):
        raise TokenizerError(
            "gguf: the tokenizer is no byte-level BPE with GPT-2's way of splitting, which is what this export knows how to "
            "give to llama.cpp; export to hf or onnx, or train with a tokenizer that autonas makes"
        )


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    check_tokenizer(tokenizer)
    values = json.loads(tokenizer.to_bytes())
    added = {each["id"]: each for each in values.get("added_tokens", ())}
    tokens = {place: text for text, place in values["model"]["vocab"].items()}
    tokens |= {place: each["content"] for place, each in added.items()}
    kinds = gguf.TokenType
    types = []
    for place in range(tokenizer.vocab_size):
        if place in added:
            types.append(kinds.CONTROL if added[place]["special"] else kinds.USER_DEFINED)
        else:
            types.append(kinds.NORMAL if place in tokens else kinds.UNUSED)
    merges = [each if isinstance(each, str) else " ".join(each) for each in values["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens.get(place, f"<unused {place}>") for place in range(tokenizer.vocab_size)])
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.end_of_text)
    writer.add_eos_token_id(tokenizer.end_of_text)
    writer.add_add_bos_token(False)


def read_file(path: Path) -> LoadedRun:
    """The file as autonas reads it: what llama.cpp would compute with, in our own model.

    Raises:
        CheckpointError: it is damaged, was not written by autonas, or says something else of the architecture than its spec.
    """
    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        spec = ArchSpec.from_dict(json.loads(fields[_SPEC]))
        arrays = {each.name: gguf.quants.dequantize(each.data, each.tensor_type) for each in reader.tensors}
        model = Transformer(spec)
        model.load_state_dict(join_parts(spec, file_parts(spec, arrays)))
        said = {name: fields[f"{ARCHITECTURE}.{name}"] for name in _said(spec)}
    except (OSError, ValueError, KeyError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"{path}: is no whole file that autonas wrote ({error}); export the run again") from error
    wrong = [name for name, value in _said(spec).items() if not np.isclose(said[name], value, rtol=1e-6)]
    if wrong:
        raise CheckpointError(f"{path}: {wrong[0]} is {said[wrong[0]]}, and the architecture has {_said(spec)[wrong[0]]}")
    return LoadedRun(model=model, tokenizer=_read_tokenizer(fields), spec=spec)


def _said(spec: ArchSpec) -> dict[str, float]:
    """What the file tells llama.cpp of the architecture."""
    return {
        "block_count": spec.layers,
        "embedding_length": spec.width,
        "feed_forward_length": spec.ffn_width,
        "attention.head_count": spec.heads,
        "attention.head_count_kv": spec.kv_heads,
        "rope.dimension_count": spec.head_width,
        "rope.freq_base": ROPE_BASE,
        "attention.layer_norm_rms_epsilon": NORM_EPSILON,
        "context_length": spec.context_length,
        "vocab_size": spec.vocab_size,
    }


def _read_tokenizer(fields: Mapping[str, Any]) -> Tokenizer:
    """Byte-level BPE from the file's tokens and merges."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(each.split(" ")) for each in fields["tokenizer.ggml.merges"]]
    usual = {text: place for place, text in enumerate(tokens) if types[place] != gguf.TokenType.UNUSED}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=usual, merges=merges))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.encode_special_tokens = True
    special = [text for text, place in usual.items() if types[place] == gguf.TokenType.CONTROL]
    backend.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False) for text in special])
    return Tokenizer(backend, int(fields["tokenizer.ggml.eos_token_id"]))


def has_llama() -> bool:
    """Whether llama.cpp is installed here, as llama-cpp-python."""
    return importlib.util.find_spec("llama_cpp") is not None


def read_back(path: Path) -> OwnRuntime:
    """The file without llama.cpp: its weights and its tokenizer, in our own model."""
    version = importlib.metadata.version("gguf")
    return OwnRuntime(read_file(path), f"gguf {version} and autonas (llama.cpp is not installed, and was not run)")


@functools.cache  # llama.cpp calls it for as long as the process lives
def _silence() -> Any:
    """No warnings on stderr: it pads a context to 256, and then warns that the model was trained with less."""
    import llama_cpp

    callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(callback, None)
    return callback


class LlamaRuntime:
    """The file in llama.cpp, on the processor, with a cache in float32."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        reader = gguf.GGUFReader(path)
        context = int(reader.fields[f"{ARCHITECTURE}.context_length"].contents())
        self.name = f"llama-cpp-python {llama_cpp.__version__}"
        _silence()
        self._llama: Any = llama_cpp.Llama(
            str(path),
            n_ctx=context,
            n_batch=context,
            n_threads=torch.get_num_threads(),
            n_threads_batch=torch.get_num_threads(),
            type_k=llama_cpp.GGML_TYPE_F32,
            type_v=llama_cpp.GGML_TYPE_F32,
            logits_all=True,
            verbose=False,
        )

    def logits(self, tokens: Sequence[int], cut: int = 0) -> NDArray[np.float32]:
        self._llama.reset()
        for piece in filter(len, (tokens[:cut], tokens[cut:])):
            self._llama.eval(list(piece))
        found: NDArray[np.float32] = self._llama.scores[: len(tokens)].copy()
        return found

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        self._llama.reset()
        made = self._llama.generate(list(prompt), temp=0.0, repeat_penalty=1.0)
        return [next(made) for _ in range(count)]

    def encode(self, text: str) -> list[int]:
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=False))

    def decode(self, tokens: Sequence[int]) -> str:
        text: bytes = self._llama.detokenize(list(tokens))
        return text.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Free what llama.cpp holds: at the end of the process it would be too late."""
        self._llama.close()


def open_file(path: Path) -> OwnRuntime | LlamaRuntime:
    """The file in llama.cpp where that is installed, else read back into autonas."""
    return LlamaRuntime(path) if has_llama() else read_back(path)
