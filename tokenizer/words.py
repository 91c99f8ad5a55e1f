"""The same ids as rules.py gives, found faster: what was once worked out is remembered.

Language repeats itself. A chunk of text between two spaces has mostly been seen before, and then
costs one look-up in a dict.
"""

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

from tokenizer.normalize import split_words
from tokenizer.rules import Rules

Ids = tuple[int, ...]

LONGEST_KEY = 200  # characters; a longer chunk is hardly seen twice, and would fill the memory
FEW = 1_000  # chunks; a program that reads fewer never lists the vocabulary's words
ASCII_WORD = re.compile("[0-9A-Za-z]+|[!-/:-@[-`{-~]")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python from searching many new lists for reference cycles: lists of ints have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def is_word(chunk: str) -> bool:
    """Whether it is one word for certain, and lower case is all that normalising can change."""
    return chunk.isalnum() and chunk.isascii()


class Words(dict[str, Ids]):
    """A cache: words[chunk] gives the ids of a chunk of text without spaces.

    It holds at most `size` chunks and, once FEW have been seen, the words of the vocabulary. A full
    cache is emptied; this changes speed, never results.
    """

    def __init__(self, rules: Rules, size: int = 2**17) -> None:
        super().__init__()
        self.rules = rules
        self.size = size
        self.known: dict[str, Ids] = {}  # see _plain_words; empty until they are listed
        self.max_entries = min(size, FEW)
        # Under their own names, because they are asked for at every new chunk.
        self.hint, self.do_lower_case = rules.hint, rules.do_lower_case
        self.split, self.id_of = rules.split, rules.ids.__getitem__

    def rows(
        self, texts: Sequence[str], before: Sequence[int] = (), after: Sequence[int] = ()
    ) -> list[list[int]]:
        """The ids of each text, with the given ones before and after them."""
        if not self.rules.chunks_are_independent:  # the slow way, which is always right
            return [[*before, *self._ids_by_rules(text), *after] for text in texts]
        if len(texts) < FEW:  # turning the collector off and on costs as much as a short text
            return self._rows(texts, before, after)
        with no_garbage_collection():
            return self._rows(texts, before, after)

    def _rows(
        self, texts: Sequence[str], before: Sequence[int], after: Sequence[int]
    ) -> list[list[int]]:
        # The inner loop is the whole cost of a text whose chunks are all known; hence the local
        # names. Only space and line end part chunks here: other white space stays inside a chunk,
        # and is dealt with when the chunk is worked out.
        recall, rows = self.__getitem__, []
        for text in texts:
            row = [*before]
            extend = row.extend
            for ids in map(recall, text.replace("\n", " ").split(" ")):
                extend(ids)
            extend(after)
            rows.append(row)
        return rows

    def __missing__(self, chunk: str) -> Ids:
        """Called by dict for a chunk that is not there: work it out and remember it."""
        ids = self._ids_of_chunk(chunk)
        if len(chunk) <= LONGEST_KEY:
            if len(self) >= self.max_entries:
                self._make_space()
            self[chunk] = ids
        return ids

    def _make_space(self) -> None:
        if self.known:
            self.forget()
        else:  # the first time: many texts are being read, so the vocabulary is worth a look
            self.known = {word: (self.id_of(word),) for word in self._plain_words()}
            self.update(self.known)
            self.max_entries = len(self.known) + self.size

    def _plain_words(self) -> list[str]:
        """The vocabulary's words for which a text that is this word becomes this one token."""
        # One search in all tokens at once: tested one by one, they would take three times as long.
        pattern = "^[0-9a-z]+$" if self.do_lower_case else "^[0-9A-Za-z]+$"
        words = re.findall(pattern, "\n".join(self.rules.tokens), re.MULTILINE)
        words = [word for word in words if len(word) <= self.rules.max_chars]
        if self.hint:  # a punctuation mark, so no added token stands in a word
            return words
        return [word for word in words if not self.rules.may_hold_added(word)]

    def forget(self) -> None:
        """Empty the cache but for the vocabulary's own words."""
        self.clear()
        self.update(self.known)

    def _ids_of_chunk(self, chunk: str) -> Ids:
        """The ids of one chunk, part by part: each part is a shorter chunk, looked up in turn.

        The parts are strictly shorter than the chunk, so this ends; and "hello" is then known for
        "hello!" and "(hello)" alike.
        """
        if self.hint in chunk and self.rules.may_hold_added(chunk):
            return self._ids_by_rules(chunk)
        if is_word(chunk):  # the commonest case
            word = chunk.lower() if self.do_lower_case else chunk
            return self._ids_of_word(word) if word == chunk else self[word]
        if chunk.isascii() and chunk.isprintable():  # nothing to remove, no accents
            words = ASCII_WORD.findall(chunk.lower() if self.do_lower_case else chunk)
            if len(words) > 1:
                return tuple(chain.from_iterable(map(self.__getitem__, words)))
        else:  # every rule may apply, white space inside the chunk included
            words = split_words(self.rules.normalize(chunk))
        return tuple(chain.from_iterable(map(self._ids_of_word, words)))

    def _ids_of_word(self, word: str) -> Ids:
        return tuple(map(self.id_of, self.split(word)))

    def _ids_by_rules(self, text: str) -> Ids:
        return tuple(piece.id for piece in self.rules.pieces(text))
