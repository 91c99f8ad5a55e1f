"""The experiments of docs/WHY.md, each a function that returns a table.

python -m tests.benchmarks.why [NAME ...] [--save]: all of them, or those named. Some minutes
on two cores, most of them for `training`.
"""

import math
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._testing import ignore_warnings
from torch import Tensor, nn

from minibert import DistilBertConfig, DistilBertForSequenceClassification, DistilBertModel
from minibert.heads import cross_entropy
from tests import EMOTION, ROOT
from tests.benchmarks.common import emotion, environment, publish, table
from tests.tiny import NO_DROPOUT
from tokenizer import WordPieceTokenizer
from tokenizer.schemes import characters, words
from train.batches import Encoded, padding_share, sorted_batches
from train.data import Data, encode, load_data
from train.device import DTYPES, choose_precision
from train.forward import extract_layers, mean_of_tokens, predict_logits
from train.options import DataOptions
from train.probe import fit_classifier, probe_layers
from train.training import optim
from train.training.loop import training as train_steps
from train.training.optim import LossScale, Update, make_optimizer, rate_factor
from train.training.step import Job, Steps

CPU = choose_precision("cpu", "fp32")
HELD_OUT = ("validation", "test")  # together 480 sentences: half the noise of one of them
CURVES = ROOT / "docs" / "why_training.svg"


# What the experiments share: the demo sentences, the packaged weights, frozen features.


@cache
def demo() -> Data:
    return load_data(DataOptions(dataset="demo"))


@cache
def packaged() -> DistilBertModel:
    model = DistilBertModel.from_pretrained("demo")
    model.check_inputs = False
    return model


@cache
def encoded() -> dict[str, Encoded]:
    """The demo sentences as ids, by split."""
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    return {
        split: encode(rows, tokenizer, packaged().config, 512, CPU.device)
        for split, rows in demo().splits.items()
    }


@cache
def layer_features() -> dict[str, np.ndarray]:
    """Pooled hidden states of every layer (N, L + 1, P, D), by split."""
    return {split: extract_layers(packaged(), rows, CPU) for split, rows in encoded().items()}


def labels(split: str) -> np.ndarray:
    return demo().splits[split]["label"].to_numpy()


@cache
def mean_probe() -> Pipeline:
    """The classifier on the mean of the last layer's tokens."""
    return fit_classifier(layer_features()["train"][:, -1, 1], labels("train"))[0]


def some_sentences(n: int = 50) -> Iterator[Tensor]:
    """Ids (1, S) of validation sentences, one at a time: nothing is padded."""
    for row in range(n):
        yield encoded()["validation"].batch(np.array([row]))[0]


def effective(weights: Tensor) -> Tensor:
    """How many keys a row of attention weights looks at: exp(entropy). 1 of one alone; S of all."""
    return torch.exp(-(weights * weights.clamp(min=1e-30).log()).sum(-1))


# Inside the model.


def scores() -> str:
    """The root in softmax(q k^T / sqrt(K)): variance of the scores, spread of the weights."""
    random = torch.Generator().manual_seed(0)
    rows = []
    for size in (8, 32, 128, 512):
        q = torch.randn(1000, size, generator=random)
        k = torch.randn(1000, 32, size, generator=random)
        raw = torch.einsum("nk,nsk->ns", q, k)
        cells = [f"{raw.var():.1f}"]
        for weights in (raw.softmax(-1), (raw / math.sqrt(size)).softmax(-1)):
            slope = (weights * (1 - weights)).mean()  # of a softmax: d weight / d its own score
            cells += [f"{effective(weights).mean():.1f} of 32", f"{slope:.4f}"]
        rows.append([f"random numbers, K = {size}", *cells])
    raw_scores, plain, rooted = (torch.cat(parts) for parts in zip(*packaged_scores()))
    cells = [f"{raw_scores.var():.1f}"]
    for count, slope in (plain.mean(0), rooted.mean(0)):
        cells += [f"{count:.1f}", f"{slope:.4f}"]
    rows.append([f"packaged weights, K = {packaged().config.head_dim}", *cells])
    header = ["", "variance of q k", "keys, no root", "slope, no root", "keys, root", "slope, root"]
    return table(header, rows)


