"""`python -m train trace` shows a text's whole way, and says so where there is no answer."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from minibert import (
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)
from tests.tiny import REAL_VOCABULARY, tiny
from tokenizer.hub import demo_folder
from train.options import TraceOptions
from train.trace import parameter_rows, run

TEXT = "the [MASK] of france"
CONFIG = tiny(**REAL_VOCABULARY)


def checkpoint(folder: Path, model: nn.Module) -> str:
    model.save_pretrained(folder)
    shutil.copy(demo_folder() / "vocab.txt", folder)
    return str(folder)


def printed(capsys, model: str, text: str = TEXT) -> dict[str, list[list[str]]]:
    """The sections of the output by title: their lines, split at white space."""
    run(TraceOptions(text=text, model=model, device="cpu"))
    sections = {}
    for section in capsys.readouterr().out.strip().split("\n\n"):
        title, *lines = section.split("\n")
        sections[title] = [line.split() for line in lines]
    return sections


def section(sections: dict, start: str) -> list[list[str]]:
    (title,) = [title for title in sections if title.startswith(start)]
    return sections[title]


def test_pieces_ids_shapes_and_attention_of_every_token_are_shown(tmp_path, capsys) -> None:
    sections = printed(capsys, checkpoint(tmp_path, DistilBertModel(CONFIG)))
    pieces = [["[CLS]", "101"], ["the", "1996"], ["[MASK]", "103"], ["of", "1997"]]
    assert section(sections, "Pieces") == [*pieces, ["france", "2605"], ["[SEP]", "102"]]
    shapes = [" ".join(line) for line in section(sections, "Shapes")]
    assert shapes[0].endswith("1 x 6") and shapes[1].endswith("1 x 6 x 8")
    assert shapes[-2].startswith("layer 1") and shapes[-2].endswith("1 x 4 x 6 x 6")
    attention = section(sections, "What [CLS] attends to")
    assert [line[0] for line in attention] == ["[CLS]", "the", "[MASK]", "of", "france", "[SEP]"]
    assert sum(float(line[1]) for line in attention) == pytest.approx(1, abs=1e-3)


def test_an_encoder_without_a_head_says_that_it_has_no_answer(tmp_path, capsys) -> None:
    sections = printed(capsys, checkpoint(tmp_path, DistilBertModel(CONFIG)))
    assert any("neither a masked-word head nor a classifier" in title for title in sections)


def test_a_masked_lm_shows_its_five_likeliest_fillers(tmp_path, capsys) -> None:
    model = DistilBertForMaskedLM(CONFIG)
    words = [2003, 2004, 2005, 2006, 2007]  # is, as, for, on, with
    with torch.no_grad():
        model.vocab_projector.bias[words] = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0])
    sections = printed(capsys, checkpoint(tmp_path, model))
    fillers = section(sections, "Fillers for [MASK] at position 2")
    assert [line[0] for line in fillers] == ["is", "as", "for", "on", "with"]


def test_a_masked_lm_says_when_nothing_is_masked(tmp_path, capsys) -> None:
    folder = checkpoint(tmp_path, DistilBertForMaskedLM(CONFIG))
    assert any("No [MASK] in the text" in title for title in printed(capsys, folder, "france"))


def test_a_classifier_shows_its_labels_with_their_probabilities(tmp_path, capsys) -> None:
    config = tiny(**REAL_VOCABULARY, id2label={0: "no", 1: "maybe", 2: "yes"})
    model = DistilBertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 0.0, 2.0]).log_softmax(dim=0))
    labels = section(printed(capsys, checkpoint(tmp_path, model)), "Labels")
    assert [line[0] for line in labels] == ["no", "maybe", "yes"]
    expected = torch.tensor([0.0, 0.0, 2.0]).softmax(dim=0).tolist()
    assert [float(line[1]) for line in labels] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "model_class", [DistilBertModel, DistilBertForMaskedLM, DistilBertForSequenceClassification]
)
def test_the_parameters_of_all_parts_add_up_and_a_tied_table_counts_once(model_class) -> None:
    model = model_class(CONFIG)
    *parts, (name, total) = parameter_rows(model)
    numbers = [int(count.replace(",", "")) for _, count in parts]
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert name == "all" and sum(numbers) == int(total.replace(",", "")) == expected
    assert "layer 0" in dict(parts)
