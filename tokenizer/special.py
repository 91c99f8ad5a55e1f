"""Special and added tokens: what they are called, and where they stand in a text."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from tokenizer.normalize import WHITE_SPACE, character_class


class SpecialNames(NamedTuple):
    """The tokens with a task: padding, unknown word, start, end, hidden word (None: has none)."""

    pad_token: str = "[PAD]"
    unk_token: str = "[UNK]"
    cls_token: str = "[CLS]"
    sep_token: str = "[SEP]"
    mask_token: str | None = "[MASK]"


class AddedToken(NamedTuple):
    """A token that is found in a text as it is, before it is split into words.

    Special tokens are added tokens; others come with checkpoints that were taught new words. The
    flags are those of tokenizer.json.
    """

    content: str
    id: int
    special: bool = True  # decoding leaves it out with skip_special_tokens=True
    normalized: bool = False  # looked for in the normalised text, in its own normalised form
    single_word: bool = False  # not found where a letter, digit or mark is its neighbour
    lstrip: bool = False  # takes the white space before it along
    rstrip: bool = False  # and the white space behind it


class Match(NamedTuple):
    """text[begin:end] is an added token or, where `token` is None, what stands between two."""

    token: AddedToken | None
    begin: int
    end: int


class Finder:
    """Finds tokens in a text: from the left, and the longest of those that begin at one place.

    >>> finder = Finder({"[MASK]": AddedToken("[MASK]", 103)})
    >>> [(match.token is None, match.begin, match.end) for match in finder.split("a [MASK]")]
    [(True, 0, 2), (False, 2, 8)]
    """

    def __init__(self, tokens: Mapping[str, AddedToken]) -> None:
        self.tokens = tokens
        # A regular expression takes the first alternative that fits, hence the longest first.
        contents = sorted(tokens, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, contents))) if contents else None

    def split(self, text: str) -> Iterator[Match]:
        """The whole text in order: the tokens, and what stands before, between and behind them."""
        done = 0
        for found in self.pattern.finditer(text) if self.pattern else ():
            token = self.tokens[found[0]]
            begin, end = found.span()
            if token.single_word and _touches_a_word(text, begin, end):
                continue
            if token.lstrip:  # but not what the token before has taken
                begin = max(done, len(text[:begin].rstrip(WHITE_SPACE)))
            if token.rstrip:
                end = len(text) - len(text[end:].lstrip(WHITE_SPACE))
            if done < begin:
                yield Match(None, done, begin)
            yield Match(token, begin, end)
            done = end
        if done < len(text):
            yield Match(None, done, len(text))


def _touches_a_word(text: str, begin: int, end: int) -> bool:
    return bool(_word_character().match(text, end)) or (
        begin > 0 and bool(_word_character().match(text, begin - 1))
    )


@lru_cache(maxsize=1)
def _word_character() -> re.Pattern[str]:
    """\\w as the reference has it; compiled on demand, because few tokenizers need it."""
    return re.compile(f"[{character_class('word')}]")
