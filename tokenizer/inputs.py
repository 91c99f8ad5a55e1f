"""Checks of what a call was given; every refusal names the argument, its value and a remedy."""

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

_TYPES_OF_CHOICES = (str, bool, NoneType)


def choose(option: str, value: Any, choices: dict[bool | str | None, str | None]) -> Any:
    """What an option's value stands for.

    >>> choose("padding", True, {True: "longest", False: None})
    'longest'
    """
    # The types first: an unhashable value cannot be looked up, and 1 would be found as True.
    if isinstance(value, _TYPES_OF_CHOICES) and value in choices:
        return choices[value]
    raise ValueError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}")


def positive(option: str, value: int | None, default: int) -> int:
    """A number of tokens, or the default where none was given."""
    if value is None:
        return default
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{option}={value!r}: give a whole number from 1 up, or None")
    return operator.index(value)


def typed(text: str) -> str:
    """A text from the command line, as UTF-8 whatever the locale says: in one of ASCII Python keeps
    the bytes of other letters as surrogates. Bytes that are no UTF-8 stay surrogates."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        raw = os.fsencode(text)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return text


def texts_and_partners(text: Any, text_pair: Any) -> tuple[list[str], list[str] | None]:
    """The texts as a list and, where there are any, their partners.

    Pairs come as two arguments or, as in transformers, as a list of (text, partner).
    """
    if text_pair is None and isinstance(text, str):
        return [text], None  # the common case of a single text
    texts = _as_list("text", text)
    if text_pair is None:
        if texts and not isinstance(texts[0], str) and all(map(_is_pair, texts)):
            firsts, seconds = zip(*texts)
            return _checked("first text of pair", firsts), _checked("second text of pair", seconds)
        return _checked("text", texts), None
    partners = _checked("text_pair", _as_list("text_pair", text_pair))
    texts = _checked("text", texts)
    # One text has one partner; a list of one does not pair with a bare string.
    if isinstance(text, str) != isinstance(text_pair, str) or len(texts) != len(partners):
        raise ValueError(
            f"text is a {type(text).__name__} of {len(texts)}, text_pair a "
            f"{type(text_pair).__name__} of {len(partners)}: give every text one partner"
        )
    return texts, partners


def _as_list(name: str, text: Any) -> list[Any]:
    if isinstance(text, str):
        return [text]
    # A dict would give its keys, a table the names of its columns, bytes their numbers.
    if hasattr(text, "columns"):
        raise TypeError(
            f"{name} must be a str or a list of str, not {type(text).__name__}: give one column of "
            'it, as in table["text"]'
        )
    if isinstance(text, bytes | bytearray | Mapping) or not isinstance(text, Iterable):
        raise TypeError(f"{name} must be a str or a list of str, not {type(text).__name__}")
    return list(text)


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2


def _checked(name: str, texts: Sequence[Any]) -> list[str]:
    if set(map(type, texts)) == {str}:  # the common case, in one pass without Python code
        return list(texts)
    for place, item in enumerate(texts):
        if not isinstance(item, str):  # None and NaN come from tables with empty cells
            raise TypeError(f"{name}[{place}] must be a str, not {type(item).__name__}: {item!r}")
    return list(texts)
