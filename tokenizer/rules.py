"""The definition: from a text to its tokens, rule after rule, with their places in the text.

Written to be read. words.py finds the same ids faster, by remembering words; tests hold the two
equal.
"""

import string
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from tokenizer.normalize import find_words, normalize
from tokenizer.places import places
from tokenizer.special import AddedToken, Finder, SpecialNames
from tokenizer.wordpiece import MAX_CHARS, wordpiece

BERTS_NAMES = SpecialNames()


class Part(NamedTuple):
    """An added token as it stands in the text or, where `token` is None, normalised text."""

    token: AddedToken | None
    text: str
    places: Sequence[int]  # for each character of `text` where it comes from


class Piece(NamedTuple):
    """A token, its id, and where it begins and ends in the text: text[begin:end]."""

    token: str
    id: int
    offsets: tuple[int, int]


class Rules:
    """A vocabulary, and all that decides which tokens a text becomes. Not to be changed later."""

    # Not a dataclass: importing dataclasses would take as long as half of this package (10 ms).
    def __init__(
        self,
        tokens: tuple[str, ...],  # a token's id is its place
        do_lower_case: bool = True,
        strip_accents: bool | None = None,  # None: as do_lower_case
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
        names: SpecialNames = BERTS_NAMES,
        more_tokens: tuple[AddedToken, ...] = (),  # beside the special ones, or with other flags
        prefix: str = "##",
        max_chars: int = MAX_CHARS,
    ) -> None:
        self.tokens, self.names, self.more_tokens = tokens, names, more_tokens
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars, self.clean_text = tokenize_chinese_chars, clean_text
        self.prefix, self.max_chars = prefix, max_chars
        # Of normalize and places, in the order of their parameters.
        self._options = (do_lower_case, strip_accents, tokenize_chinese_chars, clean_text)
        self.vocab = {token: number for number, token in enumerate(tokens)}
        self.longest = max(map(len, tokens))
        self._unknown = [names.unk_token]
        # The tokens that are found as they are: the special ones, and more_tokens.
        special = {name: AddedToken(name, self.vocab[name]) for name in names if name in self.vocab}
        self.added = special | {token.content: token for token in more_tokens}
        self.ids = self.vocab | {token.content: token.id for token in self.added.values()}
        # Where they are looked for: in the text as it was typed, or in the normalised text.
        added = self.added.values()
        self._typed = Finder({t.content: t for t in added if not t.normalized})
        self._normalized = Finder({self._written(t): t for t in added if t.normalized})
        # A punctuation mark that every added token contains ("["), or "". A text without it holds
        # no added token, for no rule makes such a mark of another character ...
        marks = set(string.punctuation)
        if any(token.normalized for token in added):
            marks -= set("<=>`;")  # ... but these: without its accent, "\u226e" is "<"
        self.hint = min(marks.intersection(*self.added), default="")
        # Whether the tokens of a text are those of its chunks between spaces, one by one: so unless
        # some added token has white space in it.
        self.chunks_are_independent = all(token.split() == [token] for token in self.added)

    def __eq__(self, other: object) -> bool:
        """Whether all that was given is equal; the rest is made of it."""
        return isinstance(other, Rules) and self.given() == other.given()

    def given(self) -> tuple[Any, ...]:
        """All that decides which ids a text has."""
        return self.tokens, self._options, self.names, self.more_tokens, self.prefix, self.max_chars

    @cached_property
    def all_tokens(self) -> list[str]:
        """All tokens by their ids: first the vocabulary's, then those that were added to it.

        A token that is looked for in normalised text is written in its normalised form, as in
        `tokenizers`.
        """
        added = {token.id: self._written(token) for token in self.added_by_id}
        vocab = [added.get(i, token) for i, token in enumerate(self.tokens)]
        return vocab + [token for i, token in added.items() if i >= len(vocab)]

    @property
    def added_by_id(self) -> list[AddedToken]:
        """The tokens that are found as they are, special ones too, in the order of their ids."""
        return sorted(self.added.values(), key=lambda token: token.id)

    def _written(self, token: AddedToken) -> str:
        return self.normalize(token.content) if token.normalized else token.content

    def normalize(self, text: str) -> str:
        """The text cleaned, without accents and in lower case, as far as the options say so."""
        return normalize(text, *self._options)

    def split(self, word: str) -> list[str]:
        """The pieces of a normalised word; [UNK] alone where the vocabulary lacks one of them."""
        pieces = wordpiece(word, self.vocab, self.longest, self.prefix, self.max_chars)
        return pieces or self._unknown

    def parts(self, text: str) -> Iterator[Part]:
        """The text in order: added tokens, and the normalised text between them."""
        # First in the text as it was typed, before any other rule: "[MASK]" is a token, while
        # "[mask]" and "[ MASK ]" are a word between punctuation marks.
        for typed in self._typed.split(text):
            section = text[typed.begin : typed.end]
            if typed.token:
                yield Part(typed.token, section, range(typed.begin, typed.end))
                continue
            normalized = self.normalize(section)
            origins = [typed.begin + place for place in places(section, *self._options)]
            for match in self._normalized.split(normalized):
                here = slice(match.begin, match.end)
                yield Part(match.token, normalized[here], origins[here])

    def pieces(self, text: str) -> Iterator[Piece]:
        """Every token of a text, in order."""
        for part in self.parts(text):
            if part.token:
                token = part.token
                yield Piece(self._written(token), token.id, (part.places[0], part.places[-1] + 1))
                continue
            for word in find_words(part.text):
                pieces = self.split(word[0])
                begin = word.start()
                for i, piece in enumerate(pieces):
                    end = begin + len(piece) - (len(self.prefix) if i > 0 else 0)
                    if len(pieces) == 1:
                        end = word.end()  # also of an unknown word, which is not as long as "[UNK]"
                    offsets = (part.places[begin], part.places[end - 1] + 1)
                    yield Piece(piece, self.ids[piece], offsets)
                    begin = end

    def may_hold_added(self, chunk: str) -> bool:
        """False where surely no added token stands in a chunk of text, in whatever case."""
        if self.hint not in chunk:
            return False
        normalized = self.normalize(chunk)
        return any(
            finder.pattern and (finder.pattern.search(chunk) or finder.pattern.search(normalized))
            for finder in (self._typed, self._normalized)
        )
