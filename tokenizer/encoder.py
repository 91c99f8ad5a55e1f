"""WordPieceTokenizer: a vocabulary, and the way from texts to ids and back."""

import json
import operator
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizer import files, inputs, tensors, truncate
from tokenizer.decode import tokens_to_text
from tokenizer.rules import Rules
from tokenizer.special import SPECIAL_TOKENS
from tokenizer.tensors import Column, Encoding
from tokenizer.truncate import Rows
from tokenizer.words import Words


class WordPieceTokenizer:
    """DistilBERT's tokenizer: `tok("some text")` gives ids, `tok.decode(ids)` gives text.

    >>> tok = WordPieceTokenizer.from_pretrained("demo")
    >>> tok("a sentence", "and its partner", return_token_type_ids=True)["token_type_ids"]
    [0, 0, 0, 0, 1, 1, 1, 1]
    >>> tok.decode(tok("Tokenizing is fun!").input_ids)
    '[CLS] tokenizing is fun! [SEP]'

    There are two ways from a text to ids. Rules is the definition; Words, a cache of words, is what
    a call uses. The tests hold them equal.
    """

    pad_token, unk_token, cls_token, sep_token, mask_token = SPECIAL_TOKENS

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
        self.rules = Rules(tokens, do_lower_case, strip_accents, tokenize_chinese_chars)
        self._words = Words(self.rules)
        self.pad_token_id = self.rules.special.ids[self.pad_token]
        self.unk_token_id = self.rules.special.ids[self.unk_token]
        self.cls_token_id = self.rules.special.ids[self.cls_token]
        self.sep_token_id = self.rules.special.ids[self.sep_token]
        self.mask_token_id = self.rules.special.ids[self.mask_token]

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
        vocab = "".join(f"{token}\n" for token in self.rules.tokens)
        config = json.dumps({**self._options(), "tokenizer_class": "DistilBertTokenizer"}, indent=2)
        # As bytes: text mode would write other line ends on other systems.
        (folder / "vocab.txt").write_bytes(vocab.encode("utf-8"))
        (folder / "tokenizer_config.json").write_bytes(f"{config}\n".encode())

    def _options(self) -> dict[str, Any]:
        return {
            "do_lower_case": self.do_lower_case,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "model_max_length": self.model_max_length,
        }

    def __getstate__(self) -> dict[str, Any]:
        """What copies and other processes get: the vocabulary and the options, not the cache."""
        return {"tokens": self.rules.tokens, **self._options()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        WordPieceTokenizer.__init__(self, **state)

    def __len__(self) -> int:
        return len(self.rules.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.rules.vocab

    @property
    def vocab_size(self) -> int:
        """The number of tokens; ids run from 0 to vocab_size - 1."""
        return len(self.rules.tokens)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without [CLS] and [SEP]."""
        return [piece.token for piece in self.rules.pieces(text)]

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
        pad_to = inputs.choose("padding", padding, tensors.PADDING)
        strategy = inputs.choose("truncation", truncation, truncate.STRATEGIES)
        side = inputs.choose("padding_side", padding_side, tensors.SIDES)
        kind = inputs.choose("return_tensors", return_tensors, tensors.KINDS)
        limit = inputs.positive("max_length", max_length, self.model_max_length)
        multiple = inputs.positive("pad_to_multiple_of", pad_to_multiple_of, 1)
        if strategy and pad_to and limit % multiple:
            raise ValueError(f"max_length={limit} is no multiple of pad_to_multiple_of={multiple}")

        texts, partners = inputs.texts_and_partners(text, text_pair)
        n_special = 1 if add_special_tokens else 0
        if partners is None:
            rows = self._rows_of_texts(texts, n_special, limit, strategy)
        else:
            rows = self._rows_of_pairs(texts, partners, n_special, limit, strategy)
        columns = {"input_ids": Column(rows.ids, self.pad_token_id)}
        if return_token_type_ids:
            columns["token_type_ids"] = Column(rows.token_type_ids(), 0)
        if return_attention_mask:
            columns["attention_mask"] = Column(1, 0)
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = Column(rows.special_tokens_mask(), 1)
        if return_offsets_mapping:
            columns["offset_mapping"] = Column(self._offsets(texts, partners, rows), (0, 0))

        sizes = list(map(len, rows.ids))
        longest = max(sizes, default=0)
        if longest > self.model_max_length and not strategy and max_length is None:
            message = f"a text has more than model_max_length={self.model_max_length} tokens"
            warnings.warn(f"{message}: pass truncation=True to cut it", stacklevel=2)
        length = tensors.padded_length(pad_to, longest, limit, multiple)
        if kind:
            return tensors.to_tensors(columns, sizes, length, side, kind)
        return tensors.to_lists(columns, sizes, length, side, is_single=isinstance(text, str))

    def _rows_of_texts(
        self, texts: list[str], n_special: int, limit: int, strategy: str | None
    ) -> Rows:
        """[CLS] text [SEP] for every text, cut to `limit` tokens where a strategy is given."""
        start, end = [self.cls_token_id] * n_special, [self.sep_token_id] * n_special
        ids = self._words.rows(texts, start, end)  # framed at once: the rows are built only once
        space = truncate.space_for_text(limit, 2 * n_special) if strategy else 0
        if strategy and max(map(len, ids), default=0) > limit:  # seldom; the common case stays fast
            for row in ids:
                n_text = len(row) - 2 * n_special
                n_kept, _ = truncate.lengths_kept(n_text, 0, space, strategy)
                row[n_special + n_kept :] = end
        return Rows(ids, [0] * len(ids), n_special)

    def _rows_of_pairs(
        self,
        texts: list[str],
        partners: list[str],
        n_special: int,
        limit: int,
        strategy: str | None,
    ) -> Rows:
        """[CLS] text [SEP] partner [SEP] for every pair, cut where a strategy is given."""
        start, end = [self.cls_token_id] * n_special, [self.sep_token_id] * n_special
        firsts, seconds = self._words.rows(texts), self._words.rows(partners)
        if strategy:
            space = truncate.space_for_text(limit, 3 * n_special)
            for first, second in zip(firsts, seconds):
                n_first, n_second = truncate.lengths_kept(len(first), len(second), space, strategy)
                del first[n_first:], second[n_second:]
        ids = [truncate.frame(a, b, start, end) for a, b in zip(firsts, seconds)]
        return Rows(ids, [len(second) + n_special for second in seconds], n_special)

    def _offsets(
        self, texts: list[str], partners: list[str] | None, rows: Rows
    ) -> list[list[tuple[int, int]]]:
        """(begin, end) in its own text of every token that was kept; (0, 0) for those added."""
        added = [(0, 0)] * rows.n_special
        offsets = []
        for i, text in enumerate(texts):
            first = self._offsets_of_text(text)[: rows.n_first(i)]
            second = None
            if partners is not None:
                second = self._offsets_of_text(partners[i])[: rows.n_second(i)]
            offsets.append(truncate.frame(first, second, added, added))
        return offsets

    def _offsets_of_text(self, text: str) -> list[tuple[int, int]]:
        return [piece.offsets for piece in self.rules.pieces(text)]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the ids of many; of a token that is not known, that of [UNK]."""
        vocab, unknown = self.rules.vocab, self.unk_token_id
        if isinstance(tokens, str):
            return vocab.get(tokens, unknown)
        return [vocab.get(token, unknown) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or the tokens of many: a list, an array, a tensor."""
        # Tensors of any shape have __index__; only those without dimensions are one number.
        if hasattr(ids, "__index__") and getattr(ids, "ndim", 0) == 0:
            return self._token(ids)
        return [self._token(number) for number in ids]

    def _token(self, number: Any) -> str:
        place = operator.index(number)  # refuses 1.5, takes every kind of integer
        if not 0 <= place < len(self):  # -1 would give the last token
            raise ValueError(f"no token has the id {place}: ids run from 0 to {len(self) - 1}")
        return self.rules.tokens[place]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Tokens as readable text: `["play", "##ing", ","]` is "playing,"."""
        return tokens_to_text(tokens)

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        """The text of a sequence of ids, as far as the tokens tell it."""
        tokens = self.convert_ids_to_tokens(ids)
        if isinstance(tokens, str):
            tokens = [tokens]
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in self.rules.special.ids]
        return tokens_to_text(tokens)

    def batch_decode(self, batch: Iterable[Any], skip_special_tokens: bool = False) -> list[str]:
        """The texts of many sequences of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in batch]
