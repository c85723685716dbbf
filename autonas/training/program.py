"""A whole training step as device work alone: no host in it, and every input and output in its place from step to step.

So it can be captured and replayed (graphs.py), and runs as it stands on any device that has the fused optimizer. The model
computes in a copy of the weights in the number format of the products, cast once a step; master weights, moments, sums of
gradients, losses and norms are float32. In bfloat16 the residual stream is bfloat16 too, where autocast keeps it in float32.

Shapes: W windows, T context, n all weights, V vocabulary, d width.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from autonas.model.blocks import Attention, Block, FeedForward
from autonas.model.transformer import Transformer, head_name
from autonas.training.cross_entropy import best_loss, head_gradients, torch_loss_
from autonas.training.precision import autocast_dtype
from autonas.training.resident import resident_tokens, windows_at
from autonas.training.state import TrainState
from autonas.training.step_table import StepTable

# In this order, for every shape: on Hopper torch would begin with cuDNN's, whose backward pass is not made to repeat itself.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class StepProgram:
    """The steps of one training, at one batch and one number of windows at once.

    `fused_loss`: by Triton where there is one. Without `dropout` no mask is drawn, so that two ways can be compared.
    """

    def __init__(self, state: TrainState, *, compiled: bool = False, fused_loss: bool = True, dropout: bool = True) -> None:
        spec, flat = state.model.spec, state.optimizer.flat
        self.table = StepTable(state)
        self._spec, self._optimizer, self._flat = spec, state.optimizer, flat
        self._clip_norm = state.settings.clip_norm
        self._micro_windows = min(state.micro_windows or state.step_windows, state.step_windows)
        self._tokens = resident_tokens(
            state.windows.tokens, state.device, state.data_fingerprint and state.data_fingerprint + state.windows.content
        )
        self._loss = best_loss(state.device) if fused_loss else torch_loss_
        dtype = autocast_dtype(state.settings.precision, state.device)
        self._cast = flat.weights if dtype is None else flat.weights.to(dtype)
        self._model = _computing_copy(state.model, state, self._cast)
        if not dropout:
            _without_dropout(self._model)
        if compiled:
            for block in self._model.blocks:
                assert isinstance(block, Block)
                block.compile(fullgraph=True, dynamic=False)
        weights = dict(self._model.named_parameters())
        self._head = head_name(spec)
        self._head_weight = weights[self._head].detach()
        # An untied head has its gradients from the loss alone.
        self._through_features = [name for name in weights if spec.tied_embeddings or name != self._head]
        self._weights = [weights[name] for name in self._through_features]
        self._gradients = {name: place.of(flat.gradients) for name, place in flat.places.items()}

    def lasting(self) -> list[Tensor]:
        """All that a step changes and a later one reads."""
        moments = [value for state in self._optimizer.state.values() for value in state.values()]
        return [self._flat.weights, self.table.row, *moments]

    @torch.no_grad()
    def run(self) -> None:
        """The step of the table's row, whose number moves on."""
        # Around the backward passes too: what is compiled may be traced in either.
        with sdpa_kernel(ATTENTION, set_priority=True):
            self._run()

    def _run(self) -> None:
        table, flat = self.table, self._flat
        if self._cast is not flat.weights:
            self._cast.copy_(flat.weights)
        starts = table.starts.index_select(0, table.row)[0]
        loss = self._fill_gradients(windows_at(self._tokens, starts, self._spec.context_length))
        norm = torch.linalg.vector_norm(flat.gradients)
        # Clipped as steps.clip_ does, but by the optimizer, which divides in a pass that it makes anyway.
        scale = ((norm + 1e-6) / self._clip_norm).clamp_(min=1.0)
        self._optimizer.update(table.rates.index_select(0, table.row)[0], scale)
        table.keep(torch.stack((loss, norm)))
        table.row.add_(1)

    def _fill_gradients(self, batch: Tensor) -> Tensor:
        """Gradients of the mean loss over `batch` (W, T + 1), in the flat array; returns that loss."""
        share = 1.0 / (batch.shape[0] * self._spec.context_length)
        losses: list[Tensor] = []
        for part in torch.split(batch, self._micro_windows):
            with torch.enable_grad():
                features = self._model.features(part[:, :-1])  # (w, T, d)
            found = head_gradients(
                features.detach().flatten(0, 1),
                self._head_weight,
                part[:, 1:].reshape(-1),
                self._spec.label_smoothing,
                share,
                self._loss,
            )
            gradients = torch.autograd.grad(features, self._weights, found.features.view_as(features))
            self._add(gradients, found.weight, first=not losses)
            losses.append(found.loss)
        return torch.stack(losses).sum()

    def _add(self, gradients: tuple[Tensor, ...], head: Tensor, *, first: bool) -> None:
        """Put a part's gradients into the flat array, the first over what was there."""
        places = [self._gradients[name] for name in self._through_features]
        # One kernel for all weights; the sum of different formats is one for each, which only micro-batches need.
        torch._foreach_copy_(places, gradients) if first else torch._foreach_add_(places, gradients)
        place = self._gradients[self._head]
        place.copy_(head) if first and not self._spec.tied_embeddings else place.add_(head)


def _computing_copy(model: Transformer, state: TrainState, cast: Tensor) -> Transformer:
    """A model whose weights are views of `cast` (n), which is laid out like the flat weights."""
    twin = copy.deepcopy(model)
    for name, weight in twin.named_parameters():
        weight.data = state.optimizer.flat.places[name].of(cast)
    if model.spec.position == "rope":
        # Else each layer would cast them again; ALiBi's slopes stay as they are, not all being powers of two.
        twin.rope_cos, twin.rope_sin = model.rope_cos.to(cast.dtype), model.rope_sin.to(cast.dtype)
    twin.train()
    return twin


def _without_dropout(model: Transformer) -> None:
    for part in model.modules():
        if isinstance(part, Attention | FeedForward | Block):
            part.dropout = 0.0
