"""A tuning between two steps: what is trained, how a step is taken, and the file from which it goes on.

Everything in a step follows from weights, moments, its number and the seed, so that a resumed tuning is bitwise the whole one,
on one machine with the same number of threads.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.errors import CheckpointError
from autonas.model.transformer import Transformer
from autonas.training.early_stopping import is_stale
from autonas.training.flat import FlatWeights
from autonas.training.flat_optimizer import FlatOptimizer
from autonas.training.guards import LossGuard
from autonas.training.optimizers import hidden_rate, make_optimizer, set_rate
from autonas.training.precision import autocast_dtype
from autonas.training.schedule import Schedule
from autonas.training.seal import read_sealed, write_sealed
from autonas.training.steps import autocast, clip_, default_generator
from autonas.trial import TrainingSettings, TuningSettings, to_json
from autonas.tuning.adapters import Adapters
from autonas.tuning.encoding import Encoded, step_numbers
from autonas.tuning.packed import apply, lay_out, pack, solution_nats

_WARMUP_SHARE: Final = 0.05
_FINAL_SHARE: Final = 0.1  # of the rate, at the end of a cosine
_KIND: Final = "tuning"


class Tuning:
    """The weights of `base` on their way, by `settings` on `examples`. `base` itself is left alone.

    `training` is how the base was trained: the optimiser's momenta and the number format are its.

    Raises:
        RequestError: "lora" without PEFT.
        DeviceError: a number format that the device does not have.
    """

    def __init__(
        self,
        base: Transformer,
        settings: TuningSettings,
        training: TrainingSettings,
        examples: Sequence[Encoded],
        seed: int,
    ) -> None:
        self.base, self.settings, self.examples, self.seed = base, settings, examples, seed
        self._training = training
        self.device = base.embedding.weight.device
        self.dtype = autocast_dtype(training.precision, self.device)
        self.adapters: Adapters | None = None
        if settings.method == "lora":
            self.adapters = Adapters(base, settings, seed)
            self.model, self.project = self.adapters.model, self.adapters.project
            self.optimizer = _adapter_optimizer(self.adapters, base.spec, settings, training)
        else:
            self.model, self.project = copy.deepcopy(base), apply
            # The rate is the tuning's to say, whatever the spec was trained with.
            spec = dataclasses.replace(base.spec, learning_rate=None, weight_decay=None, batch_tokens=None)
            # By AdamW, whatever the base was trained by: the defaults of tuning are its.
            rates = dataclasses.replace(
                training,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                optimizer="adamw",
                grokfast=0.0,
            )
            self.optimizer = make_optimizer(self.model, spec, rates)
        steps = settings.steps
        self.schedule = Schedule(
            warmup_tokens=round(_WARMUP_SHARE * steps), final_share=_FINAL_SHARE, kind="cosine", total_tokens=steps
        )
        self.guard = LossGuard(base.spec.vocab_size, warmup_tokens=0)
        self.steps = self.tokens = 0  # taken, and read in them
        self.probes: list[tuple[int, float]] = []  # (steps, loss of validation solutions)
        self.best: list[Tensor] | None = None  # the weights at the lowest of them

    @property
    def weights(self) -> list[Tensor]:
        """All that is trained, as flat tensors."""
        return [group["params"][0] for group in self.optimizer.param_groups]

    @property
    def is_stale(self) -> bool:
        """Whether the validation loss has gained nothing for so long that the tuning should end."""
        return is_stale(self.probes, self.settings.patience, self.settings.min_delta)

    @property
    def best_step(self) -> int:
        """Where the validation loss was lowest; the last step where there is none."""
        return min(self.probes, key=lambda probe: probe[1])[0] if self.probes else self.steps

    def step(self) -> Tensor:
        """Take one; loss and gradient norm, (2,), where they are. What is not finite is not used on a processor."""
        numbers = step_numbers(len(self.examples), self.settings.batch_examples, self.seed, self.steps)
        batch = pack(lay_out([self.examples[number] for number in numbers]), self.device)
        if not self.model.training:
            self.model.train()
        self.optimizer.zero_grad()
        with torch.enable_grad(), _draws(self.device, self.seed, self.steps), autocast(self.device, self.dtype):
            loss = solution_nats(self.model, batch, self.project).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_(self.optimizer.flat.gradients, self.settings.clip_norm)
        if self.device.type != "cpu" or math.isfinite(norm.item()):
            set_rate(self.optimizer, self.schedule.over_step(self.steps, 1))
            self.optimizer.step()
        self.steps += 1
        self.tokens += sum(self.examples[number].read for number in numbers)
        return torch.stack((loss.detach(), norm))

    def judge(self, loss: float) -> None:
        """Remember the loss of the validation solutions, and the weights where it is the lowest."""
        if not self.probes or loss < min(loss for _, loss in self.probes):
            self.best = [weights.detach().clone() for weights in self.weights]
        self.probes.append((self.steps, loss))

    @torch.no_grad()
    def use_best(self) -> None:
        """Go back to the weights at the lowest validation loss; without validation they stay the last."""
        if self.best is not None:
            for weights, best in zip(self.weights, self.best, strict=True):
                weights.copy_(best)

    def plain(self) -> Transformer:
        """The tuned model by itself, with adapters merged into its weights."""
        if self.adapters is None:
            return self.model
        model = copy.deepcopy(self.base)
        self.adapters.merge_into(model, self.base)
        return model

    def save(self, path: Path) -> None:
        """Write all of it, all or nothing. Raises ResourceError."""
        tensors = {f"weights.{number}": value for number, value in enumerate(self.weights)}
        tensors |= {f"best.{number}": value for number, value in enumerate(self.best or ())}
        tensors |= {f"optimizer.{name}": value for name, value in self._moments()}
        about = {"steps": self.steps, "tokens": self.tokens, "probes": self.probes, "guard": self.guard.state()}
        write_sealed(path, tensors, {"kind": _KIND, "identity": self._identity(), **about})

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """The inverse of `save`, for the same job and examples.

        Raises:
            CheckpointError: the file is damaged, or another tuning's.
        """
        about, tensors = read_sealed(path)
        if about.get("kind") != _KIND or about.get("identity") != self._identity():
            raise CheckpointError(f"{path}: is of another tuning. Remove it, or give another --out.")
        for number, weights in enumerate(self.weights):
            weights.copy_(tensors[f"weights.{number}"])
        for name, value in self._moments():
            value.copy_(tensors[f"optimizer.{name}"])
        best = [tensors.get(f"best.{number}") for number in range(len(self.weights))]
        self.best = [each.to(self.device) for each in best if each is not None] or None
        self.steps, self.tokens = int(about["steps"]), int(about["tokens"])
        self.probes = [(int(steps), float(loss)) for steps, loss in about["probes"]]
        self.guard.restore(about["guard"])

    def _moments(self) -> Iterator[tuple[str, Tensor]]:
        for number, weights in enumerate(self.weights):
            for name, value in self.optimizer.state[weights].items():
                yield f"{number}.{name}", value

    def _identity(self) -> str:
        """A digest of all that what is learned depends on."""
        kept = {name: value for name, value in to_json(self.settings).items() if name not in ("base", "data", "tasks")}
        values = [kept, self.base.spec.to_dict(), self.seed, to_json(self._training)]
        values.append([list(each.tokens) for each in self.examples])
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@torch.no_grad()
def _adapter_optimizer(
    adapters: Adapters, spec: ArchSpec, settings: TuningSettings, training: TrainingSettings
) -> FlatOptimizer:
    """AdamW over all adapters as one array, at one rate; their own tensors become views of it."""
    rate = hidden_rate(spec, dataclasses.replace(training, learning_rate=settings.learning_rate))
    named = dict(adapters.parameters())
    flat = torch.cat([weights.detach().flatten() for weights in named.values()])
    gradients = torch.zeros_like(flat)
    start = 0
    for weights in named.values():
        part = slice(start, start + weights.numel())
        weights.data, weights.grad = flat[part].view(weights.shape), gradients[part].view(weights.shape)
        start = part.stop
    flat.grad = gradients
    group = {
        "params": [flat],
        "role": "adapter",
        "lr": rate,
        "peak_rate": rate,
        "weight_decay": settings.weight_decay,
    }
    whole = FlatWeights(weights=flat, gradients=gradients, places={}, roles={"adapter": (0, len(flat))})
    return FlatOptimizer(whole, [group], (training.beta1, training.beta2))


@contextmanager
def _draws(device: torch.device, seed: int, step: int) -> Iterator[None]:
    """What dropout draws inside follows from (seed, step) alone; the global random state is afterwards what it was before."""
    digest = hashlib.blake2b(f"tuning {seed} {step}".encode(), digest_size=8).digest()
    generator = default_generator(device)
    before = generator.get_state()
    generator.manual_seed(int.from_bytes(digest, "little"))
    try:
        yield
    finally:
        generator.set_state(before)
