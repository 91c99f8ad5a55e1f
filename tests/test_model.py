"""What the encoder promises beside its numbers: shapes, masks, two attentions, dropout, start."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import minibert
from minibert import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)
from minibert.checkpoint import NoInit
from tests.parity import KINDS, batches, random_config, twins, wake_up
from tests.tiny import IDS, MASK, TINY, tiny


def encoder(dtype: torch.dtype = torch.float64, **fields) -> nn.Module:
    torch.manual_seed(0)
    return wake_up(DistilBertModel(tiny(**fields))).to(dtype).eval()


# Outputs


def test_hidden_states_are_the_embeddings_and_every_layers_output() -> None:
    model = encoder()
    out = model(IDS, MASK, output_hidden_states=True)
    assert len(out.hidden_states) == TINY.n_layers + 1
    assert torch.equal(out.hidden_states[0], model.embeddings(IDS))
    assert torch.equal(out.hidden_states[-1], out.last_hidden_state)


def test_hidden_states_and_attentions_come_only_when_asked_for() -> None:
    out = encoder()(IDS, MASK)
    assert out.hidden_states is None and out.attentions is None
    assert out.last_hidden_state.shape == (2, 5, TINY.dim)


def test_an_output_gives_its_fields_by_name_and_by_place() -> None:
    model = encoder()
    out = model(IDS, MASK, output_hidden_states=True)
    assert out["last_hidden_state"] is out[0] is out.last_hidden_state
    assert out["hidden_states"] is out[1] and len(out[:2]) == 2
    for absent in ("attentions", "logits", "count"):
        with pytest.raises(KeyError, match="last_hidden_state, hidden_states"):
            out[absent]
    classifier = DistilBertForSequenceClassification(tiny(num_labels=3))
    out = classifier(IDS, MASK)
    assert out["logits"] is out.logits
    loss, logits, *_ = out
    assert loss is None and logits is out.logits


def test_a_model_says_where_it_is_and_in_which_format() -> None:
    model = encoder(torch.bfloat16)
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.bfloat16)
    assert model.to("meta").float().device.type == "meta" and model.dtype == torch.float32


def test_attentions_sum_to_one_over_the_tokens_that_are_kept() -> None:
    attentions = encoder()(IDS, MASK, output_attentions=True).attentions
    assert len(attentions) == TINY.n_layers
    for weights in attentions:
        assert weights.shape == (2, TINY.n_heads, 5, 5)
        assert_close(weights.sum(dim=-1), torch.ones(2, TINY.n_heads, 5).double())
        assert (weights[1, :, :, 3:] == 0).all()


@pytest.mark.parametrize("mask", batches(TINY, 0))
def test_explicit_attention_and_sdpa_are_equal(mask: str) -> None:
    batch = batches(TINY, 0)[mask]
    explicit, sdpa = (
        encoder()(batch.input_ids, batch.attention_mask, True, output_attentions)
        for output_attentions in (True, False)
    )
    for actual, expected in zip(sdpa.hidden_states, explicit.hidden_states):
        assert_close(actual, expected, rtol=0, atol=1e-12)


def test_sdpa_runs_unless_the_weights_are_asked_for(monkeypatch) -> None:
    calls = []
    true_sdpa = torch.nn.functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(args)
        return true_sdpa(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    encoder()(IDS, MASK)
    assert len(calls) == TINY.n_layers
    encoder()(IDS, MASK, output_attentions=True)
    assert len(calls) == TINY.n_layers


def test_the_first_token_alone_is_the_first_token_of_all() -> None:
    model = encoder()
    for mask in (None, MASK):
        actual, expected = model.first_token(IDS, mask), model(IDS, mask).last_hidden_state[:, 0]
        assert_close(actual, expected, rtol=0, atol=1e-12)


def test_the_classifier_gives_the_same_whether_hidden_states_are_asked_for_or_not() -> None:
    model = wake_up(DistilBertForSequenceClassification(TINY)).double().eval()
    plain = model(IDS, MASK).logits
    assert_close(model(IDS, MASK, output_hidden_states=True).logits, plain, rtol=0, atol=1e-12)
    assert_close(model(IDS, MASK, output_attentions=True).logits, plain, rtol=0, atol=1e-12)


# Masks


def test_a_text_alone_equals_the_text_in_a_padded_batch() -> None:
    model = encoder()
    together = model(IDS, MASK).last_hidden_state
    assert_close(model(IDS[:1]).last_hidden_state[0], together[0], rtol=0, atol=1e-12)
    assert_close(model(IDS[1:, :3]).last_hidden_state[0], together[1, :3], rtol=0, atol=1e-12)


def test_what_is_masked_changes_nothing_that_is_not() -> None:
    model = encoder()
    other = IDS.clone()
    other[1, 3:] = torch.tensor([44, 45])
    kept = MASK.bool()
    assert torch.equal(
        model(other, MASK).last_hidden_state[kept], model(IDS, MASK).last_hidden_state[kept]
    )


def test_no_mask_means_a_mask_of_ones() -> None:
    model = encoder()
    actual, expected = model(IDS), model(IDS, torch.ones_like(IDS))
    assert_close(actual.last_hidden_state, expected.last_hidden_state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.uint8, torch.float32])
def test_a_mask_may_be_of_any_type(dtype: torch.dtype) -> None:
    model = encoder()
    expected = model(IDS, MASK).last_hidden_state
    assert torch.equal(model(IDS.int(), MASK.to(dtype)).last_hidden_state, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("explicit", [False, True])
def test_a_text_of_padding_alone_is_finite_and_its_neighbour_unchanged(explicit, dtype) -> None:
    model = encoder(dtype)
    mask = MASK.clone()
    mask[1] = 0
    out, expected = (
        model(IDS, m, output_attentions=explicit).last_hidden_state for m in (mask, MASK)
    )
    assert out.isfinite().all()
    assert torch.equal(out[0], expected[0])


def test_both_attentions_agree_on_a_text_of_padding_alone() -> None:
    mask = torch.zeros_like(MASK)
    actual, expected = (
        encoder()(IDS, mask, output_attentions=explicit).last_hidden_state
        for explicit in (False, True)
    )
    assert_close(actual, expected, rtol=0, atol=1e-12)


# Dropout


def test_eval_passes_are_bit_equal_whatever_the_dropout() -> None:
    rates = {"dropout": 0.5, "attention_dropout": 0.5, "seq_classif_dropout": 0.5}
    config = tiny(**rates)
    model = DistilBertForSequenceClassification(config).eval()
    for keywords in ({}, {"output_hidden_states": True}, {"output_attentions": True}):
        first, second = (model(IDS, MASK, **keywords) for _ in range(2))
        assert torch.equal(first.logits, second.logits)


@pytest.mark.parametrize(
    ("rate", "place"),
    [
        ("dropout", "distilbert.embeddings"),
        ("dropout", "distilbert.transformer.layer.1.ffn"),
        ("attention_dropout", "distilbert.transformer.layer.1.attention"),
        ("seq_classif_dropout", "dropout"),
    ],
)
@pytest.mark.parametrize("explicit", [False, True])
def test_dropout_is_on_in_training_at_each_of_its_places(rate, place, explicit) -> None:
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0, rate: 0.5}
    model = wake_up(DistilBertForSequenceClassification(tiny(**rates))).eval()
    model.get_submodule(place).train()
    first, second = (model(IDS, output_attentions=explicit).logits for _ in range(2))
    assert not torch.equal(first, second)


def test_without_dropout_training_and_eval_give_the_same() -> None:
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    model = DistilBertForSequenceClassification(tiny(**rates))
    assert_close(model.train()(IDS, MASK).logits, model.eval()(IDS, MASK).logits)


# Parameters


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_names_and_shapes_are_those_of_transformers(kind: str) -> None:
    ours, theirs = twins(kind, random_config(3), torch.float32)
    actual, expected = ours.state_dict(), theirs.state_dict()
    assert {n: t.shape for n, t in actual.items()} == {n: t.shape for n, t in expected.items()}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("DistilBertModel", 66_362_880),
        ("DistilBertForMaskedLM", 66_985_530),  # the tied projection counted once
        ("DistilBertForSequenceClassification", 66_955_010),
    ],
)
def test_the_default_sizes_have_the_official_number_of_parameters(model, expected) -> None:
    with torch.device("meta"), NoInit():
        parameters = getattr(minibert, model)(DistilBertConfig()).parameters()
    assert sum(parameter.numel() for parameter in parameters) == expected


def test_random_weights_start_as_in_the_paper() -> None:
    config = tiny(dim=128, initializer_range=0.05)
    model = DistilBertForMaskedLM(config)
    for name, parameter in model.named_parameters():
        if name.lower().endswith("norm.weight"):
            assert (parameter == 1).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.1), name
    assert (model.distilbert.embeddings.word_embeddings.weight[0] == 0).all()


def test_every_parameter_gets_a_gradient_but_the_classifiers_row_for_padding_none() -> None:
    model = wake_up(DistilBertForSequenceClassification(TINY))
    model(IDS, MASK, labels=torch.tensor([0, 1])).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert (model.distilbert.embeddings.word_embeddings.weight.grad[0] == 0).all()


# Speed


def test_with_input_checks_off_a_training_step_never_waits_for_the_gpu() -> None:
    model = DistilBertForSequenceClassification(TINY).to("meta").train()
    ids, mask, labels = (torch.ones(shape, dtype=torch.long) for shape in ((2, 5), (2, 5), (2,)))
    step = {"input_ids": ids.to("meta"), "attention_mask": mask.to("meta")}
    with pytest.raises((RuntimeError, NotImplementedError)):  # a value is read: meta has none
        model(**step, labels=labels.to("meta"))
    model.distilbert.check_inputs = False
    model(**step, labels=labels.to("meta")).loss.backward()
    assert model.classifier.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_float32_under_autocast_and_in_half_precision(dtype: torch.dtype) -> None:
    model = DistilBertForSequenceClassification(TINY).eval()
    labels = torch.tensor([0, 1])
    with torch.autocast("cpu", dtype=dtype):
        out = model(IDS, MASK, labels=labels)
    assert out.logits.dtype == dtype and out.loss.dtype == torch.float32
    assert model.to(dtype)(IDS, MASK, labels=labels).loss.dtype == torch.float32


@pytest.mark.gpu
def test_a_captured_training_step_gives_the_gradients_of_an_eager_one() -> None:
    model = wake_up(DistilBertForSequenceClassification(TINY)).cuda().eval()
    model.distilbert.check_inputs = False
    ids, mask, labels = IDS.cuda(), MASK.cuda(), torch.tensor([0, 1]).cuda()

    def step() -> None:
        model(ids, mask, labels=labels).loss.backward()

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            model.zero_grad(set_to_none=True)
            step()
    torch.cuda.synchronize()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    graph.replay()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)
