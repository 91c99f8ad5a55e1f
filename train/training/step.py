"""One optimiser step, computed eagerly: forward and backward passes, then the update.

This is the definition that everything else is tested against: several processes give the same
losses (tests/test_distributed.py), and so does the captured step of graphs.py on a GPU.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from train.batches import Encoded, epoch_steps
from train.device import ALONE, DTYPES, Precision, Processes
from train.training.optim import Update

Batch = tuple[Tensor, Tensor | None, Tensor, float]  # input_ids, mask, labels, weight


class Steps:
    """The rows of every optimiser step: `steps[k]` is an int64 array of row numbers.

    A function of (seed, k), so that a resumed run needs no position in a stream of data.
    """

    def __init__(self, lengths: np.ndarray, step_size: int, seed: int):
        self.lengths, self.step_size, self.seed = lengths, step_size, seed
        self.per_epoch = math.ceil(len(lengths) / step_size)
        self.epoch = -1
        self.rows: list[np.ndarray] = []

    def __getitem__(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.per_epoch)
        return self.of_epoch(epoch)[place]

    def of_epoch(self, epoch: int) -> list[np.ndarray]:
        """All steps of an epoch, in order; those of the epoch that was asked for last are kept."""
        if epoch != self.epoch:
            self.rows = epoch_steps(self.lengths, self.step_size, self.seed, epoch)
            self.epoch = epoch
        return self.rows


class ClassWeights(NamedTuple):
    """How much a text of each class counts in the loss."""

    by_class: Tensor  # (C,) float32, on the device
    by_row: np.ndarray  # (N,) float64, of every row of the training split


class Job(NamedTuple):
    """What every optimiser step works with."""

    model: nn.Module
    update: Update
    data: Encoded  # the training split
    steps: Steps  # which of its rows each step takes
    precision: Precision
    processes: Processes = ALONE
    grad_accum: int = 1  # forward passes per step
    class_weights: ClassWeights | None = None  # None: every text counts the same


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators for the dropout of one step.

    The seed is a function of the step, so a checkpoint needs no generator's state. Each rank draws
    its own dropout: the same mask on different texts would correlate their gradients.
    """
    # SeedSequence mixes the three numbers; seed + step + rank would give neighbours the same seed.
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def balanced_weights(data: Encoded, n_classes: int) -> ClassWeights:
    """Weights with which every class counts the same in sum: N / (classes x texts of the class), as
    scikit-learn's class_weight="balanced"."""
    labels = data.labels.cpu().numpy()
    counts = np.bincount(labels, minlength=n_classes)  # (C,)
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    by_class = torch.tensor(weights, dtype=torch.float32, device=data.labels.device)
    return ClassWeights(by_class, weights[labels])


def micro_batches(
    rows: np.ndarray,
    grad_accum: int,
    processes: Processes = ALONE,
    weights: np.ndarray | None = None,
) -> list[tuple[np.ndarray, float]]:
    """This process's forward passes of one step: (rows, weight).

    The loss of the step is the mean over all its texts, however it is cut: a forward pass of n of
    the step's N texts weighs n / N. (Equal weights would count the texts of a short pass more.)
    Where the texts have weights of their own (N,), the sums of these stand for n and N.

    >>> micro_batches(np.arange(5), grad_accum=2)
    [(array([0, 1, 2]), 0.6), (array([3, 4]), 0.4)]
    """
    weights = np.ones(len(rows)) if weights is None else weights
    n_chunks = grad_accum * processes.world
    # array_split, as a short last step has to be cut too; some chunks are then empty.
    chunks = zip(np.array_split(rows, n_chunks), np.array_split(weights, n_chunks))
    mine = [chunk for chunk in [*chunks][processes.rank :: processes.world] if len(chunk[0])]
    if not mine:
        # Fewer texts than processes. A process without a backward pass would leave the others
        # waiting for its gradients forever, so it computes one text with weight 0.
        return [(rows[:1], 0.0)]
    # DistributedDataParallel divides the sum of the gradients by the number of processes; the
    # weights are multiplied by it, so that the result is the sum of n / N over all passes.
    return [(part, float(w.sum() / weights.sum() * processes.world)) for part, w in mine]


