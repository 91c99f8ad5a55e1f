"""Checkpoints as the world publishes them: equal to transformers, or refused by name."""

import json
import re
from pathlib import Path

import pytest

import minibert
from tests import checkpoints
from tests.checkpoints import CASES, NAMES, PAGE, Case, difference, labelled, page


@pytest.mark.parametrize("case", [c for c in CASES if not c.refusal], ids=lambda c: c.title)
def test_it_loads_and_is_equal_to_transformers(case: Case, tmp_path: Path) -> None:
    theirs = case.make(tmp_path)
    assert difference(case.load(tmp_path), theirs) <= 2e-5


@pytest.mark.parametrize("case", [c for c in CASES if c.refusal], ids=lambda c: c.title)
def test_it_is_refused_by_name(case: Case, tmp_path: Path) -> None:
    case.make(tmp_path)
    with pytest.raises((ValueError, OSError), match=re.escape(case.refusal)):
        case.load(tmp_path)


def test_a_bert_classifier_answers_with_its_own_labels(tmp_path: Path) -> None:
    labelled(checkpoints.bert)(tmp_path)
    model = minibert.load_classifier(tmp_path)
    assert isinstance(model, minibert.BertForSequenceClassification)
    assert model.config.label_names == [*NAMES.values()]
    with pytest.raises(ValueError, match="a BERT classifier is not saved"):
        model.save_pretrained(tmp_path / "again")


def test_a_new_head_is_new_whatever_the_file_has(tmp_path: Path) -> None:
    labelled(checkpoints.distilbert)(tmp_path)
    model = checkpoints.with_new_head(tmp_path)
    assert model.fresh and all("classifier" in name for name in model.fresh)
    assert len(model.config.label_names) == 12


def test_a_shard_that_is_missing_or_an_index_that_leads_astray_is_refused(tmp_path: Path) -> None:
    (sharded,) = (case for case in CASES if case.title.startswith("sharded"))
    sharded.make(tmp_path)
    shard = sorted(tmp_path.glob("*.safetensors"))[0]
    index = tmp_path / "model.safetensors.index.json"
    text = index.read_text()
    promised = json.loads(text)
    promised["weight_map"]["classifier.more"] = shard.name
    index.write_text(json.dumps(promised))
    with pytest.raises(
        ValueError, match=rf"{re.escape(shard.name)} has no classifier\.more, which"
    ):
        sharded.load(tmp_path)
    index.write_text(text)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(shard.name)):
        sharded.load(tmp_path)
    index.write_text(text.replace(shard.name, f"../{shard.name}"))
    with pytest.raises(ValueError, match="is not the name of a safetensors file"):
        sharded.load(tmp_path)
    index.write_text('{"weight_map": {"a": []}}')
    with pytest.raises(ValueError, match=r"\[\] is not the name of a safetensors file"):
        sharded.load(tmp_path)
    index.write_text('{"weight_map": {}}')
    with pytest.raises(ValueError, match="no weight_map"):
        sharded.load(tmp_path)


def test_the_page_is_what_the_cases_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.checkpoints"
