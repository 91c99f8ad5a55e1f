"""The scale against torch's GradScaler, the update against torch's clipping, AdamW and schedule."""

import math
import sys

import torch
from transformers import get_linear_schedule_with_warmup

from tests.exercise.checks.training_parts import FP16, FP32, make_model, make_update
from tests.exercise.words import Wrong, close, equal
from train.training.optim import LossScale, Update

GOOD, OVERFLOW = torch.tensor(0.0), torch.tensor(1.0)


def check_start() -> None:
    """LossScale: 65536 to begin with in fp16, 1 and never changed in fp32 and bf16"""
    scale = LossScale(FP16)
    equal(float(scale.value), 65536.0, "the value in fp16")
    equal(float(LossScale(FP16, initial=8.0).value), 8.0, "the value with initial=8.0")
    equal((scale.enabled, LossScale(FP32).enabled), (True, False), "enabled in fp16 and in fp32")
    plain = LossScale(FP32, initial=8.0, interval=2)
    for overflow in (OVERFLOW, GOOD, GOOD, GOOD):
        plain.update(overflow)
        equal(float(plain.value), 1.0, "the value in fp32, whatever overflows,")
    equal(scale.interval, 2000, "the interval, where none is given,")


def check_scale() -> None:
    """LossScale.update: halves at an overflow, doubles after `interval` good steps in a row"""
    pattern = [1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    scale = LossScale(FP16, initial=8.0, interval=3)
    held = scale.value
    value, good = torch.tensor(8.0), torch.zeros((), dtype=torch.int32)
    seen, expected, never_reset = [], [], []
    loose, steps = 8.0, 0
    for overflow in pattern:
        scale.update(torch.tensor(float(overflow)))
        seen.append(float(scale.value))
        # What torch.amp.GradScaler.update() calls.
        torch._amp_update_scale_(value, good, torch.tensor(float(overflow)), 2.0, 0.5, 3)
        expected.append(float(value))
        steps += 1 - overflow
        loose = loose / 2 if overflow else loose * 2 if steps % 3 == 0 else loose
        never_reset.append(loose)
    equal(
        seen,
        expected,
        f"the values (from 8, interval 3) over the overflows {pattern}",
        {
            "when good steps are counted on after an overflow, not in a row": never_reset,
            "when it never grows": [8 * 0.5 ** sum(pattern[: i + 1]) for i in range(len(pattern))],
        },
    )
    if scale.value is not held:
        raise Wrong(
            "scale.value has become another tensor. A captured step goes on with the old "
            "one: change it in place (mul_, copy_)."
        )


def gradients(model, size: float, scale: float) -> float:
    """Give every parameter a gradient; all together have the norm `size`, times the scale."""
    generator = torch.Generator().manual_seed(1)
    parameters = list(model.parameters())
    grads = [torch.randn(p.shape, generator=generator) for p in parameters]
    norm = torch.nn.utils.get_total_norm(grads)
    for parameter, grad in zip(parameters, grads):
        parameter.grad = grad / norm * size * scale
    return size


def check_norm() -> None:
    """Update: the norm that it returns is that of the gradients without the scale"""
    model = make_model()
    update = make_update(model, FP16, initial=1024.0)
    gradients(model, 3.0, 1024.0)
    expected = torch.tensor(3.0)
    close(
        update(),
        expected,
        "the norm (scale 1024, gradients of norm 3)",
        tolerance=1e-4,
        mistakes={
            "when the scale is not divided out": expected * 1024,
            "when it is measured after clipping": torch.tensor(1.0),
        },
    )


def moments(update: Update, model) -> torch.Tensor:
    """The moving average of one parameter: after one step, a tenth of the gradient it was given."""
    return update.optimizer.state[model.classifier.weight]["exp_avg"].clone()


def check_clipping() -> None:
    """Update: gradients are unscaled, then clipped to norm 1, then given to AdamW"""
    for size in (3.0, 0.5):
        model = make_model()
        update = make_update(model, FP16, initial=1024.0)
        gradients(model, size, 1024.0)
        raw = model.classifier.weight.grad.clone()
        tenth = raw / 1024 / 10
        expected = tenth / max(1.0, size)
        update()
        what = f"a tenth of the gradient that AdamW has got (norm {size}, scale 1024)"
        close(
            moments(update, model),
            expected,
            what,
            ("class", "dimension"),
            1e-6,
            mistakes={
                "when the scale is not divided out": raw / 10,
                "without clipping": tenth,
                "when scaled gradients are clipped: these are far above 1": tenth / (size * 1024),
                "when small gradients are stretched to norm 1, too": tenth / size,
            },
        )


def check_scale_changes_nothing() -> None:
    """Update: whatever the scale, the weights after 5 steps are the same"""
    weights = []
    for initial in (1.0, 4096.0):
        model = make_model()
        update = make_update(model, FP16, initial=initial)
        for size in (0.5, 3.0, 1.0, 0.2, 2.0):
            gradients(model, size, float(update.scale.value))
            update()
        weights.append(model.classifier.weight.detach().clone())
    close(
        weights[1],
        weights[0],
        "classifier.weight after 5 steps with scale 4096, beside scale 1",
        ("class", "dimension"),
        1e-6,
    )


def check_overflow() -> None:
    """Update: a step whose gradients are not finite changes nothing but the scale and the count"""
    for value in (math.inf, math.nan):
        model = make_model()
        update = make_update(model, FP16, initial=1024.0)
        gradients(model, 0.5, 1024.0)
        update()
        before = {name: tensor.clone() for name, tensor in update.tensors(model).items()}
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        gradients(model, 0.5, 1024.0)
        model.classifier.bias.grad[0] = value
        update()
        for name, parameter in model.named_parameters():
            if not torch.equal(parameter, weights[name]):
                raise Wrong(f"A gradient held {value}, and yet {name} was changed.")
        counts = {"skipped": 1.0, "skipped_in_a_row": 1.0, "loss_scale": 512.0}
        counts["loss_scale_good_steps"] = 0.0
        for name, tensor in update.tensors(model).items():
            if name in counts:
                equal(float(tensor), counts[name], f"{name} after one step that held {value}")
            elif not torch.equal(tensor, before[name]):
                reason = " The schedule waits, too." if name == "steps_done" else ""
                raise Wrong(f"A gradient held {value}, and yet {name} was changed.{reason}")
        gradients(model, 0.5, 512.0)
        update()
        equal(float(update.skipped_in_a_row), 0.0, "skipped_in_a_row after a good step")
        equal(float(update.done), 2.0, "the steps done after good, overflow, good")


def check_rate() -> None:
    """Update: the learning rate of each step is the schedule's"""
    model = make_model()
    update = make_update(model)
    reference = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    schedule = get_linear_schedule_with_warmup(reference, 0, 10)
    rates = [1e-2 * (1 - step / 10) for step in range(11)]
    for step in range(10):
        gradients(model, 0.5, 1.0)
        update()
        expected = torch.tensor(schedule.get_last_lr()[0], dtype=torch.float64)
        close(
            update.rate,
            expected,
            f"the rate in step {step + 1} of 10",
            tolerance=1e-9,
            mistakes={
                "when the schedule is asked after the step is counted": torch.tensor(
                    rates[step + 1]
                ),
                "when the rate never changes": torch.tensor(1e-2 if step else math.nan),
                "when the factor stands without the base rate": torch.tensor(100 * rates[step]),
            },
        )
        reference.step()
        schedule.step()


def check_gradients_are_dropped() -> None:
    """Update: no gradient is left for the next backward pass to add to"""
    model = make_model()
    update = make_update(model)
    gradients(model, 0.5, 1.0)
    update()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().sum() > 0:
            raise Wrong(f"{name} still has its gradient; the next step's would be added to it.")


def check_nothing_is_read() -> None:
    """no value is read back from the device: no if, float() or .item() on a tensor"""
    model = make_model()
    update = make_update(model, FP16, initial=1024.0)
    gradients(model, 0.5, 1024.0)
    kept = {}

    def reads(name: str):
        def method(tensor, *arguments):
            frame = sys._getframe(1)
            if frame.f_code.co_filename.endswith("training/optim.py"):
                raise Wrong(
                    f"optim.py, line {frame.f_lineno}, reads a tensor's value ({name}). A GPU "
                    "would have to be waited for in every step, and a CUDA graph would repeat one "
                    "branch for ever. Compute with 0.0 and 1.0 instead, or use torch.where."
                )
            return kept[name](tensor, *arguments)

        return method

    for name in ("item", "__bool__", "__float__", "__int__"):
        kept[name] = getattr(torch.Tensor, name)
        setattr(torch.Tensor, name, reads(name))
    try:
        update()
    finally:
        for name, method in kept.items():
            setattr(torch.Tensor, name, method)
