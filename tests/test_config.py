"""config.json: what is wrong with it is said by field, and labels never contradict themselves."""

import json
from pathlib import Path

import pytest
import transformers

from minibert import DistilBertConfig

OFFICIAL = """{
  "activation": "gelu",
  "architectures": [
    "DistilBertForMaskedLM"
  ],
  "attention_dropout": 0.1,
  "dim": 768,
  "dropout": 0.1,
  "hidden_dim": 3072,
  "initializer_range": 0.02,
  "max_position_embeddings": 512,
  "model_type": "distilbert",
  "n_heads": 12,
  "n_layers": 6,
  "pad_token_id": 0,
  "qa_dropout": 0.1,
  "seq_classif_dropout": 0.2,
  "sinusoidal_pos_embds": false,
  "tie_weights_": true,
  "transformers_version": "4.10.0.dev0",
  "vocab_size": 30522
}
"""
BERT = {
    "model_type": "bert",
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_act": "relu",
}


def read(folder: Path, fields: dict | str, **overrides) -> DistilBertConfig:
    file = folder / "config.json"
    file.write_text(fields if isinstance(fields, str) else json.dumps(fields), encoding="utf-8")
    return DistilBertConfig.from_json(file, **overrides)


def test_the_defaults_are_the_official_checkpoint(tmp_path: Path) -> None:
    assert read(tmp_path, OFFICIAL) == DistilBertConfig()


def test_a_config_comes_back_from_its_own_json(tmp_path: Path) -> None:
    config = DistilBertConfig(dim=24, n_heads=3, activation="relu", id2label={0: "Ärger", 1: "喜"})
    text = config.to_json("DistilBertModel")
    assert read(tmp_path, text) == config
    assert "Ärger" in text and "喜" in text


def test_transformers_reads_the_same_from_our_json() -> None:
    config = DistilBertConfig(dim=24, n_heads=3, num_labels=4)
    theirs = transformers.DistilBertConfig.from_dict(json.loads(config.to_json("DistilBertModel")))
    for name, value in vars(config).items():
        assert getattr(theirs, name) == value, name


@pytest.mark.parametrize("name", ["vocab_size", "n_layers", "n_heads", "dim", "hidden_dim"])
@pytest.mark.parametrize("value", ["12", 0, -1, 2.0, True, None])
def test_a_size_that_is_no_positive_whole_number_is_refused_by_name(name, value) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        DistilBertConfig(**{name: value})


@pytest.mark.parametrize("value", ["0.1", -0.1, 1.5, None, float("nan"), True])
@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "seq_classif_dropout"])
def test_a_rate_outside_0_to_1_is_refused_by_name(name, value) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1"):
        DistilBertConfig(**{name: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": 10, "n_heads": 3}, "dim 10 cannot be split over n_heads 3"),
        ({"activation": "swish"}, "activation must be one of .*gelu.*, not 'swish'"),
        ({"activation": None}, "activation must be one of"),
        ({"pad_token_id": 30522}, "pad_token_id"),
        ({"pad_token_id": -1}, "pad_token_id"),
        ({"num_labels": 0}, "num_labels must be a whole number"),
        ({"num_labels": 10**12}, "num_labels must be at most"),
        ({"num_labels": "2"}, "num_labels"),
        ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, "num_labels is 3, but 2 are named"),
        ({"id2label": {1: "a", 2: "b"}}, r"from 0, not \[1, 2\]"),
        ({"id2label": {0: "a", 1: "a"}}, "'a' more than once"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "contradict"),
        ({"id2label": "ab"}, "id2label must map numbers to names"),
        ({"problem_type": "ranking"}, "problem_type must be one of"),
        ({"id2label": {"x": "a"}}, "id2label must map numbers to names"),
        ({"label2id": {"a": float("inf")}}, "label2id the reverse"),
    ],
)
def test_fields_that_make_no_sense_are_refused_by_name(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        DistilBertConfig(**fields)


def test_a_misspelt_field_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="n_layer"):
        DistilBertConfig(n_layer=3)
    with pytest.raises(TypeError, match="n_layer"):
        read(tmp_path, OFFICIAL, n_layer=3)


# Labels


def test_labels_are_numbered_by_whichever_field_is_given() -> None:
    names = {0: "sadness", 1: "joy", 2: "love"}
    for config in (
        DistilBertConfig(num_labels=3, id2label=names),
        DistilBertConfig(id2label={str(i): label for i, label in names.items()}),
        DistilBertConfig(label2id={"love": 2, "sadness": 0, "joy": 1}),
    ):
        assert config.num_labels == 3
        assert config.id2label == names
        assert config.label2id == {"sadness": 0, "joy": 1, "love": 2}


