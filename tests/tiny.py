"""The tiny model that the tests use, and the tutorial's sentence with its ids."""

import torch

from minibert import DistilBertConfig

# No two axes of a tensor are equal, so that none fits where another belongs.
SIZES = {
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "n_layers": 2,
    "n_heads": 4,
    "dim": 8,
    "hidden_dim": 24,
}
REAL_VOCABULARY = {"vocab_size": 30_522, "max_position_embeddings": 64}  # the tokenizer's own ids
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}

IDS = torch.tensor([[2, 11, 12, 13, 3], [2, 21, 3, 0, 0]])  # (B, S) = (2, 5), padded with 0
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])

TEXT = "Tokenizing text is a core task of NLP."
TEXT_IDS = [101, 19204, 6026, 3793, 2003, 1037, 4563, 4708, 1997, 17953, 2361, 1012, 102]


def tiny(**changes) -> DistilBertConfig:
    """A configuration of the sizes above, some of them or other fields changed."""
    return DistilBertConfig(**{**SIZES, **changes})


TINY = tiny(num_labels=3)
