"""How far the models here are from transformers': what the parity tests compare, and the table of
`make parity` (python -m tests.parity).

Every comparison runs on shaken weights: as transformers initialises them, all norms are (1, 0) and
all biases 0, and then swapped norms would go unseen.
"""

import csv
import json
import random
from dataclasses import dataclass
from itertools import islice

import torch
import transformers
from torch import Tensor, nn

import minibert
from minibert import DistilBertConfig, DistilBertModel
from tests import ROOT
from tests.benchmarks.common import environment, publish, table
from tokenizer import WordPieceTokenizer
from tokenizer.hub import demo_folder

KINDS = {
    "encoder": "DistilBertModel",
    "masked LM": "DistilBertForMaskedLM",
    "classifier": "DistilBertForSequenceClassification",
}
N_CONFIGS = 8
DEMO_SENTENCES = ROOT / "train" / "demo" / "train.csv"


@dataclass
class Batch:
    input_ids: Tensor  # (B, S)
    attention_mask: Tensor | None


def random_config(seed: int) -> DistilBertConfig:
    draw = random.Random(seed)
    n_heads = draw.choice([1, 2, 3, 4])
    return DistilBertConfig(
        vocab_size=draw.randint(40, 90),
        max_position_embeddings=draw.randint(16, 40),
        n_layers=draw.randint(1, 4),
        n_heads=n_heads,
        dim=n_heads * draw.choice([4, 8, 12]),
        hidden_dim=draw.randint(16, 96),
        activation=["gelu", "relu"][seed % 2],
        num_labels=draw.randint(2, 7),
    )