@torch.inference_mode()
def packaged_scores() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each sentence and block: the scores (n,), and keys and slope (rows, 2) of the softmax
    without and with the root."""
    heads = packaged().config.n_heads
    for ids in some_sentences():
        states = packaged()(ids, output_hidden_states=True).hidden_states
        for block, state in zip(packaged().blocks, states):
            q, k = (
                linear(state).unflatten(-1, (heads, -1)).transpose(1, 2)
                for linear in (block.attention.q_lin, block.attention.k_lin)
            )
            raw = q @ k.transpose(-2, -1)  # (1, H, S, S)
            both = []
            for weights in (raw.softmax(-1), (raw / math.sqrt(q.shape[-1])).softmax(-1)):
                slope = (weights * (1 - weights)).mean(-1)
                both.append(torch.stack([effective(weights), slope], -1).flatten(0, -2))
            yield raw.flatten(), *both


def post_norm(block: Any, x: Tensor) -> Tensor:
    return block(x, None)[0]


def pre_norm(block: Any, x: Tensor) -> Tensor:
    x = x + block.attention(block.sa_layer_norm(x), None)[0]
    return x + block.ffn(block.output_layer_norm(x))


def no_sum(block: Any, x: Tensor) -> Tensor:
    x = block.sa_layer_norm(block.attention(x, None)[0])
    return block.output_layer_norm(block.ffn(x))


def no_sum_no_norm(block: Any, x: Tensor) -> Tensor:
    return block.ffn(block.attention(x, None)[0])


def depth() -> str:
    """Gradients by depth in 24 blocks before any training, for three wirings and two spreads of
    the first weights."""
    cases: list[tuple[str, Callable, int]] = [
        ("sum, then norm (BERT)", post_norm, 1),
        ("norm, sublayer, sum (GPT-2)", pre_norm, 1),
        ("norm, but no sum", no_sum, 1),
        ("neither norm nor sum", no_sum_no_norm, 1),
        ("sum, then norm (BERT)", post_norm, 3),
        ("norm, sublayer, sum (GPT-2)", pre_norm, 3),
    ]
    # As large as BERT's N(0, 0.02) makes the output of a layer 768 wide, in one 64 wide.
    spread = 0.02 * math.sqrt(768 / 64)
    shown, rows = (0, 11, 23), []
    for name, wiring, factor in cases:
        pairs = [gradients(wiring, factor * spread, seed) for seed in range(8)]
        norms, alike = (np.mean(values, axis=0) for values in zip(*pairs))
        cells = [f"{math.exp(norms[i]):.2g}" for i in shown]
        rows.append([name, f"x {factor}", *cells, f"{alike:.2f}"])
    blocks = (f"gradient, block {i + 1}" for i in shown)
    return table(["", "first weights", *blocks, "tokens alike"], rows, n_text=2)


def gradients(wiring: Callable, spread: float, seed: int) -> tuple[np.ndarray, float]:
    """log of the gradient norm of each block (L,), and the mean cosine of [CLS] with the other
    tokens after the last block; weights and ids are random."""
    torch.manual_seed(seed)
    sizes = {"n_layers": 24, "n_heads": 4, "dim": 64, "hidden_dim": 256, "vocab_size": 100}
    config = DistilBertConfig(**sizes, **NO_DROPOUT, initializer_range=spread, num_labels=6)
    model = DistilBertForSequenceClassification(config).double()
    x = model.distilbert.embeddings(torch.randint(1, 100, (16, 12)))
    for block in model.distilbert.blocks:
        x = wiring(block, x)
    # pre_norm leaves the last sum without a norm; to what has one, this one does nothing.
    x = F.layer_norm(x, (64,))
    cross_entropy(model.head(x[:, 0]), torch.arange(16) % 6).backward()
    norms = []
    for block in model.distilbert.blocks:
        grads = [p.grad for p in block.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(grads).log().item())
    # eps: without norm and sum, hardly anything is left of the vectors
    alike = F.cosine_similarity(x[:, :1], x[:, 1:], dim=-1, eps=1e-300).mean().item()
    return np.array(norms), alike


@torch.inference_mode()
def gelu() -> str:
    """The exact GELU beside its tanh approximation: the curve, the model, the answers."""
    x = torch.linspace(-6, 6, 1_200_001, dtype=torch.float64)
    gap = (F.gelu(x) - F.gelu(x, approximate="tanh")).abs()
    exact, rough, narrow = (DistilBertModel.from_pretrained("demo") for _ in range(3))
    for block in rough.blocks:
        block.ffn.activation = lambda inner: F.gelu(inner, approximate="tanh")  # type: ignore
    exact.double(), rough.double()
    gaps, moved = {"tanh": 0.0, "float32": 0.0}, 0
    n = 200
    for ids in some_sentences(n):
        true, others = exact(ids)[0], {"tanh": rough(ids)[0], "float32": narrow(ids)[0]}
        for name, other in others.items():
            gaps[name] = max(gaps[name], float((true - other).abs().max()))
        answers = [mean_probe().predict(h.mean(1).numpy())[0] for h in (true, others["tanh"])]
        moved += int(answers[0] != answers[1])
    return table(
        ["exact GELU against its tanh approximation", ""],
        [
            ["largest difference of the two curves", f"{gap.max():.1e}"],
            ["at x =", f"±{x[gap.argmax()].abs():.2f}"],
            ["largest difference in the last hidden states, float64", f"{gaps['tanh']:.1e}"],
            ["for comparison: float32 instead of float64, exact GELU", f"{gaps['float32']:.1e}"],
            [f"answers of a probe that change, of {n} sentences", str(moved)],
        ],
    )


# The optimiser.


def decay() -> str:
    """Weight decay inside the gradient (Adam with L2) and outside of it (AdamW): what is left of
    weights that start at 1 after 1,000 steps of gradients that are noise alone."""
    rows = []
    for scale in (10.0, 1.0, 0.1, 0.01):
        cells = []
        for kind in (torch.optim.Adam, torch.optim.AdamW):
            random = torch.Generator().manual_seed(0)
            weight = nn.Parameter(torch.ones(2_000))
            optimizer = kind([weight], lr=1e-3, weight_decay=0.1)
            for _ in range(1_000):
                weight.grad = scale * torch.randn(2_000, generator=random)
                optimizer.step()
            cells.append(f"{weight.mean():.3f}")
        rows.append([f"gradients of size {scale:g}", *cells])
    return table(["mean weight, from 1", "Adam with L2", "AdamW"], rows)


def decay_sizes() -> str:
    """What decay does in a whole run: the factor that it alone leaves of a weight."""
    runs = [  # name, steps, highest rate, warm-up, decay
        ("the demo", 336, 2e-4, 0, 0.01),
        ("the tutorial", 4_000, 2e-5, 0, 0.01),
        ("BERT's pretraining (arXiv 1810.04805)", 1_000_000, 1e-4, 10_000, 0.01),
    ]
    rows = []
    for name, steps, rate, warmup, strength in runs:
        factors = rate_factor("linear", torch.arange(steps, dtype=torch.float64), steps, warmup)
        left = float(torch.log1p(-rate * strength * factors).sum().exp())
        rows.append([name, f"{steps:,}", f"{rate:g}", f"{strength:g}", f"{left:.4f}"])
    model = DistilBertForSequenceClassification.from_pretrained("demo", num_labels=6, new_head=True)
    sizes = [sum(p.numel() for p in g["params"]) for g in make_optimizer(model, 1, 0).param_groups]
    header = ["run", "steps", "highest rate", "decay", "factor left of a weight"]
    return (
        table(header, rows)
        + f"\n\nNot decayed: {sizes[1]:,} of {sum(sizes):,} numbers ({sizes[1] / sum(sizes):.2%})."
    )


def bias_correction() -> str:
    """Length of Adam's step, in learning rates, where every gradient is 1."""
    shown, rows = (1, 2, 5, 10, 20, 100, 1_000, 3_000), []
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1.0)
    m = v = 0.0
    for step in range(1, shown[-1] + 1):
        m, v = 0.9 * m + 0.1, 0.999 * v + 0.001
        before, weight.grad = weight.item(), torch.ones_like(weight)
        optimizer.step()
        if step in shown:
            lengths = (m / math.sqrt(v), before - weight.item())
            rows.append([f"{step:,}", f"{m:.3f}", f"{v:.4f}", *(f"{x:.2f}" for x in lengths)])
    return table(["step", "m", "v", "m / sqrt(v)", "torch's Adam, corrected"], rows, n_text=0)


