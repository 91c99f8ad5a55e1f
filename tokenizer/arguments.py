"""What a call was asked for, checked: every refusal names the option, its value and a remedy."""

import operator
from collections.abc import Iterable, Mapping
from typing import Any

Choices = dict[bool | str | None, str | None]

PADDING: Choices = {True: "longest", "longest": "longest", "max_length": "max_length"}
PADDING |= {False: None, "do_not_pad": None}
TRUNCATION: Choices = {True: "longest_first", "longest_first": "longest_first"}
TRUNCATION |= {"only_first": "only_first", "only_second": "only_second"}
TRUNCATION |= {False: None, "do_not_truncate": None}
SIDES: Choices = {"right": "right", "left": "left"}
TENSORS: Choices = {None: None, "np": "np", "pt": "pt"}


def choose(option: str, value: Any, choices: Choices) -> Any:
    """What an option's value stands for.

    >>> choose("padding", True, PADDING)
    'longest'
    """
    if isinstance(value, str | bool | None) and value in choices:
        return choices[value]
    raise ValueError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}")


def positive(option: str, value: int | None, default: int) -> int:
    """A number of tokens, or the default where none was given."""
    if value is None:
        return default
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{option}={value!r}: give a whole number from 1 up, or None")
    return operator.index(value)


def room(limit: int, n_special: int) -> int:
    """How many tokens of the texts fit beside the special ones."""
    if limit < n_special:
        raise ValueError(f"max_length={limit} is less than the {n_special} special tokens need")
    return limit - n_special


def as_texts(text: Any, text_pair: Any) -> tuple[list[str], list[str] | None]:
    """The texts and, if there are any, their partners."""
    texts = _as_list("text", text)
    if text_pair is None:
        return texts, None
    partners = _as_list("text_pair", text_pair)
    if isinstance(text, str) != isinstance(text_pair, str) or len(texts) != len(partners):
        raise ValueError(
            f"text is a {type(text).__name__} of {len(texts)}, text_pair a "
            f"{type(text_pair).__name__} of {len(partners)}: give every text one partner"
        )
    return texts, partners


def _as_list(name: str, text: Any) -> list[str]:
    if isinstance(text, str):
        return [text]
    if isinstance(text, bytes | bytearray | Mapping) or not isinstance(text, Iterable):
        raise TypeError(f"{name} must be a str or a list of str, not {type(text).__name__}")
    texts = list(text)
    if set(map(type, texts)) == {str}:  # the common case, told at once
        return texts
    for place, item in enumerate(texts):
        if not isinstance(item, str):
            raise TypeError(f"{name}[{place}] must be a str, not {type(item).__name__}: {item!r}")
    return texts
