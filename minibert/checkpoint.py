"""Checkpoints: strict loading, and saving that leaves either the old file or the new one.

No tensor is read before names, types and shapes in the file's header fit the model, and nothing is
random in silence: the encoder must be complete, and a head that the file does not have is named.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minibert import bert
from minibert.config import DistilBertConfig
from tokenizer import hub

logger = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# A pickle can run code when it is opened, so nothing but safetensors ever is.
ONLY_SAFETENSORS = "other formats are not opened: convert them to safetensors"
FLOATS = ("F64", "F32", "F16", "BF16")
WORDS, TIED = "embeddings.word_embeddings.weight", "vocab_projector.weight"


class PretrainedModel(nn.Module):
    """What all three models have: random weights to begin with, loading and saving."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.config = config
        self.fresh: list[str] = []  # head tensors that from_pretrained found no values for

    def init_weights(self, module: nn.Module) -> None:
        """As DistilBERT was born: N(0, initializer_range), biases and the padding's row 0."""
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=self.config.initializer_range)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                nn.init.zeros_(part.weight.data[part.padding_idx])
            if isinstance(part, nn.LayerNorm):
                part.reset_parameters()

    def tie_weights(self) -> None:
        """Make parameters that are one the one tensor; only masked language modelling has any."""

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **overrides: Any) -> Self:
        """The model of a folder, a Hub name or "demo", in eval mode and float32. Any config field
        can be given by keyword."""
        source = hub.find(name_or_folder)
        config, n_token_types = DistilBertConfig.from_json(source.file(CONFIG), **overrides)
        with torch.device("meta"), NoInit():  # shapes without memory, to check the file against
            model = cls(config)
        model.fresh = load_weights(model, weights_file(source), n_token_types)
        if model.fresh:
            names = ", ".join(model.fresh)
            logger.warning("%s has no %s: newly initialised, to be trained", name_or_folder, names)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """config.json and model.safetensors, which transformers reads as well."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor for name, tensor in self.state_dict().items() if name != TIED}
        config = self.config.to_json(architecture=type(self).__name__)
        write_whole(folder / WEIGHTS, lambda file: save_file(tensors, file, {"format": "pt"}))
        write_whole(folder / CONFIG, lambda file: file.write_text(config, encoding="utf-8"))


class NoInit(TorchFunctionMode):
    """Inside, torch.nn.init does nothing: what is about to be read needs no random start, and
    drawing one on the meta device would cost two seconds of imports."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def weights_file(source: hub.Source) -> Path:
    """The weights of a model. Raises FileNotFoundError if there are none in safetensors."""
    file = source.optional(WEIGHTS)
    if file is None:
        raise FileNotFoundError(f"no {WEIGHTS} in {source}; {ONLY_SAFETENSORS}")
    return file


def load_weights(model: PretrainedModel, file: Path, n_token_types: int) -> list[str]:
    """Fill a model that has shapes alone. Returns the head tensors that the file does not have,
    which are random now. n_token_types: 0 in a DistilBERT's file, 1 or more in a BERT's."""
    wanted = {name: tuple(tensor.shape) for name, tensor in parameters(model).items()}
    if n_token_types > 0:
        wanted[bert.TOKEN_TYPES] = (n_token_types, model.config.dim)
    with open_weights(file) as opened:
        header = read_header(opened, is_bert=n_token_types > 0)
        check_header(header, wanted)
        found = [name for name in wanted if name in header]
        tensors = {name: opened.get_tensor(header[name].source) for name in found}
        has_copy = TIED in header and "vocab_projector.bias" in wanted
        if has_copy and not torch.equal(opened.get_tensor(header[TIED].source), tensors[WORDS]):
            raise ValueError(f"{TIED} differs from the word embeddings; here the two are one")
    if n_token_types > 0:
        bert.fold(tensors)
    model.to_empty(device="cpu")
    model.tie_weights()
    fresh = [name for name in wanted if name not in header]
    for head in dict.fromkeys(name.rpartition(".")[0] for name in fresh):
        model.init_weights(model.get_submodule(head))
    with torch.no_grad():
        for name, parameter in parameters(model).items():
            if name in tensors:
                parameter.copy_(tensors[name])  # where half precision becomes float32
    return fresh


