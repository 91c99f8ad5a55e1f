"""[CLS] features of many texts: ours, transformers and onnxruntime, also on our sorted batches.

python -m tests.benchmarks.inference [--save]     about 3 minutes on two cores
"""

import logging
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertModel
from transformers.utils.logging import set_verbosity_error

from minibert import DistilBertConfig, DistilBertModel
from minibert.pretrained import CONFIG
from tests.benchmarks.common import (
    environment,
    interleave,
    median_rate,
    publish,
    ratio,
    table,
    tweets,
)
from tokenizer import WordPieceTokenizer, hub
from tokenizer.hub import demo_folder
from train.batches import TOKEN_BUDGET, Encoded, sorted_batches
from train.device import Precision, choose_precision
from train.forward import extract_features

ROUNDS = 3
N_TEXTS = 800  # on a CPU
BATCH = 64
LONGEST = 87  # the longest tweet of the whole set, to which the tutorial pads all
OURS = "MiniBERT: sorted by length, last block for [CLS] alone"
SHUFFLED = f"transformers: shuffled batches of {BATCH}, padded to their longest"
PADDED = f"transformers: the tutorial's way, all padded to {LONGEST}"
SORTED = "transformers: our sorted batches"


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
            model(**{n: t if t is None else t.to(precision.device) for n, t in batch.items()})
            .last_hidden_state[:, 0]
            .float()
            .cpu()
            for batch in batches
        ]
    return torch.cat(parts).numpy()