class Change(NamedTuple):
    """A fine-tuning run of `training`, and what differs from the usual one."""

    name: str
    rate: float = 2e-4  # what the demo trains with
    schedule: str = "linear"
    warmup: int = 0
    max_norm: float = optim.MAX_GRAD_NORM
    decay: float = 0.01
    decay_all: bool = False
    dropout: bool = True
    order: str = "by length"


HIGH = 5e-3  # nearly too much
SEEDS, EPOCHS, BATCH = range(5), 3, 16
WARMUP = 25  # a tenth of the steps
CHANGES = [
    Change("usual"),
    Change("warm-up over a tenth of the steps", warmup=WARMUP),
    Change("rate does not fall", schedule="constant"),
    Change("no clipping", max_norm=math.inf),
    Change("no weight decay", decay=0.0),
    Change("biases and norms decay too", decay_all=True),
    Change("no dropout", dropout=False),
    Change("batches shuffled, not by length", order="shuffled"),
    Change("batches from short to long texts", order="short to long"),
    Change("usual", HIGH),
    Change("warm-up over a tenth of the steps", HIGH, warmup=WARMUP),
    Change("rate does not fall", HIGH, schedule="constant"),
    Change("no clipping", HIGH, max_norm=math.inf),
    Change("warm-up, no clipping", HIGH, warmup=WARMUP, max_norm=math.inf),
]


