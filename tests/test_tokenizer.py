"""The tokenizer's rules: the literal cases, the vocabulary's files, saving and loading."""

import copy
import doctest
import importlib
import json
import pickle

import pytest
from transformers import AutoTokenizer, DistilBertTokenizer

from tests.reference import SPECIAL, VOCAB
from tests.tiny import TEXT, TEXT_IDS
from tokenizer import WordPieceTokenizer

TINY_TEXT = "[UNK] [CLS] [SEP] [PAD] [MASK] want ##want ##ed wa un runn ##ing , low lowest"
TINY = TINY_TEXT.split()


@pytest.fixture(scope="module")
def tok() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained("demo")


@pytest.fixture
def with_vocab(tmp_path):
    def make(tokens, **options):
        (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
        return WordPieceTokenizer.from_vocab(tmp_path / "vocab.txt", **options)

    return make


@pytest.mark.parametrize("module", ["normalize", "wordpiece", "decode", "truncate", "tensors"])
def test_the_examples_in_docstrings_are_true(module):
    results = doctest.testmod(importlib.import_module(f"tokenizer.{module}"))
    assert results.attempted > 0 and results.failed == 0


@pytest.mark.parametrize(
    "text, expected",
    [
        ("UNwant\u00e9d,running", "un ##want ##ed , runn ##ing"),
        ("unwantedX running", "[UNK] runn ##ing"),
        ("unwanted running", "un ##want ##ed runn ##ing"),
        ("", ""),
        ("\xad", ""),
        ("Test", "[UNK]"),
        ("lowest\xadlow", "[UNK]"),
    ],
)
def test_greedy_longest_match_over_a_tiny_vocabulary(with_vocab, text, expected):
    tiny = with_vocab(TINY)
    assert tiny.tokenize(text) == expected.split()
    ids = [TINY.index(token) for token in expected.split()]
    assert tiny(text, add_special_tokens=False).input_ids == ids


@pytest.mark.parametrize(
    "options, text, expected",
    [
        ({}, " \tHeLLo!how  \n Are yoU?  ", "hello ! how are you ?"),
        ({}, "H\u00e9llo", "hello"),
        ({"strip_accents": False}, "H\u00e9llo", "h\u00e9llo"),
        ({"strip_accents": False}, " \tHäLLo!how  \n Are yoU?  ", "hällo ! how are you ?"),
        ({"strip_accents": True}, " \tHäLLo!how  \n Are yoU?  ", "hallo ! how are you ?"),
        ({"do_lower_case": False}, " \tHeLLo!how  \n Are yoU?  ", "HeLLo ! how Are yoU ?"),
        ({"do_lower_case": False, "strip_accents": True}, "HäLLo", "HaLLo"),
        ({"do_lower_case": False}, "how[UNK]Are", "how [UNK] Are"),
        ({}, "ah\u535a\u63a8zz", "ah 博 推 zz"),
        ({"tokenize_chinese_chars": False}, "的人有", "的 ##人 ##有"),
        ({}, "的人有", "的 人 有"),
        ({}, "\u200e\u200f", ""),
        ({}, "\ufeffHello", "hello"),
        ({}, "a\n'll !!to?'d of, can't.", "a ' ll ! ! to ? ' d of , can ' t ."),
    ],
)
def test_cases_published_for_berts_basic_rules(with_vocab, options, text, expected):
    words = "hello how are you héllo hällo hallo HeLLo Are yoU HaLLo ah zz a ll to d of can t"
    vocab = [*SPECIAL, *words.split(), *"!?',.博推的人有", "##人", "##有"]
    assert with_vocab(vocab, **options).tokenize(text) == expected.split()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("İstanbul", "istanbul"),
        ("ΌΔΟΣ", "ο ##δ ##ο ##σ"),
        ("b\x85c\x0bd\x0ce", "bc ##de"),
        ("안녕", "ᄋ ##ᅡ ##ᆫ ##ᄂ ##ᅧ ##ᆼ"),
        ("ß ẞ", "ß ß"),
        ("[[MASK]]", "[ [MASK] ]"),
        ("b[SEP]c", "b [SEP] c"),
        ("[sep] [ MASK ]", "[ sep ] [ mask ]"),
        ("a" * 101, "[UNK]"),
        ("안" * 34, "[UNK]"),
        ("\U0002b820", "[UNK]"),
        ("$+<=>^`|~", "$ + < = > ^ ` | ~"),
        ("one\u2028two\u3000three", "one two three"),
    ],
)
def test_rules_that_a_naive_tokenizer_breaks(tok, text, expected):
    assert tok.tokenize(text) == expected.split()


def test_a_word_of_100_characters_is_still_split(tok):
    assert len(tok.tokenize("a" * 100)) == 50
    assert len(tok.tokenize("안" * 33)) == 99


