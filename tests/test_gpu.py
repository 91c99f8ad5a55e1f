"""On a CUDA device: a captured step is the step; wrong ids are refused before any kernel runs."""

import numpy as np
import pytest
import torch

from minibert import DistilBertConfig, DistilBertForSequenceClassification
from train.batches import Encoded
from train.device import choose_precision
from train.forward import extract_features, predict_logits
from train.options import FinetuneOptions
from train.training.loop import Steps, fit, make_step, seed_step, train_step
from train.training.optim import LossScale, Update, make_optimizer

pytestmark = pytest.mark.gpu

OPTIONS = FinetuneOptions(batch_size=8, lr=1e-3, max_steps=50)


def make_data(device: str) -> Encoded:
    random = np.random.default_rng(0)
    texts = [random.integers(1, 100, size=random.integers(3, 40)).tolist() for _ in range(408)]
    return Encoded(texts, random.integers(0, 3, size=408), device=device)


def make_model(dropout: float) -> DistilBertForSequenceClassification:
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=100,
        dim=64,
        n_heads=4,
        n_layers=2,
        hidden_dim=128,
        num_labels=3,
        dropout=dropout,
        attention_dropout=dropout,
        seq_classif_dropout=dropout,
    )
    model = DistilBertForSequenceClassification(config).train().cuda()
    model.distilbert.check_inputs = False
    return model


def losses(precision_name: str, captured: bool, dropout: float = 0.0) -> torch.Tensor:
    precision = choose_precision("cuda", precision_name)
    model, data = make_model(dropout), make_data("cuda")
    update = Update(make_optimizer(model, 1e-3, 0.01), LossScale(precision), 50)
    steps = Steps(data.lengths, 8, seed=1)
    run_step = make_step(model, update, data, OPTIONS, precision)

    def plain_step(rows: np.ndarray) -> torch.Tensor:
        width = -(-int(data.lengths[rows].max()) // 8) * 8  # padded as the captured step pads
        batch = (*data.gather(torch.from_numpy(rows).cuda(), width), 1.0)
        return train_step(model, update, [batch], precision)

    seen = []
    for step in range(50):
        seed_step(1, step, 0)
        seen.append((run_step if captured else plain_step)(steps[step]))
    return torch.stack(seen).cpu()


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 3e-2), ("fp16", 1e-2)]
)
def test_captured_steps_have_the_losses_of_plain_ones(precision, tolerance):
    plain, captured = losses(precision, captured=False), losses(precision, captured=True)
    torch.testing.assert_close(captured, plain, rtol=tolerance, atol=tolerance)


def test_captured_dropout_differs_from_step_to_step_and_repeats_with_the_seed():
    first, second = (losses("fp32", captured=True, dropout=0.3) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(first, losses("fp32", captured=True))


def test_a_run_goes_through_the_captured_steps():
    precision = choose_precision("cuda", "auto")
    model, data = make_model(0.1), make_data("cuda")
    update = Update(make_optimizer(model, 1e-3, 0.01), LossScale(precision), 50)
    records: list[dict] = []
    fit(
        model,
        update,
        data,
        Steps(data.lengths, 8, seed=1),
        OPTIONS,
        precision,
        write_log=records.extend,
        at_epoch_end=lambda step: "",
        save=lambda step: None,
    )
    assert [record["step"] for record in records] == list(range(1, 51))
    assert all(np.isfinite(record["loss"]) for record in records)


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_inference_equals_the_cpus(name):
    tolerance = {"fp32": 1e-4, "bf16": 6e-2, "fp16": 6e-3}[name]
    model = make_model(0.0)
    on_gpu = choose_precision("cuda", name)
    actual = predict_logits(model, make_data("cuda"), on_gpu)
    features = extract_features(model.distilbert, make_data("cuda"), on_gpu, "mean")
    on_cpu = choose_precision("cpu", "fp32")
    expected = predict_logits(model.cpu(), make_data("cpu"), on_cpu)
    np.testing.assert_allclose(actual, expected, atol=tolerance)
    expected = extract_features(model.distilbert, make_data("cpu"), on_cpu, "mean")
    np.testing.assert_allclose(features, expected, atol=2 * tolerance)


def test_ids_out_of_range_are_refused_and_the_device_lives_on():
    model = make_model(0.0).eval()
    model.distilbert.check_inputs = True
    with pytest.raises(ValueError, match="100"):
        model(torch.tensor([[1, 100]], device="cuda"))
    assert torch.isfinite(model(torch.tensor([[1, 99]], device="cuda")).logits).all()
