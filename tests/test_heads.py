"""The two heads: what their losses count, and the one table under two names."""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minibert import DistilBertForMaskedLM, DistilBertForSequenceClassification
from tests.parity import wake_up
from tests.tiny import TINY

IDS = torch.tensor([[2, 11, 3], [2, 12, 3]])


def test_the_word_embeddings_are_the_projection() -> None:
    model = DistilBertForMaskedLM(TINY)
    words = model.distilbert.embeddings.word_embeddings.weight
    assert model.vocab_projector.weight is words
    assert sum(parameter is words for parameter in model.parameters()) == 1
    model.double()
    assert model.vocab_projector.weight is model.distilbert.embeddings.word_embeddings.weight


def test_the_row_of_padding_learns_through_the_projection() -> None:
    model = wake_up(DistilBertForMaskedLM(TINY))
    model(IDS, labels=IDS).loss.backward()
    assert model.vocab_projector.weight.grad[0].abs().sum() > 0


def test_the_masked_lm_loss_counts_no_label_of_minus_100() -> None:
    model = wake_up(DistilBertForMaskedLM(TINY)).eval()
    labels = torch.tensor([[-100, 7, -100], [-100, -100, 9]])
    out = model(IDS, labels=labels)
    expected = F.cross_entropy(out.logits[[0, 1], [1, 2]], torch.tensor([7, 9]))
    assert_close(out.loss, expected)


def test_the_classification_loss_counts_no_label_of_minus_100() -> None:
    model = wake_up(DistilBertForSequenceClassification(TINY)).eval()
    out = model(IDS, labels=torch.tensor([2, -100]))
    assert_close(out.loss, F.cross_entropy(out.logits[:1], torch.tensor([2])))


def test_int32_labels_give_the_loss_of_int64_labels() -> None:
    model = wake_up(DistilBertForSequenceClassification(TINY)).eval()
    labels = torch.tensor([2, 0])
    assert torch.equal(model(IDS, labels=labels.int()).loss, model(IDS, labels=labels).loss)


def test_a_loss_over_nothing_is_nan_and_no_silent_zero() -> None:
    model = DistilBertForSequenceClassification(TINY)
    assert model(IDS, labels=torch.tensor([-100, -100])).loss.isnan()


def test_without_labels_there_is_no_loss() -> None:
    assert DistilBertForSequenceClassification(TINY)(IDS).loss is None
    assert DistilBertForMaskedLM(TINY)(IDS).loss is None


def test_logits_have_one_column_per_label() -> None:
    assert DistilBertForSequenceClassification(TINY)(IDS).logits.shape == (2, 3)
    assert DistilBertForMaskedLM(TINY)(IDS).logits.shape == (2, 3, 50)
