"""Hidden states of a frozen encoder as features, cached in a file by `probe --features FILE`.

Features are a function of weights, token ids, pooling and number format. The file's metadata holds
a digest of each; where one differs now, the cached features would be wrong and are refused.
"""

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minibert import DistilBertModel
from minibert.checkpoint import write_whole
from train.batches import Encoded
from train.device import Precision, Processes
from train.forward import extract_features, extract_layers
from train.options import ProbeOptions


def get_features(
    model: DistilBertModel,
    encoded: dict[str, Encoded],
    options: ProbeOptions,
    precision: Precision,
    processes: Processes,
) -> dict[str, np.ndarray]:
    """{split: (N, D) float32}, or (N, L + 1, P, D) with --layers all; computed, or from --features.

    Raises ValueError where the file holds features of something else."""
    path = Path(options.features) if options.features else None
    if path is not None and path.exists():
        features = read_features(path, list(encoded), identity(model, encoded, options, precision))
        print(f"features from {path}")
        return features
    if options.layers == "all":
        features = {
            split: extract_layers(model, rows, precision, processes, title=split)
            for split, rows in encoded.items()
        }
    else:
        features = {
            split: extract_features(model, rows, precision, options.pooling, processes, title=split)
            for split, rows in encoded.items()
        }
    if path is not None and processes.is_main:
        write_features(path, features, identity(model, encoded, options, precision))
        print(f"features kept in {path}")
    return features


def identity(
    model: DistilBertModel,
    encoded: dict[str, Encoded],
    options: ProbeOptions,
    precision: Precision,
) -> dict[str, str]:
    """What the features depend on: {name: digest or value}."""
    weights = hashlib.sha256(repr(model.config).encode())
    for tensor in model.state_dict().values():  # in the order of the model's definition
        weights.update(tensor.cpu().numpy().tobytes())
    tokens = {}
    for split, rows in encoded.items():
        # Lengths too: the ids of all texts are one long array, and two ways to cut it are two data.
        digest = hashlib.sha256(rows.lengths.tobytes())
        digest.update(rows.ids.cpu().numpy().tobytes())
        tokens[f"{split} texts"] = digest.hexdigest()
    return {
        "model": weights.hexdigest(),
        **tokens,
        "layers": options.layers,
        "pooling": "all" if options.layers == "all" else options.pooling,
        "precision": precision.name,
    }


def read_features(path: Path, splits: list[str], expected: dict[str, str]) -> dict[str, np.ndarray]:
    """{split: features}. Raises ValueError naming what differs from `expected`."""
    try:
        with safe_open(path, "np") as file:
            made_from = file.metadata() or {}
            different = [
                name for name in expected | made_from if expected.get(name) != made_from.get(name)
            ]
            if different:
                raise ValueError(
                    f"--features {path} was made with another {', '.join(different)}; name a file "
                    "that is not there yet, and it will be made"
                )
            return {split: file.get_tensor(split) for split in splits}
    except SafetensorError as error:
        raise ValueError(f"--features {path} cannot be read: {error}") from error


def write_features(path: Path, features: dict[str, np.ndarray], made_from: dict[str, str]) -> None:
    """Write the cache file: beside its place, then renamed, so that no half file is ever read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda beside: save_file(features, beside, made_from))
