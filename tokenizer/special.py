"""BERT's special tokens: their names, their ids, and where they stand in a text."""

import re
from collections.abc import Mapping

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PATTERN = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")


class SpecialTokens:
    """The special tokens with the ids that a vocabulary gives them.

    >>> special = SpecialTokens({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4})
    >>> special.ids["[MASK]"], special.split("a [MASK]")
    (4, ['a ', '[MASK]', ''])
    """

    def __init__(self, vocab: Mapping[str, int]) -> None:
        self.ids = {token: vocab[token] for token in SPECIAL_TOKENS}

    def split(self, text: str) -> list[str]:
        """The text in parts: the special tokens, and what stands between them (also "")."""
        # In the text as it was typed, before any other rule: "[MASK]" is a token, while "[mask]"
        # and "[ MASK ]" are punctuation marks and a word.
        return _PATTERN.split(text)
