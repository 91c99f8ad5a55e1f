"""Framing and cutting, function by function, then whole calls against `tokenizers`."""

from tests.exercise.words import Wrong, equal, refused
from tests.reference import VOCAB, reference
from tokenizer import WordPieceTokenizer, truncate
from tokenizer.truncate import Rows, Truncation

FIRST = "one two three four five six seven"
SECOND = "red green blue"


def check_frame() -> None:
    """frame: [CLS] first [SEP], and second [SEP] where there is a partner"""
    alone = truncate.frame(["a", "b"], None, ["[CLS]"], ["[SEP]"])
    equal(alone, ["[CLS]", "a", "b", "[SEP]"], "the frame of a, b")
    pair = truncate.frame(["a", "b"], ["c"], ["[CLS]"], ["[SEP]"])
    equal(
        pair,
        ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"],
        "the frame of the pair a, b and c",
        {
            "when [SEP] stands only at the end": ["[CLS]", "a", "b", "c", "[SEP]"],
            "when the second text gets a [CLS], too": [
                "[CLS]",
                "a",
                "b",
                "[SEP]",
                "[CLS]",
                "c",
                "[SEP]",
            ],
        },
    )
    empty = truncate.frame(["a"], [], ["[CLS]"], ["[SEP]"])
    what = "the frame of a with an empty partner (not the same as no partner)"
    equal(empty, ["[CLS]", "a", "[SEP]", "[SEP]"], what)
    equal(truncate.frame([1], [2], [], []), [1, 2], "the frame of 1 and 2 without special tokens")


def check_cut() -> None:
    """Truncation.cut: the first or the last tokens are kept"""
    tokens = [1, 2, 3, 4]
    for side, n_kept, expected in (
        ("right", 3, [1, 2, 3]),
        ("left", 3, [2, 3, 4]),
        ("left", 4, tokens),
        ("left", 0, []),
        ("right", 0, []),
    ):
        actual = Truncation("longest_first", 9, side).cut(tokens, n_kept)
        what = f"{n_kept} kept of 1, 2, 3, 4, cut from the {side},"
        equal(actual, expected, what, {"with tokens[-0:], which is all of them": tokens})


def check_longest_first() -> None:
    """lengths_kept, longest_first: tokens go one at a time from whichever text is longer"""
    whole = reference()
    for first in range(12):
        for second in range(12):
            for space in range(max(0, first + second - 9), 23):
                expected = by_tokenizers(whole, first, second, space)
                actual = truncate.lengths_kept(first, second, space, "longest_first")
                what = f"of {first} and {second} tokens in a space of {space}, what is kept"
                share = first * space // max(1, first + second)
                equal(
                    tuple(actual),
                    expected,
                    what,
                    {
                        "when the odd token goes to the other text": expected[::-1],
                        "when both are cut in proportion to their lengths": (share, space - share),
                        "when only the first text is cut": (space - second, second),
                        "when only the second text is cut": (first, space - first),
                    },
                )


def by_tokenizers(whole, first: int, second: int, space: int) -> tuple[int, int]:
    """What the reference keeps. It refuses a limit of the three special tokens alone."""
    if space == 0:
        return 0, 0
    whole.enable_truncation(space + 3, strategy="longest_first")
    sequences = whole.encode("a " * first, "a " * second).sequence_ids
    return sequences.count(0), sequences.count(1)


def check_only_one() -> None:
    """lengths_kept, only_first and only_second: the other text stays whole, or it is refused"""
    for strategy, expected in (("only_first", (3, 3)), ("only_second", (5, 1))):
        actual = truncate.lengths_kept(5, 3, 6, strategy)
        equal(tuple(actual), expected, f"of 5 and 3 tokens in a space of 6, {strategy},")
    for strategy in ("longest_first", "only_first", "only_second"):
        actual = truncate.lengths_kept(2, 3, 6, strategy)
        equal(tuple(actual), (2, 3), f"of 2 and 3 tokens in a space of 6 ({strategy}: all fit)")
    for strategy, numbers in (("only_first", (3, 9, 6)), ("only_second", (9, 3, 9))):
        what = f"{strategy} with {numbers[0]} and {numbers[1]} tokens in a space of {numbers[2]}"
        what += ", where nothing of that text would be left,"
        refused(lambda: truncate.lengths_kept(*numbers, strategy), what, [])  # noqa: B023


def check_masks() -> None:
    """Rows: which tokens are of the second text, and which were added"""
    rows = Rows([[101, 7, 8, 102, 9, 102], [101, 7, 102], [101, 102, 102]], [2, 0, 1], 1)
    types = rows.token_type_ids()
    equal(
        types,
        [[0, 0, 0, 0, 1, 1], [0, 0, 0], [0, 0, 1]],
        "token_type_ids",
        {
            "when the second text's [SEP] counts as the first's": [
                [0, 0, 0, 0, 1, 0],
                [0, 0, 0],
                [0, 0, 0],
            ],
            "when the first [SEP] counts as the second text's": [
                [0, 0, 0, 1, 1, 1],
                [0, 0, 0],
                [0, 1, 1],
            ],
        },
    )
    masks = rows.special_tokens_mask()
    equal(
        masks,
        [[1, 0, 0, 1, 0, 1], [1, 0, 1], [1, 1, 1]],
        "special_tokens_mask",
        {
            "when 1 marks the text in place of what was added": [
                [0, 1, 1, 0, 1, 0],
                [0, 1, 0],
                [0, 0, 0],
            ],
        },
    )
    bare = Rows([[7, 8, 9], [7]], [1, 0], 0)
    equal(bare.token_type_ids(), [[0, 0, 1], [0]], "token_type_ids without special tokens")
    equal(
        bare.special_tokens_mask(), [[0, 0, 0], [0]], "special_tokens_mask without special tokens"
    )


def check_whole_calls() -> None:
    """whole calls: ids, types and masks of cut pairs are those of `tokenizers`"""
    ours, theirs = WordPieceTokenizer.from_vocab(VOCAB), reference()
    texts = [(FIRST, SECOND), (SECOND, FIRST), (FIRST, FIRST), ("", SECOND), (FIRST, "")]
    for side in ("right", "left"):
        ours.truncation_side = side
        for strategy in ("longest_first", "only_first", "only_second"):
            for limit in (4, 7, 9, 12, 30):
                theirs.enable_truncation(limit, strategy=strategy, direction=side)
                for pair in texts:
                    whole_call(ours, theirs, pair, (side, strategy, limit))


def whole_call(ours, theirs, pair: tuple[str, str], how: tuple[str, str, int]) -> None:
    side, strategy, limit = how
    what = f"max_length={limit}, truncation={strategy!r}, side {side!r}, of the pair {pair}:"
    call = {"truncation": strategy, "max_length": limit, "return_token_type_ids": True}
    try:
        expected = theirs.encode(*pair)
    except Exception:  # the reference's own type, which cannot be imported
        refused(lambda: ours(*pair, **call), what, [])
        return
    try:
        actual = ours(*pair, **call, return_special_tokens_mask=True)
    except ValueError as error:
        raise Wrong(f"{what} yours refuses it ({error}), the reference does not.") from None
    equal(actual["input_ids"], expected.ids, f"{what} input_ids")
    equal(actual["token_type_ids"], expected.type_ids, f"{what} token_type_ids")
    mask = expected.special_tokens_mask
    equal(actual["special_tokens_mask"], mask, f"{what} special_tokens_mask")
