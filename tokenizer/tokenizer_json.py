"""tokenizer.json, the format of the `tokenizers` library: read whole or refused, and written.

It describes any tokenizer as a chain: normalizer, pre_tokenizer, model, post_processor, decoder.
BERT's chain is followed with all of its settings; another link is refused by its name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizer.hub import read_json
from tokenizer.rules import Rules


class Contents(NamedTuple):
    """What a vocabulary's file says, and the added tokens that belong to it."""

    tokens: list[str]
    added: list[dict[str, Any]]  # id, content and flags of each
    options: Mapping[str, Any] = {}  # of Rules
    names: Mapping[str, str] = {}  # pad_token, ...: contents of tokens
    sides: Mapping[str, str] = {}  # padding_side, truncation_side
    cleanup: bool = True  # of the decoder


def read(path: Path) -> Contents:
    """The contents of a tokenizer.json."""
    try:
        return _contents(read_json(path))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is not the tokenizer.json of a BERT: {error}") from None


def _contents(found: dict[str, Any]) -> Contents:
    model = found["model"]
    if model.get("type", "WordPiece") != "WordPiece":  # the official file has no "type"
        raise ValueError(f"its model is {model['type']}, not WordPiece")
    vocab = model["vocab"]
    if not any(vocab):
        raise ValueError("its vocabulary is empty")
    tokens = sorted(vocab, key=vocab.__getitem__)
    if [vocab[token] for token in tokens] != [*range(len(tokens))]:
        raise ValueError("its ids do not run from 0 without gaps")
    prefix = model.get("continuing_subword_prefix", "##")
    options = {"prefix": prefix, "max_chars": model.get("max_input_chars_per_word", 100)}
    if not isinstance(prefix, str) or type(options["max_chars"]) is not int:
        raise ValueError(f"its model's prefix and word limit are {options}: give a str and an int")
    options |= _normalizer_options(found.get("normalizer"))
    _refuse_unless("pre_tokenizer", found.get("pre_tokenizer"), "BertPreTokenizer")

    added = found.get("added_tokens") or []
    ids = {**vocab, **{token.get("content"): token.get("id") for token in added}}
    names = {"unk_token": model["unk_token"], **_frame(found.get("post_processor"), ids)}
    sides = {}
    padding, truncation = found.get("padding"), found.get("truncation")
    if padding:  # only how, not that: a call pads where it is asked to
        names["pad_token"] = padding["pad_token"]
        sides["padding_side"] = padding["direction"].lower()
        if padding["pad_id"] != ids[padding["pad_token"]] or padding.get("pad_type_id", 0) != 0:
            raise ValueError(f"its padding is {padding}, other than the id of pad_token and type 0")
    if not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"its special tokens are {names}, which are not all text")
    if truncation:
        sides["truncation_side"] = truncation.get("direction", "Right").lower()
    if not set(sides.values()) <= {"left", "right"}:
        raise ValueError(f"its sides are {sides}: choose left or right")
    decoder = found.get("decoder") or {"type": "WordPiece", "prefix": prefix}
    _refuse_unless("decoder", decoder, "WordPiece")
    if decoder["prefix"] != prefix:
        raise ValueError(f"its decoder's prefix is {decoder['prefix']!r}, its model's {prefix!r}")
    return Contents(tokens, added, options, names, sides, decoder.get("cleanup", True))


def _refuse_unless(link: str, value: Any, kind: str) -> None:
    found = value.get("type") if isinstance(value, dict) else value
    if found != kind:
        raise ValueError(f"its {link} is {found}, not {kind}")


def _normalizer_options(normalizer: Any) -> dict[str, Any]:
    _refuse_unless("normalizer", normalizer, "BertNormalizer")
    options = {
        "clean_text": normalizer["clean_text"],
        "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
        "strip_accents": normalizer["strip_accents"],
        "do_lower_case": normalizer["lowercase"],
    }
    for option, value in options.items():
        if not isinstance(value, bool) and not (option == "strip_accents" and value is None):
            raise ValueError(f"its normalizer's {option} is {value!r}, which is not true or false")
    return options


def template(cls: str, sep: str, ids: dict[str, int]) -> dict[str, Any]:
    """The post_processor that frames texts as BERT does, in tokenizer.json's words."""

    def special(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    single = [special(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, special(sep, 0)]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, special(sep, 1)]
    tokens = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (cls, sep)}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def _frame(processor: Any, ids: dict[str, int]) -> dict[str, str]:
    """The names of [CLS] and [SEP], from a post_processor that puts them where BERT does."""
    kind = processor.get("type") if isinstance(processor, dict) else processor
    if kind == "BertProcessing":
        cls, sep = processor["cls"][0], processor["sep"][0]
        is_berts = processor == {"type": kind, "cls": [cls, ids[cls]], "sep": [sep, ids[sep]]}
    elif kind == "TemplateProcessing":
        ends = [processor["single"][0], processor["single"][-1]]
        cls, sep = (end.get("SpecialToken", {}).get("id") for end in ends)
        is_berts = cls in ids and sep in ids and processor == template(cls, sep, ids)
    else:
        raise ValueError(f"its post_processor is {kind}, not TemplateProcessing or BertProcessing")
    if not is_berts:
        raise ValueError("its post_processor does not make [CLS] A [SEP] and [CLS] A [SEP] B [SEP]")
    return {"cls_token": cls, "sep_token": sep}


def source(rules: Rules, cleanup: bool) -> str:
    """The text of a tokenizer.json for these rules."""
    chain = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [token._asdict() for token in rules.added_by_id],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": rules.clean_text,
            "handle_chinese_chars": rules.tokenize_chinese_chars,
            "strip_accents": rules.strip_accents,
            "lowercase": rules.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(rules.names.cls_token, rules.names.sep_token, rules.ids),
        "decoder": {"type": "WordPiece", "prefix": rules.prefix, "cleanup": cleanup},
        "model": {
            "type": "WordPiece",
            "unk_token": rules.names.unk_token,
            "continuing_subword_prefix": rules.prefix,
            "max_input_chars_per_word": rules.max_chars,
            "vocab": rules.vocab,
        },
    }
    return json.dumps(chain, indent=2, ensure_ascii=False) + "\n"
