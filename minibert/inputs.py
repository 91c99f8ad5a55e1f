"""Checks of input ids, attention masks and labels, before any kernel reads them.

On a GPU an id outside the embedding table is a device assert that ends the process; here it is a
ValueError. Reading the extremes of a tensor waits for the GPU, so a loop that has checked its data
once switches this off: `encoder.check_inputs = False`.
"""

import torch
from torch import Tensor

IGNORED = -100  # the label that no loss counts, as in torch.nn.functional.cross_entropy
INTEGERS = (torch.int64, torch.int32)


def check_ids(
    input_ids: Tensor, attention_mask: Tensor | None, vocab_size: int, limit: int
) -> None:
    """input_ids: (B, S) whole numbers in 0..vocab_size-1 with S <= limit; attention_mask: (B, S)
    of 0 and 1, in any dtype."""
    check_integers("input_ids", input_ids)
    if input_ids.dim() != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids must be (batch, sequence), not {tuple(input_ids.shape)}")
    if input_ids.shape[1] > limit:
        raise ValueError(
            f"sequences of {input_ids.shape[1]} tokens, but the model has {limit} positions: "
            "truncate the texts"
        )
    check_range("input_ids", input_ids, vocab_size)
    if attention_mask is not None:
        check_mask(attention_mask, input_ids)


def check_mask(attention_mask: Tensor, input_ids: Tensor) -> None:
    """1 (or True) where there is a token, 0 where there is padding."""
    if not isinstance(attention_mask, Tensor):
        raise TypeError(f"attention_mask must be a tensor, not {type(attention_mask).__name__}")
    if attention_mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask is {tuple(attention_mask.shape)}, "
            f"but input_ids is {tuple(input_ids.shape)}"
        )
    odd = attention_mask[(attention_mask != 0) & (attention_mask != 1)]
    if odd.numel() > 0:
        raise ValueError(f"attention_mask must hold 0 and 1 alone, not {odd[0].item()}")


def check_labels(labels: Tensor, shape: tuple[int, ...], n_classes: int) -> None:
    """labels: whole numbers of that shape in 0..n_classes-1, or -100 where none counts."""
    check_integers("labels", labels)
    if labels.shape != shape:
        raise ValueError(f"labels must be {shape}, not {tuple(labels.shape)}")
    check_range("labels", labels.masked_fill(labels == IGNORED, 0), n_classes)


def check_integers(name: str, tensor: Tensor) -> None:
    """Raises TypeError for what is no tensor, ValueError for one of other than whole numbers."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(tensor).__name__}")
    if tensor.dtype not in INTEGERS:
        raise ValueError(f"{name} must be int64 or int32, not {tensor.dtype}")


def check_range(name: str, tensor: Tensor, end: int) -> None:
    """Raises ValueError naming a value outside 0..end-1."""
    low, high = torch.stack(torch.aminmax(tensor)).tolist()  # the one wait for the GPU
    if low < 0 or high >= end:
        raise ValueError(f"{name} holds {low if low < 0 else high}; it must lie in 0..{end - 1}")