def parameters(model: PretrainedModel) -> dict[str, Tensor]:
    """The state dict without the tied copy, and without the prefix of the encoder's names."""
    state = model.state_dict()
    return {name.removeprefix("distilbert."): state[name] for name in state if name != TIED}


def tensor_names(name_or_folder: str | Path) -> set[str]:
    """What a checkpoint holds, by our names: is there a classifier.weight, a vocab_transform?"""
    source = hub.find(name_or_folder)
    _, n_token_types = DistilBertConfig.from_json(source.file(CONFIG))
    with open_weights(weights_file(source)) as opened:
        return set(read_header(opened, is_bert=n_token_types > 0))


class Entry(NamedTuple):
    """One tensor as the file's header describes it."""

    source: str  # its name in the file
    dtype: str
    shape: tuple[int, ...]


@contextmanager
def open_weights(file: Path) -> Iterator[Any]:
    """A safetensors file; what is wrong with it, or with what it holds, is said with its name."""
    try:
        with safe_open(file, "pt") as opened:
            yield opened
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} does not exist; {ONLY_SAFETENSORS}") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is no whole safetensors file: {cause(file, error)}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def cause(file: Path, error: Exception) -> str:
    """What often lies where the weights should be; otherwise the library's own word."""
    start = b""
    if file.is_file():
        with file.open("rb") as opened:
            start = opened.read(64).lstrip()
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if start.startswith(b"<"):
        return "it is a web page"
    return str(error)


def read_header(opened: Any, is_bert: bool) -> dict[str, Entry]:
    """Every tensor of the file, by the name that it has here."""
    header: dict[str, Entry] = {}
    for source in opened.keys():  # noqa: SIM118 (not a dict)
        name = bert.translate_name(source) if is_bert else source.removeprefix("distilbert.")
        name = re.sub(r"\.gamma$", ".weight", name)  # as they were called in TensorFlow: the whole
        name = re.sub(r"\.beta$", ".bias", name)  # last part, never a piece of a longer one
        if name in header:
            raise ValueError(f"{header[name].source} and {source} are both {name}")
        part = opened.get_slice(source)
        header[name] = Entry(source, part.get_dtype(), tuple(part.get_shape()))
    return header


def check_header(header: dict[str, Entry], wanted: dict[str, tuple[int, ...]]) -> None:
    """All of the encoder is there and nothing else is in it; types and shapes fit. Other tasks'
    heads, and the position_ids that old files carry, are left alone."""
    missing = [name for name in wanted if in_encoder(name) and name not in header]
    if missing:
        raise ValueError(f"no tensor for {listing(missing)}; does {CONFIG} belong to this file?")
    known = {*wanted, "embeddings.position_ids"}
    unknown = [header[name].source for name in header if in_encoder(name) and name not in known]
    if unknown:
        raise ValueError(f"no place for {listing(unknown)} in the model that {CONFIG} describes")
    for name, shape in wanted.items():
        if name not in header:
            continue
        source, dtype, found = header[name]
        if dtype not in FLOATS:
            raise ValueError(f"{source} is of type {dtype}; weights must be of {', '.join(FLOATS)}")
        if found != shape:
            cause = "num_labels" if name.startswith("classifier.") else CONFIG
            raise ValueError(f"{source} has shape {found}, but by {cause} it should be {shape}")


def in_encoder(name: str) -> bool:
    """Whether a tensor is the encoder's, which must be complete, and not a head's."""
    return name.startswith(("embeddings.", "transformer."))


def listing(names: list[str]) -> str:
    """The first name, and how many more; a damaged file may lack hundreds.

    >>> listing(["a.weight", "b.weight", "c.weight"])
    'a.weight and 2 more'
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Have the content written beside `file` and moved there: even after a crash, whoever opens it
    finds all of the old content or all of the new."""
    temporary = file.with_name(file.name + ".tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except SafetensorError as error:
        raise OSError(f"{file} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
