"""Which checkpoints load, and which are refused: made here, tried in tests/test_what_loads.py.

python -m tests.checkpoints writes the table docs/CHECKPOINTS.md.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import minibert
from tests import ROOT
from tests.parity import wake_up
from tests.tiny import IDS, MASK, SIZES

PAGE = ROOT / "docs" / "CHECKPOINTS.md"
BERT_SIZES = {
    "vocab_size": SIZES["vocab_size"],
    "max_position_embeddings": SIZES["max_position_embeddings"],
    "num_hidden_layers": SIZES["n_layers"],
    "num_attention_heads": SIZES["n_heads"],
    "hidden_size": SIZES["dim"],
    "intermediate_size": SIZES["hidden_dim"],
}
NAMES = {0: "no", 1: "perhaps", 2: "yes"}
Load = Callable[[Path], nn.Module]


class Case(NamedTuple):
    """A checkpoint: how it is made, how it is loaded, and the refusal's words ("" where it loads).

    make(folder) writes it and returns the reference model of transformers."""

    title: str
    make: Callable[[Path], nn.Module]
    load: Load
    refusal: str = ""


def distilbert(folder: Path, kind: str = "Model", save: dict | None = None, **fields: Any) -> Any:
    config = transformers.DistilBertConfig(**SIZES, **fields)
    return saved(getattr(transformers, f"DistilBert{kind}")(config), folder, **(save or {}))


def bert(folder: Path, kind: str = "Model", **fields: Any) -> Any:
    config = transformers.BertConfig(**BERT_SIZES, **fields)
    return saved(getattr(transformers, f"Bert{kind}")(config), folder)


def saved(model: Any, folder: Path, **save: Any) -> Any:
    """The model with shaken weights, saved as transformers saves it."""
    wake_up(model).eval().save_pretrained(folder, **save)
    return model


def edit_config(folder: Path, **fields: Any) -> None:
    """Set fields of config.json; ... removes one."""
    file = folder / "config.json"
    found = json.loads(file.read_text(encoding="utf-8")) | fields
    kept = {name: value for name, value in found.items() if value is not ...}
    file.write_text(json.dumps(kept), encoding="utf-8")


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def edited(make: Callable[[Path], Any], **fields: Any) -> Callable[[Path], Any]:
    """A maker whose config.json is changed after saving."""

    def make_and_edit(folder: Path) -> Any:
        model = make(folder)
        edit_config(folder, **fields)
        return model

    return make_and_edit


def half(dtype: torch.dtype) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:
        model = distilbert(folder).to(dtype)
        model.save_pretrained(folder)
        return model.float()

    return make


def old_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """TensorFlow's gamma and beta for the weight and bias of every LayerNorm."""
    renamed = {}
    for name, tensor in tensors.items():
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        renamed[name] = tensor
    return renamed


def with_old_names(folder: Path) -> Any:
    model = bert(folder)
    edit_tensors(folder, old_names)
    return model


