"""Captured steps, on a stand-in for CUDA graphs that runs on a CPU (tests/cuda_graphs.py)."""

import numpy as np
import pytest
import torch

import train.training.graphs
from tests import cuda_graphs
from tests.test_training import FP32, make_data, make_model, make_update
from train.batches import Encoded
from train.device import Precision, Processes
from train.training.graphs import WIDTH, CapturedStep, padded_width, uncaptured
from train.training.loop import is_capturable, padding_of_epoch
from train.training.step import Job, Steps, eager_step, seed_step, train_step


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    cuda_graphs.install(monkeypatch)


def make_job(n: int = 200, precision: Precision = FP32) -> Job:
    model, data = make_model(), make_data(n)
    update = make_update(model, total_steps=100, precision=precision)
    return Job(model, update, data, Steps(data.lengths, 8, seed=1), precision)


def padded_step(job: Job, rows: np.ndarray) -> torch.Tensor:
    """The definition: the eager step on the padded batch that a graph has."""
    if len(rows) < job.steps.step_size:
        return eager_step(job, rows)
    width = padded_width(int(job.data.lengths[rows].max()))
    return train_step(job, [(*job.data.gather(torch.from_numpy(rows), width), 1.0)])


def run(step, job: Job, steps: range) -> list[torch.Tensor]:
    values = []
    for k in steps:
        seed_step(1, k, 0)
        values.append(step(job.steps[k]))
    return values


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_captured_steps_are_the_eager_ones_to_the_bit(precision):
    chosen = Precision(torch.device("cpu"), precision)
    one, two = make_job(precision=chosen), make_job(precision=chosen)
    captured = CapturedStep(one)
    ours = run(captured, one, range(60))
    theirs = run(lambda rows: padded_step(two, rows), two, range(60))
    assert len(captured.graphs) >= 2 and all(captured.graphs.values())
    assert same(ours, theirs)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters()))


def test_a_resumed_run_captures_other_steps_and_has_the_same_bits():
    whole, cut = make_job(), make_job()
    expected = run(CapturedStep(whole), whole, range(50))
    first = run(CapturedStep(cut), cut, range(23))
    assert same(first + run(CapturedStep(cut), cut, range(23, 50)), expected)


def test_a_short_step_does_not_count_as_a_warm_up(monkeypatch):
    """The last step of an epoch of 197 texts has 5: it is computed eagerly, at its own width."""
    job = make_job(n=13)
    captured = CapturedStep(job)
    calls = []
    for name in ("warm_up", "capture"):
        original = getattr(captured, name)
        monkeypatch.setattr(
            captured, name, lambda w, n=name, o=original: calls.append((n, w)) or o(w)
        )
    short = np.arange(5)
    captured(short)
    assert calls == []
    rows = np.argsort(job.data.lengths)[-8:]
    width = padded_width(int(job.data.lengths[rows].max()))
    for _ in range(3):
        captured(rows)
    assert calls == [("warm_up", width), ("capture", width)]


def test_an_error_in_a_capture_is_said_and_the_steps_go_on_to_the_same_bits(monkeypatch, capsys):
    job, twin = make_job(), make_job()
    captured = CapturedStep(job)
    original = train.training.graphs.train_step

    def failing(its_job, batches):
        values = original(its_job, batches)
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return values

    monkeypatch.setattr(train.training.graphs, "train_step", failing)
    ours = run(captured, job, range(40))
    assert same(ours, run(lambda rows: padded_step(twin, rows), twin, range(40)))
    assert set(captured.graphs.values()) == {None}
    error = capsys.readouterr().err
    assert error.count("run uncaptured: CUDA out of memory") == len(captured.graphs)


def test_values_that_were_returned_do_not_change_with_the_next_replay():
    job = make_job()
    captured = CapturedStep(job)
    values = run(captured, job, range(50))
    copies = [value.clone() for value in values]
    run(captured, job, range(50, 60))
    assert same(values, copies)


def test_the_ring_is_longer_than_the_steps_between_two_waits():
    from train.training.loop import LOG_BLOCK

    assert len(CapturedStep(make_job()).ring) > 2 * LOG_BLOCK


def test_reading_a_value_back_in_a_capture_raises():
    """The stand-in is as strict as a real capture."""
    graph = cuda_graphs.Graph()
    with pytest.raises(RuntimeError, match="capturing"), cuda_graphs.recording(graph):
        torch.ones(1).item()


def test_the_padding_that_is_reported_is_that_of_the_computed_batches(monkeypatch):
    job = make_job(n=21)  # two whole steps and a short one
    lengths = job.data.lengths

    def expected(rounded: bool) -> float:
        computed = 0
        for rows in job.steps.of_epoch(0):
            width = lengths[rows].max()
            if rounded and len(rows) == 8:
                width = -(-width // WIDTH) * WIDTH
            computed += len(rows) * width
        return 1 - lengths.sum() / computed

    assert padding_of_epoch(job, 0) == pytest.approx(expected(rounded=False))
    halves = job._replace(grad_accum=2)
    assert padding_of_epoch(halves, 0) < padding_of_epoch(job, 0)
    monkeypatch.setattr("train.training.loop.is_capturable", lambda job: True)
    assert padding_of_epoch(job, 0) == pytest.approx(expected(rounded=True))


def test_the_steps_that_run_without_a_graph_are_named_with_the_reason():
    on_gpu = Precision(torch.device("cuda"), "bf16")
    assert uncaptured(make_job(n=21)) == ""  # on a CPU nobody expects one
    job = make_job(n=24)._replace(precision=on_gpu)
    assert uncaptured(job) == ""
    assert "--grad-accum 2" in uncaptured(job._replace(grad_accum=2))
    assert uncaptured(job._replace(processes=Processes(1, 4))).startswith("all steps, as 4 proc")
    short = make_job(n=21)._replace(precision=on_gpu)
    assert uncaptured(short) == "the last step of an epoch, which is short (5 texts)"
    assert not is_capturable(job._replace(grad_accum=2)) and is_capturable(job)


def test_finetune_says_once_which_steps_run_without_a_graph(command, monkeypatch):
    monkeypatch.setattr("train.finetune.uncaptured", lambda job: "all steps, as it rains")
    result = command("finetune", "--max-steps", "2")
    assert result.status == 0 and result.out.count("without CUDA graphs: all steps, as it") == 1
    monkeypatch.undo()
    assert "CUDA graphs" not in command("finetune", "--max-steps", "2", to="usual").out


BUDGET = 420


def test_a_captured_step_is_few_operations(monkeypatch):
    """On 8 tweets a GPU takes longer to begin a kernel than to compute it. Their number depends on
    the number of layers and not on their sizes: DistilBERT-base has six."""
    monkeypatch.setattr(torch.nn.functional, "dropout", cuda_graphs.dropout)
    precision = Precision(torch.device("cpu"), "bf16")
    # Dropout in the attention is part of its one kernel on CUDA; a CPU has none with it.
    model = make_model(n_layers=6, dropout=0.1, attention_dropout=0.0, seq_classif_dropout=0.2)
    texts = [[7] * length for length in range(17, 25)]
    data = Encoded(texts, np.arange(8) % 3)
    update = make_update(model, total_steps=100, precision=precision)
    job = Job(model.train(), update, data, Steps(data.lengths, 8, seed=1), precision)
    captured = CapturedStep(job)
    captured.rows.copy_(torch.arange(8))
    captured.step(24)
    with cuda_graphs.Counter() as counter:
        captured.step(24)
    total = counter.counts.total()
    assert 300 < total <= BUDGET, f"{total} operations: {counter.counts.most_common()}"
