"""Matrix products of a frozen LM on a CPU, through oneDNN in place of torch's BLAS.

Torch's CPU wheels are built with MKL, which leaves wide vector units of other makers' processors
unused: on one with AVX-512, MKL did 85 to 95 GFLOP/s on one core for the shapes of a small LM, and
oneDNN, which comes in the same wheel, 200 to 225, in the same float32 (``benchmarks/scoring.py``
shows the ratio). A frozen LM can afford to lay out its weights once; one that is trained has them
laid out at each product, which costs little.
"""

import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

log = logging.getLogger(__name__)

#: How far a model's outputs may be from those of torch's own products, relative to the greatest.
TOLERANCE = 1e-4


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
        # No values: T5 asks its layers for dtype and device of their weights, and whoever wants
        # more of them fails on this.
        self.weight = linear.weight.new_empty(0)
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


class TrainableLinear(nn.Linear):
    """A linear layer whose products, those of its gradients too, go through oneDNN."""

    def __init__(self, linear: nn.Linear) -> None:
        """Shares the parameters of a layer.

        Args:
            linear: a float32 layer on the CPU.
        """
        super().__init__(
            linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta"
        )
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Returns ``states @ weight.T + bias``, shape (..., out_features)."""
        # A copy may have been moved, or halved.
        if not _can_be_packed(self.weight) or states.dtype is not torch.float32:
            return super().forward(states)
        rows = states.reshape(-1, self.in_features)
        found: torch.Tensor = cast(Any, _Product).apply(rows, self.weight)
        found = found if self.bias is None else found + self.bias
        return found.reshape(*states.shape[:-1], self.out_features)


class _Product(torch.autograd.Function):
    """``rows @ weight.T`` and its gradients."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if of_rows else None,
            _product(gradient.t(), rows.t()) if of_weight else None,
        )


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Returns ``left @ right.T`` of two matrices."""
    if not left.numel():  # which oneDNN does not take
        return left @ right.t()
    operators = cast(Any, torch.ops.mkldnn)
    return cast(torch.Tensor, operators._linear_pointwise(left, right, None, "none", [], ""))


def pack_linears(
    model: nn.Module,
    probe: Callable[[], torch.Tensor],
    keep: nn.Module | None = None,
    *,
    layer: Callable[[nn.Linear], nn.Module] = PackedLinear,
) -> int:
    """Replaces a model's linear layers, where that is possible and changes nothing.

    Args:
        model: a frozen model, changed in place.
        probe: runs the model on something small; what it returns must not change.
        keep: a layer to leave alone, as the head, whose rows are read.
        layer: makes what takes a layer's place.

    Returns:
        How many layers were replaced; 0 where the model is not in float32 on a CPU, where its code
        wants more of a layer than its product, or where this build of torch cannot do it.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        # Exactly: a subclass may do more.
        if type(child) is nn.Linear and child is not keep
    ]
    if not found or not all(_can_be_packed(linear.weight) for _, _, linear in found):
        return 0
    with torch.inference_mode():
        before = probe()
        try:
            for parent, name, linear in found:
                setattr(parent, name, layer(linear))
            after = probe()
        # The operators are torch's own but not public, and a model's code may read a weight.
        except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
            log.info("linear layers stay as they are: %s", error)
        else:
            difference = float((after - before).abs().max())
            if difference <= TOLERANCE * max(1.0, float(before.abs().max())):
                log.info("%d linear layers go through oneDNN", len(found))
                return len(found)
            log.info("linear layers stay as they are: scores differ by %g", difference)
    for parent, name, linear in found:
        setattr(parent, name, linear)
    return 0


def _can_be_packed(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.float32
