"""The new schedule against transformers' over whole runs, on the device alone, and as an option."""

import torch
from transformers import get_inverse_sqrt_schedule

from tests.exercise.checks.training_parts import FP32
from tests.exercise.words import Wrong, close
from train.options import FinetuneOptions
from train.training.optim import LossScale, Update, make_optimizer, rate_factor

STEPS, NAME = 40, "inverse_sqrt"


def check_option() -> None:
    """the option: --schedule inverse_sqrt is accepted, and a name that does not exist is not"""
    try:
        FinetuneOptions(schedule=NAME)
    except ValueError as error:
        raise Wrong(f"--schedule {NAME} is refused: {error}") from None
    try:
        FinetuneOptions(schedule="inverse")
    except ValueError:
        return
    raise Wrong("--schedule inverse, which does not exist, is accepted.")


def check_factor() -> None:
    """rate_factor: up over the warm-up steps, then down with one over the root of the step"""
    for warmup in (4, 1, 0, STEPS):
        for done in (0, 1, 3, 4, 5, 9, 20, 39):
            actual = rate_factor(NAME, torch.tensor(float(done)), STEPS, warmup)
            scale = warmup or 10_000
            later = done + scale - warmup
            right = done / warmup if done < warmup else (later / scale) ** -0.5
            after = max(1, done - warmup)
            close(
                actual,
                torch.tensor(right),
                f"the factor after {done} steps, warm-up {warmup}",
                tolerance=1e-6,
                mistakes={
                    "without the warm-up": torch.tensor((max(later, 1e-9) / scale) ** -0.5),
                    "when the root is missing": torch.tensor(scale / max(later, 1e-9)),
                    "when steps are counted from the end of the warm-up": torch.tensor(after**-0.5),
                    "of the linear schedule": torch.tensor(
                        1 - (done - warmup) / max(1, STEPS - warmup)
                    ),
                    "when it is constant after the warm-up": torch.tensor(1.0),
                },
            )


def check_whole_runs() -> None:
    """whole runs: every step's rate is that of transformers' get_inverse_sqrt_schedule"""
    for warmup in (0, 7, STEPS):
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
        theirs = get_inverse_sqrt_schedule(optimizer, warmup)
        update = Update(make_optimizer(model, 3e-4, 0.0), LossScale(FP32), STEPS, NAME, warmup)
        for step in range(1, STEPS + 1):
            model.weight.grad, model.bias.grad = torch.ones(2, 2), torch.ones(2)
            update()
            expected = torch.tensor(theirs.get_last_lr()[0], dtype=torch.float64)
            what = f"the learning rate in step {step} of {STEPS}, warm-up {warmup},"
            close(update.rate, expected, what, tolerance=1e-10)
            optimizer.step()
            theirs.step()


def check_device() -> None:
    """on the device: nothing is read back from the tensor, and the dtype stays"""
    try:
        factor = rate_factor(NAME, torch.zeros((), device="meta"), STEPS, 7)
    except (RuntimeError, NotImplementedError) as error:
        raise Wrong(
            "On a device that holds no numbers the factor cannot be computed: something reads "
            f"`done` back (an `if`, float() or .item()). Use tensor operations. ({error})"
        ) from None
    if not isinstance(factor, torch.Tensor) or factor.device.type != "meta":
        raise Wrong("The factor should be a tensor on the device of `done`.")
    factor = rate_factor(NAME, torch.zeros((), dtype=torch.float64), STEPS, 7)
    if factor.dtype != torch.float64:
        raise Wrong(f"Of a float64 clock the factor is {factor.dtype}.")


def check_others() -> None:
    """the other schedules give what they gave before"""
    for name, expected in {
        "linear": [0.0, 0.5, 1.0, 0.5],
        "cosine": [0.0, 0.5, 1.0, 0.5],
        "constant": [0.0, 0.5, 1.0, 1.0],
    }.items():
        for done, right in zip((0, 1, 2, 4), expected):
            actual = rate_factor(name, torch.tensor(float(done)), 6, 2)
            close(actual, torch.tensor(right), f"{name} after {done} of 6 steps", tolerance=1e-6)