def wake_up(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that a wrong port cannot hide behind."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def twins(kind: str, config: DistilBertConfig, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Our model and transformers', with the same shaken weights."""
    torch.manual_seed(0)
    fields = json.loads(config.to_json(KINDS[kind]))
    their_config = transformers.DistilBertConfig.from_dict(fields)
    their_config._attn_implementation = "eager"  # the one that shows its attention
    theirs = wake_up(getattr(transformers, KINDS[kind])(their_config))
    ours = getattr(minibert, KINDS[kind])(config)
    ours.load_state_dict(theirs.state_dict())
    return ours.to(dtype).eval(), theirs.to(dtype).eval()


def batches(config: DistilBertConfig, seed: int) -> dict[str, Batch]:
    """Four kinds of mask, as int64, int32, bool and float; ids as int64 and int32."""
    generator = torch.Generator().manual_seed(seed)
    n_texts, length = 5, min(13, config.max_position_embeddings)
    ids = torch.randint(1, config.vocab_size, (n_texts, length), generator=generator)
    lengths = torch.tensor([length, 1, 2, length // 2, length - 1])
    right = torch.arange(length) < lengths[:, None]
    holes = torch.rand(n_texts, length, generator=generator) < 0.6
    holes[:, 0] = True  # transformers' two kinds of attention disagree on a fully masked text
    return {
        "nothing padded": Batch(ids, None),
        "padded on the right": Batch(ids.where(right, 0), right.long()),
        "padded on the left": Batch(ids.where(right.flip(1), 0).int(), right.flip(1)),
        "holes": Batch(ids.int(), holes.float()),
    }


def labels_of(kind: str, config: DistilBertConfig, batch: Batch) -> Tensor | None:
    """Labels with some -100 among them; the encoder takes none."""
    if kind == "encoder":
        return None
    generator = torch.Generator().manual_seed(1)
    masked_lm = kind == "masked LM"
    shape = batch.input_ids.shape if masked_lm else batch.input_ids.shape[:1]
    n_classes = config.vocab_size if masked_lm else config.num_labels
    labels = torch.randint(n_classes, shape, generator=generator)
    return labels.masked_fill(torch.rand(shape, generator=generator) < 0.3, -100)


def outputs(model: nn.Module, batch: Batch, labels: Tensor | None) -> dict[str, Tensor]:
    """Everything that a model gives, by name: asked for plainly, with hidden states, and with
    attentions, since each takes another way through our code."""
    found: dict[str, Tensor] = {}
    for asked in ({}, {"output_hidden_states": True}, {"output_attentions": True}):
        keywords = asked if labels is None else {**asked, "labels": labels}
        given = model(batch.input_ids, batch.attention_mask, **keywords)
        for name in ("last_hidden_state", "logits", "loss", "hidden_states", "attentions"):
            value = getattr(given, name, None)
            if isinstance(value, Tensor):
                found[f"{name} {list(asked)}"] = value
            for layer, tensor in enumerate(value if isinstance(value, tuple) else ()):
                found[f"{name} {layer}"] = tensor
    return found


def gradients(model: nn.Module, batch: Batch, labels: Tensor | None) -> dict[str, Tensor]:
    """The gradient of the loss, or, where there is none, of a fixed mix of the hidden states."""
    model.zero_grad()
    if labels is None:
        hidden = model(batch.input_ids, batch.attention_mask).last_hidden_state
        mix = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
        (hidden * mix.to(hidden.dtype)).sum().backward()
    else:
        model(batch.input_ids, batch.attention_mask, labels=labels).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def worst(actual: dict[str, Tensor], expected: dict[str, Tensor], relative: bool = False) -> float:
    """The largest difference of all tensors; relative to the largest number of its own tensor."""
    assert actual.keys() == expected.keys(), actual.keys() ^ expected.keys()
    differences = []
    for name, tensor in expected.items():
        difference = (actual[name].double() - tensor.double()).abs().max()
        # Keys are shifted by k_lin.bias all alike, so its gradient is zero but for rounding.
        scale = tensor.double().abs().max().clamp_min(1e-3) if relative else 1.0
        differences.append(float(difference / scale))
    return max(differences)


def output_difference(kind: str, seed: int, dtype: torch.dtype) -> float:
    """The largest difference of any output, over the four kinds of mask, for one random config."""
    config = random_config(seed)
    ours, theirs = twins(kind, config, dtype)
    differences = []
    with torch.no_grad():
        for batch in batches(config, seed).values():
            labels = labels_of(kind, config, batch)
            differences.append(worst(outputs(ours, batch, labels), outputs(theirs, batch, labels)))
    return max(differences)


def gradient_difference(kind: str, seed: int) -> float:
    """The same for the gradients of all parameters in float64, relative to each one's largest."""
    config = random_config(seed)
    ours, theirs = twins(kind, config, torch.float64)
    differences = []
    for batch in batches(config, seed).values():
        labels = labels_of(kind, config, batch)
        actual, expected = gradients(ours, batch, labels), gradients(theirs, batch, labels)
        differences.append(worst(actual, expected, relative=True))
    return max(differences)


def packaged_difference(dtype: torch.dtype, n_texts: int = 200) -> float:
    """Our folded MiniLM against transformers' BERT, on sentences padded in batches of 50."""
    ours = DistilBertModel.from_pretrained("demo").to(dtype)
    theirs = transformers.BertModel.from_pretrained(
        demo_folder(), add_pooling_layer=False, dtype=dtype
    ).eval()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    with DEMO_SENTENCES.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in islice(csv.DictReader(file), n_texts)]
    assert len(texts) == n_texts
    differences = []
    with torch.no_grad():
        for start in range(0, n_texts, 50):
            encoded = tokenizer(texts[start : start + 50], padding=True, return_tensors="pt")
            ids, mask = encoded["input_ids"], encoded["attention_mask"]
            actual, expected = ours(ids, mask)[0], theirs(ids, mask)[0]
            differences.append((actual.double() - expected.double())[mask.bool()].abs().max())
    return float(max(differences))


def main() -> None:
    torch.set_num_threads(1)  # small models: threads would wait for each other
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    dtypes = (torch.float64, torch.float32, torch.bfloat16)
    rows = []
    for kind in KINDS:
        figures = [max(output_difference(kind, s, d) for s in range(N_CONFIGS)) for d in dtypes]
        figures.insert(1, max(gradient_difference(kind, seed) for seed in range(N_CONFIGS)))
        rows.append([kind, *(f"{figure:.1e}" for figure in figures)])
    packaged = [f"{packaged_difference(dtype):.1e}" for dtype in dtypes]
    rows.append(["packaged MiniLM, folded", packaged[0], "", *packaged[1:]])
    header = ["largest difference", "float64", "its gradients (relative)", "float32", "bfloat16"]
    publish(
        "parity",
        f"{table(header, rows)}\n\n"
        f"{N_CONFIGS} random configurations with shaken weights, four kinds of mask, every hidden "
        "state, attention, logit and loss; the packaged weights on 200 sentences against "
        f"transformers' BERT (folding rounds once, in float32).\n"
        f"{environment('torch', 'transformers')}",
    )


if __name__ == "__main__":
    main()
