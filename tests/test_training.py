"""The training step: the reference's trajectory, the same however it is cut, safe against NaN."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from transformers import DistilBertForSequenceClassification as Theirs
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from minibert import DistilBertForSequenceClassification
from tests.tiny import NO_DROPOUT, tiny
from train.batches import Encoded
from train.device import Precision, Processes, choose_precision, start_processes
from train.training.loop import MAX_SKIPPED, StepLog, stop_if_diverged, training
from train.training.optim import LossScale, Update, freeze, make_optimizer
from train.training.step import (
    Job,
    Steps,
    balanced_weights,
    eager_step,
    seed_step,
    sixteen_bit_weights,
)

CPU = torch.device("cpu")
FP32 = Precision(CPU, "fp32")

SIZES = {"vocab_size": 100, "max_position_embeddings": 32, "dim": 32, "hidden_dim": 64}
SMALL = {**NO_DROPOUT, **SIZES, "num_labels": 3}


def make_model(seed: int = 0, **changes) -> DistilBertForSequenceClassification:
    torch.manual_seed(seed)
    config = tiny(**(SMALL | changes))
    return DistilBertForSequenceClassification(config).train()


def make_data(n: int = 400, seed: int = 0) -> Encoded:
    random = np.random.default_rng(seed)
    texts = [random.integers(1, 100, size=random.integers(3, 20)).tolist() for _ in range(n)]
    return Encoded(texts, random.integers(0, 3, size=n))


def make_update(model, total_steps=50, lr=1e-3, precision=FP32, **scale) -> Update:
    scaling = LossScale(precision, **scale)
    return Update(make_optimizer(model, lr, weight_decay=0.01), scaling, total_steps)


def make_job(model, update, data, precision=FP32, grad_accum=1) -> Job:
    steps = Steps(data.lengths, step_size=8, seed=0)
    return Job(model, update, data, steps, precision, grad_accum=grad_accum)


@pytest.mark.parametrize(
    ("dtype", "init", "tolerance"),
    [
        (torch.float64, 0.05, 1e-10),
        (torch.float64, 0.2, 2e-9),  # the fused kernel takes the clipping factor in float32
        (torch.float32, 0.2, 1e-6),
    ],
    ids=["float64", "float64 clipped", "float32 clipped"],
)
def test_50_steps_have_the_references_losses(tmp_path, dtype, init, tolerance):
    """transformers' model, torch's plain AdamW with the Trainer's groups, linear schedule, clip."""
    ours = make_model(initializer_range=init)  # large weights have gradients that are clipped
    ours.save_pretrained(tmp_path)
    theirs = Theirs.from_pretrained(tmp_path).train().to(dtype)
    ours.to(dtype)
    is_exempt = {n: "bias" in n or "norm" in n.lower() for n, _ in theirs.named_parameters()}
    decay = [p for n, p in theirs.named_parameters() if not is_exempt[n]]
    rest = [p for n, p in theirs.named_parameters() if is_exempt[n]]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-4, foreach=False, fused=False)
    schedule = get_linear_schedule_with_warmup(reference, 0, 50)
    data = make_data()
    job = make_job(ours, make_update(ours, lr=1e-4), data)
    clipped = 0
    for step in range(50):
        rows = np.arange(8 * step, 8 * step + 8)
        loss, lr, norm = eager_step(job, rows).tolist()
        input_ids, mask, labels = data.batch(rows)
        expected = theirs(input_ids=input_ids, attention_mask=mask, labels=labels).loss
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        assert lr == pytest.approx(schedule.get_last_lr()[0], rel=1e-6)
        reference.step()
        schedule.step()
        reference.zero_grad()
        clipped += float(expected_norm) > 1.0
        assert norm == pytest.approx(float(expected_norm), rel=1e-4)
        # The log is float32; the weights below carry the precision.
        assert loss == pytest.approx(expected.item(), abs=max(tolerance, 3e-7))
    assert clipped > 5 if init > 0.1 else clipped == 0
    with torch.no_grad():
        input_ids, mask, labels = data.batch(np.arange(64))
        actual = ours(input_ids, mask, labels).loss
        expected = theirs(input_ids=input_ids, attention_mask=mask, labels=labels).loss
    assert abs(actual - expected) < tolerance


@pytest.mark.parametrize("n_rows", [8, 7, 5], ids=["whole", "ragged 7", "ragged 5"])
def test_four_times_two_is_one_times_eight(n_rows):
    data, models = make_data(), [make_model(), make_model()]
    one, four = (
        make_job(model, make_update(model), data, grad_accum=n) for model, n in zip(models, (1, 4))
    )
    for step in range(8):
        rows = np.arange(8 * step, 8 * step + (n_rows if step == 7 else 8))
        torch.testing.assert_close(
            eager_step(one, rows), eager_step(four, rows), rtol=1e-4, atol=1e-6
        )
    for a, b in zip(models[0].parameters(), models[1].parameters()):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(("grad_accum", "train_layers"), [(1, None), (2, None), (1, 0), (1, 1)])
def test_weights_cast_together_give_the_bits_of_autocast(
    monkeypatch, precision, grad_accum, train_layers
):
    chosen, data, results = Precision(CPU, precision), make_data(40), []
    for together in (True, False):
        model = make_model(dropout=0.2)
        if train_layers is not None:
            freeze(model, train_layers)
        update = make_update(model, precision=chosen)
        job = make_job(model, update, data, chosen, grad_accum)
        if together:
            parameters = dict(model.named_parameters())
            weights = sixteen_bit_weights(job)
            assert weights and all(parameters[name].requires_grad for name in weights)
        else:
            monkeypatch.setattr("train.training.step.sixteen_bit_weights", lambda job: {})
        values = []
        for step in range(5):
            seed_step(0, step, 0)
            values.append(eager_step(job, np.arange(8 * step, 8 * step + 8)))
        results.append([*values, *model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert len({float(values[0]) for values in results[0][:5]}) == 5


def test_biases_and_norms_do_not_decay_and_embeddings_do():
    model = make_model()
    names = {id(p): n for n, p in model.named_parameters()}
    decayed, exempt = (
        {names[id(p)] for p in group["params"]}
        for group in make_optimizer(model, 1e-3, 0.01).param_groups
    )
    assert exempt == {n for n in names.values() if n.endswith("bias") or "norm" in n.lower()}
    assert "distilbert.embeddings.word_embeddings.weight" in decayed


def test_dropout_of_a_step_depends_on_seed_step_and_rank():
    def draw(*numbers: int) -> float:
        seed_step(*numbers)
        return float(torch.rand(()))

    assert draw(1, 2, 0) == draw(1, 2, 0)
    assert len({draw(1, 2, 0), draw(1, 3, 0), draw(2, 2, 0), draw(1, 2, 1)}) == 4


def test_gradients_that_are_not_finite_change_nothing():
    model = make_model()
    update = make_update(model)
    job = make_job(model, update, make_data())
    eager_step(job, np.arange(8))
    with torch.no_grad():
        model.classifier.bias[0] = math.inf
    before = {name: tensor.clone() for name, tensor in update.tensors(model).items()}
    weights = [p.clone() for p in model.parameters()]
    eager_step(job, np.arange(8, 16))
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters()))
    for name, tensor in update.tensors(model).items():
        if name.startswith("skipped"):
            assert float(tensor) == 1
        else:
            assert torch.equal(tensor, before[name]), name


def test_fp16_scale_halves_on_overflow_and_doubles_after_good_steps():
    scale = LossScale(Precision(CPU, "fp16"), initial=8.0, interval=3)
    seen = []
    for overflow in (1, 0, 0, 0, 0, 1, 0):
        scale.update(torch.tensor(float(overflow)))
        seen.append(float(scale.value))
    assert seen == [4, 4, 4, 8, 8, 4, 4]


