"""The models are transformers' models, and these tests would notice if they were not."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minibert import DistilBertModel
from tests.parity import (
    KINDS,
    N_CONFIGS,
    batches,
    gradient_difference,
    labels_of,
    output_difference,
    outputs,
    packaged_difference,
    random_config,
    twins,
    worst,
)

FLOAT64, GRADIENTS, FLOAT32 = 1e-10, 1e-9, 2e-5

every_case = pytest.mark.parametrize(
    ("kind", "seed"),
    [(kind, seed) for kind in KINDS for seed in range(N_CONFIGS)],
    ids=lambda value: str(value).replace(" ", "-"),
)


@every_case
def test_all_outputs_equal_transformers_in_float64(kind: str, seed: int) -> None:
    assert output_difference(kind, seed, torch.float64) < FLOAT64


@every_case
def test_all_gradients_equal_transformers_in_float64(kind: str, seed: int) -> None:
    assert gradient_difference(kind, seed) < GRADIENTS


@every_case
def test_all_outputs_equal_transformers_in_float32(kind: str, seed: int) -> None:
    assert output_difference(kind, seed, torch.float32) < FLOAT32


@pytest.mark.slow
def test_the_packaged_weights_give_the_hidden_states_of_transformers_bert() -> None:
    assert packaged_difference(torch.float32, n_texts=200) < FLOAT32


def test_the_random_configurations_differ_where_it_matters() -> None:
    configs = [random_config(seed) for seed in range(N_CONFIGS)]
    assert {config.activation for config in configs} == {"gelu", "relu"}
    for name in ("dim", "n_heads", "n_layers", "hidden_dim"):
        assert len({getattr(config, name) for config in configs}) >= 3, name


def encoder_of(model: nn.Module) -> DistilBertModel:
    return getattr(model, "distilbert", model)  # type: ignore[return-value]


def tanh_gelu(model: nn.Module) -> None:
    for block in encoder_of(model).blocks:
        block.ffn.activation = partial(F.gelu, approximate="tanh")


def eps_of_torch(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5


def swapped_norms(model: nn.Module) -> None:
    for block in encoder_of(model).blocks:
        first, second = block.sa_layer_norm, block.output_layer_norm
        block.sa_layer_norm, block.output_layer_norm = second, first


def swapped_q_and_k(model: nn.Module) -> None:
    for block in encoder_of(model).blocks:
        attention = block.attention
        attention.q_lin, attention.k_lin = attention.k_lin, attention.q_lin


def ignored_mask(model: nn.Module) -> None:
    encoder = encoder_of(model)
    embed = encoder._embed
    encoder._embed = lambda input_ids, mask: embed(input_ids, None)  # type: ignore[method-assign]


def attention_dropout_in_eval(model: nn.Module) -> None:
    for block in encoder_of(model).blocks:
        block.attention.training = True


def no_attention_scale(model: nn.Module) -> None:
    with torch.no_grad():
        for block in encoder_of(model).blocks:
            for parameter in block.attention.q_lin.parameters():
                parameter.mul_(math.sqrt(block.attention.head_dim))


BUGS = (
    tanh_gelu,
    eps_of_torch,
    swapped_norms,
    swapped_q_and_k,
    ignored_mask,
    attention_dropout_in_eval,
    no_attention_scale,
)


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_bug_is_seen_in_float64_and_would_be_in_float32(kind: str, plant) -> None:
    config = random_config(0)
    assert config.activation == "gelu"
    ours, theirs = twins(kind, config, torch.float64)
    plant(ours)
    batch = batches(config, 0)["padded on the right"]
    labels = labels_of(kind, config, batch)
    with torch.no_grad():
        difference = worst(outputs(ours, batch, labels), outputs(theirs, batch, labels))
    assert difference > FLOAT32 > FLOAT64
