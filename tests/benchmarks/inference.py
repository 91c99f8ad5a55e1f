"""Features of many texts: ours, transformers with the usual batches, the tutorial's way.

python -m tests.benchmarks.inference [--save]
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from transformers import AutoTokenizer, BertModel
from transformers.utils.logging import set_verbosity_error

from minibert import DistilBertModel
from tests.benchmarks.common import (
    environment,
    interleave,
    median_rate,
    publish,
    ratio,
    table,
    tweets,
)
from tokenizer import WordPieceTokenizer
from tokenizer.hub import demo_folder
from train.batches import Encoded
from train.device import Precision, choose_precision
from train.forward import extract_features

ROUNDS = 5
BATCH = 64


def block_flops(config, tokens: int, pairs: int) -> float:
    """Multiplications and additions of one block's matrix products: q, k, v, out and the FFN for
    every token, scores and weighted sum for every pair of tokens that see each other."""
    d, f = config.dim, config.hidden_dim
    return 2.0 * (tokens * (4 * d * d + 2 * d * f) + pairs * 2 * d)


def our_flops(config, lengths: np.ndarray) -> float:
    """On the real tokens: whole blocks but for the last, whose queries, FFN and output are the
    first token's alone."""
    d, f = config.dim, config.hidden_dim
    tokens, texts = lengths.sum(), len(lengths)
    whole = (config.n_layers - 1) * block_flops(config, tokens, (lengths**2).sum())
    return whole + 2.0 * (tokens * 2 * d * d + texts * (2 * d * d + 2 * d * f) + tokens * 2 * d)


def their_flops(config, batches: list) -> float:
    """Every block for every place of every batch, padding too."""
    shapes = [batch["input_ids"].shape for batch in batches]
    tokens, pairs = sum(n * size for n, size in shapes), sum(n * size**2 for n, size in shapes)
    return config.n_layers * block_flops(config, tokens, pairs)


def matmul(config, precision: Precision) -> tuple[Callable[[], None], float]:
    """The FFN's matrix product at the size of our batches, 20 times, and its operations: what the
    machine can do at most."""
    x = torch.randn(1_400 if precision.device.type == "cpu" else 65_536, config.dim)
    w = torch.randn(config.hidden_dim, config.dim)
    x, w = x.to(precision.device), w.to(precision.device)
    if precision.name == "bf16":
        x, w = x.bfloat16(), w.bfloat16()

    def multiply() -> None:
        for _ in range(20):
            torch.nn.functional.linear(x, w)
        synchronize(precision)

    return multiply, 20 * 2.0 * len(x) * w.numel()


def synchronize(precision: Precision) -> None:
    if precision.device.type == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def theirs(model, batches: list, precision: Precision) -> np.ndarray:
    with precision.autocast():
        parts = [
            model(**{name: tensor.to(precision.device) for name, tensor in batch.items()})
            .last_hidden_state[:, 0]
            .float()
            .cpu()
            for batch in batches
        ]
    return torch.cat(parts).numpy()


def main() -> None:
    set_verbosity_error()
    precision = choose_precision()
    name, texts, _ = tweets()
    on_gpu = precision.device.type == "cuda"
    texts = texts if on_gpu else texts[:2_000]
    ours = DistilBertModel.from_pretrained("demo").to(precision.device)
    ours.check_inputs = False
    bert = BertModel.from_pretrained(demo_folder(), add_pooling_layer=False).to(precision.device)
    bert.eval()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    data = Encoded(tokenizer(texts)["input_ids"], device=precision.device)
    their_tokenizer = AutoTokenizer.from_pretrained(demo_folder())
    encode = functools.partial(their_tokenizer, truncation=True, return_tensors="pt")
    groups = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
    dynamic = [encode(group, padding=True) for group in groups]
    longest = 87  # the longest tweet of the whole set, to which the tutorial pads all
    fixed = [encode(group, padding="max_length", max_length=longest) for group in groups]

    def run_ours() -> np.ndarray:
        return extract_features(ours, data, precision)

    difference = np.abs(run_ours() - theirs(bert, dynamic, precision)).max()
    assert difference < (2e-5 if precision.name == "fp32" else 0.1), difference
    multiply, operations = matmul(ours.config, precision)
    seconds = interleave(
        {
            "matmul": multiply,
            "ours": run_ours,
            "transformers": lambda: theirs(bert, dynamic, precision),
            "tutorial": lambda: theirs(bert, fixed, precision),
        },
        rounds=ROUNDS,
    )
    rows = [
        [
            label,
            f"{median_rate(len(texts), seconds[side]):.0f}",
            ratio(seconds["ours"], seconds[side]),
        ]
        for side, label in (
            ("ours", "MiniBERT: sorted by length, last block for [CLS] alone"),
            ("transformers", f"transformers: shuffled batches of {BATCH}, padded to their longest"),
            ("tutorial", f"transformers: the tutorial's way, all padded to {longest}"),
        )
    ]
    work = our_flops(ours.config, data.lengths)
    more = [their_flops(ours.config, batches) / work for batches in (dynamic, fixed)]
    rate = median_rate(work, seconds["ours"])
    ceiling = median_rate(operations, seconds["matmul"])
    publish(
        "inference",
        table(["[CLS] features, packaged weights", "texts/s", "ours is"], rows)
        + f"\n\n{len(texts)} {name}, medians of {ROUNDS} rounds; {precision}. Ours does "
        f"{rate / 1e9:.0f} of the {ceiling / 1e9:.0f} GFLOP/s measured for one large matrix "
        f"product ({rate / ceiling:.0%}), on real tokens; largest difference {difference:.1e}. "
        "With padding and the last block's other tokens transformers computes "
        f"{more[0]:.2f} and {more[1]:.2f} times our arithmetic: the ratios "
        "that equal skill at it would give.\n" + environment("torch", "transformers"),
    )


if __name__ == "__main__":
    main()
