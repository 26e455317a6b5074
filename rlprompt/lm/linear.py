"""Matrix products of a frozen LM on a CPU, through oneDNN in place of torch's BLAS.

Torch's CPU wheels are built with MKL, which leaves wide vector units of other makers' processors
unused: on one with AVX-512, MKL did 85 to 95 GFLOP/s on one core for the shapes of a small LM, and
oneDNN, which comes in the same wheel, 200 to 225, in the same float32 (``benchmarks/scoring.py``
shows the ratio). Weights are laid out once, which is what a frozen LM can afford.
"""

import logging
from typing import Any, cast

import torch
from torch import nn

log = logging.getLogger(__name__)

#: How far a product may be from torch's own, relative to its greatest value; float32 has 6e-8.
TOLERANCE = 1e-5


class PackedLinear(nn.Module):
    """A linear layer whose weight lies as oneDNN wants it. Forward only: it has no gradient."""

    def __init__(self, linear: nn.Linear) -> None:
        """Lays out a layer's weight; the layer is not needed any more.

        Args:
            linear: a float32 layer on the CPU.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        operators = cast(Any, torch.ops.mkldnn)
        self._weight = operators._reorder_linear_weight(linear.weight.detach())
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Returns ``states @ weight.T + bias``, shape (..., out_features).

        Raises:
            RuntimeError: a gradient is asked for.
        """
        if states.requires_grad and torch.is_grad_enabled():
            raise RuntimeError("The layers of a frozen LM are packed for scoring: no gradient.")
        operators = cast(Any, torch.ops.mkldnn)
        return cast(
            torch.Tensor,
            operators._linear_pointwise(states, self._weight, self._bias, "none", [], ""),
        )


def pack_linears(model: nn.Module, keep: nn.Module | None = None) -> int:
    """Replaces a model's linear layers, where that is exact and possible.

    Args:
        model: a frozen model, changed in place.
        keep: a layer to leave alone, as the head, whose rows are read.

    Returns:
        How many layers were replaced; 0 where the model is not in float32 on a CPU, or this build
        of torch cannot do it.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        # Exactly: a subclass may do more.
        if type(child) is nn.Linear and child is not keep
    ]
    if not found or not all(_can_be_packed(layer.weight) for _, _, layer in found):
        return 0
    if not _is_exact(found[0][2]):
        return 0
    for parent, name, layer in found:
        setattr(parent, name, PackedLinear(layer))
    log.info("%d linear layers go through oneDNN", len(found))
    return len(found)


def _can_be_packed(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.float32


def _is_exact(layer: nn.Linear) -> bool:
    """Tries one layer against torch's own product."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 7, layer.in_features, generator=generator)
    try:
        with torch.inference_mode():
            ours, theirs = PackedLinear(layer)(states), layer(states)
    except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
        # The operators are torch's own but not public: another version may lack them.
        log.info("linear layers stay as they are: %s", error)
        return False
    return float((ours - theirs).abs().max()) <= TOLERANCE * max(1.0, float(theirs.abs().max()))
