"""WordPieceTokenizer: a vocabulary, and the way from texts to ids and back."""

import operator
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tokenizer import files, inputs, settings, tensors, truncate
from tokenizer.decode import clean_up_spaces, tokens_to_text
from tokenizer.rules import Rules
from tokenizer.settings import Settings
from tokenizer.tensors import Column, Encoding, Padding
from tokenizer.truncate import Rows, Truncation
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

    def __init__(self, given: Settings) -> None:
        self.settings = given
        self.rules = given.rules
        self.model_max_length = given.model_max_length
        self.padding_side = given.padding_side
        self.truncation_side = given.truncation_side
        self.model_input_names = ["input_ids", "attention_mask"]
        self._words = Words(self.rules)
        names, ids = self.rules.names, self.rules.ids
        self.pad_token, self.pad_token_id = names.pad_token, ids[names.pad_token]
        self.unk_token, self.unk_token_id = names.unk_token, ids[names.unk_token]
        self.cls_token, self.cls_token_id = names.cls_token, ids[names.cls_token]
        self.sep_token, self.sep_token_id = names.sep_token, ids[names.sep_token]
        self.mask_token = names.mask_token
        self.mask_token_id = None if names.mask_token is None else ids[names.mask_token]

    @classmethod
    def from_vocab(
        cls,
        path: str | os.PathLike[str],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> Self:
        """The tokenizer of a vocabulary file: a token a line, its id the number of lines before.

        Raises OSError where the file cannot be read, ValueError where it is no vocabulary, or an
        option is not True or False (strip_accents: or None, which follows do_lower_case)."""
        yes_or_no: dict = {True: True, False: False}
        inputs.choose("do_lower_case", do_lower_case, yes_or_no)
        inputs.choose("strip_accents", strip_accents, {None: None, **yes_or_no})
        inputs.choose("tokenize_chinese_chars", tokenize_chinese_chars, yes_or_no)
        tokens = tuple(settings.read_vocab(Path(path)))
        rules = Rules(tokens, do_lower_case, strip_accents, tokenize_chinese_chars)
        settings.check(Path(path), rules)
        return cls(Settings(rules))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str]) -> Self:
        """The tokenizer of a folder, of a Hub name, or "demo": the packaged one.

        Raises OSError where a file cannot be had, ValueError where it cannot be followed."""
        return cls(settings.read(files.find(name)))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write vocab.txt and tokenizer_config.json, which transformers loads too."""
        now = self.settings._replace(
            model_max_length=self.model_max_length,
            padding_side=self.padding_side,
            truncation_side=self.truncation_side,
        )
        settings.write(now, Path(folder))

    def __getstate__(self) -> dict[str, Any]:
        """What copies and other processes get: everything but the cache of words."""
        return {name: value for name, value in vars(self).items() if name != "_words"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._words = Words(self.rules)

    def __repr__(self) -> str:
        special = ", ".join(
            f"{t} {i}" for t, i in zip(self.all_special_tokens, self.all_special_ids)
        )
        return (
            f"{type(self).__name__}(vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, special tokens: {special})"
        )

    def __len__(self) -> int:
        """The number of all tokens, those that were added to the vocabulary included."""
        return len(self.rules.all_tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.rules.ids

    @property
    def model_max_length(self) -> int:
        """The number of tokens at which `truncation=True` cuts where no max_length is given."""
        return self._model_max_length

    @model_max_length.setter
    def model_max_length(self, length: int) -> None:
        """Raises ValueError on anything but a whole number from 1 up."""
        if length is None:
            raise ValueError("model_max_length=None: give a whole number from 1 up")
        self._model_max_length = inputs.positive("model_max_length", length, 0)

    @property
    def padding_side(self) -> str:
        """On which side of shorter texts padding stands: "right" or "left"."""
        return self._padding_side

    @padding_side.setter
    def padding_side(self, side: str) -> None:
        """Raises ValueError for anything but "right" and "left"."""
        self._padding_side = inputs.choose("padding_side", side, tensors.SIDES)

    @property
    def truncation_side(self) -> str:
        """From which side longer texts are cut: "right" or "left"."""
        return self._truncation_side

    @truncation_side.setter
    def truncation_side(self, side: str) -> None:
        """Raises ValueError for anything but "right" and "left"."""
        self._truncation_side = inputs.choose("truncation_side", side, tensors.SIDES)

    @property
    def do_lower_case(self) -> bool:
        """Whether texts are lowered; of a model that was trained on such texts."""
        return self.rules.do_lower_case

    @property
    def strip_accents(self) -> bool | None:
        """Whether accents are dropped; None: where texts are lowered."""
        return self.rules.strip_accents

    @property
    def tokenize_chinese_chars(self) -> bool:
        """Whether each Chinese character is a word of its own."""
        return self.rules.tokenize_chinese_chars

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary; tokens that were added to it are counted by len() only."""
        return len(self.rules.tokens)

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self.rules.ids)

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self.vocab

    @property
    def all_special_tokens(self) -> list[str]:
        """The tokens that decoding can skip: those with a task first, then the others."""
        names = [self.unk_token, self.sep_token, self.pad_token, self.cls_token, self.mask_token]
        others = [token.content for token in self.rules.added.values() if token.special]
        return list(dict.fromkeys(name for name in [*names, *others] if name is not None))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of all_special_tokens."""
        return [self.rules.ids[token] for token in self.all_special_tokens]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without [CLS] and [SEP]."""
        return [piece.token for piece in self.rules.pieces(text)]

    def __call__(
        self,
        text: str | Iterable[str] | Iterable[tuple[str, str]],
        text_pair: str | Iterable[str] | None = None,
        *,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,  # None: the tokenizer's own
        return_tensors: str | None = None,
        return_attention_mask: bool = True,
        return_token_type_ids: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
    ) -> Encoding:
        """Ids and masks of one text or of many, of one pair or of many, as transformers gives them.

        `max_length` counts the special tokens too; it cuts only where `truncation` says so.
        """
        kind = inputs.choose("return_tensors", return_tensors, tensors.KINDS)
        how = self._truncation(truncation, max_length)
        pads = self._padding(padding, padding_side, pad_to_multiple_of, how)
        texts, partners = inputs.texts_and_partners(text, text_pair)
        n_special = 1 if add_special_tokens else 0
        if partners is None:
            rows = self._rows_of_texts(texts, n_special, how)
        else:
            rows = self._rows_of_pairs(texts, partners, n_special, how)
        columns = {"input_ids": Column(rows.ids, self.pad_token_id)}
        if return_token_type_ids:
            columns["token_type_ids"] = Column(rows.token_type_ids(), 0)
        if return_attention_mask:
            columns["attention_mask"] = Column(1, 0)
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = Column(rows.special_tokens_mask(), 1)
        if return_offsets_mapping:
            columns["offset_mapping"] = Column(self._offsets(texts, partners, rows, how), (0, 0))

        sizes = list(map(len, rows.ids))
        longest = max(sizes, default=0)
        if longest > self.model_max_length and not how.strategy and max_length is None:
            message = f"a text has more than model_max_length={self.model_max_length} tokens"
            warnings.warn(f"{message}: pass truncation=True to cut it", stacklevel=2)
        length = pads.length(longest)
        if kind:
            return tensors.to_tensors(columns, sizes, length, pads.side, kind)
        return tensors.to_lists(columns, sizes, length, pads.side, is_single=isinstance(text, str))

    def _truncation(self, truncation: bool | str, max_length: int | None) -> Truncation:
        strategy = inputs.choose("truncation", truncation, truncate.STRATEGIES)
        limit = inputs.positive("max_length", max_length, self.model_max_length)
        return Truncation(strategy, limit, self._truncation_side)

    def _padding(
        self, padding: bool | str, side: str | None, to_multiple_of: int | None, how: Truncation
    ) -> Padding:
        pad_to = inputs.choose("padding", padding, tensors.PADDING)
        if side is None:
            side = self._padding_side
        else:
            side = inputs.choose("padding_side", side, tensors.SIDES)
        multiple = inputs.positive("pad_to_multiple_of", to_multiple_of, 1)
        if how.strategy and pad_to and how.limit % multiple:
            raise ValueError(
                f"max_length={how.limit} is no multiple of pad_to_multiple_of={multiple}"
            )
        return Padding(pad_to, how.limit, multiple, side)

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The ids alone; the options are those of a call."""
        return self(text, text_pair, **options)["input_ids"]

    def _rows_of_texts(self, texts: list[str], n_special: int, how: Truncation) -> Rows:
        """[CLS] text [SEP] for every text."""
        start, end = [self.cls_token_id] * n_special, [self.sep_token_id] * n_special
        ids = self._words.rows(texts, start, end)  # framed at once: the rows are built only once
        if how.strategy:
            space = truncate.space_for_text(how.limit, 2 * n_special)
            if max(map(len, ids), default=0) > how.limit:  # seldom: no loop for the common case
                for i, row in enumerate(ids):
                    tokens = row[n_special : len(row) - n_special]
                    n_kept, _ = truncate.lengths_kept(len(tokens), 0, space, how.strategy)
                    ids[i] = truncate.frame(how.cut(tokens, n_kept), None, start, end)
        return Rows(ids, [0] * len(ids), n_special)

    def _rows_of_pairs(
        self, texts: list[str], partners: list[str], n_special: int, how: Truncation
    ) -> Rows:
        """[CLS] text [SEP] partner [SEP] for every pair."""
        start, end = [self.cls_token_id] * n_special, [self.sep_token_id] * n_special
        firsts, seconds = self._words.rows(texts), self._words.rows(partners)
        if how.strategy:
            space = truncate.space_for_text(how.limit, 3 * n_special)
            for i, (a, b) in enumerate(zip(firsts, seconds)):
                n_a, n_b = truncate.lengths_kept(len(a), len(b), space, how.strategy)
                firsts[i], seconds[i] = how.cut(a, n_a), how.cut(b, n_b)
        ids = [truncate.frame(a, b, start, end) for a, b in zip(firsts, seconds)]
        return Rows(ids, [len(second) + n_special for second in seconds], n_special)

    def _offsets(
        self, texts: list[str], partners: list[str] | None, rows: Rows, how: Truncation
    ) -> list[list[tuple[int, int]]]:
        """(begin, end) in its own text of every token that was kept; (0, 0) for those added."""
        added = [(0, 0)] * rows.n_special
        offsets = []
        for i, text in enumerate(texts):
            first = how.cut(self._offsets_of_text(text), rows.n_first(i))
            second = None
            if partners is not None:
                second = how.cut(self._offsets_of_text(partners[i]), rows.n_second(i))
            offsets.append(truncate.frame(first, second, added, added))
        return offsets

    def _offsets_of_text(self, text: str) -> list[tuple[int, int]]:
        return [piece.offsets for piece in self.rules.pieces(text)]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the ids of many; of a token that is not known, that of [UNK]."""
        ids, unknown = self.rules.ids, self.unk_token_id
        if isinstance(tokens, str):
            return ids.get(tokens, unknown)
        return [ids.get(token, unknown) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or the tokens of many: a list, an array, a tensor."""
        if _is_number(ids):
            return self._token(ids)
        return [self._token(number) for number in ids]

    def _token(self, number: Any) -> str:
        place = operator.index(number)  # refuses 1.5, takes every kind of integer
        if not 0 <= place < len(self):  # -1 would give the last token
            raise ValueError(f"no token has the id {place}: ids run from 0 to {len(self) - 1}")
        return self.rules.all_tokens[place]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Tokens as readable text: `["play", "##ing", ","]` is "playing,"."""
        return tokens_to_text(tokens, self.rules.prefix, self.settings.cleanup)

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The text of a sequence of ids, as far as the tokens tell it; a list for a batch."""
        is_list = isinstance(ids, list | tuple)
        if getattr(ids, "ndim", 0) == 2 or (is_list and ids and not _is_number(ids[0])):
            return self.batch_decode(ids, skip_special_tokens)
        tokens = self.convert_ids_to_tokens(ids)
        if isinstance(tokens, str):
            tokens = [tokens]
        if skip_special_tokens:
            special = set(self.all_special_tokens)
            tokens = [token for token in tokens if token not in special]
        text = self.convert_tokens_to_string(tokens)
        return clean_up_spaces(text) if self.settings.clean_up_tokenization_spaces else text

    def batch_decode(self, batch: Iterable[Any], skip_special_tokens: bool = False) -> list[str]:
        """The texts of many sequences of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in batch]


def _is_number(ids: Any) -> bool:
    """Whether it is one id. Tensors of any shape have __index__; one number has no dimensions."""
    return hasattr(ids, "__index__") and getattr(ids, "ndim", 0) == 0
