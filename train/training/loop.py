"""The training loop: for every step, the texts; their loss and gradients; one update.

Everything random about step k is a function of (seed, k): the texts through the epoch's order, the
dropout through the seed set before the step. So a run that is stopped after any step and resumed
there is the uninterrupted run, bit for bit.
"""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn

from minibert.inputs import IGNORED
from train.batches import Encoded, epoch_steps
from train.device import ALONE, Precision, Processes
from train.options import FinetuneOptions
from train.progress import Progress
from train.training.graphs import CapturedStep
from train.training.optim import Update

LOG_BLOCK = 50  # steps between two looks at the device
MAX_SKIPPED = 30  # overflowing steps in a row: from 65536 the fp16 loss scale is then below 1e-4

Batch = tuple[Tensor, Tensor | None, Tensor, float]  # input_ids, mask, labels, weight


class Steps:
    """The rows of every optimiser step: `steps[k]` is an array of row numbers."""

    def __init__(self, lengths: np.ndarray, step_size: int, seed: int):
        self.lengths, self.step_size, self.seed = lengths, step_size, seed
        self.per_epoch = math.ceil(len(lengths) / step_size)
        self.epoch = -1
        self.rows: list[np.ndarray] = []

    def __getitem__(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.rows = epoch_steps(self.lengths, self.step_size, self.seed, epoch)
            self.epoch = epoch
        return self.rows[place]


def micro_batches(
    rows: np.ndarray, grad_accum: int, processes: Processes = ALONE
) -> list[tuple[np.ndarray, float]]:
    """This process's forward passes of one step: (rows, weight).

    The loss of the step is the mean over all its texts, however it is cut: a forward pass of n of
    the step's N texts weighs n / N, a short last step included. Averaging gradients over the
    processes divides by their number, so the weights here are that much larger.

    >>> micro_batches(np.arange(5), grad_accum=2)
    [(array([0, 1, 2]), 0.6), (array([3, 4]), 0.4)]
    """
    chunks = np.array_split(rows, grad_accum * processes.world)  # also of a short last step
    mine = [chunk for chunk in chunks[processes.rank :: processes.world] if len(chunk)]
    if not mine:  # fewer texts than processes: take part in the averaging with nothing
        return [(rows[:1], 0.0)]
    return [(chunk, len(chunk) / len(rows) * processes.world) for chunk in mine]


def train_step(
    model: nn.Module, update: Update, batches: list[Batch], precision: Precision
) -> Tensor:
    """One optimiser step, the readable definition: (3,) float32 of loss, lr, gradient norm.

    Nothing is read back from the device here.
    """
    loss = torch.zeros((), device=precision.device)
    for n, (input_ids, mask, labels, weight) in enumerate(batches, start=1):
        with averaging(model, last=n == len(batches)):
            with precision.autocast():
                part = model(input_ids, mask, labels).loss * weight  # float32
            (part * update.scale.value).backward()
        loss += part.detach()
    norm = update()
    return torch.stack([loss, update.rate.float(), norm])


@contextmanager
def averaging(model: nn.Module, last: bool) -> Iterator[None]:
    """Processes exchange gradients once per step, in the last backward pass."""
    if last or not isinstance(model, nn.parallel.DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


def seed_step(seed: int, step: int, rank: int) -> None:
    """Fix the dropout of one step."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


class Log:
    """Collects (loss, lr, norm) on the device and reads them back a block at a time."""

    def __init__(self, precision: Precision, write: Callable[[list[dict]], None]):
        self.precision, self.write = precision, write
        self.block: dict[int, Tensor] = {}  # by the number of the step, from 1

    def add(self, step: int, values: Tensor) -> None:
        """values: (3,) on the device, as `train_step` gives them."""
        self.block[step] = values

    def flush(self, update: Update, processes: Processes) -> str:
        """Write the block; the mean loss of its steps, in words.

        Raises ArithmeticError naming the step where the loss is not finite."""
        if not self.block:
            return ""
        values = torch.stack([*self.block.values()])
        values[:, 0] = processes.sum(values[:, 0].contiguous()) / processes.world
        values = values.cpu()  # the one wait for the device
        records = [
            {"step": step, "loss": loss, "lr": lr, "grad_norm": norm}
            for step, (loss, lr, norm) in zip(self.block, values.tolist())
        ]
        self.block = {}
        if processes.is_main:
            self.write(records)
        self.check(records, int(update.skipped_in_a_row))
        return f"loss {values[:, 0].nanmean():.4f}"

    def check(self, records: list[dict], skipped_in_a_row: int) -> None:
        """Raises ArithmeticError; fp16 may overflow now and then, but not for ever."""
        if self.precision.name == "fp16":
            if skipped_in_a_row >= MAX_SKIPPED:
                raise ArithmeticError(
                    f"fp16 gradients overflowed in {skipped_in_a_row} steps in a row, up to step "
                    f"{records[-1]['step']}; use --precision bf16 or fp32, or a lower --lr"
                )
            return
        for record in records:
            if not (math.isfinite(record["loss"]) and math.isfinite(record["grad_norm"])):
                raise ArithmeticError(
                    f"loss {record['loss']}, gradient norm {record['grad_norm']} in step "
                    f"{record['step']}: training has diverged; use a lower --lr"
                )


@contextmanager
def polite_interrupt() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C is only noted (the step is finished and saved), the second interrupts."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(caught)
    finally:
        signal.signal(signal.SIGINT, before)


def fit(
    model: nn.Module,
    update: Update,
    data: Encoded,
    steps: Steps,
    options: FinetuneOptions,
    precision: Precision,
    *,
    write_log: Callable[[list[dict]], None],
    at_epoch_end: Callable[[int], str],
    save: Callable[[int], None],
    first_step: int = 0,
    processes: Processes = ALONE,
) -> None:
    """Train from first_step to update.total_steps.

    at_epoch_end(step) is called after each epoch and after the last step, and returns a line to
    print; save(step) writes a checkpoint, every options.save_steps steps and before Ctrl-C ends the
    run (KeyboardInterrupt). Raises ArithmeticError where training diverges, nothing saved since.
    """
    run_step = make_step(model, update, data, options, precision, processes)
    log = Log(precision, write_log)
    total = update.total_steps
    model.train()
    if first_step and first_step % steps.per_epoch == 0:  # stopped between step and evaluation
        print(at_epoch_end(first_step))
    with (
        polite_interrupt() as interrupted,
        Progress("train", total, "steps", first_step, not processes.is_main) as progress,
    ):
        for step in range(first_step, total):
            seed_step(options.seed, step, processes.rank)
            done = step + 1
            rows = steps[step]
            rows = rows[data.is_labelled[rows]]  # one without a label teaches nothing
            if len(rows):
                log.add(done, run_step(rows))
            else:
                progress.say(f"step {done} skipped: all its labels are {IGNORED}")
            progress.advance(1)
            stop = processes.any(interrupted())
            epoch_ends = done % steps.per_epoch == 0 or done == total
            save_due = stop or (options.save_steps and done % options.save_steps == 0)
            if len(log.block) == LOG_BLOCK or epoch_ends or save_due:
                progress.show(log.flush(update, processes))
            if save_due and done < total:
                save(done)
            if stop and done < total:
                raise KeyboardInterrupt
            if epoch_ends:
                progress.say(at_epoch_end(done))


def make_step(
    model: nn.Module,
    update: Update,
    data: Encoded,
    options: FinetuneOptions,
    precision: Precision,
    processes: Processes = ALONE,
) -> Callable[[np.ndarray], Tensor]:
    """The function from a step's rows to its (loss, lr, norm): `train_step`, or on one GPU the same
    captured as CUDA graphs."""
    wrapped = processes.wrap(model)

    def step(rows: np.ndarray) -> Tensor:
        micro = micro_batches(rows, options.grad_accum, processes)
        batches = [(*data.batch(part), weight) for part, weight in micro]
        return train_step(wrapped, update, batches, precision)

    if precision.device.type == "cuda" and processes.world == 1 and options.grad_accum == 1:
        return CapturedStep(model, update, data, options.batch_size, precision, train_step, step)
    return step