def pickled(folder: Path) -> Any:
    model = distilbert(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return model


def diverged(folder: Path) -> Any:
    model = distilbert(folder)

    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors["transformer.layer.1.ffn.lin2.bias"][3] = float("nan")
        return tensors

    edit_tensors(folder, change)
    return model


def other(model_type: str) -> Callable[[Path], Any]:
    """A model of another kind: config.json alone, for its weights must not even be asked for."""

    def make(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        return None

    return make


def labelled(maker: Callable[..., Any], **fields: Any) -> Callable[[Path], Any]:
    """A maker of a classifier with three named labels."""
    labels = {"id2label": NAMES, "label2id": {name: i for i, name in NAMES.items()}}
    return lambda folder: maker(folder, "ForSequenceClassification", **(labels | fields))


def with_new_head(folder: Path) -> nn.Module:
    names = {i: f"topic {i}" for i in range(12)}
    return minibert.DistilBertForSequenceClassification.from_pretrained(
        folder, new_head=True, id2label=names
    )


ENCODER: Load = minibert.DistilBertModel.from_pretrained
MASKED_LM: Load = minibert.DistilBertForMaskedLM.from_pretrained
CLASSIFIER: Load = minibert.load_classifier
# What a config.json of 2019 holds (google/bert_uncased_L-2_H-128_A-2): neither model_type nor more.
KEPT_IN_2019 = {*BERT_SIZES, "hidden_act", "initializer_range", "type_vocab_size"}
KEPT_IN_2019 |= {"hidden_dropout_prob", "attention_probs_dropout_prob"}
DROPPED_IN_2019: dict[str, Any] = {
    name: ... for name in transformers.BertConfig().to_dict() if name not in KEPT_IN_2019
}
ALIASED: dict[str, Any] = {"dim": ..., "n_layers": ..., "n_heads": ...}
ALIASED |= {n: BERT_SIZES[n] for n in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
NULLS = {"pad_token_id": None, "initializer_range": None, "dropout": None, "id2label": None}

CASES = [
    Case("DistilBERT, encoder", distilbert, ENCODER),
    Case("DistilBERT, masked LM", lambda f: distilbert(f, "ForMaskedLM"), MASKED_LM),
    Case("DistilBERT, classifier", labelled(distilbert), CLASSIFIER),
    Case(
        "sharded safetensors (model.safetensors.index.json)",
        lambda f: distilbert(f, save={"max_shard_size": "4KB"}),
        ENCODER,
    ),
    Case("bf16 weights: loaded as float32", half(torch.bfloat16), ENCODER),
    Case("fp16 weights: loaded as float32", half(torch.float16), ENCODER),
    Case("config.json with alias names (hidden_size, ...)", edited(distilbert, **ALIASED), ENCODER),
    Case("config.json with nulls", edited(distilbert, **NULLS), ENCODER),
    Case(
        "id2label as a list, without label2id",
        edited(labelled(distilbert), id2label=[*NAMES.values()], label2id=...),
        CLASSIFIER,
    ),
    Case(
        "label2id alone",
        edited(labelled(distilbert), id2label=...),
        CLASSIFIER,
    ),
    Case("BERT, encoder (token types folded)", bert, ENCODER),
    Case("BERT, masked LM", lambda f: bert(f, "ForMaskedLM"), MASKED_LM),
    Case("BERT, classifier with its pooler", labelled(bert), CLASSIFIER),
    Case("BERT with gamma and beta for LayerNorm's weight and bias", with_old_names, ENCODER),
    Case("BERT, config.json of 2019 without model_type", edited(bert, **DROPPED_IN_2019), ENCODER),
    Case(
        "classifier of 3 labels for 12 others, new_head=True: the encoder",
        labelled(distilbert),
        with_new_head,
    ),
    Case(
        "classifier of 3 labels for 12 others without new_head",
        labelled(distilbert),
        lambda f: minibert.DistilBertForSequenceClassification.from_pretrained(f, num_labels=12),
        "classifier.weight has shape (3, 8), but by num_labels it should be (12, 8); for other "
        "labels take new_head=True (--new-head)",
    ),
    Case(
        "multi-label classifier (problem_type)",
        labelled(distilbert, problem_type="multi_label_classification"),
        CLASSIFIER,
        "problem_type is multi_label_classification",
    ),
    Case(
        "a single output (regression)",
        lambda f: distilbert(f, "ForSequenceClassification", num_labels=1),
        CLASSIFIER,
        "problem_type is regression",
    ),
    Case("no classifier in the file", distilbert, CLASSIFIER, "has no trained classifier"),
    Case(
        "two labels of one name",
        edited(labelled(distilbert), id2label={"0": "a", "1": "a", "2": "b"}, label2id=...),
        CLASSIFIER,
        "id2label has 'a' more than once: labels need different names",
    ),
    Case(
        "NaN or infinite weights",
        diverged,
        ENCODER,
        "transformer.layer.1.ffn.lin2.bias holds NaN or infinity",
    ),
    Case("pytorch_model.bin alone", pickled, ENCODER, "convert them to safetensors"),
    *(
        Case(
            f"{title}: refused before weights are fetched",
            other(model_type),
            ENCODER,
            f"model_type '{model_type}': only distilbert and bert can be loaded",
        )
        for title, model_type in (
            ("RoBERTa", "roberta"),
            ("ALBERT", "albert"),
            ("MobileBERT", "mobilebert"),
        )
    ),
]


def difference(ours: nn.Module, theirs: nn.Module) -> float:
    """Largest difference on a padded batch: of the logits or, where the heads differ, of the last
    hidden states at real tokens."""
    with torch.no_grad():
        actual = ours(IDS, MASK)
        expected = theirs(IDS, attention_mask=MASK)
        if hasattr(actual, "logits") and actual.logits.shape == expected.logits.shape:
            return float((actual.logits - expected.logits).abs().max())
        encoder = getattr(ours, "distilbert", ours)
        base = getattr(theirs, theirs.base_model_prefix, theirs)
        states = encoder(IDS, MASK).last_hidden_state, base(IDS, attention_mask=MASK)[0]
    return float((states[0] - states[1])[MASK.bool()].abs().max())


def tried(case: Case, folder: Path) -> str:
    """What came of it, in words: the second column of the table."""
    theirs = case.make(folder)
    try:
        ours = case.load(folder)
    except (ValueError, OSError) as error:
        return f"refused: {str(error).replace(str(folder), '.').splitlines()[0]}"
    worst = difference(ours, theirs)
    return "loads, equal" if worst <= 2e-5 else f"loads, but differs by {worst:.1e}"


def page() -> str:
    """docs/CHECKPOINTS.md, from trying every case."""
    rows = []
    for case in CASES:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            rows.append(f"| {case.title} | {tried(case, Path(folder) / 'model')} |")
    return "\n".join(
        [
            "# Which checkpoints load",
            "",
            "Written by `python -m tests.checkpoints`, which makes each checkpoint with",
            "`transformers` (or by hand), loads it here, and compares logits or hidden states in",
            "float32: *equal* means within 2e-5. Whatever is refused is refused with these words.",
            "",
            "| checkpoint | what happens |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
