"""Quantising and the layer against their formulas; then torch's own kernel, and float32."""

import torch
from torch import Tensor

from minibert.int8 import (
    Int8Linear,
    Quantised,
    int8_linear,
    quantise_activations,
    quantise_weight,
)
from tests.exercise.words import Wrong, close, equal

ROWS = ("output row", "input")


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def weight_of_all_kinds() -> Tensor:
    """(O, I): a row with one large number, a small one, and one of zeros."""
    weight = random(6, 16)
    weight[1, 3], weight[4] = 50.0, 0.0
    weight[2] *= 0.01
    return weight


def check_weight_scales() -> None:
    """quantise_weight: a scale for every output row; its largest number is `limit` steps from 0"""
    weight = weight_of_all_kinds()
    for limit in (127, 64):
        found = quantise_weight(weight, limit)
        largest = weight.abs().amax(dim=1)
        close(
            found.scale[largest > 0],
            (largest / limit)[largest > 0],
            f"the scales of all rows but that of zeros, for limit {limit}",
            ("output row",),
            tolerance=1e-7,
            mistakes={
                "when one scale serves all rows: small rows keep few steps": (
                    largest.max() / limit
                ).expand(5),
                "when the largest is taken without abs(): negative numbers count, too": (
                    weight.amax(dim=1) / limit
                )[largest > 0],
                "when the rows are taken for columns": (weight.abs().amax(dim=0) / limit)[:5],
                "when the limit is taken for the number of steps on both sides": (
                    2 * largest / limit
                )[largest > 0],
            },
        )
        if not (found.scale.isfinite() & (found.scale > 0)).all():
            raise Wrong("The row of zeros has no finite scale above 0: 0 / 0 is NaN.")
        equal(found.zero.tolist(), [0] * 6, "zero of every row")


def check_weight_integers() -> None:
    """quantise_weight: the integers are the nearest ones, in int8"""
    weight = weight_of_all_kinds()
    found = quantise_weight(weight, 127)
    equal(found.integers.dtype, torch.int8, "the dtype of a weight's integers")
    steps = weight / found.scale[:, None]
    close(
        found.integers,
        steps.round().to(torch.int8),
        "the integers of a weight",
        ROWS,
        tolerance=0,
        mistakes={
            "when they are cut off, not rounded": steps.to(torch.int8),
            "when they are rounded down": steps.floor().to(torch.int8),
        },
    )


def check_activations() -> None:
    """quantise_activations: 255 steps from the lowest to the highest number, and 0 is exact"""
    x = random(3, 5, 16)
    for name, tensor in {
        "both signs": x,
        "one large number": torch.cat([x.flatten(), torch.tensor([40.0])]),
        "positive numbers alone (the range still holds 0)": x.abs() + 1,
        "negative numbers alone (the range still holds 0)": -x.abs() - 1,
        "a range that reaches as far below 0 as above": torch.tensor([-127.5, 3.0, 127.5]),
    }.items():
        found = quantise_activations(tensor)
        low, high = tensor.min().clamp(max=0), tensor.max().clamp(min=0)
        scale = (high - low) / 255
        close(
            found.scale,
            scale,
            f"the scale for {name}",
            tolerance=1e-6,
            mistakes={
                "when the range is divided by 256: from 0 to 255 there are 255 steps": scale
                * 255
                / 256,
                "when the range is made symmetric": tensor.abs().max() / 127,
                "when the range need not hold 0": (tensor.max() - tensor.min()) / 255,
            },
        )
        equal(found.integers.dtype, torch.uint8, f"the dtype of the integers for {name}")
        equal(float(found.zero), float((-low / scale).round()), f"zero for {name}")
        back = (found.integers.float() - found.zero) * found.scale
        furthest = float((back - tensor).abs().max() / scale)
        if furthest > 1.01:  # half a step of rounding, and half of zero's
            raise Wrong(
                f"For {name} a number comes back {furthest:.3g} steps off; one step at most is "
                "lost by rounding it and `zero`. Add `zero` after rounding, and clamp to 0..255 "
                "before the integers become uint8: 256 would wrap round to 0."
            )


def check_zeros() -> None:
    """quantise_activations: a tensor of zeros comes back as zeros"""
    found = quantise_activations(torch.zeros(2, 3))
    back = (found.integers.float() - found.zero) * found.scale
    close(back, torch.zeros(2, 3), "what a tensor of zeros comes back as", tolerance=0)
    close(found.scale, torch.tensor(6.1e-5), "the scale of a tensor of zeros", tolerance=1e-8)


def check_layer() -> None:
    """int8_linear: integers multiplied, sums scaled back, the bias added"""
    weight, bias, x = weight_of_all_kinds(), random(6), random(2, 5, 16)
    rows, inputs = quantise_weight(weight, 127), quantise_activations(x)
    integers = inputs.integers.double()
    plain = (integers - float(inputs.zero)) @ rows.integers.double().T
    scaled = plain * (float(inputs.scale) * rows.scale.double())
    without_zero = integers @ rows.integers.double().T
    actual = int8_linear(x, rows, bias)
    equal(actual.dtype, torch.float32, "the dtype of the layer's output")
    close(
        actual,
        (scaled + bias).float(),
        "the layer's output",
        ("text", "token", "output row"),
        tolerance=1e-4,
        mistakes={
            "without the bias": scaled.float(),
            "without taking away `zero`": (
                without_zero * (float(inputs.scale) * rows.scale.double()) + bias
            ).float(),
            "without the scale of the activations": (plain * rows.scale + bias).float(),
            "without the scales of the weights": (plain * float(inputs.scale) + bias).float(),
            "when the bias is scaled, too": (
                (plain + bias) * (float(inputs.scale) * rows.scale.double())
            ).float(),
            "in float32, without quantising at all": x @ weight.T + bias,
        },
    )
    given = Quantised(rows.integers, 2 * rows.scale, rows.zero)
    twice = int8_linear(x, given, torch.zeros(6))
    close(
        twice,
        (2 * scaled).float(),
        "the output with all scales of the weight doubled",
        ("text", "token", "output row"),
        tolerance=1e-4,
    )


def check_kernel() -> None:
    """int8_linear: what torch's own 8-bit kernel computes"""
    layer = torch.nn.utils.skip_init(torch.nn.Linear, 96, 40).requires_grad_(False)
    layer.weight.copy_(random(40, 96))
    layer.bias.copy_(random(40))
    x = random(3, 5, 96)
    expected = int8_linear(x, quantise_weight(layer.weight, 64), layer.bias)
    try:
        kernel = Int8Linear(layer, 64)(x)  # 64: no CPU's sums of two products overflow with it
    except (RuntimeError, AttributeError) as error:
        print(f"torch has no 8-bit kernel for this CPU, so that yours is not compared: {error}")
        return
    close(
        expected,
        kernel,
        "your output, beside torch.ops.quantized.linear_dynamic's",
        ("text", "token", "output row"),
        tolerance=1e-4,
    )


def check_loss_of_accuracy() -> None:
    """what is lost: under 2 % of the largest number, beside float32"""
    weight, bias, x = random(40, 96), random(40), random(3, 5, 96).flip(0)
    exact = x @ weight.T + bias
    off = float((int8_linear(x, quantise_weight(weight, 127), bias) - exact).abs().max())
    if off > 0.02 * float(exact.abs().max()):
        raise Wrong(
            f"The output is up to {off:.3g} off float32's, whose largest number is "
            f"{float(exact.abs().max()):.3g}: more than rounding to 8 bits explains."
        )
