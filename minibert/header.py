"""What a safetensors file says it holds, compared with what the model needs.

The header of a safetensors file lists every tensor with its type and shape. It is read and checked
before any tensor is, so a file that does not fit costs milliseconds and fills no parameter.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from minibert import bert
from minibert.config import DistilBertConfig

FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names of the types that a weight may have
Shape = tuple[int, ...]


class Entry(NamedTuple):
    """One tensor as the file's header describes it."""

    source: str  # its name in the file
    dtype: str
    shape: Shape
    file: Any  # the open safetensors file it is in: a large checkpoint is split into several

    def read(self) -> Tensor:
        """The tensor itself."""
        return self.file.get_tensor(self.source)


def open_weights(file: Path) -> Any:
    """An open safetensors file (a context manager). Raises ValueError naming a corrupt file."""
    try:
        return safe_open(file, "pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is not a valid safetensors file: {cause(file, error)}") from None


def cause(file: Path, error: Exception) -> str:
    """Why the file is not safetensors: a Git LFS pointer, a web page, or the library's message."""
    start = b""
    if file.is_file():
        with file.open("rb") as opened:
            start = opened.read(64).lstrip()
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if start.startswith(b"<"):
        return "it is a web page"
    return str(error)


def read_header(files: list[Any], is_bert: bool) -> dict[str, Entry]:
    """Every tensor of these open files, by the name that it has in our models.

    A head model's file puts "distilbert." before the names of the encoder; it is taken off, so that
    one file serves the encoder alone and every head."""
    header: dict[str, Entry] = {}
    for file in files:
        for source in file.keys():  # noqa: SIM118 (not a dict)
            name = bert.translate_name(source) if is_bert else source.removeprefix("distilbert.")
            # TensorFlow's names for a LayerNorm's weight and bias, in checkpoints converted from
            # it. Only a whole last part: "gamma_head.weight" is another tensor.
            name = re.sub(r"\.gamma$", ".weight", name)
            name = re.sub(r"\.beta$", ".bias", name)
            if name in header:
                raise ValueError(f"{header[name].source} and {source} are both {name}")
            part = file.get_slice(source)  # its type and shape, without its numbers
            header[name] = Entry(source, part.get_dtype(), tuple(part.get_shape()), file)
    if is_bert:  # a BERT without the table could not be folded, and would compute other numbers
        check_missing(header, [bert.TOKEN_TYPES])
    return header


def check_sizes(header: dict[str, Entry], config: DistilBertConfig) -> None:
    """Raises ValueError where the sizes in config.json are not the file's. Asked before a model is
    built, so that a damaged number cannot ask for more memory than the file has bytes."""
    last = f"transformer.layer.{config.n_layers - 1}.ffn.lin1.weight"
    sizes = {
        bert.WORDS: (config.vocab_size, config.dim),
        bert.POSITIONS: (config.max_position_embeddings, config.dim),
        last: (config.hidden_dim, config.dim),
    }
    check_missing(header, list(sizes))
    for name, shape in sizes.items():
        check_entry(name, header[name], shape)


def check_header(header: dict[str, Entry], wanted: dict[str, Shape]) -> None:
    """Raises ValueError unless the encoder is complete, has no further tensors, and types and
    shapes fit. wanted: the model's shapes by name. Heads of other tasks are left alone."""
    check_missing(header, [name for name in wanted if in_encoder(name)])
    # Old files save the numbers 0, 1, 2, ... of the positions as a tensor: nothing is learnt there.
    known = {*wanted, "embeddings.position_ids"}
    unexpected = [header[name].source for name in header if in_encoder(name) and name not in known]
    if unexpected:
        # Dropping a layer would give other numbers without an error: refused, not ignored.
        raise ValueError(
            f"unexpected tensor {listing(unexpected)} in the file, not in the model of config.json"
        )
    for name, shape in wanted.items():
        if name in header:
            check_entry(name, header[name], shape)


def check_missing(header: dict[str, Entry], names: list[str]) -> None:
    """Raises ValueError naming the first of these tensors that the file does not have."""
    missing = [name for name in names if name not in header]
    if missing:
        raise ValueError(f"no tensor {listing(missing)}; does config.json belong to this file?")


def check_entry(name: str, entry: Entry, shape: Shape) -> None:
    """Raises ValueError naming the tensor unless it is floating point and of the model's shape."""
    if entry.dtype not in FLOATS:
        raise ValueError(
            f"{entry.source} is of type {entry.dtype}; weights must be of {', '.join(FLOATS)}"
        )
    if entry.shape != shape:
        is_labels = name.startswith(("classifier.", "bert_classifier."))
        cause = "num_labels" if is_labels else "config.json"
        hint = "; for other labels take new_head=True (--new-head)" if is_labels else ""
        raise ValueError(
            f"{entry.source} has shape {entry.shape}, but by {cause} it should be {shape}{hint}"
        )


def in_encoder(name: str) -> bool:
    """Whether a tensor is the encoder's, which must be complete, and not a head's."""
    return name.startswith(("embeddings.", "transformer."))


def listing(names: list[str]) -> str:
    """The first name, and how many more; a damaged file may lack hundreds.

    >>> listing(["a.weight", "b.weight", "c.weight"])
    'a.weight and 2 more'
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
