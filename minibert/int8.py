"""Linear layers in 8 bits, for inference on a CPU: dynamic quantisation.

Products of 8-bit integers cost a CPU a fraction of float32's, and their sums are exact. So floats
are written as integers times a scale, and the sums are scaled back. Where something is lost:
- weights (O, I), once: each output row has a scale of its own, its largest number over the limit.
- activations, in every forward pass ("dynamic"): one scale for the whole tensor, so that one
  outlier makes all tokens coarser, and a text's answer depends a little on its batch. This is the
  larger loss, above all after GELU (lin2), where each token is scaled first (Int8PerToken).
- products and sums: nothing, in int32. Only the result is rounded again, as a float32.
All other layers stay float32, for they cost little, and so does what follows the last block's
attention: its error is that of the answer, and a classifier computes it for [CLS] alone.
"""

import contextlib
import functools
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Quantised(NamedTuple):
    """Integers that stand for (integers - zero) x scale."""

    integers: Tensor
    scale: Tensor
    zero: Tensor


def quantise_weight(weight: Tensor, limit: int) -> Quantised:
    """(O, I) float32 -> int8 from -limit to limit, scales (O,), and 0 for each zero."""
    largest = weight.abs().amax(dim=1)  # (O,)
    scale = torch.where(largest > 0, largest / limit, 1.0)  # a row of zeros takes any scale
    integers = (weight / scale[:, None]).round().to(torch.int8)
    return Quantised(integers, scale, torch.zeros_like(scale, dtype=torch.int64))


def quantise_activations(x: Tensor) -> Quantised:
    """(..., I) float32 -> uint8 with one scale and zero, (): negative and positive numbers rarely
    reach equally far, so the range is not symmetric. It holds 0, which is exact."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = ((high - low) / 255).clamp(min=6.1e-5)  # FBGEMM's smallest
    zero = (-low / scale).round()
    integers = ((x * (1 / scale)).round() + zero).clamp(0, 255).to(torch.uint8)
    return Quantised(integers, scale, zero)


def int8_linear(x: Tensor, weight: Quantised, bias: Tensor) -> Tensor:
    """x (..., I) -> (..., O) float32: what the kernel behind Int8Linear computes, step by step."""
    inputs = quantise_activations(x)
    # The scales are the same for all terms of a sum, so they are multiplied with the sum alone.
    total = (inputs.integers.int() - inputs.zero.int()) @ weight.integers.int().T  # (..., O) int32
    return total * (inputs.scale * weight.scale) + bias


class Int8Linear(nn.Linear):
    """int8_linear by torch's kernel; the float weights stay, for saving and for switching back.
    Raises ArithmeticError where a weight is not finite: rounding could hide it."""

    def __init__(self, layer: nn.Linear, limit: int) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")  # nothing to fill
        if not layer.weight.isfinite().all():
            raise ArithmeticError("the model's weights hold NaN or infinity")
        self.weight, self.bias = layer.weight, layer.bias
        rows = quantise_weight(layer.weight.detach(), limit)
        usual = torch.backends.quantized.engine  # FBGEMM, which gains little from VNNI
        torch.backends.quantized.engine = "onednn" if torch.cpu._is_vnni_supported() else "fbgemm"
        with warnings.catch_warnings(action="ignore"):  # of 8-bit tensors, that torch may drop them
            packed = torch._make_per_channel_quantized_tensor(*rows, axis=0)
        self.packed = torch.ops.quantized.linear_prepack(packed, layer.bias.detach())
        torch.backends.quantized.engine = usual

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O) float32."""
        return torch.ops.quantized.linear_dynamic(x, self.packed)


class Int8PerToken(Int8Linear):
    """For inputs that are large in few tokens: each is divided by its largest number, and its
    output multiplied with it, so that small tokens have as many steps as large ones."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O) float32; x is what GELU or ReLU gave, which is never below -0.17."""
        largest = x.amax(-1, keepdim=True).clamp(min=0.17)
        return torch.addcmul(self.bias, super().forward(x / largest) - self.bias, largest)


@functools.cache
def weight_limit() -> int:
    """The largest integer for a weight, found by trying: 127, or 64 on CPUs without VNNI, which add
    two products in 16 bits, cut off at 32,767 (2 x 255 x 127 is over it). Raises ValueError where
    torch has no right kernel for this CPU."""
    layer, x = nn.utils.skip_init(nn.Linear, 64, 32), torch.ones(4, 64)
    layer.weight.data, layer.bias.data = torch.ones(32, 64), torch.zeros(32)
    with contextlib.suppress(RuntimeError, AttributeError):
        for limit in (127, 64):
            right = int8_linear(x, quantise_weight(layer.weight, limit), layer.bias)
            if torch.allclose(Int8Linear(layer, limit)(x), right):
                return limit
    raise ValueError("int8: this torch has no 8-bit linear layers for this CPU")


def switch(model: nn.Module, on: bool) -> None:
    """Compute the linear layers of the encoder in 8 bits from now on, or in float32 again. They are
    replaced in place; the integers are those of the weights at this moment."""
    blocks: Any = getattr(model, "distilbert", model).blocks
    places = [(b.attention, name) for b in blocks for name in ("q_lin", "k_lin", "v_lin")]
    for block in blocks[:-1]:
        places += [(block.attention, "out_lin"), (block.ffn, "lin1"), (block.ffn, "lin2")]
    for part, name in places:
        layer = getattr(part, name)
        if on and not isinstance(layer, Int8Linear):
            kind = Int8PerToken if name == "lin2" else Int8Linear
            setattr(part, name, kind(layer, weight_limit()))
        elif isinstance(layer, Int8Linear) and not on:
            plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
            plain.weight, plain.bias = layer.weight, layer.bias
            setattr(part, name, plain)
