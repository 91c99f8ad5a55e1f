"""What all models share: random weights to begin with, from_pretrained and save_pretrained."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from minibert.atomic import write_whole
from minibert.bert import WORDS, is_bert
from minibert.checkpoint import TIED, NoInit, named_parameters, read_tensors
from minibert.config import DistilBertConfig
from minibert.header import Entry, check_sizes, in_encoder, open_weights, read_header
from tokenizer import hub

logger = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = "model.safetensors.index.json"  # of a checkpoint in several files: {tensor: file}
# A pickle (pytorch_model.bin) can run code when it is opened, so nothing but safetensors ever is.
ONLY_SAFETENSORS = "other formats are not opened: convert them to safetensors"


class PretrainedModel(nn.Module):
    """Base class of the encoder and of the models with a head."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.config = config
        self.fresh: list[str] = []  # head tensors that from_pretrained found no values for

    def init_weights(self, module: nn.Module) -> None:
        """Initialise: weights from N(0, initializer_range); biases and the padding token's
        embedding are 0; LayerNorm starts as weight 1, bias 0."""
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=self.config.initializer_range)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                # .data: the row is written outside autograd, as normal_ does for the others
                nn.init.zeros_(part.weight.data[part.padding_idx])
            if isinstance(part, nn.LayerNorm):
                part.reset_parameters()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return next(self.parameters()).dtype

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, new_head: bool = False, **overrides: Any
    ) -> Self:
        """The model of a folder, a Hub name or "demo", in eval mode and float32.

        new_head: initialise the head even where the checkpoint has one, for other labels than its
        own. overrides: config fields that differ from the checkpoint's, such as num_labels. Raises
        OSError where a file cannot be had, ValueError where it does not fit the model."""
        source = hub.find(name_or_folder)
        config = DistilBertConfig.from_json(source.file(CONFIG), **overrides)
        with open_checkpoint(source) as header:
            check_sizes(header, config)
            if new_head:
                header = {name: entry for name, entry in header.items() if in_encoder(name)}
            with NoInit():  # memory of the right shapes, filled below
                model = cls(config)
            parameters = named_parameters(model)
            shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
            tensors = read_tensors(header, shapes)
        model.fresh = [name for name in parameters if name not in tensors]
        # Before the copying: the masked-word head shares a table with the embeddings, and what is
        # read for that table must stay.
        for head in dict.fromkeys(name.rpartition(".")[0] for name in model.fresh):
            model.init_weights(model.get_submodule(head))
        with torch.no_grad():
            for name in tensors.keys() & parameters.keys():
                parameters[name].copy_(tensors[name])  # half precision becomes float32 here
        if model.fresh and not new_head:  # who asks for a new head need not be told
            names = ", ".join(model.fresh)
            logger.warning("%s has no %s: newly initialised, to be trained", name_or_folder, names)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which transformers reads as well. Raises OSError
        where it cannot, ValueError for a masked-word head that is no longer tied."""
        if not os.fspath(folder):
            raise ValueError("name a folder to save to; '.' is this one")
        tensors = self.state_dict()
        # load_state_dict(assign=True) parts the two; the file holds the table once.
        if TIED in tensors and not torch.equal(tensors.pop(TIED), tensors[f"distilbert.{WORDS}"]):
            raise ValueError(f"{TIED} differs from the word embeddings; here the two are one")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config.to_json(architecture=type(self).__name__)
        write_whole(folder / WEIGHTS, lambda file: save_file(tensors, file, {"format": "pt"}))
        write_whole(folder / CONFIG, lambda file: file.write_text(config, encoding="utf-8"))


@contextmanager
def open_checkpoint(source: hub.Source) -> Iterator[dict[str, Entry]]:
    """The header of a checkpoint, open for reading. ValueError raised inside names the file.

    config.json is read first: a model of another kind is refused before weights are fetched."""
    has_bert_names = is_bert(hub.read_json(source.file(CONFIG)))
    promised = weight_files(source)
    paths = list(promised)
    with ExitStack() as stack:
        files = [stack.enter_context(open_weights(path)) for path in paths]
        for path, file in zip(paths, files):
            if missing := sorted(promised[path].difference(file.keys())):
                raise ValueError(f"{path} has no {missing[0]}, which {INDEX} says is there")
        try:
            yield read_header(files, has_bert_names)
        except (ValueError, SafetensorError) as error:
            where = paths[0] if len(paths) == 1 else paths[0].parent  # split into several files
            raise ValueError(f"{where}: {error}") from None


def weight_files(source: hub.Source) -> dict[Path, set[str]]:
    """model.safetensors, or the files that its index names, each with the tensors that the index
    says it holds. Raises OSError if there are none."""
    whole = source.optional(WEIGHTS)
    if whole is not None:
        return {whole: set()}
    index = source.optional(INDEX)
    if index is None:
        raise FileNotFoundError(f"no {WEIGHTS} in {source}; {ONLY_SAFETENSORS}")
    tensors = hub.read_json(index).get("weight_map")
    tensors = tensors if isinstance(tensors, dict) else {}
    for name in tensors.values():
        # Plain names only: an index must not lead out of its folder.
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise ValueError(f"{index}: {name!r} is not the name of a safetensors file")
    if not tensors:
        raise ValueError(f"{index}: no weight_map, which should name the files of the tensors")
    return {
        source.file(name): {tensor for tensor, place in tensors.items() if place == name}
        for name in sorted(set(tensors.values()))
    }


def tensor_names(name_or_folder: str | Path) -> set[str]:
    """Our names of a checkpoint's tensors: they tell which heads it has."""
    with open_checkpoint(hub.find(name_or_folder)) as header:
        return set(header)
