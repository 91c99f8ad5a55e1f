"""DistilBERT in plain PyTorch: token ids in, hidden states, logits and losses out."""

from minibert.config import DistilBertConfig
from minibert.heads import (
    BertForSequenceClassification,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    load_classifier,
)
from minibert.model import DistilBertModel

__all__ = [
    "BertForSequenceClassification",
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForSequenceClassification",
    "DistilBertModel",
    "load_classifier",
]
