"""The model in use: loaded onto its device, then forward passes without gradients.

Texts are computed in order of length, so that next to nothing is padded; the rows of the result are
put back into the order of the texts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from minibert import DistilBertConfig, DistilBertModel, int8
from minibert.pretrained import CONFIG, PretrainedModel, tensor_names
from tokenizer import WordPieceTokenizer, hub
from train.batches import TOKEN_BUDGET, Encoded, sorted_batches
from train.device import ALONE, Precision, Processes, choose_precision
from train.options import ComputeOptions
from train.progress import progress

Model = TypeVar("Model", bound=PretrainedModel)
Forward = Callable[[Tensor, Tensor | None], Tensor]


def load_model(
    options: ComputeOptions, load: Callable[..., Model], **config: Any
) -> tuple[WordPieceTokenizer, Model, Precision]:
    """Tokenizer, model on its device, and number format that the options name.

    load: a class's from_pretrained, or minibert.load_classifier. config: fields that differ from
    the checkpoint's, such as num_labels. Raises OSError or ValueError naming what is missing or
    wrong."""
    precision = choose_precision(options.device, options.precision)
    name = model_folder(options.model)
    tokenizer = WordPieceTokenizer.from_pretrained(name)
    return tokenizer, load(name, **config).to(precision.device), precision


def model_folder(name: str) -> str:
    """RUN/final where `name` is the folder of a fine-tuning run, else the name as it is."""
    final = Path(name) / "final"
    return str(final) if (final / "config.json").is_file() else name


def trained_labels(model: str) -> list[str] | None:
    """The label names of a checkpoint with a trained classifier, in the order of their ids; None
    for a checkpoint without one."""
    folder = model_folder(model)
    if "pre_classifier.weight" not in tensor_names(folder):
        return None
    return DistilBertConfig.from_json(hub.find(folder).file(CONFIG)).label_names


@torch.inference_mode()
def in_length_order(
    model: nn.Module,
    forward: Forward,
    data: Encoded,
    precision: Precision,
    processes: Processes,
    title: str | None,
) -> np.ndarray:
    """forward(input_ids (B, S), mask (B, S)) -> (B, ...), of all N texts: (N, ...) float32.

    The model computes in eval mode and is left in the mode it was found in. Of many processes each
    computes every world-th batch, and rank 0 gets the whole result, the others no row of it.
    """
    int8.switch(model, on=precision.name == "int8")
    was_training = model.training
    model.eval()  # without dropout
    batches = sorted_batches(data.lengths, TOKEN_BUDGET[precision.device.type])
    # Every process needs a batch, for all of them meet in gather_rows: where there are fewer
    # batches than processes, some compute the last one twice.
    mine = batches[processes.rank :: processes.world] or batches[-1:]
    outputs = []
    quiet = title is None or not processes.is_main
    with progress(title or "", sum(map(len, mine)), "texts", quiet=quiet) as bar:
        for rows in mine:
            input_ids, mask, _ = data.batch(rows)
            with precision.autocast():
                outputs.append(forward(input_ids, mask))
            bar.update(len(rows))
    model.train(was_training)
    # Copied to the CPU once, after the last batch: a copy per batch would leave the GPU idle.
    computed = torch.cat(outputs).float().cpu().numpy()  # bfloat16, which numpy lacks, as float32
    computed = processes.gather_rows(computed)
    places = processes.gather_rows(np.concatenate(mine))
    if not processes.is_main:
        return computed
    in_order = np.empty((len(data), *computed.shape[1:]), np.float32)
    # Row k computed belongs to text mine[k]; a batch that was computed twice is written twice.
    in_order[places] = computed
    if not np.isfinite(in_order).all():
        raise ArithmeticError(
            f"the model's answers hold NaN or infinity in {precision.name}"
            + ("" if precision.name == "fp32" else "; use --precision fp32")
        )
    return in_order


def predict_logits(
    model: nn.Module,
    data: Encoded,
    precision: Precision,
    processes: Processes = ALONE,
    title: str | None = "evaluate",
) -> np.ndarray:
    """Logits (N, C) float32 of a classification model. Without a title no progress is shown."""

    def forward(input_ids: Tensor, mask: Tensor | None) -> Tensor:
        return model(input_ids, mask).logits

    return in_length_order(model, forward, data, precision, processes, title)


def mean_of_tokens(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """(B, S, D) -> (B, D), over the real tokens; mask: (B, S), or None where all are real."""
    if mask is None:
        return hidden.mean(dim=1)
    weights = mask[:, :, None].to(hidden.dtype)  # (B, S, 1): 0 at the padding
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


POOLINGS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "cls": lambda hidden, mask: hidden[:, 0],
    "mean": mean_of_tokens,
}


def extract_features(
    model: DistilBertModel,
    data: Encoded,
    precision: Precision,
    pooling: str = "cls",
    processes: Processes = ALONE,
    title: str | None = "features",
) -> np.ndarray:
    """One vector per text from an encoder's last layer: (N, D) float32.

    pooling: "cls" takes the first token's hidden state, "mean" the mean over the real tokens.
    """

    def forward(input_ids: Tensor, mask: Tensor | None) -> Tensor:
        if pooling == "cls":
            return model.first_token(input_ids, mask)
        return POOLINGS[pooling](model(input_ids, mask).last_hidden_state, mask)

    return in_length_order(model, forward, data, precision, processes, title)


def extract_layers(
    model: DistilBertModel,
    data: Encoded,
    precision: Precision,
    processes: Processes = ALONE,
    title: str = "features",
) -> np.ndarray:
    """The same from every layer, the embeddings first, pooled in every way: (N, L + 1, P, D) with
    P in the order of POOLINGS. One forward pass serves them all."""

    def forward(input_ids: Tensor, mask: Tensor | None) -> Tensor:
        states = model(input_ids, mask, output_hidden_states=True).hidden_states
        # Each (B, S, D) becomes (B, P, D) here: unpooled states of all texts would fill the memory.
        pooled = [torch.stack([pool(h, mask) for pool in POOLINGS.values()], 1) for h in states]
        return torch.stack(pooled, dim=1)  # (B, L + 1, P, D)

    return in_length_order(model, forward, data, precision, processes, title)
