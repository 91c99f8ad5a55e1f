"""From raw text to words: one pure function per rule, in the order in which they apply.

The classes of characters (unicode.txt) are those of the `tokenizers` library, not the
interpreter's, so the answers are the same under every Python.
"""

import re
import unicodedata
from pathlib import Path

_TABLES: dict[str, str] = dict(
    re.findall(
        r"^(\w+):\n([^#]+)",  # a table's name, and all up to the next comment
        Path(__file__).with_name("unicode.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)


# What counts as white space to the reference; Python's \s adds \x1c to \x1f to it.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def character_class(name: str) -> str:
    r"""The inside of a regular expression's [...]: "41-5a" -> "\U00000041-\U0000005a"."""
    escaped = (
        "-".join(rf"\U{end:0>8}" for end in item.split("-")) for item in _TABLES[name].split()
    )
    return "".join(escaped)


def _lower_case_table(runs: str) -> dict[int, str]:
    """Code point -> text: "41-5a/1+20" -> {0x41: "a", 0x42: "b", ...}."""
    table = {0x130: "i\u0307"}  # İ is the one character that becomes two: i and a dot above
    for first, last, step, distance in re.findall(r"(\w+)-(\w+)/(\d)(\S+)", runs):
        for c in range(int(first, 16), int(last, 16) + 1, int(step)):
            table[c] = chr(c + int(distance, 16))
    return table


_REMOVED = re.compile(f"[{character_class('removed')}]")
_IDEOGRAPH = re.compile(f"[{character_class('ideographs')}]")
DECOMPOSED = re.compile(f"[{character_class('decomposed')}]+")
ACCENT = re.compile(f"[{character_class('accents')}]+")
_LOWER_CASE = _lower_case_table(_TABLES["lower_case"])
# A punctuation mark alone, or a run of anything but white space and punctuation marks.
_WORD = re.compile("[{0}]|[^{1}{0}]+".format(character_class("punctuation"), WHITE_SPACE))


def clean(text: str) -> str:
    r"""Remove control characters and the like, make every white space a plain space.

    >>> clean("b\x0be\xadd\ttime")
    'bed time'
    """
    # Removal comes first: \v, \f, \x1c and \x85 are white space to Python's \s, but control
    # characters to BERT. The other order would split "b\x0be" into two words.
    return re.sub(r"\s", " ", _REMOVED.sub("", text))


def space_ideographs(text: str) -> str:
    """Put spaces around each Chinese character: such text has no spaces between words.

    >>> space_ideographs("ah博推zz")
    'ah 博  推 zz'
    """
    return _IDEOGRAPH.sub(r" \g<0> ", text)


def remove_accents(text: str) -> str:
    """Decompose the characters (NFD: é is e and an accent) and drop the accents.

    >>> remove_accents("naïve Ærø")
    'naive Ærø'
    """
    # Only runs of characters that Unicode 12.1 decomposes or reorders: a newer interpreter knows
    # newer accents, which `tokenizers` leaves where they are. A run, not one character at a time:
    # NFD also sorts neighbouring marks.
    decomposed = DECOMPOSED.sub(lambda run: unicodedata.normalize("NFD", run[0]), text)
    return ACCENT.sub("", decomposed)


def lower_case(text: str) -> str:
    """Lower every character by itself.

    >>> lower_case("ΟΔΟΣ"), "ΟΔΟΣ".lower()
    ('οδοσ', 'οδος')
    """
    # Not str.lower(): it looks at the neighbours, and a sigma at the end becomes another letter.
    return text.translate(_LOWER_CASE)


def normalize(
    text: str,
    do_lower_case: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
    clean_text: bool = True,
) -> str:
    """All the rules above; accents go when letters are lowered, unless `strip_accents` is given.

    >>> normalize("İstanbul\\n"), normalize("Häuser", strip_accents=False)
    ('istanbul ', 'häuser')
    """
    if strip_accents is None:
        strip_accents = do_lower_case  # as in BERT: only cased models keep accents
    if clean_text:
        text = clean(text)
    if tokenize_chinese_chars:
        text = space_ideographs(text)
    # Accents before lower case is the reference's order; the other one gives the same result for
    # every character.
    if strip_accents:
        text = remove_accents(text)
    if do_lower_case:
        text = lower_case(text)
    return text


def find_words(normalized: str) -> list[re.Match[str]]:
    """Where the words are: between white space; a punctuation mark is a word by itself.

    >>> [word[0] for word in find_words("don't stop!")]
    ['don', "'", 't', 'stop', '!']
    """
    return list(_WORD.finditer(normalized))


def split_words(normalized: str) -> list[str]:
    """The words alone, without their places."""
    return _WORD.findall(normalized)
