"""A whole optimiser step as one CUDA graph.

A step on 8 tweets is a few hundred kernels of microseconds each; launching them from Python takes
longer than running them. A CUDA graph records the launches once, forward, backward, clipping, AdamW
and schedule, and repeats them with one call. A graph has fixed shapes, so there is one per padded
length, in steps of WIDTH tokens; the rows to train on are its only input.
"""

import math
import sys

import numpy as np
import torch
from torch import Tensor

from train.training.step import Job, eager_step, train_step

WIDTH = 8  # padded lengths are multiples: few graphs, and aligned masks for the attention kernels


class CapturedStep:
    """The same function of a step's rows as `eager_step`, replayed from CUDA graphs.

    The first step of each width is computed without a graph, on the same padded batch: the first
    use of a kernel may set up libraries and allocate memory, which must not happen in a capture.
    With another padding its bits would be others than a graph's, and as other steps come first
    after a resume, a resumed run would not be the uninterrupted one.
    """

    def __init__(self, job: Job):
        self.job = job
        device, step_size = job.precision.device, job.steps.step_size
        # A graph reads its input from a fixed address: every step writes its rows here.
        self.rows = torch.zeros(step_size, dtype=torch.int64, device=device)
        # Page-locked memory lets the copy to the device run while Python goes on. Rows wait here
        # until the copy is done, in a ring that is longer than the steps between two log points:
        # a single buffer would be overwritten with the next step's rows before it is copied.
        self.ring = torch.zeros(256, step_size, dtype=torch.int64).pin_memory()
        self.turn = 0
        self.seen: set[int] = set()
        # By width; None where the capture failed.
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor] | None] = {}
        self.pool = torch.cuda.graph_pool_handle()  # graphs run one at a time: they share memory

    def __call__(self, rows: np.ndarray) -> Tensor:
        """rows: (N,) int64. Returns (3,) float32 of loss, lr, gradient norm, on the device."""
        if len(rows) != len(self.rows):
            return eager_step(self.job, rows)  # a short last step, too rare for a graph of its own
        width = padded_width(int(self.job.data.lengths[rows].max()))
        slot = self.ring[self.turn % len(self.ring)]
        self.turn += 1
        slot.copy_(torch.from_numpy(rows))
        self.rows.copy_(slot, non_blocking=True)
        if width not in self.seen:
            self.seen.add(width)
            return self.warm_up(width)
        if width not in self.graphs:
            self.graphs[width] = self.capture(width)
        captured = self.graphs[width]
        if captured is None:
            return self.step(width)
        graph, values = captured
        graph.replay()
        return values.clone()  # the next replay writes over it

    def step(self, width: int) -> Tensor:
        """The step on self.rows, padded to width: (3,), what a graph repeats."""
        return train_step(self.job, [(*self.job.data.gather(self.rows, width), 1.0)])

    def warm_up(self, width: int) -> Tensor:
        """The step, computed on a stream of its own as a capture's: what autograd keeps of a stream
        must not be the main one's, on which nothing may wait during a capture."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            values = self.step(width)
        torch.cuda.current_stream().wait_stream(stream)
        return values

    def capture(self, width: int) -> tuple[torch.cuda.CUDAGraph, Tensor] | None:
        """Record one step at this width, and where its (3,) values will be; recording computes
        nothing. None, and a line on standard error, where that fails (the memory is full): the
        steps of this width are then computed without a graph, on the same padded batch."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                values = self.step(width)
        except RuntimeError as error:  # also torch.OutOfMemoryError
            # Gradients that lie in the graph's memory go with it.
            self.job.update.optimizer.zero_grad(set_to_none=True)
            reason = str(error).splitlines()[0]
            print(f"steps of {width} tokens a text run uncaptured: {reason}", file=sys.stderr)
            return None
        return graph, values


def padded_width(longest: int) -> int:
    """Tokens per text of a captured step whose longest text has so many."""
    return math.ceil(longest / WIDTH) * WIDTH


def uncaptured(job: Job) -> str:
    """Which steps of a run on a GPU are computed without a graph, and why; "" if none (but the
    first of each width) or on another device."""
    if job.precision.device.type != "cuda":
        return ""
    if job.processes.world > 1:
        return f"all steps, as {job.processes.world} processes exchange their gradients"
    if job.grad_accum > 1:
        return f"all steps, as --grad-accum {job.grad_accum} makes several passes of each"
    rest = len(job.data) % job.steps.step_size
    return f"the last step of an epoch, which is short ({rest} texts)" if rest else ""
