"""Steps against torch.optim.AdamW in float64; typical mistakes are recomputed and named."""

import ast
from pathlib import Path

import adamw as by_hand
import torch
from torch import Tensor

from tests.exercise.words import Wrong, close, equal

AXES = ("row", "column")
RATES = by_hand.Rates(lr=0.05, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.3)


def example(steps: int) -> tuple[Tensor, list[Tensor]]:
    """A weight (3, 4) and gradients of different sizes."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    gradients = torch.randn(steps, 3, 4, generator=generator, dtype=torch.float64)
    return weight, list(gradients * torch.logspace(-3, 1, 4, dtype=torch.float64))


def by_torch(weight: Tensor, gradients: list[Tensor], rates) -> tuple[Tensor, dict[str, Tensor]]:
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.AdamW(
        [parameter],
        lr=rates.lr,
        betas=(rates.beta1, rates.beta2),
        eps=rates.eps,
        weight_decay=rates.weight_decay,
    )
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach(), optimizer.state[parameter]


def with_slip(weight: Tensor, gradients: list[Tensor], slip: int) -> Tensor:
    """The weight after these steps of an AdamW with one mistake in it."""
    lr, beta1, beta2, eps, decay = RATES
    mean = square = torch.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        if slip == 0:  # Adam with L2
            gradient = gradient + decay * weight
        elif slip == 1:
            weight = weight * (1 - decay)
        elif slip != 2:
            weight = weight * (1 - lr * decay)
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        clock = step - 1 if slip == 9 else step
        m = mean if slip in (3, 4) else mean / (1 - beta1**clock)
        s = square if slip in (3, 5) else square / (1 - beta2**clock)
        root = (s + eps).sqrt() if slip == 6 else s + eps if slip == 7 else s.sqrt() + eps
        weight = weight + lr * m / root if slip == 8 else weight - lr * m / root
    return weight


SLIPS = (
    "when the decay is added to the gradient (Adam with L2): in AdamW it acts on the weight alone",
    "when the decay is not multiplied with the learning rate",
    "without weight decay",
    "without the bias correction of both averages",
    "without the bias correction of the mean",
    "without the bias correction of the square",
    "when eps stands under the root: it is added after the root is taken",
    "without the root of the square",
    "when the step goes up the gradient, not down",
    "when the steps are counted from 0 in the bias correction",
)


def steps(weight: Tensor, gradients: list[Tensor], rates) -> tuple[Tensor, object]:
    """What the student's steps give. Of copies, so that nothing here is changed in place."""
    weight = weight.clone()
    state = by_hand.begin(weight)
    for gradient in gradients:
        weight, state = by_hand.adamw_step(weight, gradient.clone(), state, rates)
    return weight, state


def check_by_hand() -> None:
    """by hand: no torch.optim"""
    source = Path(by_hand.__file__).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("optim", "AdamW", "Adam"):
            raise Wrong(
                f"adamw.py, line {node.lineno}, uses .{node.attr}: write the step yourself."
            )


def check_start() -> None:
    """begin: no steps done, both averages 0"""
    state = by_hand.begin(torch.ones(3, 4))
    equal(state.step, 0, "the number of steps in the first state")
    for name in ("mean", "square"):
        close(getattr(state, name), torch.zeros(3, 4), f"{name} in the first state", AXES)


def check_given_stays() -> None:
    """what is given stays as it is: no tensor is changed in place"""
    weight, gradients = example(1)
    state = by_hand.State(3, torch.ones_like(weight), torch.ones_like(weight))
    given = {"the weight": weight, "the gradient": gradients[0]}
    given |= {"the state's mean": state.mean, "the state's square": state.square}
    before = {name: tensor.clone() for name, tensor in given.items()}
    by_hand.adamw_step(weight, gradients[0], state, RATES)
    for name, tensor in given.items():
        if not torch.equal(tensor, before[name]):
            raise Wrong(f"{name} was changed in place; make a new tensor instead.")


def check_first_step() -> None:
    """the first step: the weight is that of torch.optim.AdamW"""
    weight, gradients = example(1)
    actual, _ = steps(weight, gradients, RATES)
    slips = {words: with_slip(weight, gradients, i) for i, words in enumerate(SLIPS)}
    expected, _ = by_torch(weight, gradients, RATES)
    close(actual, expected, "the weight after one step", AXES, mistakes=slips)


def check_state() -> None:
    """the state: the averages of torch.optim.AdamW, before bias correction"""
    weight, gradients = example(2)
    _, state = steps(weight, gradients, RATES)
    equal(state.step, 2, "the number of steps after two")
    reference = by_torch(weight, gradients, RATES)[1]
    close(
        state.mean,
        reference["exp_avg"],
        "mean after two steps",
        AXES,
        mistakes={
            "when the corrected average is remembered": reference["exp_avg"] / (1 - RATES.beta1**2),
            "when the last gradient replaces the average": gradients[-1],
        },
    )
    close(
        state.square,
        reference["exp_avg_sq"],
        "square after two steps",
        AXES,
        mistakes={
            "when the corrected average is remembered": reference["exp_avg_sq"]
            / (1 - RATES.beta2**2),
            "when the gradient is not squared": sum_of(gradients),
        },
    )


def sum_of(gradients: list[Tensor]) -> Tensor:
    beta = RATES.beta2
    return (1 - beta) * (beta * gradients[0] + gradients[1])


def check_twenty_steps() -> None:
    """twenty steps: still the weight of torch.optim.AdamW"""
    weight, gradients = example(20)
    slips = {words: with_slip(weight, gradients, i) for i, words in enumerate(SLIPS)}
    expected, _ = by_torch(weight, gradients, RATES)
    actual, _ = steps(weight, gradients, RATES)
    close(actual, expected, "the weight after twenty steps", AXES, mistakes=slips)
    expected, _ = by_torch(weight, gradients, by_hand.Rates())
    actual, _ = steps(weight, gradients, by_hand.Rates())
    close(actual, expected, "the weight after twenty steps with the usual rates", AXES)
