"""What a tokenizer's files say: everything that changes ids is followed or refused by name.

vocab.txt and tokenizer_config.json, with added_tokens.json and special_tokens_map.json beside them,
are the format of transformers up to 4; tokenizer.json with tokenizer_config.json that of 5.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from tokenizer import tokenizer_json
from tokenizer.hub import read_json
from tokenizer.inputs import choose
from tokenizer.normalize import WHITE_SPACE
from tokenizer.rules import BERTS_NAMES, Rules
from tokenizer.special import AddedToken, SpecialNames
from tokenizer.tensors import SIDES
from tokenizer.tokenizer_json import Contents
from tokenizer.wordpiece import MAX_CHARS

VOCABULARIES = ("tokenizer.json", "vocab.txt")  # one of them must be there; the first one decides
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

# The fields of tokenizer_config.json that count here, with their types.
OPTIONS = {
    "do_lower_case": (bool,),
    "strip_accents": (bool, NoneType),
    "tokenize_chinese_chars": (bool,),
}
TYPES = {
    **OPTIONS,
    "model_max_length": (int, float, NoneType),
    "clean_up_tokenization_spaces": (bool, NoneType),
    "added_tokens_decoder": (dict, NoneType),
    "additional_special_tokens": (list, NoneType),
    "extra_special_tokens": (list, dict, NoneType),
}
NOT_FOLLOWED: dict[str, tuple[Any, ...]] = {  # other values than these change ids
    "never_split": (None, []),
    "do_basic_tokenize": (None, True),
    "split_special_tokens": (None, False),
}
# Classes that split texts as BERT does. Others have a vocab.txt too, but other rules.
CLASSES = (
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "PreTrainedTokenizer",
    "TokenizersBackend",
)
NAMES = SpecialNames._fields
FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")
USUAL_LENGTH = 512  # positions of every published BERT and DistilBERT
UNKNOWN_LENGTH = 10**9  # transformers writes 10**30 where it does not know the model's positions


class Settings(NamedTuple):
    """All that a tokenizer is made of."""

    rules: Rules
    model_max_length: int = USUAL_LENGTH
    padding_side: str = "right"
    truncation_side: str = "right"
    cleanup: bool = True  # spaces before punctuation marks are taken out, token by token
    clean_up_tokenization_spaces: bool = False  # and once more in the whole text


def read(paths: Mapping[str, Path]) -> Settings:
    """The settings in these files, which are named as in VOCABULARIES and BESIDE.

    Where tokenizer_config.json and tokenizer.json differ in an option, the former decides, as in
    transformers.
    """
    config: dict[str, Any] = {}
    where: dict[str, Path] = {}  # the file that each field of config comes from, for messages
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if name in paths and not config.get("added_tokens_decoder"):
            found = _read_config(paths[name])
            config |= found
            where |= dict.fromkeys(found, paths[name])
    path = added_path = paths.get("tokenizer.json") or paths["vocab.txt"]
    if "tokenizer.json" in paths:
        contents = tokenizer_json.read(path)
    elif config.get("added_tokens_decoder"):
        added_path = where["added_tokens_decoder"]
        added = _decoded(added_path, config["added_tokens_decoder"])
        contents = Contents(read_vocab(path), added)
    else:
        added_path = paths.get("added_tokens.json", path)
        added = _listed(config, read_json(added_path)) if added_path != path else []
        contents = Contents(read_vocab(path), added)

    given = {name: config[name] for name in OPTIONS if config.get(name) is not None}
    names = _special_names(where, config, contents.names)
    rules = Rules(
        tuple(contents.tokens),
        names=names,
        more_tokens=_added_tokens(contents, added_path, config, where),
        **{**contents.options, **given},
    )
    check(path, rules)
    sides = {
        side: choose(f"{where[side]}: {side}", config[side], SIDES)
        for side in ("padding_side", "truncation_side")
        if config.get(side) is not None
    }
    return Settings(
        rules,
        _length(where.get("model_max_length"), config.get("model_max_length")),
        cleanup=contents.cleanup,
        clean_up_tokenization_spaces=bool(config.get("clean_up_tokenization_spaces")),
        **{**contents.sides, **sides},
    )


def write(given: Settings, folder: Path) -> None:
    """Write the settings as vocab.txt and tokenizer_config.json. What these two cannot say (another
    prefix, another limit of a word, ...) is written as a tokenizer.json beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    rules, names = given.rules, given.rules.names
    config: dict[str, Any] = {option: getattr(rules, option) for option in OPTIONS}
    config["model_max_length"] = given.model_max_length
    if names != BERTS_NAMES:
        config |= names._asdict()
    if given.clean_up_tokenization_spaces:
        config["clean_up_tokenization_spaces"] = True
    config |= {side: getattr(given, side) for side in ("padding_side", "truncation_side")}
    if rules.more_tokens:
        config["added_tokens_decoder"] = {
            str(token.id): {"content": token.content, **{f: getattr(token, f) for f in FLAGS}}
            for token in rules.added_by_id
        }
    config["tokenizer_class"] = "DistilBertTokenizer"
    texts = {
        "vocab.txt": "".join(f"{token}\n" for token in rules.tokens),
        "tokenizer_config.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n",
    }
    more = (rules.prefix, rules.max_chars, rules.clean_text, given.cleanup)
    usual = ("##", MAX_CHARS, True, True)
    if more != usual or any(t != t.rstrip(WHITE_SPACE) or "\n" in t for t in rules.tokens):
        texts["tokenizer.json"] = tokenizer_json.source(rules, given.cleanup)
    for name in (*VOCABULARIES, *BESIDE):
        if name in texts:  # as bytes: text mode would write other line ends on other systems
            write_whole(folder / name, texts[name].encode("utf-8"))
        else:  # of another tokenizer that was saved here before
            (folder / name).unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the path, then rename, so that a crash or a full disk leaves the old file."""
    beside = path.with_name(path.name + ".tmp")
    beside.unlink(missing_ok=True)  # of a process that was killed
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_vocab(path: Path) -> list[str]:
    """The tokens of a vocab.txt, a token a line; a token's id is the number of lines before it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the vocabulary {path} is not UTF-8: {error}; convert it") from None
    except OSError as error:
        raise type(error)(f"cannot read the vocabulary {path}: {error.strerror}") from None
    if not text.strip():
        raise ValueError(f"the vocabulary {path} is empty: give BERT's vocab.txt, a token a line")
    # Not splitlines(): a token may hold U+2028 or U+0085. White space at the end of a line is no
    # part of a token, and blank lines at the end are no tokens, as in `tokenizers`.
    tokens = [line.rstrip(WHITE_SPACE) for line in text.rstrip(WHITE_SPACE).split("\n")]
    if len(set(tokens)) < len(tokens):
        first_line: dict[str, int] = {}
        for line, token in enumerate(tokens, start=1):
            first = first_line.setdefault(token, line)
            if token and first != line:  # blank lines do no harm: no text becomes ""
                raise ValueError(f"{path}: {token!r} is on line {first} and on line {line}")
    return tokens


