"""What all models share: random weights to begin with, from_pretrained and save_pretrained."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import nn

from minibert.atomic import write_whole
from minibert.bert import is_bert
from minibert.checkpoint import TIED, NoInit, named_parameters, read_tensors
from minibert.config import DistilBertConfig, read_json
from minibert.header import Entry, check_sizes, open_weights, read_header
from tokenizer import hub

logger = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
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

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **overrides: Any) -> Self:
        """The model of a folder, a Hub name or "demo", in eval mode and float32.

        overrides: config fields that differ from the checkpoint's, such as num_labels. Raises
        OSError where a file cannot be had, ValueError where it does not fit the model."""
        source = hub.find(name_or_folder)
        config = DistilBertConfig.from_json(source.file(CONFIG), **overrides)
        with open_checkpoint(source) as (opened, header):
            check_sizes(header, config)
            with NoInit():  # memory of the right shapes, filled below
                model = cls(config)
            parameters = named_parameters(model)
            shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
            tensors = read_tensors(opened, header, shapes)
        model.fresh = [name for name in parameters if name not in tensors]
        # Before the copying: the masked-word head shares a table with the embeddings, and what is
        # read for that table must stay.
        for head in dict.fromkeys(name.rpartition(".")[0] for name in model.fresh):
            model.init_weights(model.get_submodule(head))
        with torch.no_grad():
            for name in tensors.keys() & parameters.keys():
                parameters[name].copy_(tensors[name])  # half precision becomes float32 here
        if model.fresh:
            names = ", ".join(model.fresh)
            logger.warning("%s has no %s: newly initialised, to be trained", name_or_folder, names)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which transformers reads as well."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor for name, tensor in self.state_dict().items() if name != TIED}
        config = self.config.to_json(architecture=type(self).__name__)
        write_whole(folder / WEIGHTS, lambda file: save_file(tensors, file, {"format": "pt"}))
        write_whole(folder / CONFIG, lambda file: file.write_text(config, encoding="utf-8"))


@contextmanager
def open_checkpoint(source: hub.Source) -> Iterator[tuple[Any, dict[str, Entry]]]:
    """The open weights of a source, and their header. config.json is read first: it tells whether
    the names in the header are a BERT's."""
    has_bert_names = is_bert(read_json(source.file(CONFIG)))
    weights = source.optional(WEIGHTS)
    if weights is None:
        raise FileNotFoundError(f"no {WEIGHTS} in {source}; {ONLY_SAFETENSORS}")
    with open_weights(weights) as opened:
        yield opened, read_header(opened, has_bert_names)


def tensor_names(name_or_folder: str | Path) -> set[str]:
    """Our names of a checkpoint's tensors: they tell which heads it has."""
    with open_checkpoint(hub.find(name_or_folder)) as (_, header):
        return set(header)
