"""Proof that a built model cannot see the future: no later token may move an earlier logit.

Every model passes before it is scored, because a leaked loss looks like a good one. A model that ignores its past would
pass any such test, so each must also be seen to use it. How well a model is trained plays no part.

Shapes: T tokens, V vocabulary, d width; one row each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from autonas.errors import TrialFailure
from autonas.model.decode import make_cache
from autonas.model.transformer import Transformer, eval_mode

# The same kernel on the same shapes gives earlier positions the same bits; this is room for kernels that do not.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}
# Cached and full passes sum in different orders; the allowed difference is a share of the largest logit.
CACHE_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
SHORT_LENGTH = 7
MAX_LENGTH = 1024

Change = tuple[int, int, Tensor]  # first changed token, the one behind the last, all tokens (1, T)


def leak_test(model: Transformer, *, tolerance: float | None = None, seed: int = 0) -> str:
    """Change later tokens of a random sequence and watch the earlier logits; returns what was found, as one line.

    At the full context (at most 1,024 tokens) and at a short length, the second token, the middle one, the last one, and
    all behind the middle are changed in turn: in evaluation mode, in training mode under equal dropout, and while a KV
    cache is filled in pieces. Gradients of chosen logits with respect to later embeddings must vanish too, and cached
    logits must be those of a full pass. `tolerance` is the largest allowed |Δlogit|, by default 1e-5 in float32 and 1e-2
    in bfloat16. The model's mode and gradients and the global random state are left as they were.

    Raises:
        TrialFailure: kind "leak": a later token moves an earlier logit, or no earlier token moves a later one.
    """
    dtype = model.embedding.weight.dtype
    allowed = TOLERANCE[dtype] if tolerance is None else tolerance
    generator = torch.Generator().manual_seed(seed)
    full = min(model.spec.context_length, MAX_LENGTH)
    largest, num_changes = 0.0, 0
    for length in sorted({min(SHORT_LENGTH, full), full} - {1}):  # a single token has no future
        tokens = torch.randint(model.spec.vocab_size, (1, length), generator=generator)
        changes = _changes(tokens, model.spec.vocab_size, generator)
        for run in (evaluation_pass, training_pass, cached_pass):
            largest = max(largest, _largest_move(model, tokens, changes, run, allowed))
            num_changes += len(changes)
        _check_gradients(model, tokens, allowed)
        _check_cache_agrees(model, tokens)
    return f"max |Δlogit| {largest:.1g} <= {allowed:.0e} over {num_changes} changes"


def evaluation_pass(model: Transformer, tokens: Tensor) -> Tensor:
    """Logits (1, T, V) without dropout."""
    with eval_mode(model):
        logits: Tensor = model(tokens)
    return logits


def training_pass(model: Transformer, tokens: Tensor) -> Tensor:
    """Logits (1, T, V) with dropout that falls the same way in every call, so that two of them can be compared."""
    was_training = model.training
    on_cuda = tokens.device.type == "cuda"
    with torch.random.fork_rng([tokens.device] if on_cuda else []), torch.no_grad():
        # Not torch.manual_seed: it would also seed devices whose state was not forked.
        torch.default_generator.manual_seed(0)
        if on_cuda:
            with torch.cuda.device(tokens.device):
                torch.cuda.manual_seed(0)
        model.train()
        try:
            logits: Tensor = model(tokens)
        finally:
            model.train(was_training)
    return logits


def cached_pass(model: Transformer, tokens: Tensor) -> Tensor:
    """Logits (1, T, V) from a KV cache: two thirds of the tokens at once, then most of the others, then the last alone."""
    length = tokens.shape[1]
    cuts = sorted({0, 2 * length // 3, length - 1, length})
    cache = make_cache(model, 1, length)
    with eval_mode(model):
        return torch.cat([model(tokens[:, a:b], cache) for a, b in itertools.pairwise(cuts)], dim=1)


def _changes(tokens: Tensor, vocab_size: int, generator: torch.Generator) -> list[Change]:
    """Copies of `tokens` that differ in a span, each with the span's ends."""
    length = tokens.shape[1]
    middle = length // 2
    spans = [(1, 2), (middle, middle + 1), (min(middle + 1, length - 1), length), (length - 1, length)]
    changes = []
    for start, stop in dict.fromkeys(spans):
        changed = tokens.clone()
        # Never the token that was there: an offset of 1 … V-1, modulo V.
        offsets = torch.randint(1, max(vocab_size, 2), (stop - start,), generator=generator)
        changed[:, start:stop] = (changed[:, start:stop] + offsets) % vocab_size
        changes.append((start, stop, changed))
    return changes


