"""Loading: a whole file comes back to the bit, and every kind of damage is refused by name."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minibert import DistilBertForSequenceClassification, DistilBertModel
from minibert.checkpoint import check_finite
from tests.exercise.words import Wrong, refused
from tests.parity import wake_up
from tests.tiny import TINY

WORDS = "embeddings.word_embeddings.weight"
LAST = "transformer.layer.1.ffn.lin2.weight"
Tensors = dict[str, Tensor]


def load(change: Callable[[Tensors], object], model_class=DistilBertModel):
    """The model of a file of saved tensors, after a change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = wake_up(model_class(TINY))
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return model, model_class.from_pretrained(folder)


def accepted(change: Callable[[Tensors], object], what: str, model_class=DistilBertModel) -> None:
    """Raises Wrong where the file is refused, or a parameter differs from what was saved."""
    try:
        saved, loaded = load(change, model_class)
    except ValueError as error:
        raise Wrong(f"{what} should load; yours refuses it: {error}") from None
    for name, tensor in saved.state_dict().items():
        if not torch.equal(loaded.state_dict()[name], tensor):
            raise Wrong(f"{what}: {name} has other numbers than were saved.")


def check_whole() -> None:
    """a file that fits is loaded: not one check too many"""
    accepted(lambda tensors: None, "a file as it was saved")
    accepted(lambda tensors: None, "a classifier's file", DistilBertForSequenceClassification)

    def with_positions(tensors: Tensors) -> None:
        tensors["embeddings.position_ids"] = torch.arange(16)

    accepted(with_positions, "an old file, which holds embeddings.position_ids,")

    def with_head(tensors: Tensors) -> None:
        tensors["qa_outputs.weight"] = torch.ones(2, 8)

    accepted(with_head, "a file with another task's head, qa_outputs.weight,")


def check_head() -> None:
    """a file of the encoder alone is loaded into a classifier, whose head starts anew"""
    with tempfile.TemporaryDirectory() as name:
        wake_up(DistilBertModel(TINY)).save_pretrained(Path(name))
        try:
            model = DistilBertForSequenceClassification.from_pretrained(Path(name))
        except ValueError as error:
            raise Wrong(f"an encoder's file should load into a classifier: {error}") from None
    n_fresh = len(model.fresh)
    if n_fresh != 4:
        raise Wrong(f"{n_fresh} tensors of the head are said to be new; all 4 are.")


def check_missing() -> None:
    """a missing encoder tensor is refused by its name"""
    for name in (LAST, "embeddings.LayerNorm.bias", "transformer.layer.0.attention.k_lin.bias"):
        refused(lambda: load(lambda t: t.pop(name)), f"a file without {name}", [name])  # noqa: B023

    def two(tensors: Tensors) -> None:
        for name in [
            n for n in tensors if ".ffn." in n and n != "transformer.layer.1.ffn.lin1.weight"
        ]:
            del tensors[name]

    refused(lambda: load(two), "a file without seven tensors", ["ffn.lin", "6 more"])


def check_unexpected() -> None:
    """an encoder tensor that the model has no place for is refused by its name"""
    name = "transformer.layer.2.ffn.lin1.weight"

    def third_layer(tensors: Tensors) -> None:
        tensors[name] = torch.ones(24, 8)

    what = "a file of three layers for a model of two (dropping one gives other numbers)"
    refused(lambda: load(third_layer), what, [name])


def check_shapes() -> None:
    """a tensor of another shape is refused with both shapes"""

    def turned(tensors: Tensors) -> None:
        tensors[LAST] = tensors[LAST].T.contiguous()

    refused(lambda: load(turned), f"{LAST} turned on its side", [LAST, "(24, 8)", "(8, 24)"])

    def flat(tensors: Tensors) -> None:
        tensors["embeddings.LayerNorm.bias"] = torch.zeros(1)

    what = "a norm's bias of one number, which would fit by broadcasting,"
    refused(lambda: load(flat), what, ["embeddings.LayerNorm.bias", "(1,)", "(8,)"])


def check_types() -> None:
    """weights of whole numbers are refused with their type; half precision is read"""

    for dtype, its_name in ((torch.int8, "I8"), (torch.uint8, "U8"), (torch.bool, "BOOL")):

        def whole(tensors: Tensors) -> None:
            tensors[LAST] = tensors[LAST].to(dtype)  # noqa: B023

        refused(lambda: load(whole), f"{LAST} in {dtype}", [LAST, its_name])

    def half(tensors: Tensors) -> None:
        tensors["embeddings.LayerNorm.weight"] = torch.ones(8, dtype=torch.bfloat16)

    try:
        load(half)
    except ValueError as error:
        raise Wrong(f"bfloat16 should load (it becomes float32): {error}") from None


def check_numbers() -> None:
    """NaN and infinity are refused by the tensor's name; large numbers are not"""
    for value in (math.nan, math.inf, -math.inf):

        def spoilt(tensors: Tensors) -> None:
            tensors[LAST][3, 4] = value  # noqa: B023

        refused(lambda: load(spoilt), f"one {value} in {LAST}", [LAST])
    both = torch.tensor([math.inf, -math.inf])
    refused(lambda: check_finite("both", both), "+inf beside -inf", ["both"])
    try:
        check_finite("large", torch.full((4,), 60_000.0, dtype=torch.float16))
    except ValueError as error:
        raise Wrong(
            f"Four finite float16 numbers are refused ({error}): their sum overflows, they do not."
        ) from None
