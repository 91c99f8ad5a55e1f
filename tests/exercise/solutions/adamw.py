"""One step of AdamW (Loshchilov & Hutter, arXiv 1711.05101), written by hand.

No torch.optim. What AdamW remembers between two steps is in a State.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class State(NamedTuple):
    """What is remembered of one parameter."""

    step: int  # how many steps have been done
    mean: Tensor  # moving average of the gradient, of the parameter's shape
    square: Tensor  # moving average of the gradient's square, of the parameter's shape


class Rates(NamedTuple):
    """The numbers that decide how a step is made."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01


def begin(weight: Tensor) -> State:
    """The state before the first step: both averages 0."""
    return State(0, torch.zeros_like(weight), torch.zeros_like(weight))


def adamw_step(
    weight: Tensor, gradient: Tensor, state: State, rates: Rates
) -> tuple[Tensor, State]:
    """The weight after one step, and the new state; the tensors that are given stay as they are.

    weight, gradient: of one shape. torch.optim.AdamW gives the same numbers."""
    step = state.step + 1
    # Decoupled decay: the weight shrinks by itself. Added to the gradient instead (Adam with L2),
    # the decay would be divided by the gradient's size: least for the weights that move most.
    weight = weight * (1 - rates.lr * rates.weight_decay)
    mean = rates.beta1 * state.mean + (1 - rates.beta1) * gradient
    square = rates.beta2 * state.square + (1 - rates.beta2) * gradient**2
    # Both averages start at 0 and are too small at first: after one step the mean is a tenth of the
    # gradient, the square a thousandth. These divisors put that right.
    mean_now = mean / (1 - rates.beta1**step)
    square_now = square / (1 - rates.beta2**step)
    weight = weight - rates.lr * mean_now / (square_now.sqrt() + rates.eps)
    return weight, State(step, mean, square)
