"""From raw text to words: one pure function per rule, in the order in which they apply.

The classes of characters are the oracle's own (unicode_tables.py), not the interpreter's, so the
answers are the same under every Python.
"""

import re
import unicodedata

from tokenizer import unicode_tables as tables


def _character_class(ranges: str) -> str:
    r"""The inside of a regular expression's [...]: "41-5a" -> "\U00000041-\U0000005a"."""
    escaped = ("-".join(rf"\U{end:0>8}" for end in item.split("-")) for item in ranges.split())
    return "".join(escaped)


def _lower_case_table(runs: str) -> dict[int, str]:
    """Code point -> text: "41-5a/1+20" -> {0x41: "a", ...}: every character on its own, because
    str.lower() looks at its neighbours (a final capital sigma becomes another letter)."""
    table = {0x130: "i\u0307"}  # the one character that becomes two
    for first, last, step, distance in re.findall(r"(\w+)-(\w+)/(\d)(\S+)", runs):
        for c in range(int(first, 16), int(last, 16) + 1, int(step)):
            table[c] = chr(c + int(distance, 16))
    return table


_REMOVED = re.compile(f"[{_character_class(tables.REMOVED)}]")
_IDEOGRAPH = re.compile(f"[{_character_class(tables.IDEOGRAPHS)}]")
_DECOMPOSED = re.compile(f"[{_character_class(tables.DECOMPOSED)}]+")
_ACCENT = re.compile(f"[{_character_class(tables.ACCENTS)}]+")
_LOWER_CASE = _lower_case_table(tables.LOWER_CASE)
_WORD = re.compile("[{0}]|[^ {0}]+".format(_character_class(tables.PUNCTUATION)))


def clean(text: str) -> str:
    r"""Remove what is not shown, make every white space a plain one.

    Removal comes first: \v, \f and others are white space to Python but glue words here.

    >>> clean("b\x0be\xadd\ttime")
    'bed time'
    """
    return re.sub(r"\s", " ", _REMOVED.sub("", text))


def space_ideographs(text: str) -> str:
    """Set each Chinese character apart: such text has no spaces between words.

    >>> space_ideographs("ah博推zz")
    'ah 博  推 zz'
    """
    return _IDEOGRAPH.sub(r" \g<0> ", text)


def remove_accents(text: str) -> str:
    """Decompose (NFD) and drop the marks; where Unicode 12.1 saw nothing to decompose, nor do we.

    >>> remove_accents("naïve Ærø")
    'naive Ærø'
    """
    decomposed = _DECOMPOSED.sub(lambda run: unicodedata.normalize("NFD", run[0]), text)
    return _ACCENT.sub("", decomposed)


def lower_case(text: str) -> str:
    """Lower every character by itself.

    >>> lower_case("ΟΔΟΣ"), "ΟΔΟΣ".lower()
    ('οδοσ', 'οδος')
    """
    return text.translate(_LOWER_CASE)


def normalize(
    text: str,
    do_lower_case: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> str:
    """All the rules above; accents go when letters are lowered, unless `strip_accents` says else.

    >>> normalize("İstanbul\\n"), normalize("Häuser", strip_accents=False)
    ('istanbul ', 'häuser')
    """
    text = clean(text)
    if tokenize_chinese_chars:
        text = space_ideographs(text)
    if do_lower_case if strip_accents is None else strip_accents:
        text = remove_accents(text)  # before lowering: İ is I and a dot, but lowers to i and a dot
    if do_lower_case:
        text = lower_case(text)
    return text


def find_words(normalized: str) -> list[re.Match[str]]:
    """Where the words lie in normalised text: between spaces; a punctuation mark is one by itself.

    >>> [word[0] for word in find_words("don't stop!")]
    ['don', "'", 't', 'stop', '!']
    """
    return list(_WORD.finditer(normalized))


def split_words(normalized: str) -> list[str]:
    """The words alone, without their places."""
    return _WORD.findall(normalized)
