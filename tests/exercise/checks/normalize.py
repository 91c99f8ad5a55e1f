"""Each rule against the same rule of `tokenizers`, then all of them together."""

import unicodedata
from collections.abc import Callable

from tests.exercise.words import equal
from tests.reference import OPTIONS, bert_normalizer
from tokenizer import normalize

OFF = {"do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False}


def compare(
    ours: Callable[[str], str],
    theirs: Callable[[str], str],
    texts: list[str],
    name: str,
    mistakes: dict[str, Callable[[str], str]],
) -> None:
    """The first text on which the two differ is told."""
    for text in texts:
        results = {mistake: other(text) for mistake, other in mistakes.items()}
        equal(ours(text), theirs(text), f"{name}({text!r})", results)


def check_clean() -> None:
    """clean: control characters go, every white space becomes a plain space"""
    mistakes = {
        "when white space is replaced first and the rest removed afterwards": lambda text: "".join(
            c if c.isprintable() else " " if c.isspace() else "" for c in text
        ),
        "when nothing is removed": lambda text: "".join(" " if c.isspace() else c for c in text),
        "when white space stays as it is": lambda text: "".join(
            c for c in text if c in "\t\n\r" or unicodedata.category(c)[0] != "C"
        ),
    }
    texts = ["plain", "a\tb\nc\rd", "b\x0be\xadd\ttime", "\u3000wide\u2003space\xa0", "\x00\ufffdx"]
    texts += ["a\x1cb\x1fc\x85d", "zero\u200bwidth", "", "two  spaces stay", "\ue000private"]
    theirs = bert_normalizer(**OFF).normalize_str
    compare(normalize.clean, theirs, texts, "clean", mistakes)


def check_ideographs() -> None:
    """space_ideographs: a space before and behind every Chinese character"""
    mistakes = {
        "when a run of characters is taken as one": lambda text: normalize._IDEOGRAPH.sub(
            r" \g<0> ", text
        ).replace("  ", ""),
        "when a space stands only before it": lambda text: normalize._IDEOGRAPH.sub(
            r" \g<0>", text
        ),
    }
    texts = ["ah博推zz", "博", "推特", "ひらがな", "한국어", "abc", "\U00020000x"]
    theirs = bert_normalizer(**{**OFF, "tokenize_chinese_chars": True}).normalize_str
    compare(normalize.space_ideographs, theirs, texts, "space_ideographs", mistakes)


def check_accents() -> None:
    """remove_accents: é is e and an accent; the accent goes"""

    def without_decomposing(text: str) -> str:
        return "".join(c for c in text if unicodedata.category(c) != "Mn")

    def ascii_alone(text: str) -> str:
        return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode()

    mistakes = {
        "when the text is not decomposed (NFD) first": without_decomposing,
        "when the text is decomposed and the accents stay": lambda text: unicodedata.normalize(
            "NFD", text
        ),
        "when all that is not ASCII goes": ascii_alone,
        "when the decomposition is NFKD, which changes more than accents": lambda text: (
            without_decomposing(unicodedata.normalize("NFKD", text))
        ),
    }
    texts = ["naïve Ærø", "Café", "cafe\u0301", "ﬁne №5", "Ω Å", "Ǖ", "한국", "a\u0301\u0323b", ""]
    theirs = bert_normalizer(**{**OFF, "strip_accents": True}).normalize_str
    compare(normalize.remove_accents, theirs, texts, "remove_accents", mistakes)


def check_lower_case() -> None:
    """lower_case: every character by itself"""
    mistakes = {
        "with str.lower(), which looks at a letter's neighbours": str.lower,
        "with str.casefold(), which is for comparing texts": str.casefold,
    }
    texts = ["ABC", "İstanbul", "ΟΔΟΣ", "Straße ẞ", "ǅ Ⅷ", "a1!"]
    theirs = bert_normalizer(**{**OFF, "do_lower_case": True}).normalize_str
    compare(normalize.lower_case, theirs, texts, "lower_case", mistakes)


def check_together() -> None:
    """normalize: the rules in BERT's order, each option turning its own rule on and off"""
    texts = ["İstanbul\n", "Häuser", "Ünï\tcode 博x", "CAFE\u0301", "ΌΔΟΣ", "don't\x00 stop"]
    for options in OPTIONS:
        theirs = bert_normalizer(**options).normalize_str
        for text in texts:
            called = "".join(f", {name}={value}" for name, value in options.items())
            actual = normalize.normalize(text, **options)
            equal(actual, theirs(text), f"normalize({text!r}{called})")
    equal(
        normalize.normalize("a\x00É", clean_text=False),
        "a\x00e",
        "with clean_text=False, 'a\\x00É'",
    )


def check_all_characters() -> None:
    """normalize: every character of Unicode's first 0x30000, against `tokenizers`"""
    theirs = bert_normalizer().normalize_str
    points = [c for c in range(0x30000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(points), 512):
        block = [f"a{chr(c)}b" for c in points[start : start + 512]]
        if normalize.normalize(" ".join(block)) == theirs(" ".join(block)):
            continue
        for text in block:
            what = f"normalize({text!r}), with U+{ord(text[1]):04X} inside,"
            equal(normalize.normalize(text), theirs(text), what)
