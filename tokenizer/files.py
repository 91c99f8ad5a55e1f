"""Where a tokenizer's files lie, and how they are read: vocab.txt, tokenizer_config.json."""

import json
import os
from pathlib import Path
from typing import Any

from tokenizer import hub
from tokenizer.special import SPECIAL_TOKENS

OPTIONS: dict[str, Any] = {  # of tokenizer_config.json, with their types
    "do_lower_case": bool,
    "strip_accents": bool | None,
    "tokenize_chinese_chars": bool,
    "model_max_length": int,
}


def find(name: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """vocab.txt and tokenizer_config.json of a folder, of a Hub name or of `demo`; transformers 5
    saves tokenizer.json in the place of vocab.txt."""
    source = hub.find(name)
    vocab = source.optional("vocab.txt") or source.optional("tokenizer.json")
    if vocab is None:
        raise FileNotFoundError(
            f"no vocab.txt and no tokenizer.json in {source}: no tokenizer there"
        )
    return vocab, source.optional("tokenizer_config.json")


def read_vocab(path: str | os.PathLike[str]) -> list[str]:
    """The tokens of vocab.txt, or of a tokenizer.json; a token's id is its place."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the vocabulary {path} is not UTF-8: {error}; convert it") from None
    except OSError as error:
        raise type(error)(f"cannot read the vocabulary {path}: {error.strerror}") from None
    # Not splitlines(): a token may hold U+2028 or U+0085.
    lines = text.removesuffix("\n").split("\n")
    is_json = Path(path).suffix == ".json"
    tokens = _tokens_of_json(path, text) if is_json else [line.removesuffix("\r") for line in lines]
    first_line: dict[str, int] = {}
    for line, token in enumerate(tokens, start=1):
        if first_line.setdefault(token, line) != line:
            raise ValueError(f"{path}: {token!r} is on line {first_line[token]} and on line {line}")
    missing = [token for token in SPECIAL_TOKENS if token not in first_line]
    if missing:
        what = "is empty" if not text.strip() else f"has no {', '.join(missing)}"
        raise ValueError(f"the vocabulary {path} {what}: give BERT's vocab.txt, a token a line")
    return tokens


def _tokens_of_json(path: str | os.PathLike[str], text: str) -> list[str]:
    try:
        model = json.loads(text)["model"]
        if model["type"] != "WordPiece":
            raise ValueError(f"its model is {model['type']}, not WordPiece")
        tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
        if [model["vocab"][token] for token in tokens] != [*range(len(tokens))]:
            raise ValueError("its ids do not run from 0 without gaps")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the tokenizer.json of a BERT: {error}") from None
    return tokens


def read_config(path: Path) -> dict[str, Any]:
    """What tokenizer_config.json says of the options that this tokenizer has."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no JSON object but {type(config).__name__}")
    for token in SPECIAL_TOKENS:
        given = config.get(f"{token[1:-1].lower()}_token", token)
        if (given.get("content") if isinstance(given, dict) else given) != token:
            raise ValueError(f"{path}: {given!r} in the place of {token}, the only one known here")
    options = {name: config[name] for name in OPTIONS if name in config}
    for name, value in options.items():
        if not isinstance(value, OPTIONS[name]):
            raise ValueError(f"{path}: {name} is {value!r}, which is not {OPTIONS[name]}")
    length = options.get("model_max_length", 512)
    if length < 1:
        raise ValueError(f"{path}: model_max_length is {length}: give the number of positions")
    if length > 10**9:  # transformers' way to say: not known
        del options["model_max_length"]
    return options
