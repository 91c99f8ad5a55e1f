"""From a safetensors file to the parameters of a model: strict, and nothing random in silence.

The encoder must be complete; a head that the file does not have is initialised, and its tensors are
named (pretrained.py). What the file says of itself is checked first (header.py).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minibert import bert
from minibert.header import Entry, Shape, check_header

TIED = "vocab_projector.weight"  # the masked-word head's second name for the word embeddings


class NoInit(TorchFunctionMode):
    """Inside, torch.nn.init draws nothing: parameters that are about to be read from a file need no
    random numbers first (drawing 66 million takes longer than reading them)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def read_tensors(header: dict[str, Entry], shapes: dict[str, Shape]) -> dict[str, Tensor]:
    """The tensors of a file that a model of these shapes has, by the model's names.

    A BERT's table of token types is folded into its positions (bert.py). Raises ValueError naming
    the tensor that does not fit, before any is read.
    """
    wanted = dict(shapes)
    if bert.TOKEN_TYPES in header:  # any number of rows will do: only row 0 is ever used
        n_types = header[bert.TOKEN_TYPES].shape[:1]
        wanted[bert.TOKEN_TYPES] = (*n_types, *shapes[bert.POSITIONS][1:])
    check_header(header, wanted)
    tensors = {name: header[name].read() for name in wanted if name in header}
    for name, tensor in tensors.items():
        # Models compute in float32, and float64 reaches further.
        is_double = tensor.dtype == torch.float64
        check_finite(header[name].source, tensor.float() if is_double else tensor)
    # Only the masked-word head has the table twice. Files hold it once or twice; a second copy with
    # other numbers would be lost without a word.
    has_copy = TIED in header and "vocab_projector.bias" in wanted
    if has_copy and not torch.equal(header[TIED].read(), tensors[bert.WORDS]):
        raise ValueError(f"{TIED} differs from the word embeddings; here the two are one")
    if bert.TOKEN_TYPES in tensors:
        bert.fold(tensors)
    return tensors


def check_finite(name: str, tensor: Tensor) -> None:
    """Raises ValueError where a weight is NaN or infinite: every answer would be NaN."""
    # NaN and infinity survive a sum, so one cheap pass tells; only a sum that overflowed by itself
    # (float16 reaches 65504) needs the second look.
    if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds NaN or infinity: the training that wrote it has diverged")


def named_parameters(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without the tied copy, and without the prefix of the encoder's names."""
    state = model.state_dict()
    return {name.removeprefix("distilbert."): state[name] for name in state if name != TIED}
