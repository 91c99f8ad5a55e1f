"""On a CUDA device: a captured step is the step; wrong ids are refused before any kernel runs."""

import numpy as np
import pytest
import torch

from minibert import DistilBertForSequenceClassification
from tests.tiny import NO_DROPOUT, tiny
from train.batches import Encoded
from train.device import choose_precision
from train.forward import extract_features, predict_logits
from train.training.graphs import CapturedStep
from train.training.loop import training
from train.training.optim import LossScale, Update, make_optimizer
from train.training.step import Job, Steps, seed_step, train_step

pytestmark = pytest.mark.gpu


def make_data(device: str) -> Encoded:
    random = np.random.default_rng(0)
    texts = [random.integers(1, 100, size=random.integers(3, 40)).tolist() for _ in range(408)]
    return Encoded(texts, random.integers(0, 3, size=408), device=device)


def make_model(dropout: float) -> DistilBertForSequenceClassification:
    torch.manual_seed(0)
    config = tiny(
        vocab_size=100,
        max_position_embeddings=64,
        dim=64,
        n_heads=4,
        n_layers=2,
        hidden_dim=128,
        num_labels=3,
        **dict.fromkeys(NO_DROPOUT, dropout),
    )
    model = DistilBertForSequenceClassification(config).train().cuda()
    model.distilbert.check_inputs = False
    return model


def make_job(precision_name: str, dropout: float) -> Job:
    precision = choose_precision("cuda", precision_name)
    model, data = make_model(dropout), make_data("cuda")
    update = Update(make_optimizer(model, 1e-3, 0.01), LossScale(precision), 50)
    return Job(model, update, data, Steps(data.lengths, 8, seed=1), precision)


def losses(precision_name: str, captured: bool, dropout: float = 0.0) -> torch.Tensor:
    job = make_job(precision_name, dropout)
    captured_step = CapturedStep(job)

    def plain_step(rows: np.ndarray) -> torch.Tensor:
        width = -(-int(job.data.lengths[rows].max()) // 8) * 8  # padded as the captured step pads
        batch = (*job.data.gather(torch.from_numpy(rows).cuda(), width), 1.0)
        return train_step(job, [batch])

    seen = []
    for step in range(50):
        seed_step(1, step, 0)
        seen.append((captured_step if captured else plain_step)(job.steps[step]))
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


def test_a_run_goes_through_the_captured_steps(monkeypatch):
    with_graphs: list[CapturedStep] = []

    class Noted(CapturedStep):
        def __init__(self, job: Job):
            super().__init__(job)
            with_graphs.append(self)

    monkeypatch.setattr("train.training.loop.CapturedStep", Noted)
    steps = dict(training(make_job("auto", dropout=0.1)))
    assert list(steps) == list(range(1, 51))
    assert torch.stack([*steps.values()]).isfinite().all()
    assert with_graphs[0].graphs


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