def check(path: Path, rules: Rules) -> None:
    """Refuse a vocabulary without its special tokens, whose ids would lie outside the model, and
    added tokens that only chance would tell apart."""
    missing = [name for name in rules.names if name is not None and name not in rules.ids]
    if missing:
        raise ValueError(
            f"the vocabulary {path} has no {', '.join(missing)}: give BERT's vocab.txt, "
            "a token a line, or name its special tokens in tokenizer_config.json"
        )
    written: dict[str, str] = {}
    for token in rules.added.values():
        if token.normalized:
            other = written.setdefault(rules.normalize(token.content), token.content)
            if other != token.content:
                raise ValueError(
                    f"{path}: the added tokens {other!r} and {token.content!r} are the same once "
                    "normalised: leave one of them out"
                )
    if "" in written:
        raise ValueError(
            f"{path}: nothing of the added token {written['']!r} is left by normalising"
        )


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    for name, types in TYPES.items():
        value = config.get(name)
        if name in config and type(value) not in types:  # type(): True is no number here
            allowed = " or ".join("null" if t is NoneType else t.__name__ for t in types)
            raise ValueError(f"{path}: {name} is {value!r}, which is not {allowed}")
    for name, harmless in NOT_FOLLOWED.items():
        if config.get(name) not in harmless:
            raise ValueError(f"{path}: {name} is {config[name]!r}, which is not supported here")
    kind = config.get("tokenizer_class")
    if kind is not None and str(kind).removesuffix("Fast") not in CLASSES:
        raise ValueError(f"{path}: tokenizer_class is {kind!r}, which does not split texts as BERT")
    return config


def _length(path: Path | None, length: float | None) -> int:
    if length is None or length > UNKNOWN_LENGTH:
        return USUAL_LENGTH
    if not length >= 1 or length != int(length):  # NaN is not >= 1, and int() would refuse it
        raise ValueError(f"{path}: model_max_length is {length}: give the number of positions")
    return int(length)


