"""Which device computes, in which number format, and the loss scaling that fp16 needs.

Mixed precision (Micikevicius et al., arXiv 1710.03740): weights, optimiser state and loss stay in
float32; the matrix products of the forward and backward pass run in 16 bits under torch.autocast.
bfloat16 has float32's range and needs nothing more. float16 has not: small gradients would vanish,
so the loss is multiplied by a scale that is found by trial (`LossScale`).
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """What was chosen: `device`, and `name` (fp32, bf16 or fp16)."""

    device: torch.device
    name: str

    def autocast(self) -> AbstractContextManager:
        """The context of a forward pass."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.name])

    def __str__(self) -> str:
        text = f"{self.name} on {self.device.type}"
        if self.device.type == "cuda":
            tf32 = "on" if torch.backends.cuda.matmul.allow_tf32 else "off"
            return f"{text} ({torch.cuda.get_device_name(self.device)}; TF32 {tf32})"
        return f"{text} ({torch.get_num_threads()} threads)" if self.device.type == "cpu" else text


def choose_precision(device: str = "auto", precision: str = "auto") -> Precision:
    """The fastest exact enough choice for this machine where "auto" leaves it open.

    Raises ValueError where the named device is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next((name for name, there in available.items() if there), "cpu")
    elif not available.get(device, True):
        raise ValueError(f"--device {device}: this machine has none; use --device cpu or auto")
    if device == "cuda":
        # Explicit, as torch's default has changed between versions: float32 means float32 here.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    if device == "cpu":
        # Adam's averages of words not seen for long decay into subnormal numbers, on which a CPU is
        # many times slower; zero serves as well. Set before torch starts its threads.
        torch.set_flush_denormal(True)
    if precision == "auto":
        precision = fastest(device)
    return Precision(torch.device(device), precision)


def fastest(device: str) -> str:
    """bf16 where the matrix units compute it, else fp16 on a GPU and fp32 on a CPU."""
    if device == "cuda":
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    if device == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bf16"  # without AMX tiles bf16 is slower than fp32
    return "fp32"


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
        self.good_steps.add_(1).mul_(1 - overflow)
        grown = (self.good_steps >= self.interval).float()
        self.value.mul_(1 - 0.5 * overflow).mul_(1 + grown)
        self.good_steps.mul_(1 - grown)