def test_labels_without_names_get_transformers_names() -> None:
    assert DistilBertConfig(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert DistilBertConfig().num_labels == 2


def test_new_labels_replace_the_files_labels_all_together(tmp_path: Path) -> None:
    fields = json.loads(OFFICIAL) | {"id2label": {"0": "no", "1": "yes"}}
    assert read(tmp_path, fields).label2id == {"no": 0, "yes": 1}
    config = read(tmp_path, fields, num_labels=6)
    assert config.label2id == {f"LABEL_{i}": i for i in range(6)}


def test_what_is_not_given_stays_the_files(tmp_path: Path) -> None:
    fields = json.loads(OFFICIAL) | {
        "id2label": {"0": "no", "1": "yes"},
        "problem_type": "multi_label_classification",
    }
    for given in ({"num_labels": 2}, {"num_labels": None}, {"dropout": 0.5}):
        config = read(tmp_path, fields, **given)
        assert config.label_names == ["no", "yes"]
        assert config.problem_type == "multi_label_classification"
    config = read(tmp_path, fields, problem_type="single_label_classification")
    assert config.label_names == ["no", "yes"] and config.check_single_label() is None
    assert read(tmp_path, fields, num_labels=3).problem_type == "multi_label_classification"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"id2label": {"0": "a", 0: "b"}}, "names an id twice"),
        ({"id2label": {"0": "x", "00": "a", "1": "b"}}, "must map numbers to names"),
        ({"id2label": {1.7: "a", 0: "b"}}, "must map numbers to names"),
        ({"id2label": {"0": None, "1": "b"}}, "must map numbers to names"),
        ({"id2label": {"0": ["a"], "1": "b"}}, "must map numbers to names"),
        ({"label2id": {"a": 0.9, "b": 1.2}}, "must map numbers to names"),
        ({"label2id": {"a": True, "b": False}}, "must map numbers to names"),
        ({"num_labels": 2.0, "id2label": {"0": "a", "1": "b"}}, "num_labels must be a whole"),
        ({"num_labels": "2", "id2label": {"0": "a", "1": "b"}}, "num_labels must be a whole"),
    ],
    ids=str,
)
def test_labels_are_not_repaired(fields, error) -> None:
    with pytest.raises(ValueError, match=error):
        DistilBertConfig(**fields)


def test_a_files_id2label_wins_over_a_label2id_that_was_never_updated(tmp_path: Path) -> None:
    labels = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    assert read(tmp_path, json.loads(OFFICIAL) | labels).label2id == {"no": 0, "yes": 1}


# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ('{"dim": 768', "is not JSON"),
        ("<html></html>", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1, 2]", "holds a list, not an object"),
        ("{}", "vocab_size is missing"),
        ('{"model_type": "roberta"}', "model_type 'roberta': only distilbert and bert"),
        (OFFICIAL.replace("768", '"768"'), "dim must be a whole number"),
        (OFFICIAL.replace('  "n_heads": 12,\n', ""), "n_heads is missing"),
        (OFFICIAL.replace('"gelu"', '"gelu_new"'), "activation must be one of"),
    ],
)
def test_a_broken_file_is_named_with_its_cause(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"config.json.*{message}"):
        read(tmp_path, text)


def test_a_file_that_is_not_utf8_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        DistilBertConfig.from_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_bytes(b'{"dim": "\xff\xfe"}')
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        DistilBertConfig.from_json(tmp_path / "config.json")


def test_sinusoidal_positions_are_read_from_the_file_like_any_others(tmp_path: Path) -> None:
    text = OFFICIAL.replace('"sinusoidal_pos_embds": false', '"sinusoidal_pos_embds": true')
    assert read(tmp_path, text) == DistilBertConfig()


# BERT


def test_a_berts_fields_come_under_our_names(tmp_path: Path) -> None:
    config = read(tmp_path, BERT)
    assert (config.dim, config.n_layers, config.n_heads, config.hidden_dim) == (8, 1, 2, 24)
    assert config.activation == "relu"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("layer_norm_eps", 1e-5),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("hidden_act", "gelu_new"),
    ],
)
def test_a_bert_that_is_no_distilbert_is_refused_by_name(tmp_path: Path, field, value) -> None:
    ours = {"hidden_act": "activation"}.get(field, field)
    with pytest.raises(ValueError, match=f"config.json.*{ours}"):
        read(tmp_path, BERT | {field: value})
