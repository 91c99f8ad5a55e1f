"""The definition: from a text to its tokens, rule after rule, with their places in the text.

Written to be read. words.py finds the same ids faster, by remembering words; tests hold the two
equal.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenizer.normalize import find_words, normalize
from tokenizer.special import SpecialTokens
from tokenizer.wordpiece import wordpiece


class Piece(NamedTuple):
    """A token, and where it begins and ends in the text: text[begin:end]."""

    token: str
    offsets: tuple[int, int]


class Rules:
    """A vocabulary and the options of its normalisation."""

    def __init__(
        self,
        tokens: Sequence[str],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        self.tokens = tuple(tokens)
        self.do_lower_case = do_lower_case
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.vocab = {token: number for number, token in enumerate(tokens)}
        self.longest = max(map(len, tokens))
        self.special = SpecialTokens(self.vocab)

    def normalize(self, text: str) -> str:
        """The text cleaned, without accents and in lower case, as far as the options say so."""
        return normalize(text, self.do_lower_case, self.strip_accents, self.tokenize_chinese_chars)

    def split(self, word: str) -> list[str]:
        """The pieces of a normalised word; [UNK] alone where the vocabulary lacks one of them."""
        return wordpiece(word, self.vocab, self.longest) or ["[UNK]"]

    def pieces(self, text: str) -> Iterator[Piece]:
        """Every token of a text, in order."""
        start = 0
        for part in self.special.split(text):
            if part in self.special.ids:
                yield Piece(part, (start, start + len(part)))
            else:
                yield from self._pieces_between(part, start)
            start += len(part)

    def _pieces_between(self, text: str, start: int) -> Iterator[Piece]:
        """The tokens of a text without special tokens, which begins at place `start`."""
        normalized = self.normalize(text)
        # Normalising removes characters, and makes one into two or three (é, a Hangul syllable).
        # source[i] is the place in the text from which character i of `normalized` comes.
        growth = {c: len(self.normalize(c)) for c in set(text)}
        source = [place for place, c in enumerate(text, start) for _ in range(growth[c])]
        for word in find_words(normalized):
            begin = word.start()
            for piece in self.split(word[0]):
                # Only the first piece of a word comes without "##", which is not in the text.
                n_marks = 2 if begin > word.start() else 0
                end = word.end() if piece == "[UNK]" else begin + len(piece) - n_marks
                yield Piece(piece, (source[begin], source[end - 1] + 1))
                begin = end
