"""Texts and class ids from files, the Hub or Python objects: read exactly, or refused."""

from train.data.load import Data, describe, encode, fingerprint, hold_out, load_data
from train.data.sources import DEMO_FOLDER
from train.hub_data import EMOTION_LABELS

__all__ = [
    "DEMO_FOLDER",
    "EMOTION_LABELS",
    "Data",
    "describe",
    "encode",
    "fingerprint",
    "hold_out",
    "load_data",
]