def test_ids_the_tutorial_prints(tok):
    encoded = tok(TEXT)
    assert encoded == {"input_ids": TEXT_IDS, "attention_mask": [1] * 13}
    tokens = tok.convert_ids_to_tokens(encoded.input_ids)
    text = "[CLS] tokenizing text is a core task of nlp. [SEP]"
    assert tok.convert_tokens_to_string(tokens) == text
    assert (tok.vocab_size, tok.model_max_length) == (30522, 512)
    assert tok.model_input_names == ["input_ids", "attention_mask"]


def test_special_tokens_and_their_ids(tok):
    names = ("pad", "unk", "cls", "sep", "mask")
    assert [getattr(tok, f"{name}_token") for name in names] == SPECIAL
    assert [getattr(tok, f"{name}_token_id") for name in names] == [0, 100, 101, 102, 103]


def test_ids_and_tokens_are_one_to_one_over_the_whole_vocabulary(tok):
    ids = list(range(len(tok)))
    tokens = tok.convert_ids_to_tokens(ids)
    assert len(set(tokens)) == len(tok) == 30522
    assert tok.convert_tokens_to_ids(tokens) == ids
    assert tok.convert_tokens_to_ids("not a token") == tok.unk_token_id
    assert tok.convert_ids_to_tokens(103) == "[MASK]"


def test_an_encoding_gives_its_keys_as_attributes(tok):
    encoded = tok("hello")
    assert encoded.input_ids == encoded["input_ids"]
    with pytest.raises(AttributeError, match="input_ids, attention_mask"):
        _ = encoded.labels


def test_ids_are_line_numbers_with_any_line_end_and_any_unicode_in_a_token(tmp_path):
    tokens = [*SPECIAL, "a\u2028b", "c\u0085d", "e"]
    for end in ("\n", "\r\n"):
        for last in ("", end):
            for mark in ("", "\ufeff"):
                path = tmp_path / "vocab.txt"
                path.write_bytes((mark + end.join(tokens) + last).encode())
                tok = WordPieceTokenizer.from_vocab(path)
                assert tok.convert_ids_to_tokens(range(len(tok))) == tokens


def test_what_is_saved_loads_as_the_same_tokenizer_and_saves_the_same_bytes(with_vocab, tmp_path):
    options = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    first = with_vocab([*TINY, "a\u2028b"], **options)
    first.save_pretrained(tmp_path / "one")
    second = WordPieceTokenizer.from_pretrained(tmp_path / "one")
    second.save_pretrained(tmp_path / "two")
    for name in ("vocab.txt", "tokenizer_config.json"):
        saved = (tmp_path / "one" / name).read_bytes()
        assert saved == (tmp_path / "two" / name).read_bytes()
    assert {name: getattr(second, name) for name in options} == options


def test_the_packaged_vocabulary_survives_saving_byte_for_byte(tok, tmp_path):
    tok.save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == VOCAB.read_bytes()


@pytest.mark.parametrize("loader", [AutoTokenizer, DistilBertTokenizer])
def test_transformers_loads_what_we_save_and_we_what_it_saves(tok, tmp_path, loader):
    text = "Héllo [MASK] unaffable 的人"
    tok.save_pretrained(tmp_path / "ours")
    theirs = loader.from_pretrained(tmp_path / "ours")
    assert theirs(text).data == tok(text)
    assert theirs.model_max_length == tok.model_max_length
    theirs.save_pretrained(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "vocab.txt").exists()  # it is all in tokenizer.json
    assert WordPieceTokenizer.from_pretrained(tmp_path / "theirs")(text) == tok(text)


def test_the_official_tokenizer_config_is_understood(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    official = '{"do_lower_case": true, "model_max_length": 512}'
    (tmp_path / "tokenizer_config.json").write_text(official)
    assert WordPieceTokenizer.from_pretrained(tmp_path).tokenize("Héllo") == ["hello"]


def test_an_unknown_length_of_the_model_becomes_512(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    unknown = {"model_max_length": int(1e30), "do_lower_case": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(unknown))
    tok = WordPieceTokenizer.from_pretrained(tmp_path)
    assert (tok.model_max_length, tok.do_lower_case) == (512, False)


def test_few_texts_do_not_pay_for_the_cache():
    """The vocabulary's words are listed only once many texts have been read."""
    tok = WordPieceTokenizer.from_pretrained("demo")
    for _ in range(3):
        tok(["a few texts of a few words"] * 1_000)
    assert tok._words.known == {} and len(tok._words) < 20
    tok([f"word{number}" for number in range(3_000)])
    assert len(tok._words.known) > 20_000


def test_copies_are_equal_and_carry_nothing_remembered(tok):
    tok("something homesick to remember")
    assert "homesick" in tok._words
    for twin in (copy.deepcopy(tok), pickle.loads(pickle.dumps(tok))):
        assert "homesick" not in twin._words
        assert twin("Some text.") == tok("Some text.")
