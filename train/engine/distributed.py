"""One process or many: `torchrun --nproc-per-node N -m train ...` runs N copies of the command.

Each copy holds the whole model, computes its share of a step's texts, and averages gradients with
the others (DistributedDataParallel). Only rank 0 writes.
"""

import os
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn


class Processes(NamedTuple):
    """This process's number among how many; (0, 1) without torchrun."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages gradients over all processes."""
        return nn.parallel.DistributedDataParallel(model) if self.world > 1 else model

    def any(self, here: bool) -> bool:
        """True on every process if it is True on one."""
        if self.world == 1:
            return here
        flag = torch.tensor(int(here))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """Every process's rows (n, ...), one after the other in order of rank, on each process."""
        if self.world == 1:
            return rows
        parts: list = [None] * self.world
        dist.all_gather_object(parts, rows)
        return np.concatenate(parts)

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            dist.barrier()


ALONE = Processes()


def start_processes() -> Processes:
    """Join the group that torchrun prepared, if it did; each process takes its own GPU."""
    if "RANK" not in os.environ:
        return ALONE
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    return current_processes()


def current_processes() -> Processes:
    """The group this process has joined, or itself alone."""
    if dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return ALONE


def stop_processes() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