def _content(token: Any) -> Any:
    """A token is written as a str, or as an object with its content and flags."""
    return token.get("content") if isinstance(token, dict) else token


def _special_names(
    where: dict[str, Path], config: dict[str, Any], in_json: Mapping[str, str]
) -> SpecialNames:
    """The names of the special tokens: of tokenizer_config.json, of tokenizer.json, or BERT's."""
    names: dict[str, Any] = dict(in_json)
    for name in NAMES:
        if name not in config:
            continue
        token = _content(config[name])
        if not isinstance(token, str) and not (token is None and name == "mask_token"):
            raise ValueError(
                f"{where[name]}: {name} is {config[name]!r}: give a token of the vocabulary"
            )
        if name != "pad_token" and in_json.get(name, token) != token:
            raise ValueError(
                f"{where[name]}: {name} is {token!r}, but {in_json[name]!r} in tokenizer.json"
            )
        names[name] = token
    return SpecialNames(**names)


def _extra_special(config: dict[str, Any]) -> list[Any]:
    """Special tokens without a task: a list or, in the newest files, an object of named ones."""
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    return list(extra.values()) if isinstance(extra, dict) else extra


def _decoded(path: Path, decoder: dict[str, Any]) -> list[dict[str, Any]]:
    """The added tokens in added_tokens_decoder of tokenizer_config.json."""
    for key, token in decoder.items():
        if not key.isdecimal() or type(token) is not dict:
            raise ValueError(f"{path}: {key!r} in added_tokens_decoder is no id with a token")
    return [{**token, "id": int(number)} for number, token in decoder.items()]


def _listed(config: dict[str, Any], added: dict[str, Any]) -> list[dict[str, Any]]:
    """The added tokens in the added_tokens.json of older checkpoints."""
    tokens = [*_extra_special(config), *(config.get(name) for name in NAMES)]
    special = [_content(token) for token in tokens]
    return [
        {"content": content, "id": number, "special": content in special}
        for content, number in added.items()
    ]


def _added_tokens(
    contents: Contents, added_path: Path, config: dict[str, Any], where: dict[str, Path]
) -> tuple[AddedToken, ...]:
    """All added tokens but the special ones without flags, which need no entry. contents.added
    comes from added_path."""
    vocab = {token: number for number, token in enumerate(contents.tokens)}
    added = [(added_path, token) for token in contents.added]
    extra_path = where.get("extra_special_tokens") or where.get("additional_special_tokens")
    extra = [(extra_path, token) for token in _extra_special(config)]
    for path, token in [*added, *extra]:
        if not isinstance(_content(token), str):
            raise ValueError(f"{path}: {token!r} is no added token: it needs a content")
    entries: dict[str, tuple[Path | None, dict[str, Any]]]
    entries = {_content(entry): (path, entry) for path, entry in added}
    next_id = len(contents.tokens) + sum(content not in vocab for content in entries)
    flagged = [(where[name], config[name]) for name in NAMES if isinstance(config.get(name), dict)]
    for path, token in [*flagged, *extra]:
        content = _content(token)
        if content in entries:
            continue
        flags = token if isinstance(token, dict) else {}
        number = vocab.get(content, next_id)
        next_id += content not in vocab
        entries[content] = path, {**flags, "content": content, "special": True, "id": number}
    found = [(path, _added_token(path, entry)) for path, entry in entries.values()]
    found.sort(key=lambda pair: pair[1].id)
    next_id = len(contents.tokens)
    for path, token in found:
        expected = vocab.get(token.content, next_id)
        next_id += token.content not in vocab
        if token.id != expected:
            raise ValueError(
                f"{path}: the added token {token.content!r} has the id {token.id}, not "
                f"{expected}: ids must run on without gaps"
            )
    return tuple(token for _, token in found)


def _added_token(path: Path | None, entry: dict[str, Any]) -> AddedToken:
    content: Any = entry.get("content")
    number: Any = entry.get("id")
    flags = {flag: entry[flag] for flag in FLAGS if flag in entry}
    is_right = isinstance(content, str) and content and type(number) is int
    if not is_right or not all(isinstance(value, bool) for value in flags.values()):
        raise ValueError(f"{path}: {entry} is no added token: content, id and flags are needed")
    flags.setdefault("special", False)
    flags.setdefault("normalized", not flags["special"])  # special tokens stand as they are
    return AddedToken(content, number, **flags)
