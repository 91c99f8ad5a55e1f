"""WordPieceTokenizer: a vocabulary, and the way from texts to ids and back."""

import json
import math
import operator
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizer import arguments, batch, files
from tokenizer.batch import Encoding, Feature
from tokenizer.fast import SPECIAL, FastIds
from tokenizer.normalize import find_words, normalize
from tokenizer.wordpiece import wordpiece

# What decoding writes closer together: in this order, in one token at a time.
CLOSER = {" .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't", " 'm": "'m"}
CLOSER |= {" do not": " don't", " 's": "'s", " 've": "'ve", " 're": "'re"}


class WordPieceTokenizer:
    """DistilBERT's tokenizer: `tok("some text")` gives ids, `tok.decode(ids)` gives text.

    >>> tok = WordPieceTokenizer.from_pretrained("demo")
    >>> tok("a sentence", "and its partner", return_token_type_ids=True)["token_type_ids"]
    [0, 0, 0, 0, 1, 1, 1, 1]
    >>> tok.decode(tok("Tokenizing is fun!").input_ids)
    '[CLS] tokenizing is fun! [SEP]'

    There are two ways from a text to ids. `_pieces` is the definition, rule by rule; FastIds, which
    remembers words, is what a call takes. The tests hold them equal.
    """

    pad_token, unk_token, cls_token, sep_token, mask_token = files.SPECIAL_TOKENS

    def __init__(
        self,
        tokens: Sequence[str],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        model_max_length: int = 512,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.model_max_length = model_max_length
        self.model_input_names = ["input_ids", "attention_mask"]
        self._tokens = tuple(tokens)
        self._vocab = {token: number for number, token in enumerate(tokens)}
        self._longest = max(map(len, tokens))
        self._fast = FastIds(self._vocab, self._normalize, self._split, do_lower_case)
        self.pad_token_id = self._vocab[self.pad_token]
        self.unk_token_id = self._vocab[self.unk_token]
        self.cls_token_id = self._vocab[self.cls_token]
        self.sep_token_id = self._vocab[self.sep_token]
        self.mask_token_id = self._vocab[self.mask_token]

    @classmethod
    def from_vocab(
        cls,
        path: str | os.PathLike[str],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> Self:
        """The tokenizer of a vocabulary file: a token a line, its id the number of lines before."""
        return cls(files.read_vocab(path), do_lower_case, strip_accents, tokenize_chinese_chars)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str]) -> Self:
        """The tokenizer of a folder, of a Hub name, or "demo": the packaged one."""
        vocab, config = files.find(name)
        return cls(files.read_vocab(vocab), **(files.read_config(config) if config else {}))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write vocab.txt and tokenizer_config.json, which transformers loads too."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        vocab = "".join(f"{token}\n" for token in self._tokens)
        config = json.dumps({**self._options(), "tokenizer_class": "DistilBertTokenizer"}, indent=2)
        (folder / "vocab.txt").write_bytes(vocab.encode("utf-8"))
        (folder / "tokenizer_config.json").write_bytes(f"{config}\n".encode())

    def _options(self) -> dict[str, Any]:
        return {
            "do_lower_case": self.do_lower_case,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "model_max_length": self.model_max_length,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes get the vocabulary and the options, not what is remembered."""
        return type(self), (self._tokens, *self._options().values())

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._vocab

    @property
    def vocab_size(self) -> int:
        """The number of tokens; ids run from 0 to vocab_size - 1."""
        return len(self._tokens)

    # From a text to tokens: the definition.

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without [CLS] and [SEP]."""
        return [piece for piece, _ in self._pieces(text)]

    def _places(self, text: str) -> list[tuple[int, int]]:
        return [place for _, place in self._pieces(text)]

    def _pieces(self, text: str) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every token, with the places in the text where it begins and ends."""
        start = 0
        for part in SPECIAL.split(text):  # first of all: [MASK] in a text is the token itself
            if part in files.SPECIAL_TOKENS:
                yield part, (start, start + len(part))
            else:
                yield from self._pieces_of_plain(part, start)
            start += len(part)

    def _pieces_of_plain(self, text: str, start: int) -> Iterator[tuple[str, tuple[int, int]]]:
        normalized = self._normalize(text)
        growth = {c: len(self._normalize(c)) for c in set(text)}
        source = [place for place, c in enumerate(text, start) for _ in range(growth[c])]
        for word in find_words(normalized):
            begin = word.start()
            for piece in self._split(word[0]):
                marks = 2 if begin > word.start() else 0  # the two of "##"
                end = word.end() if piece == self.unk_token else begin + len(piece) - marks
                yield piece, (source[begin], source[end - 1] + 1)
                begin = end

    def _split(self, word: str) -> list[str]:
        return wordpiece(word, self._vocab, self._longest) or [self.unk_token]

    def _normalize(self, text: str) -> str:
        return normalize(text, self.do_lower_case, self.strip_accents, self.tokenize_chinese_chars)

    # From texts to what a model takes.

    def __call__(
        self,
        text: str | Iterable[str],
        text_pair: str | Iterable[str] | None = None,
        *,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        pad_to_multiple_of: int | None = None,
        padding_side: str = "right",
        return_tensors: str | None = None,
        return_attention_mask: bool = True,
        return_token_type_ids: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
    ) -> Encoding:
        """Ids and masks of one text or of many, of one pair or of many, as transformers gives them.

        `max_length` counts the special tokens too; it cuts only where `truncation` says so.
        """
        fill = arguments.choose("padding", padding, arguments.PADDING)
        strategy = arguments.choose("truncation", truncation, arguments.TRUNCATION)
        side = arguments.choose("padding_side", padding_side, arguments.SIDES)
        kind = arguments.choose("return_tensors", return_tensors, arguments.TENSORS)
        limit = arguments.positive("max_length", max_length, self.model_max_length)
        multiple = arguments.positive("pad_to_multiple_of", pad_to_multiple_of, 1)
        if strategy and fill and limit % multiple:
            raise ValueError(f"max_length={limit} is no multiple of pad_to_multiple_of={multiple}")

        texts, partners = arguments.as_texts(text, text_pair)
        n = int(add_special_tokens)  # special tokens at each place that has one
        ids, tails = self._rows(texts, partners, n, limit, strategy)
        features: dict[str, Feature] = {"input_ids": (ids, self.pad_token_id)}
        if return_token_type_ids:
            features["token_type_ids"] = batch.token_types(ids, tails), 0
        if return_attention_mask:
            features["attention_mask"] = 1, 0
        if return_special_tokens_mask:
            features["special_tokens_mask"] = batch.special_mask(ids, tails, n), 1
        if return_offsets_mapping:
            features["offset_mapping"] = self._offsets(texts, partners, ids, tails, n), (0, 0)

        sizes = [len(row) for row in ids]
        longest = max(sizes, default=0)
        if longest > self.model_max_length and not strategy and max_length is None:
            message = f"a text has more than model_max_length={self.model_max_length} tokens"
            warnings.warn(f"{message}: pass truncation=True to cut it", stacklevel=2)
        length = None
        if fill:
            length = limit if fill == "max_length" else longest
            length = math.ceil(length / multiple) * multiple
        if kind:
            return batch.to_tensors(features, sizes, length, side, kind)
        return batch.to_lists(features, sizes, length, side, is_single=isinstance(text, str))

    def _rows(
        self,
        texts: list[str],
        partners: list[str] | None,
        n: int,
        limit: int,
        strategy: str | None,
    ) -> tuple[batch.Rows, list[int]]:
        """The framed ids of every text or pair, and how many of them are `second [SEP]`."""
        start, end = [self.cls_token_id] * n, [self.sep_token_id] * n
        room = arguments.room(limit, n * (2 if partners is None else 3)) if strategy else 0
        if partners is None:  # the common case: no list but the one that is wanted
            rows = self._fast.rows(texts, start, end)
            if strategy and max(map(len, rows), default=0) > limit:
                for row in rows:
                    n_kept, _ = batch.lengths_kept(len(row) - 2 * n, 0, room, strategy)
                    row[n + n_kept :] = end
            return rows, [0] * len(rows)
        pairs = list(zip(self._fast.rows(texts), self._fast.rows(partners)))
        if strategy:
            kept = [batch.lengths_kept(len(a), len(b), room, strategy) for a, b in pairs]
            pairs = [(a[:n_a], b[:n_b]) for (a, b), (n_a, n_b) in zip(pairs, kept)]
        return [[*start, *a, *end, *b, *end] for a, b in pairs], [len(b) + n for _, b in pairs]

    def _offsets(
        self,
        texts: list[str],
        partners: list[str] | None,
        rows: batch.Rows,
        tails: list[int],
        n: int,
    ) -> batch.Rows:
        """(begin, end) in its text of every token that was kept; (0, 0) for those added."""
        special, offsets = [(0, 0)] * n, []
        for i, (row, tail) in enumerate(zip(rows, tails)):
            first = self._places(texts[i])[: len(row) - tail - 2 * n]
            offsets.append([*special, *first, *special])
            if partners is not None:
                offsets[i] += [*self._places(partners[i])[: tail - n], *special]
        return offsets

    # And back.

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the ids of many; of a token that is not known, that of [UNK]."""
        if isinstance(tokens, str):
            return self._vocab.get(tokens, self.unk_token_id)
        return [self._vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or the tokens of many: a list, an array, a tensor."""
        if hasattr(ids, "__index__") and getattr(ids, "ndim", 0) == 0:
            return self._token(ids)
        return [self._token(number) for number in ids]

    def _token(self, number: Any) -> str:
        place = operator.index(number)
        if not 0 <= place < len(self._tokens):
            raise ValueError(f"no token has the id {place}: ids run from 0 to {len(self) - 1}")
        return self._tokens[place]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Tokens as readable text.

        >>> tok = WordPieceTokenizer.from_pretrained("demo")
        >>> tok.convert_tokens_to_string(["play", "##ing", ",", "not", "work", "##ing"])
        'playing, not working'
        """
        words: list[str] = []
        for token in tokens:
            if words:
                token = token[2:] if token.startswith("##") else f" {token}"
            for wide, close in CLOSER.items():
                token = token.replace(wide, close)
            words.append(token)
        return "".join(words)

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        """The text of a sequence of ids, as far as the tokens tell it."""
        tokens = self.convert_ids_to_tokens(ids)
        tokens = [tokens] if isinstance(tokens, str) else tokens
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in files.SPECIAL_TOKENS]
        return self.convert_tokens_to_string(tokens)

    def batch_decode(self, batch: Iterable[Any], skip_special_tokens: bool = False) -> list[str]:
        """The texts of many sequences of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in batch]