class Ran(NamedTuple):
    """What came of a run."""

    accuracy: float  # of the held-out sentences
    losses: np.ndarray  # (steps,), of the training batches
    norms: np.ndarray  # (steps,), of the gradients before clipping


class Lookup(nn.Module):
    """In place of the embeddings: the hidden states (T, D) that a token had before the last block,
    by the token's place in the data. As `--train-layers 1`, but computed once for all runs."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self, places: Tensor) -> Tensor:
        return self.states[places]


@cache
def frozen(split: str) -> tuple[Encoded, Lookup]:
    return freeze(encoded()[split], labels(split))


@torch.no_grad()
def freeze(data: Encoded, answers: np.ndarray) -> tuple[Encoded, Lookup]:
    """The texts with the places of their tokens as ids, and the table that these look up."""
    states = torch.zeros(len(data.ids) + 1, packaged().config.dim)  # the last row: padding
    for rows in sorted_batches(data.lengths, 1_400):
        ids, mask, _ = data.batch(rows)
        before_last = packaged()(ids, mask, output_hidden_states=True).hidden_states[-2]
        for row, state in zip(rows, before_last):
            start, size = int(data.starts[row]), int(data.lengths[row])
            states[start : start + size] = state[:size]
    places = [range(int(s), int(s + n)) for s, n in zip(data.starts, data.lengths)]
    return Encoded(places, answers, pad_id=len(data.ids)), Lookup(states)


def last_block(model: DistilBertForSequenceClassification) -> DistilBertModel:
    """The model's encoder, left with its last block alone; its embeddings are to be a Lookup."""
    encoder: Any = model.distilbert
    encoder.check_inputs = False
    encoder.transformer["layer"] = encoder.transformer["layer"][-1:]
    return encoder