def eager_step(job: Job, rows: np.ndarray) -> Tensor:
    """One step on rows (N,) of the training split: (3,) float32 of loss, lr, gradient norm."""
    weights = job.class_weights.by_row[rows] if job.class_weights else None
    cut = micro_batches(rows, job.grad_accum, job.processes, weights)
    return train_step(job, [(*job.data.batch(part), weight) for part, weight in cut])


def train_step(job: Job, batches: list[Batch]) -> Tensor:
    """Forward, backward, update: (3,) float32 of loss, lr, gradient norm, on the device.

    Nothing is read back here (no .item()): Python would wait for the GPU in every step, and a CUDA
    graph could not record it.
    """
    model, update = job.model, job.update
    loss = torch.zeros((), device=job.precision.device)
    for n, (input_ids, mask, labels, weight) in enumerate(batches, start=1):
        with averaging(model, last=n == len(batches)):
            # Autocast holds for the forward pass alone: a backward pass computes in the number
            # format of its forward pass by itself. The loss is float32 in every precision.
            with job.precision.autocast():
                part = mean_loss(job, input_ids, mask, labels) * weight
            # Without the factor, gradients below 6e-8 would be 0 in fp16. It is 1 in fp32 and
            # bf16, and the update divides it out again.
            (part * update.scale.value).backward()  # adds to .grad, across the passes of the step
        # Detached, or the graphs of all passes would stay in memory until the end of the step.
        loss += part.detach()
    norm = update()
    return torch.stack([loss, update.rate.float(), norm])


def mean_loss(job: Job, input_ids: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
    """Mean cross entropy of a batch, () float32; with class weights the weighted mean, sum(w l) /
    sum(w), as torch.nn.functional.cross_entropy defines it."""
    weights = sixteen_bit_weights(job)
    if job.class_weights is None:
        return functional_call(job.model, weights, (input_ids, mask, labels)).loss
    logits = functional_call(job.model, weights, (input_ids, mask)).logits  # (B, C)
    return F.cross_entropy(logits.float(), labels, weight=job.class_weights.by_class)


def sixteen_bit_weights(job: Job) -> dict[str, Tensor]:
    """The trained weights of the linear layers by name, in the number format of the products: what
    torch.autocast makes of them, in one operation instead of one for each. {} leaves it to autocast
    (in float32 there is nothing to do): several processes exchange the gradients of the float32
    weights, one by one as they are computed."""
    is_wrapped = isinstance(job.model, nn.parallel.DistributedDataParallel)
    if job.precision.name not in DTYPES or is_wrapped:
        return {}
    weights = {
        f"{name}.{key}": parameter
        for name, part in job.model.named_modules()
        if isinstance(part, nn.Linear)
        for key, parameter in part.named_parameters()
        if parameter.requires_grad
    }
    return dict(zip(weights, CastWeights.apply(DTYPES[job.precision.name], *weights.values())))


class CastWeights(torch.autograd.Function):
    """float32 tensors in 16 bits; their gradients, of 16 bits, in float32."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        """The weights in dtype."""
        return cast_together(weights, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of dtype, which has none, and of the weights."""
        return (None, *cast_together(gradients, torch.float32))


def cast_together(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The tensors in another number format, in one operation into memory of one piece."""
    sizes = [tensor.numel() for tensor in tensors]
    # One flat array; the parts are views of it, in the tensors' shapes.
    memory = torch.empty(sum(sizes), dtype=dtype, device=tensors[0].device)
    parts = tuple(part.view_as(t) for part, t in zip(memory.split(sizes), tensors))
    torch._foreach_copy_(parts, tensors)
    return parts


@contextmanager
def averaging(model: nn.Module, last: bool) -> Iterator[None]:
    """Processes exchange gradients in the last backward pass of a step alone: the earlier passes
    only add to .grad, and one exchange of the sum replaces one for each pass."""
    if last or not isinstance(model, nn.parallel.DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield
