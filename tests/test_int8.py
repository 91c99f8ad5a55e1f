"""8-bit linear layers: torch's kernel against the definition, and what is lost against float32."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import train
from minibert import DistilBertModel
from minibert.int8 import (
    Int8Linear,
    Int8PerToken,
    Quantised,
    int8_linear,
    quantise_activations,
    quantise_weight,
    switch,
    weight_limit,
)
from tokenizer import WordPieceTokenizer
from train import TextClassifier, TextEncoder
from train.batches import Encoded
from train.data import DEMO_FOLDER
from train.device import choose_precision
from train.forward import extract_features


def random_layer(inputs: int = 96, outputs: int = 40) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    chance = torch.Generator().manual_seed(0)
    nn.init.normal_(layer.weight, generator=chance)
    nn.init.normal_(layer.bias, generator=chance)
    return layer.requires_grad_(False)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x.abs(),
        lambda x: -x.abs(),
        lambda x: x + 7,
        lambda x: 1e4 * x,
        lambda x: 0 * x,
        lambda x: x.view(15, 96),
    ],
    ids=["both signs", "positive", "negative", "far from 0", "large", "zeros", "two dimensions"],
)
def test_the_kernel_computes_the_definition(change):
    layer = random_layer()
    layer.weight[3] = 0
    layer.weight[5] *= 1000
    x = change(torch.randn(3, 5, 96, generator=torch.Generator().manual_seed(1)))
    expected = int8_linear(x, quantise_weight(layer.weight, weight_limit()), layer.bias)
    ours = Int8Linear(layer, weight_limit())(x)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    assert float((expected - layer(x)).abs().max()) < 0.05 * float(layer(x).abs().max())


def test_tokens_scaled_by_themselves_are_as_exact_whatever_their_neighbours():
    layer, weight = random_layer(), quantise_weight(random_layer().weight, weight_limit())
    x = torch.randn(3, 5, 96, generator=torch.Generator().manual_seed(1))
    x[0, 0] *= 1000
    x[1, 1] = 0
    x = torch.nn.functional.gelu(x)
    assert -0.17 < x.min() < -0.169
    largest = x.amax(dim=-1, keepdim=True).clamp(min=0.17)
    expected = int8_linear(x / largest, weight, torch.zeros(40)) * largest + layer.bias
    ours = Int8PerToken(layer, weight_limit())(x)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    exact, shared = layer(x)[1:], Int8Linear(layer, weight_limit())(x)[1:]
    assert (ours[1:] - exact).abs().max() < 1 < 5 < (shared - exact).abs().max()


def test_a_large_weight_makes_only_its_own_row_coarser():
    weight = random_layer().weight
    weight[5, 7] = 1000.0
    rows = quantise_weight(weight, 127)
    again = rows.integers * rows.scale[:, None]
    error = (again - weight).abs().amax(dim=1)  # (O,)
    assert (error <= rows.scale / 2 * 1.0001).all()
    others = torch.arange(len(weight)) != 5
    assert error[5] > 1 and error[others].max() < 0.02


def test_zero_stays_exact_and_the_range_is_used_to_both_ends():
    x = torch.tensor([[-1.0, 0.0, 0.25, 3.0]])
    found = quantise_activations(x)
    assert [int(n) for n in found.integers[0, [0, 1, 3]]] == [0, int(found.zero), 255]


def cutting_off(layer: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    """The kernel of a CPU without VNNI: two products at a time are added in 16 bits."""
    weight = layer.packed.unpack()[0]
    inputs = quantise_activations(x)
    products = inputs.integers.int()[:, None] * weight.int_repr().int()  # (N, O, I)
    pairs = products.unflatten(-1, (-1, 2)).sum(-1).clamp(-32_768, 32_767)
    zeros = inputs.zero * weight.int_repr().sum(dim=1)
    return (pairs.sum(-1) - zeros) * inputs.scale * weight.q_per_channel_scales().float()


def right(layer: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    weight = layer.packed.unpack()[0]
    rows = Quantised(weight.int_repr(), weight.q_per_channel_scales().float(), torch.tensor(0))
    return int8_linear(x, rows, layer.bias)


@pytest.fixture
def untried():
    """What was found of this CPU's kernel is forgotten, before and after."""
    weight_limit.cache_clear()
    yield
    weight_limit.cache_clear()


@pytest.mark.parametrize(("kernel", "limit"), [(cutting_off, 64), (right, 127)])
def test_weights_are_small_where_the_kernel_cuts_sums_off(monkeypatch, untried, kernel, limit):
    monkeypatch.setattr(Int8Linear, "forward", kernel)
    assert weight_limit() == limit


def no_kernel(layer, plain, limit):
    raise RuntimeError("quantized engine FBGEMM is not supported")


@pytest.mark.parametrize(
    ("name", "broken"),
    [("__init__", no_kernel), ("forward", lambda layer, x: torch.zeros(4, 32))],
    ids=["none", "wrong"],
)
def test_a_torch_without_a_right_kernel_is_refused_by_name(monkeypatch, untried, name, broken):
    monkeypatch.setattr(Int8Linear, name, broken)
    with pytest.raises(
        ValueError, match=r"--precision int8: this torch has no .*; use --precision"
    ):
        choose_precision("cpu", "int8")


@pytest.mark.parametrize(
    ("device", "where"), [("cuda", "torch.cuda"), ("mps", "torch.backends.mps")]
)
def test_a_gpu_is_refused_by_name(monkeypatch, device, where):
    monkeypatch.setattr(f"{where}.is_available", lambda: True)
    for asked in (device, "auto"):
        with pytest.raises(ValueError, match=f"--precision int8: only a CPU .* not {device}; use"):
            choose_precision(asked, "int8")


@pytest.fixture(scope="module")
def demo() -> tuple[DistilBertModel, Encoded]:
    """The packaged encoder, and 120 of the built-in sentences."""
    lines = (DEMO_FOLDER / "test.csv").read_text(encoding="utf-8").splitlines()
    texts = [line.rpartition(",")[0] for line in lines[1:121]]
    ids = WordPieceTokenizer.from_pretrained("demo")(texts)["input_ids"]
    return DistilBertModel.from_pretrained("demo"), Encoded(ids)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "mean", "least"), [("cls", 0.995, 0.98), ("mean", 0.985, 0.97)]
)
def test_features_point_where_those_of_float32_do(demo, pooling, mean, least):
    model, data = demo
    exact = extract_features(model, data, choose_precision("cpu", "fp32"), pooling, title=None)
    rounded = extract_features(model, data, choose_precision("cpu", "int8"), pooling, title=None)
    found = cosines(exact, rounded)
    assert found.mean() >= mean and least <= found.min() < 0.9999
    again = extract_features(model, data, choose_precision("cpu", "fp32"), pooling, title=None)
    np.testing.assert_array_equal(again, exact)


@pytest.mark.slow
def test_switching_keeps_the_weights_and_their_names(demo, tmp_path):
    model, _ = demo
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "plain")
    switch(model, on=True)
    layers = {name for name, part in model.named_modules() if isinstance(part, Int8Linear)}
    scaled = {name for name, part in model.named_modules() if isinstance(part, Int8PerToken)}
    assert scaled == {name for name in layers if name.endswith("lin2")}
    assert len(layers) == 6 * model.config.n_layers - 3
    last = f"transformer.layer.{model.config.n_layers - 1}"
    assert not layers & {f"{last}.attention.out_lin", f"{last}.ffn.lin1", f"{last}.ffn.lin2"}
    model.save_pretrained(tmp_path / "int8")
    switch(model, on=False)
    assert not any(isinstance(part, Int8Linear) for part in model.modules())
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "int8")]
    assert weights[0] == weights[1]


def test_weights_that_are_not_finite_are_refused(demo):
    layer = random_layer()
    layer.weight[1, 2] = torch.nan
    with pytest.raises(ArithmeticError, match="weights hold NaN"):
        Int8Linear(layer, 64)


@pytest.mark.parametrize("name", ["predict", "evaluate", "probe"])
def test_commands_compute_in_8_bits(command, monkeypatch, name):
    computed = []
    forward = Int8Linear.forward
    monkeypatch.setattr(
        Int8Linear, "forward", lambda layer, x: computed.append(x.shape) or forward(layer, x)
    )
    texts = ["i am so happy"] if name == "predict" else []
    result = command(name, "--precision", "int8", *texts)
    assert result.status == 0, result.err
    assert len(computed) >= 9
    assert name == "predict" or "int8 on cpu" in result.out


def test_training_and_tracing_in_8_bits_are_refused_by_name(command):
    result = command("finetune", "--precision", "int8")
    assert result.status == 2 and "--precision: invalid choice: 'int8' (choose from" in result.err
    with pytest.raises(ValueError, match="precision; leave it out: this command knows float32"):
        train.run("trace", text="a", model="demo", precision="int8")
    with pytest.raises(ValueError, match=r"precision.*invalid choice: 'int8'"):
        TextClassifier(precision="int8").fit(["a", "b"], [0, 1])


def test_estimators_predict_and_encode_in_8_bits(tiny_classifier, tiny_model, tmp_path):
    texts = ["i am so happy", "what a sad day", "no"]
    exact = TextClassifier.load(tiny_classifier, device="cpu", precision="fp32")
    rounded = TextClassifier.load(tiny_classifier, device="cpu", precision="int8")
    expected, found = exact.predict_proba(texts), rounded.predict_proba(texts)
    assert 1e-6 < np.abs(expected - found).max() < 0.2
    rounded.save(tmp_path / "saved")
    saved = (tmp_path / "saved" / "model.safetensors").read_bytes()
    assert saved == (tiny_classifier / "model.safetensors").read_bytes()
    np.testing.assert_array_equal(
        rounded.set_params(precision="fp32").predict_proba(texts), expected
    )
    np.testing.assert_array_equal(exact.set_params(precision="int8").predict_proba(texts), found)
    encoder = TextEncoder(str(tiny_model), device="cpu", precision="int8").fit(texts)
    plain = TextEncoder(str(tiny_model), device="cpu", precision="fp32").fit(texts)
    assert 1e-6 < np.abs(encoder.transform(texts) - plain.transform(texts)).max() < 0.2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_memory_that_tensors_free_is_not_fetched_from_the_system_again():
    """A block that goes back to the system costs a page fault for each of its pages once more."""
    code = """
import resource, torch
from train.device import choose_precision
choose_precision("cpu")
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for n in (2, 4, 16):
        blocks = [torch.ones(n * 1_000_000) for _ in range(3)]
        del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_000  # of 64,000 pages
