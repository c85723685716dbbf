"""Prompts and new tokens read by our own kernels, a pass in a single call, products included (autonas/kernels/decode.c).

A step of a small model by torch's calls is mostly the calls. Before a model is used this way, some tokens are read both by the
kernels and by the plain pass, and their logits are compared: what is wrong is not used, and steps.PATHS says why.

Shapes: G prompts, B rows, N new tokens, L layers, K key-value heads, D width of a head, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from autonas.kernels import Cache, Decoder, Kernels, find_kernels
from autonas.model.blocks import NORM_EPSILON
from autonas.model.native import FORMATS, activation_kind
from autonas.model.plan import Plan
from autonas.model.prompts import Tokens, common_beginning, read_prompts
from autonas.model.steps import PATHS, Choice
from autonas.model.transformer import Transformer, head_name, norm_names

BITS: Final = {torch.float64: 64, torch.float32: 32, torch.bfloat16: 16}
# In bfloat16, products of many rows are oneDNN's, whose instructions our kernels do not use.
MOST_BFLOAT16_ROWS: Final = 16
# Of logits, as a share of the largest of them.
TOLERANCES: Final = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 5e-2}
MOST_KEPT: Final = 256  # of top-k: they are kept sorted, one by one
VECTOR_BYTES: Final = 64  # of `acc`: room and rows of values are filled up to whole vectors
PROOF_TOKENS, FIRST_PROOF_TOKENS = 16, 96  # before each call; for an architecture that this process has not proved yet
# Tokens go through the model in parts, whose numbers stay in the processor's caches.
PART_TOKENS: Final = 256


class NativeDecoder:
    """A model's weights as the kernels want them: copies, made once."""

    def __init__(self, model: Transformer, kernels: Kernels) -> None:
        spec = model.spec
        self.spec, self.kernels, self.dtype = spec, kernels, model.embedding.weight.dtype
        self.acc = FORMATS[kernels.bits][1]  # of logits, and of all that is not a product's weight, key or value
        self.lanes = VECTOR_BYTES // self.acc.itemsize
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        self._kept: list[object] = []  # what the record below points to
        sites = norm_names(spec)
        names = ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")
        matrices = [weights[f"blocks.{layer}.{name}.weight"] for layer in range(spec.layers) for name in names]
        cosine, sine = (model.rope_cos[:, 0], model.rope_sin[:, 0]) if spec.position == "rope" else (None, None)
        self.record = Decoder(
            layers=spec.layers,
            width=spec.width,
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_width=spec.head_width,
            inner=spec.ffn_width,
            gated=int(spec.gated),
            kind=activation_kind(spec),
            vocabulary=spec.vocab_size,
            epsilon=NORM_EPSILON,
            embedding=self._wide(weights["embedding.weight"]),
            position=self._wide(weights.get("position_embedding.weight")),
            cosine=self._wide(cosine),
            sine=self._wide(sine),
            slopes=self._wide(model.alibi_slopes if spec.position == "alibi" else None),
            head=self._pack(weights[head_name(spec)]),
            matrices=self._list([self._pack(matrix) for matrix in matrices]),
            norm_weights=self._list([self._wide(weights[f"{site}.weight"]) for site in sites]),
            norm_biases=self._list([self._wide(weights.get(f"{site}.bias")) for site in sites]),
        )

    @property
    def address(self) -> int:
        return ctypes.addressof(self.record)

    def cache(self, rows: int, tokens: int) -> NativeCache:
        spec = self.spec
        return NativeCache(spec.layers, rows, spec.kv_heads, spec.head_width, tokens, self.dtype, self.lanes)

    def empty(self, *shape: int) -> Tensor:
        """Memory for numbers of the format of sums."""
        return torch.empty(*shape, dtype=self.acc, device="cpu")

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _wide(self, weight: Tensor | None) -> int | None:
        """The address of a copy in the format of sums."""
        return None if weight is None else self._keep(weight.to(self.acc, copy=True).contiguous())

    def _pack(self, matrix: Tensor) -> int:
        outputs, inputs = matrix.shape
        panel = 4 * self.lanes
        panels = torch.empty(-(-outputs // panel) * panel * inputs, dtype=self.dtype, device="cpu")
        matrix = matrix.contiguous()
        self.kernels.pack(torch.get_num_threads(), inputs, outputs, matrix.data_ptr(), panels.data_ptr())
        return self._keep(panels)

    def _list(self, addresses: Sequence[int | None]) -> int:
        array = (ctypes.c_void_p * len(addresses))(*addresses)
        self._kept.append(array)
        return ctypes.addressof(array)


class NativeReader:
    """Reads tokens behind caches; keeps the memory that this takes."""

    def __init__(self, decoder: NativeDecoder) -> None:
        self.decoder = decoder
        spec = decoder.spec
        self._each = 3 * spec.width + (spec.heads + 2 * spec.kv_heads) * spec.head_width + 3 * spec.ffn_width
        self._scratch = decoder.empty(0)

    def __call__(self, tokens: Tensor, prompts: NativeCache, own: NativeCache, wanted: Tensor, logits: Tensor) -> None:
        """Read `tokens` (N, 5), as decode.c's Token; write the logits behind those numbered `wanted` (W, rising), (W, V)."""
        count = tokens.shape[0]
        if self._scratch.shape[0] < count * self._each:
            self._scratch = self.decoder.empty(count * self._each)
        self.decoder.kernels.read_tokens(
            torch.get_num_threads(),
            self.decoder.address,
            count,
            tokens.data_ptr(),
            prompts.address,
            own.address,
            wanted.shape[0],
            wanted.data_ptr(),
            logits.data_ptr(),
            self._scratch.data_ptr(),
        )

    def prompts(self, prompts: Sequence[Tokens]) -> tuple[NativeCache, Tensor]:
        """The keys and values of `prompts`, and the logits (G, V) of the token after each."""
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        cache = self.decoder.cache(len(prompts), int(lengths.max()))
        shared = common_beginning(prompts)
        if shared:
            beginning = self.decoder.cache(1, shared)
            self._read(placed([prompts[0][:shared]], 0), beginning, torch.empty(0, dtype=torch.int64))
            cache.begin_with(beginning, shared)
        tokens = placed([prompt[shared:] for prompt in prompts], shared)
        return cache, self._read(tokens, cache, torch.cumsum(lengths - shared, 0) - 1)

    def _read(self, tokens: Tensor, cache: NativeCache, wanted: Tensor) -> Tensor:
        logits, told = self.decoder.empty(len(wanted), self.decoder.spec.vocab_size), 0
        for first in range(0, len(tokens), PART_TOKENS):
            part = tokens[first : first + PART_TOKENS]
            here = wanted[(wanted >= first) & (wanted < first + len(part))] - first
            self(part, cache, cache, here, logits[told : told + len(here)])
            told += len(here)
        return logits


def placed(sequences: Sequence[Tokens], slot: int) -> Tensor:
    """Tokens (N, 5) as decode.c wants them: sequence i goes to row i of its cache, from `slot` on, and continues nothing."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    rows = torch.repeat_interleave(torch.arange(len(sequences)), lengths)
    places = torch.zeros(len(rows), 5, dtype=torch.int64)
    places[:, 0] = torch.tensor([token for sequence in sequences for token in sequence])
    places[:, 1] = rows
    places[:, 2] = torch.arange(len(rows)) - (torch.cumsum(lengths, 0) - lengths)[rows] + slot
    return places


class NativeSteps:
    """As steps.PlainSteps: rows of the same prompt share its keys and values."""

    def __init__(
        self, decoder: NativeDecoder, prompts: Sequence[Tokens], rows: Sequence[int], choice: Choice, num_new: int
    ) -> None:
        """Row i continues prompt `rows[i]`."""
        self._decoder, self._choice = decoder, choice
        self._reader = NativeReader(decoder)
        self._prompts, first = self._reader.prompts(prompts)
        self._own = decoder.cache(len(rows), num_new - 1)  # nobody reads what is chosen last
        self._tokens = torch.zeros(len(rows), 5, dtype=torch.int64)
        self._tokens[:, 3] = torch.tensor(rows)
        self._tokens[:, 4] = torch.tensor([len(prompts[row]) for row in rows])
        self.made = torch.empty(num_new, len(rows), dtype=torch.int64)
        self._number()
        self.logits = first[self._tokens[:, 3]]  # of the tokens chosen last
        self.made[0] = self._choose(0)
        self.count = 1

    def _number(self) -> None:
        self._all = torch.arange(len(self._tokens))
        self._tokens[:, 1] = self._all
        self._ids, self._slots = self._tokens[:, 0], self._tokens[:, 2]

    def _choose(self, step: int) -> Tensor:
        sampling, uniforms = self._choice.sampling, self._choice.uniforms
        kept = sampling.top_k if sampling.draws else 1
        if not sampling.reads_logits_as_they_are or sampling.top_p is not None or kept is None or kept > MOST_KEPT:
            return self._choice(self.logits, step)
        tokens = torch.empty(len(self.logits), dtype=torch.int64)
        drawn = uniforms[step].double().contiguous() if sampling.draws and uniforms is not None else None
        self._decoder.kernels.choose(
            torch.get_num_threads(),
            *self.logits.shape,
            self.logits.data_ptr(),
            sampling.temperature,
            min(kept, self.logits.shape[1]),
            None if drawn is None else drawn.data_ptr(),
            tokens.data_ptr(),
        )
        return tokens

    def step(self) -> None:
        self._ids.copy_(self.made[self.count - 1])
        self._reader(self._tokens, self._prompts, self._own, self._all, self.logits)
        self._slots.add_(1)
        self.made[self.count] = self._choose(self.count)
        self.count += 1
        PATHS.steps["native"] += 1

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        """The rows to go on with when only `running` are wanted."""
        return list(running)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with `rows` only."""
        index = torch.tensor(rows)
        self._own = self._own.select(index)
        self._tokens = self._tokens[index]
        self._number()
        self.logits = self.logits[index]
        self._choice.select(index)
        self.made = self.made[:, index].contiguous()


class NativeCache:
    """Keys (L, B, K, D, room) and values (L, B, K, room, D in whole vectors), and their record for the kernels."""

    def __init__(self, layers: int, rows: int, heads: int, width: int, tokens: int, dtype: torch.dtype, lanes: int) -> None:
        room = -(-tokens // lanes) * lanes
        # What fills a vector up is read, but nothing comes of it.
        self.keys = torch.empty(layers, rows, heads, width, room, dtype=dtype, device="cpu")
        self.values = torch.empty(layers, rows, heads, room, -(-width // lanes) * lanes, dtype=dtype, device="cpu")
        self._describe()

    def _describe(self) -> None:
        rows, room = self.keys.shape[1], self.keys.shape[4]
        self._record = Cache(rows=rows, room=room, keys=self.keys.data_ptr(), values=self.values.data_ptr())
        self.address = ctypes.addressof(self._record)

    def begin_with(self, one: NativeCache, tokens: int) -> None:
        """Every row begins with these tokens of the only row of `one`."""
        self.keys[..., :tokens] = one.keys[..., :tokens]
        self.values[..., :tokens, :] = one.values[..., :tokens, :]

    def select(self, index: Tensor) -> NativeCache:
        """A copy of these rows."""
        chosen = NativeCache.__new__(NativeCache)
        chosen.keys, chosen.values = self.keys.index_select(1, index), self.values.index_select(1, index)
        chosen._describe()
        return chosen


def native_decoder(model: Transformer) -> NativeDecoder | None:
    """For models on a processor with kernels; None otherwise, and PATHS says why where there should be."""
    weight = model.embedding.weight
    if weight.device.type != "cpu" or weight.dtype not in BITS:
        return None
    kernels, reason = find_kernels(BITS[weight.dtype])
    if kernels is None:
        PATHS.reasons[reason] += 1
        return None
    return NativeDecoder(model, kernels)


def doubt(decoder: NativeDecoder, plan: Plan, prompt: Tokens) -> str:
    """Why the kernels must not be used: they read what the plain pass reads, part of it as prompts and part as new tokens.

    An architecture's first proof in a process is longer, and of two sequences.
    """
    key = (str(decoder.kernels.library), decoder.spec.fingerprint)
    size = min(PROOF_TOKENS if key in _PROVED else FIRST_PROOF_TOKENS, decoder.spec.context_length)
    # Varied, whatever the prompt is: attention to equal tokens is the same wherever it looks.
    vocabulary = decoder.spec.vocab_size
    whole = tuple((prompt[i % len(prompt)] + i * (i + 1) // 2) % vocabulary for i in range(size))
    sequences = [whole] if key in _PROVED else [whole, whole[::-1][size // 4 :]]
    num_new = max(size // 3, 1)
    reader = NativeReader(decoder)
    prompts, _ = reader.prompts([sequence[:-num_new] for sequence in sequences])
    own = decoder.cache(len(sequences), num_new)
    logits = decoder.empty(len(sequences), decoder.spec.vocab_size)
    tokens = placed([sequence[-num_new:] for sequence in sequences], 0)
    tokens[:, 3] = tokens[:, 1]
    tokens[:, 4] = torch.tensor([len(sequence) - num_new for sequence in sequences])[tokens[:, 1]]
    last = tokens[:, 2] == num_new - 1
    # All but the last at once, and the last one as in a step.
    reader(tokens[~last], prompts, own, torch.empty(0, dtype=torch.int64), logits)
    reader(tokens[last], prompts, own, torch.arange(len(sequences)), logits)
    _, expected = read_prompts(plan, sequences)
    off = float((logits - expected.to(logits.dtype)).abs().max())
    # Written so that a NaN fails.
    if not off <= TOLERANCES[expected.dtype] * float(expected.abs().max()):
        return f"native logits differ by {off:.2g}"
    _PROVED.add(key)
    return ""


# Libraries and architectures, of this process.
_PROVED: Final[set[tuple[str, str]]] = set()
