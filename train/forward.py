"""Forward passes without gradients: logits and features of many texts, in their own order.

Texts are computed in order of length, so that next to nothing is padded, and put back.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from minibert import DistilBertModel
from train.batches import TOKEN_BUDGET, Encoded, sorted_batches
from train.device import ALONE, Precision, Processes
from train.progress import Progress

Forward = Callable[[Tensor, Tensor | None], Tensor]


@torch.inference_mode()
def in_length_order(
    model: nn.Module,
    forward: Forward,
    data: Encoded,
    precision: Precision,
    processes: Processes,
    title: str | None,
) -> np.ndarray:
    """forward(input_ids, attention_mask) -> (B, ...) for all N texts: (N, ...) float32 array.

    The model computes in eval mode and is left in the mode it was found in. Of many processes each
    computes every world-th batch, and all get the whole result.
    """
    was_training = model.training
    model.eval()
    batches = sorted_batches(data.lengths, TOKEN_BUDGET[precision.device.type])
    # No process without a batch: where there are too few, some compute the last one twice.
    mine = batches[processes.rank :: processes.world] or batches[-1:]
    outputs = []
    quiet = title is None or not processes.is_main
    with Progress(title or "", sum(map(len, mine)), "texts", quiet=quiet) as progress:
        for rows in mine:
            input_ids, mask, _ = data.batch(rows)
            with precision.autocast():
                outputs.append(forward(input_ids, mask))
            progress.advance(len(rows))
    model.train(was_training)
    computed = torch.cat(outputs).float().cpu().numpy()  # the one wait for the device
    computed = processes.gather_rows(computed)
    in_order = np.empty((len(data), *computed.shape[1:]), np.float32)
    in_order[processes.gather_rows(np.concatenate(mine))] = computed
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
    """(B, S, D) -> (B, D), over the real tokens; mask: (B, S)."""
    if mask is None:
        return hidden.mean(dim=1)
    weights = mask[:, :, None].to(hidden.dtype)
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
    title: str = "features",
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
        pooled = [torch.stack([pool(h, mask) for pool in POOLINGS.values()], 1) for h in states]
        return torch.stack(pooled, dim=1)

    return in_length_order(model, forward, data, precision, processes, title)
