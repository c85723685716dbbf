"""Where the first value that is no number came from, when a loss or a gradient is not finite: in words, for the message.

The step's own batch goes through the model once more, by the plain path with hooks on every module in order of execution, with
the weights from before the step: on a processor they are still there (steps.update does not use what is not finite); elsewhere
the steps since the last good state are taken again to have them. Forward first, then gradients on their way back; weights and
moments are looked at before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autonas.errors import TrialFailure
from autonas.model.native import part_windows
from autonas.training.guards import is_out_of_memory
from autonas.training.micro_batches import take_step
from autonas.training.optimizers import moments
from autonas.training.precision import autocast_dtype
from autonas.training.state import TrainState
from autonas.training.steps import autocast, dropout_stream, take_batch

MOST_REPLAYED_STEPS = 1024
_NAMES_SHOWN = 3

Interrupted = Callable[[], TrialFailure | None]


def locate(state: TrainState, tokens: int, interrupted: Interrupted) -> tuple[str, TrialFailure | None]:
    """Where the values that are no numbers in the step that ended at `tokens` came from; and what `interrupted` said meanwhile.

    The weights may be other ones afterwards: who goes on puts the last good state back, or fails.
    """
    try:
        return _locate(state, tokens, interrupted)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    return "there is no memory to find out where that began", None


def _locate(state: TrainState, tokens: int, interrupted: Interrupted) -> tuple[str, TrialFailure | None]:
    begins = tokens - state.step_tokens
    spoilt = not any(bool(torch.isfinite(weight).any()) for weight in state.model.parameters())
    if spoilt or state.tokens != tokens:
        # The update took them along, or steps behind it were taken before anybody looked.
        replayed, interruption = _replay(state, begins, interrupted)
        if not replayed:
            return "", interruption
    state.tokens = begins
    if found := first_nonfinite(state):
        return found, None
    loss, norm = take_step(state).tolist()
    name = state.step.path if state.step is not None else ""
    if math.isfinite(loss) and math.isfinite(norm):
        return "it does not come again when the step is: a passing fault, of memory or of the device", None
    return f"the plain path finds nothing of the kind in that step: it is of the path {name!r}", None


def _replay(state: TrainState, until: int, interrupted: Interrupted) -> tuple[bool, TrialFailure | None]:
    """Take the steps since the last good state again, without judging them; whether that came to its end."""
    kept = state.kept
    if kept is None or until - kept.good.tokens > MOST_REPLAYED_STEPS * state.step_tokens:
        return False, None
    state.tokens = kept.put_back(state.optimizer).tokens
    while state.tokens < until:
        if (failure := interrupted()) is not None:
            return False, failure
        take_step(state)
        state.tokens += state.step_tokens
    return True, None


def first_nonfinite(state: TrainState) -> str:
    """In words, the first value that is not finite in the state's next step, and in weights and moments; nothing if all are.

    Weights and moments are left alone; gradients are zero afterwards.
    """
    weights = [_counted(name, weight) for name, weight in state.model.named_parameters() if not _is_finite(weight)]
    spoilt = [_counted(name, value) for name, value in moments(state.optimizer) if not _is_finite(value)]
    site = _Passes(state).first()
    if not (site or weights or spoilt):
        return ""
    where = f"the first non-finite values are in {site}" if site else "no value on the way of the step is non-finite"
    where += f", in the step from {state.tokens:,} tokens; weights already non-finite: {_listed(weights)}"
    return where + (f"; moments already non-finite: {_listed(spoilt)}" if spoilt else "")


@dataclass(slots=True)
class _Passes:
    """The state's next step by the plain path, part by part, every value looked at as it is made."""

    state: TrainState
    _site: str = ""
    _last: str = ""  # what was finite last
    _handles: list[RemovableHandle] = field(default_factory=list)

    def first(self) -> str:
        state, model = self.state, self.state.model
        was_training = model.training
        model.train()
        state.optimizer.zero_grad()
        batch = take_batch(state)
        windows = state.micro_windows or part_windows(model.spec, state.step_windows)
        try:
            with torch.enable_grad(), dropout_stream(state), self._watched(model):
                for part in torch.split(batch, windows):
                    self._pass(part, len(part) / len(batch))
                    if self._site:
                        break
        finally:
            model.train(was_training)
            state.optimizer.zero_grad()
        return self._site

    def _pass(self, part: Tensor, share: float) -> None:
        model, smoothing = self.state.model, self.state.model.spec.label_smoothing
        with autocast(part.device, autocast_dtype(self.state.settings.precision, part.device)):
            logits = model(part[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), label_smoothing=smoothing) * share
        self._see("the loss", loss, "which is made of finite logits")
        if not self._site:
            loss.backward()  # type: ignore[no-untyped-call]

    @contextmanager
    def _watched(self, model: nn.Module) -> Iterator[None]:
        for name, module in model.named_modules():
            title = name or "the model (its logits)"
            self._handles.append(module.register_forward_pre_hook(self._before(title)))
            self._handles.append(module.register_forward_hook(self._behind(title, bool(list(module.children())))))
        for name, weight in model.named_parameters():
            handle = weight.register_hook(self._of_gradient(f"the gradient of {name}"))  # type: ignore[no-untyped-call]
            self._handles.append(handle)
        try:
            yield
        finally:
            for handle in self._handles:
                handle.remove()

    def _before(self, title: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def see(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            for value in inputs:
                if isinstance(value, Tensor):
                    self._see(f"the input of {title}", value, f"behind finite values of {self._last}")

        return see

    def _behind(self, title: str, has_parts: bool) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        from_what = "though what its parts put out is finite" if has_parts else "from finite inputs"

        def see(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                self._see(f"the output of {title}", output, from_what)
                self._last = title
                if output.requires_grad:
                    see_gradient = self._of_gradient(f"the gradient of the output of {title}")
                    output.register_hook(see_gradient)  # type: ignore[no-untyped-call]

        return see

    def _of_gradient(self, title: str) -> Callable[[Tensor], None]:
        def see(gradient: Tensor) -> None:
            self._see(title, gradient, "with all values on the way forward finite")

        return see

    def _see(self, title: str, value: Tensor, from_what: str) -> None:
        if not self._site and not _is_finite(value):
            self._site = f"{_counted(title, value)}, {from_what}"


def _is_finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def _counted(name: str, value: Tensor) -> str:
    bad = value.numel() - int(torch.isfinite(value).sum())
    return f"{name} ({bad:,} of {value.numel():,} values)"


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
