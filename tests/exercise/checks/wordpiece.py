"""wordpiece against `tokenizers`' WordPiece: on small vocabularies, then on the real one."""

import csv

from tokenizers import models

from tests import ROOT
from tests.exercise.words import equal
from tests.reference import VOCAB
from tokenizer.wordpiece import wordpiece

SMALL = ("[UNK]", "un", "una", "##aff", "##able", "##a", "##b", "able", "a", "b", "play", "##ing")


def check_the_example() -> None:
    """ "unaffable" becomes un, ##aff, ##able"""
    vocab = {"un", "##aff", "##able"}
    mistakes = {
        "when the later pieces are looked up without their ##": None,
        "when the later pieces lose their ##": ["un", "aff", "able"],
    }
    equal(
        wordpiece("unaffable", vocab), ["un", "##aff", "##able"], 'wordpiece("unaffable")', mistakes
    )


def check_longest_first() -> None:
    """the longest piece that fits is taken, even where a shorter one would lead further"""
    vocab = {"un", "una", "##aff", "##able", "##ffable"}
    mistakes = {"when the shortest piece is taken": ["un", "##aff", "##able"]}
    equal(wordpiece("unaffable", vocab), ["una", "##ffable"], 'wordpiece("unaffable")', mistakes)
    equal(wordpiece("playing", set(SMALL)), ["play", "##ing"], 'wordpiece("playing")')
    what = 'of "unaffable" with una but no ##ffable (BERT never goes back to try "un")'
    equal(
        wordpiece("unaffable", vocab - {"##ffable"}),
        None,
        what,
        {
            "when a shorter piece is tried after a dead end": ["un", "##aff", "##able"],
        },
    )


def check_unknown() -> None:
    """a word with one part that is not in the vocabulary is None as a whole"""
    for word in ("unxable", "xun", "unx", "x"):
        pieces = [p for p in ("un", "##able") if p.strip("#") in word]
        mistakes = {
            "when the pieces before the unknown part are kept": pieces[:1],
            "when the unknown part is left out": pieces,
            "when the unknown part alone becomes [UNK]": [*pieces[:1], "[UNK]"],
            "for an empty list: None is what stands for an unknown word": [],
        }
        equal(wordpiece(word, set(SMALL)), None, f'wordpiece("{word}")', mistakes)


def check_limits() -> None:
    """max_chars, longest and inner are respected"""
    vocab = {"a", "##a", "@a", "aa", "##aa"}
    equal(
        wordpiece("a" * 101, vocab),
        None,
        "a word of 101 letters, more than max_chars,",
        {
            "when max_chars is not looked at": wordpiece("a" * 101, vocab, max_chars=1000),
        },
    )
    expected = ["aa", *["##aa"] * 49]
    equal(wordpiece("a" * 100, vocab), expected, "a word of 100 letters, as many as max_chars,")
    actual = wordpiece("aaa", vocab, longest=1)
    equal(actual, ["a", "##a", "##a"], 'wordpiece("aaa", longest=1)')
    equal(wordpiece("aa", {"a", "@a"}, inner="@"), ["a", "@a"], 'wordpiece("aa", inner="@")')
    equal(wordpiece("ab", {"ab", "##b"}), ["ab"], 'wordpiece("ab")')
    what = 'wordpiece("able"), where only "##able" is a token,'
    equal(
        wordpiece("able", {"##able"}),
        None,
        what,
        {
            "when ## is not told apart from the start of a word": ["##able"],
        },
    )


def check_real_words() -> None:
    """the words of the demo sentences and odd ones, with the real vocabulary of 30,522"""
    tokens = VOCAB.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocab, longest = set(tokens), max(map(len, tokens))
    model = models.WordPiece.from_file(str(VOCAB), unk_token="[UNK]")
    with (ROOT / "train" / "demo" / "train.csv").open(encoding="utf-8", newline="") as file:
        words = {w for row in csv.DictReader(file) for w in row["text"].split() if w.isalnum()}
    odd = ["tokenization", "aaaaaaaaaaa", "x" * 100, "x" * 101, "博", "naïveté", "e\u0301", "##s"]
    for word in [*sorted(words), *odd]:
        theirs = [token.value for token in model.tokenize(word)]
        actual = wordpiece(word, vocab, longest)
        equal(actual, None if theirs == ["[UNK]"] else theirs, f"wordpiece({word[:30]!r})")
