"""The training loop: for every step its seed, its texts, forward and backward pass, update.

Everything random about step k is a function of (seed, k): the texts through the epoch's order, the
dropout through the seed set before the step. So a run that is stopped after any step and resumed
there is the uninterrupted run, bit for bit.
"""

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from train.batches import padding_share
from train.device import ALONE, Processes
from train.training.graphs import CapturedStep, padded_width
from train.training.optim import Update
from train.training.step import Job, eager_step, seed_step

LOG_BLOCK = 50  # steps between two copies of the losses from the device
LOG_SECONDS = 1.0  # or so long after the last copy
MAX_SKIPPED = 30  # overflowing steps in a row: from 65536 the fp16 loss scale is then below 1e-4


def training(job: Job, first_step: int = 0) -> Iterator[tuple[int, Tensor]]:
    """Train from first_step to update.total_steps, one step each time the caller asks for more.

    Yields (steps done, values): (3,) float32 of loss, learning rate and gradient norm, still on the
    device. What happens between steps (log, evaluate, save, stop) is up to the caller, and the next
    step starts only after it.
    """
    # On many processes the model is wrapped, so that its backward pass averages the gradients over
    # them. The caller keeps the plain model, whose parameters are the same tensors.
    job = job._replace(model=job.processes.wrap(job.model))
    captured = CapturedStep(job) if is_capturable(job) else None
    job.model.train()
    for step in range(first_step, job.update.total_steps):
        # Before every step, not once: dropout must not depend on where the run was resumed, nor on
        # how many random numbers an evaluation between two steps has drawn.
        seed_step(job.steps.seed, step, job.processes.rank)
        rows = job.steps[step]
        yield step + 1, captured(rows) if captured else eager_step(job, rows)


def is_capturable(job: Job) -> bool:
    """Whether a step can be recorded as a CUDA graph: one GPU, one forward pass per step."""
    is_alone = job.processes.world == 1 and job.grad_accum == 1
    return is_alone and job.precision.device.type == "cuda"


def padding_of_epoch(job: Job, epoch: int) -> float:
    """The part of the tokens computed in an epoch that is padding, 0 to 1: each forward pass has
    the width of its own longest text, and a captured step the next multiple of WIDTH."""
    batches, widths = [], []
    for rows in job.steps.of_epoch(epoch):
        is_captured = is_capturable(job) and len(rows) == job.steps.step_size
        for part in np.array_split(rows, job.grad_accum * job.processes.world):
            if len(part):
                longest = int(job.data.lengths[part].max())
                batches.append(part)
                widths.append(padded_width(longest) if is_captured else longest)
    return padding_share(job.data.lengths, batches, widths)


class StepLog:
    """Collects (loss, lr, gradient norm) on the device and copies them to the CPU in blocks.

    Reading one loss waits until the GPU has computed it. After every step that would leave the GPU
    idle while Python prepares the next one; once in 50 steps, or once a second where steps are
    slow, the wait costs next to nothing, and the loss beside the progress is never an old one.
    """

    def __init__(self, processes: Processes = ALONE):
        self.processes = processes
        self.block: dict[int, Tensor] = {}  # by the number of the step, from 1
        self.read_at = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether it is time to read."""
        if len(self.block) >= LOG_BLOCK:
            return True
        # Reading waits for the losses of all processes: they must agree on the step, and their
        # clocks would not.
        return self.processes.world == 1 and time.monotonic() - self.read_at >= LOG_SECONDS

    def add(self, step: int, values: Tensor) -> None:
        """values: (3,) on the device, as `training` yields them."""
        self.block[step] = values

    def read(self) -> list[dict]:
        """Empty the log: a record per step, the loss averaged over all processes."""
        self.read_at = time.monotonic()
        if not self.block:
            return []
        values = torch.stack([*self.block.values()])  # (steps, 3)
        # Each process has its texts' part of the step's mean, times the number of processes (see
        # micro_batches). The gradient norm is taken after the exchange and is the same on all.
        values[:, 0] = self.processes.sum(values[:, 0].contiguous()) / self.processes.world
        values = values.cpu()  # the one wait for the device
        records = [
            {"step": step, "loss": loss, "lr": lr, "grad_norm": norm}
            for step, (loss, lr, norm) in zip(self.block, values.tolist())
        ]
        self.block = {}
        return records


def stop_if_diverged(records: list[dict], update: Update) -> None:
    """Raises ArithmeticError naming the first step whose loss or gradient is not finite.

    In fp16 a gradient may overflow now and then: the update leaves the step out and halves the loss
    scale. Only MAX_SKIPPED such steps in a row are an error.
    """
    if not update.scale.enabled:
        for record in records:
            if not (math.isfinite(record["loss"]) and math.isfinite(record["grad_norm"])):
                raise ArithmeticError(
                    f"loss {record['loss']}, gradient norm {record['grad_norm']} in step "
                    f"{record['step']}: training has diverged; use a lower --lr"
                )
    elif (skipped := int(update.skipped_in_a_row)) >= MAX_SKIPPED:
        raise ArithmeticError(
            f"fp16 gradients overflowed in {skipped} steps in a row, up to step "
            f"{records[-1]['step']}; use --precision bf16 or fp32, or a lower --lr"
        )