class OtherOrder(Steps):
    """Steps whose texts are drawn without a look at their lengths, or run from short to long."""

    def __init__(self, lengths: np.ndarray, step_size: int, seed: int, order: str) -> None:
        super().__init__(lengths, step_size, seed)
        self.order = order

    def of_epoch(self, epoch: int) -> list[np.ndarray]:
        rows = np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))
        if self.order == "short to long":
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
        return np.split(rows, range(self.step_size, len(rows), self.step_size))


def make_steps(lengths: np.ndarray, seed: int, order: str) -> Steps:
    if order == "by length":
        return Steps(lengths, BATCH, seed)
    return OtherOrder(lengths, BATCH, seed, order)


def fine_tune(change: Change, seed: int) -> Ran:
    """Train the last block and a new head with the program's own loop, and measure them."""
    texts, states = frozen("train")
    torch.manual_seed(seed)  # the head's first weights
    model = DistilBertForSequenceClassification.from_pretrained(
        "demo", num_labels=6, new_head=True, **({} if change.dropout else NO_DROPOUT)
    )
    encoder: Any = last_block(model)
    encoder.embeddings = states
    optimizer = make_optimizer(model, change.rate, change.decay)
    if change.decay_all:
        optimizer.param_groups[1]["weight_decay"] = change.decay
    steps = make_steps(texts.lengths, seed, change.order)
    total = EPOCHS * steps.per_epoch
    update = Update(optimizer, LossScale(CPU), total, change.schedule, change.warmup)
    with patch.object(optim, "MAX_GRAD_NORM", change.max_norm):
        job = Job(model, update, texts, steps, CPU)
        log = np.array([values.tolist() for _, values in train_steps(job) if values is not None])
    right = []
    for split in HELD_OUT:
        texts, encoder.embeddings = frozen(split)
        answers = predict_logits(model, texts, CPU, title=None).argmax(1)
        right.append(answers == labels(split))
    return Ran(float(np.concatenate(right).mean()), log[:, 0], log[:, 2])


