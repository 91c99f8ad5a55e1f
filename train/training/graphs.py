"""A whole optimiser step as one CUDA graph.

A step on 8 tweets is a few hundred kernels of microseconds each; launching them from Python takes
longer than running them. A CUDA graph records the launches once, forward, backward, clipping, AdamW
and schedule, and repeats them with one call. A graph has fixed shapes, so there is one per padded
length, in steps of WIDTH tokens; the rows to train on are its only input.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from train.batches import Encoded
from train.device import Precision
from train.training.optim import Update

WIDTH = 8  # padded lengths are multiples: few graphs, and aligned masks for the attention kernels


class CapturedStep:
    """Called with a step's rows like the uncaptured `step`, which it falls back to for a short last
    step and for the first step of each width (that warms up what may not happen in a capture)."""

    def __init__(
        self,
        model: nn.Module,
        update: Update,
        data: Encoded,
        batch_size: int,
        precision: Precision,
        train_step: Callable[..., Tensor],
        step: Callable[[np.ndarray], Tensor],
    ):
        self.model, self.update, self.data = model, update, data
        self.precision, self.train_step, self.step = precision, train_step, step
        self.rows = torch.zeros(batch_size, dtype=torch.int64, device=precision.device)
        # Page-locked memory lets the copy to the device run while Python goes on. Rows wait here
        # until the copy is done, in a ring that is longer than the steps between two log points.
        self.ring = torch.zeros(256, batch_size, dtype=torch.int64).pin_memory()
        self.turn = 0
        self.seen: set[int] = set()
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.pool = torch.cuda.graph_pool_handle()  # graphs run one at a time: they share memory

    def __call__(self, rows: np.ndarray) -> Tensor:
        width = -(-int(self.data.lengths[rows].max()) // WIDTH) * WIDTH
        if len(rows) != len(self.rows) or width not in self.seen:
            self.seen.add(width)
            return self.step(rows)
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
            batch = (*self.data.gather(self.rows, width), 1.0)
            values = self.train_step(self.model, self.update, [batch], self.precision)
        return graph, values
