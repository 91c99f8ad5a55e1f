"""Forward passes without gradients: logits and features of many texts, in their own order.

Texts are computed in order of length, so that next to nothing is padded, and put back.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from train.engine.batches import TOKEN_BUDGET, Encoded, sorted_batches
from train.engine.distributed import ALONE, Processes
from train.engine.precision import Precision
from train.progress import Progress

Forward = Callable[[Tensor, Tensor | None], Tensor]


@torch.inference_mode()
def in_length_order(
    model: nn.Module,
    forward: Forward,
    data: Encoded,
    precision: Precision,
    processes: Processes,
    title: str,
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
    with Progress(title, sum(map(len, mine)), "texts", quiet=not processes.is_main) as progress:
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
    title: str = "evaluate",
) -> np.ndarray:
    """Logits (N, C) float32 of a classification model."""

    def forward(input_ids: Tensor, mask: Tensor | None) -> Tensor:
        return model(input_ids, mask).logits

    return in_length_order(model, forward, data, precision, processes, title)


def extract_features(
    model: nn.Module,
    data: Encoded,
    precision: Precision,
    pooling: str = "cls",
    all_layers: bool = False,
    processes: Processes = ALONE,
    title: str = "features",
) -> np.ndarray:
    """One vector per text from an encoder: (N, D) float32, or (N, L + 1, D) for all layers.

    pooling: "cls" takes the first token's hidden state, "mean" the mean over the real tokens.
    """

    def pool(hidden: Tensor, mask: Tensor | None) -> Tensor:  # (B, S, D) -> (B, D)
        if pooling == "cls":
            return hidden[:, 0]
        if mask is None:
            return hidden.mean(dim=1)
        weights = mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)

    def forward(input_ids: Tensor, mask: Tensor | None) -> Tensor:
        if all_layers:
            states = model(input_ids, mask, output_hidden_states=True).hidden_states
            return torch.stack([pool(hidden, mask) for hidden in states], dim=1)
        if pooling == "cls":
            return model.first_token(input_ids, mask)
        return pool(model(input_ids, mask).last_hidden_state, mask)

    return in_length_order(model, forward, data, precision, processes, title)
