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
from minibert.atomic import write_whole
from train.batches import Encoded
from train.device import Precision, Processes
from train.forward import extract_features, extract_layers
from train.options import ProbeOptions
from train.runs import is_there


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
    made_from = identity(model, encoded, options, precision) if path else {}
    if path and is_there(path):
        features = read_features(path, list(encoded), made_from)
        print(f"features from {path}")
        return features
    features = {}
    for split, rows in encoded.items():
        if options.layers == "all":
            features[split] = extract_layers(model, rows, precision, processes, split)
        else:
            features[split] = extract_features(
                model, rows, precision, options.pooling, processes, split
            )
    if path and processes.is_main:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, then renamed: a half-written file would be taken for the cache.
        write_whole(path, lambda beside: save_file(features, beside, made_from))
        print(f"features kept in {path}")
    return features


def identity(
    model: DistilBertModel, encoded: dict[str, Encoded], options: ProbeOptions, precision: Precision
) -> dict[str, str]:
    """What the features depend on: {name: digest or value}."""
    weights = hashlib.sha256(repr(model.config).encode())
    for tensor in model.state_dict().values():  # in the order of the model's definition
        weights.update(tensor.cpu().numpy().tobytes())
    made_from = {
        "model": weights.hexdigest(),
        "layers": options.layers,
        "pooling": "all" if options.layers == "all" else options.pooling,
        "precision": precision.name,
    }
    for split, rows in encoded.items():
        # Lengths too: the ids of all texts are one long array, and two ways to cut it are two data.
        digest = hashlib.sha256(rows.lengths.data)
        digest.update(rows.ids.cpu().numpy().data)
        made_from[f"{split} texts"] = digest.hexdigest()
    return made_from


def read_features(path: Path, splits: list[str], expected: dict[str, str]) -> dict[str, np.ndarray]:
    """{split: features}. Raises ValueError naming what differs from `expected`."""
    try:
        with safe_open(path, "np") as file:
            found = file.metadata() or {}
            names = expected | found
            different = [name for name in names if expected.get(name) != found.get(name)]
            if different:
                raise ValueError(
                    f"--features {path} was made with another {', '.join(different)}; name a file "
                    "that is not there yet, and it will be made"
                )
            return {split: file.get_tensor(split) for split in splits}
    except SafetensorError as error:
        raise ValueError(f"--features {path} cannot be read: {error}") from error
