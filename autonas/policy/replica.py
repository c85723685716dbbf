"""The scale model of a full run: a smaller architecture of the same family, trained by the full run's ratios. Pure arithmetic.

What a horizon-bound dimension is worth shows only near the end of a long run over repeated data, and a replica ends as its full
run ends. Kept are the epochs, the unique tokens per parameter, and the shares of warm-up and cooldown; and the steps where the
batch can be scaled with the corpus, which at one window it no longer can.

Parameters are all of them, as in the reference's replica (230 K of 230 K unique tokens, where the full run has 1.03 for each of
29 M). Those of the blocks alone say better how low a loss goes (Spearman -0.97 over decoders, with all as little as -0.26), but
here what counts is what can learn the data by heart, and embeddings do, the more so as a vocabulary does not shrink with its
model. Measured on a run of 98 K parameters in its blocks and 229 K in all, 13.6 epochs, which ends at 5.04 nats: a replica that
goes by all parameters ends at 5.47; one by the blocks' at 5.86 to 6.26, and with batches of one window finds decay harmful by
a nat, which is worth .13.

What is trained on a replica, and what that tells, is in arms.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from autonas import cost
from autonas.arch import ArchSpec
from autonas.run_folder import step_tokens
from autonas.trial import Budget, TrainingSettings

FEWEST_WINDOWS = 16  # of a replica's corpus
FEWEST_STEPS = 32  # of its training
_NARROWEST_HEAD = 8
_NARROWEST = 16  # below, a model is an embedding and little else
_MOST_DISTORTION = 2.5  # in doublings


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRun:
    """A full run as planned: what a replica is a scale model of."""

    spec: ArchSpec
    training: TrainingSettings
    budget: Budget  # its stable phase and its cooldown, in whole steps
    corpus_tokens: int  # of the training split

    @property
    def num_windows(self) -> int:
        """Windows of one epoch."""
        return max((self.corpus_tokens - 1) // self.spec.context_length, 1)

    @property
    def batch_windows(self) -> int:
        return step_tokens(self.spec, self.training) // self.spec.context_length

    @property
    def tokens(self) -> int:
        return self.budget.tokens + self.budget.cooldown_tokens

    @property
    def steps(self) -> int:
        return self.tokens // step_tokens(self.spec, self.training)

    @property
    def epochs(self) -> float:
        return self.tokens / (self.num_windows * self.spec.context_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A scale model of a full run: what its trainings have in common. `run` is the replica itself as a run."""

    run: FullRun
    full: FullRun
    # The full run's learning rate times this is the replica's, and its weight decay divided by this: the root of the ratio
    # of their batches (Malladi et al., arXiv 2205.10287), and as much forgetting in an epoch (Wang & Aitchison, 2405.13698).
    rate_factor: float

    @property
    def unique_tokens(self) -> int:
        """The corpus: whole windows, and the token that the last target is."""
        return self.run.num_windows * self.run.spec.context_length + 1

    @property
    def scale(self) -> float:
        """How many times smaller it is, in parameters."""
        return cost.count_params(self.full.spec) / cost.count_params(self.run.spec)

    def spec_with(self, values: Mapping[str, float]) -> ArchSpec:
        """The replica's architecture with these values of horizon-bound dimensions, given as the full run would have them."""
        factors = {"learning_rate": self.rate_factor, "weight_decay": 1 / self.rate_factor}
        own = {name: value * factors.get(name, 1.0) for name, value in values.items()}
        return ArchSpec.from_dict({**self.run.spec.to_dict(), **own})

    def ratios(self) -> dict[str, tuple[float, float]]:
        """What a scale model should keep, of the full run and of the replica."""
        return {name: (of(self.full), of(self.run)) for name, of in _RATIOS.items()}


_RATIOS: Mapping[str, Callable[[FullRun], float]] = {
    "epochs": lambda run: run.epochs,
    "unique_tokens_per_parameter": lambda run: run.num_windows * run.spec.context_length / cost.count_params(run.spec),
    "warmup_share": lambda run: run.training.warmup_tokens / run.tokens,
    "cooldown_share": lambda run: run.budget.cooldown_tokens / run.tokens,
    "steps": lambda run: float(run.steps),
    "width_per_layer": lambda run: run.spec.width / run.spec.layers,
    "head_width": lambda run: float(run.spec.head_width),
}


