"""Texts and class ids from files, the Hub or Python objects: read exactly, or refused."""

from train.data.hub import EMOTION_LABELS
from train.data.load import (
    Data,
    check_text,
    describe,
    encode,
    encode_all,
    fingerprint,
    hold_out,
    load_data,
    load_training_data,
)
from train.data.sources import DEMO_FOLDER

__all__ = [
    "DEMO_FOLDER",
    "EMOTION_LABELS",
    "Data",
    "check_text",
    "describe",
    "encode",
    "encode_all",
    "fingerprint",
    "hold_out",
    "load_data",
    "load_training_data",
]