def _largest_move(
    model: Transformer,
    tokens: Tensor,
    changes: list[Change],
    run: Callable[[Transformer, Tensor], Tensor],
    allowed: float,
) -> float:
    """The largest move of a logit before a change. Behind a change, some logit must move."""
    device, length = model.embedding.weight.device, tokens.shape[1]
    name = run.__name__.replace("_", " ")
    before = run(model, tokens.to(device))
    largest = influence = 0.0
    for start, stop, changed in changes:
        moves = (before - run(model, changed.to(device))).abs().amax(dim=-1)[0].float().cpu()  # (T)
        early = float(moves[:start].max())
        if not early <= allowed:  # written so that NaN fails
            place = int(moves[:start].nan_to_num(nan=torch.inf).argmax())
            raise _leak(
                f"{name}: changing what follows position {start - 1} of {length} moves the logits of position {place} by "
                f"{early:.3g}, more than {allowed:.0e}"
            )
        largest = max(largest, early)
        influence = max(influence, float(moves[stop:].max()) if stop < length else 0.0)
    if not influence > allowed and length > 2 and model.spec.vocab_size > 1:
        raise TrialFailure(
            "leak",
            f"{name}: no changed token moves a later logit by more than {influence:.3g}. "
            "This model ignores its past, so the test is blind and proves nothing of its future.",
        )
    return largest


def _check_gradients(model: Transformer, tokens: Tensor, allowed: float) -> None:
    """d logits[t] / d embedding[s] must vanish for s > t: this sees influences too weak or too rare for a changed token."""
    length = tokens.shape[1]
    kept: list[Tensor] = []

    def cut(module: torch.nn.Module, arguments: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    was_training = model.training
    handle = model.embedding.register_forward_hook(cut)
    try:
        model.eval()
        with torch.inference_mode(False), torch.enable_grad():
            logits = model(tokens.to(model.embedding.weight.device))[0]  # (T, V)
            for target in sorted({0, (length - 1) // 2, length - 2}):
                score = logits[target].float().square().sum()
                (gradient,) = torch.autograd.grad(score, kept, retain_graph=True)  # (1, T, d)
                late = float(gradient[0, target + 1 :].abs().max())
                if not late <= allowed:
                    raise _leak(
                        f"gradient: the logits of position {target} of {length} depend on later tokens (up to {late:.3g})"
                    )
    finally:
        handle.remove()
        model.train(was_training)


def _check_cache_agrees(model: Transformer, tokens: Tensor) -> None:
    tokens = tokens.to(model.embedding.weight.device)
    full, cached = evaluation_pass(model, tokens).float(), cached_pass(model, tokens).float()
    allowed = CACHE_TOLERANCE[model.embedding.weight.dtype] * float(full.abs().max())
    difference = float((full - cached).abs().max())
    if not difference <= allowed:
        raise _leak(f"logits with a KV cache differ from those without by {difference:.3g}, more than {allowed:.3g}")


def _leak(what: str) -> TrialFailure:
    return TrialFailure(
        "leak", f"{what}. This model sees the future, or its parts disagree on the past: its loss means nothing."
    )
