"""Device, number format (precision), and the processes that share the work.

Mixed precision (Micikevicius et al., arXiv 1710.03740): weights, optimiser state and loss are kept
in float32; the matrix products of the forward and backward pass run in 16 bits by torch.autocast.
Without training, linear layers can be computed in 8 bits on a CPU (int8, see minibert/int8.py).

Data parallelism: `torchrun --nproc-per-node N -m train ...` runs the command in N processes. Each
holds the whole model, computes its share of the texts and, in fine-tuning, averages gradients with
the others (DistributedDataParallel). Only rank 0 prints and writes.
"""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from minibert.int8 import weight_limit

# How long processes wait for each other: rank 0 alone encodes the texts, which may be many. (Where
# one has ended, torchrun ends the others at once.)
TIMEOUT = timedelta(hours=2)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}  # of torch.autocast


@dataclass(frozen=True)
class Precision:
    """The device, and the number format of its matrix products: fp32, bf16, fp16 or int8."""

    device: torch.device
    name: str

    def autocast(self) -> AbstractContextManager:
        """The context of a forward pass."""
        if self.name not in DTYPES:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.name])

    def __str__(self) -> str:
        text = f"{self.name} on {self.device.type}"
        if self.device.type == "cuda":
            tf32 = "on" if torch.backends.cuda.matmul.allow_tf32 else "off"
            return f"{text} ({torch.cuda.get_device_name(self.device)}; TF32 {tf32})"
        return f"{text} ({torch.get_num_threads()} threads)" if self.device.type == "cpu" else text


def choose_precision(device: str = "auto", precision: str = "auto") -> Precision:
    """Resolve "auto": the GPU if there is one, and the fastest number format that trains as well as
    float32. Raises ValueError where the named device does not exist, or has no int8."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next((name for name, there in available.items() if there), "cpu")
    elif not available.get(device, True):
        raise ValueError(f"--device {device}: this machine has none; use --device cpu or auto")
    if device == "cuda":
        # TF32 rounds the factors of float32 products to 10 bits. Torch's default has changed
        # between versions, so it is set: here float32 means float32.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # cuDNN's attention, torch's first choice on an H100 where there is no dropout, prepares a
        # plan for every new shape, and batches sorted by length are all new shapes.
        torch.backends.cuda.enable_cudnn_sdp(False)
    if device == "cpu":
        # Adam's moving averages of words not seen for long become subnormal numbers (under 1e-38),
        # on which a CPU is many times slower; they become 0. Set before torch starts its threads,
        # which inherit it.
        torch.set_flush_denormal(True)
        keep_freed_memory()
    if precision == "auto":
        precision = fastest(device)
    if precision == "int8":
        check_int8(device)
    return Precision(torch.device(device), precision)


def keep_freed_memory() -> None:
    """Let glibc keep up to 1 GiB that tensors have freed for the tensors after them.

    By default large blocks go back to the system, which gives them out again page by page, each
    filled with zeros first: half the time of a forward pass in 8 bits went there, and a third of a
    step of training in bf16 on 8 texts.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # other C libraries have no mallopt
            c = ctypes.CDLL(None)
            c.mallopt(
                -4, 0
            )  # M_MMAP_MAX of <malloc.h>: no block has pages of its own, to be given back
            c.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD: what may lie free at the heap's end


def fastest(device: str) -> str:
    """bf16 where the hardware multiplies it, else fp16 on a GPU and fp32 on a CPU."""
    if device == "cuda":
        # bf16 has float32's range, so it needs no loss scale; in hardware since Ampere (8.0).
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    # avx512_bf16 (AMD since Zen 4) and AMX multiply bf16; elsewhere it is slower than fp32.
    if device == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    ):
        return "bf16"
    return "fp32"


def check_int8(device: str) -> None:
    """Raises ValueError where int8 cannot be computed on the device."""
    if device != "cpu":
        raise ValueError(
            f"--precision int8: only a CPU computes it here, not {device}; use --device cpu, or "
            "--precision auto"
        )
    try:
        weight_limit()
    except ValueError as error:
        raise ValueError(f"--precision {error}; use --precision auto") from None


class Processes(NamedTuple):
    """This process's rank, and the number of processes (world size); (0, 1) without torchrun."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as one whose backward pass averages gradients over all processes."""
        if self.world == 1:
            return model
        # As views of the buffers that are exchanged, gradients are in memory once, not twice. Not
        # static_graph: with --grad-accum, steps differ in their passes without an exchange.
        return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)

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

    def share(self, value: Any) -> Any:
        """Rank 0's value on every process; what the others pass does not count."""
        values = [value]
        if self.world > 1:
            dist.broadcast_object_list(values)  # pickled
        return values[0]

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows (n, ...) of all processes in order of rank, on rank 0; n may differ between
        them. None of them on the others: features of many texts fit in memory once, not N times."""
        if self.world == 1:
            return rows
        if not self.is_main:
            sent = torch.from_numpy(np.ascontiguousarray(rows))
            dist.send(torch.tensor(len(rows)), dst=0)
            dist.send(sent, dst=0)
            return rows[:0]
        parts = [rows]
        for rank in range(1, self.world):
            count = torch.tensor(0)
            dist.recv(count, src=rank)
            part = np.empty((int(count), *rows.shape[1:]), rows.dtype)
            dist.recv(torch.from_numpy(part), src=rank)
            parts.append(part)
        return np.concatenate(parts)

    def wait(self) -> None:
        """Return once all processes have called this."""
        if self.world > 1:
            dist.barrier()


ALONE = Processes()


def start_processes() -> None:
    """Join the process group if torchrun started this process; each takes its own GPU."""
    if "RANK" not in os.environ:
        return
    if torch.cuda.is_available():
        # Other launchers than torchrun set RANK alone, and show each process one GPU.
        gpu = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(gpu)
        # Flags and rows on the CPU go by gloo. With the device named, nccl connects at once, and an
        # error names this GPU instead of hanging.
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=TIMEOUT, device_id=gpu)
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)


def current_processes() -> Processes:
    """Rank and world size of this process; (0, 1) outside a process group."""
    if dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return ALONE


def stop_processes() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