def training() -> str:
    """Warm-up, falling rate, clipping, decay, dropout, order: what each is worth on the demo."""
    ran = {change: [fine_tune(change, seed) for seed in SEEDS] for change in CHANGES}
    draw_curves(ran)
    rows = []
    for change, runs in ran.items():
        accuracy = np.array([run.accuracy for run in runs])
        usual = np.array([run.accuracy for run in ran[Change("usual", change.rate)]])
        gain = accuracy - usual  # seed by seed: the same head and, mostly, the same batches
        error = gain.std(ddof=1) / math.sqrt(len(gain))
        last_epoch = np.mean([run.losses[-len(run.losses) // EPOCHS :] for run in runs])
        clipped = np.mean([run.norms > optim.MAX_GRAD_NORM for run in runs])
        rows.append(
            [
                f"{change.rate:g}",
                change.name,
                f"{accuracy.mean():.3f} ± {accuracy.std(ddof=1):.3f}",
                "" if change.name == "usual" else f"{gain.mean():+.3f} ± {error:.3f}",
                f"{last_epoch:.2f}",
                f"{clipped:.0%}",
            ]
        )
    header = ["rate", "changed", "accuracy", "gain", "training loss", "norm above 1"]
    return table(header, rows, n_text=2)


def draw_curves(ran: dict[Change, list[Ran]]) -> None:
    """The training losses at the high rate, mean of the seeds and of 12 steps, as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "why", "font.size": 10}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    for change, runs in ran.items():
        if change.rate == HIGH:
            losses = np.mean([run.losses for run in runs], axis=0)
            blocks = [losses[i : i + 12].mean() for i in range(0, len(losses) - 11, 12)]
            axes.plot(np.arange(len(blocks)) * 12 + 6, blocks, label=change.name)
    axes.axhline(math.log(6), color="gray", linewidth=0.8, linestyle=":")
    axes.set(xlabel="step", ylabel="training loss")
    axes.legend(frameon=False)
    if "--save" in sys.argv:
        figure.savefig(CURVES, metadata={"Date": None})
    pyplot.close(figure)


# Numbers and batches.


def precision() -> str:
    """What float32, bf16 and fp16 keep of a loss, of gradients and of an update."""
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification.from_pretrained("demo", num_labels=6, new_head=True)
    model(*encoded()["train"].batch(np.arange(32))).loss.backward()
    grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    grads = grads[grads != 0]  # most words of the vocabulary are in no text of the batch
    weights = torch.cat([p.detach().flatten() for p in model.distilbert.transformer.parameters()])
    logits, targets = 4 * torch.randn(1_000, 6), torch.arange(1_000) % 6
    columns = []
    for dtype in DTYPES.values():
        limits, rounded = torch.finfo(dtype), logits.to(dtype)
        losses = F.cross_entropy(rounded, targets, reduction="none")
        exact = F.cross_entropy(rounded.double(), targets, reduction="none")
        kept = weights.to(dtype)
        columns.append(
            {
                "distance from 1 to the next larger number": f"{limits.eps:.1e}",
                "largest number": f"{limits.max:.1e}",
                "smallest number above 0": f"{limits.smallest_normal * limits.eps:.1e}",
                "largest error of 1,000 losses": f"{(losses - exact).abs().max():.1e}",
                "gradients that become 0": share(grads.to(dtype) == 0),
                "gradients / 100 that become 0": share((grads / 100).to(dtype) == 0),
                "gradients / 100 x 65,536 that become 0": share((grads * 655.36).to(dtype) == 0),
                "gradients x 65,536 that overflow": share((grads * 65_536).to(dtype).isinf()),
                "weights that a step of 2e-5 does not move": share(kept - 2e-5 == kept),
            }
        )
    return table(["", *DTYPES], [[name, *(c[name] for c in columns)] for name in columns[0]])


def share(values: Tensor) -> str:
    return f"{values.double().mean():.2%}"


@torch.inference_mode()
def padding() -> str:
    """Texts beside longer ones, with the attention mask and without it."""
    data, model = encoded()["validation"], packaged()
    apart = {"with the mask": 0.0, "without it": 0.0}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in apart}
    for rows in np.split(np.arange(len(data)), len(data) // 20):
        ids, mask, _ = data.batch(rows)
        assert mask is not None  # 20 texts as they come are never of one length
        together = {"with the mask": model(ids, mask)[0], "without it": model(ids)[0]}
        for name, states in together.items():
            answers[name].append(mean_probe().predict(mean_of_tokens(states, mask).numpy()))
            for row, size, state in zip(rows, data.lengths[rows], states):
                alone = model(data.batch(np.array([row]))[0])[0][0]
                apart[name] = max(apart[name], float((state[:size] - alone).abs().max()))
    lines = []
    for name, given in answers.items():
        accuracy = np.mean(np.concatenate(given) == labels("validation"))
        lines.append([name, f"{apart[name]:.1e}", f"{accuracy:.4f}"])
    header = ["20 texts, padded", "largest difference from the text alone", "accuracy of a probe"]
    return table(header, lines)


def batches() -> str:
    """Batches by length beside shuffled ones: padding, and who meets whom."""
    lengths, rows = encoded()["train"].lengths, []
    for order in ("by length", "shuffled", "short to long"):
        shares, spreads, heaviest = [], [], []
        for seed in SEEDS:
            steps = make_steps(lengths, seed, order).of_epoch(0)
            whole = [step for step in steps if len(step) == BATCH]
            shares.append(padding_share(lengths, steps))
            spreads += [lengths[step].std() for step in whole]
            heaviest += [np.bincount(labels("train")[step]).max() for step in whole]
        cells = [f"{np.mean(shares):.1%}", f"{np.mean(spreads):.1f}", f"{np.mean(heaviest):.2f}"]
        rows.append([order, *cells])
    header = ["batches of 16", "padding", "spread of lengths", "texts of the commonest class"]
    return table(header, rows)


# Features and tokens.


def pooling() -> str:
    """A probe on [CLS] and on the mean of the tokens, layer by layer."""
    records = probe_layers(layer_features(), {split: labels(split) for split in encoded()})
    found = {
        (r["layer"], r["pooling"]): (r["eval_accuracy"] + r["test_accuracy"]) / 2 for r in records
    }
    layers = sorted({layer for layer, _ in found})
    rows = [
        ["embeddings" if layer == 0 else f"block {layer}"]
        + [f"{found[layer, pool]:.3f}" for pool in ("cls", "mean")]
        for layer in layers
    ]
    return table(["hidden states after", "[CLS]", "mean of the tokens"], rows)


@ignore_warnings(category=ConvergenceWarning)
def stopping() -> str:
    """The probe's L-BFGS stopped early, where it stops by itself, and near the end."""
    x = {split: states[:, -1, 1] for split, states in layer_features().items()}
    x["held out"] = np.concatenate([x[split] for split in HELD_OUT])
    y = {"train": labels("train"), "held out": np.concatenate([labels(s) for s in HELD_OUT])}
    stops: list[tuple[str, dict]] = [
        *((f"after {n}", {"max_iter": n, "tol": 0}) for n in (1, 3, 10, 30)),
        ("gradient below 1e-4 (ours)", {"max_iter": 1_000}),
        ("gradient below 1e-8", {"max_iter": 100_000, "tol": 1e-8}),
        ("penalty x 1,000, below 1e-8", {"max_iter": 100_000, "tol": 1e-8, "C": 1e-3}),
    ]
    rows = []
    for name, how in stops:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(**how))
        classifier.fit(x["train"], y["train"])
        cells = [str(classifier[-1].n_iter_.max())]
        for split, answers in y.items():
            cells.append(f"{log_loss(answers, classifier.predict_proba(x[split])):.3f}")
            cells.append(f"{classifier.score(x[split], answers):.3f}")
        rows.append([name, *cells])
    columns = ["training loss", "training accuracy", "loss, held out", "accuracy, held out"]
    return table(["stopped", "iterations", *columns], rows)


def tokens() -> str:
    """Characters, words and WordPiece: vocabulary against sequence length."""
    wordpiece = WordPieceTokenizer.from_pretrained("demo")
    sets = {"demo": demo()}
    if (EMOTION / "train.txt").exists():
        sets["emotion"] = emotion()
    rows = []
    for title, data in sets.items():
        texts = {split: data.splits[split]["text"] for split in ("train", "test")}
        for name, cut in (
            ("characters", characters),
            ("words", words),
            ("WordPiece", wordpiece.tokenize),
        ):
            parts = {split: [cut(text) for text in texts[split]] for split in texts}
            seen = {token for text in parts["train"] for token in text}
            vocabulary = set(wordpiece.vocab) if name == "WordPiece" else seen
            unknown = [t not in vocabulary or t == "[UNK]" for text in parts["test"] for t in text]
            lengths = [len(text) for text in parts["train"]]
            cells = [f"{len(vocabulary):,}", f"{len(vocabulary) * packaged().config.dim:,}"]
            cells += [f"{np.mean(lengths):.1f}", str(max(lengths)), f"{np.mean(unknown):.2%}"]
            rows.append([title, name, *cells])
    columns = ["vocabulary", "x 384 numbers", "tokens per text", "longest", "unknown, test"]
    return table(["texts", "token", *columns], rows, n_text=2)


MODEL = (scores, depth, gelu)
OPTIMISER = (decay, decay_sizes, bias_correction, training)
DATA = (precision, padding, batches, pooling, stopping, tokens)
EXPERIMENTS = {function.__name__: function for function in MODEL + OPTIMISER + DATA}


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    if unknown := set(names) - EXPERIMENTS.keys():
        sys.exit(f"no experiment {', '.join(unknown)}; there are: {', '.join(EXPERIMENTS)}")
    for name in names or EXPERIMENTS:
        print(f"\n{name}")
        publish(f"why_{name}", EXPERIMENTS[name]())
    publish("why", environment("torch", "scikit-learn"))
