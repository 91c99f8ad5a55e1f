"""A whole optimiser step as one CUDA graph.

A step on 8 tweets is a few hundred kernels of microseconds each; launching them from Python takes
longer than running them. A CUDA graph records the launches once, forward, backward, clipping, AdamW
and schedule, and repeats them with one call. A graph has fixed shapes, so there is one per padded
length, in steps of WIDTH tokens; the rows to train on are its only input.
"""

import math

import numpy as np
import torch
from torch import Tensor

from train.training.step import Job, eager_step, train_step

WIDTH = 8  # padded lengths are multiples: few graphs, and aligned masks for the attention kernels


class CapturedStep:
    """The same function of a step's rows as `eager_step`, replayed from CUDA graphs.

    A short last step, and the first step of each width, are computed eagerly: the first use of a
    kernel may set up libraries and allocate memory, which must not happen during a capture.
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
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.pool = torch.cuda.graph_pool_handle()  # graphs run one at a time: they share memory

    def __call__(self, rows: np.ndarray) -> Tensor:
        """rows: (N,) int64. Returns (3,) float32 of loss, lr, gradient norm, on the device."""
        width = math.ceil(int(self.job.data.lengths[rows].max()) / WIDTH) * WIDTH
        if len(rows) != len(self.rows) or width not in self.seen:
            self.seen.add(width)
            return eager_step(self.job, rows)
        slot = self.ring[self.turn % len(self.ring)]
        self.turn += 1
        slot.copy_(torch.from_numpy(rows))
        self.rows.copy_(slot, non_blocking=True)
        if width not in self.graphs:
            self.graphs[width] = self.capture(width)
        graph, values = self.graphs[width]
        graph.replay()
        return values.clone()  # the next replay writes over it

    def capture(self, width: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Record one step at this width, and where its (3,) values will be; recording computes
        nothing."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            batch = (*self.job.data.gather(self.rows, width), 1.0)
            values = train_step(self.job, [batch])
        return graph, values
