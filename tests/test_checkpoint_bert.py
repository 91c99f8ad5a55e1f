"""A BERT is a DistilBERT here: folded exactly, whatever the folder, or refused by name."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from minibert import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel
from minibert.bert import translate_name
from tests.parity import wake_up
from tests.tiny import IDS, MASK


def bert(kind: str, folder: Path, **fields):
    """A random BERT in float64, saved in float32. Its numbers are multiples of 1/256, so that
    float32 holds the folded sums exactly, and a difference in float64 would be a mistake."""
    config = transformers.BertConfig(
        vocab_size=50,
        max_position_embeddings=16,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=20,
        **fields,
    )
    config._attn_implementation = "eager"
    model = wake_up(getattr(transformers, kind)(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 256).round() / 256)
    model.save_pretrained(folder)
    return model.double()


@pytest.mark.parametrize(
    "fields",
    [{}, {"hidden_act": "relu"}, {"type_vocab_size": 1}, {"type_vocab_size": 5}],
    ids=str,
)
def test_a_folded_bert_is_that_bert_in_float64(tmp_path: Path, fields: dict) -> None:
    theirs = bert("BertModel", tmp_path, **fields)
    ours = DistilBertModel.from_pretrained(tmp_path).double()
    keywords = {"output_hidden_states": True, "output_attentions": True}
    actual = ours(IDS, MASK, **keywords)
    expected = theirs(IDS, MASK, **keywords)
    for name in ("hidden_states", "attentions"):
        for a, e in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert_close(a, e, rtol=0, atol=1e-10)


def test_a_fold_without_the_token_types_would_be_seen(tmp_path: Path) -> None:
    theirs = bert("BertModel", tmp_path)
    with torch.no_grad():
        theirs.embeddings.token_type_embeddings.weight[0] = 0
    ours = DistilBertModel.from_pretrained(tmp_path).double()
    difference = ours(IDS, MASK).last_hidden_state - theirs(IDS, MASK).last_hidden_state
    assert difference.abs().max() > 1e-3


def test_berts_masked_lm_head_comes_along(tmp_path: Path, caplog) -> None:
    theirs = bert("BertForMaskedLM", tmp_path)
    ours = DistilBertForMaskedLM.from_pretrained(tmp_path).double()
    assert_close(ours(IDS, MASK).logits, theirs(IDS, MASK).logits, rtol=0, atol=1e-10)
    assert not [record for record in caplog.records if record.name.startswith("minibert")]


def test_berts_classifier_reads_its_pooler_and_does_not_come_along(tmp_path, caplog) -> None:
    bert("BertForSequenceClassification", tmp_path)
    DistilBertForSequenceClassification.from_pretrained(tmp_path)
    (message,) = [r.getMessage() for r in caplog.records if r.name.startswith("minibert")]
    assert "pre_classifier.weight" in message and "classifier.bias" in message


def test_a_folded_bert_is_saved_as_a_distilbert(tmp_path: Path) -> None:
    bert("BertModel", tmp_path / "bert")
    ours = DistilBertModel.from_pretrained(tmp_path / "bert")
    ours.save_pretrained(tmp_path / "ours")
    assert json.loads((tmp_path / "ours/config.json").read_text())["model_type"] == "distilbert"
    again = transformers.DistilBertModel.from_pretrained(tmp_path / "ours")
    expected = ours(IDS, MASK).last_hidden_state
    assert_close(again(IDS, MASK).last_hidden_state, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_bert_is_folded_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    bert("BertModel", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    save_file(tensors, file)
    positions = DistilBertModel.from_pretrained(tmp_path).embeddings.position_embeddings.weight
    expected = (
        tensors["embeddings.position_embeddings.weight"].float()
        + tensors["embeddings.token_type_embeddings.weight"][0].float()
    )
    assert torch.equal(positions, expected)


def test_a_berts_model_type_may_be_null(tmp_path: Path) -> None:
    theirs = bert("BertModel", tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text()) | {"model_type": None}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    actual = DistilBertModel.from_pretrained(tmp_path).double()(IDS, MASK).last_hidden_state
    assert_close(actual, theirs(IDS, MASK).last_hidden_state, rtol=0, atol=1e-10)


def test_a_bert_without_token_types_is_refused_by_name(tmp_path: Path) -> None:
    bert("BertModel", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["embeddings.token_type_embeddings.weight"]
    save_file(tensors, file)
    with pytest.raises(ValueError, match=r"no tensor embeddings\.token_type_embeddings"):
        DistilBertModel.from_pretrained(tmp_path)


def test_a_bert_that_calls_itself_a_distilbert_is_refused(tmp_path: Path) -> None:
    theirs = bert("BertModel", tmp_path / "bert")
    DistilBertModel.from_pretrained(tmp_path / "bert").save_pretrained(tmp_path / "ours")
    theirs.float().save_pretrained(tmp_path / "weights")
    (tmp_path / "weights/config.json").write_text((tmp_path / "ours/config.json").read_text())
    with pytest.raises(ValueError, match=r"model\.safetensors: no tensor transformer\.layer"):
        DistilBertModel.from_pretrained(tmp_path / "weights")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "bert.encoder.layer.11.attention.self.key.bias",
            "transformer.layer.11.attention.k_lin.bias",
        ),
        ("encoder.layer.0.output.LayerNorm.gamma", "transformer.layer.0.output_layer_norm.gamma"),
        (
            "encoder.layer.0.attention.output.dense.bias",
            "transformer.layer.0.attention.out_lin.bias",
        ),
        ("cls.predictions.bias", "vocab_projector.bias"),
        ("my_output.dense.weight", "my_output.dense.weight"),
    ],
)
def test_names_are_translated_as_whole_parts(theirs: str, ours: str) -> None:
    assert translate_name(theirs) == ours