def test_the_loss_scale_leaves_the_step_unchanged():
    """Powers of two: scaling up and down again is exact."""
    data, results = make_data(), []
    for initial in (1.0, 1024.0):
        model = make_model()
        update = make_update(model, precision=Precision(CPU, "fp16"), initial=initial)
        job = make_job(model, update, data)
        results.append([eager_step(job, np.arange(8 * k, 8 * k + 8)) for k in range(5)])
    for plain, scaled in zip(*results):
        torch.testing.assert_close(plain, scaled, rtol=1e-6, atol=0)


def test_an_overflow_in_fp16_is_skipped_and_the_schedule_waits():
    model = make_model()
    update = make_update(model, precision=Precision(CPU, "fp16"), initial=3e38)
    job = make_job(model, update, make_data())
    lrs = [float(eager_step(job, np.arange(8))[1]) for _ in range(3)]
    assert lrs[0] == lrs[1] and int(update.skipped) >= 1
    while int(update.skipped_in_a_row):
        eager_step(job, np.arange(8))
    assert float(eager_step(job, np.arange(8))[1]) < lrs[0]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bit_training_keeps_float32_weights_and_learns(precision):
    model, chosen = make_model(), Precision(CPU, precision)
    update = make_update(model, total_steps=200, precision=chosen)
    job = make_job(model, update, make_data(32), chosen)
    losses = [float(eager_step(job, np.arange(32))[0]) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def read_back(*values: tuple[float, float, float]) -> list[dict]:
    """The log's records of these (loss, lr, gradient norm)."""
    log = StepLog()
    for step, figures in enumerate(values, start=1):
        log.add(step, torch.tensor(figures))
    return log.read()


def test_a_loss_that_is_not_finite_stops_training_and_stands_in_the_log():
    records = read_back((0.5, 1e30, 1.0), (math.nan, 1e30, 1.0))
    assert math.isnan(records[1]["loss"])
    with pytest.raises(ArithmeticError, match=r"loss nan.*step 2.*lower --lr"):
        stop_if_diverged(records, make_update(make_model()))


def test_fp16_stops_after_many_overflows_in_a_row():
    update = make_update(make_model(), precision=Precision(CPU, "fp16"))
    records = read_back((1.0, 1e-3, math.inf), (1.0, 1e-3, math.inf))
    update.skipped_in_a_row.fill_(MAX_SKIPPED - 1)
    stop_if_diverged(records, update)
    update.skipped_in_a_row.fill_(MAX_SKIPPED)
    with pytest.raises(ArithmeticError, match=r"overflowed in 30 steps in a row.*step 2.*bf16"):
        stop_if_diverged(records, update)


def test_training_from_a_later_step_is_the_same_training():
    """The generator computes a step only when it is asked for it."""

    def records(model, first_step: int, n: int, update: Update) -> list[torch.Tensor]:
        job = make_job(model, update, data)
        return [values for _, (_, values) in zip(range(n), training(job, first_step))]

    data, dropout = make_data(24), {"dropout": 0.3, "seq_classif_dropout": 0.3}
    whole, cut = make_model(**dropout), make_model(**dropout)
    expected = records(whole, 0, 6, make_update(whole, 6))
    update = make_update(cut, 6)
    first = records(cut, 0, 2, update)
    torch.rand(100)  # what an evaluation between two steps may draw
    rest = records(cut, 2, 4, update)
    assert len(expected) == 6
    assert all(torch.equal(a, b) for a, b in zip(expected, first + rest))


def test_a_device_that_is_not_there_is_refused_by_name():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match="--device cuda: this machine has none"):
        choose_precision("cuda")
    assert choose_precision().device.type in ("cpu", "mps")


