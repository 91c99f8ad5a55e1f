"""How texts and pairs are cut to a limit, and framed: [CLS] first [SEP] second [SEP]."""

from typing import Any, NamedTuple

# What a caller may write as truncation=..., and what it stands for.
STRATEGIES: dict[bool | str | None, str | None] = {
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
    False: None,
    "do_not_truncate": None,
}


def frame(
    first: list[Any], second: list[Any] | None, start: list[Any], end: list[Any]
) -> list[Any]:
    """A row: what a text and its partner hold, between what stands at the special tokens' places.

    >>> frame(["a", "b"], ["c"], ["[CLS]"], ["[SEP]"])
    ['[CLS]', 'a', 'b', '[SEP]', 'c', '[SEP]']
    """
    if second is None:
        return [*start, *first, *end]
    return [*start, *first, *end, *second, *end]


class Truncation(NamedTuple):
    """How a call cuts. strategy None: not at all."""

    strategy: str | None
    limit: int  # tokens of a row, the special ones included
    side: str  # "right" keeps the start of a text, "left" its end

    def cut(self, tokens: list[Any], n_kept: int) -> list[Any]:
        """The first or the last n_kept of the tokens."""
        return tokens[:n_kept] if self.side == "right" else tokens[len(tokens) - n_kept :]


class Rows(NamedTuple):
    """The framed ids of texts or pairs, and where in each row they are."""

    ids: list[list[int]]
    second_lengths: list[int]  # how many tokens `second [SEP]` has; 0 for a text without a partner
    n_special: int  # special tokens at each place that has one: 1, or 0 where none were wanted

    def n_first(self, i: int) -> int:
        """How many tokens of its first text row i holds."""
        return len(self.ids[i]) - self.second_lengths[i] - 2 * self.n_special

    def n_second(self, i: int) -> int:
        """How many tokens of its second text row i holds."""
        return max(0, self.second_lengths[i] - self.n_special)

    def token_type_ids(self) -> list[list[int]]:
        """0 for [CLS] first [SEP], 1 for second [SEP]."""
        return [
            [0] * (len(row) - second_length) + [1] * second_length
            for row, second_length in zip(self.ids, self.second_lengths)
        ]

    def special_tokens_mask(self) -> list[list[int]]:
        """1 where a special token was added; one that stood in the text counts as text."""
        added = [1] * self.n_special
        masks = []
        for i, second_length in enumerate(self.second_lengths):
            second = [0] * self.n_second(i) if second_length else None
            masks.append(frame([0] * self.n_first(i), second, added, added))
        return masks


def space_for_text(limit: int, n_special: int) -> int:
    """How many tokens of the texts fit beside all `n_special` special ones of a row."""
    if limit < n_special:
        raise ValueError(f"max_length={limit} is less than the {n_special} special tokens need")
    return limit - n_special


def lengths_kept(first: int, second: int, space: int, strategy: str) -> tuple[int, int]:
    """How many tokens of a text and of its partner stay, so that both fit into `space`.

    >>> lengths_kept(5, 3, 6, "longest_first"), lengths_kept(5, 3, 6, "only_second")
    ((3, 3), (5, 1))
    """
    excess = first + second - space
    if excess <= 0:
        return first, second
    if strategy == "longest_first":
        # As if tokens were taken one at a time from whichever text is longer. So the shorter text
        # stays whole as long as it needs no more than half of the space. Of two equally long ones
        # the second text gets the odd token, as in `tokenizers`.
        shorter = min(first, second, space // 2)
        if first <= second:
            return shorter, space - shorter
        return space - shorter, shorter
    if excess >= (first if strategy == "only_first" else second):
        # Nothing would be left of the one text that may be cut.
        raise ValueError(
            f"truncation={strategy!r} would have to cut off {excess} tokens, but the text and its "
            f"partner have {first} and {second}: raise max_length or use 'longest_first'"
        )
    return (first - excess, second) if strategy == "only_first" else (first, second - excess)
