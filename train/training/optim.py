"""AdamW, its learning rate schedule, and the update that unscales, clips, skips and steps.

AdamW: Loshchilov & Hutter, arXiv 1711.05101. All state lives on the device, so that a step reads
nothing back and can be captured as a CUDA graph.
"""

import math

import torch
from torch import Tensor, nn

from minibert import DistilBertForSequenceClassification
from train.device import Precision

# Devices whose fused kernel honours grad_scale and found_inf (Apple's did not: pytorch#186360).
FUSED = ("cpu", "cuda")
MAX_GRAD_NORM = 1.0  # transformers.TrainingArguments.max_grad_norm


def freeze(model: DistilBertForSequenceClassification, train_layers: int) -> None:
    """Leave the embeddings and all but the last train_layers blocks as they are.

    Backward passes end at the first tensor that needs no gradient, so that frozen blocks cost their
    forward pass alone."""
    blocks = model.distilbert.blocks
    if train_layers > len(blocks):
        raise ValueError(f"--train-layers {train_layers}: the model has {len(blocks)} blocks")
    for part in (model.distilbert.embeddings, *blocks[: len(blocks) - train_layers]):
        part.requires_grad_(False)


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, fused where possible, with transformers' groups: matrices (embeddings too) decay,
    biases and layer norms do not; betas (0.9, 0.999), eps 1e-8."""
    # Decay pulls towards 0. For a matrix that means small weights; a layer norm's weights belong
    # near 1, and a bias has too few numbers to overfit with.
    norms = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    decay: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue  # frozen: no moments, which are twice the size of the weights
        if name.endswith("bias") or id(parameter) in norms:
            rest.append(parameter)
        else:
            decay.append(parameter)
    device = decay[0].device
    is_fused = device.type in FUSED
    # A tensor, so that a captured step can change it. float64 is for the CPU's kernel alone: that
    # of CUDA wants float32 there, and an Apple GPU has no float64.
    dtype = torch.float64 if device.type == "cpu" else torch.float32
    rate = torch.tensor(lr, dtype=dtype, device=device)
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=rate, fused=is_fused, foreach=False, capturable=device.type == "cuda"
    )
    for parameter in decay + rest:
        # As AdamW does in its first step, but at once: then a checkpoint holds the same tensors
        # after any number of steps, and what it must hold is known before it is read.
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=device if is_fused else "cpu"),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def rate_factor(schedule: str, done: Tensor, total_steps: int, warmup_steps: int) -> Tensor:
    """What the learning rate is multiplied with in the step after `done` () others, as in
    transformers' get_linear_, get_cosine_ and get_constant_schedule_with_warmup.

    Linear: from 0 to 1 over the warm-up steps, then back to 0 at total_steps. Cosine: half a wave
    instead of the straight line down. Constant: 1 after the warm-up.

    >>> [float(rate_factor("linear", torch.tensor(k), 6, 2)) for k in (0, 1, 2, 4)]
    [0.0, 0.5, 1.0, 0.5]
    """
    rising = done / max(1, warmup_steps)
    progress = (done - warmup_steps) / max(1, total_steps - warmup_steps)  # 0 to 1 after warm-up
    if schedule == "linear":
        falling = 1 - progress
    elif schedule == "cosine":
        falling = 0.5 * (1 + torch.cos(math.pi * progress))
    else:
        falling = torch.ones_like(progress)
    # torch.where, not `if done < warmup_steps:`, which would read `done` back from the device.
    return torch.where(done < warmup_steps, rising, falling.clamp(min=0.0))


class LossScale:
    """Dynamic loss scaling, on the device: `value` falls by half where a gradient overflows and
    doubles after `interval` good steps (the constants are torch.amp.GradScaler's). For fp32 and
    bf16 it stays at 1."""

    def __init__(self, precision: Precision, initial: float = 65536.0, interval: int = 2000):
        self.enabled = precision.name == "fp16"
        self.interval = interval
        self.value = torch.tensor(initial if self.enabled else 1.0, device=precision.device)
        self.good_steps = torch.zeros((), device=precision.device)

    def update(self, overflow: Tensor) -> None:
        """`overflow` () float32: 1.0 if the step's gradients were not finite, else 0.0."""
        if not self.enabled:
            return
        # Arithmetic with 0.0 and 1.0 instead of `if overflow:`, which would wait for the device.
        self.good_steps.add_(1).mul_(1 - overflow)
        grown = (self.good_steps >= self.interval).float()
        self.value.mul_(1 - 0.5 * overflow).mul_(1 + grown)
        self.good_steps.mul_(1 - grown)


class Update:
    """From gradients of the scaled loss to new weights.

    schedule: linear, cosine or constant, see `rate_factor`. A step whose gradients are not finite
    changes nothing: weights, moments and schedule stay, `skipped` counts it.
    """

    def __init__(
        self,
        optimizer: torch.optim.AdamW,
        scale: LossScale,
        total_steps: int,
        schedule: str = "linear",
        warmup_steps: int = 0,
    ):
        self.optimizer, self.scale, self.total_steps = optimizer, scale, total_steps
        self.schedule, self.warmup_steps = schedule, warmup_steps
        self.is_fused = bool(optimizer.defaults["fused"])
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.rate = optimizer.param_groups[0]["lr"]
        self.base_rate = float(self.rate)
        for group in optimizer.param_groups:
            group["lr"] = self.rate  # one tensor for both groups
        self.done = torch.zeros_like(self.rate)  # steps not skipped: the schedule's clock
        self.skipped_in_a_row = torch.zeros_like(self.scale.value)
        self.skipped = torch.zeros_like(self.scale.value)

    def __call__(self) -> Tensor:
        """One optimiser step; returns the gradient norm before clipping, () float32.

        No branch depends on a tensor's value: `if overflow:` would read it back from the device in
        every step, and a CUDA graph would repeat forever the branch that it recorded.
        """
        # The gradients are those of loss x scale, so their norm is divided by the scale before it
        # is compared with MAX_GRAD_NORM; otherwise fp16 would clip every step.
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads).float() / self.scale.value
        overflow = (~torch.isfinite(norm)).float()  # a norm is finite only if all gradients are
        # Unscale and clip in one number: gradients / (scale x max(1, norm / MAX_GRAD_NORM)).
        # 1e-6 as in torch's clip_grad_norm_.
        divisor = self.scale.value * ((norm + 1e-6) / MAX_GRAD_NORM).clamp(min=1.0)
        # In place: a captured step reads the rate from this very tensor.
        factor = rate_factor(self.schedule, self.done, self.total_steps, self.warmup_steps)
        self.rate.copy_(self.base_rate * factor)
        self.step(grads, divisor, overflow)
        # None, not zeros: the next backward pass writes new gradients instead of adding to old.
        self.optimizer.zero_grad(set_to_none=True)
        self.done.add_(1 - overflow)  # a step that was left out does not move the schedule on
        self.skipped.add_(overflow)
        self.skipped_in_a_row.add_(1).mul_(overflow)  # back to 0 after a good step
        self.scale.update(overflow)
        return norm

    def step(self, grads: list[Tensor], divisor: Tensor, overflow: Tensor) -> None:
        """AdamW's step on the gradients divided by `divisor`; none where `overflow` is 1."""
        if self.is_fused:
            # torch.amp.GradScaler's way into the fused kernel (torch/optim/adam.py reads both by
            # getattr): it divides each gradient by grad_scale as it reads it, so that clipping
            # costs no pass over memory of its own, and it writes nothing where found_inf is 1.
            self.optimizer.grad_scale = divisor  # type: ignore[attr-defined]
            self.optimizer.found_inf = overflow  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not overflow.item():
            # Other kernels ignore both attributes: without these lines nothing would be clipped,
            # and NaN would reach the weights. `.item()` waits for the device, once in a step.
            torch._foreach_div_(grads, divisor)
            self.optimizer.step()

    def tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """All state under names: exp_avg.PARAMETER, ..., and the clocks of schedule and scale."""
        moments = {
            f"{key}.{name}": value
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
            for key, value in self.optimizer.state[parameter].items()
        }
        return moments | self.clocks()

    def load_tensors(self, model: nn.Module, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` gave."""
        for name, tensor in self.tensors(model).items():
            tensor.copy_(tensors[name])  # in place: a captured step reads these very tensors

    def clocks(self) -> dict[str, Tensor]:
        """The state that is one number each, () on the device."""
        return {
            "steps_done": self.done,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "loss_scale": self.scale.value,
            "loss_scale_good_steps": self.scale.good_steps,
        }
