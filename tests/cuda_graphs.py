"""A stand-in for CUDA graphs on the CPU: it records the operations of a capture, undoes what they
wrote, and replays them on the same tensors.

As in a real capture, recording computes nothing that lasts, reading a value back raises, and a
graph reads and writes the tensors that it was recorded with, whatever they hold by then.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS_BACK = ("_local_scalar_dense", "is_nonzero", "equal")


class Recorder(TorchDispatchMode):
    """Records every ATen operation: (function, arguments, its outputs)."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable, tuple, dict, list[torch.Tensor]]] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in READS_BACK:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        schema = func._schema.arguments
        named = dict(zip([a.name for a in schema], args)) | kwargs
        for argument in schema:
            if argument.is_write:
                for tensor in tree_leaves(named.get(argument.name)):
                    if isinstance(tensor, torch.Tensor) and id(tensor) not in self.before:
                        self.before[id(tensor)] = (tensor, tensor.clone())
        result = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.operations.append((func, args, kwargs, outputs))
        return result


class Graph:
    """In the place of torch.cuda.CUDAGraph."""

    recorder: Recorder

    def replay(self) -> None:
        """Compute every recorded operation again, into the tensors that it gave at first."""
        with torch.no_grad():
            for func, args, kwargs, outputs in self.recorder.operations:
                again = [
                    x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, torch.Tensor)
                ]
                for old, new in zip(outputs, again):
                    if old.data_ptr() != new.data_ptr():
                        old.detach().copy_(new)


@contextlib.contextmanager
def recording(graph: Graph, pool: Any = None) -> Iterator[None]:
    """In the place of torch.cuda.graph."""
    graph.recorder = Recorder()
    try:
        with graph.recorder:
            yield
    finally:
        with torch.no_grad():
            for tensor, content in graph.recorder.before.values():
                tensor.copy_(content)


class Counter(TorchDispatchMode):
    """Counts the operations that a GPU would run: not views, which only describe memory anew, and
    not the marks of a profiler. Unlike the Recorder it holds no tensor: backward passes copy a
    gradient that somebody holds."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aliases = [value.alias_info for value in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        if func.namespace == "aten" and not is_view:
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})


def dropout(x: torch.Tensor, p: float, training: bool, inplace: bool = False) -> torch.Tensor:
    """As CUDA computes it: in one operation, where a CPU has three."""
    return torch.native_dropout(x, p, training)[0] if training and p > 0 else x


class Stream:
    """In the place of torch.cuda.Stream: on a CPU everything is done in order."""

    def wait_stream(self, other: "Stream") -> None:
        """Nothing to wait for."""


def install(patch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins in the place of torch's."""
    patch.setattr(torch.cuda, "CUDAGraph", Graph)
    patch.setattr(torch.cuda, "graph", recording)
    patch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    patch.setattr(torch.cuda, "Stream", Stream)
    patch.setattr(torch.cuda, "current_stream", Stream)
    patch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