class FirstToken(torch.nn.Module):
    """[CLS] features as a module of their own, which is what torch.onnx exports."""

    def __init__(self, model: DistilBertModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        return self.model.first_token(input_ids, mask)


def export(model: DistilBertModel, folder: Path) -> dict[str, Any]:
    """onnxruntime's sessions for the same features: of the float32 graph, and of that graph with
    its matrix products dynamically quantised. On CPUs without VNNI integers of 7 bits, as
    onnxruntime's own advice is: sums of 8-bit ones would be cut off there."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    example = torch.randint(1, 1000, (3, 7)), torch.arange(7).expand(3, 7) < 6
    names = {"input_names": ["input_ids", "mask"], "output_names": ["features"]}
    axes = {"input_ids": {0: "b", 1: "s"}, "mask": {0: "b", 1: "s"}, "features": {0: "b"}}
    file, file8 = str(folder / "fp32.onnx"), str(folder / "int8.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            FirstToken(model), example, file, **names, dynamic_axes=axes, dynamo=False
        )
    logging.disable(logging.WARNING)
    quantize_dynamic(
        *(file, file8),
        per_channel=True,
        reduce_range=not torch.cpu._is_vnni_supported(),
        weight_type=QuantType.QInt8,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    provider = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
    return {
        name: onnxruntime.InferenceSession(f, **provider)
        for name, f in zip(("fp32", "int8"), (file, file8))
    }


class Opponents:
    """The other sides, each a function that gives the features of all texts. Batches are made
    beforehand: only the models are timed."""

    def __init__(self, texts: list[str], data: Encoded, precision: Precision):
        self.data, self.precision = data, precision
        bert = BertModel.from_pretrained(demo_folder(), add_pooling_layer=False)
        self.bert = bert.to(precision.device).eval()
        encode = AutoTokenizer.from_pretrained(demo_folder())
        groups = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        how = {"truncation": True, "return_tensors": "pt"}
        self.dynamic = [dict(encode(group, padding=True, **how)) for group in groups]
        fixed = {"padding": "max_length", "max_length": LONGEST, **how}
        self.fixed = [dict(encode(group, **fixed)) for group in groups]
        self.rows = sorted_batches(data.lengths, TOKEN_BUDGET[precision.device.type])
        self.sorted = []
        for rows in self.rows:
            input_ids, mask, _ = data.batch(rows)
            self.sorted.append({"input_ids": input_ids, "attention_mask": mask})

    def in_order(self, features: np.ndarray) -> np.ndarray:
        """Rows computed in the order of the sorted batches, back in the order of the texts."""
        result = np.empty_like(features)
        result[np.concatenate(self.rows)] = features
        return result

    def onnx(self, session: Any) -> np.ndarray:
        parts = []
        for batch in self.sorted:
            mask = batch["attention_mask"]
            mask = torch.ones_like(batch["input_ids"], dtype=torch.bool) if mask is None else mask
            feed = {"input_ids": batch["input_ids"].numpy(), "mask": mask.numpy()}
            parts.append(session.run(None, feed)[0])
        return np.concatenate(parts)


def sides(texts: list[str], data: Encoded, precision: Precision, folder: Path) -> dict[str, dict]:
    """{number format: {what computes: how}}; the first of each is ours."""
    device = precision.device
    model = DistilBertModel.from_pretrained("demo").to(device)
    small = DistilBertModel.from_pretrained("demo").to(device)  # its layers are switched to int8
    model.check_inputs = small.check_inputs = False
    others = Opponents(texts, data, precision)

    def run(side: DistilBertModel, name: str) -> Callable[[], np.ndarray]:
        chosen = choose_precision(device.type, name)
        return lambda: extract_features(side, data, chosen, title=None)

    def bert(batches: list, name: str) -> Callable[[], np.ndarray]:
        chosen = choose_precision(device.type, name)
        return lambda: theirs(others.bert, batches, chosen)

    found: dict[str, dict] = {}
    if device.type == "cpu":
        sessions = export(model, folder)
        found["fp32"] = {
            OURS: run(model, "fp32"),
            SHUFFLED: bert(others.dynamic, "fp32"),
            PADDED: bert(others.fixed, "fp32"),
            SORTED: lambda: others.in_order(bert(others.sorted, "fp32")()),
            "onnxruntime: our sorted batches": lambda: others.in_order(
                others.onnx(sessions["fp32"])
            ),
        }
        found["int8"] = {
            "MiniBERT int8": run(small, "int8"),
            "onnxruntime dynamic int8: our sorted batches": lambda: others.in_order(
                others.onnx(sessions["int8"])
            ),
        }
    if precision.name != "fp32":
        name = precision.name
        found[name] = {
            f"MiniBERT {name}": run(model, name),
            f"transformers {name}: shuffled batches": bert(others.dynamic, name),
            f"transformers {name}: our sorted batches": lambda: others.in_order(
                bert(others.sorted, name)()
            ),
        }
    return found


def table_rows(found: dict[str, dict], n_texts: int, seconds: dict[str, list]) -> list[list[str]]:
    """Of each number format first ours with its ratio to the best of the others, then theirs with
    the ratio of ours to each."""
    rows = []
    for group in found.values():
        ours, *others = group
        best = min(others, key=lambda side: statistics.median(seconds[side]))
        for side in group:
            rate = f"{median_rate(n_texts, seconds[side]):.0f}"
            rows.append([side, rate, ratio(seconds[ours], seconds[best if side == ours else side])])
    return rows


def main() -> None:
    set_verbosity_error()
    precision = choose_precision()
    name, texts, _ = tweets()
    texts = texts if precision.device.type == "cuda" else texts[:N_TEXTS]
    ids = WordPieceTokenizer.from_pretrained("demo")(texts)["input_ids"]
    data = Encoded(ids, device=precision.device)
    with TemporaryDirectory() as folder:
        found = sides(texts, data, precision, Path(folder))
    usual = next(iter(found))  # fp32, or a GPU's
    timed = {side: run for group in found.values() for side, run in group.items()}
    features = {side: run() for side, run in timed.items()}  # warms up, too
    ours = next(iter(timed))
    exact = max(np.abs(features[side] - features[ours]).max() for side in found[usual])
    assert exact < (2e-5 if usual == "fp32" else 0.1), exact
    config = DistilBertConfig.from_json(hub.find("demo").file(CONFIG))
    multiply, operations = matmul(config, choose_precision(precision.device.type, usual))
    print(f"timing {len(timed)} sides, {ROUNDS + 1} rounds ...", file=sys.stderr)
    seconds = interleave({"matmul": multiply, **timed}, rounds=ROUNDS)
    rate = median_rate(our_flops(config, data.lengths), seconds[ours])
    ceiling = median_rate(operations, seconds["matmul"])
    likeness = ", ".join(
        f"{side} {cosine(features[side], features[ours]):.4f}" for side in found.get("int8", {})
    )
    publish(
        "inference",
        table(
            ["[CLS] features, packaged weights", "texts/s", "ours is"],
            table_rows(found, len(texts), seconds),
        )
        + f"\n\n{len(texts)} {name}, medians of {ROUNDS} rounds, {torch.get_num_threads()} threads."
        " Of each number format the first row is\nours, with its ratio to the best of the others; "
        f"their rows have the ratio of ours to them. Ours in {usual}\ndoes {rate / 1e9:.0f} of the "
        f"{ceiling / 1e9:.0f} GFLOP/s measured for one large matrix product ({rate / ceiling:.0%}),"
        f" on real tokens; largest difference\nof these rows {exact:.1e}. Least cosine with them: "
        f"{likeness or 'no int8 here'}.\n" + environment("torch", "transformers", "onnxruntime"),
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The least of all texts."""
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


if __name__ == "__main__":
    main()
