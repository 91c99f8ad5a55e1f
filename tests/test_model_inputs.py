"""Wrong inputs are refused in words, before any kernel sees them."""

import pytest
import torch

from minibert import (
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)
from tests.tiny import TINY

IDS = torch.tensor([[2, 11, 3], [2, 12, 3]])


@pytest.fixture(params=["encoder", "classifier", "masked LM"])
def model(request):
    kind = {
        "encoder": DistilBertModel,
        "classifier": DistilBertForSequenceClassification,
        "masked LM": DistilBertForMaskedLM,
    }[request.param]
    return kind(TINY).eval()


@pytest.mark.parametrize(
    ("input_ids", "message"),
    [
        (torch.tensor([[2, 50]]), r"input_ids holds 50; it must lie in 0\.\.49"),
        (torch.tensor([[2, 3], [1000, 3]], dtype=torch.int32), "input_ids holds 1000"),
        (torch.tensor([[2, -1]]), "input_ids holds -1"),
        (torch.ones(1, 17, dtype=torch.long), "17 tokens, but the model has 16 positions"),
        (torch.ones(1, 3), "must be int64 or int32, not torch.float32"),
        (torch.ones(1, 3, dtype=torch.bool), "not torch.bool"),
        (torch.tensor([2, 3]), r"not \(2,\)"),
        (torch.ones(1, 2, 3, dtype=torch.long), r"not \(1, 2, 3\)"),
        (torch.ones(0, 3, dtype=torch.long), r"not \(0, 3\)"),
        (torch.ones(2, 0, dtype=torch.long), r"not \(2, 0\)"),
    ],
)
def test_ids_that_the_model_cannot_read_are_refused(model, input_ids, message) -> None:
    with pytest.raises(ValueError, match=message):
        model(input_ids)


def test_a_list_is_refused_as_ids_mask_or_labels() -> None:
    model = DistilBertForSequenceClassification(TINY)
    with pytest.raises(TypeError, match="input_ids must be a tensor, not list"):
        model(IDS.tolist())
    with pytest.raises(TypeError, match="attention_mask must be a tensor, not list"):
        model(IDS, [[1, 1, 1], [1, 1, 1]])
    with pytest.raises(TypeError, match="labels must be a tensor, not list"):
        model(IDS, labels=[0, 1])


def test_token_types_are_refused_by_name(model) -> None:
    with pytest.raises(TypeError, match="token_type_ids"):
        model(IDS, token_type_ids=torch.zeros_like(IDS))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 4), r"attention_mask is \(2, 4\), but input_ids is \(2, 3\)"),
        (torch.ones(3), r"attention_mask is \(3,\)"),
        (torch.ones(2, 1, 1, 3), r"attention_mask is \(2, 1, 1, 3\)"),
        (torch.tensor([[1, 1, 0.5], [1, 1, 1]]), "0 and 1 alone, not 0.5"),
        (torch.tensor([[0, 0, -10000.0], [0, 0, 0]]), "0 and 1 alone, not -10000.0"),
        (torch.tensor([[1, 1, 1], [1, 1, float("nan")]]), "0 and 1 alone, not nan"),
    ],
)
def test_masks_of_another_shape_or_value_are_refused(model, mask, message) -> None:
    with pytest.raises(ValueError, match=message):
        model(IDS, mask)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), r"labels holds 3; it must lie in 0\.\.2"),
        (torch.tensor([-1, 0]), "labels holds -1"),
        (torch.tensor([0.0, 1.0]), "labels must be int64 or int32, not torch.float32"),
        (torch.tensor([0, 1, 2]), r"labels must be \(2,\), not \(3,\)"),
        (torch.tensor([[0], [1]]), r"labels must be \(2,\), not \(2, 1\)"),
    ],
)
def test_labels_that_no_class_has_are_refused(labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        DistilBertForSequenceClassification(TINY)(IDS, labels=labels)


def test_masked_lm_labels_are_words_one_for_each_token() -> None:
    model = DistilBertForMaskedLM(TINY)
    with pytest.raises(ValueError, match="labels holds 50"):
        model(IDS, labels=torch.full_like(IDS, 50))
    with pytest.raises(ValueError, match=r"labels must be \(2, 3\), not \(2,\)"):
        model(IDS, labels=torch.tensor([0, 1]))


def test_the_largest_ids_labels_and_lengths_are_accepted() -> None:
    model = DistilBertForSequenceClassification(TINY)
    ids = torch.full((2, TINY.max_position_embeddings), TINY.vocab_size - 1)
    assert model(ids, labels=torch.tensor([2, -100])).loss.isfinite()


def test_a_loop_that_has_checked_its_data_can_switch_the_checks_off() -> None:
    model = DistilBertForSequenceClassification(TINY)
    odd_mask = torch.full(IDS.shape, 0.5)
    with pytest.raises(ValueError, match="attention_mask"):
        model(IDS, odd_mask)
    model.distilbert.check_inputs = False
    assert model(IDS, odd_mask).logits.shape == (2, 3)


@pytest.mark.gpu
def test_on_a_gpu_a_wrong_id_is_refused_and_the_next_batch_still_runs() -> None:
    model = DistilBertForSequenceClassification(TINY).cuda()
    with pytest.raises(ValueError, match="input_ids holds 50"):
        model(torch.tensor([[2, 50]]).cuda())
    with pytest.raises(ValueError, match="labels holds 3"):
        model(IDS.cuda(), labels=torch.tensor([0, 3]).cuda())
    assert model(IDS.cuda()).logits.isfinite().all()
