"""Writes tokenizer/unicode.txt: asks `tokenizers` about every code point, one at a time.

The tables inside `tokenizers` come from several old and new Unicode versions, so neither the
interpreter's `unicodedata` nor any single version gives its answers. What it answers is kept as
data:

    python -m tests.unicode_tables > tokenizer/unicode.txt
"""

import textwrap
import unicodedata
from collections.abc import Callable, Iterable

from tokenizers import AddedToken, Tokenizer, models
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SCALAR_VALUES = [*range(0xD800), *range(0xE000, 0x110000)]

HEADER = """\
# Classes of characters as `tokenizers` has them: written by tests/unicode_tables.py, not by hand.
# Code points and ranges of them, in hexadecimal. normalize.py reads and uses them; why they are
# kept at all is told in tests/unicode_tables.py.
"""


def only(**step: bool) -> Callable[[str], str]:
    """One step of the reference's normaliser alone: only(lowercase=True)("A") -> "a"."""
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False}
    return BertNormalizer(**{**off, "lowercase": False, **step}).normalize_str


def removed() -> list[int]:
    clean = only(clean_text=True)
    found = [c for c in SCALAR_VALUES if clean(f"a{chr(c)}b") == "ab"]
    return sorted([*found, *range(0xD800, 0xE000)])  # lone surrogates, which `tokenizers` refuses


def ideographs() -> list[int]:
    space = only(handle_chinese_chars=True)
    return [c for c in SCALAR_VALUES if space(chr(c)) == f" {chr(c)} "]


def accents() -> list[int]:
    strip = only(strip_accents=True)
    return [c for c in SCALAR_VALUES if strip(f"a{chr(c)}") == "a"]


def punctuation() -> list[int]:
    words = BertPreTokenizer().pre_tokenize_str
    return [c for c in SCALAR_VALUES if len(words(f"a{chr(c)}b")) == 3]


def word() -> list[int]:
    r"""The \w of the reference: where a token that must stand alone is no longer found.

    A token that begins or ends with a letter is asked for; it is found in "aa," and not in "aab".
    """
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.add_tokens([AddedToken("aa", single_word=True, normalized=False)])
    found = []
    for start in range(0, len(SCALAR_VALUES), 4096):
        points = SCALAR_VALUES[start : start + 4096]
        text = "".join(f" aa{chr(c)}" for c in points)  # token i begins at 4 * i + 1
        encoding = tokenizer.encode(text)
        alone = {begin // 4 for id, (begin, _) in zip(encoding.ids, encoding.offsets) if id == 1}
        found += [c for i, c in enumerate(points) if i not in alone]
    return found


def lower_case() -> dict[int, str]:
    lower = only(lowercase=True)
    return {c: lower(chr(c)) for c in SCALAR_VALUES if lower(chr(c)) != chr(c)}


def decomposed() -> list[int]:
    """What the reference's NFD changes or moves. A mark of any combining class but 0 changes places
    with a following mark of a lower class or with a preceding one of a higher class."""
    nfd = NFD().normalize_str
    lowest, highest = "\u0334", "\u0345"  # combining classes 1 and 240
    probes = ("{}", "{}" + lowest, highest + "{}")
    return [
        c for c in SCALAR_VALUES if any(nfd(t := probe.format(chr(c))) != t for probe in probes)
    ]


def ranges(points: Iterable[int], may_span: Callable[[int], bool] = lambda c: False) -> list[str]:
    """[0x41, 0x42, 0x61] -> ["41-42", "61"]; a range may run over gaps that `may_span` allows."""
    found: list[list[int]] = []
    for c in points:
        if found and all(map(may_span, range(found[-1][1] + 1, c))):
            found[-1][1] = c
        else:
            found.append([c, c])
    return [f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in found]


def is_inert(c: int) -> bool:
    """No NFD will ever change it: it was assigned, and left alone, in the Unicode 3.2 that every
    Python carries; and what is once assigned keeps its decomposition."""
    old = unicodedata.ucd_3_2_0
    ch = chr(c)
    return old.category(ch) != "Cn" and old.combining(ch) == 0 and old.normalize("NFD", ch) == ch


def shifts(mapping: dict[int, str]) -> list[str]:
    """Runs with one step and one distance: {0x41: "a", 0x42: "b"} -> ["41-42/1+20"]."""
    runs: list[list[int]] = []  # first, last, step (0: not known yet), distance
    for c, target in mapping.items():
        distance = ord(target) - c
        if runs and runs[-1][3] == distance:
            step = c - runs[-1][1]
            if step <= 2 and runs[-1][2] in (0, step):
                runs[-1][1:3] = [c, step]
                continue
        runs.append([c, c, 0, distance])
    return [f"{a:x}-{b:x}/{step or 1}{d:+x}" for a, b, step, d in runs]


def table(name: str, why: str, words: list[str]) -> str:
    body = textwrap.fill(" ".join(words), 98, break_on_hyphens=False)
    return f"\n# {why}\n{name}:\n{body}\n"


def source() -> str:
    lower = lower_case()
    assert [c for c, text in lower.items() if len(text) > 1] == [0x130]  # normalize.py adds it
    del lower[0x130]
    return HEADER + "".join(
        table(name, why, words)
        for name, why, words in [
            ("removed", "Control, format, private use; lone surrogates.", ranges(removed())),
            ("ideographs", "Each becomes a word of its own.", ranges(ideographs())),
            (
                "decomposed",
                "What Unicode 12.1's NFD changes or moves; ranges span characters it leaves alone.",
                ranges(decomposed(), is_inert),
            ),
            ("accents", "Nonspacing marks (Mn), as Unicode 8 had them.", ranges(accents())),
            ("punctuation", "ASCII's symbols, and P* of Unicode 8.", ranges(punctuation())),
            (
                "word",
                "What may stand in a word: no neighbour of an added token with single_word.",
                ranges(word()),
            ),
            ("lower_case", "first-last/step+distance; all but U+0130.", shifts(lower)),
        ]
    )


if __name__ == "__main__":
    print(source(), end="")
