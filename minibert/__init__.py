"""DistilBERT in plain PyTorch: token ids in, hidden states, logits and losses out."""

from minibert.config import DistilBertConfig
from minibert.heads import DistilBertForMaskedLM, DistilBertForSequenceClassification
from minibert.model import DistilBertModel

__all__ = [
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForSequenceClassification",
    "DistilBertModel",
]