@pytest.mark.parametrize(
    ("has_avx512_bf16", "has_amx", "expected"),
    [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16"), (True, True, "bf16")],
)
def test_auto_takes_bf16_on_a_cpu_that_multiplies_it(
    monkeypatch, has_avx512_bf16, has_amx, expected
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert choose_precision("cpu").name == expected
    assert choose_precision("cpu", "fp32").name == "fp32"


@pytest.mark.parametrize(("local_rank", "gpu"), [(None, "cuda:0"), ("3", "cuda:3")])
def test_each_process_takes_its_gpu_and_names_it_to_nccl(monkeypatch, local_rank, gpu):
    """Some launchers set RANK alone, and show each process one GPU."""
    monkeypatch.setenv("RANK", "5")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    called = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", called.append)
    monkeypatch.setattr(
        "torch.distributed.init_process_group", lambda *a, **how: called.append((a, how))
    )
    start_processes()
    device, (backends, how) = called
    assert device == how["device_id"] == torch.device(gpu)
    assert backends == ("cpu:gloo,cuda:nccl",) and how["timeout"].total_seconds() >= 3600


def test_gradients_of_several_processes_are_in_memory_once():
    """They are views of the buffers that are exchanged; DistributedDataParallel's own default is a
    second copy of them all."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = make_model()
        wrapped = Processes(0, 2).wrap(model)
        wrapped(torch.ones(2, 5, dtype=torch.long), None, torch.tensor([0, 1])).loss.backward()
        grads = [p.grad for p in model.parameters()]
        memory = {grad.untyped_storage().data_ptr() for grad in grads}
        assert len(grads) > 10 and len(memory) <= 2  # buckets
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("warmup", [0, 7, 40])
@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ("linear", get_linear_schedule_with_warmup),
        ("cosine", get_cosine_schedule_with_warmup),
        ("constant", lambda o, w, t: get_constant_schedule_with_warmup(o, w)),
    ],
    ids=["linear", "cosine", "constant"],
)
def test_schedules_are_the_references_over_a_whole_run(schedule, reference, warmup):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    theirs = reference(optimizer, warmup, 40)
    update = Update(make_optimizer(model, 3e-4, 0.0), LossScale(FP32), 40, schedule, warmup)
    for _ in range(40):
        model.weight.grad, model.bias.grad = torch.ones(2, 2), torch.ones(2)
        update()
        assert float(update.rate) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12, abs=1e-18)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("grad_accum", [1, 4])
def test_balanced_classes_are_torchs_weighted_mean_over_the_step(grad_accum):
    """A class of 3 of 40 texts; the step's mean is the same however it is cut."""
    random = np.random.default_rng(0)
    texts = [random.integers(1, 100, size=random.integers(3, 20)).tolist() for _ in range(40)]
    labels = np.array([0] * 25 + [1] * 12 + [2] * 3)
    data = Encoded(texts, labels)
    weights = balanced_weights(data, n_classes=3)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights.by_class.numpy(), expected, rtol=1e-6)
    model, twin = make_model(), make_model()
    job = make_job(model, make_update(model), data, grad_accum=grad_accum)
    job = job._replace(class_weights=weights)
    rows = np.array([0, 1, 2, 25, 26, 37, 38, 3])
    loss, _, norm = eager_step(job, rows).tolist()
    input_ids, mask, targets = data.batch(rows)
    reference = torch.nn.functional.cross_entropy(
        twin(input_ids, mask).logits, targets, weight=torch.tensor(expected, dtype=torch.float32)
    )
    reference.backward()
    assert loss == pytest.approx(reference.item(), rel=1e-5)
    expected_norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), math.inf)
    assert norm == pytest.approx(float(expected_norm), rel=1e-4)


def test_a_class_without_texts_has_no_share_in_the_balance():
    data = Encoded([[1]] * 4, np.array([0, 0, 0, 2]))
    weights = balanced_weights(data, n_classes=3)
    assert weights.by_class[0] == pytest.approx(4 / (2 * 3))
    assert weights.by_class[2] == pytest.approx(4 / (2 * 1))
    assert np.isfinite(weights.by_row).all()


