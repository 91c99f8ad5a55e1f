"""Which files of a tokenizer there are, in a folder, on the Hub or in the demo package."""

import os
from pathlib import Path

from tokenizer import hub
from tokenizer.settings import BESIDE, VOCABULARIES


def find(name: str | os.PathLike[str]) -> dict[str, Path]:
    """The paths of the files that settings.read needs, by their names."""
    source = hub.find(name)
    names: tuple[str, ...] = (*VOCABULARIES, *BESIDE)
    if source.sha256:  # of the demo and the official checkpoint it is known what they hold
        names = ("vocab.txt", "tokenizer_config.json")
    found: dict[str, Path] = {}
    for filename in names:
        # A tokenizer.json holds what these files do. Each that is not asked for saves a request.
        if "tokenizer.json" in found and filename in ("vocab.txt", "added_tokens.json"):
            continue
        path = source.optional(filename)
        if path is not None:
            found[filename] = path
    if not any(vocabulary in found for vocabulary in VOCABULARIES):
        raise FileNotFoundError(
            f"no vocab.txt and no tokenizer.json in {source}: no tokenizer there"
        )
    return found