def block_params(spec: ArchSpec) -> int:
    """Parameters in the matrices of the blocks: all but embeddings, head and norms."""
    parts = cost.param_breakdown(spec)
    return parts["attention"] + parts["feed_forward"]


def training_flops(run: FullRun) -> float:
    """FLOPs of all of a run's training."""
    return float(run.tokens) * cost.training_flops_per_token(run.spec)


def replica_of(full: FullRun, spec: ArchSpec) -> Replica | None:
    """The replica of `full` with the shape of `spec`; None where its corpus or its training would be too short to be one."""
    # 1. The corpus, by the parameters: whole windows, so that an epoch is exact.
    scale = cost.count_params(spec) / cost.count_params(full.spec)
    num_windows = round(full.num_windows * scale)
    if num_windows < min(FEWEST_WINDOWS, full.num_windows):
        return None
    # 2. The batch, by the corpus, so that an epoch has as many steps: at least one window.
    batch_windows = max(round(full.batch_windows * num_windows / full.num_windows), 1)
    factor = math.sqrt(batch_windows / full.batch_windows)
    # 3. The steps, by the epochs; of them as large a share is the cooldown, and of their tokens the warm-up.
    steps = round(full.epochs * num_windows / batch_windows)
    if steps < min(FEWEST_STEPS, full.steps):
        return None
    context, share = spec.context_length, full.budget.cooldown_tokens / full.tokens
    each = batch_windows * context
    cooling = max(round(steps * share), 1) if share else 0
    training = dataclasses.replace(
        full.training,
        batch_tokens=each,
        warmup_tokens=round(full.training.warmup_tokens * steps * each / full.tokens),
        learning_rate=full.training.learning_rate * factor,
        weight_decay=full.training.weight_decay / factor,
    )
    named = dataclasses.replace(
        spec,
        learning_rate=None if spec.learning_rate is None else spec.learning_rate * factor,
        weight_decay=None if spec.weight_decay is None else spec.weight_decay / factor,
        batch_tokens=None if spec.batch_tokens is None else each,
    )
    run = FullRun(
        spec=named,
        training=training,
        budget=Budget(rung=0, tokens=(steps - cooling) * each, cooldown_tokens=cooling * each),
        corpus_tokens=num_windows * context + 1,
    )
    return Replica(run=run, full=full, rate_factor=factor)


def choose_replica(full: FullRun, *, most: float, price: Callable[[FullRun], float] = training_flops) -> Replica | None:
    """The replica of which one training costs at most `most`, as large as can be and as much in the full run's proportions.

    A doubling of the blocks' parameters makes up for a width per layer that is twice off, or for heads four times too narrow.
    `price` is of one training, in any unit. None where even the smallest costs more, or there is nothing smaller.
    """
    best: tuple[float, str] | None = None
    found: Replica | None = None
    for spec in shapes(full.spec):
        off = distortion(full.spec, spec)
        replica = replica_of(full, spec) if off <= _MOST_DISTORTION else None
        if replica is None or price(replica.run) > most:
            continue
        rank = math.log2(block_params(spec)) - off, spec.fingerprint
        if best is None or rank > best:
            best, found = rank, replica
    return found


def distortion(full: ArchSpec, spec: ArchSpec) -> float:
    """How far a shape is from the full run's proportions: doublings of width per layer, and half those of the head width."""
    aspect = math.log2((spec.width / spec.layers) / (full.width / full.layers))
    return abs(aspect) + 0.5 * abs(math.log2(spec.head_width / full.head_width))


def shapes(full: ArchSpec) -> Iterator[ArchSpec]:
    """Architectures of the same family, no larger in any of layers, width and heads; the full one comes too."""
    widths = {full.head_width}
    while min(widths) // 2 >= _NARROWEST_HEAD and min(widths) % 4 == 0:  # rope rotates pairs
        widths.add(min(widths) // 2)
    for layers in range(1, full.layers + 1):
        for heads in range(1, full.heads + 1):
            for head_width in widths:
                if heads * head_width < min(_NARROWEST, full.width):
                    continue
                yield dataclasses.replace(
                    full, layers=layers, heads=heads, width=heads * head_width, kv_heads=_kv_heads(full, heads)
                )


def _kv_heads(full: ArchSpec, heads: int) -> int:
    """As many heads to each pair of keys and values as in the full one, or as near to that as divides."""
    wanted = heads * full.kv_heads / full.heads
    return min((n for n in range(1, heads + 1) if heads % n == 0), key=lambda n: abs(math.log(n / wanted)))
