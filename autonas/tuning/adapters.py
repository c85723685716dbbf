"""Low-rank adapters (Hu et al., arXiv 2106.09685) through PEFT, whose one home this is: made, applied, merged, kept.

PEFT makes them, draws their first values and writes them in its own format. They are applied here: its layers do for each
product what a training of ours does for a whole step.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonas.errors import RequestError, resource_error
from autonas.model.transformer import Transformer
from autonas.trial import TuningSettings

_NAME: Final = "default"  # of the one adapter of a PEFT model


class Adapters:
    """Adapters beside the frozen weights of a model: `y = W x + alpha / rank · B A dropout(x)`, where B begins as zero.

    Raises:
        RequestError: PEFT is not installed.
    """

    def __init__(self, base: Transformer, settings: TuningSettings, seed: int) -> None:
        try:
            peft: Any = importlib.import_module("peft")  # a second or two: with it comes transformers
        except ImportError as error:
            raise RequestError("--method lora needs PEFT; pip install 'autonas[lora]', or tune with --method sft") from error
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(settings.targets),
            bias="none",
        )
        # Drawn on the host, and the global random state is not moved: the same seed, the same adapters everywhere.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.peft: Any = peft.get_peft_model(copy.deepcopy(base), config)
        self.model: Transformer = self.peft.base_model.model
        self.scaling = settings.alpha / settings.rank
        self.dropout = settings.dropout
        self.layers: dict[str, Any] = {name: module for name, module in self.model.named_modules() if hasattr(module, "lora_A")}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained, by the layer's name and a letter."""
        for name, layer in self.layers.items():
            yield f"{name}.A", layer.lora_A[_NAME].weight  # (rank, inputs)
            yield f"{name}.B", layer.lora_B[_NAME].weight  # (outputs, rank)

    def project(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The layer applied to rows (N, inputs), with its adapter where it has one."""
        lora: Any = getattr(layer, "lora_A", None)
        if lora is None:
            return layer(x)  # type: ignore[no-any-return]
        whole: Any = layer
        a, b = lora[_NAME].weight, whole.lora_B[_NAME].weight
        read = F.dropout(x, self.dropout, self.model.training)
        y = F.linear(x, whole.base_layer.weight)
        low = F.linear(read, a)
        return torch.addmm(y, low, b.t().to(low.dtype), alpha=self.scaling)

    @torch.no_grad()
    def merge_into(self, model: Transformer, base: Transformer) -> None:
        """Make the weights of `model` those of `base` with the adapters in them."""
        ours, theirs = dict(model.named_parameters()), dict(base.named_parameters())
        for name, layer in self.layers.items():
            delta = layer.get_delta_weight(_NAME)
            ours[f"{name}.weight"].copy_(theirs[f"{name}.weight"] + delta)

    def save(self, folder: Path) -> None:
        """Write them in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

        Raises:
            ResourceError: the folder cannot be written.
        """
        try:
            self.peft.save_pretrained(str(folder), save_embedding_layers=False)
        except OSError as error:
            raise resource_error(error, error.filename or folder) from error