@pytest.mark.parametrize("n_trained", [0, 1, 2])
def test_frozen_blocks_stay_and_cost_neither_gradients_nor_optimiser_memory(n_trained):
    model = make_model()
    freeze(model, n_trained)
    before = {name: p.clone() for name, p in model.named_parameters()}
    update = make_update(model)
    job = make_job(model, update, make_data())
    eager_step(job, np.arange(8))
    heads = ("pre_classifier", "classifier")
    blocks = tuple(f"distilbert.transformer.layer.{n}." for n in range(2 - n_trained, 2))
    for name, parameter in model.named_parameters():
        trains = name.startswith((*heads, *blocks))
        assert torch.equal(parameter, before[name]) != trains, name
        assert (f"exp_avg.{name}" in update.tensors(model)) == trains, name
    held = sum(state["exp_avg"].numel() for state in update.optimizer.state.values())
    assert held == sum(p.numel() for p in model.parameters() if p.requires_grad)
    hidden = model.distilbert(torch.tensor([[1, 2, 3]])).last_hidden_state
    assert hidden.requires_grad == (n_trained > 0)  # no graph is kept of frozen blocks alone


def test_more_blocks_than_there_are_cannot_train():
    with pytest.raises(ValueError, match="--train-layers 3: the model has 2 blocks"):
        freeze(make_model(), 3)


def test_losses_are_read_after_a_second_or_fifty_steps(monkeypatch) -> None:
    """Among several processes only the number of steps counts: their clocks may disagree."""
    now = 100.0
    monkeypatch.setattr("train.training.loop.time.monotonic", lambda: now)
    alone, one_of_two = StepLog(), StepLog(Processes(0, 2))
    for log in (alone, one_of_two):
        log.add(1, torch.zeros(3))
        assert not log.is_full
    now = 101.5
    assert alone.is_full and not one_of_two.is_full
    alone.read()
    assert not alone.is_full
    for step in range(2, 51):
        one_of_two.add(step, torch.zeros(3))
    assert one_of_two.is_full


@pytest.fixture
def unfused(monkeypatch):
    """As on an Apple GPU, whose AdamW kernel looks at neither grad_scale nor found_inf."""
    monkeypatch.setattr("train.training.optim.FUSED", ())


def test_without_a_fused_kernel_gradients_are_scaled_and_clipped_all_the_same(unfused):
    ours, theirs = make_model(initializer_range=0.2), make_model(initializer_range=0.2)
    update = make_update(ours, lr=1e-3, precision=Precision(CPU, "fp16"), initial=256.0)
    groups = make_optimizer(theirs, 1e-3, 0.01).param_groups
    plain = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups]
    reference = torch.optim.AdamW(plain, lr=1e-3, fused=False, foreach=False)
    schedule = get_linear_schedule_with_warmup(reference, 0, 50)
    job, data = make_job(ours, update, make_data()), make_data()
    clipped = 0
    for step in range(10):
        rows = np.arange(8 * step, 8 * step + 8)
        norm = float(eager_step(job, rows)[2])
        theirs(*data.batch(rows)).loss.backward()
        expected = float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0))
        reference.step()
        schedule.step()
        reference.zero_grad()
        assert norm == pytest.approx(expected, rel=1e-4)
        clipped += expected > 1
    assert clipped > 3
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters()):
        # The bias of the keys moves every score of a query alike, which softmax takes out: its
        # gradient is rounding alone, and AdamW makes whole steps of it.
        if not name.endswith("k_lin.bias"):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_without_a_fused_kernel_nan_changes_nothing_all_the_same(unfused):
    model = make_model()
    update = make_update(model)
    before = {name: t.clone() for name, t in update.tensors(model).items()}
    weights = [p.clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    update()
    assert int(update.skipped) == 1
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters()))
    for name, tensor in update.tensors(model).items():
        assert name.startswith("skipped") or torch.equal(tensor, before[name]), name


def test_no_device_but_the_cpu_is_asked_for_float64(monkeypatch):
    """An Apple GPU has none; "meta" stands for it here."""
    original, asked = torch.tensor, []

    def tensor(value, dtype, device):
        asked.append((str(device), dtype))
        return original(value, dtype=dtype)

    monkeypatch.setattr(torch, "tensor", tensor)
    for device in ("meta", "cpu"):
        make_optimizer(make_model().to(device), 1e-3, 0.01)
    assert asked == [("meta", torch.float32), ("cpu", torch.float64)]


def test_cudnn_attention_is_off_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        choose_precision("cuda", "fp32")
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
