"""Every option of a call gives what transformers' call gives; decoding gives what it decodes."""

import itertools
import random
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import DistilBertTokenizer

from tests import unicode_tables
from tests.reference import OPTIONS, VOCAB, reference
from tests.test_tokenizer_exact import random_text
from tokenizer import WordPieceTokenizer

TEXTS = [
    "i didnt feel humiliated",
    "",
    "A, naïve [MASK] AllenNLP sentence.",
    "unaffable " * 9,
    "hello [PAD] [SEP]",
]
PARTNERS = ["so hopeless to so damned hopeful", "pair", "", "one", "two words or more " * 5]
EXTRAS = {
    "return_token_type_ids": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
}


@pytest.fixture(scope="module")
def ours() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained("demo")


@pytest.fixture(scope="module")
def theirs() -> DistilBertTokenizer:
    return DistilBertTokenizer(vocab=str(VOCAB), model_max_length=512)


def outcome(tokenizer, *texts, **options):
    """What a call returns, or that it refuses."""
    try:
        return dict(tokenizer(*texts, **options))
    except Exception:
        return "refused"


@pytest.mark.parametrize("padding", [False, True, "longest", "max_length", "do_not_pad"])
@pytest.mark.parametrize("truncation", [False, True, "longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("with_pairs", [False, True], ids=["single", "pairs"])
def test_all_combinations_of_options_give_what_transformers_gives(
    ours, theirs, padding, truncation, with_pairs
):
    batch = (TEXTS, PARTNERS) if with_pairs else (TEXTS,)
    # All at once, and one by one; where transformers takes an empty partner for none, unlike in
    # its batches, we stay with "a batch is its texts one by one".
    many = [batch, *(texts for texts in zip(*batch) if texts[-1] or not with_pairs)]
    for texts, max_length, side, multiple, special in itertools.product(
        many, (None, 6, 9, 40), ("right", "left"), (None, 8), (True, False)
    ):
        options = {
            "padding": padding,
            "truncation": truncation,
            "padding_side": side,
            "pad_to_multiple_of": multiple,
            "add_special_tokens": special,
            **EXTRAS,
        }
        if max_length and (truncation or padding == "max_length"):  # else: see the next test
            options["max_length"] = max_length
        assert outcome(ours, *texts, **options) == outcome(theirs, *texts, **options), options


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("truncation", ["longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("with_pairs", [False, True], ids=["single", "pairs"])
def test_sides_set_as_attributes_are_those_of_transformers(side, truncation, with_pairs):
    ours = WordPieceTokenizer.from_pretrained("demo")
    theirs = DistilBertTokenizer(vocab=str(VOCAB), model_max_length=512)
    for tokenizer in (ours, theirs):
        tokenizer.truncation_side, tokenizer.padding_side = side, "left"
    texts = (TEXTS, PARTNERS) if with_pairs else (TEXTS,)
    for max_length, special in itertools.product((4, 6, 7, 9, 40), (True, False)):
        options = {"truncation": truncation, "max_length": max_length, "padding": True, **EXTRAS}
        options["add_special_tokens"] = special
        assert outcome(ours, *texts, **options) == outcome(theirs, *texts, **options), options
    explicit = ours(TEXTS, padding=True, padding_side="right")
    assert explicit == theirs(TEXTS, padding=True, padding_side="right")


@pytest.mark.parametrize("name", ["padding_side", "truncation_side"])
def test_a_side_that_is_neither_left_nor_right_is_refused(name):
    ours = WordPieceTokenizer.from_pretrained("demo")
    with pytest.raises(ValueError, match=f"{name}='middle': choose one of 'right', 'left'"):
        setattr(ours, name, "middle")
    assert getattr(ours, name) == "right"


def test_names_that_people_know_from_transformers_give_the_same(ours, theirs):
    assert ours.encode("a b") == theirs.encode("a b")
    assert ours.encode("a", "b", add_special_tokens=False) == theirs.encode(
        "a", "b", add_special_tokens=False
    )
    assert ours.encode(TEXTS) == theirs.encode(TEXTS)
    assert ours.get_vocab() == ours.vocab == theirs.get_vocab() == theirs.vocab
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.all_special_ids == theirs.all_special_ids
    rows = ours(TEXTS).input_ids
    for batch in (rows, torch.tensor([[101, 7592], [102, 0]]), [np.array(row) for row in rows], []):
        for skip in (False, True):
            expected = theirs.decode(batch, skip_special_tokens=skip)
            assert ours.decode(batch, skip_special_tokens=skip) == expected


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_list_of_pairs_is_what_transformers_makes_of_it(ours, theirs, kind):
    pairs = [kind(pair) for pair in zip(TEXTS, PARTNERS)]
    options = {"padding": True, "truncation": True, "max_length": 9, **EXTRAS}
    assert ours(pairs, **options) == theirs(pairs, **options) == ours(TEXTS, PARTNERS, **options)
    for wrong in ([("a", "b", "c")], [("a", None)], [("a", "b"), "c"]):
        with pytest.raises(TypeError, match=r"\[[01]\] must be a str"):
            ours(wrong)


def test_an_encoding_moves_its_tensors_to_a_device(ours):
    encoded = ours(TEXTS, padding=True, return_tensors="pt")
    assert encoded.to("meta") is encoded
    assert {tensor.device.type for tensor in encoded.values()} == {"meta"}
    assert ours("a").to("cpu") == ours("a")


def test_a_table_is_refused_and_its_column_taken(ours):
    table = pd.DataFrame({"text": ["hello", "world"], "label": [0, 1]})
    with pytest.raises(TypeError, match=r"not DataFrame: give one column of it"):
        ours(table)
    with pytest.raises(TypeError, match="text_pair must be a str"):
        ours(["a", "b"], table)
    assert ours(table["text"]) == ours(["hello", "world"])


def test_a_tokenizer_says_what_it_is(ours):
    said = repr(ours)
    for part in ("30522", "512", "[CLS] 101", "[MASK] 103", "[PAD] 0"):
        assert part in said


def test_max_length_alone_does_not_cut(ours):
    assert ours("one two three four", max_length=3) == ours("one two three four")


def test_over_long_text_is_kept_whole_with_a_warning(ours):
    with pytest.warns(UserWarning, match="model_max_length=512 tokens: pass truncation=True"):
        assert len(ours("word " * 600).input_ids) == 602
    assert len(ours("word " * 600, truncation=True).input_ids) == 512


def test_a_pair_is_cut_from_its_longer_side(ours):
    encoded = ours("hello this is my test", "and that too", truncation=True, max_length=8)
    assert len(encoded.input_ids) == 8
    expected = ours.convert_tokens_to_ids(
        ["[CLS]", "hello", "this", "is", "[SEP]", "and", "that", "[SEP]"]
    )
    assert encoded.input_ids == expected


def test_a_batch_is_its_texts_one_by_one(ours):
    one_by_one = [ours(text, partner, **EXTRAS) for text, partner in zip(TEXTS, PARTNERS)]
    batch = ours(TEXTS, PARTNERS, **EXTRAS)
    for name, rows in batch.items():
        assert rows == [encoded[name] for encoded in one_by_one]


def test_tuples_arrays_and_generators_of_texts_are_batches(ours):
    expected = ours(TEXTS)
    for texts in (tuple(TEXTS), np.array(TEXTS), (text for text in TEXTS)):
        assert ours(texts) == expected


@pytest.mark.parametrize("side", ["right", "left"])
def test_tensors_hold_what_lists_hold(ours, side):
    options = {"padding": True, "padding_side": side, **EXTRAS}
    lists = ours(TEXTS, PARTNERS, **options)
    for kind, to_kind in (("np", np.array), ("pt", torch.tensor)):
        tensors = ours(TEXTS, PARTNERS, return_tensors=kind, **options)
        assert list(tensors) == list(lists)
        for name, rows in lists.items():
            expected = to_kind(rows)
            assert tensors[name].dtype == expected.dtype and tensors[name].shape == expected.shape
            assert (tensors[name] == expected).all()


def test_one_text_as_tensor_is_a_batch_of_one(ours):
    assert ours("hello", return_tensors="pt").input_ids.tolist() == [[101, 7592, 102]]
    assert ours("hello", return_tensors="np").attention_mask.shape == (1, 3)


def test_tensors_can_be_written_to_and_share_nothing(ours):
    first, second = (ours("hello", return_tensors="pt").input_ids for _ in range(2))
    first.zero_()
    assert second.tolist() == [[101, 7592, 102]]


@pytest.mark.parametrize("kind", [None, "np", "pt"])
def test_an_empty_batch_gives_an_empty_result(ours, kind):
    encoded = ours([], padding=True, return_tensors=kind)
    assert len(encoded.input_ids) == len(encoded.attention_mask) == 0


def test_a_pad_token_in_the_text_is_attended_to(ours):
    encoded = ours(["[PAD] a", "a b c d"], padding=True)
    assert encoded.input_ids[0] == [101, 0, 1037, 102, 0, 0]
    assert encoded.attention_mask[0] == [1, 1, 1, 1, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_offsets_of_random_strings_equal_the_references(options):
    rng = random.Random(7)
    texts = [random_text(rng) for _ in range(3_000)]
    tok = WordPieceTokenizer.from_vocab(VOCAB, **options)
    actual = tok(texts, return_offsets_mapping=True)["offset_mapping"]
    expected = [encoding.offsets for encoding in reference(**options).encode_batch(texts)]
    assert [t for t, a, e in zip(texts, actual, expected) if a != e] == []


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_offsets_are_equal_where_marks_change_places(options):
    """NFD sorts neighbouring marks by their class, across characters; some that move are letters
    to the reference and stay, as U+302E, U+302F, U+1D165 and U+16FF0."""
    rng = random.Random(5)
    marks = [chr(c) for c in unicode_tables.SCALAR_VALUES if unicodedata.combining(chr(c))]
    often = "\u302e\u302f\U0001d165\U00016ff0\u0344\u0f73\u0f81\U0001d15e" + "aéẫ안数ΐİ \x00" * 4
    texts = [f"a\u0345{mark}\u0334b" for mark in marks]
    texts += ["".join(rng.choices([*marks, *often * 9], k=rng.randint(1, 9))) for _ in range(5_000)]
    tok = WordPieceTokenizer.from_vocab(VOCAB, **options)
    actual = tok(texts, return_offsets_mapping=True)["offset_mapping"]
    expected = [encoding.offsets for encoding in reference(**options).encode_batch(texts)]
    assert [t for t, a, e in zip(texts, actual, expected) if a != e] == []


def test_decoding_equals_the_references_on_random_ids(ours, theirs):
    rng = random.Random(3)
    for _ in range(2_000):
        ids = [rng.choice([rng.randrange(len(ours)), rng.randrange(999, 1030), 102, 1005, 1056])]
        ids += [rng.randrange(len(ours)) for _ in range(rng.randrange(12))]
        for skip in (False, True):
            expected = theirs.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special_tokens=skip) == expected


@pytest.mark.parametrize(
    "tokens, expected",
    [
        (["hello", ",", "world", "!"], "hello, world!"),
        (["don", "'", "t"], "don ' t"),
        (["##ing", "un", "##want", "##ed"], "##ing unwanted"),
        (["do not", "n't", "'s", "...", "x"], "do notn't's... x"),
        ([], ""),
    ],
)
def test_tokens_become_text_as_the_reference_writes_it(ours, theirs, tokens, expected):
    assert ours.convert_tokens_to_string(tokens) == expected
    assert theirs.backend_tokenizer.decoder.decode(tokens) == expected


def test_ids_of_any_kind_are_decoded(ours):
    ids = ours("hello, world!").input_ids
    for given in (ids, tuple(ids), np.array(ids), torch.tensor(ids)):
        assert ours.decode(given, skip_special_tokens=True) == "hello, world!"
    assert ours.decode(7592) == ours.decode(np.int64(7592)) == "hello"
    assert ours.batch_decode(torch.tensor([ids, ids]), skip_special_tokens=True) == [
        "hello, world!",
        "hello, world!",
    ]
